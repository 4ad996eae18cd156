//! Long trainings: interrupted and continued on every device, finished ones continued, what a plan costs, how far the model has moved.

use fledgling::Result;
use fledgling::adapters::AdapterChoice;
use fledgling::data::Example;
use fledgling::generate::Generator;
use fledgling::graph::Exec;
use fledgling::tune::{Sft, StepMetrics, Target, Trainer, Training, TrainingArguments};
use serde_json::{Value, json};

use crate::harness::{cpu, devices, gpu, other_form};
use crate::tuning::{llama_on, resumed_on};

fn ids(i: u64, n: u64) -> Vec<u64> {
    (0..n).map(|t| (11 * i + 5 * t * t + t) % 90 + 3).collect()
}

/// Pairs of lengths that no two of them share.
fn pairs(n: u64) -> Vec<Value> {
    let row =
        |i: u64| json!({"prompt_ids": ids(i, 3 + i % 7), "chosen_ids": ids(i + 20, 2 + i % 9), "rejected_ids": ids(i + 40, 9 - i % 5)});
    (0..n).map(row).collect()
}

fn texts(n: u64) -> Vec<Value> {
    (0..n).map(|i| json!({"input_ids": ids(i, 4 + 7 * i % 40)})).collect()
}

fn args(steps: u64) -> Value {
    json!({
        "learning_rate": 2e-2, "max_steps": steps, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2, "seed": 9,
        "shuffle": true, "warmup_steps": 2, "lr_scheduler_type": "cosine", "lora_dropout": 0.1, "r": 4, "lora_alpha": 8,
    })
}

/// Both forms of the kernels, and the processor: the devices that all tests share, whose kernels are compiled once. A browser, which takes a minute
/// for a training here, has its own form alone.
async fn all_kinds() -> Vec<(&'static str, Exec)> {
    let mut kinds = vec![("its own kernels", Exec::Gpu(gpu().await))];
    if cfg!(not(target_arch = "wasm32")) {
        kinds.extend([("other kernels", Exec::Gpu(other_form().await)), ("cpu", cpu())]);
    }
    kinds
}

async fn finish(t: &mut Training) -> Result<Vec<StepMetrics>> {
    let mut all = Vec::new();
    while let Some(m) = t.step().await? {
        all.push(m);
    }
    Ok(all)
}

