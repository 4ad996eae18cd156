//! rms_norm and layer_norm.

use crate::harness::gpu;
use crate::opcase::{Rng, check, rand};
use fledgling::ops::norm::RmsNorm;

fl_test!(
    async fn rms_norm() {
        let gpu = gpu().await;
        let mut rng = Rng(1);
        for (rows, cols) in [(1, 1), (3, 5), (7, 576), (65, 33), (2, 1757)] {
            let ins = [rand(&mut rng, &[rows, cols], 2.0), rand(&mut rng, &[cols], 1.0)];
            check(&gpu, &format!("rms_norm {rows}×{cols}"), &ins, 2e-5, |t, v| Ok(vec![t.push(RmsNorm { eps: 1e-5 }, &[v[0], v[1]])?[0]]))
                .await;
        }
    }
);
