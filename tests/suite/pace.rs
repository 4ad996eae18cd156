//! Submits cut by time, and updates whose numbers are reported while the next one is under way: neither changes a bit.

use std::rc::Rc;

use fledgling::data::Example;
use fledgling::graph::{Exec, Pace, Program, ProgramOptions, StepParams, Tape, Tensor};
use fledgling::ops::linear::Linear;
use fledgling::tune::{Checkpoint, Sft, StepMetrics, Target, Trainer, Training, TrainingArguments};
use fledgling::{Result, clock};
use serde_json::json;

use crate::harness::{devices, gpu};
use crate::opcase::Rng;
use crate::tuning::{dpo_args, dpo_rows, finish, llama_on, numbers, sft_args, sft_rows};

/// A chain of `layers` products over `rows` rows of `c` numbers.
fn chain(exec: &Exec, layers: usize, rows: usize, c: usize) -> Tape {
    let mut rng = Rng(5);
    let mut random = |n: usize, s: f64| -> Vec<f64> { (0..n).map(|_| f64::from((rng.uniform() * s) as f32)).collect() };
    let mut tape = Tape::new();
    let w = Tensor::from_f64(exec, "w", &[c, c], &random(c * c, 2.0 / (c as f64).sqrt())).expect("small");
    let x = Tensor::from_f64(exec, "x", &[rows, c], &random(rows * c, 1.0)).expect("small");
    let (mut v, w) = (tape.tensor(&x), tape.tensor(&w));
    for _ in 0..layers {
        v = tape.push1(Linear::plain(), &[v, w]).expect("fits");
    }
    tape.output("y", v);
    tape
}

async fn reports(t: &mut Training, all: bool, into: &mut Vec<StepMetrics>) -> Result<()> {
    while let Some(m) = t.report(all).await? {
        into.push(m);
    }
    Ok(())
}

fn bits(curve: &[StepMetrics]) -> Vec<Vec<u64>> {
    curve.iter().map(numbers).collect()
}

