//! attention: every kind of mask as spans, grouped heads, odd widths, the cache, gradients.

use crate::fixture;
use crate::harness::{cpu, gpu, other_form};
use crate::opcase::{In, Rng, check, close, frozen, halves, ints, rand, run, tensor, values};
use fledgling::Result;
use fledgling::gpu::Gpu;
use fledgling::graph::{Desc, Exec, HostProgram, Program, ProgramOptions, StepParams, Tape, Val};
use fledgling::ops::attention::AttentionAppend;
use fledgling::ops::attention::{Attention, AttentionCached};
use fledgling::ops::rope::RopeSplit;
use fledgling::tensor::DType;

#[derive(Clone, Copy, Debug)]
enum Mask {
    Causal,
    /// Every query sees every key (also cross attention).
    All,
    /// The first keys are seen by all.
    Prefix(u32),
    /// Sliding window.
    Window(u32),
    /// Only `n − b` first keys of batch row b are real; rows behind see nothing.
    Padded(u32),
    /// Documents of this length in one row.
    Packed(u32),
    /// Nothing but one key, somewhere.
    One,
}

fn spans(mask: Mask, batch: u32, t: u32, s: u32) -> Vec<u32> {
    let mut out = Vec::new();
    for b in 0..batch {
        for i in 0..t {
            // Queries stand at the end of the keys.
            let at = i + s - t.min(s);
            out.extend(match mask {
                Mask::Causal => [0, (at + 1).min(s)],
                Mask::All => [0, s],
                Mask::Prefix(n) => [0, (at + 1).max(n).min(s)],
                Mask::Window(n) => [(at + 1).saturating_sub(n).min(s), (at + 1).min(s)],
                Mask::Padded(n) => {
                    let real = n.saturating_sub(b);
                    if i < real { [0, (at + 1).min(real)] } else { [7, 7] }
                }
                Mask::Packed(n) => [at / n * n, (at + 1).min(s)],
                Mask::One => [(i * 5 + b) % s, (i * 5 + b) % s + 1],
            });
        }
    }
    out
}

struct Case {
    heads: usize,
    kv_heads: usize,
    dim: usize,
    batch: usize,
    t: usize,
    s: usize,
    mask: Mask,
    /// Inputs in −size…size: large ones make the softmax sharp.
    size: f64,
    /// Of scores.
    cap: Option<f32>,
}

const fn case(heads: usize, kv_heads: usize, dim: usize, batch: usize, t: usize, s: usize, mask: Mask) -> Case {
    Case { heads, kv_heads, dim, batch, t, s, mask, size: 1.0, cap: None }
}

fn cases() -> Vec<Case> {
    use Mask::*;
    vec![
        case(1, 1, 4, 1, 1, 1, Causal),
        case(2, 2, 8, 2, 3, 3, Causal),
        case(3, 1, 5, 1, 5, 5, Causal),
        case(9, 3, 64, 1, 33, 33, Causal),
        case(4, 2, 32, 2, 65, 65, Causal),
        case(2, 1, 12, 2, 33, 33, Prefix(9)),
        case(2, 2, 16, 2, 33, 33, Window(4)),
        case(4, 2, 8, 3, 9, 9, Padded(6)),
        case(2, 1, 8, 1, 65, 65, Packed(17)),
        case(2, 2, 16, 2, 5, 33, All),
        case(2, 1, 20, 1, 33, 5, All),
        case(6, 2, 8, 2, 7, 11, One),
        case(2, 1, 7, 2, 9, 9, Padded(4)),
        case(1, 1, 80, 1, 9, 9, Causal),
        case(2, 1, 96, 1, 17, 17, Causal),
        case(2, 2, 128, 1, 19, 19, Window(8)),
        case(1, 1, 256, 1, 5, 5, Causal),
        case(1, 1, 260, 1, 3, 3, Causal),
        Case { size: 12.0, ..case(2, 1, 16, 1, 33, 33, Causal) },
        case(8, 2, 64, 1, 1, 130, Causal),
        Case { cap: Some(0.5), ..case(4, 2, 32, 2, 65, 65, Causal) },
        Case { cap: Some(2.0), size: 3.0, ..case(2, 1, 7, 2, 9, 9, Padded(4)) },
        Case { cap: Some(0.3), ..case(8, 2, 64, 1, 1, 130, Causal) },
        Case { cap: Some(50.0), ..case(1, 1, 256, 1, 5, 5, Causal) },
    ]
}

