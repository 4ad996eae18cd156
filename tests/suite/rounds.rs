//! Methods that learn in rounds against PyTorch and TRL: losses, gradients, advantages, what is known of completions; resuming in the middle of a round.

use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::{AdapterSet, LoadedModel};
use fledgling::formats::Container;
use fledgling::formats::peft::{LoraAdapter, NamedTensor};
use fledgling::graph::Exec;
use fledgling::tensor::dequantize;
use fledgling::tune::rounds::Sample;
use fledgling::tune::{Checkpoint, ModelText, Target, Trainer, prepare};
use serde_json::{Value, json};

use crate::harness::{cpu, devices};
use crate::tuning::{llama_on, numbers};

/// A curve: JSON, and a part of its first gradient.
pub struct Curve {
    name: &'static str,
    json: &'static str,
    grads: &'static [u8],
}

macro_rules! curves {
    ($($name:literal),* $(,)?) => {
        &[$(Curve {
            name: $name,
            json: include_str!(concat!("../fixtures/rounds/", $name, ".json")),
            grads: include_bytes!(concat!("../fixtures/rounds/", $name, "_grad_step0.safetensors")),
        }),*]
    };
}

const GRPO: &[Curve] = curves!(
    "grpo_grpo",
    "grpo_dr_grpo",
    "grpo_bnpo",
    "grpo_dapo",
    "grpo_grpo_kl",
    "grpo_dr_grpo_kl",
    "grpo_bnpo_kl",
    "grpo_dapo_kl",
    "grpo_grpo_kl_plain",
    "grpo_scale_none",
    "grpo_scale_batch",
    "grpo_dr_grpo_scale_none",
    "grpo_one_iteration",
    "grpo_masked",
    "grpo_masked_mean",
    "grpo_sequence",
    "grpo_temperature",
    "grpo_delta",
    "grpo_clip",
    "grpo_dapo_clip",
    "grpo_grpo_accumulate",
    "grpo_dr_grpo_accumulate",
    "grpo_bnpo_accumulate",
    "grpo_dapo_accumulate",
);

const RLOO: &[Curve] =
    curves!("rloo", "rloo_no_kl", "rloo_normalized", "rloo_clipped_rewards", "rloo_clip", "rloo_masked", "rloo_accumulate");

const ONLINE: &[Curve] = curves!("online_dpo", "online_dpo_ipo", "online_dpo_accumulate");

/// The prompts of the curves, each with so many completions.
pub fn rows(completions: usize) -> Vec<Value> {
    let curve = if completions == 2 { &ONLINE[0] } else { &GRPO[0] };
    curve.read()["rows"].as_array().expect("rows").clone()
}

impl Curve {
    fn read(&self) -> Value {
        let mut v: Value = serde_json::from_str(self.json).expect("JSON");
        v["config"]["shuffle"] = json!(false);
        v
    }
}

/// The adapter that changes the model, which all curves start from.
async fn acting(model: &LoadedModel) -> Result<Rc<AdapterSet>> {
    let config = include_str!("../fixtures/training/adapters/default/adapter_config.json");
    let weights = include_bytes!("../fixtures/training/adapters/default/adapter_model.safetensors");
    model.adapters.add("acting", &LoraAdapter::read(config, weights)?)?;
    model.adapters.copy_of("acting")
}

async fn trainer(model: &LoadedModel, curve: &Value) -> Result<(Trainer, Rc<AdapterSet>)> {
    let (config, rows) = (curve["config"].as_object().expect("an object"), curve["rows"].as_array().expect("rows"));
    let p = prepare(curve["method"].as_str().expect("a name"), &ModelText::of(model), config, rows)?;
    let set = acting(model).await?;
    let target = Target::Adapter { set: set.clone(), name: "acting".into() };
    Ok((Trainer::new(model.model.clone(), target, None, p.args, p.method)?, set))
}

/// A value is that of TRL's; what is 0 in exact arithmetic is rounding noise in both.
fn close(name: &str, key: &str, have: f64, want: f64, tolerance: f64) {
    let floor = if key == "loss" { 1e-2 } else { 1e-1 };
    let error = (have - want).abs() / want.abs().max(floor);
    assert!(error <= tolerance, "{name}: {key} is {have}, expected {want} (relative error {error:.1e})");
}

/// Smallest cosine of a gradient's tensors with those of a file.
fn cosine(got: &[NamedTensor], file: &[u8]) -> f64 {
    let c = Container::parse("fixture", file).expect("a fixture");
    let mut worst = 1.0f64;
    for (i, t) in c.tensors.iter().enumerate() {
        let want = dequantize(t.dtype, c.bytes(file, i).expect("bytes"));
        let have = got.iter().find(|g| t.name == format!("grad/{}", g.name)).expect("its tensor");
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        worst = worst.min(dot(&have.values, &want) / (dot(&have.values, &have.values) * dot(&want, &want)).sqrt());
    }
    worst
}

