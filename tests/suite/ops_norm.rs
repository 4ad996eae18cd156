//! rms_norm and layer_norm.

use crate::fixture;
use crate::harness::gpu;
use crate::opcase::{Rng, check, rand};
use fledgling::ops::norm::{LayerNorm, RmsNorm};

fl_test!(
    async fn rms_norm() {
        let gpu = gpu().await;
        let mut rng = Rng(1);
        for (rows, cols) in [(1, 1), (3, 5), (7, 576), (65, 33), (2, 1757)] {
            let ins = [rand(&mut rng, &[rows, cols], 2.0), rand(&mut rng, &[cols], 1.0)];
            check(&gpu, &format!("rms_norm {rows}×{cols}"), &ins, 2e-5, |t, v| Ok(vec![t.push(RmsNorm::new(1e-5), &[v[0], v[1]])?[0]]))
                .await;
        }
    }

    /// Heads of 12 channels share a weight of 12.
    async fn rms_norm_by_heads() {
        let gpu = gpu().await;
        let mut rng = Rng(2);
        for (rows, heads, dim) in [(1, 3, 5), (7, 4, 12), (33, 2, 64)] {
            let ins = [rand(&mut rng, &[rows, heads * dim], 2.0), rand(&mut rng, &[dim], 1.0)];
            check(&gpu, &format!("rms_norm {rows}×{heads}×{dim}"), &ins, 2e-5, |t, v| {
                Ok(vec![t.push(RmsNorm::new(1e-6), &[v[0], v[1]])?[0]])
            })
            .await;
        }
    }

    /// Weights that are told from one, as Gemma's are.
    async fn rms_norm_with_an_offset() {
        let gpu = gpu().await;
        let mut rng = Rng(5);
        for (rows, cols, dim) in [(1, 5, 5), (7, 24, 12), (33, 128, 128)] {
            let ins = [rand(&mut rng, &[rows, cols], 2.0), rand(&mut rng, &[dim], 1.0)];
            let op = RmsNorm { eps: 1e-6, offset: 1.0 };
            check(&gpu, &format!("{op:?} {rows}×{cols}"), &ins, 2e-5, |t, v| Ok(vec![t.push(op, &[v[0], v[1]])?[0]])).await;
        }
    }

    /// Without a bias, and over heads that have weights of their own.
    async fn layer_norm_by_heads() {
        let gpu = gpu().await;
        let mut rng = Rng(6);
        for (rows, heads, dim) in [(1, 1, 5), (7, 4, 12), (33, 2, 64), (3, 3, 4)] {
            let op = LayerNorm { eps: 1e-5, heads };
            let mut ins = vec![rand(&mut rng, &[rows, heads * dim], 2.0), rand(&mut rng, &[heads * dim], 1.0)];
            check(&gpu, &format!("{op:?} {rows}×{dim}"), &ins, 2e-5, |t, v| Ok(vec![t.push(op, v)?[0]])).await;
            ins.push(rand(&mut rng, &[heads * dim], 1.0));
            check(&gpu, &format!("{op:?} {rows}×{dim}, bias"), &ins, 2e-5, |t, v| Ok(vec![t.push(op, v)?[0]])).await;
        }
    }

    async fn layer_norm() {
        let gpu = gpu().await;
        let mut rng = Rng(3);
        for (rows, cols) in [(1, 2), (3, 5), (7, 128), (65, 33), (2, 1757)] {
            let ins = [rand(&mut rng, &[rows, cols], 2.0), rand(&mut rng, &[cols], 1.0), rand(&mut rng, &[cols], 1.0)];
            check(&gpu, &format!("layer_norm {rows}×{cols}"), &ins, 2e-5, |t, v| Ok(vec![t.push(LayerNorm::new(1e-5), v)?[0]])).await;
        }
        // A large mean and a small spread: one pass over x and x² would lose it.
        let mut far = rand(&mut rng, &[3, 64], 0.01);
        far.data.iter_mut().for_each(|v| *v = f64::from((*v + 100.0) as f32));
        far.grad = false;
        let ins = [far, rand(&mut rng, &[64], 1.0), rand(&mut rng, &[64], 1.0)];
        check(&gpu, "layer_norm far from 0", &ins, 5e-3, |t, v| Ok(vec![t.push(LayerNorm::new(1e-5), v)?[0]])).await;
    }

    async fn norms_are_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("rms_norm") {
            let eps = case.f32_param("eps");
            case.check(&gpu, &[case.input("x"), case.input("w")], &["x", "w"], &["y"], |t, v| Ok(vec![t.push(RmsNorm::new(eps), v)?[0]]))
                .await;
        }
        for case in fixture::cases("layer_norm") {
            let eps = case.f32_param("eps");
            let ins = [case.input("x"), case.input("w"), case.input("b")];
            case.check(&gpu, &ins, &["x", "w", "b"], &["y"], |t, v| Ok(vec![t.push(LayerNorm::new(eps), v)?[0]])).await;
        }
    }
);
