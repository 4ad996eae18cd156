//! The three products training needs, `x·Wᵀ`, `dy·W` and `dyᵀ·x`, as dispatches: which kernel variant, which grid.
//! Used by `linear` and by the fused vocabulary head.

use super::lora::{LoraSeg, MAX_SEGS};
use crate::gpu::{Buf, Gpu, KernelKey};
use crate::graph::{Bound, Cost, Desc, Lower};
use crate::ops::norm::RmsNorm;
use crate::ops::{Act, pieces, serial_rows};
use crate::tensor::DType;
use crate::{Error, Result};

/// What is added to a plain product.
#[derive(Clone, Copy, Default)]
pub(in crate::ops) struct Extras<'a> {
    pub bias: Option<&'a Buf>,
    /// h, flat B, and the columns of h.
    pub lora: Option<(&'a Buf, &'a Buf, usize)>,
    pub segs: &'a [LoraSeg],
    pub residual: Option<&'a Buf>,
    pub glu: Option<Act>,
    /// Where gate and up go besides, with `glu`.
    pub kept: Option<&'a Buf>,
    /// Gain of the norm that x passes first, and the norm; only where [`takes_norm`].
    pub norm: Option<(&'a Buf, RmsNorm)>,
}

/// Checks that a weight's rows can be read in groups of eight, or element by element.
pub(in crate::ops) fn check_weight(op: &str, x: &Desc, w: &Desc) -> Result<()> {
    if w.shape.len() != 2 || w.cols() != x.cols() {
        return Err(Error::shape(op, format!("x {:?} and weight {:?}: rows must be equally long", x.shape, w.shape)));
    }
    if w.dtype != DType::F32 && !w.cols().is_multiple_of(8) {
        return Err(Error::shape(op, format!("{} weight {:?}: rows must be a multiple of 8 long", w.dtype.name(), w.shape)));
    }
    Ok(())
}

/// The class of forward work with `m` rows of x: variants are measured and chosen by class.
pub fn forward_class(m: usize) -> &'static str {
    match m {
        0..=1 => "linear.m1",
        2..=8 => "linear.m8",
        _ => "linear.big",
    }
}

/// True where four threads run side by side and can pass values on: the `quad` forms are for such adapters. Both sizes, because four is also the
/// least that Metal and browsers name where they do not know (4–64, 4–128).
pub fn quads(gpu: &Gpu) -> bool {
    let caps = gpu.caps();
    caps.subgroups && (caps.subgroup_min, caps.subgroup_max) == (4, 4)
}

/// The variant for a gradient of `class`.
fn backward_variant(gpu: &Gpu, class: &str, hardware: &str) -> String {
    gpu.tuning().borrow().pick(class, if quads(gpu) { "quad8" } else { "reg8" }, hardware).to_string()
}

/// `reg8x4` → (8, 4) for the form `reg`.
fn pair_of(variant: &str, form: &str) -> Option<(usize, usize)> {
    let (a, b) = variant.strip_prefix(form)?.split_once('x')?;
    let (a, b) = (a.parse().ok()?, b.parse().ok()?);
    ((1..=8).contains(&a) && (1..=8).contains(&b)).then_some((a, b))
}

/// Outputs per thread, down and across, of a tiled product of `m` × `n`: the larger, the less is read per output, but there should be some
/// two workgroups for each of a GPU's hundred-odd cores.
fn tile_shape(m: usize, n: usize) -> (usize, usize) {
    let groups = |(tm, tn): (usize, usize)| m.div_ceil(16 * tm) * n.div_ceil(16 * tn);
    [(8, 8), (8, 4), (4, 4)].into_iter().find(|t| groups(*t) >= 200).unwrap_or(if m.min(n) > 64 { (2, 4) } else { (4, 4) })
}

/// `quad8` → the fours of rows of a thread's tile for `m` rows: no more than there are.
fn quad_of(variant: &str, gpu: &Gpu, m: usize) -> Option<usize> {
    let most: usize = variant.strip_prefix("quad")?.parse().ok()?;
    quads(gpu).then(|| [2, 4, 8].into_iter().find(|q| 4 * q >= m).unwrap_or(8).min(most.next_power_of_two().clamp(2, 8)))
}

/// The tile a variant names, or the one for this shape. `None` for a variant that is not tiled.
fn tile_for(variant: &str, m: usize, n: usize) -> Option<(usize, usize)> {
    if variant == "tile" { Some(tile_shape(m, n)) } else { pair_of(variant, "tile") }
}