fn inputs(c: &Case, rng: &mut Rng) -> Vec<In> {
    let Case { heads, kv_heads, dim, batch, t, s, size, .. } = *c;
    let spans = spans(c.mask, batch as u32, t as u32, s as u32);
    vec![
        rand(rng, &[batch * t, heads * dim], size),
        rand(rng, &[batch * s, kv_heads * dim], size),
        rand(rng, &[batch * s, kv_heads * dim], 1.0),
        ints(&[batch * t, 2], &spans),
    ]
}

fn op(c: &Case) -> Attention {
    Attention { heads: c.heads, kv_heads: c.kv_heads, dim: c.dim, scale: 1.0 / (c.dim as f32).sqrt(), cap: c.cap, batch: c.batch }
}

fn name(c: &Case) -> String {
    format!("attention {}/{} heads of {}, {} × {} over {} {:?}, cap {:?}", c.heads, c.kv_heads, c.dim, c.batch, c.t, c.s, c.mask, c.cap)
}

async fn forward(gpu: &Gpu) {
    let mut rng = Rng(21);
    for c in cases() {
        let mut ins = inputs(&c, &mut rng);
        ins.iter_mut().for_each(|i| i.grad = false);
        check(gpu, &name(&c), &ins, 2e-5, |t, v| t.push(op(&c), v)).await;
    }
}

async fn gradients(gpu: &Gpu) {
    let mut rng = Rng(23);
    for (n, c) in cases().into_iter().enumerate() {
        let mut ins = inputs(&c, &mut rng);
        check(gpu, &name(&c), &ins, 2e-5, |t, v| Ok(vec![t.push(op(&c), v)?[0]])).await;
        // One of the three frozen.
        ins[n % 3].grad = false;
        check(gpu, &name(&c), &ins, 2e-5, |t, v| Ok(vec![t.push(op(&c), v)?[0]])).await;
    }
}

/// n rows that continue one prompt: (prefix_len, own_base, begin, end).
fn cached_spans(rows: u32, prefix: u32, own: u32, begin: u32) -> Vec<u32> {
    (0..rows).flat_map(|m| [prefix, prefix + m * own, begin.min(prefix + m % own), prefix + 1 + m % own]).collect()
}

/// Over a cache of f32 or f16. The reference reads the numbers that are stored: what kernels make of halves is as near to it.
async fn cached(gpu: &Gpu, dtype: DType) {
    let mut rng = Rng(22);
    let cache = |rng: &mut Rng, shape: &[usize]| if dtype == DType::F16 { halves(rng, shape, 1.0) } else { frozen(rng, shape, 1.0) };
    // heads, kv_heads, dim, rows, prefix, own, begin
    for (heads, kv_heads, dim, rows, prefix, own, begin) in [
        (1, 1, 4, 1, 0, 1, 0),
        (9, 3, 64, 4, 33, 5, 0),
        (4, 2, 8, 3, 65, 7, 66),
        (3, 1, 5, 5, 9, 3, 2),
        (4, 2, 5, 5, 9, 3, 2),
        (3, 1, 18, 2, 20, 3, 0),
        (2, 2, 32, 33, 17, 2, 11),
        (9, 3, 64, 1, 200, 1, 0),
        (2, 1, 64, 1, 600, 1, 0),
    ] {
        // Rows of halves are whole words.
        if dtype == DType::F16 && kv_heads * dim % 2 == 1 {
            continue;
        }
        let slots = (prefix + rows * own) as usize;
        let mut spans = cached_spans(rows, prefix, own, begin);
        if rows > 2 {
            spans[8..12].copy_from_slice(&[prefix, 0, 3, 3]); // a padded row
        }
        let rows = rows as usize;
        let ins = [frozen(&mut rng, &[rows, heads * dim], 2.0), cache(&mut rng, &[2, slots, kv_heads * dim]), ints(&[rows, 4], &spans)];
        let op = AttentionCached { heads, kv_heads, dim, scale: 1.0 / (dim as f32).sqrt(), cap: (rows % 2 == 1).then_some(0.5) };
        check(gpu, &format!("{op:?} {dtype:?} {rows} rows, prefix {prefix}"), &ins, 2e-5, |t, v| t.push(op, v)).await;
    }
    // A chunk of a prompt: one sequence, every row sees all before it. Small enough for the kernels of other adapters, tiles of all widths.
    for (heads, kv_heads, dim, rows, before) in
        [(3, 1, 32, 5u32, 3u32), (3, 1, 32, 33, 0), (3, 1, 32, 64, 70), (4, 2, 32, 17, 5), (2, 1, 64, 18, 9), (2, 1, 128, 16, 1)]
    {
        let spans: Vec<u32> = (0..rows).flat_map(|m| [u32::MAX, 0, 0, before + m + 1]).collect();
        let slots = (rows + before) as usize + 1;
        let rows = rows as usize;
        let ins = [frozen(&mut rng, &[rows, heads * dim], 2.0), cache(&mut rng, &[2, slots, kv_heads * dim]), ints(&[rows, 4], &spans)];
        let op = AttentionCached { heads, kv_heads, dim, scale: 0.2, cap: None };
        check(gpu, &format!("{op:?} {dtype:?} chunk of {rows}"), &ins, 2e-5, |t, v| t.push(op, v)).await;
    }
}

