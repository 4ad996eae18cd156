//! rope: the split, both pair orders, partial rotation, the cache.

use crate::fixture;
use crate::harness::{cpu, gpu, other_form};
use crate::opcase::{In, Rng, check, frozen, halves, ints, rand, tensor, values};
use fledgling::Result;
use fledgling::graph::{Desc, Exec, HostProgram, Program, ProgramOptions, StepParams, Tape};
use fledgling::ops::rope::{RopeAppend, RopeSplit};
use fledgling::tensor::{DType, dequantize, quantize};

fn frequencies(rotary: usize, theta: f64) -> In {
    let f: Vec<f64> = (0..(rotary / 2).max(1)).map(|i| f64::from(theta.powf(-2.0 * i as f64 / rotary.max(1) as f64) as f32)).collect();
    values(&[f.len()], &f, false)
}

/// (rows, heads, kv_heads, dim, rotary)
const SHAPES: [(usize, usize, usize, usize, usize); 6] =
    [(1, 1, 1, 2, 2), (3, 3, 1, 5, 4), (33, 9, 3, 64, 64), (65, 4, 2, 8, 8), (5, 2, 2, 80, 20), (5, 3, 1, 7, 0)];

/// A cache of halves behind an append, from the f64 reference and from every executor. Inputs: the op's, then the cache.
async fn appended(same: RopeSplit, ins: &[In]) -> Result<Vec<Vec<f32>>> {
    let execs = [Exec::Reference, Exec::Gpu(gpu().await), Exec::Gpu(other_form().await), cpu()];
    let mut out = Vec::new();
    for exec in &execs {
        let mut tape = Tape::new();
        let tensors = ins.iter().map(|i| tensor(exec, "in", i)).collect::<Result<Vec<_>>>()?;
        let vals: Vec<_> = tensors.iter().map(|t| tape.tensor(t)).collect();
        let n = vals.len() - 1;
        let (slots, cache) = (&ins[n - 1].desc, &tensors[n]);
        let q = tape.temp(Desc::f32(&[slots.len(), same.heads * same.dim]));
        tape.push_into(RopeAppend { same }, &vals[..n], &[(q, false), (vals[n], true)])?;
        let step = StepParams::default();
        match exec {
            Exec::Reference => HostProgram::new(&tape).run(&step)?,
            _ => drop(Program::build(exec, &tape, ProgramOptions::default())?.run(&step, &[]).await?),
        }
        out.push(cache.read_rows(exec, 0, cache.desc().rows()).await?);
    }
    Ok(out)
}

/// `rows` tokens for slots in reverse order, every third of them for none.
fn backwards(rows: usize) -> Vec<u32> {
    (0..rows as u32).map(|i| if i % 3 == 2 { u32::MAX } else { rows as u32 + 1 - i }).collect()
}

