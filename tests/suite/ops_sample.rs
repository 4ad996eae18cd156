//! Sampling against the f64 host reference, which draws the same random numbers, and against the distribution it stands for, computed
//! here a second time by sorting as Transformers' logits processors do.

use crate::harness::{devices, gpu};
use crate::opcase::Rng;
use fledgling::gpu::{Gpu, GpuOptions};
use fledgling::graph::{Desc, Exec, HostProgram, Program, ProgramOptions, StepParams, Tape, Tensor, Val};
use fledgling::ops::sample::{Sample, seen_words};

struct Drawn {
    tokens: Vec<u32>,
    logps: Vec<f64>,
    seen: Vec<f64>,
}

/// A recorded sampler over fixed logits.
struct Sampler {
    exec: Exec,
    bits: Tensor,
    tape: Tape,
    program: Option<Program>,
    outputs: (Val, Val),
    start: Vec<f64>,
}

impl Sampler {
    /// `seen` are the tokens that have occurred, the same for all rows.
    fn new(exec: &Exec, logits: &[f64], rows: usize, seen: &[u32]) -> Sampler {
        let cols = logits.len() / rows;
        let z = Tensor::from_f64(exec, "logits", &[rows, cols], logits).unwrap();
        let bits = Tensor::zeros(exec, "seen", Desc::u32(&[rows, seen_words(cols)])).unwrap();
        let mut words = vec![0u32; seen_words(cols)];
        seen.iter().for_each(|t| words[*t as usize / 32] |= 1 << (t % 32));
        let start = (0..rows).flat_map(|_| words.iter().map(|w| f64::from(*w))).collect();
        let mut tape = Tape::new();
        let (z, s) = (tape.tensor(&z), tape.tensor(&bits));
        let outputs = Sample::record(&mut tape, z, s).unwrap();
        tape.output("token", outputs.0);
        tape.output("logp", outputs.1);
        let program = (!matches!(exec, Exec::Reference)).then(|| Program::build(exec, &tape, ProgramOptions::default()).unwrap());
        if let Some(p) = &program {
            assert!(p.dispatches() <= 3, "{} dispatches", p.dispatches());
        }
        Sampler { exec: exec.clone(), bits, tape, program, outputs, start }
    }

    async fn draw(&self, step: &StepParams) -> Drawn {
        self.bits.set_f64(&self.exec, &self.start);
        let (tokens, logps) = match &self.program {
            Some(p) => {
                let words = p.run(step, &["token", "logp"]).await.unwrap();
                (words[0].clone(), words[1].iter().map(|w| f64::from(f32::from_bits(*w))).collect())
            }
            None => {
                let mut p = HostProgram::new(&self.tape);
                p.run(step).unwrap();
                (p.get(self.outputs.0).unwrap().iter().map(|v| *v as u32).collect(), p.get(self.outputs.1).unwrap().to_vec())
            }
        };
        Drawn { tokens, logps, seen: self.bits.to_f64(&self.exec).await.unwrap() }
    }
}

fn random_logits(rng: &mut Rng, n: usize, scale: f64) -> Vec<f64> {
    (0..n).map(|_| f64::from((rng.uniform() * scale) as f32)).collect()
}

fn warm() -> StepParams {
    StepParams { temperature: 1.0, seed: 17, ..StepParams::default() }
}

/// Every setting alone, and several together.
fn settings() -> Vec<(&'static str, StepParams)> {
    let base = warm();
    vec![
        ("greedy", StepParams { temperature: 0.0, ..base }),
        ("greedy with penalty", StepParams { temperature: 0.0, repetition_penalty: 1.5, ..base }),
        ("temperature", StepParams { temperature: 0.7, ..base }),
        ("hot", StepParams { temperature: 20.0, ..base }),
        ("cold", StepParams { temperature: 1e-9, ..base }),
        ("top-k", StepParams { top_k: 4, ..base }),
        ("top-k of one", StepParams { top_k: 1, ..base }),
        ("top-k of many", StepParams { top_k: 1000, temperature: 5.0, ..base }),
        ("top-p", StepParams { top_p: 0.8, ..base }),
        ("top-p of little", StepParams { top_p: 0.05, temperature: 10.0, ..base }),
        ("top-p of nothing", StepParams { top_p: 0.0, ..base }),
        ("min-p", StepParams { min_p: 0.2, ..base }),
        ("min-p of all", StepParams { min_p: 1.5, ..base }),
        ("all", StepParams { temperature: 1.3, top_k: 50, top_p: 0.9, min_p: 0.02, repetition_penalty: 1.2, ..base }),
        ("all, hot", StepParams { temperature: 8.0, top_k: 200, top_p: 0.5, min_p: 0.001, repetition_penalty: 0.8, ..base }),
    ]
}

