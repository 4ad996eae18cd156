//! Gradient norm, clipping and AdamW, on both executors, against PyTorch.

use crate::fixture;
use crate::harness::gpu;
use crate::opcase::{Rng, check, close, frozen};
use fledgling::graph::{Exec, HostProgram, Program, ProgramOptions, StepParams, Tape, Tensor};
use fledgling::ops::optim::{AdamW, GradNorm, Group};

/// Flat buffers and a recorded optimizer step.
struct Rig {
    exec: Exec,
    /// params, grads, m, v
    flats: [Tensor; 4],
    norm: Tensor,
    tape: Tape,
}

impl Rig {
    /// `ranges` are (start, len, group).
    fn new(exec: &Exec, params: &[f64], ranges: &[(usize, usize, Group)]) -> Rig {
        let flat = |name: &str, data: &[f64]| Tensor::from_f64(exec, name, &[1, params.len()], data).unwrap();
        let zeros = vec![0.0; params.len()];
        let flats = [flat("params", params), flat("grads", &zeros), flat("m", &zeros), flat("v", &zeros)];
        let norm = Tensor::from_f64(exec, "norm", &[1], &[0.0]).unwrap();
        let mut tape = Tape::new();
        let vals = [0, 1, 2, 3].map(|i| tape.tensor(&flats[i]));
        let n = tape.tensor(&norm);
        tape.push_into(GradNorm, &[vals[1]], &[(n, false)]).unwrap();
        for (start, len, group) in ranges {
            AdamW::record(&mut tape, *start, *len, *group, n, vals).unwrap();
        }
        Rig { exec: exec.clone(), flats, norm, tape }
    }

    /// As [`Rig::new`], with a norm that stays where it is not finite.
    fn holding(exec: &Exec, params: &[f64]) -> Rig {
        let mut rig = Rig::new(exec, params, &[]);
        let mut tape = Tape::new();
        let vals = [0, 1, 2, 3].map(|i| tape.tensor(&rig.flats[i]));
        let n = tape.tensor(&rig.norm);
        tape.push_into(GradNorm, &[vals[1]], &[(n, true)]).unwrap();
        AdamW::record(&mut tape, 0, params.len(), decays(0.0), n, vals).unwrap();
        rig.tape = tape;
        rig
    }

    /// One step; gives the norm, then params, grads, m, v.
    async fn step(&self, grads: &[f64], step: &StepParams) -> [Vec<f64>; 5] {
        self.flats[1].set_f64(&self.exec, grads);
        match &self.exec {
            Exec::Reference => HostProgram::new(&self.tape).run(step).unwrap(),
            Exec::Gpu(_) | Exec::Cpu(_) => {
                drop(Program::build(&self.exec, &self.tape, ProgramOptions::default()).unwrap().run(step, &[]).await.unwrap())
            }
        }
        let mut out = vec![self.norm.to_f64(&self.exec).await.unwrap()];
        for t in &self.flats {
            out.push(t.to_f64(&self.exec).await.unwrap());
        }
        out.try_into().unwrap()
    }
}

/// A group that follows the step's rate.
fn decays(decay: f32) -> Group {
    Group { rate: 1.0, decay }
}

/// The step uniform at optimizer step `t`.
fn at(t: u32, base: &StepParams) -> StepParams {
    let correction = |beta: f32| (1.0 - f64::from(beta).powi(t as i32)) as f32;
    StepParams { step: t, correction1: correction(base.beta1), correction2: correction(base.beta2), ..*base }
}