/// o and the cache behind an append. Inputs: the op's, then the cache.
async fn appended(exec: &Exec, op: AttentionAppend, ins: &[In]) -> Result<[Vec<f64>; 2]> {
    let mut tape = Tape::new();
    let tensors = ins.iter().map(|i| tensor(exec, "in", i)).collect::<Result<Vec<_>>>()?;
    let vals: Vec<Val> = tensors.iter().map(|t| tape.tensor(t)).collect();
    let n = vals.len() - 1;
    let o = tape.temp(Desc::f32(&[ins[n - 1].desc.rows(), op.rope.heads * op.rope.dim]));
    tape.push_into(op, &vals[..n], &[(o, false), (vals[n], true)])?;
    let o = fledgling::graph::identity(&mut tape, o)?;
    tape.output("o", o);
    let step = StepParams::default();
    let o = match exec {
        Exec::Reference => {
            let mut host = HostProgram::new(&tape);
            host.run(&step)?;
            host.get(o)?.to_vec()
        }
        _ => {
            let program = Program::build(exec, &tape, ProgramOptions::default())?;
            // One kernel where rows are few and that is asked for, or two: and the copy.
            let asked = exec.gpu().is_some_and(|g| g.tuning().borrow().pick("attention_small", "", "append") == "append");
            let one = n == 5 && asked && ins[n - 1].desc.rows() < 16 && op.rope.dim.is_multiple_of(4);
            assert_eq!(program.dispatches(), if one || exec.gpu().is_none() { 2 } else { 3 }, "{op:?} on {}", exec.info().name);
            program.run_f32(&step, "o").await?.into_iter().map(f64::from).collect()
        }
    };
    let cache = tensors[n].read_rows(exec, 0, tensors[n].desc().rows()).await?.into_iter().map(f64::from).collect();
    Ok([o, cache])
}

/// From the f64 reference and from every executor.
async fn append(op: AttentionAppend, ins: &[In]) -> Result<()> {
    let n = ins.len() - 1;
    let want = appended(&Exec::Reference, op, ins).await?;
    for exec in [Exec::Gpu(gpu().await), Exec::Gpu(other_form().await), cpu()] {
        let [o, cache] = appended(&exec, op, ins).await?;
        for (what, got, want) in [("o", &o, &want[0]), ("the cache", &cache, &want[1])] {
            // A half may be rounded to the other side where the number that is rounded differs by a little.
            let tol = if ins[n].desc.dtype == DType::F16 { 1e-3 } else { 2e-5 };
            close(&format!("{what} of {op:?}, {} rows on {}", ins[n - 1].desc.rows(), exec.info().name), got, want, tol);
        }
    }
    Ok(())
}