fl_test!(
    async fn a_replay_gives_the_same_bits_however_it_is_cut() {
        let exec = Exec::Gpu(gpu().await);
        let tape = chain(&exec, 30, 7, 32);
        let mut want = None;
        for per_submit in [1, 7, 64] {
            for pace in [None, Some(Rc::new(Pace::aiming_at(50e-6)))] {
                let program = Program::build(&exec, &tape, ProgramOptions { per_submit, pace }).expect("builds");
                for _ in 0..4 {
                    let y = program.run(&StepParams::default(), &["y"]).await.expect("runs");
                    assert!(*want.get_or_insert_with(|| y.clone()) == y, "{per_submit} dispatches per submit");
                }
            }
        }
    }

    /// The products take far more than the hundredth of a millisecond that is aimed at, or far less than the hour.
    async fn a_slow_program_is_cut_smaller() {
        let gpu = gpu().await;
        let exec = Exec::Gpu(gpu.clone());
        for (seconds, want) in [(1e-5, 3..=48), (3600.0, 1..=1)] {
            let pace = Some(Rc::new(Pace::aiming_at(seconds)));
            let program = Program::build(&exec, &chain(&exec, 48, 64, 512), ProgramOptions { per_submit: 64, pace }).expect("builds");
            for round in 0..5 {
                let (before, held) = (gpu.counters().submits.get(), gpu.counters().allocations.get());
                let begin = clock::seconds();
                program.run(&StepParams::default(), &["y"]).await.expect("runs");
                let (submits, took) = (gpu.counters().submits.get() - before, clock::seconds() - begin);
                report!("submits of {seconds} s, round {round}: {submits} in {took:.4} s");
                if round > 0 {
                    assert_eq!(gpu.counters().allocations.get(), held, "pacing allocates nothing");
                    assert!(want.contains(&submits), "{submits} submits of {seconds} s");
                }
            }
        }
    }

    async fn updates_told_late_are_the_same() -> Result<()> {
        for exec in devices().await {
            for (method, args, rows) in [("sft", sft_args(), sft_rows()), ("dpo", dpo_args(), dpo_rows())] {
                let model = llama_on(&exec).await?;
                let mut one = Training::new(&model, method, &args, &rows, None).await?;
                let curve = finish(&mut one).await?;
                let weights = model.adapters.save("default").await?.1;

                let model = llama_on(&exec).await?;
                let (mut t, mut late) = (Training::new(&model, method, &args, &rows, None).await?, Vec::new());
                let mut kept = None;
                while t.submit().await? {
                    if t.steps() == 4 {
                        // The update under way belongs to it, and is reported all the same.
                        let bytes = t.checkpoint().await?;
                        assert_eq!(Checkpoint::parse(&bytes)?.state.step, 4);
                        kept = Some(bytes);
                        reports(&mut t, true, &mut late).await?;
                        assert_eq!(late.len(), 4);
                    } else if t.steps() != 6 {
                        // Two may be under way; a third waits for the first.
                        reports(&mut t, false, &mut late).await?;
                    }
                    assert!(late.len() as u64 + 3 > t.steps());
                }
                reports(&mut t, false, &mut late).await?;
                assert!(!t.submit().await? && t.report(true).await?.is_none() && t.step().await?.is_none());
                assert_eq!(bits(&late), bits(&curve), "{method}");
                assert!(model.adapters.save("default").await?.1 == weights, "{method}: the adapters differ");

                let model = llama_on(&exec).await?;
                let mut rest = Training::new(&model, method, &args, &rows, kept.as_deref()).await?;
                assert_eq!(bits(&finish(&mut rest).await?), bits(&curve[4..]), "{method}, from the checkpoint");
            }
        }
        Ok(())
    }

    /// The second update is submitted, with weights that are in order again, before anybody has seen that the first is no number.
    async fn an_update_behind_a_bad_one_changes_nothing() -> Result<()> {
        for exec in devices().await {
            let model = llama_on(&exec).await?;
            let config = serde_json::from_value(json!({"r": 4, "target_modules": "all-linear"})).expect("a config");
            let start = || -> Result<_> {
                let row = |i: u32| (0..12).map(|t| (i + t * 7) % 90 + 3).collect::<Vec<u32>>();
                let rows = (0..6).map(|i| Example { ids: row(i), labels: row(i), ..Example::default() }).collect();
                let set = model.adapters.fresh(&config, 3)?;
                let target = Target::Adapter { set: set.clone(), name: "x".into() };
                // What the base model says would be remembered from when 0 times the weights was no number.
                let args = TrainingArguments { report_kl: false, max_steps: 5, learning_rate: 1e-2, ..TrainingArguments::default() };
                let args = TrainingArguments { per_device_train_batch_size: 2, ..args };
                Ok((set, Trainer::new(model.model.clone(), target, None, args, Box::new(Sft::new(rows)))?))
            };
            let mut want = Vec::new();
            let (_, mut t) = start()?;
            while let Some(m) = t.step().await? {
                want.push(m);
            }
            let (set, mut t) = start()?;
            let first = t.step().await?;
            let good = set.params().to_f64(&exec).await?;
            set.params().set_f64(&exec, &vec![1e30; good.len()]);
            t.submit().await?;
            set.params().set_f64(&exec, &good);
            let code = match t.submit().await {
                Ok(_) => t.report(true).await.err(),
                Err(e) => Some(e),
            };
            assert_eq!(code.map(|e| e.code()), Some("not-finite"));
            assert_eq!((t.steps(), t.report(true).await?.map(|m| m.step)), (1, None), "both are taken back");
            assert!(set.params().to_f64(&exec).await? == good);
            let mut got: Vec<StepMetrics> = first.into_iter().collect();
            while let Some(m) = t.step().await? {
                got.push(m);
            }
            assert_eq!(bits(&got), bits(&want), "goes on as if nothing had happened");
        }
        Ok(())
    }
);
