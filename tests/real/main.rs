//! SmolLM2-135M-Instruct against PyTorch's numbers (`tests/fixtures/smollm2`): the real file, natively. Fails without the model: `make model`
//! fetches it, FLEDGLING_MODEL names another place.
#![cfg(not(target_arch = "wasm32"))]

mod gemma3;
mod lora;
mod tokenizer;

use std::path::PathBuf;
use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::cpu::{Cpu, CpuOptions};
use fledgling::formats::Container;
use fledgling::generate::{FinishReason, GenerateOptions, Generator};
use fledgling::gpu::{Gpu, GpuOptions};
use fledgling::graph::Exec;
use fledgling::models::LoadOptions;
use fledgling::nn::KvCacheDtype;
use serde_json::Value;

static GREEDY: &str = include_str!("../fixtures/smollm2/greedy.json");
static LOGITS: &[u8] = include_bytes!("../fixtures/smollm2/logits_prompt128.safetensors");

fn model_path() -> PathBuf {
    let path = std::env::var_os("FLEDGLING_MODEL")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run `make model`", path.display());
    path
}

/// Both executors: the GPU at hand, and the processor. With FLEDGLING_KERNELS (`class=variant,…`) the GPU alone, with these kernels; with
/// FLEDGLING_SIMD the processor alone, with that instruction set (`scripts/parity.sh` goes through all of them).
async fn devices() -> Result<Vec<Exec>> {
    if let Ok(kernels) = std::env::var("FLEDGLING_KERNELS") {
        return Ok(vec![Exec::Gpu(Gpu::with(&GpuOptions { kernels: Some(kernels), ..GpuOptions::default() }).await?)]);
    }
    let cpu = Exec::Cpu(Cpu::new(CpuOptions::default()));
    if std::env::var_os("FLEDGLING_SIMD").is_some() {
        return Ok(vec![cpu]);
    }
    Ok(vec![Exec::Gpu(Gpu::new().await?), cpu])
}

async fn load(exec: &Exec) -> Result<Rc<LoadedModel>> {
    load_with(exec, KvCacheDtype::F32).await
}

async fn load_with(exec: &Exec, kv_cache_dtype: KvCacheDtype) -> Result<Rc<LoadedModel>> {
    let on = exec.info();
    eprintln!("on {} ({})", on.name, on.backend);
    let options = LoadOptions { context_length: Some(2048), kv_cache_dtype, ..LoadOptions::default() };
    Ok(Rc::new(LoadedModel::load(exec, model_path(), options, &mut |_, _| ()).await?))
}

fn ids(v: &Value) -> Vec<u32> {
    v.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// First position where the oracle's two largest logits are nearly equal: behind it a continuation may differ.
fn first_near_tie(top3: &Value) -> usize {
    let near = |t: &Value| t[0][1].as_f64().unwrap() - t[1][1].as_f64().unwrap() < 0.05;
    let all = top3.as_array().unwrap();
    all.iter().position(near).unwrap_or(all.len())
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m, (x, y)| m.max((x - y).abs()))
}

#[test]
fn smollm2_is_the_oracles() {
    pollster::block_on(async {
        for exec in devices().await.unwrap() {
            is_the_oracles(&exec).await;
        }
    });
}

