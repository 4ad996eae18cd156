//! Prefill and decoding.

use std::rc::Rc;

use serde_json::json;

use super::machine::card;
use super::report::Report;
use super::samples::{Counts, Samples, ids};
use crate::args::{BenchArgs, Part};
use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::formats::peft::{LoraConfig, OneOrMany};
use fledgling::generate::{Candidate, Event, GenerateOptions, Generator};
use fledgling::graph::Exec;
use fledgling::{Result, clock};

/// A prompt, never the same twice: a cache that helped would be measured in place of the model.
pub async fn once(g: &mut Generator, a: &BenchArgs, options: GenerateOptions, salt: usize) -> Result<Vec<Candidate>> {
    g.reset();
    let vocab = g.loaded().model.config().vocab_size;
    g.run(&ids(vocab, a.prompt_length, salt), options, &mut |_| ()).await
}

/// Without an adapter.
pub fn options(n: usize, tokens: usize) -> GenerateOptions {
    GenerateOptions {
        n,
        max_new_tokens: tokens,
        temperature: if n > 1 { 0.8 } else { 0.0 },
        seed: 1,
        ignore_eos: true,
        adapter: AdapterChoice::Base,
        ..GenerateOptions::default()
    }
}

/// The first generation since the model was loaded: seconds of its prefill, and of each of five decoded tokens behind it.
async fn first_use(g: &mut Generator, a: &BenchArgs) -> Result<Vec<f64>> {
    let vocab = g.loaded().model.config().vocab_size;
    // As long as the others, so that the cache is made for it once.
    g.start(&ids(vocab, a.prompt_length, 0), options(1, a.new_tokens.max(6)))?;
    let (mut out, mut prefill) = (Vec::new(), 0.0);
    while out.len() < 6 {
        let begin = clock::seconds();
        let Some(events) = g.step().await? else { break };
        let seconds = clock::seconds() - begin;
        match &events[..] {
            // Chunk after chunk, until one brings the first token.
            [Event::Prefill { done, total }, ..] => {
                prefill += seconds;
                if done == total {
                    out.push(prefill);
                }
            }
            _ => out.push(seconds),
        }
    }
    g.finish().await?;
    Ok(out)
}

/// Everything about answering that `wanted` asks for.
pub async fn run(t: &mut Report, exec: &Exec, model: Rc<LoadedModel>, a: &BenchArgs, wanted: impl Fn(Part) -> bool) -> Result<()> {
    let (weights, per_key) = (model.model.token_bytes(), model.model.config().kv_bytes_per_token(model.kv_cache_dtype));
    let mut g = Generator::new(model)?;
    let begin = clock::seconds();
    if !a.no_warm_up {
        g.warm(Some(a.prompt_length), &options(1, a.new_tokens)).await?;
        t.line("warm_up_seconds", "warming up (records and compiles)", clock::seconds() - begin, "s", 2);
    }
    let begin = clock::seconds();
    let steps = first_use(&mut g, a).await?;
    t.line("first_use_seconds", "first use", clock::seconds() - begin, "s", 2);
    if let [prefill, first, .., fifth] = steps[..] {
        t.millis("first_prefill_ms", "first prefill", prefill * 1e3);
        t.millis("first_token_ms", "first decoded token", first * 1e3);
        t.millis("fifth_token_ms", "fifth", fifth * 1e3);
    }
    t.put("prompt_length", json!(a.prompt_length));
    if wanted(Part::Prefill) {
        let mut seconds = Samples::default();
        while seconds.wanted() {
            let salt = 1 + seconds.len();
            seconds.push(once(&mut g, a, options(1, 1), salt).await?[0].seconds.prefill);
        }
        let rate = a.prompt_length as f64 / seconds.median();
        t.line("prefill_tokens_per_second", &format!("prefill, {} tokens", a.prompt_length), rate, "tok/s", 1);
    }
    if wanted(Part::Decode) {
        decode(t, exec, &mut g, a, weights, per_key).await?;
    } else {
        held(t, exec);
    }
    Ok(())
}

fn held(t: &mut Report, exec: &Exec) {
    t.bytes("gpu_bytes", "device memory, answering", exec.live_bytes());
}

