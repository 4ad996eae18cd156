//! Rows that are judged and not learned from: by every method, in the middle of a run, with the best one kept.

use fledgling::adapters::LoadedModel;
use fledgling::data::RowKind;
use fledgling::formats::peft::LoraAdapter;
use fledgling::tune::methods::METHODS;
use fledgling::tune::{Checkpoint, EvalMetrics, Evaluator, Training};
use fledgling::{Error, Result};
use serde_json::{Value, json};

use crate::harness::{cpu, devices};
use crate::tuning::{dpo_rows, kto_rows, llama_on, numbers};

fn sft_rows(seed: u32) -> Vec<Value> {
    (0..6u32).map(|i| json!({"input_ids": (0..4 + 3 * i).map(|t| (seed + 7 * i + 3 * t * t) % 90 + 3).collect::<Vec<u32>>()})).collect()
}

fn rows(kind: RowKind) -> Vec<Value> {
    match kind {
        RowKind::Sft => sft_rows(0),
        RowKind::Unpaired => kto_rows(),
        _ => dpo_rows(),
    }
}

fn with(own: &Value) -> Value {
    let mut all = json!({"max_steps": 1, "learning_rate": 1e-3, "lr_scheduler_type": "constant", "shuffle": false,
        "peft_config": {"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": false}});
    all.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
    all
}

/// A run to its end: what its updates and its evaluations gave.
async fn run(t: &mut Training) -> Result<(Vec<Value>, Vec<EvalMetrics>)> {
    let (mut updates, mut found) = (Vec::new(), Vec::new());
    loop {
        let more = t.submit().await?;
        while let Some(m) = t.report(!more).await? {
            updates.push(json!(numbers(&m)));
        }
        while let Some(e) = t.evaluation() {
            found.push(e);
        }
        if !more {
            return Ok((updates, found));
        }
    }
}

/// But for the time it took.
fn timeless(all: &[EvalMetrics]) -> Vec<EvalMetrics> {
    all.iter().map(|e| EvalMetrics { seconds: 0.0, ..e.clone() }).collect()
}

/// A loss that rises from the third evaluation on: the rate is too high.
fn rising() -> Value {
    with(&json!({"max_steps": 12, "per_device_train_batch_size": 3, "learning_rate": 0.3, "eval_steps": 1, "load_best_model_at_end": true,
        "peft_config": {"r": 4, "target_modules": ["q_proj", "v_proj"]}}))
}

async fn start(model: &LoadedModel, args: &Value, checkpoint: Option<&[u8]>) -> Result<Training> {
    Training::with_evaluation(model, "sft", args, (&sft_rows(0), Some(&sft_rows(40))), checkpoint).await
}

