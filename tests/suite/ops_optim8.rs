//! AdamW with 8-bit moments on both executors, against PyTorch's transcription of the paper (tests/oracle/adamw8.py).

use fledgling::Result;
use fledgling::formats::Container;
use fledgling::graph::{Exec, HostProgram, Program, ProgramOptions, StepParams, Tape, Tensor};
use fledgling::ops::optim::{GradNorm, Group};
use fledgling::ops::optim8::{AdamW8, Moments8, dynamic_map};
use serde_json::Value;

use crate::harness::{cpu, gpu, other_form};
use crate::opcase::{Rng, close, frozen};

static FILE: &[u8] = include_bytes!("../fixtures/adamw8.safetensors");

fn values(name: &str) -> Vec<f64> {
    let file = Container::parse("adamw8.safetensors", FILE).expect("a fixture");
    let i = file.index_of(name).unwrap_or_else(|| panic!("no {name}"));
    fledgling::tensor::dequantize(file.tensors[i].dtype, file.bytes(FILE, i).expect("all of it")).into_iter().map(f64::from).collect()
}

/// Flat buffers, moments and a recorded step over all of them.
struct Rig {
    exec: Exec,
    params: Tensor,
    grads: Tensor,
    moments: Moments8,
    norm: Tensor,
    tape: Tape,
}

impl Rig {
    /// `parts` are (first element, elements, group).
    fn new(exec: &Exec, params: &[f64], parts: &[(usize, usize, Group)]) -> Result<Rig> {
        let flat = |name: &str, data: &[f64]| Tensor::from_f64(exec, name, &[1, params.len()], data);
        let (p, g) = (flat("params", params)?, flat("grads", &vec![0.0; params.len()])?);
        let norm = Tensor::from_f64(exec, "norm", &[1], &[0.0])?;
        let ranges: Vec<(usize, usize)> = parts.iter().map(|p| (p.0, p.1)).collect();
        let (moments, blocks) = Moments8::zeros(exec, &ranges)?;
        let mut tape = Tape::new();
        let (params, grads, n) = (tape.tensor(&p), tape.tensor(&g), tape.tensor(&norm));
        tape.push_into(GradNorm, &[grads], &[(n, false)])?;
        for (at, part) in blocks.into_iter().zip(parts) {
            AdamW8::record(&mut tape, at, part.2, n, [params, grads], &moments)?;
        }
        Ok(Rig { exec: exec.clone(), params: p, grads: g, moments, norm, tape })
    }

    /// One step; the parameters behind it.
    async fn step(&self, grads: &[f64], step: &StepParams) -> Result<Vec<f64>> {
        self.grads.set_f64(&self.exec, grads);
        match &self.exec {
            Exec::Reference => HostProgram::new(&self.tape).run(step)?,
            _ => drop(Program::build(&self.exec, &self.tape, ProgramOptions::default())?.run(step, &[]).await?),
        }
        self.params.to_f64(&self.exec).await
    }

    /// Codes of m and of v of every element, in order.
    async fn codes(&self) -> Result<[Vec<f64>; 2]> {
        let (words, blocks) = (self.moments.codes.to_f64(&self.exec).await?, self.moments.blocks.to_f64(&self.exec).await?);
        Ok([0, 1].map(|at| {
            let of = |b: usize, i: usize| f64::from(words[128 * b + 64 * at + i / 4] as u32 >> (8 * (i % 4)) & 255);
            blocks.chunks_exact(2).enumerate().flat_map(|(b, t)| (0..t[1] as usize).map(move |i| of(b, i))).collect()
        }))
    }
}

fn at(t: u32, base: &StepParams) -> StepParams {
    let correction = |beta: f32| (1.0 - f64::from(beta).powi(t as i32)) as f32;
    StepParams { step: t, correction1: correction(base.beta1), correction2: correction(base.beta2), ..*base }
}

/// All that computes: the exact reference, both forms of the GPU's kernels, the processor.
async fn all() -> Vec<Exec> {
    vec![Exec::Reference, Exec::Gpu(gpu().await), Exec::Gpu(other_form().await), cpu()]
}