/// `block16` → the tile (rows of x, rows of w) of a thread for `m` rows of x; nothing where another variant is chosen or the weight has no
/// blocks. The sums are unrolled in the kernel's text: it must stay short.
fn block_of(variant: &str, dtype: DType, m: usize) -> Option<(usize, usize)> {
    let rows: usize = variant.strip_prefix("block")?.parse().ok()?;
    (m <= 8 && dtype.is_quantized()).then(|| (m, rows.clamp(2, (32 / m.max(1)).max(2))))
}

/// The variant for `m` rows of x.
fn forward_variant(gpu: &Gpu, m: usize) -> String {
    let (software, hardware) = if m <= 8 { ("block16", "vec") } else { (if quads(gpu) { "quad8" } else { "reg8x8" }, "tile") };
    gpu.tuning().borrow().pick(forward_class(m), software, hardware).to_string()
}

/// True where the kernel for `m` rows of x norms them itself: those for few rows, but where a GPU has been measured to be faster with a dispatch of
/// its own in front.
pub(in crate::ops) fn takes_norm(gpu: &Gpu, m: usize) -> bool {
    let variant = forward_variant(gpu, m);
    ["reg", "block", "vec"].iter().any(|v| variant.starts_with(v)) && gpu.tuning().borrow().pick("linear_norm", "fused", "fused") == "fused"
}

/// Adds the array of segments that ends a kernel's parameters.
pub(in crate::ops) fn seg_words(segs: &[LoraSeg], out: &mut Vec<u32>) {
    for i in 0..MAX_SEGS {
        match segs.get(i) {
            Some(s) => {
                out.extend_from_slice(&[s.row0 as u32, s.row1 as u32, s.h_off as u32, s.r as u32, s.b_off as u32, s.scale.to_bits(), 0, 0])
            }
            None => out.extend_from_slice(&[0; 8]),
        }
    }
}

/// `Params` of `common/linear_io.wgsl`, for every kernel that includes it.
fn io_params(sizes: [usize; 8], segs: &[LoraSeg], norm: Option<RmsNorm>) -> Vec<u32> {
    let mut p = sizes.map(|v| v as u32).to_vec();
    seg_words(segs, &mut p);
    p.extend(norm.map_or([0; 2], |n| [n.eps.to_bits(), n.offset.to_bits()]));
    p
}

/// How a row of `k` columns is shared in `linear_vec`: the groups of eight that a thread takes at a time, and how many slices of 32 threads
/// (a power of two up to `slices`) work on it, so that most of a row is under way at once and few threads are idle at its end.
fn shared_row(k: usize, slices: usize) -> (usize, usize) {
    let threads = (k / 8).div_ceil(4).div_ceil(32); // slices with four groups each
    let share = (0..).map(|i| 1 << i).take_while(|s| *s <= slices).find(|s| *s >= threads);
    let share = share.unwrap_or(1 << slices.max(1).ilog2());
    let rounds = |d: usize| (k / 8).div_ceil(32 * d * share) * d;
    ((1..=4).rev().min_by_key(|d| rounds(*d)).unwrap_or(1), share)
}

/// What `x·Wᵀ` of [m, n, k] costs, or another product of the same three sides; `own` bytes of W or of dW.
pub(in crate::ops) fn product([m, n, k]: [usize; 3], own: u64) -> Cost {
    Cost { flops: 2.0 * (m * n * k) as f64, bytes: own as f64 + 4.0 * (m * (k + n)) as f64 }
}

/// What `m` rows through rows `first..first + n` of W cost ([m, first, n, k]), with everything that comes in the same pass.
pub(in crate::ops) fn product_with([m, first, n, k]: [usize; 4], own: u64, segs: &[LoraSeg], glu: bool, keep: bool) -> Cost {
    let lora = |s: &LoraSeg| s.row1.min(first + n).saturating_sub(s.row0.max(first)) * s.r;
    let added: usize = segs.iter().map(lora).sum();
    // With a gate there are half as many outputs; gate and up are more.
    let outputs = if glu { n / 2 + if keep { n } else { 0 } } else { n };
    let values = m * (k + outputs) + added;
    Cost { flops: 2.0 * (m * (n * k + added)) as f64, bytes: own as f64 + 4.0 * values as f64 }
}