fl_test!(
    /// What an update reports of rows before it changes anything, an evaluation says of them.
    async fn every_method_judges_held_out_rows() -> Result<()> {
        for exec in devices().await {
            // Methods that judge what they sample have none.
            for info in METHODS.iter().filter(|m| m.rows != RowKind::Rollout) {
                let rows = rows(info.rows);
                let n = rows.len();
                let own =
                    json!({"per_device_train_batch_size": n, "per_device_eval_batch_size": n, "eval_on_start": true, "reference": "base"});
                let mut args = with(&own);
                if !info.all_fields().iter().any(|f| f.name == "reference") {
                    args.as_object_mut().expect("an object").remove("reference");
                }
                let model = llama_on(&exec).await?;
                let mut t = Training::with_evaluation(&model, info.name, &args, (&rows, Some(&rows)), None).await?;
                let mut found = None;
                while found.is_none() {
                    assert!(t.submit().await?);
                    found = t.evaluation();
                }
                let (found, update) = (found.expect("just found"), t.step().await?.expect("one update").metrics);
                assert_eq!((found.step, found.rows), (0, n), "{}", info.name);
                for (name, value) in found.metrics.iter() {
                    let want = update.get(name).unwrap_or_else(|| panic!("{}: no {name} in {update:?}", info.name));
                    assert!((value - want).abs() <= 1e-4 * want.abs().max(0.1), "{}: eval_{name} is {value}, {name} {want}", info.name);
                }
                let own_kl = info.metrics.iter().any(|m| m.name == "kl" && found.metrics.get("kl").is_some());
                assert_eq!(
                    found.metrics.iter().count() + usize::from(update.kl().is_some() && !own_kl),
                    update.iter().count(),
                    "{}",
                    info.name
                );

                // By the package's call, with the values that the adapter has behind that update; and by the base model.
                let mut last = None;
                while t.submit().await? {
                    last = t.evaluation().or(last);
                }
                let last = t.evaluation().or(last).expect("behind the last update");
                let judge = async |adapter: Option<&str>, batch: usize| -> Result<EvalMetrics> {
                    let mut args = args.clone();
                    args["per_device_eval_batch_size"] = json!(batch);
                    let mut e = Evaluator::new(&model, info.name, &args, &rows, adapter)?;
                    loop {
                        if let Some(found) = e.step().await? {
                            return Ok(found);
                        }
                    }
                };
                let again = judge(Some("default"), n).await?;
                assert!((again.metrics.loss() - last.metrics.loss()).abs() < 1e-5, "{}: {again:?}, {last:?}", info.name);
                if info.name != "kto" {
                    let parts = judge(Some("default"), 2).await?;
                    for name in ["loss", "rewards/accuracies", "rewards/margins", "logps/chosen"] {
                        let (a, b) = (parts.metrics.get(name), again.metrics.get(name));
                        // Imitation is a mean over the tokens of a micro-batch.
                        let imitates = name == "loss" && ["orpo", "cpo"].contains(&info.name);
                        assert!(
                            imitates || a.zip(b).is_none_or(|(a, b)| (a - b).abs() <= 1e-4 * b.abs().max(0.1)),
                            "{}: {name}",
                            info.name
                        );
                    }
                }
                if info.name == "reward" {
                    // The base model has no head.
                    assert_eq!(judge(None, n).await.err().map(|e| e.code()), Some("bad-adapter"));
                    continue;
                }
                let base = judge(None, n).await?;
                assert!((base.metrics.loss() - again.metrics.loss()).abs() > 1e-6, "{}", info.name);
            }
        }
        Ok(())
    }

    /// Dropout and noise belong to updates.
    async fn nothing_is_dropped_in_an_evaluation() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let first = async |own: Value| -> Result<f64> {
            let mut args = with(&own);
            args["eval_on_start"] = json!(true);
            let mut t = Training::with_evaluation(&model, "sft", &args, (&sft_rows(0), Some(&sft_rows(5))), None).await?;
            let (_, found) = run(&mut t).await?;
            model.adapters.remove("default");
            Ok(found[0].metrics.loss())
        };
        let plain = first(json!({})).await?;
        let peft = json!({"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": false, "lora_dropout": 0.5});
        assert_eq!(plain, first(json!({"peft_config": peft, "neftune_noise_alpha": 10})).await?);
        // Packed, too, it is the mean over the tokens.
        let packed = first(json!({"packing": true, "max_length": 30})).await?;
        assert!((packed - plain).abs() < 1e-5, "{packed} for {plain}");
        Ok(())
    }

    /// Patience ends a run, and the adapter is the best evaluation's.
    async fn the_best_is_kept_and_patience_ends() -> Result<()> {
        for exec in devices().await {
            let model = llama_on(&exec).await?;
            let mut args = rising();
            args["early_stopping_patience"] = json!(2);
            let mut t = start(&model, &args, None).await?;
            let (updates, found) = run(&mut t).await?;
            let losses: Vec<f64> = found.iter().map(|e| e.metrics.loss()).collect();
            let lowest = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).expect("some");
            assert!(t.stopped_early() && updates.len() < 12 && losses.len() == lowest + 3, "{losses:?}");
            let best = t.best().expect("asked for");
            assert_eq!((best.step, best.value, best.loaded, best.metric.as_str()), (lowest as u64 + 1, losses[lowest], true, "eval_loss"));
            assert_eq!(found.iter().rposition(|e| e.best == Some(true)), Some(lowest));
            let mut judge = Evaluator::new(&model, "sft", &json!({}), &sft_rows(40), Some("default"))?;
            let loss = loop {
                if let Some(found) = judge.step().await? {
                    break found.metrics.loss();
                }
            };
            assert!((loss - losses[lowest]).abs() < 1e-5, "{loss} for {}", losses[lowest]);
            // Without patience and without the best, the last.
            args["load_best_model_at_end"] = json!(false);
            args["early_stopping_patience"] = Value::Null;
            args["max_steps"] = json!(4);
            model.adapters.remove("default");
            let mut t = start(&model, &args, None).await?;
            let (updates, _) = run(&mut t).await?;
            assert!(updates.len() == 4 && !t.stopped_early() && t.best().is_none());
        }
        Ok(())
    }

    /// From a checkpoint between two updates, in the middle of an evaluation, and behind the end.
    async fn resumed_runs_evaluate_the_same() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let mut args = rising();
        args["max_steps"] = json!(6);
        args["eval_steps"] = json!(2);
        args["per_device_eval_batch_size"] = json!(2);
        args["peft_config"]["lora_dropout"] = json!(0.2);
        let mut whole = start(&model, &args, None).await?;
        let (updates, found) = run(&mut whole).await?;
        let end = model.adapters.save("default").await?;
        assert_eq!(found.iter().map(|e| e.step).collect::<Vec<_>>(), [2, 4, 6]);
        // Submissions before the checkpoint: an evaluation of six rows takes three.
        for submitted in [1, 3, 4, 5, 7, 10] {
            model.adapters.remove("default");
            let mut first = start(&model, &args, None).await?;
            for _ in 0..submitted {
                assert!(first.submit().await?);
            }
            let bytes = first.checkpoint().await?;
            let done = first.steps() as usize;
            let mut rest = start(&model, &args, Some(&bytes)).await?;
            let (more, told) = run(&mut rest).await?;
            assert_eq!(more, updates[done..], "after {submitted}");
            let told = timeless(&told);
            assert_eq!(told, timeless(&found[found.len() - told.len()..]), "after {submitted}");
            assert_eq!((rest.best(), model.adapters.save("default").await? == end), (whole.best(), true), "after {submitted}");
        }
        // A checkpoint of the end holds the last weights beside the best: it can go on.
        let bytes = whole.checkpoint().await?;
        let state = Checkpoint::parse(&bytes)?.state;
        assert!(state.evaluation.is_some() && state.step == 6);
        args["max_steps"] = json!(8);
        let mut longer = start(&model, &args, Some(&bytes)).await?;
        let (more, _) = run(&mut longer).await?;
        model.adapters.remove("default");
        let mut at_once = start(&model, &args, None).await?;
        assert_eq!(more, run(&mut at_once).await?.0[6..]);
        // Other rows for evaluation have another best.
        let others = Training::with_evaluation(&model, "sft", &args, (&sft_rows(0), Some(&sft_rows(41))), Some(&bytes)).await;
        assert!(others.err().is_some_and(|e| e.to_string().contains("other rows for evaluation")));
        Ok(())
    }

    /// TRL's own runs: every evaluation, the early end, the best update and what it gives when it is loaded.
    async fn runs_are_trls() -> Result<()> {
        for (name, bytes) in [
            ("sft", include_str!("../fixtures/evaluation/sft.json")),
            ("sft_threshold", include_str!("../fixtures/evaluation/sft_threshold.json")),
            ("dpo", include_str!("../fixtures/evaluation/dpo.json")),
        ] {
            let want: Value = serde_json::from_str(bytes).expect("a run");
            let method = want["method"].as_str().expect("a text");
            let model = llama_on(&cpu()).await?;
            let config = include_str!("../fixtures/training/adapters/default/adapter_config.json");
            let weights = include_bytes!("../fixtures/training/adapters/default/adapter_model.safetensors");
            model.adapters.add("default", &LoraAdapter::read(config, weights)?)?;
            let mut args = want["config"].clone();
            args["shuffle"] = json!(false);
            if method == "dpo" {
                args["reference"] = json!("base");
            }
            let list = |name: &str| want[name].as_array().expect("rows").clone();
            let (rows, held) = (list("rows"), list("held"));
            let mut t = Training::with_evaluation(&model, method, &args, (&rows, Some(&held)), None).await?;
            let (updates, found) = run(&mut t).await?;
            let evaluations = want["evaluations"].as_array().expect("a list");
            assert_eq!((json!(updates.len()), found.len()), (want["steps_taken"].clone(), evaluations.len()), "{name}");
            let mut worst = 0.0f64;
            let near = |got: &Value, want: &Value, tolerance: f64| -> f64 {
                let (got, want) = (got.as_f64().unwrap_or(f64::NAN), want.as_f64().expect("a number"));
                let off = (got - want).abs() / want.abs().max(0.1);
                assert!(off <= tolerance, "{name}: {got} for {want}");
                off
            };
            for (got, want) in found.iter().zip(evaluations) {
                let got = serde_json::to_value(got).expect("numbers");
                // Ours are the rows taken, theirs the updates: other fractions where an epoch's last update has fewer rows.
                for (key, value) in want.as_object().expect("an object").iter().filter(|v| v.0 != "epoch") {
                    worst = worst.max(near(&got[key], value, 2e-3));
                }
            }
            let best = t.best().expect("asked for");
            assert_eq!(json!(best.step), want["best_step"], "{name}");
            near(&json!(best.value), &want["best_metric"], 2e-3);
            let mut judge = Evaluator::new(&model, method, &args, &held, Some("default"))?;
            let loaded = loop {
                if let Some(found) = judge.step().await? {
                    break found.metrics.loss();
                }
            };
            near(&json!(loaded), &want["loaded"]["eval_loss"], 2e-3);
            report!("{name}: {} evaluations within {worst:.1e} of TRL's", found.len());
        }
        Ok(())
    }

    async fn rows_may_be_held_out_of_the_data() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let rows = sft_rows(0);
        let own = |own: Value| with(&own);
        let mut t =
            Training::new(&model, "sft", &own(json!({"eval_split": 0.34, "num_train_epochs": 2, "max_steps": -1})), &rows, None).await?;
        assert_eq!(t.total_steps(), 8, "four rows are left");
        let (_, found) = run(&mut t).await?;
        assert_eq!(found.iter().map(|e| (e.step, e.rows)).collect::<Vec<_>>(), [(4, 2), (8, 2)]);
        // A fault is told by its number among all.
        let mut wrong = rows.clone();
        wrong[4] = json!({"input_ids": [3, 4], "labels": [3, 96]});
        for share in [0.1, 0.9] {
            match Training::new(&model, "sft", &own(json!({ "eval_split": share })), &wrong, None).await {
                Err(Error::BadRow { row, .. }) => assert_eq!(row, 4),
                other => panic!("{:?}", other.err()),
            }
        }
        match Training::with_evaluation(&model, "sft", &own(json!({})), (&rows, Some(&wrong)), None).await {
            Err(Error::BadEvalRow { row, .. }) => assert_eq!(row, 4),
            other => panic!("{:?}", other.err()),
        }
        for (field, config, held) in [
            ("eval_split", json!({"eval_split": 0.1}), Some(&rows[..])),
            ("eval_strategy", json!({"eval_strategy": "epoch"}), None),
            ("metric_for_best_model", json!({"metric_for_best_model": "eval_rewards/margins"}), Some(&rows[..])),
        ] {
            let error =
                Training::with_evaluation(&model, "sft", &own(config), (&rows, held), None).await.err().expect("refused").to_string();
            assert!(error.starts_with(field), "{error}");
        }
        let one = Training::new(&model, "sft", &own(json!({"eval_split": 0.5})), &rows[..1], None).await;
        assert!(one.err().is_some_and(|e| e.to_string().contains("hold rows out of 1")));
        Ok(())
    }
);
