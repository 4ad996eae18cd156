//! PPO against TRL: curves, first gradients of policy and critic, a round's numbers; resuming; what must be refused.

use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::{AdapterSet, LoadedModel};
use fledgling::formats::peft::LoraAdapter;
use fledgling::tune::{Checkpoint, ModelText, Target, Trainer, Training, prepare};
use serde_json::{Value, json};

use crate::harness::{cpu, devices};
use crate::reward::{least_cosine, written};
use crate::tuning::{llama_on, numbers};

macro_rules! fixture {
    ($path:literal) => {
        include_bytes!(concat!("../fixtures/ppo/", $path))
    };
}

fn acting() -> Result<LoraAdapter> {
    let config = include_str!("../fixtures/training/adapters/default/adapter_config.json");
    LoraAdapter::read(config, include_bytes!("../fixtures/training/adapters/default/adapter_model.safetensors"))
}

/// Eight rows, a round.
pub fn rows() -> Vec<Value> {
    let curve: Value = serde_json::from_slice(fixture!("ppo.json")).expect("a curve");
    curve["rows"].as_array().expect("rows").clone()
}

struct Ready {
    trainer: Trainer,
    policy: Rc<AdapterSet>,
    critic: Rc<AdapterSet>,
    curve: Value,
}

/// A training of a fixture's rows, policy and critic as PEFT wrote them.
fn ready(model: &LoadedModel, bytes: &[u8]) -> Result<Ready> {
    let curve: Value = serde_json::from_slice(bytes).expect("a curve");
    let mut config = curve["config"].clone();
    config["shuffle"] = json!(false);
    model.adapters.add("policy", &acting()?)?;
    model.adapters.add("critic", &written()?)?;
    let (policy, critic) = (model.adapters.copy_of("policy")?, model.adapters.copy_of("critic")?);
    let rows = curve["rows"].as_array().expect("rows");
    let mut p = prepare("ppo", &ModelText::of(model), config.as_object().expect("fields"), rows)?;
    p.method.set_critic(model.model.exec(), critic.clone())?;
    let target = Target::Adapter { set: policy.clone(), name: "x".into() };
    let trainer = Trainer::new(model.model.clone(), target, None, p.args, p.method)?;
    Ok(Ready { trainer, policy, critic, curve })
}

/// Every number of every update, a checkpoint behind them, and the weight of the divergence in each.
type Run = (Vec<Vec<u64>>, Vec<u8>, Vec<f64>);

/// Within 1e-4 of TRL at the first step, 1e-3 over the run.
async fn follow(model: &LoadedModel, name: &str, bytes: &[u8]) -> Result<()> {
    let Ready { mut trainer, curve, .. } = ready(model, bytes)?;
    let (steps, mut worst) = (curve["steps"].as_array().expect("steps"), 0.0f64);
    for (i, want) in steps.iter().enumerate() {
        let got = serde_json::to_value(trainer.step().await?.expect("as many steps as the fixture")).expect("numbers");
        for (key, want) in want.as_object().expect("metrics") {
            let (want, have) = (want.as_f64().expect("a number"), got[key].as_f64().unwrap_or_else(|| panic!("{name}: no {key} in {got}")));
            let off = (have - want).abs() / want.abs().max(1e-2);
            assert!(off <= if i == 0 { 1e-4 } else { 1e-3 }, "{name}, step {}: {key} is {have}, expected {want}", i + 1);
            worst = worst.max(off);
        }
    }
    assert!(trainer.step().await?.is_none());
    report!("{name}: {} steps, worst relative error {worst:.1e}", steps.len());
    Ok(())
}

/// What is compared of an adapter: the modules whose gradients the fixture has.
fn short(mut adapter: LoraAdapter) -> LoraAdapter {
    adapter.pairs.retain(|p| ["layers.0.self_attn.q_proj", "layers.1.mlp.down_proj"].iter().any(|m| p.target.module.ends_with(m)));
    adapter
}