/// What is known of a round's completions is what TRL knows.
fn known(name: &str, samples: &[Sample], want: &Value) {
    let floats = |v: &Value| v.as_array().map(|l| l.iter().filter_map(Value::as_f64).collect::<Vec<f64>>());
    for (i, s) in samples.iter().enumerate() {
        for (key, have) in [("old_logps", &s.old), ("ref_logps", &s.reference)] {
            // Those of masked completions are none.
            let Some(want) = floats(&want[key][i]).filter(|_| s.judged() > 0) else { continue };
            // A round that is one update needs no old ones.
            assert!(have.len() == want.len(), "{name}: {key} {i} has {} values for {}", have.len(), want.len());
            for (h, w) in have.iter().zip(want) {
                close(name, key, f64::from(*h), w, 1e-4);
            }
        }
        if let Some(want) = want["advantages"][i].as_f64() {
            close(name, "advantage", s.advantage, want, 1e-4);
        }
    }
}

async fn follow(exec: &Exec, curve: &Curve) -> Result<()> {
    let model = llama_on(exec).await?;
    let (name, wanted) = (curve.name, curve.read());
    let (mut t, set) = trainer(&model, &wanted).await?;
    t.gradients().await?;
    let near = cosine(&set.export_grads().await?, curve.grads);
    assert!(near >= 0.99999, "{name}: cosine of a gradient {near}");
    let steps = wanted["steps"].as_array().expect("steps");
    let per_round = steps.len() / wanted["batches"].as_array().expect("rounds").len();
    assert_eq!(t.total_steps(), steps.len() as u64, "{name}");
    let mut worst = 0.0f64;
    for (i, want) in steps.iter().enumerate() {
        let got = t.step().await?.expect("as many steps as the fixture");
        let metrics = serde_json::to_value(&got).expect("numbers");
        for (key, want) in want.as_object().expect("an object") {
            let (have, want) =
                (metrics[key].as_f64().unwrap_or_else(|| panic!("{name}: no {key} in {metrics}")), want.as_f64().expect("a number"));
            close(&format!("{name}, step {}", i + 1), key, have, want, if i == 0 && key == "loss" { 1e-4 } else { 1e-3 });
            worst = worst.max(if key == "loss" { (have - want).abs() / want.abs().max(1e-2) } else { 0.0 });
        }
        let rounds = t.method().rounds().expect("it learns in rounds");
        known(name, &rounds.round().expect("a round").samples, &wanted["batches"][i / per_round]);
    }
    assert!(t.step().await?.is_none());
    report!("{name}: {} steps, loss within {worst:.1e}, gradient {:.1e} from 1", steps.len(), 1.0 - near);
    Ok(())
}

/// Interrupted in the middle of its second round, it goes on bit for bit.
async fn resumed(exec: &Exec, curve: &Curve) -> Result<()> {
    let wanted = curve.read();
    let model = llama_on(exec).await?;
    let (mut t, _) = trainer(&model, &wanted).await?;
    let (mut curve, mut bytes) = (Vec::new(), Vec::new());
    while let Some(m) = t.step().await? {
        curve.push(numbers(&m));
        if m.step == 3 {
            bytes = t.checkpoint().await?;
        }
    }
    let model = llama_on(exec).await?;
    let (mut t, _) = trainer(&model, &wanted).await?;
    t.restore(&Checkpoint::parse(&bytes)?)?;
    for want in &curve[3..] {
        assert_eq!(&numbers(&t.step().await?.expect("the rest")), want);
    }
    Ok(())
}

fl_test!(
    /// Every variant of GRPO that is in the table, on the processor.
    async fn grpo_curves() -> Result<()> {
        for curve in GRPO {
            follow(&cpu(), curve).await?;
        }
        Ok(())
    }

    async fn rloo_curves() -> Result<()> {
        for curve in RLOO {
            follow(&cpu(), curve).await?;
        }
        follow(&devices().await[0], &RLOO[0]).await
    }

    async fn online_dpo_curves() -> Result<()> {
        for curve in ONLINE {
            follow(&cpu(), curve).await?;
        }
        follow(&devices().await[0], &ONLINE[0]).await
    }

    /// What the variants' kernels differ in, on the GPU.
    async fn grpo_curves_on_the_gpu() -> Result<()> {
        for name in ["grpo_grpo_kl", "grpo_sequence", "grpo_temperature", "grpo_masked_mean", "grpo_dapo_accumulate"] {
            follow(&devices().await[0], GRPO.iter().find(|c| c.name == name).expect("a curve")).await?;
        }
        Ok(())
    }

    async fn a_round_goes_on_from_its_middle() -> Result<()> {
        for exec in devices().await {
            for name in ["grpo_grpo_kl", "grpo_dapo_accumulate"] {
                resumed(&exec, GRPO.iter().find(|c| c.name == name).expect("a curve")).await?;
            }
        }
        Ok(())
    }
);