fl_test!(
    async fn grad_norm() {
        let gpu = gpu().await;
        let mut rng = Rng(41);
        for sizes in [&[1][..], &[3], &[65], &[5, 33, 300], &[100_003]] {
            let ins: Vec<_> = sizes.iter().map(|n| frozen(&mut rng, &[1, *n], 1.0)).collect();
            check(&gpu, &format!("grad_norm {sizes:?}"), &ins, 2e-6, |t, v| Ok(vec![t.push1(GradNorm, v)?])).await;
        }
    }

    async fn grad_norm_and_clipping_are_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("grad_norm") {
            let names: Vec<String> = (0..case.params["tensors"].as_u64().unwrap()).map(|i| format!("g{i}")).collect();
            let flat = |prefix: &str| (0..names.len()).flat_map(|i| case.data(&format!("{prefix}{i}"))).collect::<Vec<f64>>();
            let (grads, clipped) = (flat("g"), flat("clipped"));
            for (exec, tol) in [(Exec::Reference, 2e-6), (Exec::Gpu(gpu.clone()), 2e-5), (crate::harness::cpu(), 2e-5)] {
                let n = grads.len();
                let rig = Rig::new(&exec, &vec![0.0; n], &[(0, n, decays(0.0))]);
                let step = StepParams { max_grad_norm: case.f32_param("max_norm"), ..StepParams::default() };
                let [norm, _, zeroed, m, _] = rig.step(&grads, &at(1, &step)).await;
                close("norm", &norm, &case.data("norm"), tol);
                // After the first step m = (1 − β1)·clipped gradient.
                let seen: Vec<f64> = m.iter().map(|m| m / (1.0 - f64::from(step.beta1))).collect();
                close("clipped", &seen, &clipped, tol);
                assert!(zeroed.iter().all(|g| *g == 0.0));
            }
        }
    }

    async fn adamw_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("adamw") {
            let beta = |i: usize| case.params["betas"][i].as_f64().unwrap() as f32;
            let base = StepParams {
                learning_rate: case.f32_param("lr"),
                beta1: beta(0),
                beta2: beta(1),
                epsilon: case.f32_param("eps"),
                ..StepParams::default()
            };
            let p0 = case.data("p0");
            // The step uniform holds β2 in f32, and 1 − 0.999 is then off by 1.3e-5 of itself on either executor.
            let tol = 2e-5;
            for exec in [Exec::Reference, Exec::Gpu(gpu.clone()), crate::harness::cpu()] {
                let rig = Rig::new(&exec, &p0, &[(0, p0.len(), decays(case.f32_param("weight_decay")))]);
                for t in 1..=3 {
                    let [_, p, _, m, v] = rig.step(&case.data(&format!("g{t}")), &at(t, &base)).await;
                    close(&format!("{} p{t}", case.case), &p, &case.data(&format!("p{t}")), tol);
                    close(&format!("{} m{t}", case.case), &m, &case.data(&format!("m{t}")), tol);
                    close(&format!("{} v{t}", case.case), &v, &case.data(&format!("v{t}")), tol);
                }
            }
        }
    }

    /// Ranges at odd places, some decayed, some not, accumulated gradients, clipping: GPU against host, and nothing else is touched.
    async fn adamw_ranges() {
        for exec in crate::harness::devices().await {
            let mut rng = Rng(42);
            let n = 300;
            let slow = Group { rate: 0.25, decay: 0.3 };
            let ranges = [(0, 64, decays(0.1)), (64, 1, decays(0.0)), (65, 3, slow), (70, 133, decays(0.0)), (208, 65, slow)];
            let p0 = frozen(&mut rng, &[n], 1.0).data;
            let base = StepParams { learning_rate: 0.05, grad_scale: 0.25, max_grad_norm: 0.5, ..StepParams::default() };
            let host = Rig::new(&Exec::Reference, &p0, &ranges);
            let device = Rig::new(&exec, &p0, &ranges);
            for t in 1..=4 {
                let g = frozen(&mut rng, &[n], 2.0).data;
                let want = host.step(&g, &at(t, &base)).await;
                let got = device.step(&g, &at(t, &base)).await;
                for (i, name) in ["norm", "params", "grads", "m", "v"].iter().enumerate() {
                    close(&format!("{name} after step {t}"), &got[i], &want[i], 2e-5);
                }
                let touched = |i: usize| ranges.iter().any(|(s, l, _)| (*s..s + l).contains(&i));
                for i in (0..n).filter(|i| !touched(*i)) {
                    assert_eq!((got[1][i], got[2][i], got[3][i]), (p0[i], g[i], 0.0), "element {i} belongs to no range");
                }
            }
        }
    }

    /// A gradient that is not finite changes nothing, and is gone afterwards.
    async fn adamw_survives_a_bad_gradient() {
        let p0 = [1.0, 2.0, 3.0, 4.0, 5.0];
        let step = at(1, &StepParams { learning_rate: 0.1, max_grad_norm: 1.0, ..StepParams::default() });
        for (bad, exec) in crate::harness::devices().await.iter().flat_map(|e| [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|b| (b, e)))
        {
            let rig = Rig::new(exec, &p0, &[(0, 5, decays(0.0))]);
            let [norm, p, g, m, v] = rig.step(&[0.1, bad, 0.3, 0.0, 0.0], &step).await;
            assert!(!norm[0].is_finite());
            assert_eq!((p.as_slice(), g, m, v), (p0.as_slice(), vec![0.0; 5], vec![0.0; 5], vec![0.0; 5]));
            let [norm, p, ..] = rig.step(&[0.1; 5], &step).await;
            assert!(norm[0].is_finite() && p.iter().zip(&p0).all(|(a, b)| a < b), "{p:?}");
        }
    }

    /// What was submitted behind a bad gradient changes nothing either, until the norm is set to 0.
    async fn a_bad_norm_stays() {
        let p0 = [1.0, 2.0, 3.0];
        let step = at(1, &StepParams { learning_rate: 0.1, ..StepParams::default() });
        for exec in [Exec::Reference].into_iter().chain(crate::harness::devices().await) {
            let (rig, plain) = (Rig::holding(&exec, &p0), Rig::new(&exec, &p0, &[(0, 3, decays(0.0))]));
            assert_eq!(rig.step(&[0.1; 3], &step).await, plain.step(&[0.1; 3], &step).await, "finite norms are as ever");
            let [_, p1, _, m1, v1] = rig.step(&[0.2; 3], &step).await;
            for (bad, grads) in [(f64::INFINITY, [0.1, f64::INFINITY, 0.3]), (f64::INFINITY, [0.1; 3]), (f64::INFINITY, [f64::NAN; 3])] {
                let got = rig.step(&grads, &step).await;
                assert_eq!(got, [vec![bad], p1.clone(), vec![0.0; 3], m1.clone(), v1.clone()], "{grads:?}");
            }
            rig.norm.set_f64(&exec, &[0.0]);
            let [norm, p, ..] = rig.step(&[0.1; 3], &step).await;
            assert!(norm[0].is_finite() && p.iter().zip(&p1).all(|(a, b)| a < b), "{norm:?} {p:?}");
        }
    }

    async fn adamw_range_outside() {
        let exec = Exec::Reference;
        let t = Tensor::from_f64(&exec, "t", &[1, 4], &[0.0; 4]).unwrap();
        let mut tape = Tape::new();
        let v = tape.tensor(&t);
        let n = tape.tensor(&Tensor::from_f64(&exec, "n", &[1], &[0.0]).unwrap());
        for (start, len) in [(0, 5), (4, 1), (usize::MAX, 2)] {
            assert_eq!(AdamW::record(&mut tape, start, len, decays(0.1), n, [v; 4]).err().map(|e| e.code()), Some("bad-shape"));
        }
    }
);