fl_test!(
    /// In the middle of an epoch: some rows have references and others do not.
    async fn resumed_dpo_with_shuffled_rows() -> Result<()> {
        for (name, exec) in all_kinds().await {
            report!("{name}");
            for at in if cfg!(target_arch = "wasm32") { 3..4 } else { 2..4 } {
                resumed_on(&exec, "dpo", &args(6), &pairs(17), at, async |_| Ok(())).await?;
            }
        }
        Ok(())
    }

    async fn resumed_sft_with_shuffled_rows() -> Result<()> {
        for (name, exec) in all_kinds().await {
            report!("{name}");
            resumed_on(&exec, "sft", &args(6), &texts(17), 2, async |_| Ok(())).await?;
        }
        Ok(())
    }

    /// Moments in 8 bits go on bit for bit, and are no others' checkpoint.
    async fn resumed_with_8bit_moments() -> Result<()> {
        let mut eight = args(6);
        eight["optim"] = json!("adamw_8bit");
        // The kernel of 8-bit moments has one form: a GPU and the processor.
        for (name, exec) in all_kinds().await.into_iter().filter(|k| k.0 != "other kernels") {
            report!("{name}");
            resumed_on(&exec, "sft", &eight, &texts(17), 3, async |_| Ok(())).await?;
        }
        let model = llama_on(&cpu()).await?;
        let mut t = Training::new(&model, "sft", &eight, &texts(5), None).await?;
        t.step().await?;
        let bytes = t.checkpoint().await?;
        let plain = Training::new(&model, "sft", &args(6), &texts(5), Some(&bytes)).await;
        let said = plain.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains("optim") && said.contains("adamw_8bit"), "{said}");
        Ok(())
    }

    /// Whatever decides the rest of the curve must be as it was.
    async fn other_arguments_are_refused() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let mut t = Training::new(&model, "dpo", &args(6), &pairs(5), None).await?;
        t.step().await?;
        let bytes = t.checkpoint().await?;
        for (field, value) in [
            ("learning_rate", json!(1e-2)),
            ("lr_scheduler_type", json!("linear")),
            ("warmup_steps", json!(3)),
            ("warmup_ratio", json!(0.5)),
            ("max_steps", json!(7)),
            ("weight_decay", json!(0.1)),
            ("adam_beta1", json!(0.8)),
            ("adam_beta2", json!(0.99)),
            ("adam_epsilon", json!(1e-7)),
            ("max_grad_norm", json!(0.5)),
            ("beta", json!(0.3)),
            ("label_smoothing", json!(0.1)),
            ("loss_type", json!(["sigmoid", "sft"])),
            ("use_weighting", json!(true)),
            ("gradient_accumulation_steps", json!(1)),
            ("per_device_train_batch_size", json!(2)),
            ("shuffle", json!(false)),
        ] {
            let mut other = args(6);
            other[field] = value;
            let e = Training::new(&model, "dpo", &other, &pairs(5), Some(&bytes)).await.err().unwrap_or_else(|| panic!("{field}"));
            assert!(e.code() == "bad-config" && e.to_string().contains(field), "{field}: {e}");
        }
        // What changes no number may change; without max_steps epochs count, with it they do not.
        let mut same = args(6);
        same["activation_memory"] = json!(1 << 20);
        same["num_train_epochs"] = json!(50);
        same["logging_steps"] = json!(1);
        Training::new(&model, "dpo", &same, &pairs(5), Some(&bytes)).await?;
        // With a constant rate the length decides nothing.
        let constant = |steps: u64| {
            let mut a = args(steps);
            a["lr_scheduler_type"] = json!("constant");
            a["warmup_ratio"] = json!(0.0);
            a["warmup_steps"] = json!(0);
            a
        };
        let mut t = Training::new(&model, "dpo", &constant(2), &pairs(5), None).await?;
        while t.step().await?.is_some() {}
        let mut longer = Training::new(&model, "dpo", &constant(3), &pairs(5), Some(&t.checkpoint().await?)).await?;
        assert_eq!(longer.step().await?.map(|m| m.step), Some(3));
        Ok(())
    }

    /// Nothing is left to do, but the adapter is there and in use.
    async fn a_finished_training_can_be_resumed() -> Result<()> {
        let exec = Exec::Gpu(gpu().await);
        let model = llama_on(&exec).await?;
        let mut t = Training::new(&model, "sft", &args(2), &texts(3), None).await?;
        assert_eq!(finish(&mut t).await?.len(), 2);
        let bytes = t.checkpoint().await?;
        let learned = model.adapters.save("default").await?.1;
        let other = llama_on(&exec).await?;
        let mut t = Training::new(&other, "sft", &args(2), &texts(3), Some(&bytes)).await?;
        assert_eq!(finish(&mut t).await?.len(), 0);
        assert_eq!(other.adapters.active().as_deref(), Some("default"));
        assert!(other.adapters.save("default").await?.1 == learned);
        // No epochs at all: an adapter that does nothing yet.
        let third = llama_on(&exec).await?;
        let mut t = Training::new(&third, "sft", &json!({"num_train_epochs": 0}), &texts(3), None).await?;
        assert_eq!((t.total_steps(), finish(&mut t).await?.len()), (0, 0));
        assert_eq!(third.adapters.active().as_deref(), Some("default"));
        Ok(())
    }

    /// Publishing what has been learned included.
    async fn the_second_update_of_a_training_allocates_nothing() -> Result<()> {
        for exec in devices().await {
            let model = llama_on(&exec).await?;
            let mut args = args(9);
            args["per_device_train_batch_size"] = json!(1);
            let row = json!({"prompt_ids": [3, 4, 5], "chosen_ids": [6, 7], "rejected_ids": [8, 9]});
            let mut t = Training::new(&model, "dpo", &args, &vec![row; 8], None).await?;
            // The name is taken by the first update; the one after it copies into what is there.
            t.step().await?;
            let counters = exec.counters();
            let before = (counters.allocations.get(), counters.live_bytes.get(), counters.pipelines.get());
            for _ in 0..2 {
                t.step().await?;
                assert_eq!((counters.allocations.get(), counters.live_bytes.get(), counters.pipelines.get()), before);
            }
            // Values are still those of the last update.
            let now = model.adapters.save("default").await?.1;
            t.step().await?;
            assert!(model.adapters.save("default").await?.1 != now);
        }
        Ok(())
    }
);

/// Mean of KL(policy ‖ base) over the vocabulary, at the positions that `sequences` (ids, first judged one) judge.
async fn kl(g: &mut Generator, policy: &AdapterChoice, sequences: &[(Vec<u32>, usize)]) -> Result<f64> {
    let (mut sum, mut n) = (0.0, 0);
    let logps = |z: &[f32]| {
        let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let lse = f64::from(top) + z.iter().map(|v| f64::from(v - top).exp()).sum::<f64>().ln();
        z.iter().map(|v| f64::from(*v) - lse).collect::<Vec<f64>>()
    };
    for (ids, from) in sequences {
        let positions: Vec<usize> = (from - 1..ids.len() - 1).collect();
        let (p, b) = (g.logits_at(ids, &positions, policy).await?, g.logits_at(ids, &positions, &AdapterChoice::Base).await?);
        for (p, b) in p.iter().zip(&b) {
            sum += logps(p).iter().zip(logps(b)).map(|(p, b)| p.exp() * (p - b)).sum::<f64>();
            n += 1;
        }
    }
    Ok(sum / f64::from(n))
}

