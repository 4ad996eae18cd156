//! Memory: what thousands of tokens and steps leave behind, what warming up saves, what checkpointing does to a plan.

use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::formats::peft::LoraAdapter;
use fledgling::generate::{GenerateOptions, Generator};
use fledgling::graph::Exec;
use fledgling::models::{Config, LoadOptions, Model, ModelLoader};
use fledgling::nn::{KvCache, KvCacheDtype};
use fledgling::tensor::DType;
use fledgling::tune::Training;
use serde_json::{Value, json};

use crate::harness::{cpu, gpu};

/// The tiny llama with a context that generations of all kinds fit in, and an adapter.
async fn llama(exec: &Exec) -> Result<Rc<LoadedModel>> {
    llama_with(exec, KvCacheDtype::F32).await
}

async fn llama_with(exec: &Exec, kv_cache_dtype: KvCacheDtype) -> Result<Rc<LoadedModel>> {
    let config = include_str!("../fixtures/models/llama/config.json");
    let mut loader = ModelLoader::new(exec, LoadOptions { kv_cache_dtype, ..LoadOptions::default() });
    loader.add_text("config.json", config.replace("\"max_position_embeddings\": 128", "\"max_position_embeddings\": 1024"));
    loader.begin_file("model.safetensors", None)?;
    loader.push(include_bytes!("../fixtures/models/llama/model.safetensors"))?;
    loader.end_file()?;
    let model = LoadedModel::from(loader.finish().await?);
    let config = include_str!("../fixtures/training/adapters/default/adapter_config.json");
    let weights = include_bytes!("../fixtures/training/adapters/default/adapter_model.safetensors");
    model.adapters.add("peft", &LoraAdapter::read(config, weights)?)?;
    Ok(Rc::new(model))
}

fn prompt(n: u32) -> Vec<u32> {
    (0..n).map(|i| 3 + (i * 37 + i * i) % 90).collect()
}

/// What must not grow: bytes alive, buffers ever allocated, pipelines ever compiled.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    bytes: u64,
    allocations: u64,
    pipelines: u64,
}

fn held(exec: &Exec) -> Held {
    let c = exec.counters();
    Held { bytes: exec.live_bytes(), allocations: c.allocations.get(), pipelines: c.pipelines.get() }
}

/// Ways to answer: tokens of the prompt and of the answer, candidates, adapter, penalty, tokens after which it is broken off.
const KINDS: [(u32, usize, usize, bool, f32, usize); 6] = [
    (70, 60, 4, false, 1.0, usize::MAX),
    (70, 60, 4, true, 1.0, usize::MAX),
    (20, 90, 1, false, 1.3, usize::MAX),
    (20, 90, 1, true, 1.0, usize::MAX),
    (33, 40, 2, true, 1.2, 20),
    (150, 30, 2, false, 1.0, usize::MAX),
];

/// A generation of a kind, and reading and judging in between; gives the number of tokens.
async fn answer(g: &mut Generator, i: usize) -> Result<usize> {
    let (length, max_new_tokens, n, adapted, repetition_penalty, broken) = KINDS[i % KINDS.len()];
    let adapter = if adapted { AdapterChoice::Named("peft".into()) } else { AdapterChoice::Base };
    let options = GenerateOptions {
        n,
        max_new_tokens,
        repetition_penalty,
        temperature: if n > 1 { 1.0 } else { 0.0 },
        seed: i as u32,
        ignore_eos: true,
        adapter: adapter.clone(),
        ..GenerateOptions::default()
    };
    g.start(&prompt(length), options)?;
    let (flag, mut steps) = (g.abort_flag(), 0);
    while g.step().await?.is_some() {
        steps += 1;
        flag.set(steps >= broken);
    }
    let tokens = g.finish().await?.iter().map(|c| c.token_ids.len()).sum();
    if i.is_multiple_of(2) {
        g.nll(&prompt(40), &adapter).await?;
        g.logits_at(&prompt(20), &[3, 19], &adapter).await?;
    }
    if i % 3 != 1 {
        g.reset();
    }
    Ok(tokens)
}

