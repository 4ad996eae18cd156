//! Training against PyTorch, PEFT and TRL: ten-step curves, gradients, adapters; checkpoints; what must be refused.

use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::AdapterSet;
use fledgling::adapters::LoadedModel;
use fledgling::formats::Container;
use fledgling::formats::peft::{LoraAdapter, NamedTensor};
use fledgling::graph::Exec;
use fledgling::models::{LoadOptions, ModelLoader};
use fledgling::tensor::dequantize;
use fledgling::tune::{ModelText, StepMetrics, Target, Trainer, prepare};
use serde_json::{Value, json};

use crate::harness::gpu;

macro_rules! fixture {
    ($path:literal) => {
        include_bytes!(concat!("../fixtures/training/", $path))
    };
}

/// The tiny llama that all curves are on.
async fn tiny() -> Result<LoadedModel> {
    tiny_on(Exec::Gpu(gpu().await)).await
}

pub async fn tiny_on(exec: Exec) -> Result<LoadedModel> {
    let mut loader = ModelLoader::new(&exec, LoadOptions::default());
    loader.add_text("config.json", include_str!("../fixtures/models/llama/config.json"));
    let weights = include_bytes!("../fixtures/models/llama/model.safetensors");
    loader.begin_file("model.safetensors", Some(weights.len() as u64))?;
    loader.push(weights)?;
    loader.end_file()?;
    Ok(loader.finish().await?.into())
}

/// The adapter every curve starts from: A random, B zero.
fn initial() -> Result<LoraAdapter> {
    let config = std::str::from_utf8(fixture!("adapter_init/adapter_config.json")).expect("JSON");
    LoraAdapter::read(config, fixture!("adapter_init/adapter_model.safetensors"))
}

fn start(model: &LoadedModel) -> Result<Rc<AdapterSet>> {
    model.adapters.add("initial", &initial()?)?;
    model.adapters.copy_of("initial")
}

/// The adapter that the curves of KTO and ORPO start from: it changes the model.
pub fn acting(model: &LoadedModel) -> Result<Rc<AdapterSet>> {
    let config = std::str::from_utf8(fixture!("adapters/default/adapter_config.json")).expect("JSON");
    model.adapters.add("acting", &LoraAdapter::read(config, fixture!("adapters/default/adapter_model.safetensors"))?)?;
    model.adapters.copy_of("acting")
}

fn target(set: &Rc<AdapterSet>) -> Target {
    Target::Adapter { set: set.clone(), name: "default".into() }
}

/// A fixture: config, rows, steps.
pub fn curve(bytes: &[u8]) -> (Value, Vec<Value>, Vec<Value>) {
    let mut v: Value = serde_json::from_slice(bytes).unwrap();
    v["config"]["shuffle"] = json!(false);
    (v["config"].clone(), v["rows"].as_array().unwrap().clone(), v["steps"].as_array().unwrap().clone())
}

/// Every metric TRL logged, within `tolerance` of the larger of its value and 1e-2 (1 for log-probabilities of whole answers).
fn compare(name: &str, got: &StepMetrics, want: &Value, tolerance: f64) -> f64 {
    let got = serde_json::to_value(got).unwrap();
    let mut worst = 0.0f64;
    for (key, want) in want.as_object().unwrap() {
        if key == "counted_tokens" {
            continue;
        }
        let want = want.as_f64().unwrap();
        let have = got[key].as_f64().unwrap_or_else(|| panic!("{name}: no {key} in {got}"));
        let error = (have - want).abs() / want.abs().max(if key == "loss" || key == "grad_norm" { 1e-3 } else { 1e-2 });
        let allowed = if key == "learning_rate" || key == "step" { 1e-12 } else { tolerance };
        assert!(error <= allowed, "{name}, step {}: {key} is {have}, expected {want} (relative error {error:.1e})", got["step"]);
        worst = worst.max(error);
    }
    worst
}

pub fn trainer(method: &str, model: &LoadedModel, set: &Rc<AdapterSet>, config: &Value, rows: &[Value]) -> Result<Trainer> {
    let p = prepare(method, &ModelText::of(model), config.as_object().expect("an object"), rows)?;
    Trainer::new(model.model.clone(), target(set), None, p.args, p.method)
}