/// The name of the adapter that is measured.
const ADAPTER: &str = "bench";

/// Decoding with the base model and with an adapter (r 8, all linears), in turns.
async fn decode(t: &mut Report, exec: &Exec, g: &mut Generator, a: &BenchArgs, weights: u64, per_key: u64) -> Result<()> {
    t.put("new_tokens", json!(a.new_tokens));
    for n in [4, 1] {
        once(g, a, options(n, 3.min(a.new_tokens)), 50).await?;
    }
    // Before there is an adapter.
    held(t, exec);
    let model = g.loaded().clone();
    let config = LoraConfig { r: 8, lora_alpha: 16.0, target_modules: Some(OneOrMany::One("all-linear".into())), ..LoraConfig::default() };
    model.adapters.put(ADAPTER, &*model.adapters.fresh(&config, 1)?)?;
    // (what is printed, what stands in the keys, with which adapter)
    let ways = [("", "", AdapterChoice::Base), (", with an adapter", "adapter_", AdapterChoice::Named(ADAPTER.into()))];
    let with = |n, tokens, way: usize| GenerateOptions { adapter: ways[way].2.clone(), ..options(n, tokens) };
    for (n, key) in [(1, ""), (4, "batch4_")] {
        let mut seconds = [Samples::default(), Samples::default()];
        for way in 0..2 {
            once(g, a, with(n, 3.min(a.new_tokens), way), 50).await?;
        }
        while seconds[1].wanted() {
            let mut longest = 0.0f64;
            for (way, seconds) in seconds.iter_mut().enumerate() {
                let all = once(g, a, with(n, a.new_tokens, way), 60 + seconds.len()).await?;
                // The first token of each belongs to the prefill.
                let tokens: usize = all.iter().map(|c| c.token_ids.len() - 1).sum();
                seconds.push(all[0].seconds.decode / tokens as f64);
                longest = longest.max(all[0].seconds.decode);
            }
            // Seconds of decoding, where a software adapter needs many for one run.
            if longest > 2.0 {
                break;
            }
        }
        for ((said, word, _), seconds) in ways.iter().zip(&seconds) {
            let key = format!("decode_{key}{word}tokens_per_second");
            t.line(&key, &format!("decode, {} tokens, batch {n}{said}", a.new_tokens), 1.0 / seconds.median(), "tok/s", 2);
        }
    }
    let read = weights + per_key * (a.prompt_length + a.new_tokens / 2) as u64;
    t.put("decode_bytes_per_token", json!(read));
    t.put("decode_weight_bytes", json!(weights));
    let bytes_per_second = read as f64 * t.number("decode_tokens_per_second").unwrap_or(f64::NAN);
    t.line("decode_gbps", "decode reads weights and keys at", bytes_per_second / 1e9, "GB/s", 2);
    if let Some(peak) = t.number("copy_gbps") {
        t.line("decode_bandwidth_fraction", "of the measured copy", bytes_per_second / 1e9 / peak, "", 3);
    }
    if let Some(card) = card(&exec.info().name) {
        let name = format!("of the {}'s data sheet, {:.2} TB/s", card.name, card.bytes / 1e12);
        t.line("decode_sheet_fraction", &name, bytes_per_second / card.bytes, "", 3);
    }
    for (way, (said, word, _)) in ways.iter().enumerate() {
        // The same prompt with all tokens and with one: the difference is decoding alone.
        let mut spent = Vec::new();
        for tokens in [1, a.new_tokens] {
            let before = Counts::of(exec);
            once(g, a, with(1, tokens, way), 7).await?;
            spent.push(Counts::of(exec) - before);
        }
        let (steps, more) = ((a.new_tokens - 1) as f64, spent[1] - spent[0]);
        let mut line = |key: &str, name: &str, count: u64| {
            t.line(&format!("{word}{key}_per_token"), &format!("{name} per decoded token{said}"), count as f64 / steps, "", 1);
        };
        line("dispatches", "dispatches", more.dispatches);
        line("submits", "submits", more.submits);
        line("allocations", "buffers allocated", more.allocations);
    }
    model.adapters.remove(ADAPTER);
    Ok(())
}
