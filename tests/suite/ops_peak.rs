//! The benchmark's instruments compute what they say: what measures a peak must do all of its work.

use crate::harness::gpu;
use crate::opcase::{Rng, check, frozen};
use fledgling::device::peak::{PeakCopy, PeakFma};
use fledgling::graph::{Exec, StepParams, Tape};

fl_test!(
    async fn peak_copy() {
        let gpu = gpu().await;
        let mut rng = Rng(71);
        for per in PeakCopy::PER {
            // One group, less than a workgroup, and more than one with an edge.
            for n in [4, 36, 4 * 259] {
                let ins = [frozen(&mut rng, &[n], 4.0)];
                check(&gpu, &format!("peak_copy {per} {n}"), &ins, 0.0, |t, v| Ok(vec![t.push1(PeakCopy { per }, &[v[0]])?])).await;
            }
        }
    }

    async fn peak_fma() {
        let gpu = gpu().await;
        let mut rng = Rng(72);
        for chains in PeakFma::CHAINS {
            for (n, rounds) in [(4, 0), (36, 1), (268, 3)] {
                let ins = [frozen(&mut rng, &[n], 1.0)];
                let op = PeakFma { chains, rounds };
                check(&gpu, &format!("peak_fma {chains} {rounds} {n}"), &ins, 2e-5, |t, v| Ok(vec![t.push1(op, &[v[0]])?])).await;
            }
        }
    }

    async fn peaks_refuse_what_does_not_fit() {
        let mut rng = Rng(73);
        let odd = [frozen(&mut rng, &[5], 1.0)];
        let step = StepParams::default();
        let run = |t: &mut Tape, v: &[fledgling::graph::Val]| Ok(vec![t.push1(PeakCopy { per: 1 }, &[v[0]])?]);
        assert!(crate::opcase::run(&Exec::Reference, &odd, None, false, &step, &run).await.is_err());
        let run = |t: &mut Tape, v: &[fledgling::graph::Val]| Ok(vec![t.push1(PeakFma { chains: 2, rounds: 70_000 }, &[v[0]])?]);
        assert!(crate::opcase::run(&Exec::Reference, &[frozen(&mut rng, &[4], 1.0)], None, false, &step, &run).await.is_err());
    }
);
