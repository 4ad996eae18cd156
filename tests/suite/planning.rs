//! The planner: what it predicts is what the device then counts, and what it chooses fits.

use fledgling::Result;
use fledgling::adapters::LoadedModel;
use fledgling::graph::Exec;
use fledgling::models::{Config, Model};
use fledgling::tune::{MemoryPlan, PlanOptions, Training};
use serde_json::{Value, json};

use crate::harness::devices;
use crate::tuning::llama_on;

/// A random model of a few MB, in blocks.
fn middle(exec: &Exec) -> Result<LoadedModel> {
    let config = json!({
        "model_type": "llama", "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 6,
        "num_key_value_heads": 3, "vocab_size": 1024, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "hidden_act": "silu",
    });
    let config = Config::from_json("config.json", &config.to_string())?;
    Ok(LoadedModel::of(Model::random_q4_0(exec, config, 5)?, None, "middle"))
}

fn ids(i: usize, n: usize) -> Vec<usize> {
    (0..n).map(|t| (11 * i + 5 * t * t + t) % 90 + 3).collect()
}

/// Rows of many lengths up to about `longest`.
fn rows(method: &str, n: usize, longest: usize) -> Vec<Value> {
    let length = |i: usize| 4 + (i * 37 + 11) % (longest / 2 - 8);
    let row = |i: usize| match method {
        "sft" => json!({"input_ids": ids(i, 2 * length(i))}),
        "kto" => json!({"prompt_ids": ids(i, length(i)), "completion_ids": ids(i + 9, length(i + 3)), "label": i.is_multiple_of(2)}),
        _ => json!({"prompt_ids": ids(i, length(i)), "chosen_ids": ids(i + 20, length(i + 1)), "rejected_ids": ids(i + 40, length(i + 2))}),
    };
    (0..n).map(row).collect()
}

/// Bytes that the device counted at most while a training ran, above what was there.
async fn used(model: &LoadedModel, method: &str, args: &Value, rows: &[Value]) -> Result<u64> {
    let counters = model.model.exec().counters();
    counters.peak_bytes.set(counters.live_bytes.get());
    let mut t = Training::new(model, method, args, rows, None).await?;
    while t.step().await?.is_some() {}
    Ok(counters.peak_bytes.get())
}

async fn compare(model: &LoadedModel, what: &str, method: &str, args: &Value, rows: &[Value]) -> Result<MemoryPlan> {
    let exec = model.model.exec();
    let before = exec.live_bytes();
    let plan = Training::plan(model, method, args, PlanOptions { rows: Some(rows), memory: None }).await?;
    assert_eq!(exec.live_bytes(), before, "{what}: planning leaves nothing behind");
    let used = used(model, method, args, rows).await?;
    let (predicted, own) = (plan.bytes.device as f64, used as f64 - before as f64);
    let (off, off_own) = (predicted / used as f64 - 1.0, (predicted - before as f64) / own - 1.0);
    report!("{what}: {used} bytes used, prediction {:+.1} % ({:+.1} % of the training's own)", 100.0 * off, 100.0 * off_own);
    assert!(off.abs() <= 0.1 && off_own.abs() <= 0.1, "{what}: {plan:?}");
    Ok(plan)
}

