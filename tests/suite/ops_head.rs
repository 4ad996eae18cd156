//! linear_logps: the vocabulary head fused with the log-probability of the targets.

use crate::fixture;
use crate::harness::gpu;
use crate::opcase::{In, Rng, check, ints, rand};
use crate::ops_linear::{small_bindings, split_rows, weight};
use fledgling::ops::elementwise::Scale;
use fledgling::ops::head::LinearLogps;
use fledgling::ops::reduce::{Fold, Reduce};
use fledgling::tensor::DType;

fl_test!(
    async fn linear_logps() {
        let gpu = gpu().await;
        let mut rng = Rng(8);
        for (rows, c, v) in [(1, 8, 3), (5, 32, 65), (67, 32, 130)] {
            let targets: Vec<u32> = (0..rows).map(|i| if i % 4 == 3 { u32::MAX } else { rng.next() as u32 % v as u32 }).collect();
            for dtype in [DType::F32, DType::F16, DType::BF16, DType::Q4_0, DType::Q4_1, DType::Q8_0] {
                if dtype.is_quantized() && c % 32 != 0 {
                    continue;
                }
                let ins = [rand(&mut rng, &[rows, c], 1.0), weight(&mut rng, dtype, v, c, 1.0), ints(&[rows], &targets)];
                check(&gpu, &format!("linear_logps {} {rows}×{c}×{v}, frozen head", dtype.name()), &ins, 3e-5, |t, x| {
                    Ok(vec![t.push(LinearLogps::new(true), x)?[0]])
                })
                .await;
            }
            let ins = [rand(&mut rng, &[rows, c], 1.0), rand(&mut rng, &[v, c], 1.0), ints(&[rows], &targets)];
            check(&gpu, &format!("linear_logps {rows}×{c}×{v}, trained head"), &ins, 3e-5, |t, x| t.push(LinearLogps::new(false), x)).await;
        }
    }
);

fl_test!(
    /// Capped logits: far below the cap, around it and far beyond.
    async fn linear_logps_capped() {
        let gpu = gpu().await;
        let mut rng = Rng(10);
        for (rows, c, v, cap) in [(1, 8, 3, 30.0), (5, 32, 65, 2.0), (67, 32, 130, 0.5)] {
            let targets: Vec<u32> = (0..rows).map(|i| if i % 4 == 3 { u32::MAX } else { rng.next() as u32 % v as u32 }).collect();
            for saved in [true, false] {
                let mut ins = [rand(&mut rng, &[rows, c], 1.0), rand(&mut rng, &[v, c], 1.0), ints(&[rows], &targets)];
                ins[1].grad = !saved;
                let op = LinearLogps::new(saved).capped(Some(cap));
                check(&gpu, &format!("{op:?} {rows}×{c}×{v}"), &ins, 3e-5, |t, x| Ok(vec![t.push(op.clone(), x)?[0]])).await;
            }
        }
    }

    /// Smoothed labels, with and without a cap.
    async fn linear_logps_smoothed() {
        let gpu = gpu().await;
        let mut rng = Rng(12);
        for (rows, c, v, cap) in [(1, 8, 3, None), (5, 32, 65, Some(2.0)), (67, 32, 130, None)] {
            let targets: Vec<u32> = (0..rows).map(|i| if i % 4 == 3 { u32::MAX } else { rng.next() as u32 % v as u32 }).collect();
            for saved in [true, false] {
                let mut ins = [rand(&mut rng, &[rows, c], 1.0), rand(&mut rng, &[v, c], 1.0), ints(&[rows], &targets)];
                ins[1].grad = !saved;
                let op = LinearLogps::new(saved).capped(cap).smoothed(0.2);
                check(&gpu, &format!("{op:?} {rows}×{c}×{v}"), &ins, 3e-5, |t, x| Ok(vec![t.push(op.clone(), x)?[0]])).await;
            }
        }
    }

    /// Entropies beside log-probabilities, which have no gradient; ignored rows have none.
    async fn linear_logps_with_entropies() {
        let gpu = gpu().await;
        let mut rng = Rng(11);
        for (rows, c, v, cap) in [(1, 8, 3, None), (5, 32, 65, Some(2.0)), (67, 32, 1300, None)] {
            let targets: Vec<u32> = (0..rows).map(|i| if i % 4 == 3 { u32::MAX } else { rng.next() as u32 % v as u32 }).collect();
            for saved in [true, false] {
                let mut ins = [rand(&mut rng, &[rows, c], 1.0), rand(&mut rng, &[v, c], 1.0), ints(&[rows], &targets)];
                ins.iter_mut().for_each(|i| i.grad = false);
                let op = LinearLogps::new(saved).capped(cap).spread(true);
                check(&gpu, &format!("{op:?} {rows}×{c}×{v}"), &ins, 3e-5, |t, x| {
                    let out = t.push(op.clone(), x)?;
                    Ok(vec![out[0], out[out.len() - 1]])
                })
                .await;
            }
        }
    }

    async fn linear_logps_in_chunks() {
        // A vocabulary so large that 64 rows fill a chunk.
        let gpu = gpu().await;
        let mut rng = Rng(9);
        let (rows, c, v) = (70, 8, 132_000);
        let targets: Vec<u32> = (0..rows as u32).map(|i| i * 1801).collect();
        let mut ins = [rand(&mut rng, &[rows, c], 1.0), rand(&mut rng, &[v, c], 1.0), ints(&[rows], &targets)];
        ins[1].grad = false;
        ins[0].grad = false; // finite differences over 9 million logits would take minutes; the small cases have them
        check(&gpu, "linear_logps in chunks", &ins, 3e-5, |t, x| t.push(LinearLogps::new(true), x)).await;
    }
);