async fn answers(exec: &Exec, least: usize) -> Result<()> {
    let mut g = Generator::new(llama(exec).await?)?;
    // Twice each: a cache that grows at the first round has programs recorded again.
    let mut tokens = 0;
    for i in 0..2 * KINDS.len() {
        tokens += answer(&mut g, i).await?;
    }
    let before = held(exec);
    let mut i = 0usize;
    while tokens < least || !i.is_multiple_of(2 * KINDS.len()) {
        tokens += answer(&mut g, i).await?;
        i += 1;
    }
    report!("{tokens} tokens of {} generations: {before:?}", i + 2 * KINDS.len());
    assert_eq!(held(exec), before, "after {tokens} tokens");

    // A chat that goes on from its last candidate moves it into another cache: that is allocated, and the former one given back.
    let mut bytes = None;
    for round in 0..6 {
        let options =
            |n| GenerateOptions { n, max_new_tokens: 20, temperature: 1.0, seed: round, ignore_eos: true, ..GenerateOptions::default() };
        let last = g.run(&prompt(20), options(3), &mut |_| ()).await?.remove(2);
        let next: Vec<u32> = prompt(20).into_iter().chain(last.token_ids).chain([5, 6]).collect();
        g.run(&next, options(1), &mut |_| ()).await?;
        g.reset();
        if round > 1 {
            assert_eq!(*bytes.get_or_insert(exec.live_bytes()), exec.live_bytes(), "round {round} of chats");
        }
    }
    Ok(())
}

/// Rows of three lengths, always the same in a batch.
fn rows() -> Vec<Value> {
    let ids = |i: usize, n: usize| (0..n).map(|t| (11 * i + 5 * t * t + t) % 90 + 3).collect::<Vec<_>>();
    [9, 9, 60, 60, 25, 25].iter().enumerate().map(|(i, n)| json!({"input_ids": ids(i, *n)})).collect()
}

async fn steps(exec: &Exec, steps: u64) -> Result<()> {
    let model = llama(exec).await?;
    let args = json!({
        "learning_rate": 1e-4, "max_steps": steps, "per_device_train_batch_size": 2, "shuffle": false, "r": 4, "lora_alpha": 8,
        "lora_dropout": 0.1,
    });
    let mut g = Generator::new(model.clone())?;
    let mut t = Training::new(&model, "sft", &args, &rows(), None).await?;
    let (mut before, mut reported, mut late) = (None, 0, 0);
    while t.submit().await? {
        while let Some(m) = t.report(false).await? {
            reported += 1;
            assert_eq!(m.step, reported, "reports in order");
            late += u64::from(m.step < t.steps());
        }
        let step = t.steps();
        // What is learned is looked at in between.
        if step % 100 == 5 || step == 8 {
            let options = GenerateOptions { max_new_tokens: 10, ignore_eos: true, ..GenerateOptions::default() };
            g.run(&prompt(12), options, &mut |_| ()).await?;
            g.reset();
        }
        if step == 10 {
            before = Some(held(exec));
        }
    }
    report!("{steps} steps, {late} reported while the next one was under way: {before:?}");
    assert_eq!(reported, steps, "every update is reported");
    assert_eq!(Some(held(exec)), before, "after {steps} steps");
    drop((t, g));

    // Trainings one after another, each from the adapter that the last one left.
    let few = |mut a: Value| {
        a["max_steps"] = json!(3);
        a
    };
    let mut bytes = None;
    for round in 0..4 {
        let mut t = Training::new(&model, "sft", &few(args.clone()), &rows(), None).await?;
        while t.step().await?.is_some() {}
        drop(t);
        if round > 0 {
            assert_eq!(*bytes.get_or_insert(exec.live_bytes()), exec.live_bytes(), "training {round}");
        }
    }
    Ok(())
}

/// A model of SmolLM2's shape, all weights zero.
fn smollm2(exec: &Exec) -> Result<LoadedModel> {
    let config = json!({
        "model_type": "llama", "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "rope_theta": 1e5, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": true,
    });
    let config = Config::from_json("config.json", &config.to_string())?;
    Ok(LoadedModel::of(Model::allocate(exec, config, &|_| DType::Q4_0, false)?, None, "zeros"))
}