fl_test!(
    async fn the_distance_to_the_base_is_the_divergence_over_the_vocabulary() -> Result<()> {
        for exec in devices().await {
            for method in ["sft", "dpo"] {
                let model = std::rc::Rc::new(llama_on(&exec).await?);
                let rows = if method == "sft" { texts(4) } else { pairs(4) };
                let list = |v: &Value| v.as_array().expect("ids").iter().map(|t| t.as_u64().expect("an id") as u32).collect::<Vec<u32>>();
                let sequences: Vec<(Vec<u32>, usize)> = rows
                    .iter()
                    .flat_map(|r| match method {
                        "sft" => vec![(list(&r["input_ids"]), 1)],
                        _ => ["chosen_ids", "rejected_ids"]
                            .map(|side| ([list(&r["prompt_ids"]), list(&r[side])].concat(), list(&r["prompt_ids"]).len()))
                            .to_vec(),
                    })
                    .collect();
                let args = json!({"learning_rate": 5e-2, "max_steps": 3, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2,
                    "lr_scheduler_type": "constant", "r": 4, "lora_alpha": 8});
                let mut t = Training::new(&model, method, &args, &rows, None).await?;
                let mut g = Generator::new(model.clone())?;
                let first = t.step().await?.expect("three").metrics.kl().expect("it is reported");
                assert!((0.0..1e-5).contains(&first), "{method}: nothing has moved, {first}");
                for _ in 0..2 {
                    // What an update reports is the model's before it.
                    let want = kl(&mut g, &AdapterChoice::Named("default".into()), &sequences).await?;
                    let got = t.step().await?.expect("three").metrics.kl().expect("it is reported");
                    report!("{method}: {got:.6}, on the host {want:.6}");
                    assert!(want > 1e-4 && (got - want).abs() < 1e-3 * want, "{method}: {got}, on the host {want}");
                }
                let mut off = args.clone();
                off["report_kl"] = json!(false);
                let mut t = Training::new(&model, method, &off, &rows, None).await?;
                assert_eq!(t.step().await?.expect("three").metrics.kl(), None);
            }
        }
        Ok(())
    }

    /// Whether activations are kept or computed again follows from the memory they may take.
    async fn checkpointing_follows_the_budget() -> Result<()> {
        for exec in devices().await {
            let model = llama_on(&exec).await?;
            let row = |i: u32| (0..64).map(|t| (i + t * 7) % 96).collect::<Vec<u32>>();
            let bytes = async |gradient_checkpointing: Option<bool>, activation_memory: Option<u64>| -> Result<u64> {
                let config = serde_json::from_value(json!({"r": 4, "target_modules": "all-linear"})).expect("a config");
                let args = TrainingArguments { gradient_checkpointing, activation_memory, max_steps: 2, ..TrainingArguments::default() };
                let rows = (0..4).map(|i| Example { ids: row(i), labels: row(i), ..Example::default() }).collect();
                let target = Target::Adapter { set: model.adapters.fresh(&config, 3)?, name: "x".into() };
                let mut t = Trainer::new(model.model.clone(), target, None, args, Box::new(Sft::new(rows)))?;
                t.step().await?;
                Ok(t.activation_bytes())
            };
            let (kept, recomputed) = (bytes(Some(false), None).await?, bytes(Some(true), None).await?);
            assert!(recomputed < kept, "{recomputed} {kept}");
            // A tiny model fits every device's own budget.
            assert!(exec.activation_memory() >= 128 << 20);
            assert_eq!(bytes(None, None).await?, kept);
            assert_eq!(bytes(None, Some(1 << 30)).await?, kept);
            // What is compared with the budget is what this device's program takes, to the byte.
            assert_eq!(bytes(None, Some(kept)).await?, kept);
            assert_eq!(bytes(None, Some(kept - 1)).await?, recomputed);
            assert_eq!(bytes(None, Some(kept / 2)).await?, recomputed);
        }
        Ok(())
    }

    /// Rows of every length, in a new order every epoch: soon no update records a plan any more.
    async fn varied_lengths_share_plans() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let config = serde_json::from_value(json!({"r": 2, "target_modules": ["q_proj"]})).expect("a config");
        let rows = (0..48u32).map(|i| Example {
            ids: (0..2 + i * 5 % 119).map(|t| (i + t) % 90 + 3).collect(),
            labels: Vec::new(),
            ..Example::default()
        });
        let rows = rows.map(|e| Example { labels: e.ids.clone(), ..e }).collect();
        let args =
            TrainingArguments { per_device_train_batch_size: 4, num_train_epochs: 5.0, report_kl: false, ..TrainingArguments::default() };
        let target = Target::Adapter { set: model.adapters.fresh(&config, 3)?, name: "x".into() };
        let mut t = Trainer::new(model.model.clone(), target, None, args, Box::new(Sft::new(rows)))?;
        let mut plans = vec![0];
        while let Some(m) = t.step().await? {
            if m.step.is_multiple_of(12) {
                plans.push(t.plans());
            }
        }
        report!("plans recorded by the end of every epoch: {plans:?}");
        assert_eq!(plans.len(), 6);
        assert!(plans[5] <= 20 && plans[5] - plans[3] <= 4, "{plans:?}");
        Ok(())
    }
);
