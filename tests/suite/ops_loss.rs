//! Losses: against the host, against central differences of their own metrics, against PyTorch.

use crate::fixture;
use crate::harness::gpu;
use crate::opcase::{In, Rng, check, check_step, close, frozen, ints, rand, run, values};
use fledgling::graph::{Exec, StepParams, Tape, Val};
use fledgling::ops::loss::{CrossEntropy, DpoLoss, GatherLogps, IGNORE, SftLoss};

fn sft(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(SftLoss, &[v[0], v[1]])
}

fn dpo(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(DpoLoss, &[v[0], v[1], v[2], v[3]])
}

fn step() -> StepParams {
    StepParams { loss_scale: 0.25, beta: 0.3, label_smoothing: 0.1, ..StepParams::default() }
}

/// Pairs of sequences of random lengths, shuffled token by token, with rows that belong to none.
fn pairs(rng: &mut Rng, p: usize) -> [In; 4] {
    let mut seq = Vec::new();
    for s in 0..2 * p as u32 {
        let n = 1 + (rng.next() % 7) as usize;
        seq.extend(std::iter::repeat_n(s, n));
        seq.push(IGNORE);
    }
    for i in (1..seq.len()).rev() {
        seq.swap(i, (rng.next() % (i as u64 + 1)) as usize);
    }
    [frozen(rng, &[seq.len()], 4.0), ints(&[seq.len()], &seq), frozen(rng, &[p, 2], 9.0), frozen(rng, &[p], 1.0)]
}

/// Targets of which some are ignored.
fn targets(rng: &mut Rng, rows: usize, v: usize) -> In {
    let data: Vec<u32> = (0..rows).map(|r| if r % 4 == 2 { IGNORE } else { (rng.next() % v as u64) as u32 }).collect();
    ints(&[rows], &data)
}

/// Rows, vocabulary, size of the logits.
const LOGITS: [(usize, usize, f64); 7] =
    [(1, 1, 1.0), (3, 5, 4.0), (33, 65, 4.0), (5, 300, 80.0), (65, 96, 4.0), (2, 5003, 8.0), (3, 49_152, 8.0)];