macro_rules! curves {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../fixtures/training/", $name, ".json")) as &[u8])),*]
    };
}

/// Follows a curve of the fixtures; gives the first update.
async fn follow(method: &str, name: &str, bytes: &[u8], tolerance: f64) -> Result<StepMetrics> {
    follow_on(&tiny().await?, method, name, bytes, tolerance).await
}

pub async fn follow_on(model: &LoadedModel, method: &str, name: &str, bytes: &[u8], tolerance: f64) -> Result<StepMetrics> {
    let (config, rows, steps) = curve(bytes);
    let head: Value = serde_json::from_slice(bytes).expect("a curve");
    let set = if head["init_adapter"] == "adapter_init" { start(model)? } else { acting(model)? };
    let mut t = trainer(method, model, &set, &config, &rows)?;
    let (mut worst, mut first) = (0.0f64, StepMetrics::default());
    for (i, want) in steps.iter().enumerate() {
        let got = t.step().await?.expect("as many steps as the fixture");
        // What an update has no rows for is not there, in either.
        let absent = got.metrics.iter().find(|(name, _)| *name != "kl" && want.get(name).is_none());
        assert!(absent.is_none(), "{name}, step {}: TRL reports no {absent:?}", i + 1);
        worst = worst.max(compare(name, &got, want, tolerance));
        if i == 0 {
            first = got;
        }
    }
    assert!(t.step().await?.is_none());
    report!("{name}: {} steps, worst relative error {worst:.1e}", steps.len());
    Ok(first)
}

async fn follow_sft(name: &str, bytes: &[u8]) -> Result<()> {
    follow("sft", name, bytes, 1e-3).await.map(drop)
}

async fn follow_dpo(name: &str, bytes: &[u8]) -> Result<()> {
    // Rewards are small differences of large log-probabilities.
    let first = follow("dpo", name, bytes, 5e-3).await?.metrics;
    assert!((first.loss() - std::f64::consts::LN_2).abs() < 1e-4, "{name}: the first loss is {}, not ln 2", first.loss());
    let kl = first.kl().expect("it is reported");
    assert!((0.0..1e-9).contains(&kl), "{name}: KL to the base is {kl} before the first update");
    Ok(())
}

fl_test!(
    async fn sft_curve() -> Result<()> {
        follow_sft("sft", fixture!("sft.json")).await
    }
    async fn sft_completion_curve() -> Result<()> {
        follow_sft("sft_completion", fixture!("sft_completion.json")).await
    }
    async fn sft_accumulation_curve() -> Result<()> {
        follow_sft("sft_accumulate", fixture!("sft_accumulate.json")).await
    }
    async fn sft_cosine_and_decay_curve() -> Result<()> {
        follow_sft("sft_cosine_decay", fixture!("sft_cosine_decay.json")).await
    }
    async fn dpo_curve() -> Result<()> {
        follow_dpo("dpo", fixture!("dpo.json")).await
    }
    /// Every loss and divergence of TRL's, and what goes with them.
    async fn dpo_losses_curves() -> Result<()> {
        let all = curves!(
            "dpo_hinge",
            "dpo_ipo",
            "dpo_robust",
            "dpo_exo_pair",
            "dpo_nca_pair",
            "dpo_bco_pair",
            "dpo_sppo_hard",
            "dpo_apo_zero",
            "dpo_apo_down",
            "dpo_discopop",
            "dpo_sigmoid_norm",
            "dpo_aot",
            "dpo_aot_unpaired",
            "dpo_rpo",
            "dpo_mpo",
            "dpo_ld",
            "dpo_wpo",
            "dpo_ld_wpo",
            "dpo_smoothing_ignored",
            "dpo_forward_kl",
            "dpo_js_divergence",
            "dpo_alpha_divergence",
        );
        // On the processor: what differs is one small op, which is tried on both.
        let model = tiny_on(crate::harness::cpu()).await?;
        for (name, bytes) in all {
            follow_on(&model, "dpo", name, bytes, 2e-3).await?;
        }
        Ok(())
    }
    async fn kto_curves() -> Result<()> {
        let first = follow("kto", "kto", fixture!("kto.json"), 2e-3).await?.metrics;
        assert!(first.kl().expect("its own") > 0.0, "the curve begins with a KL: {first:?}");
        follow("kto", "kto_batch4", fixture!("kto_batch4.json"), 2e-3).await?;
        follow("kto", "kto_apo_zero_unpaired", fixture!("kto_apo_zero_unpaired.json"), 2e-3).await?;
        follow("kto", "kto_accumulate", fixture!("kto_accumulate.json"), 2e-3).await.map(drop)
    }
    async fn orpo_curves() -> Result<()> {
        follow("orpo", "orpo", fixture!("orpo.json"), 2e-3).await?;
        follow("orpo", "orpo_accumulate", fixture!("orpo_accumulate.json"), 2e-3).await.map(drop)
    }
    async fn cpo_curves() -> Result<()> {
        let model = tiny_on(crate::harness::cpu()).await?;
        for (name, bytes) in curves!("cpo_smoothing", "cpo_hinge", "cpo_ipo", "cpo_simpo", "simpo", "cpo_alphapo", "cpo_accumulate") {
            follow_on(&model, "cpo", name, bytes, 2e-3).await?;
        }
        follow("cpo", "cpo", fixture!("cpo.json"), 2e-3).await.map(drop)
    }
    async fn dpo_accumulation_curve() -> Result<()> {
        follow_dpo("dpo_accumulate", fixture!("dpo_accumulate.json")).await
    }
);