/// What [`LowDx`] adds to a `dx` of m rows of k: `dh·A` and `dhᵀ·x` with r rows of A.
pub(in crate::ops) fn low_product([m, r, k]: [usize; 3]) -> Cost {
    Cost { flops: 4.0 * (m * r * k) as f64, bytes: 4.0 * (m * (r + k) + 2 * r * k) as f64 }
}

/// Most rows of W that [`turned`] takes.
const TURNED: usize = 32;

/// `y = x·Wᵀ` for few rows of a plain W and many of x (LoRA's A): `linear_vec` with x and W in each other's place.
fn turned(cx: &mut Lower<'_>, m: usize, x: &Buf, w: &Bound, y: &Buf) {
    let (n, k) = (w.desc.shape[0], w.desc.cols());
    let key = KernelKey::new("linear_vec")
        .def("WT", "F32")
        .flag("TURN", true)
        .flag("SUBGROUPS", cx.caps().subgroups)
        .def("TM", n)
        .def("ROWS", 1)
        .def("SLICES", 2)
        .def("DEEP", 1)
        .def("SHARE", 1);
    let params = io_params([n, m, k, n, 0, 0, 0, 0], &[], None);
    cx.dispatch(key, &params, &[&w.chunks[0].buf, x, y], cx.gpu().grid(m.div_ceil(2), 1));
    cx.cost(product([m, n, k], 4 * (n * k) as u64));
}

