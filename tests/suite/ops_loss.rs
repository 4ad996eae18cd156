//! Losses: against the host, against central differences of their own metrics, against PyTorch.

use crate::fixture;
use crate::harness::gpu;
use crate::opcase::{In, Rng, check, close, frozen, ints, rand, run, values};
use fledgling::graph::{Exec, StepParams, Tape, Val};
use fledgling::ops::loss::{
    CPO_LOSSES, CpoLoss, CrossEntropy, DIVERGENCES, DPO_LOSSES, DPO_NUMBERS, DpoLoss, DpoNumbers, GatherLogps, IGNORE, KtoLoss,
};
use fledgling::ops::loss::{METRICS, OrpoLoss, POLICY_METRICS, PolicyLoss, PolicyNumbers, RANKING_METRICS, RankingLoss};
use fledgling::ops::loss::{SequenceSums, SequenceTake, SftLoss, VALUE_METRICS, ValueLoss};

fn sft(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(SftLoss::default(), v)
}

fn dpo(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(DpoLoss { aligned: v.len() == 6 }, v)
}

fn kto(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(KtoLoss, v)
}

fn orpo(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(OrpoLoss, v)
}

fn ranking(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(RankingLoss { marginal: false, tied: 4 }, v)
}

fn marginal(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(RankingLoss { marginal: true, tied: 4 }, v)
}

/// Scores of rows, each a list of the sizes of its ties, in a mixed order; scale 0.25, centring 0.1.
fn rankings(rng: &mut Rng, rows: &[&[u32]], spread: f64) -> Vec<In> {
    let (mut places, mut at) = (Vec::new(), 0);
    for row in rows {
        let end = at + row.iter().sum::<u32>();
        for tied in *row {
            places.extend((0..*tied).flat_map(|_| [at + tied, end]));
            at += tied;
        }
    }
    let n = at as usize;
    // A step that has no factor in common with n visits every score once.
    let step = (1..)
        .map(|k| 2 * k + 5)
        .find(|s| (1..=n).filter(|d| n.is_multiple_of(*d) && (*s as usize).is_multiple_of(*d)).count() == 1)
        .unwrap_or(1);
    let order: Vec<u32> = (0..at).map(|e| (e * step + 3) % at).collect();
    let places = ints(&[n, 2], &places);
    vec![frozen(rng, &[n + 5, 1], spread), ints(&[n], &order), places, frozen(rng, &[n], 0.5), constant(&[0.25, 0.1])]
}

fn value(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(ValueLoss, v)
}

/// Values, those before and their returns around them, weights 0.25; bound 0.2.
fn foreseen(rng: &mut Rng, n: usize) -> Vec<In> {
    let mut targets = frozen(rng, &[n, 3], 1.0);
    targets.data.iter_mut().skip(2).step_by(3).for_each(|w| *w = 0.25);
    vec![frozen(rng, &[n, 1], 1.0), targets, constant(&[0.2])]
}

fn constant(data: &[f64]) -> In {
    values(&[data.len()], data, false)
}

/// Random f32 values around `middle`.
fn around(rng: &mut Rng, n: usize, middle: f64, scale: f64) -> In {
    let mut x = frozen(rng, &[n], scale);
    x.data.iter_mut().for_each(|v| *v = f64::from((*v + middle) as f32));
    x
}

/// Sums of pairs, references, numbers of tokens, weights; beta 0.3, label smoothing 0.1, scale 0.25, and one loss with one divergence.
fn pairs(rng: &mut Rng, p: usize, loss: usize, divergence: usize) -> Vec<In> {
    let mut losses = [0.0; DPO_LOSSES.len()];
    losses[loss] = 0.5;
    let numbers = DpoNumbers {
        beta: 0.3,
        label_smoothing: 0.1,
        scale: 0.25,
        discopop_tau: 0.5,
        divergence: divergence as f32,
        f_alpha_divergence_coef: 0.5,
        sft_share: 0.125,
        losses,
    };
    let far = if divergence == 0 { 9.0 } else { 2.0 };
    let counts = constant(&(0..2 * p).map(|i| 1.0 + (i * 5 % 7) as f64).collect::<Vec<_>>());
    let numbers = constant(&numbers.words().map(f64::from));
    vec![around(rng, 2 * p, -20.0, far), around(rng, 2 * p, -20.0, far), counts, frozen(rng, &[p], 1.0), numbers]
}

