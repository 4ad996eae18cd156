//! Softmax, sums, means, maxima.

use crate::fixture;
use crate::harness::gpu;
use crate::opcase::{Rng, check, ints, rand};
use fledgling::graph::{Tape, Val};
use fledgling::ops::reduce::{Fold, Reduce, Softmax};

const SIZES: [(usize, usize); 6] = [(1, 1), (3, 5), (5, 33), (33, 65), (65, 8), (2, 1757)];

fn reduce(fold: Fold, all: bool) -> impl Fn(&mut Tape, &[Val]) -> fledgling::Result<Vec<Val>> {
    move |t, v| Ok(vec![t.push(Reduce { fold, all }, v)?[0]])
}

fl_test!(
    async fn softmax() {
        let gpu = gpu().await;
        let mut rng = Rng(51);
        for (rows, cols) in SIZES {
            let x = rand(&mut rng, &[rows, cols], 6.0);
            check(&gpu, &format!("softmax {rows}×{cols}"), std::slice::from_ref(&x), 2e-5, |t, v| Ok(vec![t.push1(Softmax, v)?])).await;
            let mut lengths: Vec<u32> = (0..rows).map(|_| (rng.next() % (cols as u64 + 1)) as u32).collect();
            lengths[0] = 0;
            lengths[rows - 1] = cols as u32 + 7;
            let ins = [x, ints(&[rows], &lengths)];
            check(&gpu, &format!("softmax {rows}×{cols}, masked"), &ins, 2e-5, |t, v| Ok(vec![t.push1(Softmax, v)?])).await;
        }
        // Where exp alone would overflow.
        let mut x = rand(&mut rng, &[4, 33], 60.0);
        x.data.iter_mut().for_each(|v| *v = f64::from((*v + 500.0) as f32));
        x.grad = false;
        check(&gpu, "softmax of large logits", &[x], 2e-5, |t, v| Ok(vec![t.push1(Softmax, v)?])).await;
    }

    async fn reduce_rows_and_everything() {
        let gpu = gpu().await;
        let mut rng = Rng(52);
        for fold in [Fold::Sum, Fold::Mean, Fold::Max] {
            for (rows, cols) in SIZES {
                let ins = [rand(&mut rng, &[rows, cols], 2.0)];
                check(&gpu, &format!("{fold:?} of rows {rows}×{cols}"), &ins, 2e-5, reduce(fold, false)).await;
                check(&gpu, &format!("{fold:?} of all {rows}×{cols}"), &ins, 2e-5, reduce(fold, true)).await;
            }
        }
    }

    /// Ties share the gradient, also when they lie in different parts of the first stage.
    async fn reduce_max_with_ties() {
        for exec in crate::harness::devices().await {
            let mut rng = Rng(53);
            let mut x = rand(&mut rng, &[3, 1000], 1.0);
            for i in [5, 999, 1000, 2500, 2999] {
                x.data[i] = 3.0;
            }
            let got =
                crate::opcase::run(&exec, &[x], Some(&[vec![1.0]]), false, &Default::default(), &reduce(Fold::Max, true)).await.unwrap();
            assert_eq!(got.outputs[0], [3.0]);
            let grad = got.grads[0].as_ref().unwrap();
            for (i, g) in grad.iter().enumerate() {
                let want = if [5, 999, 1000, 2500, 2999].contains(&i) { 0.2 } else { 0.0 };
                assert!((g - want).abs() < 1e-6, "element {i}: {g}");
            }
        }
    }

    async fn reductions_are_pytorchs() {
        let gpu = gpu().await;
        for (op, fold) in [("reduce_sum", Fold::Sum), ("reduce_mean", Fold::Mean), ("reduce_max", Fold::Max)] {
            for case in fixture::cases(op) {
                let all = case.params["axis"] == "all";
                case.check(&gpu, &[case.input("x")], &["x"], &["y"], reduce(fold, all)).await;
            }
        }
    }

    async fn softmax_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("softmax") {
            let mut ins = vec![case.input("x")];
            if case.has("lengths") {
                ins.push(case.ints("lengths"));
            }
            case.check(&gpu, &ins, &["x"], &["y"], |t, v| Ok(vec![t.push1(Softmax, v)?])).await;
        }
    }
);
