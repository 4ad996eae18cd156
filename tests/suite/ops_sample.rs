//! Sampling against the f64 host reference and against the distribution it stands for.

use crate::harness::gpu;
use crate::opcase::Rng;
use fledgling::gpu::Gpu;
use fledgling::graph::{Desc, Exec, HostProgram, Program, ProgramOptions, StepParams, Tape, Tensor};
use fledgling::ops::sample::{Sample, kept, seen_words};

struct Drawn {
    tokens: Vec<u32>,
    logps: Vec<f64>,
    seen: Vec<f64>,
}

async fn sample(exec: &Exec, logits: &[f64], rows: usize, seen: &[u32], steps: &[StepParams]) -> Vec<Drawn> {
    let cols = logits.len() / rows;
    let mut tape = Tape::new();
    let z = Tensor::zeros(exec, "logits", Desc::f32(&[rows, cols])).expect("small");
    z.set_f64(exec, logits);
    let bits = Tensor::zeros(exec, "seen", Desc::u32(&[rows, seen_words(cols)])).expect("small");
    let fill = |row: &[u32]| -> Vec<f64> {
        let mut words = vec![0u32; seen_words(cols)];
        row.iter().for_each(|t| words[*t as usize / 32] |= 1 << (t % 32));
        words.iter().map(|w| f64::from(*w)).collect()
    };
    let start: Vec<f64> = (0..rows).flat_map(|_| fill(seen)).collect();
    let z = tape.tensor(&z);
    let s = tape.tensor(&bits);
    let token = tape.temp(Desc::u32(&[rows]));
    let logp = tape.temp(Desc::f32(&[rows]));
    tape.push_into(Sample, &[z], &[(token, false), (logp, false), (s, true)]).expect("fits");
    tape.output("token", token);
    tape.output("logp", logp);
    let program = exec.gpu().map(|gpu| Program::build(gpu, &tape, ProgramOptions::default()).expect("builds"));
    let mut out = Vec::new();
    for step in steps {
        bits.set_f64(exec, &start);
        let (tokens, logps) = match &program {
            Some(p) => {
                let words = p.run(step, &["token", "logp"]).await.expect("runs");
                (words[0].clone(), words[1].iter().map(|w| f64::from(f32::from_bits(*w))).collect())
            }
            None => {
                let mut p = HostProgram::new(&tape);
                p.run(step).expect("runs");
                (p.get(token).expect("drawn").iter().map(|v| *v as u32).collect(), p.get(logp).expect("drawn").to_vec())
            }
        };
        out.push(Drawn { tokens, logps, seen: bits.to_f64(exec).await.expect("readable") });
    }
    out
}

fn random_logits(rng: &mut Rng, n: usize, scale: f64) -> Vec<f64> {
    (0..n).map(|_| f64::from((rng.uniform() * scale) as f32)).collect()
}

async fn agree(gpu: &Gpu, what: &str, logits: &[f64], rows: usize, seen: &[u32], options: StepParams) {
    let steps: Vec<StepParams> = (0..12).map(|i| StepParams { seed: 17, counter: i, ..options }).collect();
    let want = sample(&Exec::Host, logits, rows, seen, &steps).await;
    let got = sample(&Exec::Gpu(gpu.clone()), logits, rows, seen, &steps).await;
    let (mut same, mut all) = (0, 0);
    for (g, w) in got.iter().zip(&want) {
        for row in 0..rows {
            all += 1;
            if g.tokens[row] == w.tokens[row] {
                same += 1;
                assert!((g.logps[row] - w.logps[row]).abs() < 1e-4, "{what}: logp {} for {}", g.logps[row], w.logps[row]);
            }
        }
        if g.tokens == w.tokens {
            assert_eq!(g.seen, w.seen, "{what}: bits of the drawn tokens");
        }
    }
    // A draw that falls on the edge between two tokens may go either way in f32: one in some ten thousand.
    assert!(all - same <= 1, "{what}: {same} of {all} draws agree with the host");
}

