//! Generation on the tiny packed llama: candidates, streams, reuse of the cache, growth, abort, stop strings.

use std::rc::Rc;

use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::generate::{Candidate, Event, FinishReason, GenerateOptions, Generator};
use fledgling::gpu::Gpu;
use fledgling::graph::Exec;
use fledgling::models::{LoadOptions, ModelLoader};
use fledgling::nn::KvCacheDtype;
use fledgling::{Error, Result};
use serde_json::json;

use crate::harness::{devices, gpu, other_form};
use crate::models::load_gguf;

async fn generator() -> Result<Generator> {
    with_cache(&Exec::Gpu(gpu().await), KvCacheDtype::F32).await
}

/// The tiny packed llama with a cache of a type.
async fn with_cache(exec: &Exec, kv_cache_dtype: KvCacheDtype) -> Result<Generator> {
    Generator::new(Rc::new(load_gguf(exec).await?.with_kv_cache_dtype(kv_cache_dtype)))
}

const BOTH: [KvCacheDtype; 2] = [KvCacheDtype::F32, KvCacheDtype::F16];

/// The tiny llama with a long context and no tokenizer.
async fn long_context(window: Option<usize>, kv_cache_dtype: KvCacheDtype) -> Result<Rc<LoadedModel>> {
    long_context_on(&Exec::Gpu(gpu().await), window, kv_cache_dtype).await
}

pub async fn long_context_on(exec: &Exec, window: Option<usize>, kv_cache_dtype: KvCacheDtype) -> Result<Rc<LoadedModel>> {
    let mut config = include_str!("../fixtures/models/llama/config.json")
        .replace("\"max_position_embeddings\": 128", "\"max_position_embeddings\": 4096");
    if let Some(w) = window {
        config = config.replace("\"model_type\": \"llama\"", &format!("\"model_type\": \"mistral\", \"sliding_window\": {w}"));
    }
    let weights = include_bytes!("../fixtures/models/llama/model.safetensors");
    let mut loader = ModelLoader::new(exec, LoadOptions { kv_cache_dtype, ..LoadOptions::default() });
    loader.add_text("config.json", config);
    loader.begin_file("model.safetensors", None)?;
    loader.push(weights)?;
    loader.end_file()?;
    Ok(Rc::new(loader.finish().await?.into()))
}

/// The adapter at hand in both its forms: in one of them rotation, append and attention of a token are one kernel.
async fn forms() -> [Gpu; 2] {
    [gpu().await, other_form().await]
}

pub fn prompt(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| 3 + (i * 37 + i * i) % 90).collect()
}

async fn run(g: &mut Generator, prompt: &[u32], options: GenerateOptions) -> Result<Vec<Candidate>> {
    g.run(prompt, options, &mut |_| ()).await
}

fn sampled(n: usize, seed: u32) -> GenerateOptions {
    GenerateOptions { n, seed, temperature: 1.0, max_new_tokens: 12, ignore_eos: true, ..GenerateOptions::default() }
}

fn tokens(c: &[Candidate]) -> Vec<Vec<u32>> {
    c.iter().map(|c| c.token_ids.clone()).collect()
}

/// Log-softmax at a token.
pub fn logp(logits: &[f32], token: u32) -> f64 {
    let top = logits.iter().fold(f32::MIN, |m, v| m.max(*v));
    let sum: f64 = logits.iter().map(|v| f64::from(v - top).exp()).sum();
    f64::from(logits[token as usize] - top) - sum.ln()
}

