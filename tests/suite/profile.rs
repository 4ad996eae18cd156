//! Profiles leave everything as it was, and what they say fits together.

use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::LoadedModel;
use fledgling::generate::{GenerateOptions, Generator};
use fledgling::graph::{Exec, Profile};
use fledgling::models::{Config, Model};
use fledgling::tune::Training;
use serde_json::json;

use crate::harness::devices;

fn model(exec: &Exec) -> Result<LoadedModel> {
    let config = json!({
        "model_type": "llama", "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": false,
    });
    let config = Config::from_json("config.json", &config.to_string())?;
    Ok(LoadedModel::of(Model::random_q4_0(exec, config, 3)?, None, "noise"))
}

fn sound(what: &str, p: &Profile) {
    assert_eq!(p.timed.len() as u64, p.dispatches, "{what}");
    assert_eq!(p.allocations, 0, "{what}: a replay allocates nothing");
    assert!(p.wall > 0.0 && p.submits > 0 && p.timed.iter().all(|t| t.seconds >= 0.0 && t.cost.bytes > 0.0), "{what}");
    assert!(p.timed.windows(2).all(|w| w[1].begin >= w[0].begin), "{what}: in the order of time");
    let l = &p.layout;
    assert!(l.bytes() > 0 && l.bytes() <= l.naive_bytes, "{what}: {} of {}", l.bytes(), l.naive_bytes);
    for (bytes, lives) in &l.slots {
        assert!(lives.iter().all(|v| v.bytes <= *bytes && v.first <= v.last && v.last < l.nodes), "{what}");
        assert!(lives.windows(2).all(|w| w[0].last < w[1].first), "{what}: one after the other");
    }
}

/// Arithmetic of the operations whose name begins so.
fn flops(p: &Profile, op: &str) -> f64 {
    p.timed.iter().filter(|t| t.op.starts_with(op)).map(|t| t.cost.flops).sum()
}

fl_test!(
    async fn profiles_leave_things_as_they_were() -> Result<()> {
        let mut steps: Vec<(String, Profile)> = Vec::new();
        for exec in devices().await {
            if exec.gpu().is_some_and(|g| !g.caps().timestamps) {
                continue;
            }
            let model = Rc::new(model(&exec)?);
            assert_eq!(model.info.quantization, "Q4_0");
            let prompt: Vec<u32> = (0..40).map(|i| i * 7 % 96).collect();
            let mut g = Generator::new(model.clone())?;
            let options = GenerateOptions { max_new_tokens: 6, ignore_eos: true, ..GenerateOptions::default() };
            let before = g.run(&prompt, options.clone(), &mut |_| ()).await?[0].token_ids.clone();
            let (prefill, token) = g.profile(&prompt, 2).await?;
            sound("prefill", &prefill);
            sound("token", &token);
            // A causal prompt of 40: a query sees itself and what is before it. Two tokens behind it see all 40 and themselves. Two layers, 64 channels.
            assert_eq!(flops(&prefill, "attention"), 2.0 * 4.0 * 64.0 * f64::from((1..=40).sum::<u32>()), "{}", exec.info().name);
            // Where rotation is in the same operation its arithmetic is, too: 6 for each of 4 + 2 heads' 8 pairs.
            let (seen, turned) = (2.0 * 4.0 * 64.0 * 2.0 * 41.0, 2.0 * 6.0 * 2.0 * 48.0);
            assert!([seen, seen + turned].contains(&flops(&token, "attention")), "{}: {}", exec.info().name, flops(&token, "attention"));
            assert_eq!(g.run(&prompt, options, &mut |_| ()).await?[0].token_ids, before);

            let args = json!({"learning_rate": 1e-3, "max_steps": 2, "max_length": 16});
            let rows = [json!({"input_ids": prompt[..16]})];
            let mut losses = Vec::new();
            for profiled in [false, true] {
                let mut trainer = Training::new(&model, "sft", &args, &rows, None).await?;
                if profiled {
                    let step = trainer.profile().await?;
                    sound("LoRA step", &step);
                    steps.push((exec.info().name, step));
                }
                losses.push(trainer.step().await?.expect("a step").metrics.loss());
                model.adapters.remove("default");
            }
            assert!(losses[0].is_finite() && losses[0] == losses[1], "{losses:?}");
        }
        // The work is the same wherever it is done.
        for (name, step) in &steps {
            for op in ["linear", "lora_grads", "attention", "rms_norm", "rope", "adamw"] {
                assert_eq!(flops(step, op), flops(&steps[0].1, op), "{op}: {name} and {}", steps[0].0);
                assert!(flops(step, op) > 0.0, "{op}: {name}");
            }
        }
        Ok(())
    }
);