async fn appends(dtype: DType) -> Result<()> {
    let mut rng = Rng(23);
    // heads, kv_heads, dim, rotary, rows, prefix, own, begin
    for (heads, kv_heads, dim, rotary, rows, prefix, own, begin) in [
        (1, 1, 4, 4, 1, 0, 1, 0),
        (9, 3, 64, 64, 4, 33, 5, 0),
        (4, 2, 8, 8, 3, 65, 7, 66),
        (3, 1, 6, 4, 5, 9, 3, 2),
        (4, 2, 80, 20, 15, 9, 3, 2),
        (3, 3, 32, 0, 16, 12, 2, 0),
        (3, 3, 32, 0, 3, 12, 2, 0),
        (2, 1, 512, 512, 2, 20, 3, 0),
        (2, 1, 128, 128, 1, 600, 1, 0),
    ] {
        let all = [u32::MAX, 0, 0, 0];
        let mut spans = cached_spans(rows, prefix, own, begin);
        let mut slots: Vec<u32> = (0..rows).map(|m| prefix + m * own + m % own).collect();
        if rows > 3 {
            spans[8..12].copy_from_slice(&[prefix, 0, 3, 3]); // written, but sees nothing
            spans[12..16].copy_from_slice(&all); // an answer that has ended
            slots[3] = u32::MAX;
        }
        let count = (prefix + rows * own) as usize;
        if rows > 4 {
            slots[4] = count as u32; // just outside: sees the cache alone
        }
        let rows = rows as usize;
        for (fused, interleaved) in [(true, false), (true, true), (false, false)] {
            let rope =
                RopeSplit { heads, kv_heads, dim, rotary, interleaved, mscale: if interleaved { 1.25 } else { 1.0 }, by_head: false };
            let mut ins = if fused {
                vec![frozen(&mut rng, &[rows, (heads + 2 * kv_heads) * dim], 1.0)]
            } else {
                [heads, kv_heads, kv_heads].map(|n| frozen(&mut rng, &[rows, n * dim], 1.0)).to_vec()
            };
            let positions: Vec<u32> = (0..rows as u32).map(|m| prefix + 7 * m).collect();
            let freq: Vec<f64> = (0..(rotary / 2).max(1)).map(|i| f64::from(0.9f32.powi(i as i32))).collect();
            ins.extend([ints(&[rows], &positions), values(&[freq.len()], &freq, false), ints(&[rows], &slots), ints(&[rows, 4], &spans)]);
            let shape = [2, count, kv_heads * dim];
            ins.push(if dtype == DType::F16 { halves(&mut rng, &shape, 1.0) } else { frozen(&mut rng, &shape, 1.0) });
            append(AttentionAppend { rope, scale: 1.0 / (dim as f32).sqrt(), cap: interleaved.then_some(0.5) }, &ins).await?;
            if fused && heads == kv_heads {
                append(AttentionAppend { rope: RopeSplit { by_head: true, ..rope }, scale: 0.3, cap: None }, &ins).await?;
            }
        }
    }
    Ok(())
}