/// The same with what WPO weighs by.
fn weighted_pairs(rng: &mut Rng, p: usize) -> Vec<In> {
    let mut ins = pairs(rng, p, 0, 0);
    ins.push(around(rng, 2 * p, -2.0, 2.0));
    ins
}

fn cpo(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(CpoLoss, v)
}

/// Sums of pairs, numbers of tokens; beta 0.3, label smoothing 0.1, scales 0.25 and 0.125, a loss, gamma 0.2 and alpha.
fn contrasts(rng: &mut Rng, p: usize, loss: usize, alpha: f64) -> Vec<In> {
    let counts = constant(&(0..2 * p).map(|i| 1.0 + (i * 5 % 7) as f64).collect::<Vec<_>>());
    let middle = if alpha == 0.0 { -20.0 } else { -3.0 };
    vec![around(rng, 2 * p, middle, middle.abs() * 0.5), counts, constant(&[0.3, 0.1, 0.25, 0.125, loss as f64, 0.2, alpha])]
}

/// Sums of rows, references, weights of both kinds, beta 0.3, scale 0.25, and the sums of mismatched rows, `further` from their references.
fn rows(rng: &mut Rng, n: usize, further: f64) -> [In; 6] {
    let mut weights = around(rng, n, 1.0, 0.5);
    weights.data.iter_mut().step_by(3).for_each(|w| *w = -*w);
    let mut sums = |middle: f64| around(rng, n, middle, 9.0);
    [sums(-20.0), sums(-20.0), weights, constant(&[0.3, 0.25]), sums(-20.0 + further), sums(-20.0)]
}

/// Sums below 0, numbers of tokens; beta 0.3, scales 0.25 and 0.125.
fn odds(rng: &mut Rng, p: usize, middle: f64) -> [In; 3] {
    let mut sums = around(rng, 3 * p, middle, middle.abs() * 0.9);
    sums.data.iter_mut().for_each(|v| *v = v.min(-1e-3));
    let mut counts = around(rng, 2 * p, 5.0, 4.0);
    counts.data.iter_mut().for_each(|v| *v = v.round());
    [sums, counts, constant(&[0.3, 0.25, 0.125])]
}

fn policy(t: &mut Tape, v: &[Val]) -> fledgling::Result<Vec<Val>> {
    t.push(PolicyLoss, v)
}

/// Tokens of sequences of unequal length with some of none behind them; ratios on both sides of the clip, one of which is cut.
fn tokens(rng: &mut Rng, lens: &[usize], numbers: PolicyNumbers) -> Vec<In> {
    let mut seq: Vec<u32> = lens.iter().enumerate().flat_map(|(s, n)| vec![s as u32; *n]).collect();
    seq.extend([IGNORE; 3]);
    let rows = seq.len();
    let logp = around(rng, rows, -2.0, 1.0);
    let near = |rng: &mut Rng, scale: f64| -> Vec<f64> {
        let off = around(rng, rows, 0.0, scale);
        logp.data.iter().zip(off.data).map(|(l, o)| f64::from((l + o) as f32)).collect()
    };
    let (old, reference) = (near(rng, 0.8), near(rng, 1.0));
    let (weights, advantages) = (around(rng, rows, 0.5, 0.2), around(rng, rows, 0.0, 2.0));
    let known = (0..rows).flat_map(|i| [old[i], reference[i], weights.data[i], advantages.data[i]]).collect::<Vec<f64>>();
    let steps: Vec<f64> = lens.iter().map(|n| f64::from(1.0 / (*n).max(1) as f32)).collect();
    let words: Vec<f64> = numbers.words().map(f64::from).to_vec();
    vec![logp, ints(&[rows], &seq), values(&[rows, 4], &known, false), constant(&steps), constant(&words)]
}