fl_test!(
    async fn what_is_planned_is_what_is_used() -> Result<()> {
        for exec in devices().await {
            let kind = exec.info().device;
            for method in ["sft", "dpo", "kto", "orpo", "cpo"] {
                let (tiny, middle) = (llama_on(&exec).await?, middle(&exec)?);
                let args = json!({"max_steps": 3, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "r": 4});
                compare(&tiny, &format!("{kind}, tiny, {method}"), method, &args, &rows(method, 9, 60)).await?;
                // Middle-sized updates take their time on a software adapter.
                if kind == "cpu" || method == "dpo" {
                    compare(&middle, &format!("{kind}, middle, {method}"), method, &args, &rows(method, 6, 120)).await?;
                }
            }
            for (name, more) in [
                ("checkpointing", json!({"gradient_checkpointing": true})),
                ("halves", json!({"fp16": true})),
                ("8 bits", json!({"optim": "adamw_8bit", "r": 16})),
                ("one row at a time", json!({"per_device_train_batch_size": 1})),
            ] {
                let mut args = json!({"max_steps": 2, "per_device_train_batch_size": 3, "r": 4, "lora_dropout": 0.1});
                args.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
                compare(&middle(&exec)?, &format!("{kind}, {name}"), "sft", &args, &rows("sft", 4, 120)).await?;
            }
        }
        Ok(())
    }

    /// Less and less memory: fewer rows at once, checkpointing, halves, shorter rows, and in the end a refusal with the numbers.
    async fn what_is_chosen_fits() -> Result<()> {
        for exec in devices().await {
            let args = json!({"max_steps": 1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "report_kl": false});
            let rows = rows("sft", 4, 200);
            let before = exec.live_bytes();
            let model = middle(&exec)?;
            let whole = Training::plan(&model, "sft", &args, PlanOptions { rows: Some(&rows), memory: None }).await?;
            let (fixed, most) = (exec.live_bytes() - before, whole.total());
            let mut seen = Vec::new();
            let mut refused = None;
            for share in [1.0, 0.8, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.0] {
                let memory = before + fixed + ((most - before - fixed) as f64 * share) as u64;
                match Training::plan(&model, "sft", &args, PlanOptions { rows: Some(&rows), memory: Some(memory) }).await {
                    Ok(plan) => {
                        assert!(plan.total() <= memory && refused.is_none(), "{plan:?}");
                        let c = plan.chosen;
                        assert_eq!(c.per_device_train_batch_size * c.gradient_accumulation_steps, 4);
                        assert_eq!(share == 1.0, plan.config == args, "{:?}", plan.notes);
                        let used = used(&model, "sft", &plan.config, &rows).await?;
                        assert!(used <= memory + memory / 20, "{used} bytes used of {memory}: {plan:?}");
                        model.adapters.remove("default");
                        seen.push(c);
                    }
                    Err(e) => refused = Some(e.to_string()),
                }
            }
            report!("{seen:#?}");
            assert!(seen.iter().any(|c| c.per_device_train_batch_size < 4 && c.gradient_checkpointing != Some(true)), "{seen:?}");
            assert!(seen.iter().any(|c| c.gradient_checkpointing == Some(true)), "{seen:?}");
            let said = refused.expect("no memory is too little");
            assert!(said.starts_with("memory: ") && said.contains("weights") && said.contains("activations"), "{said}");
            // What the configuration says stays.
            let mut own = args.clone();
            own["gradient_checkpointing"] = json!(false);
            own["max_length"] = json!(512);
            own["fp16"] = json!(false);
            let tight = PlanOptions { rows: Some(&rows), memory: Some(before + fixed + (most - before - fixed) / 10) };
            let said = Training::plan(&model, "sft", &own, tight).await.err().map(|e| e.to_string()).unwrap_or_default();
            assert!(said.contains("gradient_checkpointing false"), "{said}");
        }
        Ok(())
    }

    async fn without_rows_they_are_as_long_as_they_may_be() -> Result<()> {
        let exec = crate::harness::cpu();
        let model = middle(&exec)?;
        for method in ["sft", "dpo", "kto", "orpo", "cpo"] {
            let args = json!({"max_length": 100, "per_device_train_batch_size": 2});
            let plan = Training::plan(&model, method, &args, PlanOptions::default()).await?;
            assert!(plan.notes.iter().any(|n| n.contains("100 tokens")), "{method}: {:?}", plan.notes);
            // Whatever rows come, they take no more.
            for n in [100, 60] {
                let real = rows(method, 4, n);
                let with = Training::plan(&model, method, &args, PlanOptions { rows: Some(&real), memory: None }).await?;
                assert!(with.bytes.activations <= plan.bytes.activations, "{method}: {:?} and {:?}", with.bytes, plan.bytes);
            }
        }
        let said = serde_json::to_value(Training::plan(&model, "sft", &json!({}), PlanOptions::default()).await?).expect("JSON");
        assert_eq!(said["tokens"], 512, "the context is shorter than max_length: {said}");
        Ok(())
    }
);
