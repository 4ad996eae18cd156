//! Rows picked by index: the token embedding and the gathering of rows.

use super::elementwise::{Units, units};
use super::pieces;
use crate::cpu::kernels::rows as kernels;
use crate::gpu::KernelKey;
use crate::graph::{Back, Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};

/// An index that picks no row.
pub const NO_ROW: u32 = u32::MAX;

/// `y[m] = w[ids[m]]`. Inputs: ids (M) u32, w (V, C) of any weight type. Output: (M, C) f32. An id outside the table gives a row of
/// zeros. The table may be split over several buffers; it is trainable as F32.
#[derive(Clone, Copy, Debug)]
pub struct Embedding;

/// What picking `n` values in rows of `cols` costs, each of so many bytes.
fn picked(n: usize, cols: usize, row_bytes: u64) -> Cost {
    Cost { flops: 0.0, bytes: n as f64 * (row_bytes as f64 / cols as f64 + 4.0) }
}

impl Op for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (ids, w) = (inputs[0], inputs[1]);
        if ids.dtype != DType::U32 || w.dtype == DType::U32 || w.shape.len() != 2 {
            return Err(Error::shape("embedding", format!("ids {ids:?} (u32 wanted) into a table {w:?} (V, C)")));
        }
        Ok(vec![Desc::f32(&[ids.len(), w.cols()])])
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let w = cx.inputs[1].clone();
        let n = cx.outputs[0].desc.len();
        if n == 0 {
            return Ok(());
        }
        let grid = cx.gpu().grid(n, 64);
        for c in &w.chunks {
            let stored = w.desc.dtype.stored();
            let s_off = stored.gpu_records(c.rows, w.desc.cols()) as u32;
            let params = [n as u32, w.desc.cols() as u32, s_off, c.first as u32, c.rows as u32, w.desc.rows() as u32];
            cx.dispatch(KernelKey::new("embedding").def("WT", stored.define), &params, &[&cx.input(0), &c.buf, &cx.output(0)], grid);
            cx.cost(picked(n, w.desc.cols(), stored.gpu_row_bytes(w.desc.cols())));
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (ids, w) = (io.input(0), io.input(1));
        let cols = io.descs[1].cols();
        for (m, id) in ids.iter().enumerate() {
            let id = *id as usize;
            if id < io.descs[1].rows() {
                for c in 0..cols {
                    io.add(0, m * cols + c, w[id * cols + c]);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::embed(io.pool(), io.out(0), &io.weight(1), io.u32(0));
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        let w = io.desc(1);
        picked(io.out_desc(0).len(), w.cols(), w.file_bytes() / w.rows().max(1) as u64)
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        if !b.wants(1) {
            return Ok(());
        }
        let (ids, w) = (b.input(0), b.input(1));
        let table = b.desc(w);
        if table.dtype != DType::F32 {
            return Err(Error::shape("embedding", format!("a table of {} cannot be trained", table.dtype.name())));
        }
        let dw = b.sink(1);
        b.emit(EmbeddingDw { rows: table.rows() }, &[ids, dy], &[dw])
    }
}

/// `dw[ids[m]] += dy[m]` in the order of m. Inputs: ids (M), dy (M, C). Output: (V, C).
struct EmbeddingDw {
    rows: usize,
}

impl Op for EmbeddingDw {
    fn name(&self) -> &'static str {
        "embedding_dw"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![Desc::f32(&[self.rows, inputs[1].cols()])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (m, k) = (cx.inputs[0].desc.len(), cx.outputs[0].desc.cols());
        let columns = cx.gpu().tuning().borrow().pick("embedding_dw", "columns", "rows") == "columns";
        for c in cx.outputs[0].chunks.clone() {
            if !cx.acc[0] {
                let n = c.rows * k;
                let grid = cx.gpu().grid(n, 64);
                cx.dispatch(KernelKey::new("fill"), &[n as u32, 0f32.to_bits()], &[&c.buf], grid);
            }
            if m == 0 {
                continue;
            }
            // By rows, the worst is one id that all of them have.
            for (from, end) in pieces(m, if columns { 1 } else { 2 + k.div_ceil(64) }) {
                let grid = if columns { cx.gpu().grid(k, 16) } else { cx.gpu().grid(end - from, 1) };
                let key = KernelKey::new("embedding_dw").flag("COLUMNS", columns);
                let params = [end, k, c.first, c.rows, from].map(|v| v as u32);
                cx.dispatch(key, &params, &[&cx.input(0), &cx.input(1), &c.buf], grid);
            }
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (ids, dy) = (io.input(0), io.input(1));
        let cols = io.descs[1].cols();
        for (m, id) in ids.iter().enumerate() {
            let id = *id as usize;
            if id < self.rows {
                for c in 0..cols {
                    io.add(0, id * cols + c, dy[m * cols + c]);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::scatter(io.pool(), io.out(0), io.f32(1), io.u32(0), io.desc(1).cols(), io.acc(0));
        Ok(())
    }
}

/// `y[r] = x[idx[r]]`. Inputs: x (M, C), idx (R) u32, inv (M) u32. Output: (R, C). [`NO_ROW`] in `idx` gives a row of zeros.
/// `inv[m]` is the r that picks row m, or [`NO_ROW`]: the backward pass gathers through it, so a row may be picked once.
#[derive(Clone, Copy, Debug)]
pub struct GatherRows;

impl Op for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (x, idx, inv) = (inputs[0], inputs[1], inputs[2]);
        if idx.dtype != DType::U32 || inv.dtype != DType::U32 || inv.len() != x.rows() {
            return Err(Error::shape("gather_rows", format!("x {:?}, index {idx:?}, inverse {inv:?}", x.shape)));
        }
        Ok(vec![Desc::f32(&[idx.len(), x.cols()])])
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        gather(cx, 0, 1);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        gather_host(io, 0, 1);
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::gather(io.pool(), io.out(0), io.f32(0), io.u32(1), io.desc(0).cols(), io.acc(0));
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let inv = b.input(2);
        let dx = b.sink(0);
        b.emit(GatherRowsBwd, &[dy, inv], &[dx])
    }
}

/// `dx[m] = dy[inv[m]]`. Inputs: dy (R, C), inv (M).
struct GatherRowsBwd;

impl Op for GatherRowsBwd {
    fn name(&self) -> &'static str {
        "gather_rows_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![Desc::f32(&[inputs[1].len(), inputs[0].cols()])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        gather(cx, 0, 1);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        gather_host(io, 0, 1);
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::gather(io.pool(), io.out(0), io.f32(0), io.u32(1), io.desc(0).cols(), io.acc(0));
        Ok(())
    }
}

fn gather(cx: &mut Lower<'_>, x: usize, idx: usize) {
    let (rows, cols) = (cx.inputs[x].desc.rows(), cx.inputs[x].desc.cols());
    let Units { vec, n, grid } = units(cx.gpu(), cx.outputs[0].desc.len(), cols);
    let params = [n, cols as u32 / if vec { 4 } else { 1 }, rows as u32];
    let key = KernelKey::new("gather_rows").flag("VEC", vec).flag("ACC", cx.acc[0]);
    cx.dispatch(key, &params, &[&cx.input(x), &cx.input(idx), &cx.output(0)], grid);
}

fn gather_host(io: &mut HostIo<'_>, x: usize, idx: usize) {
    let (rows, cols) = (io.descs[x].rows(), io.descs[x].cols());
    let (x, idx) = (io.input(x), io.input(idx));
    for (r, from) in idx.iter().enumerate() {
        let from = *from as usize;
        if from < rows {
            for c in 0..cols {
                io.add(0, r * cols + c, x[from * cols + c]);
            }
        }
    }
}