fl_test!(
    async fn gather_logps() {
        let gpu = gpu().await;
        let mut rng = Rng(34);
        for (rows, v, scale) in LOGITS {
            let ins = [rand(&mut rng, &[rows, v], scale), targets(&mut rng, rows, v)];
            check(&gpu, &format!("gather_logps {rows}×{v}"), &ins, 2e-5, |t, i| Ok(vec![t.push(GatherLogps, i)?[0]])).await;
        }
    }

    async fn cross_entropy() {
        let gpu = gpu().await;
        let mut rng = Rng(35);
        for (rows, v, scale) in LOGITS {
            let mut w = frozen(&mut rng, &[rows], 1.0);
            w.data[rows / 2] = 0.0;
            let ins = [rand(&mut rng, &[rows, v], scale), targets(&mut rng, rows, v), w];
            check(&gpu, &format!("cross_entropy {rows}×{v}"), &ins, 2e-5, |t, i| Ok(vec![t.push(CrossEntropy, i)?[0]])).await;
        }
        let none = ints(&[3], &[IGNORE; 3]);
        let ins = [rand(&mut rng, &[3, 33], 2.0), none, values(&[3], &[1.0; 3], false)];
        check(&gpu, "cross_entropy of nothing", &ins, 2e-5, |t, i| Ok(vec![t.push(CrossEntropy, i)?[0]])).await;
    }

    async fn cross_entropy_is_pytorchs() {
        let gpu = gpu().await;
        let ce = |t: &mut Tape, i: &[Val]| Ok(vec![t.push(CrossEntropy, i)?[0]]);
        for case in fixture::cases("cross_entropy") {
            let labels = case.ints("labels");
            let rows = labels.data.len();
            let mut w = if case.has("weights") { case.data("weights") } else { vec![1.0; rows] };
            let total: f64 = w.iter().zip(&labels.data).filter(|(_, l)| **l != f64::from(IGNORE)).map(|(w, _)| w).sum();
            w.iter_mut().for_each(|w| *w /= total.max(1e-30));
            case.check(&gpu, &[case.input("logits"), labels, values(&[rows], &w, false)], &["logits", "", ""], &["loss"], ce).await;
        }
        // (B, T): position t is judged by label t + 1, the last of a row by none.
        for case in fixture::cases("sft_nll") {
            let (b, t, v) = (case.shape("logits")[0], case.shape("logits")[1], case.shape("logits")[2]);
            let labels = case.ints("labels").data;
            let shifted: Vec<u32> = (0..b * t).map(|i| if i % t + 1 < t { labels[i + 1] as u32 } else { IGNORE }).collect();
            let count = shifted.iter().filter(|l| **l != IGNORE).count() as f64;
            let ins = [case.input_as("logits", &[b * t, v]), ints(&[b * t], &shifted), values(&[b * t], &vec![1.0 / count; b * t], false)];
            case.check(&gpu, &ins, &["logits", "", ""], &["loss"], ce).await;
        }
    }

    async fn gather_logps_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("gather_logps") {
            let ins = [case.input("logits"), case.ints("labels")];
            case.check(&gpu, &ins, &["logits", ""], &["logps"], |t, i| Ok(vec![t.push(GatherLogps, i)?[0]])).await;
        }
    }

    async fn sft_loss() {
        let gpu = gpu().await;
        let mut rng = Rng(31);
        for rows in [1, 3, 65, 300] {
            let mut w = frozen(&mut rng, &[rows], 1.0);
            for i in (0..rows).step_by(3) {
                w.data[i] = 0.0;
            }
            let mut logp = frozen(&mut rng, &[rows], 5.0);
            check_step(&gpu, &format!("sft_loss {rows}"), &[logp.clone(), w.clone()], 2e-5, &step(), sft).await;
            // What does not count may be anything.
            logp.data[0] = f64::NEG_INFINITY;
            check_step(&gpu, &format!("sft_loss {rows}, −∞ ignored"), &[logp, w], 2e-5, &step(), sft).await;
        }
    }

    async fn dpo_loss() {
        let gpu = gpu().await;
        let mut rng = Rng(32);
        for p in [1, 3, 5, 33, 65] {
            check_step(&gpu, &format!("dpo_loss of {p} pairs"), &pairs(&mut rng, p), 2e-5, &step(), dpo).await;
        }
        // Margins where exp overflows: −300 and 300.
        let mut ins = pairs(&mut rng, 3);
        ins[2].data = vec![1000.0, 0.0, 0.0, 1000.0, 1e4, -1e4];
        check_step(&gpu, "dpo_loss, large margins", &ins, 2e-5, &step(), dpo).await;
    }

    /// dlogp is the derivative of loss_scale · Σ weight·loss (central differences on the host).
    async fn loss_gradients() {
        let mut rng = Rng(33);
        let step = step();
        let total = |metrics: &[f64]| -> f64 { metrics.chunks(8).map(|m| m[0] * m[7] * f64::from(step.loss_scale)).sum() };
        let ins = pairs(&mut rng, 4);
        let at = run(&Exec::Reference, &ins, None, false, &step, &dpo).await.unwrap();
        for i in 0..ins[0].data.len() {
            let moved = async |h: f64| {
                let mut ins = ins.clone();
                ins[0].data[i] += h;
                total(&run(&Exec::Reference, &ins, None, false, &step, &dpo).await.unwrap().outputs[0])
            };
            let want = (moved(1e-5).await - moved(-1e-5).await) / 2e-5;
            assert!((at.outputs[1][i] - want).abs() < 1e-7, "dpo: {} for {want}", at.outputs[1][i]);
        }
        let ins = [frozen(&mut rng, &[9], 3.0), frozen(&mut rng, &[9], 1.0)];
        let at = run(&Exec::Reference, &ins, None, false, &step, &sft).await.unwrap();
        for i in 0..9 {
            let mut up = ins.clone();
            up[0].data[i] += 1.0;
            let want = run(&Exec::Reference, &up, None, false, &step, &sft).await.unwrap().outputs[0][0] - at.outputs[0][0];
            assert!((at.outputs[1][i] - want).abs() < 1e-9);
        }
    }

    /// At the start policy and reference agree: ln 2 whatever the answers, and no accuracy yet.
    async fn dpo_starts_at_ln_2() {
        let exec = Exec::Gpu(gpu().await);
        let logp = [-3.25, -1.5, -700.5, -0.125];
        let ins = [values(&[4], &logp, false), ints(&[4], &[0, 1, 2, 3]), values(&[2, 2], &logp, false), values(&[2], &[1.0, 1.0], false)];
        let got = run(&exec, &ins, None, false, &StepParams::default(), &dpo).await.unwrap();
        for m in got.outputs[0].chunks(8) {
            assert!((m[0] - std::f64::consts::LN_2).abs() < 1e-6, "{m:?}");
            assert_eq!(m[5..7], [0.0, 0.0]);
        }
        close("dlogp", &got.outputs[1], &[-0.05, 0.05, -0.05, 0.05], 1e-6);
    }

    async fn dpo_loss_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("dpo_loss") {
            let (pc, pr) = (case.data("chosen_logps"), case.data("rejected_logps"));
            let (rc, rr) = (case.data("ref_chosen_logps"), case.data("ref_rejected_logps"));
            let n = pc.len();
            let both = |a: &[f64], b: &[f64]| a.iter().zip(b).flat_map(|(a, b)| [*a, *b]).collect::<Vec<_>>();
            let seq: Vec<u32> = (0..2 * n as u32).collect();
            let ins = [
                values(&[2 * n], &both(&pc, &pr), false),
                ints(&[2 * n], &seq),
                values(&[n, 2], &both(&rc, &rr), false),
                values(&[n], &vec![1.0; n], false),
            ];
            let step = StepParams {
                beta: case.f32_param("beta"),
                label_smoothing: case.f32_param("label_smoothing"),
                loss_scale: 1.0 / n as f32,
                ..StepParams::default()
            };
            for (exec, tol) in [(Exec::Reference, 2e-6), (Exec::Gpu(gpu.clone()), 2e-5), (crate::harness::cpu(), 2e-5)] {
                let got = run(&exec, &ins, None, false, &step, &dpo).await.unwrap();
                let column = |k: usize| got.outputs[0].iter().skip(k).step_by(8).copied().collect::<Vec<_>>();
                close("losses", &column(0), &case.data("losses"), tol);
                close("chosen_rewards", &column(1), &case.data("chosen_rewards"), tol);
                close("rejected_rewards", &column(2), &case.data("rejected_rewards"), tol);
                close("dlogps", &got.outputs[1], &both(&case.data("dchosen_logps"), &case.data("drejected_logps")), tol);
            }
        }
    }
);