fl_test!(
    async fn attention_forward() {
        forward(&gpu().await).await;
    }

    async fn attention_gradients() {
        gradients(&gpu().await).await;
    }

    async fn attention_cached() {
        cached(&gpu().await, DType::F32).await;
    }

    async fn attention_cached_halves() {
        cached(&gpu().await, DType::F16).await;
    }

    async fn attention_append() -> Result<()> {
        appends(DType::F32).await
    }

    async fn attention_append_halves() -> Result<()> {
        appends(DType::F16).await
    }

    async fn attention_append_refuses_what_does_not_fit() {
        let rope = RopeSplit { heads: 2, kv_heads: 1, dim: 8, rotary: 8, interleaved: false, mscale: 1.0, by_head: false };
        let push = |qkv: &[usize], slots: usize, spans: &[usize], cache: &[usize]| {
            let mut t = Tape::new();
            let descs = [Desc::f32(qkv), Desc::u32(&[3]), Desc::f32(&[4]), Desc::u32(&[slots]), Desc::u32(spans)];
            let ins = descs.map(|d| t.temp(d));
            let (o, cache) = (t.temp(Desc::f32(&[3, 16])), t.temp(Desc::f32(cache)));
            t.push_into(AttentionAppend { rope, scale: 1.0, cap: None }, &ins, &[(o, false), (cache, true)])
        };
        assert!(push(&[3, 32], 3, &[3, 4], &[2, 5, 8]).is_ok());
        for wrong in [
            push(&[3, 30], 3, &[3, 4], &[2, 5, 8]),
            push(&[3, 32], 2, &[3, 4], &[2, 5, 8]),
            push(&[3, 32], 3, &[3, 2], &[2, 5, 8]),
            push(&[3, 32], 3, &[3, 4], &[2, 5, 6]),
        ] {
            assert_eq!(wrong.expect_err("does not fit").code(), "bad-shape");
        }
    }

    /// What a half could not hold is NaN in the cache: whoever sees it gets no number, and nobody else is touched.
    async fn an_overflow_in_the_cache_is_seen() -> Result<()> {
        let (dim, slots) = (8, 24);
        for rows in [3usize, 20] {
            let mut rng = Rng(31);
            let mut cache = halves(&mut rng, &[2, slots, dim], 1.0);
            // A key in slot 2, which rows from 2 on see.
            cache.bytes.as_mut().expect("halves")[2 * 2 * dim..][..2].copy_from_slice(&0x7e00u16.to_le_bytes());
            let spans: Vec<u32> = (0..rows as u32).flat_map(|m| [u32::MAX, 0, 0, m + 1]).collect();
            let ins = [frozen(&mut rng, &[rows, 2 * dim], 1.0), cache, ints(&[rows, 4], &spans)];
            let op = AttentionCached { heads: 2, kv_heads: 1, dim, scale: 0.3, cap: None };
            for exec in [Exec::Gpu(gpu().await), Exec::Gpu(other_form().await), cpu()] {
                let got = run(&exec, &ins, None, false, &StepParams::default(), &|t: &mut Tape, v: &[Val]| t.push(op, v)).await?;
                for (row, o) in got.outputs[0].chunks(2 * dim).enumerate() {
                    let numbers = o.iter().filter(|v| v.is_finite()).count();
                    assert_eq!(numbers, if row < 2 { 2 * dim } else { 0 }, "row {row} of {rows} on {}: {o:?}", exec.info().name);
                }
            }
        }
        Ok(())
    }

    /// Likewise what the row itself brings: a key, which all of its heads see, or one number of a value.
    async fn an_overflow_that_is_appended_is_seen() -> Result<()> {
        let (rows, dim) = (3, 8);
        let rope = RopeSplit { heads: 2, kv_heads: 1, dim, rotary: 0, interleaved: false, mscale: 1.0, by_head: false };
        let op = AttentionAppend { rope, scale: 0.3, cap: None };
        for (channel, wrong) in [(2 * dim, 2 * dim), (3 * dim, 2)] {
            let mut rng = Rng(32);
            let mut qkv = frozen(&mut rng, &[rows, 4 * dim], 1.0);
            qkv.data[4 * dim + channel] = 1e5; // of the second row
            let spans: Vec<u32> = (0..rows as u32).flat_map(|m| [4, 4 + m, 0, 5]).collect();
            let slots: Vec<u32> = (0..rows as u32).map(|m| 4 + m).collect();
            let [positions, slots] = [vec![4; rows], slots].map(|d| ints(&[rows], &d));
            let cache = halves(&mut rng, &[2, 8, dim], 1.0);
            let ins = [qkv, positions, values(&[1], &[0.0], false), slots, ints(&[rows, 4], &spans), cache];
            for exec in [Exec::Gpu(gpu().await), Exec::Gpu(other_form().await), cpu()] {
                let [o, _] = appended(&exec, op, &ins).await?;
                for (row, o) in o.chunks(2 * dim).enumerate() {
                    let lost = o.iter().filter(|v| !v.is_finite()).count();
                    assert_eq!(lost, if row == 1 { wrong } else { 0 }, "row {row}, channel {channel} on {}: {o:?}", exec.info().name);
                }
            }
        }
        Ok(())
    }

    /// The masks of the fixture, made into spans as `tests/oracle/README.md` words them.
    async fn attention_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("attention") {
            let (q, k) = (case.shape("q"), case.shape("k"));
            let (b, t, heads, dim) = (q[0], q[1], q[2], q[3]);
            let (s, kv_heads) = (k[1], k[2]);
            let causal = case.params["causal"].as_bool().expect("a flag");
            let window = case.usize_param("window") as i64;
            let [starts, lengths, prefix, valid] = ["starts", "lengths", "prefix", "q_valid"].map(|n| case.data(n));
            let mut spans = Vec::new();
            for row in 0..b {
                for i in 0..t {
                    let at = (i + if causal { s - t } else { 0 }) as i64;
                    let (mut begin, mut end) = (starts[row] as i64, (starts[row] + lengths[row]) as i64);
                    if causal {
                        end = end.min((at + 1).max(prefix[row] as i64));
                    }
                    if window > 0 {
                        begin = begin.max(at - window + 1);
                    }
                    // A query that is padding itself sees nothing: its output is zero, and nothing flows back from it.
                    let seen = valid[row * t + i] != 0.0;
                    spans.extend(if seen { [begin as u32, end.max(begin) as u32] } else { [0, 0] });
                }
            }
            let ins = [
                case.input_as("q", &[b * t, heads * dim]),
                case.input_as("k", &[b * s, kv_heads * dim]),
                case.input_as("v", &[b * s, kv_heads * dim]),
                ints(&[b * t, 2], &spans),
            ];
            let op = Attention { heads, kv_heads, dim, scale: case.f32_param("scale"), cap: None, batch: b };
            case.check(&gpu, &ins, &["q", "k", "v", ""], &["y"], |t, v| Ok(vec![t.push(op, v)?[0]])).await;
        }
    }

    async fn attention_refuses_what_does_not_fit() {
        let op = Attention { heads: 2, kv_heads: 1, dim: 8, scale: 1.0, cap: None, batch: 2 };
        let push = |op: Attention, q: &[usize], k: &[usize], v: &[usize], spans: &[usize]| {
            let mut t = Tape::new();
            let ins = [t.temp(Desc::f32(q)), t.temp(Desc::f32(k)), t.temp(Desc::f32(v)), t.temp(Desc::u32(spans))];
            t.push(op, &ins).map(drop)
        };
        let (q, kv, sp): (&[usize], &[usize], &[usize]) = (&[6, 16], &[10, 8], &[6, 2]);
        assert!(push(op, q, kv, kv, sp).is_ok());
        for wrong in [
            push(op, &[5, 16], kv, kv, sp),
            push(op, q, &[9, 8], kv, sp),
            push(op, q, kv, &[8, 8], sp),
            push(op, q, kv, kv, &[6, 4]),
            push(Attention { kv_heads: 0, ..op }, q, kv, kv, sp),
            push(Attention { heads: 3, kv_heads: 2, ..op }, q, kv, kv, sp),
            push(Attention { batch: 0, ..op }, q, kv, kv, sp),
        ] {
            assert_eq!(wrong.expect_err("does not fit").code(), "bad-shape");
        }
        let cached = |dim: usize, dtype: DType, shape: &[usize]| {
            let mut t = Tape::new();
            let cache = Desc { shape: shape.to_vec(), dtype };
            let ins = [t.temp(Desc::f32(&[3, 2 * dim])), t.temp(cache), t.temp(Desc::u32(&[3, 4]))];
            t.push(AttentionCached { heads: 2, kv_heads: 1, dim, scale: 1.0, cap: None }, &ins).map(drop)
        };
        for dtype in [DType::F32, DType::F16] {
            assert!(cached(8, dtype, &[2, 5, 8]).is_ok());
            assert_eq!(cached(8, dtype, &[2, 5, 6]).expect_err("does not fit").code(), "bad-shape");
        }
        assert!(cached(5, DType::F32, &[2, 5, 5]).is_ok());
        for wrong in [cached(5, DType::F16, &[2, 5, 5]), cached(8, DType::BF16, &[2, 5, 8]), cached(8, DType::U32, &[2, 5, 8])] {
            assert_eq!(wrong.expect_err("does not fit").code(), "bad-shape");
        }
    }
);