fl_test!(
    async fn ten_thousand_tokens_leave_nothing() -> Result<()> {
        answers(&cpu(), 10_000).await
    }

    async fn tokens_leave_nothing_on_the_gpu() -> Result<()> {
        answers(&Exec::Gpu(gpu().await), if cfg!(target_arch = "wasm32") { 2000 } else { 10_000 }).await
    }

    async fn a_thousand_steps_leave_nothing() -> Result<()> {
        steps(&cpu(), 1000).await
    }

    async fn steps_leave_nothing_on_the_gpu() -> Result<()> {
        steps(&Exec::Gpu(gpu().await), if cfg!(target_arch = "wasm32") { 110 } else { 1000 }).await
    }

    /// The cache takes half the memory, and what it saves nothing else takes: a chat that grows and goes on from its third candidate.
    async fn an_f16_cache_is_half_as_large() -> Result<()> {
        for exec in [Exec::Gpu(gpu().await), cpu()] {
            let mut held = Vec::new();
            for dtype in [KvCacheDtype::F32, KvCacheDtype::F16] {
                let before = exec.live_bytes();
                let mut g = Generator::new(llama_with(&exec, dtype).await?)?;
                let options = |n| GenerateOptions { n, max_new_tokens: 300, ignore_eos: true, ..GenerateOptions::default() };
                let last = g.run(&prompt(70), options(3), &mut |_| ()).await?.remove(2);
                let next: Vec<u32> = prompt(70).into_iter().chain(last.token_ids).chain([5]).collect();
                g.run(&next, options(1), &mut |_| ()).await?;
                held.push((g.cache_bytes(), exec.live_bytes() - before));
            }
            let ((f32s, all), (f16s, less)) = (held[0], held[1]);
            assert!(f16s > 0 && f32s == 2 * f16s, "{f32s} and {f16s} bytes");
            assert_eq!(all - less, f32s - f16s);
            let most = |dtype| KvCache::most_slots(&exec, 192, dtype);
            // On the processor nothing limits a binding.
            assert!(exec.is_processor() || most(KvCacheDtype::F16) / 2 == most(KvCacheDtype::F32));
        }
        Ok(())
    }

    /// A LoRA step of one row of 512 tokens (r 8, all linears) on SmolLM2.
    async fn checkpointing_takes_a_third_of_the_activations() -> Result<()> {
        let model = smollm2(&cpu())?;
        let ids: Vec<usize> = (0..512).map(|i| 100 + i * 7 % 4000).collect();
        let args = json!({"max_steps": 1, "max_length": 512, "per_device_train_batch_size": 1, "r": 8, "lora_alpha": 16});
        let t = Training::new(&model, "sft", &args, &[json!({"input_ids": ids})], None).await?;
        let (kept, recomputed) = (t.planned_bytes(false)?, t.planned_bytes(true)?);
        let mib = |b: u64| b as f64 / f64::from(1 << 20);
        report!("activations: {:.1} MiB, with checkpointing {:.1} MiB", mib(kept), mib(recomputed));
        assert!(recomputed * 3 <= kept, "{recomputed} bytes with checkpointing, {kept} without");
        Ok(())
    }

    /// Behind it the first request compiles nothing, whatever the prompt's length; on the processor there is nothing to compile, and only a
    /// browser runs tokens ahead.
    async fn warming_up_compiles_everything() -> Result<()> {
        for exec in [Exec::Gpu(gpu().await), cpu()] {
            let mut g = Generator::new(llama(&exec).await?)?;
            let options = GenerateOptions { max_new_tokens: 8, ignore_eos: true, ..GenerateOptions::default() };
            let (before, dispatches) = (held(&exec), exec.counters().dispatches.get());
            g.warm(None, &options).await?;
            let warm = held(&exec);
            // Whole tokens, and nothing else that counts: one on a GPU, some in a browser, none on a processor whose kernels are compiled.
            let tokens = match exec {
                Exec::Gpu(_) => 1,
                _ if cfg!(target_arch = "wasm32") => 4,
                _ => 0,
            };
            if tokens == 0 {
                assert_eq!(warm, before);
            }
            let spent = exec.counters().dispatches.get() - dispatches;
            let token = g.dispatches_per_token(1, &AdapterChoice::Base)? as u64;
            assert_eq!(spent, tokens * token);
            for length in [3, 30, 150, 300] {
                g.run(&prompt(length), options.clone(), &mut |_| ()).await?;
                assert_eq!(held(&exec).pipelines, warm.pipelines, "pipelines behind a prompt of {length} tokens");
            }
            // It has left nothing in the cache.
            let mut cold = Generator::new(g.loaded().clone())?;
            let want = cold.run(&prompt(21), options.clone(), &mut |_| ()).await?.remove(0);
            assert_eq!(g.run(&prompt(21), options.clone(), &mut |_| ()).await?.remove(0).token_ids, want.token_ids);
            // Broken off half-way, it does no harm; what is read before it stays read.
            let read = g.cached_tokens();
            let mut warming = g.warming(Some(21), &options)?;
            g.warm_next(&mut warming).await?;
            assert_eq!(g.cached_tokens(), read);
            // Not while somebody is being answered.
            g.start(&prompt(21), options.clone())?;
            assert_eq!(g.warm_next(&mut warming).await.map_err(|e| e.code()), Err("busy"));
            g.finish().await?;
            assert_eq!(g.run(&prompt(21), options, &mut |_| ()).await?.remove(0).token_ids, want.token_ids);
        }
        Ok(())
    }
);
