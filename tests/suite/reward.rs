//! Reward models: curves against TRL and PyTorch, the head as PEFT writes it, what must be refused.

use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::{AdapterChoice, AdapterSet, LoadedModel};
use fledgling::formats::Container;
use fledgling::formats::peft::LoraAdapter;
use fledgling::tensor::dequantize;
use fledgling::tune::{Checkpoint, ModelText, Target, Trainer, Training, prepare};
use serde_json::{Value, json};

use crate::harness::{cpu, devices};
use crate::tuning::{llama_on, numbers, sft_rows};

macro_rules! fixture {
    ($path:literal) => {
        include_bytes!(concat!("../fixtures/reward/", $path))
    };
}

/// The adapter that PEFT wrote, with its head.
pub fn written() -> Result<LoraAdapter> {
    let config = std::str::from_utf8(fixture!("init/adapter_config.json")).expect("JSON");
    LoraAdapter::read(config, fixture!("init/adapter_model.safetensors"))
}

/// A training of a fixture's rows from that adapter, and what its steps should be.
fn ready(model: &LoadedModel, bytes: &[u8]) -> Result<(Trainer, Rc<AdapterSet>, Vec<Value>)> {
    let v: Value = serde_json::from_slice(bytes).expect("a curve");
    let (mut config, rows) = (v["config"].clone(), v["rows"].as_array().expect("rows"));
    config["shuffle"] = json!(false);
    model.adapters.add("init", &written()?)?;
    let set = model.adapters.copy_of("init")?;
    let p = prepare("reward", &ModelText::of(model), config.as_object().expect("fields"), rows)?;
    let target = Target::Adapter { set: set.clone(), name: "x".into() };
    Ok((Trainer::new(model.model.clone(), target, None, p.args, p.method)?, set, v["steps"].as_array().expect("steps").clone()))
}

/// Within 1e-4 of TRL at the first step, 1e-3 over the run.
async fn follow(model: &LoadedModel, name: &str, bytes: &[u8]) -> Result<()> {
    let (mut t, _, steps) = ready(model, bytes)?;
    let mut worst = 0.0f64;
    for (i, want) in steps.iter().enumerate() {
        let got = serde_json::to_value(t.step().await?.expect("as many steps as the fixture")).expect("numbers");
        for (key, want) in want.as_object().expect("metrics") {
            let (want, have) = (want.as_f64().expect("a number"), got[key].as_f64().unwrap_or_else(|| panic!("{name}: no {key}")));
            let off = (have - want).abs() / want.abs().max(1e-2);
            assert!(off <= if i == 0 { 1e-4 } else { 1e-3 }, "{name}, step {}: {key} is {have}, expected {want}", i + 1);
            worst = worst.max(off);
        }
    }
    assert!(t.step().await?.is_none());
    report!("{name}: {} steps, worst relative error {worst:.1e}", steps.len());
    Ok(())
}

fn tensor(file: &[u8], name: &str) -> Vec<f32> {
    let c = Container::parse("fixture", file).expect("a fixture");
    let i = c.index_of(name).unwrap_or_else(|| panic!("no {name}"));
    dequantize(c.tensors[i].dtype, c.bytes(file, i).expect("bytes"))
}

/// The smallest cosine of a tensor's gradient with PyTorch's, the head's included.
pub fn least_cosine(got: &LoraAdapter, file: &[u8], prefix: &str) -> f64 {
    let cosine = |name: String, got: &[f32]| {
        let want = tensor(file, &format!("{prefix}base_model.model.{name}"));
        assert_eq!(want.len(), got.len(), "{name}");
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        dot(&want, got) / (dot(&want, &want) * dot(got, got)).sqrt()
    };
    let pairs = got.pairs.iter().flat_map(|p| {
        let of = |half: &str, v: &[f32]| cosine(format!("{}.lora_{half}.weight", p.target.module), v);
        [of("A", &p.a), of("B", &p.b)]
    });
    pairs.chain(got.saved.iter().map(|s| cosine(s.path.clone(), &s.values))).fold(1.0, f64::min)
}

