//! Checks one op on both executors, GPU and processor, against the f64 reference, and the reference's backward against central
//! differences of its own forward.

use fledgling::Result;
use fledgling::gpu::Gpu;
use fledgling::graph::{Desc, Exec, HostProgram, Program, ProgramOptions, StepParams, Tape, Tensor, Val, identity};
use fledgling::tensor::DType;

/// A small deterministic generator (SplitMix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in −1…1.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// An input of an op under test.
#[derive(Clone)]
pub struct In {
    pub desc: Desc,
    pub data: Vec<f64>,
    /// File bytes of a quantized or 16-bit tensor (then `data` is what they stand for).
    pub bytes: Option<Vec<u8>>,
    pub grad: bool,
}

/// Random f32 values in −scale…scale that need a gradient.
pub fn rand(rng: &mut Rng, shape: &[usize], scale: f64) -> In {
    let data = (0..shape.iter().product::<usize>()).map(|_| f64::from((rng.uniform() * scale) as f32)).collect();
    In { desc: Desc::f32(shape), data, bytes: None, grad: true }
}

/// As [`rand`], but frozen.
pub fn frozen(rng: &mut Rng, shape: &[usize], scale: f64) -> In {
    In { grad: false, ..rand(rng, shape, scale) }
}

/// Given f32 values.
pub fn values(shape: &[usize], data: &[f64], grad: bool) -> In {
    In { desc: Desc::f32(shape), data: data.to_vec(), bytes: None, grad }
}

/// Given integers.
pub fn ints(shape: &[usize], data: &[u32]) -> In {
    In { desc: Desc::u32(shape), data: data.iter().map(|v| f64::from(*v)).collect(), bytes: None, grad: false }
}

/// A frozen weight of any file type.
pub fn packed(dtype: DType, shape: &[usize], bytes: Vec<u8>) -> In {
    let data = fledgling::tensor::dequantize(dtype, &bytes).into_iter().map(f64::from).collect();
    In { desc: Desc { shape: shape.to_vec(), dtype }, data, bytes: Some(bytes), grad: false }
}

/// Random halves in −scale…scale, frozen.
pub fn halves(rng: &mut Rng, shape: &[usize], scale: f64) -> In {
    let values: Vec<f32> = frozen(rng, shape, scale).data.iter().map(|v| *v as f32).collect();
    packed(DType::F16, shape, fledgling::tensor::quantize(DType::F16, &values))
}

/// An input where `exec` has its tensors.
pub fn tensor(exec: &Exec, name: &str, input: &In) -> Result<Tensor> {
    let t = Tensor::zeros(exec, name, input.desc.clone())?;
    match &input.bytes {
        Some(b) => t.write_rows(exec, 0, b)?,
        None => t.set_f64(exec, &input.data),
    }
    Ok(t)
}

/// Outputs and gradients (per input that needs one) of a run.
pub struct Run {
    pub outputs: Vec<Vec<f64>>,
    pub grads: Vec<Option<Vec<f64>>>,
}

/// Records an op under test: inputs to the outputs whose gradient is wanted.
pub trait Build: Fn(&mut Tape, &[Val]) -> Result<Vec<Val>> {}
impl<T: Fn(&mut Tape, &[Val]) -> Result<Vec<Val>>> Build for T {}

/// Runs on one executor. `seeds` are the upstream gradients (none = forward only). With `wrap`, inputs pass through a copy, so
/// that the op's gradients overwrite a temporary where they would otherwise be added to a parameter's.
pub async fn run(exec: &Exec, ins: &[In], seeds: Option<&[Vec<f64>]>, wrap: bool, step: &StepParams, build: &impl Build) -> Result<Run> {
    let mut tape = Tape::new();
    let mut tensors = Vec::new();
    let mut vals = Vec::new();
    for (i, input) in ins.iter().enumerate() {
        let t = tensor(exec, &format!("in{i}"), input)?;
        if input.grad && seeds.is_some() {
            t.set_grad(Some(Tensor::zeros(exec, &format!("din{i}"), input.desc.clone())?));
        }
        let v = tape.tensor(&t);
        vals.push(if wrap && input.grad { identity(&mut tape, v)? } else { v });
        tensors.push(t);
    }
    let outs = build(&mut tape, &vals)?;
    if let Some(seeds) = seeds {
        let mut pairs = Vec::new();
        for (o, s) in outs.iter().zip(seeds) {
            let shape = tape.desc(*o).shape.clone();
            let seed = Tensor::from_f64(exec, "seed", &shape, s)?;
            pairs.push((*o, tape.tensor(&seed)));
        }
        tape.backward(&pairs, false)?;
    }
    for (i, o) in outs.iter().enumerate() {
        tape.output(&format!("out{i}"), *o);
    }
    let mut outputs = Vec::new();
    match exec {
        Exec::Reference => {
            let mut p = HostProgram::new(&tape);
            p.run(step)?;
            for o in &outs {
                outputs.push(p.get(*o)?.to_vec());
            }
        }
        _ => {
            let p = Program::build(exec, &tape, ProgramOptions::default())?;
            let names: Vec<String> = (0..outs.len()).map(|i| format!("out{i}")).collect();
            let words = p.run(step, &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
            for (w, o) in words.iter().zip(&outs) {
                let int = tape.desc(*o).dtype == DType::U32;
                outputs.push(w.iter().map(|w| if int { f64::from(*w) } else { f64::from(f32::from_bits(*w)) }).collect());
            }
        }
    }
    let mut grads = Vec::new();
    for t in &tensors {
        grads.push(match t.grad() {
            Some(g) => Some(g.to_f64(exec).await?),
            None => None,
        });
    }
    Ok(Run { outputs, grads })
}

/// Panics unless `got` is `want` within `tol` of the largest |want| (at least 0.01: inputs are of order one, and a gradient that cancels
/// to nothing keeps the rounding of its terms).
pub fn close(what: &str, got: &[f64], want: &[f64], tol: f64) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    let top = want.iter().fold(1e-2, |m: f64, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(g.is_finite() || g == w, "{what}[{i}]: {g}");
        assert!((g - w).abs() <= tol * top || g == w, "{what}[{i}]: got {g}, want {w} (largest {top}, tolerance {tol})");
    }
}

