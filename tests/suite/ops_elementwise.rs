//! Activations, gated activations, sums, products, scaling, dropout.

use std::rc::Rc;

use crate::fixture;
use crate::harness::gpu;
use crate::opcase::{Rng, check, check_step, frozen, rand, values};
use fledgling::graph::{Exec, StepParams, Tape, Val};
use fledgling::ops::Act;
use fledgling::ops::activation::{Activation, Gated};
use fledgling::ops::dora::{DoraNorm, DoraScale};
use fledgling::ops::elementwise::{Add, Dropout, Mul, Noise, Scale};
use fledgling::ops::linear::{Linear, LoraSeg};
use fledgling::ops::lstm::LstmCell;
use fledgling::ops::reduce::{Fold, Reduce};
use fledgling::ops::softcap::SoftCap;

const ACTS: [Act; 4] = [Act::Gelu, Act::GeluTanh, Act::Relu, Act::Silu];
/// Rows and columns: one, odd, four to a thread.
const SIZES: [(usize, usize); 6] = [(1, 1), (3, 5), (5, 33), (33, 65), (1, 4), (65, 36)];

fl_test!(
    async fn activation() {
        let gpu = gpu().await;
        let mut rng = Rng(3);
        for act in ACTS {
            for (rows, cols) in SIZES {
                let ins = [rand(&mut rng, &[rows, cols], 4.0)];
                check(&gpu, &format!("{act:?} {rows}×{cols}"), &ins, 2e-5, |t, v| Ok(vec![t.push1(Activation { kind: act }, &[v[0]])?]))
                    .await;
            }
        }
    }

    async fn dora() {
        let gpu = gpu().await;
        let mut rng = Rng(16);
        for (n, k) in [(7, 5), (70, 33)] {
            // Two modules of a fused linear, the rows between them left alone.
            let half = n / 2;
            let (low, high) = (2, 3);
            let seg = |row0, row1, h_off, r, b_off, scale| LoraSeg { row0, row1, h_off, r, b_off, scale };
            let segs: Rc<[LoraSeg]> = [seg(0, half - 1, 0, low, 0, 2.0), seg(half, n, low, high, (half - 1) * low, 0.5)].into();
            let b = (half - 1) * low + (n - half) * high;
            let ins = [frozen(&mut rng, &[n, k], 1.0), frozen(&mut rng, &[low + high, k], 1.0), frozen(&mut rng, &[1, b], 1.0)];
            let norm = |t: &mut Tape, v: &[Val]| {
                let square = t.push1(Mul, &[v[0], v[0]])?;
                let squares = t.push1(Reduce { fold: Fold::Sum, all: false }, &[square])?;
                let products = t.push1(Linear::plain(), &[v[1], v[0]])?;
                let gram = t.push1(Linear::plain(), &[v[1], v[1]])?;
                t.push1(DoraNorm { segs: segs.clone() }, &[squares, products, gram, v[2]])
            };
            check(&gpu, &format!("dora_norm {n}×{k}"), &ins, 1e-4, |t, v| Ok(vec![norm(t, v)?])).await;
            for m in [1, 9] {
                let more = [rand(&mut rng, &[m, n], 1.0), rand(&mut rng, &[1, n], 1.0), frozen(&mut rng, &[n], 1.0)];
                let all: Vec<_> = ins.iter().chain(&more).cloned().collect();
                check(&gpu, &format!("dora_scale {m}×{n}"), &all, 1e-4, |t, v| {
                    let norm = norm(t, v)?;
                    let plain = t.push1(DoraScale { bias: false }, &[v[3], v[4], norm])?;
                    let bias = t.push1(DoraScale { bias: true }, &[v[3], v[4], norm, v[5]])?;
                    Ok(vec![plain, bias])
                })
                .await;
            }
        }
    }

    async fn lstm_cell() {
        let gpu = gpu().await;
        let mut rng = Rng(15);
        for (rows, hidden) in [(1, 1), (1, 33), (3, 20)] {
            let ins = [rand(&mut rng, &[rows, 4 * hidden], 2.0), rand(&mut rng, &[rows, hidden], 1.0)];
            check(&gpu, &format!("first cell {rows}×{hidden}"), &ins[..1], 2e-5, |t, v| t.push(LstmCell, &[v[0]])).await;
            check(&gpu, &format!("cell {rows}×{hidden}"), &ins, 2e-5, |t, v| t.push(LstmCell, &[v[0], v[1]])).await;
            // The last cell's own state is read by nobody.
            check(&gpu, &format!("last cell {rows}×{hidden}"), &ins, 2e-5, |t, v| Ok(vec![t.push(LstmCell, &[v[0], v[1]])?[0]])).await;
        }
    }

    async fn softcap() {
        let gpu = gpu().await;
        let mut rng = Rng(14);
        for (cap, (rows, cols)) in [0.5, 30.0].into_iter().flat_map(|c| SIZES.map(|s| (c, s))) {
            let ins = [rand(&mut rng, &[rows, cols], 4.0)];
            check(&gpu, &format!("softcap {cap} {rows}×{cols}"), &ins, 2e-5, |t, v| Ok(vec![t.push1(SoftCap { cap }, &[v[0]])?])).await;
        }
        // Far beyond the cap.
        let ins = [values(&[4], &[-1e19, -1e4, 1e4, 1e19], false)];
        check(&gpu, "softcap of extremes", &ins, 2e-5, |t, v| Ok(vec![t.push1(SoftCap { cap: 50.0 }, &[v[0]])?])).await;
    }

    /// Where exp overflows and tanh saturates: finite values, exact limits.
    async fn activation_extremes() {
        for (act, exec) in crate::harness::devices().await.iter().flat_map(|e| ACTS.map(|a| (a, e))) {
            for data in [vec![-100.0f64, -20.0, -6.0, -1e-4, 1e-4, 6.0, 20.0, 100.0], vec![-1e4, 1e4, -3e3], vec![-1e15, 1e15, -1e19, 1e19]]
            {
                let ins = [values(&[data.len()], &data.iter().map(|v| f64::from(*v as f32)).collect::<Vec<_>>(), true)];
                let step = StepParams::default();
                let build =
                    |t: &mut fledgling::graph::Tape, v: &[fledgling::graph::Val]| Ok(vec![t.push1(Activation { kind: act }, &[v[0]])?]);
                let seeds = [vec![1.0; data.len()]];
                let want = crate::opcase::run(&Exec::Reference, &ins, Some(&seeds), false, &step, &build).await.unwrap();
                let got = crate::opcase::run(exec, &ins, Some(&seeds), false, &step, &build).await.unwrap();
                for (i, x) in data.iter().enumerate() {
                    let (g, w) = (got.outputs[0][i], want.outputs[0][i]);
                    assert!((g - w).abs() <= 2e-6 * x.abs().max(1.0), "{act:?}({x}) is {g}, not {w}");
                    let (g, w) = (got.grads[0].as_ref().unwrap()[i], want.grads[0].as_ref().unwrap()[i]);
                    assert!((g - w).abs() <= 2e-5, "{act:?}′({x}) is {g}, not {w}");
                }
            }
        }
    }

    async fn gated() {
        let gpu = gpu().await;
        let mut rng = Rng(4);
        for act in ACTS {
            for (rows, cols) in SIZES {
                let what = format!("gated {act:?} {rows}×{cols}");
                let fused = [rand(&mut rng, &[rows, 2 * cols], 3.0)];
                check(&gpu, &format!("{what} fused"), &fused, 2e-5, |t, v| Ok(vec![t.push1(Gated { kind: act }, &[v[0]])?])).await;
                let split = [rand(&mut rng, &[rows, cols], 3.0), rand(&mut rng, &[rows, cols], 1.0)];
                check(&gpu, &what, &split, 2e-5, |t, v| Ok(vec![t.push1(Gated { kind: act }, &[v[0], v[1]])?])).await;
            }
        }
    }

    async fn add() {
        let gpu = gpu().await;
        let mut rng = Rng(5);
        for (rows, cols) in SIZES {
            let ins = [rand(&mut rng, &[rows, cols], 2.0), rand(&mut rng, &[rows, cols], 2.0)];
            check(&gpu, &format!("add {rows}×{cols}"), &ins, 2e-5, |t, v| Ok(vec![t.push1(Add, &[v[0], v[1]])?])).await;
            // A residual stream: the value flows on and into a branch that is added to it.
            check(&gpu, &format!("residual {rows}×{cols}"), &ins, 2e-5, |t, v| {
                let s = t.push1(Add, &[v[0], v[1]])?;
                let branch = t.push1(Activation { kind: Act::Silu }, &[s])?;
                let s = t.push1(Add, &[s, branch])?;
                Ok(vec![t.push1(Add, &[s, v[1]])?])
            })
            .await;
            // Both operands the same value.
            check(&gpu, &format!("double {rows}×{cols}"), &ins[..1], 2e-5, |t, v| Ok(vec![t.push1(Add, &[v[0], v[0]])?])).await;
        }
    }

    async fn mul() {
        let gpu = gpu().await;
        let mut rng = Rng(6);
        for (rows, cols) in SIZES {
            let ins = [rand(&mut rng, &[rows, cols], 2.0), rand(&mut rng, &[rows, cols], 2.0)];
            check(&gpu, &format!("mul {rows}×{cols}"), &ins, 2e-5, |t, v| Ok(vec![t.push1(Mul, &[v[0], v[1]])?])).await;
            check(&gpu, &format!("square {rows}×{cols}"), &ins[..1], 2e-5, |t, v| Ok(vec![t.push1(Mul, &[v[0], v[0]])?])).await;
        }
    }

    async fn scale() {
        let gpu = gpu().await;
        let mut rng = Rng(7);
        for (rows, cols) in SIZES {
            let ins = [rand(&mut rng, &[rows, cols], 2.0)];
            check(&gpu, &format!("scale {rows}×{cols}"), &ins, 2e-5, |t, v| Ok(vec![t.push1(Scale { factor: -0.375 }, &[v[0]])?])).await;
        }
    }

    /// The host draws the same bits, so that this compares the masks themselves, forward and backward.
    async fn dropout() {
        let gpu = gpu().await;
        let mut rng = Rng(8);
        for (rows, cols) in SIZES {
            for p in [0.0, 0.1, 0.5, 0.9, 1.0] {
                let ins = [rand(&mut rng, &[rows, cols], 2.0)];
                let step = StepParams { seed: 7, counter: 3, ..StepParams::default() };
                check_step(&gpu, &format!("dropout {p} {rows}×{cols}"), &ins, 2e-5, &step, |t, v| {
                    Ok(vec![t.push1(Dropout { p, salt: 11 }, &[v[0]])?])
                })
                .await;
            }
        }
    }

    /// The host draws the same numbers: this compares the noise itself.
    async fn noise() {
        let gpu = gpu().await;
        let mut rng = Rng(9);
        for (rows, cols) in SIZES {
            let ins = [rand(&mut rng, &[rows, cols], 2.0), frozen(&mut rng, &[rows], 1.0)];
            let step = StepParams { seed: 7, counter: 3, ..StepParams::default() };
            check_step(&gpu, &format!("noise {rows}×{cols}"), &ins, 2e-5, &step, |t, v| {
                Ok(vec![t.push1(Noise { salt: 11 }, &[v[0], v[1]])?])
            })
            .await;
        }
        // Uniform between −size and size, other numbers with another counter, and nothing where the size is 0.
        let size: Vec<f64> = (0..200).map(|i| if i < 100 { 0.5 } else { 0.0 }).collect();
        let ins = [values(&[200, 100], &vec![0.0; 20_000], false), values(&[200], &size, false)];
        let mut last = Vec::new();
        for counter in [0, 1] {
            let step = StepParams { seed: 1, counter, ..StepParams::default() };
            let build = |t: &mut fledgling::graph::Tape, v: &[fledgling::graph::Val]| Ok(vec![t.push1(Noise { salt: 5 }, &[v[0], v[1]])?]);
            let y = crate::opcase::run(&Exec::Gpu(gpu.clone()), &ins, None, false, &step, &build).await.unwrap().outputs.remove(0);
            let (noisy, still) = y.split_at(10_000);
            assert!(still.iter().all(|v| *v == 0.0) && noisy.iter().all(|v| v.abs() <= 0.5));
            let (mean, square) = (noisy.iter().sum::<f64>() / 1e4, noisy.iter().map(|v| v * v).sum::<f64>() / 1e4);
            assert!(mean.abs() < 0.01 && (square - 0.25 / 3.0).abs() < 0.003, "mean {mean}, mean square {square}");
            assert_ne!(y, last);
            last = y;
        }
    }

    async fn activations_are_pytorchs() {
        let gpu = gpu().await;
        for (op, kind) in [("gelu_erf", Act::Gelu), ("gelu_tanh", Act::GeluTanh), ("relu", Act::Relu), ("silu", Act::Silu)] {
            for case in fixture::cases(op) {
                case.check(&gpu, &[case.input("x")], &["x"], &["y"], |t, v| Ok(vec![t.push1(Activation { kind }, v)?])).await;
            }
        }
        for (op, kind) in [("swiglu", Act::Silu), ("geglu_erf", Act::Gelu), ("geglu_tanh", Act::GeluTanh)] {
            for case in fixture::cases(op) {
                let ins = [case.input("g"), case.input("u")];
                case.check(&gpu, &ins, &["g", "u"], &["y"], |t, v| Ok(vec![t.push1(Gated { kind }, v)?])).await;
            }
        }
    }

    async fn elementwise_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("add") {
            case.check(&gpu, &[case.input("a"), case.input("b")], &["a", "b"], &["y"], |t, v| Ok(vec![t.push1(Add, v)?])).await;
        }
        for case in fixture::cases("mul") {
            case.check(&gpu, &[case.input("a"), case.input("b")], &["a", "b"], &["y"], |t, v| Ok(vec![t.push1(Mul, v)?])).await;
        }
        for case in fixture::cases("scale") {
            let factor = case.f32_param("factor");
            case.check(&gpu, &[case.input("x")], &["x"], &["y"], |t, v| Ok(vec![t.push1(Scale { factor }, v)?])).await;
        }
    }

    async fn dropout_keeps_the_share_it_should() {
        let ones = [values(&[200, 100], &vec![1.0; 20_000], false)];
        let mut last = Vec::new();
        for (seed, counter, salt) in [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)] {
            let step = StepParams { seed, counter, ..StepParams::default() };
            let build = |t: &mut fledgling::graph::Tape, v: &[fledgling::graph::Val]| Ok(vec![t.push1(Dropout { p: 0.3, salt }, &[v[0]])?]);
            let y = crate::opcase::run(&Exec::Gpu(gpu().await), &ones, None, false, &step, &build).await.unwrap().outputs.remove(0);
            let kept = y.iter().filter(|v| **v != 0.0).count() as f64 / y.len() as f64;
            assert!((kept - 0.7).abs() < 0.02, "kept {kept}");
            let mean = y.iter().sum::<f64>() / y.len() as f64;
            assert!((mean - 1.0).abs() < 0.03, "mean {mean}");
            assert_ne!(y, last, "another seed, counter or salt is another mask");
            last = y;
        }
        let step = StepParams::default();
        let wrong = |t: &mut fledgling::graph::Tape, v: &[fledgling::graph::Val]| Ok(vec![t.push1(Dropout { p: 1.5, salt: 0 }, &[v[0]])?]);
        assert_eq!(
            crate::opcase::run(&Exec::Reference, &ones, None, false, &step, &wrong).await.err().map(|e| e.code()),
            Some("bad-shape")
        );
    }
);