fl_test!(
    /// A vocabulary in several buffers: what large ones are where bindings end at 128 MiB.
    async fn linear_logps_over_split_weights() {
        let gpu = small_bindings().await;
        let mut rng = Rng(12);
        for dtype in [DType::F32, DType::F16, DType::Q4_1, DType::Q8_0] {
            let (rows, c, v) = (3, 64, split_rows(dtype));
            let ins = [rand(&mut rng, &[rows, c], 1.0), weight(&mut rng, dtype, v, c, 1.0), ints(&[rows], &[0, v as u32 - 1, 70])];
            for saved in [true, false] {
                check(&gpu, &format!("linear_logps over parts of {}, saved {saved}", dtype.name()), &ins, 3e-5, |t, x| {
                    Ok(vec![t.push(LinearLogps::new(saved), x)?[0]])
                })
                .await;
            }
        }
    }

    /// A trainable head computes its logits again, a frozen one keeps what a gradient needs: both are asked.
    async fn linear_gather_logps_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("linear_gather_logps") {
            let ins = [case.input("x"), case.weight(), case.ints("labels")];
            let saved = !ins[1].grad;
            case.check(&gpu, &ins, &["x", "w", ""], &["logps"], |t, v| Ok(vec![t.push(LinearLogps::new(saved), v)?[0]])).await;
            let frozen = [ins[0].clone(), In { grad: false, ..ins[1].clone() }, ins[2].clone()];
            case.check(&gpu, &frozen, &["x", "", ""], &["logps"], |t, v| Ok(vec![t.push(LinearLogps::new(true), v)?[0]])).await;
        }
    }

    async fn linear_cross_entropy_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("linear_cross_entropy") {
            let ins = [case.input("x"), case.weight(), case.ints("labels")];
            let saved = !ins[1].grad;
            let counted = ins[2].data.iter().filter(|l| **l != f64::from(u32::MAX)).count();
            case.check(&gpu, &ins, &["x", "w", ""], &["loss"], |t, v| {
                let logp = t.push(LinearLogps::new(saved), v)?[0];
                let sum = t.push1(Reduce { fold: Fold::Sum, all: true }, &[logp])?;
                Ok(vec![t.push1(Scale { factor: -1.0 / counted as f32 }, &[sum])?])
            })
            .await;
        }
    }
);