/// Elements of the largest input of a case that is also run with the kernels for other adapters ([`crate::harness::other_form`]).
const SMALL: usize = if cfg!(target_arch = "wasm32") { 600 } else { 4800 };

/// The whole check of an op: finite differences of the f64 reference, then the GPU and the processor against the reference, with
/// gradients both overwriting and adding.
pub async fn check(gpu: &Gpu, what: &str, ins: &[In], tol: f64, build: impl Build) {
    check_step(gpu, what, ins, tol, &StepParams::default(), build).await;
}

/// As [`check`], with a step uniform.
pub async fn check_step(gpu: &Gpu, what: &str, ins: &[In], tol: f64, step: &StepParams, build: impl Build) {
    let host = Exec::Reference;
    let forward = run(&host, ins, None, false, step, &build).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut rng = Rng(7);
    let seeds: Vec<Vec<f64>> = forward.outputs.iter().map(|o| o.iter().map(|_| f64::from(rng.uniform() as f32)).collect()).collect();
    let any = ins.iter().any(|i| i.grad);
    let seeds = any.then_some(seeds.as_slice());
    let reference = run(&host, ins, seeds, false, step, &build).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    if let Some(seeds) = seeds {
        finite_differences(what, ins, seeds, &reference, step, &build).await;
    }
    let mut execs = vec![(Exec::Gpu(gpu.clone()), "GPU"), (crate::harness::cpu(), "processor")];
    // The kernels for other adapters run (slowly) on this one too: small shapes tell whether they are right.
    if crate::harness::is_default_form(gpu) && ins.iter().all(|i| i.desc.len() <= SMALL) {
        execs.push((Exec::Gpu(crate::harness::other_form().await), "GPU, other kernels"));
    }
    for ((exec, name), wrap) in execs.iter().flat_map(|e| [(e, false), (e, true)]) {
        let what = format!("{what} on the {name}");
        let got = run(exec, ins, seeds, wrap, step, &build).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        for (i, (g, w)) in got.outputs.iter().zip(&reference.outputs).enumerate() {
            close(&format!("{what} output {i} (wrap {wrap})"), g, w, tol);
        }
        for (i, (g, w)) in got.grads.iter().zip(&reference.grads).enumerate() {
            if let (Some(g), Some(w)) = (g, w) {
                close(&format!("{what} gradient {i} (wrap {wrap})"), g, w, tol);
            }
        }
    }
}

async fn finite_differences(what: &str, ins: &[In], seeds: &[Vec<f64>], reference: &Run, step: &StepParams, build: &impl Build) {
    let mut rng = Rng(11);
    let loss = |r: &Run| -> f64 { r.outputs.iter().zip(seeds).map(|(o, s)| o.iter().zip(s).map(|(a, b)| a * b).sum::<f64>()).sum() };
    for (i, input) in ins.iter().enumerate() {
        if !input.grad {
            continue;
        }
        let grads = reference.grads[i].as_ref().expect("asked for");
        let top = grads.iter().fold(1e-2, |m: f64, v| m.max(v.abs()));
        for _ in 0..input.data.len().min(12) {
            let at = (rng.next() % input.data.len() as u64) as usize;
            let h = 1e-5;
            let mut moved = ins.to_vec();
            moved[i].data[at] = input.data[at] + h;
            let up = loss(&run(&Exec::Reference, &moved, None, false, step, build).await.expect("ran before"));
            moved[i].data[at] = input.data[at] - h;
            let down = loss(&run(&Exec::Reference, &moved, None, false, step, build).await.expect("ran before"));
            let want = (up - down) / (2.0 * h);
            assert!(
                (grads[at] - want).abs() <= 1e-5 * top.max(1.0),
                "{what}: gradient of input {i}[{at}] is {}, central differences give {want}",
                grads[at]
            );
        }
    }
}