fn tensor(file: &[u8], name: &str) -> Vec<f32> {
    let c = Container::parse("fixture", file).unwrap();
    let i = c.index_of(name).unwrap_or_else(|| panic!("no {name}"));
    dequantize(c.tensors[i].dtype, c.bytes(file, i).unwrap())
}

/// The largest difference relative to the largest expected value, over A and B of all modules.
pub fn distance(got: &[NamedTensor], file: &[u8], prefix: &str) -> f64 {
    let mut worst = 0.0f64;
    for t in got {
        let want = tensor(file, &format!("{prefix}{}", t.name));
        assert_eq!(want.len(), t.values.len(), "{}", t.name);
        let top = want.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
        let off = want.iter().zip(&t.values).fold(0f32, |m, (w, v)| m.max((w - v).abs()));
        worst = worst.max(f64::from(off / top));
    }
    worst
}

fl_test!(
    async fn first_gradients_and_final_adapters() -> Result<()> {
        let model = tiny().await?;
        let (config, rows, _) = curve(fixture!("sft.json"));
        let set = start(&model)?;
        let mut t = trainer("sft", &model, &set, &config, &rows)?;
        t.gradients().await?;
        let off = distance(&set.export_grads().await?, fixture!("sft_grad_step0.safetensors"), "grad/");
        assert!(off < 1e-3, "SFT gradients are off by {off}");
        // Looking at gradients takes nothing away: the curve's end is PyTorch's.
        while t.step().await?.is_some() {}
        let moved = distance(&set.export_weights().await?, fixture!("sft_final/adapter_model.safetensors"), "");
        assert!(moved < 2e-2, "the adapter after ten SFT updates is off by {moved}");

        let (config, rows, _) = curve(fixture!("dpo.json"));
        let set = start(&model)?;
        let mut t = trainer("dpo", &model, &set, &config, &rows)?;
        t.gradients().await?;
        let off_dpo = distance(&set.export_grads().await?, fixture!("dpo_grad_step0.safetensors"), "grad/");
        assert!(off_dpo < 2e-3, "DPO gradients are off by {off_dpo}");
        for (method, bytes, grads) in [
            ("kto", &fixture!("kto.json")[..], &fixture!("kto_grad_step0.safetensors")[..]),
            ("orpo", fixture!("orpo.json"), fixture!("orpo_grad_step0.safetensors")),
        ] {
            let (config, rows, _) = curve(bytes);
            let set = acting(&model)?;
            let mut t = trainer(method, &model, &set, &config, &rows)?;
            t.gradients().await?;
            let off = distance(&set.export_grads().await?, grads, "grad/");
            assert!(off < 1e-3, "{method}: gradients are off by {off}");
            report!("gradients of {method}: {off:.1e}");
        }
        report!("gradients: SFT {off:.1e}, DPO {off_dpo:.1e}; adapter after ten updates {moved:.1e}");
        Ok(())
    }
);