/// `y = x·Wᵀ` and the extras, one dispatch per chunk of W.
pub(in crate::ops) fn forward(cx: &mut Lower<'_>, m: usize, x: &Buf, w: &Bound, y: &Buf, extras: &Extras<'_>) -> Result<()> {
    let (n_all, k) = (w.desc.shape[0], w.desc.cols());
    let ldy = if extras.glu.is_some() { n_all / 2 } else { n_all };
    if extras.glu.is_some() && w.chunks.len() > 1 {
        // Gate and up rows of an output would be in different buffers: nn::mlp records the two steps separately then.
        return Err(Error::shape("linear", format!("a gated weight {:?} in {} buffers", w.desc.shape, w.chunks.len())));
    }
    let scalar = !k.is_multiple_of(8);
    let variant = forward_variant(cx.gpu(), m);
    let plain =
        extras.norm.is_none() && extras.bias.is_none() && extras.lora.is_none() && extras.residual.is_none() && extras.glu.is_none();
    if plain && m > 64 && n_all <= TURNED && w.chunks.len() == 1 && w.desc.dtype == DType::F32 && !scalar && variant.starts_with("tile") {
        turned(cx, m, x, w, y);
        return Ok(());
    }
    for chunk in &w.chunks {
        let n = if extras.glu.is_some() { chunk.rows / 2 } else { chunk.rows };
        let extra = extras.bias.is_some() || extras.lora.is_some() || extras.residual.is_some();
        let glu = extras.glu.is_some();
        let keep = extras.kept.is_some();
        let parts = if glu { 2 } else { 1 };
        let tiled = tile_for(&variant, m, n * parts).filter(|_| !scalar && cx.caps().max_threads >= 256);
        // Kernels for few rows do not keep gate and up: those are of answers.
        let few = m <= 8 && !keep;
        let block = block_of(&variant, w.desc.dtype, m).filter(|_| few).map(|(tm, rows)| (tm, rows / parts));
        let (name, grid, tile) = if let Some((tm, tn)) = block {
            ("linear_block", [n.div_ceil(tn).div_ceil(8) as u32, m.div_ceil(tm) as u32, 1], (tm, tn))
        } else if let Some((tm, tn)) = tiled {
            // With a gate the tile of w holds two rows per output.
            let tn = (tn / parts).max(1);
            ("linear_tile", [n.div_ceil(16 * tn) as u32, m.div_ceil(16 * tm) as u32, 1], (tm, tn))
        } else if variant.starts_with("vec") && !scalar && few {
            // Of long rows more at a time, with fewer threads on each: for one row of x, whose sums are few.
            let usual = if m == 1 && k >= 2048 { (4, 4) } else { (2, 8) };
            let (rows, slices) = pair_of(&variant, "vecsub").or_else(|| pair_of(&variant, "vec")).unwrap_or(usual);
            // A power of two; and the partial sums of its threads fit into 16 KiB of workgroup memory.
            let sums = |rows| m * (rows * parts + usize::from(extras.norm.is_some()));
            let rows = (1..=rows).rev().find(|r| sums(*r) <= 128).unwrap_or(1);
            let sums = sums(rows);
            let slices = 1usize << slices.min(128 / sums.min(128)).ilog2();
            ("linear_vec", cx.gpu().grid(n.div_ceil(rows * slices / shared_row(k, slices).1), 1), (rows, slices))
        } else if let Some(tq) = quad_of(&variant, cx.gpu(), m).filter(|_| !scalar && extras.norm.is_none() && (!glu || keep || !extra)) {
            // An act for every output is much text to compile; where gate and up are kept, it is in a loop.
            let (tq, tn) = if !glu { (tq, 8) } else { (if keep { tq } else { tq.min(4) }, 4) };
            ("linear_quad", [n.div_ceil(tn).div_ceil(4) as u32, m.div_ceil(4 * tq) as u32, 1], (tq, tn))
        } else {
            let (tm, tn) = pair_of(&variant, "reg").unwrap_or((8, 8));
            // Threads side by side run together: rather idle registers than idle threads, where rows of w are few (LoRA's A).
            let (tm, tn) = (tm.min(m), if glu { tn.min(4) } else { tn }.min((n / 32).max(1)));
            ("linear", [n.div_ceil(tn).div_ceil(32) as u32, m.div_ceil(tm) as u32, 1], (tm, tn))
        };
        let mut key = KernelKey::new(name)
            .def("WT", w.desc.dtype.stored().define)
            .flag("SCALAR", scalar)
            .flag("NORM", extras.norm.is_some())
            .flag("BIAS", extras.bias.is_some())
            .flag("LORA", extras.lora.is_some())
            .flag("RESIDUAL", extras.residual.is_some())
            .flag("EXTRA", extra)
            .flag("GLU", glu)
            .flag("KEEP", keep)
            .flag("SUBGROUPS", name == "linear_quad" || name == "linear_vec" && variant.starts_with("vecsub") && cx.caps().subgroups);
        key = match name {
            "linear_block" => key.flag("BLOCKS", true).def("TM", tile.0).def("TN", tile.1).def("PARTS", parts),
            "linear_vec" => {
                let (deep, share) = shared_row(k, tile.1);
                key.def("TM", m).def("ROWS", tile.0).def("SLICES", tile.1).def("DEEP", deep).def("SHARE", share)
            }
            "linear_quad" => key.def("TQ", tile.0).def("TN", tile.1),
            _ => key.def("TM", tile.0).def("TN", tile.1),
        };
        if let Some(act) = extras.glu {
            key = key.def("ACT", act.define());
        }
        let s_off = w.desc.dtype.stored().gpu_records(chunk.rows, k);
        let ldh = extras.lora.map_or(0, |l| l.2);
        let sizes = [m, n, k, ldy, chunk.first, s_off, extras.segs.len(), ldh];
        let params = io_params(sizes, extras.segs, extras.norm.map(|n| n.1));
        let mut bufs = vec![x, &chunk.buf];
        bufs.extend(block.map(|_| &chunk.buf));
        bufs.extend(extras.norm.map(|n| n.0));
        bufs.extend(extras.bias);
        if let Some((h, b, _)) = extras.lora {
            bufs.extend([h, b]);
        }
        bufs.extend(extras.residual);
        bufs.push(y);
        bufs.extend(extras.kept);
        cx.dispatch(key, &params, &bufs, grid);
        cx.cost(product_with([m, chunk.first, chunk.rows, k], chunk.buf.bytes(), extras.segs, glu, keep));
    }
    Ok(())
}

/// The way through LoRA's A that a `dx` takes along: `dx += dh·A`, `dA = dhᵀ·x` (or `+=`).
pub(in crate::ops) struct LowDx<'a> {
    pub dh: &'a Buf,
    pub a: &'a Buf,
    pub x: &'a Buf,
    pub da: &'a Buf,
    /// Rows of A.
    pub r: usize,
    pub acc: bool,
}