/// Tokens equal, log-probabilities close, bits right, for `draws` counters.
async fn agree(gpu: &Gpu, what: &str, logits: &[f64], rows: usize, step: StepParams, draws: u32) {
    let cols = logits.len() / rows;
    let seen: Vec<u32> = (0..cols as u32).filter(|i| i % 3 == 0).collect();
    let host = Sampler::new(&Exec::Reference, logits, rows, &seen);
    let devices = [Exec::Gpu(gpu.clone()), crate::harness::cpu()].map(|exec| Sampler::new(&exec, logits, rows, &seen));
    for counter in 0..draws {
        let step = StepParams { counter, ..step };
        let want = host.draw(&step).await;
        for device in &devices {
            let what = format!("{what} on the {}", device.exec.info().device);
            let got = device.draw(&step).await;
            assert_eq!(got.tokens, want.tokens, "{what}, draw {counter}");
            assert_eq!(got.seen, want.seen, "{what}: bits of the drawn tokens");
            for (g, w) in got.logps.iter().zip(&want.logps) {
                assert!((g - w).abs() <= 2e-5 * w.abs().max(1.0), "{what}: logp {g}, want {w}");
            }
        }
    }
}

/// The probability of every token, by sorting.
fn distribution(logits: &[f64], seen: &[u32], s: &StepParams) -> Vec<f64> {
    let f = f64::from;
    let mut z: Vec<f64> = logits.to_vec();
    for t in seen {
        let v = &mut z[*t as usize];
        *v = if *v < 0.0 { *v * f(s.repetition_penalty) } else { *v / f(s.repetition_penalty) };
    }
    z.iter_mut().for_each(|v| *v /= f(s.temperature));
    let softmax = |z: &[f64]| -> Vec<f64> {
        let e: Vec<f64> = z.iter().map(|v| v.exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(|v| v / sum).collect()
    };
    let mut order: Vec<usize> = (0..z.len()).collect();
    order.sort_by(|a, b| z[*b].total_cmp(&z[*a]));
    if s.top_k > 0 {
        order.iter().skip(s.top_k as usize).for_each(|i| z[*i] = f64::NEG_INFINITY);
    }
    let p = softmax(&z);
    let mut before = 0.0;
    for i in &order {
        if before >= f(s.top_p) {
            z[*i] = f64::NEG_INFINITY;
        }
        before += p[*i];
    }
    let p = softmax(&z);
    let least = f(s.min_p) * p.iter().fold(0.0, |a: f64, b| a.max(*b));
    (0..z.len()).filter(|i| p[*i] < least).for_each(|i| z[i] = f64::NEG_INFINITY);
    softmax(&z)
}

fl_test!(
    async fn sample() {
        let gpu = gpu().await;
        let mut rng = Rng(31);
        for (rows, cols) in [(1, 1), (3, 5), (2, 33), (3, 65), (2, 257), (4, 3001)] {
            let logits = random_logits(&mut rng, rows * cols, 8.0);
            for (name, step) in settings() {
                agree(&gpu, &format!("{name} {rows}×{cols}"), &logits, rows, step, 12).await;
            }
        }
    }

    async fn sample_from_large_vocabularies() {
        let gpu = gpu().await;
        let mut rng = Rng(32);
        for (rows, cols, scale) in [(2, 49_152, 8.0), (1, 152_064, 10.0)] {
            let logits = random_logits(&mut rng, rows * cols, scale);
            for (name, step) in settings() {
                agree(&gpu, &format!("{name} {rows}×{cols}"), &logits, rows, step, 2).await;
            }
        }
    }

    /// The form for hardware runs (slowly) on software adapters too.
    async fn sample_with_workgroups() {
        let gpu = Gpu::with(&GpuOptions { kernels: Some("rows=group".into()), ..GpuOptions::default() }).await.unwrap();
        let mut rng = Rng(33);
        for (rows, cols) in [(1, 1), (3, 300), (2, 3001)] {
            let logits = random_logits(&mut rng, rows * cols, 8.0);
            for (name, step) in settings() {
                agree(&gpu, &format!("groups, {name} {rows}×{cols}"), &logits, rows, step, 3).await;
            }
        }
    }

    /// χ² of ten thousand draws against the distribution.
    async fn sample_follows_the_distribution() {
        for exec in devices().await {
            let mut rng = Rng(34);
            let (rows, cols) = (100, 40);
            let one = random_logits(&mut rng, cols, 3.0);
            let seen = [1, 5, 6, 20];
            let logits: Vec<f64> = (0..rows).flat_map(|_| one.iter().copied()).collect();
            let sampler = Sampler::new(&exec, &logits, rows, &seen);
            let base = warm();
            for (name, step) in [
                ("temperature", StepParams { temperature: 0.8, ..base }),
                ("hot", StepParams { temperature: 30.0, ..base }),
                ("top-k", StepParams { top_k: 7, ..base }),
                ("top-p", StepParams { top_p: 0.6, ..base }),
                ("min-p", StepParams { min_p: 0.3, ..base }),
                ("all", StepParams { temperature: 1.4, top_k: 20, top_p: 0.8, min_p: 0.05, repetition_penalty: 1.3, ..base }),
            ] {
                let p = distribution(&one, &seen, &step);
                let mut counts = vec![0.0; cols];
                let draws = 100;
                for counter in 0..draws {
                    for t in sampler.draw(&StepParams { counter, ..step }).await.tokens {
                        counts[t as usize] += 1.0;
                    }
                }
                let n = f64::from(draws) * rows as f64;
                let (mut chi, mut cells) = (0.0, 0.0);
                for i in 0..cols {
                    if p[i] == 0.0 {
                        assert_eq!(counts[i], 0.0, "{name}: token {i} is filtered out");
                    } else {
                        chi += (counts[i] - n * p[i]).powi(2) / (n * p[i]);
                        cells += 1.0;
                    }
                }
                // χ² has mean and half its variance at the degrees of freedom: this is about 4.5 standard deviations.
                let (freedom, bound) = (cells - 1.0, 4.5);
                assert!(chi <= freedom + bound * f64::sqrt(2.0 * freedom), "{name}: χ² = {chi} with {freedom} degrees of freedom");
            }
        }
    }

    async fn sample_streams() {
        for exec in devices().await {
            let flat = Sampler::new(&exec, &vec![0.5; 8 * 1000], 8, &[]);
            let first = flat.draw(&warm()).await.tokens;
            assert_eq!(flat.draw(&warm()).await.tokens, first, "the same seed and counter draw the same");
            let distinct: std::collections::BTreeSet<u32> = first.iter().copied().collect();
            assert!(distinct.len() >= 7, "eight equal rows drew {first:?}");
            for other in [StepParams { seed: 18, ..warm() }, StepParams { counter: 1, ..warm() }] {
                assert_ne!(flat.draw(&other).await.tokens, first);
            }
            // A row draws the same whatever else is in the batch.
            let three = Sampler::new(&exec, &vec![0.5; 3 * 1000], 3, &[]).draw(&warm()).await.tokens;
            assert_eq!(three, first[..3]);
            let cold = flat.draw(&StepParams { temperature: 0.0, ..warm() }).await.tokens;
            assert_eq!(cold, [0; 8], "of equal logits the lowest id");
        }
    }

    async fn sample_penalty_changes_the_greedy_token() {
        for exec in devices().await {
            for (logits, penalised) in [([2.0, 1.5, 0.0], 1), ([-1.0, -1.2, -9.0], 1)] {
                let sampler = Sampler::new(&exec, &logits, 1, &[0]);
                let greedy = StepParams { temperature: 0.0, ..warm() };
                assert_eq!(sampler.draw(&greedy).await.tokens, [0]);
                assert_eq!(sampler.draw(&StepParams { repetition_penalty: 1.5, ..greedy }).await.tokens, [penalised]);
            }
        }
    }

    /// −∞ masks a token; NaN, +∞ and rows without a number give a defined answer, and the row beside them is as it was.
    async fn sample_from_what_is_no_number() {
        for exec in devices().await {
            let n = 600;
            for (_, step) in settings() {
                for bad in [f64::NAN, f64::INFINITY] {
                    let mut logits: Vec<f64> = (0..2 * n).map(|i| (i % 7) as f64).collect();
                    let good = Sampler::new(&exec, &logits, 2, &[]).draw(&step).await;
                    logits[277] = bad;
                    let d = Sampler::new(&exec, &logits, 2, &[]).draw(&step).await;
                    assert!(d.tokens[0] == 0 && d.logps[0].is_nan(), "{bad}: {:?} {:?}", d.tokens, d.logps);
                    assert_eq!((d.tokens[1], d.logps[1]), (good.tokens[1], good.logps[1]));
                    assert!(d.seen[..seen_words(n)].iter().all(|w| *w == 0.0));
                }
                let mut logits = vec![f64::NEG_INFINITY; 2 * n];
                logits[n + 300] = -3.0;
                let d = Sampler::new(&exec, &logits, 2, &[]).draw(&step).await;
                assert!(d.tokens[0] == 0 && d.logps[0].is_nan(), "no finite logit: {:?} {:?}", d.tokens, d.logps);
                assert_eq!(d.tokens[1], 300);
                assert!(d.logps[1].abs() < 1e-6);
            }
            let masked: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { f64::NEG_INFINITY } else { 1.0 }).collect();
            let sampler = Sampler::new(&exec, &masked, 1, &[]);
            for counter in 0..50 {
                assert_eq!(sampler.draw(&StepParams { counter, temperature: 50.0, ..warm() }).await.tokens[0] % 2, 1);
            }
        }
    }
);