fl_test!(
    /// Greedy tokens are the largest logits, their log-probabilities those of the model, one by one and in a batch.
    async fn greedy_is_argmax_with_logprobs() -> Result<()> {
        let mut g = generator().await?;
        let prompt = prompt(21);
        let options = GenerateOptions { max_new_tokens: 9, ignore_eos: true, ..GenerateOptions::default() };
        let one = run(&mut g, &prompt, options.clone()).await?.remove(0);
        let three = run(&mut g, &prompt, GenerateOptions { n: 3, ..options }).await?;
        assert_eq!(tokens(&three), vec![one.token_ids.clone(); 3]);
        assert_eq!(one.token_ids.len(), 9);
        let mut all = prompt.clone();
        all.extend(&one.token_ids);
        g.reset();
        let at: Vec<usize> = (20..29).collect();
        for ((logits, token), lp) in g.logits_at(&all, &at, &AdapterChoice::Base).await?.iter().zip(&one.token_ids).zip(&one.logprobs) {
            let best = (0..logits.len()).fold(0, |b, i| if logits[i] > logits[b] { i } else { b });
            assert_eq!(best as u32, *token);
            assert!((logp(logits, *token) - f64::from(*lp)).abs() < 1e-4, "{lp}");
        }
        Ok(())
    }

    /// Candidates have streams of their own; the same seed gives the same, another one something else; temperature does not
    /// change log-probabilities.
    async fn seeds_and_candidates() -> Result<()> {
        let mut g = generator().await?;
        let prompt = prompt(17);
        let a = run(&mut g, &prompt, sampled(4, 7)).await?;
        let b = run(&mut g, &prompt, sampled(4, 7)).await?;
        let c = run(&mut g, &prompt, sampled(4, 8)).await?;
        assert_eq!(tokens(&a), tokens(&b));
        assert_eq!(a[0].logprobs, b[0].logprobs);
        assert_ne!(tokens(&a), tokens(&c));
        let mut distinct = tokens(&a);
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() > 1, "all candidates are equal");
        // Each candidate saw only the prompt and its own tokens.
        for candidate in &a {
            let mut all = prompt.clone();
            all.extend(&candidate.token_ids);
            let nll = g.nll(&all, &AdapterChoice::Base).await?;
            for (lp, n) in candidate.logprobs.iter().zip(&nll[prompt.len() - 1..]) {
                assert!((lp + n).abs() < 1e-4, "{lp} in the batch, {} alone", -n);
            }
        }
        Ok(())
    }

    /// A chat that goes on reads only what is new, whichever candidate it goes on from, and gives what a fresh one gives.
    async fn the_cache_is_reused() -> Result<()> {
        for dtype in BOTH {
            let mut g = with_cache(&Exec::Gpu(gpu().await), dtype).await?;
            let first = prompt(20);
            for chosen in 0..3 {
                g.reset();
                let answers = run(&mut g, &first, sampled(3, 3)).await?;
                let mut next = first.clone();
                next.extend(&answers[chosen].token_ids);
                next.extend([5, 6, 7]);
                g.start(&next, sampled(2, 9))?;
                // All but the answer's last token and the three new ones.
                assert_eq!(g.cached_tokens(), first.len() + 11, "candidate {chosen}, {dtype:?}");
                while g.step().await?.is_some() {}
                let warm = g.finish().await?;
                g.reset();
                assert_eq!(tokens(&warm), tokens(&run(&mut g, &next, sampled(2, 9)).await?), "candidate {chosen}, {dtype:?}");
            }
            // The same prompt again: only its last token is read.
            g.start(&first, sampled(1, 1))?;
            g.abort_flag().set(true);
            while g.step().await?.is_some() {}
            g.finish().await?;
            g.start(&first[..10], sampled(1, 1))?;
            assert!(g.cached_tokens() <= 9);
            g.reset();
        }
        Ok(())
    }

    /// Halves in the cache: the same answer, logits and log-probabilities near those of f32, one by one and in a batch.
    async fn halves_in_the_cache_stay_close() -> Result<()> {
        for exec in devices().await {
            let (mut whole, mut half) = (with_cache(&exec, KvCacheDtype::F32).await?, with_cache(&exec, KvCacheDtype::F16).await?);
            let ids = prompt(40);
            let options = GenerateOptions { max_new_tokens: 30, ignore_eos: true, ..GenerateOptions::default() };
            let want = run(&mut whole, &ids, options.clone()).await?.remove(0);
            let three = run(&mut half, &ids, GenerateOptions { n: 3, ..options }).await?;
            assert_eq!(tokens(&three), vec![want.token_ids.clone(); 3]);
            assert_eq!(whole.cache_bytes(), 2 * half.cache_bytes());
            let furthest = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            let all: Vec<u32> = ids.into_iter().chain(want.token_ids).collect();
            let (a, b) = (whole.nll(&all, &AdapterChoice::Base).await?, half.nll(&all, &AdapterChoice::Base).await?);
            let nll = furthest(&a, &b);
            let positions = [0, 1, 39, 69];
            let (a, b) = (
                whole.logits_at(&all, &positions, &AdapterChoice::Base).await?,
                half.logits_at(&all, &positions, &AdapterChoice::Base).await?,
            );
            let logits = a.iter().zip(&b).fold(0f32, |m, (a, b)| m.max(furthest(a, b)));
            report!("{}: an f16 cache moves log-likelihoods by {nll:.1e} and logits by {logits:.1e} at most", exec.info().name);
            assert!(nll > 0.0 && nll < 2e-3 && logits < 2e-3, "log-likelihoods differ by {nll}, logits by {logits}");
            // Candidates' log-probabilities are those of the same cache, read alone.
            let sampled = run(&mut half, &all[..30], sampled(3, 5)).await?.remove(2);
            let together: Vec<u32> = all[..30].iter().copied().chain(sampled.token_ids).collect();
            let nll = half.nll(&together, &AdapterChoice::Base).await?;
            for (lp, n) in sampled.logprobs.iter().zip(&nll[29..]) {
                assert!((lp + n).abs() < 1e-3, "{lp} in the batch, {} alone", -n);
            }
        }
        Ok(())
    }

    /// More tokens than the cache was made for: it grows, and nothing changes.
    async fn the_cache_grows() -> Result<()> {
        // In a browser half a thousand tokens of the other form take a minute.
        let forms = forms().await.into_iter().take(if cfg!(target_arch = "wasm32") { 1 } else { 2 });
        for (gpu, dtype) in forms.flat_map(|g| BOTH.map(|d| (g.clone(), d))) {
            let loaded = long_context_on(&Exec::Gpu(gpu), None, dtype).await?;
            let options = GenerateOptions { max_new_tokens: 420, ignore_eos: true, ..GenerateOptions::default() };
            let mut g = Generator::new(loaded.clone())?;
            let three = run(&mut g, &prompt(9), GenerateOptions { n: 3, ..options.clone() }).await?;
            let mut g = Generator::new(loaded)?;
            let one = run(&mut g, &prompt(9), options).await?;
            assert_eq!(one[0].token_ids.len(), 420);
            assert_eq!(tokens(&three), vec![one[0].token_ids.clone(); 3], "{dtype:?}");
        }
        Ok(())
    }

    /// A sliding window: reading in chunks, decoding, and one pass over the whole sequence agree.
    async fn windows_agree() -> Result<()> {
        let mut g = Generator::new(long_context(Some(5), KvCacheDtype::F32).await?)?;
        let ids = prompt(40);
        let chunks = g.nll(&ids, &AdapterChoice::Base).await?;
        // A window of five: what lies further back does not matter beyond two layers' reach.
        let mut other = ids.clone();
        other[0] = 4;
        let far = g.nll(&other, &AdapterChoice::Base).await?;
        assert_ne!(chunks[0], far[0]);
        assert!((chunks[38] - far[38]).abs() < 1e-6);
        let got = run(&mut g, &ids[..12], GenerateOptions { max_new_tokens: 20, ignore_eos: true, ..GenerateOptions::default() })
            .await?
            .remove(0);
        let mut all = ids[..12].to_vec();
        all.extend(&got.token_ids);
        let nll = g.nll(&all, &AdapterChoice::Base).await?;
        for (lp, n) in got.logprobs.iter().zip(&nll[11..]) {
            assert!((lp + n).abs() < 1e-4, "{lp} decoding, {} reading", -n);
        }
        Ok(())
    }

    /// Text arrives in whole characters, adds up to the answer, and ends before a stop string.
    async fn streams_and_stop_strings() -> Result<()> {
        let mut g = generator().await?;
        let prompt = prompt(10);
        let mut text = String::new();
        let mut done = Vec::new();
        let options = GenerateOptions { max_new_tokens: 30, ignore_eos: true, temperature: 1.0, seed: 5, ..GenerateOptions::default() };
        let whole = g
            .run(&prompt, options.clone(), &mut |e| match e {
                Event::Text { text: t, .. } => text.push_str(&t),
                Event::Done { index, reason } => done.push((index, reason)),
                Event::Prefill { done, total } => assert!(done <= total),
            })
            .await?
            .remove(0);
        assert_eq!(text, whole.text);
        assert_eq!(done, [(0, FinishReason::Length)]);
        assert_eq!(whole.text, g.loaded().tokenizer()?.decode(&whole.token_ids, true));
        let chars: Vec<char> = whole.text.chars().collect();
        let stop: String = chars[8..11].iter().collect();
        let at = whole.text.find(&stop).expect("taken from it");
        let cut = run(&mut g, &prompt, GenerateOptions { stop_strings: vec![stop], ..options.clone() }).await?.remove(0);
        assert_eq!(cut.finish_reason, FinishReason::Stop);
        assert_eq!(cut.text, whole.text[..at]);
        assert!(cut.token_ids.len() < whole.token_ids.len() && cut.token_ids.len() == cut.logprobs.len());

        // A control token gives no text, and is met all the same, alone or with text behind it.
        let loaded = g.loaded().clone();
        let tokenizer = loaded.tokenizer()?;
        for seed in 0.. {
            let options = GenerateOptions { seed, temperature: 3.0, ..options.clone() };
            let whole = run(&mut g, &prompt, options.clone()).await?.remove(0);
            let Some(at) = whole.token_ids.iter().position(|id| tokenizer.is_special(*id)) else { continue };
            let control = tokenizer.id_to_token(whole.token_ids[at]).expect("it has a text").to_string();
            for stop in [control.clone(), tokenizer.decode(&whole.token_ids[at..at + 2], false)] {
                let cut = run(&mut g, &prompt, GenerateOptions { stop_strings: vec![stop.clone()], ..options.clone() }).await?.remove(0);
                assert_eq!(cut.finish_reason, FinishReason::Stop, "{stop:?}");
                let read = if stop == control { at + 1 } else { at + 2 };
                assert_eq!(cut.token_ids, whole.token_ids[..read], "{stop:?}");
                assert!(whole.text.starts_with(&cut.text), "{stop:?}");
            }
            break;
        }
        Ok(())
    }

    /// An abort ends within one token and leaves the generator usable; what is impossible is refused.
    async fn abort_and_refusals() -> Result<()> {
        let mut g = generator().await?;
        let p = prompt(16);
        g.start(&p, GenerateOptions { max_new_tokens: 100, ignore_eos: true, ..GenerateOptions::default() })?;
        assert!(matches!(g.start(&p, GenerateOptions::default()), Err(Error::Busy(_))));
        let mut seen = 0;
        let flag = g.abort_flag();
        while let Some(events) = g.step().await? {
            seen += events.iter().filter(|e| matches!(e, Event::Text { .. })).count();
            flag.set(seen >= 3);
        }
        let c = g.finish().await?.remove(0);
        assert_eq!(c.finish_reason, FinishReason::Abort);
        assert!(c.token_ids.len() <= 6 && !c.token_ids.is_empty(), "{}", c.token_ids.len());
        let again = run(&mut g, &p, GenerateOptions { max_new_tokens: 5, ignore_eos: true, ..GenerateOptions::default() }).await?.remove(0);
        assert_eq!(again.token_ids[..3], c.token_ids[..3]);

        let context = g.loaded().info.context_length;
        let start = |g: &mut Generator, ids: &[u32], o: GenerateOptions| g.start(ids, o).map_err(|e| e.code());
        assert_eq!(start(&mut g, &prompt(context), GenerateOptions::default()), Err("context-overflow"));
        assert_eq!(start(&mut g, &[], GenerateOptions::default()), Err("bad-config"));
        assert_eq!(start(&mut g, &[96], GenerateOptions::default()), Err("bad-config"));
        assert_eq!(start(&mut g, &p, GenerateOptions { n: 0, ..GenerateOptions::default() }), Err("bad-config"));
        assert_eq!(start(&mut g, &p, GenerateOptions { temperature: f32::NAN, ..GenerateOptions::default() }), Err("bad-config"));
        let named = GenerateOptions { adapter: AdapterChoice::Named("x".into()), ..GenerateOptions::default() };
        assert_eq!(start(&mut g, &p, named), Err("bad-adapter"));
        // As many tokens as the context leaves.
        let full = run(&mut g, &prompt(context - 3), GenerateOptions { ignore_eos: true, ..GenerateOptions::default() }).await?.remove(0);
        assert_eq!((full.token_ids.len(), full.finish_reason), (3, FinishReason::Length));
        Ok(())
    }

    /// Nothing is allocated and one submit is made per decoded token.
    async fn decoding_allocates_nothing() -> Result<()> {
        let gpu = gpu().await;
        let mut g = generator().await?;
        g.start(&prompt(16), GenerateOptions { max_new_tokens: 40, ignore_eos: true, n: 2, ..GenerateOptions::default() })?;
        for _ in 0..6 {
            g.step().await?;
        }
        let c = gpu.counters();
        let before = (c.allocations.get(), c.submits.get(), c.pipelines.get());
        for _ in 0..10 {
            g.step().await?;
        }
        assert_eq!((c.allocations.get(), c.submits.get(), c.pipelines.get()), (before.0, before.1 + 10, before.2));
        g.reset();
        Ok(())
    }

    /// Six dispatches per layer, on real GPUs five, and four more. An adapter adds its products.
    async fn a_token_takes_few_dispatches() -> Result<()> {
        let mut seen = Vec::new();
        for gpu in forms().await {
            let each = if gpu.tuning().borrow().pick("attention_small", "", "append") == "append" { 5 } else { 6 };
            seen.push(each);
            let mut g = Generator::new(long_context_on(&Exec::Gpu(gpu), None, KvCacheDtype::F32).await?)?;
            let layers = g.loaded().model.config().num_hidden_layers;
            let adapters = &g.loaded().adapters;
            let all = serde_json::from_value(json!({"r": 4, "target_modules": "all-linear"})).expect("a config");
            adapters.put("all", &*adapters.fresh(&all, 1)?)?;
            // x·Aᵀ of q, k and v, of the projection back, of gate and up, of down.
            for (adapter, each) in [(AdapterChoice::Base, each), (AdapterChoice::Named("all".into()), each + 4)] {
                for n in [1, 4] {
                    assert_eq!(g.dispatches_per_token(n, &adapter)?, each * layers + 4, "{n} candidates, {adapter:?}");
                }
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, [5, 6]);
        Ok(())
    }

    /// Whether rotation, append and attention of a token are one kernel or two: candidates, a longer answer, halves, a window.
    async fn a_token_is_the_same_from_one_kernel() -> Result<()> {
        for (window, dtype) in [(None, KvCacheDtype::F32), (None, KvCacheDtype::F16), (Some(9), KvCacheDtype::F32)] {
            let mut answers = Vec::new();
            for gpu in forms().await {
                let mut g = Generator::new(long_context_on(&Exec::Gpu(gpu), window, dtype).await?)?;
                let mut got = run(&mut g, &prompt(20), sampled(3, 5)).await?;
                let options = GenerateOptions { max_new_tokens: 40, ignore_eos: true, ..GenerateOptions::default() };
                got.extend(run(&mut g, &prompt(100), options).await?);
                answers.push(got);
            }
            let [one, other] = &answers[..] else { unreachable!("two of them") };
            for (a, b) in one.iter().zip(other) {
                assert_eq!(a.token_ids, b.token_ids, "window {window:?}, {dtype:?}");
                let near = a.logprobs.iter().zip(&b.logprobs).all(|(a, b)| (a - b).abs() < 1e-3);
                assert!(near, "window {window:?}, {dtype:?}: {:?} and {:?}", a.logprobs, b.logprobs);
            }
        }
        Ok(())
    }
);