async fn is_the_oracles(exec: &Exec) {
    let loaded = load(exec).await.unwrap();
    let oracle: Value = serde_json::from_str(GREEDY).unwrap();
    let mut g = Generator::new(loaded.clone()).unwrap();
    let base = AdapterChoice::Base;

    let prompt = ids(&oracle["prompt128_ids"]);
    nll_is_near(&mut g, &oracle).await;

    let file = Container::parse("logits_prompt128.safetensors", LOGITS).unwrap();
    let logits = g.logits_at(&prompt, &[0, 127], &base).await.unwrap();
    for (got, name) in logits.iter().zip(["logits_pos0", "logits_last"]) {
        let i = file.index_of(name).unwrap();
        let want = fledgling::tensor::dequantize(file.tensors[i].dtype, file.bytes(LOGITS, i).unwrap());
        let worst = largest_difference(got, &want);
        eprintln!("{name}: largest difference {worst:.5}");
        assert!(worst <= 0.02, "{name} differs by {worst}");
    }

    let options = GenerateOptions { max_new_tokens: 64, adapter: base.clone(), ..GenerateOptions::default() };
    let got = g.run(&prompt, GenerateOptions { ignore_eos: true, ..options.clone() }, &mut |_| ()).await.unwrap().remove(0);
    let want = ids(&oracle["prompt128_greedy_ids"]);
    let until = first_near_tie(&oracle["prompt128_top3"]);
    let agree = got.token_ids.iter().zip(&want).take_while(|(a, b)| a == b).count();
    eprintln!("prompt128: {agree} of {} tokens agree (first near tie at {until})", want.len());
    assert!(agree >= until, "departs at token {agree}, before the near tie at {until}");
    assert_eq!(got.finish_reason, FinishReason::Length);
    // Four answers as one batch, and one with an adapter that adds nothing (B is zero): other kernels, the same tokens.
    loaded.adapters.add("nothing", &lora::initial(8, 16.0)).unwrap();
    for (n, adapter) in [(4, base.clone()), (1, AdapterChoice::Named("nothing".into())), (4, AdapterChoice::Named("nothing".into()))] {
        let what = format!("{n} answers, {adapter:?}");
        let options = GenerateOptions { n, adapter, max_new_tokens: 12, ignore_eos: true, ..GenerateOptions::default() };
        let mut worst = 0.0f32;
        for c in g.run(&prompt, options, &mut |_| ()).await.unwrap() {
            let until = until.min(12);
            assert_eq!(c.token_ids[..until], want[..until], "{what}");
            worst = c.logprobs.iter().zip(&got.logprobs).take(until).fold(worst, |m, (a, b)| m.max((a - b).abs()));
        }
        eprintln!("{what}: largest difference of a log-probability {worst:.1e}");
        assert!(worst < 2e-3, "{what}");
    }

    let chat = ids(&oracle["chat_ids"]);
    let tokenizer = loaded.tokenizer().unwrap();
    let messages = [serde_json::json!({"role": "user", "content": "What is the capital of France?"})];
    assert_eq!(tokenizer.encode_chat(&messages, true).unwrap(), chat);
    let mut text = String::new();
    let got = g
        .run(&chat, options, &mut |e| {
            if let fledgling::generate::Event::Text { text: t, .. } = e {
                text.push_str(&t);
            }
        })
        .await
        .unwrap()
        .remove(0);
    assert_eq!(got.token_ids, ids(&oracle["chat_greedy_ids"]));
    assert_eq!(got.text, "The capital of France is Paris.");
    assert_eq!(text, got.text);
    assert_eq!(got.finish_reason, FinishReason::Stop);
    eprintln!("prefill {:.2} s, decode {:.2} s for {} tokens", got.seconds.prefill, got.seconds.decode, got.token_ids.len());
    // Six dispatches per layer and four around them, and with an adapter x·Aᵀ of four products; but where norms stay outside.
    let apart = std::env::var("FLEDGLING_KERNELS").is_ok_and(|k| k.contains("apart"));
    for (adapter, each) in [(base, 6), (AdapterChoice::Named("nothing".into()), 10)] {
        let per_token = g.dispatches_per_token(1, &adapter).unwrap();
        assert!(apart || per_token <= each * loaded.info.layers + 4, "{per_token} dispatches per token, {adapter:?}");
    }
}

/// Every token's −ln p within 0.01 of the oracle's.
async fn nll_is_near(g: &mut Generator, oracle: &Value) {
    let nll = g.nll(&ids(&oracle["prompt128_ids"]), &AdapterChoice::Base).await.unwrap();
    let want = numbers(&oracle["nll_per_token"]);
    assert_eq!(nll.len(), want.len());
    let worst = nll.iter().zip(&want).fold(0f64, |m, (a, b)| m.max((f64::from(*a) - b).abs()));
    eprintln!("nll_per_token: largest difference {worst:.5}");
    assert!(worst <= 0.01, "nll_per_token differs by {worst}");
}

/// Keys and values as halves.
#[test]
fn an_f16_cache_stays_near_the_oracle() {
    pollster::block_on(async {
        for exec in devices().await.unwrap() {
            let oracle: Value = serde_json::from_str(GREEDY).unwrap();
            let mut g = Generator::new(load_with(&exec, KvCacheDtype::F16).await.unwrap()).unwrap();
            nll_is_near(&mut g, &oracle).await;
            let options = GenerateOptions { max_new_tokens: 16, adapter: AdapterChoice::Base, ..GenerateOptions::default() };
            let got = g.run(&ids(&oracle["chat_ids"]), options, &mut |_| ()).await.unwrap().remove(0);
            assert_eq!(got.text, "The capital of France is Paris.");
        }
    });
}

#[test]
fn memory_is_the_file_the_cache_and_the_plan() {
    pollster::block_on(async {
        for exec in devices().await.unwrap() {
            memory_is_accounted_for(&exec).await;
        }
    });
}

/// The most bytes that were ever alive while loading, warming up and answering. (What a driver keeps besides is not counted.)
async fn memory_is_accounted_for(exec: &Exec) {
    let file = model_path().metadata().unwrap().len();
    let loaded = load(exec).await.unwrap();
    let after_loading = exec.counters().peak_bytes.get();
    let mut g = Generator::new(loaded).unwrap();
    let options = GenerateOptions { max_new_tokens: 24, ignore_eos: true, adapter: AdapterChoice::Base, ..GenerateOptions::default() };
    g.warm(None, &options).await.unwrap();
    let oracle: Value = serde_json::from_str(GREEDY).unwrap();
    g.run(&ids(&oracle["prompt128_ids"]), options.clone(), &mut |_| ()).await.unwrap();
    g.run(&ids(&oracle["chat_ids"]), options, &mut |_| ()).await.unwrap();
    let (peak, cache, planned) = (exec.counters().peak_bytes.get(), g.cache_bytes(), g.activation_bytes());
    let mib = |b: u64| b as f64 / f64::from(1 << 20);
    eprintln!(
        "file {:.1} MiB; peak while loading {:.1}, in all {:.1}: of that cache {:.1}, activations {:.1}",
        mib(file),
        mib(after_loading),
        mib(peak),
        mib(cache),
        mib(planned)
    );
    assert!(after_loading * 10 <= file * 11, "loading a file of {file} bytes took {after_loading}");
    assert!(peak <= file / 10 * 11 + cache + planned, "{peak} bytes: file {file}, cache {cache}, activations {planned}");
}