/// Every form of the policy's loss.
fn policies() -> Vec<(String, PolicyNumbers)> {
    let mut all = Vec::new();
    for sequence in [false, true] {
        for (beta, corrected) in [(0.0, false), (0.25, false), (0.25, true)] {
            for (delta, fresh) in [(f32::MAX, false), (1.75, false), (f32::MAX, true)] {
                let numbers = PolicyNumbers { clip: [0.75, 1.25], delta, beta, corrected, sequence, fresh };
                all.push((format!("{numbers:?}"), numbers));
            }
        }
    }
    all
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
            check(&gpu, &format!("gather_logps {rows}×{v}"), &ins, 2e-5, |t, i| Ok(vec![t.push(GatherLogps::default(), i)?[0]])).await;
            let mut still = ins.clone();
            still.iter_mut().for_each(|i| i.grad = false);
            check(&gpu, &format!("gather_logps {rows}×{v}, entropies"), &still, 2e-5, |t, i| {
                Ok(vec![t.push(GatherLogps { spread: true, ..GatherLogps::default() }, i)?[2]])
            })
            .await;
            check(&gpu, &format!("gather_logps {rows}×{v}, smoothed"), &ins, 2e-5, |t, i| {
                Ok(vec![t.push(GatherLogps { smoothing: 0.1, ..GatherLogps::default() }, i)?[0]])
            })
            .await;
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
            case.check(&gpu, &ins, &["logits", ""], &["logps"], |t, i| Ok(vec![t.push(GatherLogps::default(), i)?[0]])).await;
        }
    }

    async fn sequence_sums() {
        let gpu = gpu().await;
        let mut rng = Rng(36);
        for (n, seqs) in [(1, 1), (7, 3), (65, 5), (300, 65)] {
            let seq: Vec<u32> = (0..n).map(|i| if i % 4 == 3 { IGNORE } else { (rng.next() % seqs as u64) as u32 }).collect();
            let ins = [rand(&mut rng, &[n], 4.0), ints(&[n], &seq)];
            check(&gpu, &format!("sequence_sums {n} in {seqs}"), &ins, 2e-5, |t, v| Ok(vec![t.push1(SequenceSums::new(seqs), v)?])).await;
            let ins = [frozen(&mut rng, &[n, 2], 4.0), ints(&[n], &seq)];
            check(&gpu, &format!("sequence_sums {n} in {seqs}, of the second column"), &ins, 2e-5, |t, v| {
                Ok(vec![t.push1(SequenceSums::of_second(seqs), v)?])
            })
            .await;
            let ins = [frozen(&mut rng, &[seqs], 4.0), ints(&[n], &seq)];
            check(&gpu, &format!("sequence_take {n} of {seqs}"), &ins, 1e-6, |t, v| Ok(vec![t.push1(SequenceTake { rows: n }, v)?])).await;
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
            let scale = constant(&[0.25]);
            check(&gpu, &format!("sft_loss {rows}"), &[logp.clone(), w.clone(), scale.clone()], 2e-5, sft).await;
            // What does not count may be anything.
            logp.data[0] = f64::NEG_INFINITY;
            check(&gpu, &format!("sft_loss {rows}, −∞ ignored"), &[logp, w, scale], 2e-5, sft).await;
        }
    }

    async fn dpo_loss() {
        let gpu = gpu().await;
        let mut rng = Rng(32);
        for p in [1, 3, 5, 33, 65] {
            check(&gpu, &format!("dpo_loss of {p} pairs"), &pairs(&mut rng, p, 0, 0), 2e-5, dpo).await;
        }
        for (i, loss) in DPO_LOSSES.iter().enumerate() {
            check(&gpu, &format!("dpo_loss {loss}"), &pairs(&mut rng, 5, i, 0), 5e-5, dpo).await;
        }
        for (i, divergence) in DIVERGENCES.iter().enumerate() {
            check(&gpu, &format!("dpo_loss with {divergence}"), &pairs(&mut rng, 5, 0, i), 5e-5, dpo).await;
        }
        check(&gpu, "dpo_loss weighted by likelihood", &weighted_pairs(&mut rng, 5), 5e-5, dpo).await;
        // Margins where exp overflows: −300 and 300.
        let mut ins = pairs(&mut rng, 3, 0, 0);
        ins[1].data = vec![1000.0, 0.0, 1e4, 0.0, 1000.0, -1e4];
        check(&gpu, "dpo_loss, large margins", &ins, 2e-5, dpo).await;
    }

    async fn kto_loss() {
        let gpu = gpu().await;
        let mut rng = Rng(37);
        for n in [1, 3, 5, 33, 65] {
            for further in [-30.0, 5.0] {
                check(&gpu, &format!("kto_loss of {n} rows, {further}"), &rows(&mut rng, n, further), 2e-5, kto).await;
            }
            check(&gpu, &format!("kto_loss of {n} rows, unpaired"), &rows(&mut rng, n, 0.0)[..4], 2e-5, kto).await;
        }
        let mut ins = rows(&mut rng, 3, 0.0);
        ins[1].data = vec![1000.0, -1000.0, 1e4];
        check(&gpu, "kto_loss, large rewards", &ins, 2e-5, kto).await;
    }

    async fn cpo_loss() {
        let gpu = gpu().await;
        let mut rng = Rng(40);
        for (i, loss) in CPO_LOSSES.iter().enumerate() {
            for (p, alpha) in [(1, 0.0), (5, 0.0), (65, 0.0), (5, 0.1)] {
                check(&gpu, &format!("cpo_loss {loss} of {p} pairs, {alpha}"), &contrasts(&mut rng, p, i, alpha), 5e-5, cpo).await;
            }
        }
    }

    async fn ranking_loss() {
        let gpu = gpu().await;
        let mut rng = Rng(41);
        let many: Vec<&[u32]> = (0..50).map(|i| [&[1, 1][..], &[1, 1, 1], &[2, 1], &[3], &[1]][i % 5]).collect();
        for (name, rows) in [("a pair", &[&[1, 1][..]][..]), ("ties", &[&[2, 3, 1], &[4], &[1, 4], &[1]]), ("many", &many)] {
            // Scores may be far apart.
            for spread in [2.0, 60.0] {
                let ins = rankings(&mut rng, rows, spread);
                check(&gpu, &format!("ranking_loss of {name}, {spread}"), &ins, 5e-5, ranking).await;
                check(&gpu, &format!("marginal ranking_loss of {name}, {spread}"), &ins, 5e-5, marginal).await;
            }
        }
    }
    async fn value_loss() {
        let gpu = gpu().await;
        let mut rng = Rng(42);
        for n in [1, 7, 130] {
            check(&gpu, &format!("value_loss of {n}"), &foreseen(&mut rng, n), 1e-5, value).await;
        }
    }

    async fn policy_loss() {
        let gpu = gpu().await;
        let mut rng = Rng(41);
        for lens in [&[1][..], &[5, 1, 9], &[70, 3, 0, 40]] {
            for (name, numbers) in policies() {
                check(&gpu, &format!("policy_loss {lens:?} {name}"), &tokens(&mut rng, lens, numbers), 5e-5, policy).await;
            }
        }
    }

    async fn orpo_loss() {
        let gpu = gpu().await;
        let mut rng = Rng(38);
        for p in [1, 3, 5, 33, 65] {
            for middle in [-20.0, -1.0, -0.05] {
                check(&gpu, &format!("orpo_loss of {p} pairs, {middle}"), &odds(&mut rng, p, middle), 5e-5, orpo).await;
            }
        }
    }

    /// What the losses give as gradients are the derivatives of what they give as losses (central differences on the host).
    async fn loss_gradients() {
        let mut rng = Rng(33);
        type Record = fn(&mut Tape, &[Val]) -> fledgling::Result<Vec<Val>>;
        /// Total of a loss from its metrics.
        type Total = fn(&[f64]) -> f64;
        let step = StepParams::default();
        let of_pairs: Total = |m| 0.25 * m.chunks(METRICS).map(|m| m[0] * m[7]).sum::<f64>();
        let sorts = |loss: usize| DPO_LOSSES[loss].starts_with("aot");
        let alike = |mut ins: Vec<In>| {
            // Sorted pairs have no weights of their own.
            ins[3].data.fill(1.0);
            ins
        };
        let mut cases: Vec<(&str, Vec<In>, Record, Total)> = Vec::new();
        for (i, loss) in DPO_LOSSES.iter().enumerate() {
            let ins = pairs(&mut rng, 4, i, 0);
            cases.push((loss, if sorts(i) { alike(ins) } else { ins }, dpo, of_pairs));
        }
        for (i, divergence) in DIVERGENCES.iter().enumerate() {
            cases.extend([0, 2, 14].map(|loss| (*divergence, pairs(&mut rng, 4, loss, i), dpo as Record, of_pairs)));
        }
        let of_rankings: Total = |m| 0.25 * m.chunks(RANKING_METRICS).map(|m| m[0]).sum::<f64>();
        let of_contrasts: Total = |m| m.chunks(METRICS).map(|m| 0.25 * m[0] + 0.125 * m[5]).sum::<f64>();
        for (i, loss) in CPO_LOSSES.iter().enumerate() {
            cases.extend([0.0, 0.1].map(|alpha| (*loss, contrasts(&mut rng, 4, i, alpha), cpo as Record, of_contrasts)));
        }
        let forms = policies();
        for (name, numbers) in &forms {
            // In a fresh round the ratio is 1, but its gradient is not 0: what the loss is then is not what is differentiated.
            if !numbers.fresh {
                cases.push((name, tokens(&mut rng, &[4, 1, 3], *numbers), policy, |_| f64::NAN));
            }
        }
        cases.extend([
            ("dpo, weighted", weighted_pairs(&mut rng, 4), dpo as Record, of_pairs),
            ("kto", rows(&mut rng, 5, 4.0).to_vec(), kto, |m| 0.25 * m.chunks(METRICS).map(|m| m[0] * m[4]).sum::<f64>()),
            ("kto, KL 0", rows(&mut rng, 5, -40.0).to_vec(), kto, |m| 0.25 * m.chunks(METRICS).map(|m| m[0] * m[4]).sum::<f64>()),
            ("orpo", odds(&mut rng, 4, -2.0).to_vec(), orpo, |m| m.chunks(METRICS).map(|m| 0.125 * m[0] - 0.25 * 0.3 * m[4]).sum::<f64>()),
            ("ranking", rankings(&mut rng, &[&[2, 3, 1], &[1, 1], &[1], &[4]], 2.0), ranking, of_rankings),
            ("marginal", rankings(&mut rng, &[&[2, 3, 1], &[1, 1], &[1], &[4, 1]], 2.0), marginal, of_rankings),
            ("value", foreseen(&mut rng, 9), value, |m| m.chunks(VALUE_METRICS).map(|m| 0.25 * m[0]).sum::<f64>()),
            ("sft", vec![frozen(&mut rng, &[9], 3.0), frozen(&mut rng, &[9], 1.0), constant(&[0.25])], sft, |m| m[0]),
        ]);
        for (name, ins, record, total) in cases {
            let at = run(&Exec::Reference, &ins, None, false, &step, &record).await.unwrap();
            for i in 0..ins[0].data.len() {
                let moved = async |h: f64| {
                    let mut ins = ins.clone();
                    ins[0].data[i] += h;
                    let metrics = &run(&Exec::Reference, &ins, None, false, &step, &record).await.unwrap().outputs[0];
                    match total(metrics) {
                        sum if sum.is_nan() => metrics.chunks(POLICY_METRICS).zip(ins[2].data.chunks(4)).map(|(m, t)| m[0] * t[2]).sum(),
                        sum => sum,
                    }
                };
                let want = (moved(1e-5).await - moved(-1e-5).await) / 2e-5;
                assert!((at.outputs[1][i] - want).abs() < 1e-7, "{name} {i}: {} for {want}", at.outputs[1][i]);
            }
        }
    }

    /// At the start policy and reference agree: ln 2 whatever the answers, and no accuracy yet.
    async fn dpo_starts_at_ln_2() {
        let sums = constant(&[-3.25, -700.5, -1.5, -0.125]);
        for exec in crate::harness::devices().await {
            let mut numbers = [0.0; DPO_NUMBERS];
            (numbers[0], numbers[2], numbers[7]) = (0.1, 1.0, 1.0);
            let ins = [sums.clone(), sums.clone(), constant(&[1.0; 4]), constant(&[1.0, 1.0]), constant(&numbers)];
            let got = run(&exec, &ins, None, false, &StepParams::default(), &dpo).await.unwrap();
            for m in got.outputs[0].chunks(METRICS) {
                assert!((m[0] - std::f64::consts::LN_2).abs() < 1e-6, "{m:?}");
                assert_eq!(m[5..7], [0.0, 0.0]);
            }
            close("dsums", &got.outputs[1], &[-0.05, -0.05, 0.05, 0.05], 1e-6);
        }
    }

    async fn dpo_loss_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("dpo_loss") {
            let both =
                |name: &str| constant(&[case.data(&format!("{name}chosen_logps")), case.data(&format!("{name}rejected_logps"))].concat());
            let counts = [case.data("chosen_tokens"), case.data("rejected_tokens")];
            let n = counts[0].len();
            let mut losses = [0.0; DPO_LOSSES.len()];
            for (name, weight) in case.losses() {
                losses[DPO_LOSSES.iter().position(|l| *l == name).expect("a loss")] = weight;
            }
            let numbers = DpoNumbers {
                beta: case.f32_param("beta"),
                label_smoothing: case.f32_param("label_smoothing"),
                scale: 1.0 / n as f32,
                discopop_tau: case.f32_param("discopop_tau"),
                divergence: DIVERGENCES.iter().position(|d| *d == case.text_param("f_divergence_type")).unwrap_or(0) as f32,
                f_alpha_divergence_coef: case.f32_param("f_alpha_divergence_coef"),
                sft_share: n as f32 / counts[0].iter().sum::<f64>() as f32,
                losses,
            };
            let numbers = constant(&numbers.words().map(f64::from));
            let ins = [both(""), both("ref_"), constant(&counts.concat()), constant(&vec![1.0; n]), numbers];
            for (exec, tol) in judges(&gpu) {
                let got = run(&exec, &ins, None, false, &StepParams::default(), &dpo).await.unwrap();
                let loss = column(&got.outputs[0], 0).iter().sum::<f64>() / n as f64;
                close("loss", &[loss], &case.data("loss"), tol);
                close("chosen_rewards", &column(&got.outputs[0], 1), &case.data("chosen_rewards"), tol);
                close("rejected_rewards", &column(&got.outputs[0], 2), &case.data("rejected_rewards"), tol);
                close("dsums", &got.outputs[1], &[case.data("dchosen_logps"), case.data("drejected_logps")].concat(), tol);
            }
        }
    }

    async fn kto_loss_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("kto_loss") {
            let n = case.data("logps").len();
            let weights: Vec<f64> = case.data("labels").iter().map(|l| if *l == 1.0 { 1.0 } else { f64::from(-1.33f32) }).collect();
            let numbers = constant(&[f64::from(case.f32_param("beta")), 1.0 / n as f64]);
            let data = |name: &str| constant(&case.data(name));
            let mut ins = vec![data("logps"), data("ref_logps"), constant(&weights), numbers];
            if case.text_param("loss_type") == "kto" {
                ins.extend([data("kl_logps"), data("ref_kl_logps")]);
            }
            for (exec, tol) in judges(&gpu) {
                let got = run(&exec, &ins, None, false, &StepParams::default(), &kto).await.unwrap();
                let m = &got.outputs[0];
                close("losses", &column(m, 0), &case.data("losses"), tol);
                close("rewards", &column(m, 1), &case.data("rewards"), tol);
                close("kl", &m[3..4], &case.data("kl"), tol);
                let mean = column(m, 0).iter().zip(column(m, 4)).map(|(l, w)| l * w).sum::<f64>() / n as f64;
                close("loss", &[mean], &case.data("loss"), tol);
                close("dsums", &got.outputs[1], &case.data("dlogps"), tol);
            }
        }
    }

    async fn orpo_loss_is_pytorchs() {
        let gpu = gpu().await;
        for case in fixture::cases("orpo_loss") {
            let n = case.data("chosen_logps").len();
            let total: f64 = [case.data("chosen_tokens"), case.data("prompt_tokens")].concat().iter().sum();
            let numbers = constant(&[f64::from(case.f32_param("beta")), 1.0 / n as f64, 1.0 / total]);
            let three = |start: &str| ["chosen", "rejected", "prompt"].map(|part| case.data(&format!("{start}{part}_logps"))).concat();
            let counts = constant(&[case.data("chosen_tokens"), case.data("rejected_tokens")].concat());
            let ins = [constant(&three("")), counts, numbers];
            for (exec, tol) in judges(&gpu) {
                let got = run(&exec, &ins, None, false, &StepParams::default(), &orpo).await.unwrap();
                let m = &got.outputs[0];
                let nll = column(m, 0).iter().sum::<f64>() / total;
                let ratio = column(m, 4).iter().sum::<f64>() / n as f64;
                close("nll", &[nll], &case.data("nll"), tol);
                close("log odds", &column(m, 3), &case.data("log_odds"), tol);
                close("loss", &[nll - f64::from(case.f32_param("beta")) * ratio], &case.data("loss"), tol);
                close("dsums", &got.outputs[1], &three("d"), tol);
            }
        }
    }
);

/// The executors, and how near to PyTorch's f64 each is.
fn judges(gpu: &fledgling::gpu::Gpu) -> [(Exec, f64); 3] {
    [(Exec::Reference, 2e-6), (Exec::Gpu(gpu.clone()), 2e-5), (crate::harness::cpu(), 2e-5)]
}

/// Column `k` of a loss's metrics.
fn column(metrics: &[f64], k: usize) -> Vec<f64> {
    metrics.iter().skip(k).step_by(METRICS).copied().collect()
}