/// `dx = dy·W` (or `+=`), one dispatch per chunk of W; the first one does what `low` asks for, too.
pub(in crate::ops) fn dx(cx: &mut Lower<'_>, m: usize, dy: &Buf, w: &Bound, dx: &Buf, acc: bool, low: Option<&LowDx<'_>>) -> Result<()> {
    let (n_all, k) = (w.desc.shape[0], w.desc.cols());
    let scalar = !k.is_multiple_of(8);
    let variant = backward_variant(cx.gpu(), "linear_dx", "tile");
    // A thread's sum over all rows in one dispatch, or else dA in several of its own.
    let whole = pieces(m, 1).count() == 1;
    for (i, chunk) in w.chunks.iter().enumerate() {
        let tiled = tile_for(&variant, m, k).filter(|_| !scalar && m > 8 && cx.caps().max_threads >= 256);
        let low = low.filter(|_| i == 0);
        let quad = quad_of(&variant, cx.gpu(), m).filter(|_| tiled.is_none() && !scalar);
        let name = if tiled.is_some() {
            "linear_dx_tile"
        } else if quad.is_some() {
            "linear_dx_quad"
        } else {
            "linear_dx"
        };
        let mut key = KernelKey::new(name)
            .def("WT", w.desc.dtype.stored().define)
            .flag("SCALAR", scalar)
            .flag("ACC", acc || i > 0)
            .flag("LORA", low.is_some())
            .flag("ACC_A", low.is_some_and(|l| l.acc));
        // Eight rows of dA per row of workgroups in front of those of dx.
        let da_rows = low.map_or(0, |l| if whole { l.r.div_ceil(8) } else { 0 });
        let grid = if let Some((tm, tn)) = tiled {
            let tn = if tn < 8 { 4 } else { 8 };
            let fours = [n_all, chunk.first, chunk.rows].iter().all(|v| v.is_multiple_of(4));
            key = key.def("TM", tm).def("TN", tn).flag("DY4", fours);
            [k.div_ceil(16 * tn) as u32, (da_rows + m.div_ceil(16 * tm)) as u32, 1]
        } else if let Some(tq) = quad {
            key = key.flag("SUBGROUPS", true).def("TQ", tq);
            [k.div_ceil(8).div_ceil(4) as u32, (da_rows + m.div_ceil(4 * tq)) as u32, 1]
        } else {
            let tm = if variant == "reg4" { 4 } else { 8 }.min(m);
            key = key.def("TM", tm);
            [k.div_ceil(if scalar { 1 } else { 8 }).div_ceil(32) as u32, (da_rows + m.div_ceil(tm)) as u32, 1]
        };
        let s_off = w.desc.dtype.stored().gpu_records(chunk.rows, k);
        let r = low.map_or(0, |l| l.r);
        let params = [m, chunk.rows, k, n_all, chunk.first, s_off, r, da_rows].map(|v| v as u32);
        let mut bufs = vec![dy, &chunk.buf];
        bufs.extend(low.iter().flat_map(|l| [l.dh, l.a, l.x]));
        bufs.push(dx);
        bufs.extend(low.map(|l| l.da));
        cx.dispatch(key, &params, &bufs, grid);
        let plain = product([m, chunk.rows, k], chunk.buf.bytes());
        cx.cost(if low.is_some() { plain + low_product([m, r, k]) } else { plain });
    }
    if let Some(l) = low.filter(|_| !whole) {
        dw(cx, [m, l.r, k], l.dh, l.x, l.da, l.acc);
    }
    Ok(())
}

/// `dw = dyᵀ·x` (or `+=`) for [m, n, k].
pub(in crate::ops) fn dw(cx: &mut Lower<'_>, [m, n, k]: [usize; 3], dy: &Buf, x: &Buf, dw: &Buf, acc: bool) {
    let scalar = !k.is_multiple_of(8);
    let tn = 8.min(n);
    let group = !scalar && !serial_rows(cx.gpu());
    let variant = backward_variant(cx.gpu(), "linear_dw", "reg8");
    let quad = quad_of(&variant, cx.gpu(), n).filter(|_| !scalar && !group);
    let grid = if let Some(tq) = quad {
        [k.div_ceil(8).div_ceil(4) as u32, n.div_ceil(4 * tq) as u32, 1]
    } else if group {
        [k.div_ceil(16) as u32, n.div_ceil(8) as u32, 1]
    } else {
        [k.div_ceil(if scalar { 1 } else { 8 }).div_ceil(32) as u32, n.div_ceil(tn) as u32, 1]
    };
    for (first, end) in pieces(m, 1) {
        let key = KernelKey::new("linear_dw").flag("ACC", acc || first > 0);
        let key = if let Some(tq) = quad {
            key.flag("QUAD", true).flag("SUBGROUPS", true).def("TQ", tq)
        } else if group {
            key.flag("GROUP", true).def("TN", 8)
        } else {
            key.def("TN", tn).flag("SCALAR", scalar)
        };
        cx.dispatch(key, &[end, n, k, first].map(|v| v as u32), &[dy, x, dw], grid);
        cx.cost(product([end - first, n, k], 4 * (n * k) as u64));
    }
}
