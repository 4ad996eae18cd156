//! linear_logps: the vocabulary head fused with the log-probability of the targets.

use crate::harness::gpu;
use crate::opcase::{Rng, check, ints, rand};
use crate::ops_linear::weight;
use fledgling::ops::head::LinearLogps;
use fledgling::tensor::DType;

fl_test!(
    async fn linear_logps() {
        let gpu = gpu().await;
        let mut rng = Rng(8);
        for (rows, c, v) in [(1, 8, 3), (5, 32, 65), (67, 32, 130)] {
            let targets: Vec<u32> = (0..rows).map(|i| if i % 4 == 3 { u32::MAX } else { rng.next() as u32 % v as u32 }).collect();
            for dtype in [DType::F32, DType::Q8_0, DType::Q4_1] {
                if dtype != DType::F32 && c % 32 != 0 {
                    continue;
                }
                let ins = [rand(&mut rng, &[rows, c], 1.0), weight(&mut rng, dtype, v, c, 1.0), ints(&[rows], &targets)];
                check(&gpu, &format!("linear_logps {} {rows}×{c}×{v}, frozen head", dtype.name()), &ins, 3e-5, |t, x| {
                    Ok(vec![t.push(LinearLogps { saved: true }, x)?[0]])
                })
                .await;
            }
            let ins = [rand(&mut rng, &[rows, c], 1.0), rand(&mut rng, &[v, c], 1.0), ints(&[rows], &targets)];
            check(&gpu, &format!("linear_logps {rows}×{c}×{v}, trained head"), &ins, 3e-5, |t, x| {
                t.push(LinearLogps { saved: false }, x)
            })
            .await;
        }
    }
);

fl_test!(
    async fn linear_logps_in_chunks() {
        // A vocabulary so large that 64 rows fill a chunk.
        let gpu = gpu().await;
        let mut rng = Rng(9);
        let (rows, c, v) = (70, 8, 132_000);
        let targets: Vec<u32> = (0..rows as u32).map(|i| i * 1801).collect();
        let mut ins = [rand(&mut rng, &[rows, c], 1.0), rand(&mut rng, &[v, c], 1.0), ints(&[rows], &targets)];
        ins[1].grad = false;
        ins[0].grad = false; // finite differences over 9 million logits would take minutes; the small cases have them
        check(&gpu, "linear_logps in chunks", &ins, 3e-5, |t, x| t.push(LinearLogps { saved: true }, x)).await;
    }
);