fl_test!(
    async fn curves_are_trls() -> Result<()> {
        for exec in devices().await {
            let model = llama_on(&exec).await?;
            follow(&model, "ppo", fixture!("ppo.json")).await?;
            follow(&model, "ppo_mini_batches", fixture!("ppo_mini_batches.json")).await?;
        }
        let model = llama_on(&cpu()).await?;
        for (name, bytes) in [
            ("ppo_whiten", &fixture!("ppo_whiten.json")[..]),
            ("ppo_clip", fixture!("ppo_clip.json")),
            ("ppo_discount", fixture!("ppo_discount.json")),
            ("ppo_missing_eos", fixture!("ppo_missing_eos.json")),
            ("ppo_accumulate", fixture!("ppo_accumulate.json")),
        ] {
            follow(&model, name, bytes).await?;
        }
        Ok(())
    }

    async fn first_gradients_and_a_rounds_numbers_are_trls() -> Result<()> {
        for exec in devices().await {
            let model = llama_on(&exec).await?;
            let Ready { mut trainer, policy, critic, curve } = ready(&model, fixture!("ppo.json"))?;
            trainer.gradients().await?;
            let grads = fixture!("ppo_grad_step0.safetensors");
            for (who, set) in [("policy", &policy), ("critic", &critic)] {
                let cosine = least_cosine(&short(set.lora_grads().await?), grads, &format!("grad/{who}/"));
                assert!(cosine >= 0.99999, "a gradient of the {who} has a cosine of {cosine}");
                report!("gradients of the {who}: cosine {cosine:.7} at least");
            }
            let round = trainer.method().rounds().and_then(|r| r.round()).expect("a round");
            for (name, of) in [("old", 0), ("ref", 1), ("values", 2)] {
                for (s, want) in round.samples.iter().zip(curve["batch"][name].as_array().expect("rows")) {
                    let got = [&s.old, &s.reference, &s.values][of];
                    for (got, want) in got.iter().zip(want.as_array().expect("numbers")) {
                        assert!((f64::from(*got) - want.as_f64().expect("a number")).abs() < 1e-4, "{name}: {got} for {want}");
                    }
                }
            }
        }
        Ok(())
    }

    /// In the middle of a round, with a weight of the divergence that has moved.
    async fn it_resumes_bit_for_bit() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        model.adapters.add("judge", &written()?)?;
        let rows = rows();
        let args = json!({
            "max_steps": 9, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "num_ppo_epochs": 3, "response_length": 8,
            "adap_kl_ctrl": true, "target": 0.1, "horizon": 20, "r": 2, "init_lora_weights": false, "init_critic": "judge", "adapter_name": "p",
        });
        let run = async |from: Option<&[u8]>, stop: usize| -> Result<Run> {
            model.adapters.remove("p");
            model.adapters.remove("p.critic");
            let mut t = Training::new(&model, "ppo", &args, &rows, from).await?;
            let (mut all, mut coefs) = (Vec::new(), Vec::new());
            while all.len() < stop
                && let Some(m) = t.step().await?
            {
                coefs.push(m.metrics.get("objective/kl_coef").expect("it is told"));
                all.push(numbers(&m));
            }
            Ok((all, t.checkpoint().await?, coefs))
        };
        let (whole, _, coefs) = run(None, 9).await?;
        let (policy, critic) =
            (model.adapters.copy_of("p")?.export_lora().await?, model.adapters.copy_of("p.critic")?.export_lora().await?);
        assert!(coefs[0] == coefs[2] && coefs[0] != coefs[3] && coefs[3] != coefs[8], "{coefs:?}");
        for stop in [2, 3, 7] {
            let (_, bytes, _) = run(None, stop).await?;
            assert_eq!(Checkpoint::parse(&bytes)?.state.method, "ppo");
            let (rest, _, _) = run(Some(&bytes), 9).await?;
            assert_eq!(rest, whole[stop..], "from {stop}");
            assert_eq!(
                (model.adapters.copy_of("p")?.export_lora().await?.pairs, model.adapters.copy_of("p.critic")?.export_lora().await?.saved),
                (policy.pairs.clone(), critic.saved.clone())
            );
        }
        Ok(())
    }

    async fn what_does_not_go_together_is_refused() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        model.adapters.add("writer", &acting()?)?;
        let row = || json!({"query_ids": [5, 6], "response_ids": [7, 2], "score": 1.0});
        let new = async |args: Value, row: Value| -> String {
            Training::new(&model, "ppo", &args, &[row], None).await.err().map_or_else(String::new, |e| e.to_string())
        };
        for (args, row, wrong) in [
            (json!({"num_mini_batches": 3}), row(), "num_mini_batches: is 3"),
            (json!({"response_length": 1}), row(), "row 0: response_ids has 2 tokens, response_length is 1"),
            (json!({"init_critic": "writer"}), row(), "gives 0 scores"),
            (json!({"init_critic": "nobody"}), row(), "there is no adapter \"nobody\""),
            (json!({"total_episodes": 10}), row(), "total_episodes: 10"),
            (json!({}), json!({"query_ids": [5], "response_ids": [6], "score": "good"}), "row 0: score is a text"),
            (json!({}), json!({"query_ids": [5], "response_ids": [], "score": 1}), "row 0: response_ids is an empty list"),
            (json!({}), json!({"prompt_ids": [5], "completion_ids": [[6], [7]], "rewards": [1, 2]}), "PPO learns from one of each prompt"),
        ] {
            let said = new(args.clone(), row).await;
            assert!(said.contains(wrong), "{args}: {said}");
        }
        assert!(new(json!({"max_steps": 1}), row()).await.is_empty());
        Ok(())
    }
);