fl_test!(
    async fn adamw8_is_the_papers() -> Result<()> {
        let map: Vec<f64> = dynamic_map().into_iter().map(f64::from).collect();
        close("map", &map, &values("map"), 1e-7);
        assert!(map[..256].is_sorted() && map[256..].is_sorted() && map[256] == 0.0 && map[511] == 1.0);
        let case: Value = serde_json::from_str(include_str!("../fixtures/adamw8.json")).expect("JSON");
        let number = |name: &str| case[name].as_f64().expect("a number") as f32;
        let parts: Vec<usize> = case["parts"].as_array().expect("a list").iter().filter_map(|n| Some(n.as_u64()? as usize)).collect();
        let group = Group { rate: 1.0, decay: number("weight_decay") };
        let base = StepParams { learning_rate: number("lr"), epsilon: number("eps"), ..StepParams::default() };
        let steps = case["steps"].as_u64().expect("a number") as u32;
        for exec in all().await {
            let rig = Rig::new(&exec, &values("p0"), &[(0, parts[0], group), (parts[0], parts[1], group)])?;
            for t in 1..=steps {
                let p = rig.step(&values(&format!("g{t}")), &at(t, &base)).await?;
                close(&format!("p{t}"), &p, &values(&format!("p{t}")), 2e-5);
                if t == 1 || t == steps {
                    for (got, name) in rig.codes().await?.iter().zip(["m", "v"]) {
                        let want = values(&format!("codes_{name}{t}"));
                        // In f32 a value in the very middle of two codes may fall to either side.
                        let off = got.iter().zip(&want).filter(|(g, w)| g != w).count();
                        let far = got.iter().zip(&want).any(|(g, w)| (g - w).abs() > 1.0);
                        assert!(off * 200 <= want.len() && !far, "{off} codes of {name} differ at step {t}");
                    }
                }
            }
            close("absmax", &rig.moments.absmax.to_f64(&exec).await?, &values("absmax"), 2e-5);
        }
        Ok(())
    }

    /// Parts at odd places with groups of their own, accumulation and clipping: the devices against the f64 reference, and nothing else is touched.
    async fn adamw8_parts() -> Result<()> {
        let n = 1200;
        let mut rng = Rng(43);
        let p0 = frozen(&mut rng, &[n], 1.0).data;
        let slow = Group { rate: 0.25, decay: 0.3 };
        let plain = Group { rate: 1.0, decay: 0.0 };
        let parts = [(1, 255, plain), (256, 257, slow), (515, 1, plain), (600, 513, slow)];
        let base = StepParams { learning_rate: 0.05, grad_scale: 0.25, max_grad_norm: 0.5, ..StepParams::default() };
        let grads: Vec<Vec<f64>> = (0..2).map(|_| frozen(&mut rng, &[n], 2.0).data).collect();
        let host = Rig::new(&Exec::Reference, &p0, &parts)?;
        let mut want = Vec::new();
        for (t, g) in grads.iter().enumerate() {
            want.push(host.step(g, &at(t as u32 + 1, &base)).await?);
        }
        for exec in all().await.into_iter().skip(1) {
            let rig = Rig::new(&exec, &p0, &parts)?;
            for (t, (g, want)) in grads.iter().zip(&want).enumerate() {
                let got = rig.step(g, &at(t as u32 + 1, &base)).await?;
                close(&format!("params after step {}", t + 1), &got, want, 2e-5);
                let left = rig.grads.to_f64(&exec).await?;
                for i in 0..n {
                    let inside = parts.iter().any(|(s, l, _)| (*s..s + l).contains(&i));
                    assert!(if inside { left[i] == 0.0 } else { got[i] == p0[i] && left[i] == g[i] }, "element {i}");
                }
            }
            // A gradient that is not finite changes nothing, and is gone afterwards.
            let before = (rig.params.to_f64(&exec).await?, rig.codes().await?, rig.moments.absmax.to_f64(&exec).await?);
            let mut bad = grads[0].clone();
            bad[700] = f64::NAN;
            rig.step(&bad, &at(3, &base)).await?;
            assert!(!rig.norm.to_f64(&exec).await?[0].is_finite());
            let after = (rig.params.to_f64(&exec).await?, rig.codes().await?, rig.moments.absmax.to_f64(&exec).await?);
            assert_eq!(before, after);
            assert!(rig.grads.to_f64(&exec).await?[600..1113].iter().all(|g| *g == 0.0));
        }
        Ok(())
    }

    async fn adamw8_refuses_blocks_that_are_not_there() -> Result<()> {
        let rig = Rig::new(&Exec::Reference, &[0.0; 300], &[(0, 300, Group { rate: 1.0, decay: 0.0 })])?;
        let mut tape = Tape::new();
        let (p, g, n) = (tape.tensor(&rig.params), tape.tensor(&rig.grads), tape.tensor(&rig.norm));
        for at in [(0, 3), (2, 1), (usize::MAX, 2)] {
            let group = Group { rate: 1.0, decay: 0.0 };
            assert_eq!(AdamW8::record(&mut tape, at, group, n, [p, g], &rig.moments).err().map(|e| e.code()), Some("bad-shape"));
        }
        Ok(())
    }
);