fl_test!(
    async fn curves_are_trls_and_pytorchs() -> Result<()> {
        for exec in devices().await {
            let model = llama_on(&exec).await?;
            follow(&model, "reward_margin_center", fixture!("reward_margin_center.json")).await?;
            follow(&model, "reward_ranking_marginal", fixture!("reward_ranking_marginal.json")).await?;
        }
        let model = llama_on(&cpu()).await?;
        for (name, bytes) in [
            ("reward", &fixture!("reward.json")[..]),
            ("reward_center", fixture!("reward_center.json")),
            ("reward_margin", fixture!("reward_margin.json")),
            ("reward_accumulate", fixture!("reward_accumulate.json")),
            ("reward_ranking", fixture!("reward_ranking.json")),
            ("reward_ranking_center", fixture!("reward_ranking_center.json")),
        ] {
            follow(&model, name, bytes).await?;
        }
        Ok(())
    }

    async fn first_gradients_are_pytorchs() -> Result<()> {
        for exec in devices().await {
            let model = llama_on(&exec).await?;
            for (name, curve, grads) in [
                ("reward", &fixture!("reward.json")[..], &fixture!("reward_grad_step0.safetensors")[..]),
                ("reward_ranking", fixture!("reward_ranking.json"), fixture!("reward_ranking_grad_step0.safetensors")),
                ("marginal", fixture!("reward_ranking_marginal.json"), fixture!("reward_ranking_marginal_grad_step0.safetensors")),
            ] {
                let (mut t, set, _) = ready(&model, curve)?;
                t.gradients().await?;
                let grads = least_cosine(&set.lora_grads().await?, grads, "grad/");
                assert!(grads >= 0.99999, "{name}: a gradient has a cosine of {grads}");
                report!("gradients of {name}: cosine {grads:.7} at least");
            }
        }
        Ok(())
    }

    /// What PEFT wrote is written again as it was, head and all; a training goes on from its checkpoint bit for bit.
    async fn the_head_is_kept_with_the_adapter() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let info = model.adapters.add("judge", &written()?)?;
        assert_eq!((info.scores, info.r, info.parameters), (1, 2, written()?.parameters()));
        let (config, weights) = model.adapters.save("judge").await?;
        assert_eq!(config.as_bytes(), fixture!("init/adapter_config.json"));
        assert_eq!(weights, fixture!("init/adapter_model.safetensors"));

        let rows: Value = serde_json::from_slice(fixture!("reward_ranking.json")).expect("a curve");
        let rows = rows["rows"].as_array().expect("rows");
        let args = json!({"max_steps": 4, "per_device_train_batch_size": 2, "r": 2, "adapter_name": "mine", "learning_rate": 1e-2});
        let mut whole = Training::new(&model, "reward", &args, rows, None).await?;
        let mut curve = Vec::new();
        while let Some(m) = whole.step().await? {
            curve.push(numbers(&m));
        }
        let end = model.adapters.export("mine").await?.into_lora("read")?;
        assert_eq!((end.config.task_type.as_deref(), end.saved.len()), (Some("SEQ_CLS"), 1));
        assert_eq!(end.saved[0].path, "score.weight");
        assert!(model.adapters.active().is_none(), "a reward model answers nothing");
        model.adapters.remove("mine");
        let mut first = Training::new(&model, "reward", &args, rows, None).await?;
        first.step().await?;
        first.step().await?;
        let bytes = first.checkpoint().await?;
        assert_eq!(Checkpoint::parse(&bytes)?.state.method, "reward");
        let mut second = Training::new(&model, "reward", &args, rows, Some(&bytes)).await?;
        for want in &curve[2..] {
            assert_eq!(&numbers(&second.step().await?.expect("four")), want);
        }
        second.step().await?;
        let again = model.adapters.export("mine").await?.into_lora("read")?;
        assert!(again.pairs == end.pairs && again.saved == end.saved);
        // And it can be continued by its name.
        let mut third = Training::new(&model, "reward", &json!({"max_steps": 1, "adapter_name": "mine"}), rows, None).await?;
        assert!(third.step().await?.is_some());
        Ok(())
    }

    async fn what_is_no_reward_model_is_refused() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let say = |r: Result<_>| r.map(|_: fledgling::adapters::AdapterInfo| ()).unwrap_err().to_string();
        let mut other = written()?;
        other.saved[0].shape = vec![1, 64];
        other.saved[0].values = vec![0.0; 64];
        assert!(say(model.adapters.add("x", &other)).contains("score.weight is [1, 64], expected (scores, 32)"));
        let mut headless = written()?;
        headless.saved.clear();
        assert!(say(model.adapters.add("x", &headless)).contains("a reward model needs a score head"));

        model.adapters.add("judge", &written()?)?;
        let e = model.adapters.set_active(Some("judge")).unwrap_err();
        assert!(e.code() == "bad-adapter" && e.to_string().contains("scores answers and writes none"), "{e}");
        assert!(model.adapters.resolve(&AdapterChoice::Named("judge".into())).is_err());
        assert!(model.adapters.merge("judge").await.is_err());
        let new = async |method: &str, args: Value, rows: &[Value]| -> String {
            Training::new(&model, method, &args, rows, None).await.err().map_or_else(String::new, |e| e.to_string())
        };
        let pair = [json!({"chosen_ids": [5, 6], "rejected_ids": [5, 7]})];
        assert!(new("sft", json!({"adapter_name": "judge"}), &sft_rows()).await.contains("is a reward model"));
        let mut t = Training::new(&model, "sft", &json!({"adapter_name": "writer", "max_steps": 1}), &sft_rows(), None).await?;
        t.step().await?;
        assert!(new("reward", json!({"adapter_name": "writer"}), &pair).await.contains("has no score head"));
        assert!(new("reward", json!({"task_type": "CAUSAL_LM"}), &pair).await.contains("task_type: is \"CAUSAL_LM\""));
        assert!(new("sft", json!({"modules_to_save": ["score"]}), &sft_rows()).await.contains("modules_to_save: is"));
        for (row, wrong) in [
            (json!({"ids": [[5, 6, 7]], "ranks": [1]}), "row 0: ranks one answer"),
            (json!({"prompt": "a", "answers": ["b"], "ranks": [1]}), "a tokenizer"),
            (json!({"ids": [[5, 6], [7]], "ranks": [1]}), "row 0: ranks has 1 numbers for 2 answers"),
            (json!({"ids": [[5, 6], [700]], "ranks": [1, 2]}), "row 0: ids[1][0] is 700"),
            (json!({"ids": [[5, 6], []], "ranks": [1, 2]}), "row 0: ids[1] is an empty list"),
            (json!({"ids": vec![vec![5]; 13], "ranks": vec![1; 13]}), "row 0: ranks has 13 tied answers, at most 12"),
            (json!({"ids": [[5], [6]], "ranks": [1, null]}), "fewer than two answers have a place"),
            (json!({"chosen_ids": [5], "rejected_ids": [5]}), "the answers are the same"),
            (json!({"chosen_ids": [5], "rejected_ids": [6], "margin": "wide"}), "row 0: margin is"),
            (json!({"prompt_ids": [4], "chosen_ids": [5], "rejected_ids": [6], "weight": 2}), "row 0: weight is 2"),
            (json!({"chosen_ids": vec![5; 2000], "rejected_ids": [6]}), "takes 2000 tokens"),
        ] {
            let said = new("reward", json!({}), std::slice::from_ref(&row)).await;
            let short: String = row.to_string().chars().take(80).collect();
            assert!(said.contains(wrong) || wrong == "a tokenizer" && said.contains("tokenizer"), "{short}: {said}");
        }
        Ok(())
    }
);