fl_test!(
    async fn sampling_agrees_with_the_host() {
        let gpu = gpu().await;
        let mut rng = Rng(31);
        let base = StepParams { temperature: 1.0, ..StepParams::default() };
        for (rows, cols) in [(1, 1), (3, 5), (2, 65), (4, 3001), (2, 49_152), (1, 152_000)] {
            let logits = random_logits(&mut rng, rows * cols, 8.0);
            let seen: Vec<u32> = (0..cols as u32).filter(|i| i % 3 == 0).collect();
            let cases = [
                ("greedy", StepParams { temperature: 0.0, ..base }),
                ("greedy with penalty", StepParams { temperature: 0.0, repetition_penalty: 1.5, ..base }),
                ("temperature", StepParams { temperature: 0.7, ..base }),
                ("top-k", StepParams { top_k: 4, ..base }),
                ("top-p", StepParams { top_p: 0.8, ..base }),
                ("min-p", StepParams { min_p: 0.2, ..base }),
                ("all", StepParams { temperature: 1.3, top_k: 50, top_p: 0.9, min_p: 0.02, repetition_penalty: 1.2, ..base }),
            ];
            for (name, options) in cases {
                if cols > 100_000 && !["greedy", "all"].contains(&name) {
                    continue;
                }
                agree(&gpu, &format!("{name} {rows}×{cols}"), &logits, rows, &seen, options).await;
            }
        }
    }
);

fl_test!(
    async fn sampling_follows_the_distribution() {
        let gpu = gpu().await;
        let logits = [1.0, 3.0, 2.5, 0.0, -1.0, 2.9, 1.5, 2.0];
        let options = StepParams { temperature: 0.9, top_k: 6, top_p: 0.95, ..StepParams::default() };
        let shaped: Vec<f64> = logits.iter().map(|v| v / 0.9).collect();
        let weights = kept(&shaped, &options);
        let total: f64 = weights.iter().sum();
        let n = 3000u32;
        let steps: Vec<StepParams> = (0..n).map(|i| StepParams { seed: 3, counter: i, ..options }).collect();
        let mut counts = [0u32; 8];
        for d in sample(&Exec::Gpu(gpu), &logits, 1, &[], &steps).await {
            counts[d.tokens[0] as usize] += 1;
        }
        for (i, w) in weights.iter().enumerate() {
            let p = w / total;
            let sigma = (f64::from(n) * p * (1.0 - p)).sqrt();
            let off = (f64::from(counts[i]) - f64::from(n) * p).abs();
            assert!(off <= 4.5 * sigma, "token {i}: drawn {} of {n}, expected {:.0}", counts[i], f64::from(n) * p);
        }
    }
);

fl_test!(
    async fn rows_have_streams_of_their_own_and_ties_go_to_the_lowest_id() {
        let gpu = gpu().await;
        let exec = Exec::Gpu(gpu);
        let flat = vec![0.5; 8 * 1000];
        let warm = StepParams { temperature: 1.0, seed: 5, ..StepParams::default() };
        let drawn = sample(&exec, &flat, 8, &[], &[warm]).await;
        let distinct: std::collections::BTreeSet<u32> = drawn[0].tokens.iter().copied().collect();
        assert!(distinct.len() > 4, "eight equal rows drew {:?}", drawn[0].tokens);
        let cold = sample(&exec, &flat, 8, &[], &[StepParams { temperature: 0.0, ..warm }]).await;
        assert_eq!(cold[0].tokens, [0; 8]);
    }
);

fl_test!(
    async fn logits_that_are_no_numbers_give_a_defined_token() {
        let gpu = gpu().await;
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for temperature in [0.0, 1.0] {
                let mut logits = vec![1.0; 200];
                logits[77] = bad;
                let step = StepParams { temperature, top_k: 5, ..StepParams::default() };
                let d = sample(&Exec::Gpu(gpu.clone()), &logits, 1, &[], &[step]).await;
                assert_eq!(d[0].tokens, [0]);
                assert!(d[0].logps[0].is_nan(), "{bad}: {}", d[0].logps[0]);
            }
        }
    }
);