fl_test!(
    async fn rope_fused_and_separate() {
        let gpu = gpu().await;
        let mut rng = Rng(3);
        for (rows, heads, kv_heads, dim, rotary) in SHAPES {
            for interleaved in [false, true] {
                let op =
                    RopeSplit { heads, kv_heads, dim, rotary, interleaved, mscale: if interleaved { 1.25 } else { 1.0 }, by_head: false };
                let what = format!("{op:?} of {rows}");
                let positions: Vec<u32> = (0..rows as u32).map(|i| i * 3 + 5).collect();
                let (positions, freq) = (ints(&[rows], &positions), frequencies(rotary, 1e4));
                let ins = [rand(&mut rng, &[rows, (heads + 2 * kv_heads) * dim], 1.0), positions.clone(), freq.clone()];
                check(&gpu, &what, &ins, 2e-5, |t, v| t.push(op, v)).await;
                // Gradient of one part only: the others are zeros.
                check(&gpu, &what, &ins, 2e-5, |t, v| Ok(vec![t.push(op, v)?[1]])).await;
                let ins = [
                    rand(&mut rng, &[rows, heads * dim], 1.0),
                    rand(&mut rng, &[rows, kv_heads * dim], 1.0),
                    rand(&mut rng, &[rows, kv_heads * dim], 1.0),
                    positions,
                    freq,
                ];
                check(&gpu, &what, &ins, 2e-5, |t, v| t.push(op, v)).await;
            }
        }
    }

    /// Fused rows that hold q, k and v of one head after the other.
    async fn rope_by_head() {
        let gpu = gpu().await;
        let mut rng = Rng(13);
        for (rows, heads, dim, rotary) in [(1, 1, 4, 4), (3, 3, 8, 4), (9, 4, 6, 2), (5, 2, 7, 0)] {
            let op = RopeSplit { heads, kv_heads: heads, dim, rotary, interleaved: rows == 3, mscale: 1.0, by_head: true };
            let positions: Vec<u32> = (0..rows as u32).map(|i| i * 3 + 5).collect();
            let ins = [rand(&mut rng, &[rows, 3 * heads * dim], 1.0), ints(&[rows], &positions), frequencies(rotary, 1e4)];
            check(&gpu, &format!("{op:?} of {rows}"), &ins, 2e-5, |t, v| t.push(op, v)).await;
            // The same numbers as in the usual order.
            let mut usual = ins.clone();
            for row in 0..rows {
                for (head, part, c) in (0..heads * 3 * dim).map(|i| (i / (3 * dim), i / dim % 3, i % dim)) {
                    let at = row * 3 * heads * dim;
                    usual[0].data[at + (part * heads + head) * dim + c] = ins[0].data[at + (head * 3 + part) * dim + c];
                }
            }
            let (step, plain) = (StepParams::default(), RopeSplit { by_head: false, ..op });
            let both = [(&ins, op), (&usual, plain)];
            let mut outs = Vec::new();
            for (ins, op) in both {
                outs.push(
                    crate::opcase::run(&Exec::Reference, ins, None, false, &step, &|t: &mut Tape, v: &[_]| t.push(op, v))
                        .await
                        .unwrap()
                        .outputs,
                );
            }
            assert_eq!(outs[0], outs[1], "{op:?}");
        }
    }

    /// An angle computed in f32 would be wrong by 1e-2 here.
    async fn rope_far_away() {
        let gpu = gpu().await;
        let op = RopeSplit { heads: 1, kv_heads: 1, dim: 32, rotary: 32, interleaved: false, mscale: 1.0, by_head: false };
        let positions = [0, 1, 2, 63, 2047, 8191, 131_071, 1_000_003, 16_777_215, 4_000_000_007];
        let mut freq = frequencies(32, 5e5);
        // Frequencies that a table may also hold: none, denormal, above one, negative, exactly one half turn.
        for (i, f) in [0.0, 1e-40, 3.5, -0.25, std::f64::consts::PI].into_iter().enumerate() {
            freq.data[i + 2] = f64::from(f as f32);
        }
        let ins = [rand(&mut Rng(5), &[positions.len(), 96], 1.0), ints(&[positions.len()], &positions), freq];
        check(&gpu, "rope far away", &ins, 2e-5, |t, v| t.push(op, v)).await;
    }

    async fn rope_append() {
        let gpu = gpu().await;
        let mut rng = Rng(4);
        for (rows, heads, kv_heads, dim, rotary) in SHAPES {
            let same = RopeSplit { heads, kv_heads, dim, rotary, interleaved: rows == 3, mscale: 1.0, by_head: false };
            let count = rows + 4;
            // Every third token is padding and goes nowhere; the others are written backwards.
            let slots = backwards(rows);
            let positions: Vec<u32> = (0..rows as u32).map(|i| i * 7).collect();
            let cache = frozen(&mut rng, &[2, count, kv_heads * dim], 1.0);
            for fused in [true, false] {
                let mut ins = if fused {
                    vec![frozen(&mut rng, &[rows, (heads + 2 * kv_heads) * dim], 1.0)]
                } else {
                    [heads, kv_heads, kv_heads].map(|n| frozen(&mut rng, &[rows, n * dim], 1.0)).to_vec()
                };
                ins.extend([ints(&[rows], &positions), frequencies(rotary, 1e4), ints(&[rows], &slots), cache.clone()]);
                check(&gpu, &format!("{same:?} append {rows}"), &ins, 2e-5, |t: &mut Tape, v| {
                    let n = v.len() - 1;
                    let q = t.temp(Desc::f32(&[rows, heads * dim]));
                    // A copy: the tensor would change from run to run.
                    let cache = fledgling::graph::identity(t, v[n])?;
                    t.push_into(RopeAppend { same }, &v[..n], &[(q, false), (cache, true)])?;
                    Ok(vec![q, cache])
                })
                .await;
            }
        }
    }

    /// What is only copied into a cache of halves is rounded to the nearest, to the bit, and nothing else changes. Heads of an odd width: their
    /// neighbours share words.
    async fn rope_append_rounds_to_the_nearest() -> Result<()> {
        let (rows, heads, kv_heads, dim) = (29, 1, 2, 7);
        let same = RopeSplit { heads, kv_heads, dim, rotary: 0, interleaved: false, mscale: 1.0, by_head: false };
        let mut rng = Rng(8);
        let (own, width) = (heads * dim, kv_heads * dim);
        let mut qkv = frozen(&mut rng, &[rows, own + 2 * width], 3.0);
        // Middles between two halves, of either evenness; subnormal ones; the largest, and what is beyond.
        let ulp = f64::from(2f32.powi(-11));
        let tiny = f64::from(2f32.powi(-24));
        let special = [
            1.0 + ulp,
            1.0 + 3.0 * ulp,
            -1.0 - ulp,
            1.0 + 1.001 * ulp,
            1.0 + 0.999 * ulp,
            -0.0,
            tiny,
            tiny / 2.0,
            1.5 * tiny,
            0.51 * tiny,
            -2.5 * tiny,
            1023.5 * tiny,
            1023.6 * tiny,
            1e-30,
            65504.0,
            -65504.0,
            65519.0,
            65520.0,
            -1e6,
        ];
        for (i, v) in special.iter().enumerate() {
            // In rows that are stored.
            qkv.data[(i + i / 2) * (own + 2 * width) + own + i * 3 % (2 * width)] = f64::from(*v as f32);
        }
        let cache = halves(&mut rng, &[2, rows + 4, width], 1.0);
        let ins = [qkv.clone(), ints(&[rows], &vec![3; rows]), frequencies(0, 1e4), ints(&[rows], &backwards(rows)), cache.clone()];
        let all = appended(same, &ins).await?;
        // Slots that nobody names keep what they hold.
        let mut want: Vec<f32> = cache.data.iter().map(|v| *v as f32).collect();
        for (row, slot) in backwards(rows).into_iter().enumerate().filter(|s| s.1 != u32::MAX) {
            for (i, v) in qkv.data[row * (own + 2 * width) + own..][..2 * width].iter().enumerate() {
                let kept = dequantize(DType::F16, &quantize(DType::F16, &[*v as f32]))[0];
                want[(i / width * (rows + 4) + slot as usize) * width + i % width] = if kept.is_finite() { kept } else { f32::NAN };
            }
        }
        assert!(want.iter().any(|v| v.is_nan()) && want.contains(&65504.0));
        for (exec, got) in all.iter().enumerate() {
            for (i, (g, w)) in got.iter().zip(&want).enumerate() {
                assert!(g.to_bits() == w.to_bits() || (g.is_nan() && w.is_nan()), "executor {exec}, element {i}: {g} instead of {w}");
            }
        }
        Ok(())
    }

    /// What is turned may fall to the other side of a middle between two halves, seldom, and not further.
    async fn rope_append_halves() -> Result<()> {
        let mut rng = Rng(9);
        for (rows, heads, kv_heads, dim, rotary) in SHAPES.into_iter().chain([(9, 2, 2, 5, 2), (4, 4, 2, 6, 6)]) {
            if kv_heads * dim % 2 == 1 {
                continue;
            }
            let same = RopeSplit { heads, kv_heads, dim, rotary, interleaved: rows == 9, mscale: 1.0, by_head: false };
            let positions: Vec<u32> = (0..rows as u32).map(|i| i * 7).collect();
            let cache = halves(&mut rng, &[2, rows + 4, kv_heads * dim], 1.0);
            for fused in [true, false] {
                let mut ins = if fused {
                    vec![frozen(&mut rng, &[rows, (heads + 2 * kv_heads) * dim], 1.0)]
                } else {
                    [heads, kv_heads, kv_heads].map(|n| frozen(&mut rng, &[rows, n * dim], 1.0)).to_vec()
                };
                ins.extend([ints(&[rows], &positions), frequencies(rotary, 1e4), ints(&[rows], &backwards(rows)), cache.clone()]);
                let all = appended(same, &ins).await?;
                for (exec, got) in all.iter().enumerate().skip(1) {
                    let what = format!("{same:?} append {rows} on executor {exec}");
                    let mut other = 0;
                    for (i, (g, w)) in got.iter().zip(&all[0]).enumerate() {
                        // The distance of neighbours, and what a sum that cancels leaves of its terms.
                        assert!((g - w).abs() <= w.abs() / 1024.0 + 1e-6, "{what}[{i}]: {g} instead of {w}");
                        other += usize::from(g != w);
                    }
                    assert!(other * 100 <= got.len() + 200, "{what}: {other} of {} halves differ", got.len());
                }
            }
        }
        Ok(())
    }

    /// The fixture turns one tensor; here q and k are both that tensor, and v passes through.
    async fn rope_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("rope") {
            let shape = case.shape("x");
            let (rows, heads, dim) = (shape[0] * shape[1], shape[2], shape[3]);
            let mscale = if case.params["attention_factor"].is_null() { 1.0 } else { case.f32_param("attention_factor") };
            let interleaved = case.text_param("order") == "norm";
            let x = case.input_as("x", &[rows, heads * dim]);
            let ins = [x.clone(), x.clone(), In { grad: false, ..x }, case.ints("positions"), case.input("inv_freq")];
            let op = RopeSplit { heads, kv_heads: heads, dim, rotary: dim, interleaved, mscale, by_head: false };
            case.check(&gpu, &ins, &["x", "x", "", "", ""], &["y", "y"], |t, v| Ok(t.push(op, v)?[..2].to_vec())).await;
        }
    }

    async fn rope_refuses_what_does_not_fit() {
        let op = RopeSplit { heads: 2, kv_heads: 1, dim: 8, rotary: 8, interleaved: false, mscale: 1.0, by_head: false };
        let push = |op: RopeSplit, qkv: &[usize], freq: usize| {
            let mut t = Tape::new();
            let ins = [t.temp(Desc::f32(qkv)), t.temp(Desc::u32(&[3])), t.temp(Desc::f32(&[freq]))];
            t.push(op, &ins).map(drop)
        };
        assert!(push(op, &[3, 32], 4).is_ok());
        for wrong in [push(op, &[3, 24], 4), push(op, &[4, 32], 4), push(op, &[3, 32], 8), push(RopeSplit { rotary: 9, ..op }, &[3, 32], 4)]
        {
            assert_eq!(wrong.expect_err("does not fit").code(), "bad-shape");
        }
    }
);
