//! What is chosen on the host: beams and processors against Transformers, alternatives of tokens, and tokens that are looked up.

use fledgling::Error;
use fledgling::Result;
use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::generate::{Candidate, EarlyStopping, Event, FinishReason, GenerateOptions, Generator};
use fledgling::graph::Exec;
use fledgling::models::{LoadOptions, ModelLoader};
use fledgling::nn::KvCacheDtype;
use serde_json::Value;
use std::rc::Rc;

use crate::generate::{long_context_on, prompt};
use crate::harness::{cpu, devices};

/// The tiny llama whose answers end at some tokens.
async fn llama(exec: &Exec, ends: &Value) -> Result<Generator> {
    let mut config: Value = serde_json::from_str(include_str!("../fixtures/models/llama/config.json")).expect("JSON");
    config["eos_token_id"] = if ends.as_array().is_some_and(Vec::is_empty) { Value::Null } else { ends.clone() };
    let mut loader = ModelLoader::new(exec, LoadOptions::default());
    loader.add_text("config.json", config.to_string());
    loader.begin_file("model.safetensors", None)?;
    loader.push(include_bytes!("../fixtures/models/llama/model.safetensors"))?;
    loader.end_file()?;
    Generator::new(Rc::new(LoadedModel::from(loader.finish().await?)))
}

fn ids(v: &Value) -> Vec<u32> {
    v.as_array().expect("a list").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// The options of a case of the fixture.
fn options(v: &Value) -> GenerateOptions {
    let whole = |name: &str, or: u64| v[name].as_u64().unwrap_or(or) as usize;
    let number = |name: &str| v[name].as_f64().unwrap_or(1.0) as f32;
    GenerateOptions {
        n: whole("num_return_sequences", 1),
        max_new_tokens: whole("max_new_tokens", 1),
        num_beams: whole("num_beams", 1),
        length_penalty: number("length_penalty"),
        repetition_penalty: number("repetition_penalty"),
        no_repeat_ngram_size: whole("no_repeat_ngram_size", 0),
        early_stopping: match &v["early_stopping"] {
            Value::Bool(true) => EarlyStopping::True,
            Value::String(_) => EarlyStopping::Never,
            _ => EarlyStopping::False,
        },
        ..GenerateOptions::default()
    }
}

async fn run(g: &mut Generator, prompt: &[u32], options: &GenerateOptions) -> Result<Vec<Candidate>> {
    g.run(prompt, options.clone(), &mut |_| ()).await
}

/// Log-probabilities of an answer are those of the whole sequence.
async fn check_logprobs(g: &mut Generator, prompt: &[u32], c: &Candidate) -> Result<()> {
    let nll = g.nll(&[prompt, &c.token_ids].concat(), &AdapterChoice::Base).await?;
    assert_eq!(c.logprobs.len(), c.token_ids.len());
    for (t, (lp, n)) in c.logprobs.iter().zip(&nll[prompt.len() - 1..]).enumerate() {
        assert!((lp + n).abs() < 1e-4, "token {t}: {lp}, alone {}", -n);
    }
    Ok(())
}

fl_test!(
    async fn beams_are_those_of_transformers() -> Result<()> {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../fixtures/beams.json")).expect("JSON");
        let mut worst = 0f32;
        for (number, exec) in devices().await.iter().enumerate() {
            for ends in cases[..3].iter().map(|c| &c["ends"]) {
                let mut g = llama(exec, ends).await?;
                // One executor has all of the cases, the other a third of them.
                for case in cases.iter().filter(|c| c["ends"] == *ends).skip(number).step_by(if number == 0 { 3 } else { 1 }) {
                    let (prompt, o) = (ids(&case["prompt"]), options(&case["options"]));
                    let got = run(&mut g, &prompt, &o).await?;
                    let want: Vec<Vec<u32>> = case["answers"].as_array().expect("answers").iter().map(ids).collect();
                    assert_eq!(got.iter().map(|c| c.token_ids.clone()).collect::<Vec<_>>(), want, "{case}");
                    for (c, score) in got.iter().zip(case["scores"].as_array().expect("scores")) {
                        let (have, want) = (c.score.expect("of a beam"), score.as_f64().expect("a score") as f32);
                        worst = worst.max((have - want).abs() / want.abs().max(1.0));
                        let ended = c.token_ids.last().is_some_and(|id| ids(ends).contains(id));
                        assert_eq!(c.finish_reason, if ended { FinishReason::Stop } else { FinishReason::Length });
                    }
                    check_logprobs(&mut g, &prompt, &got[0]).await?;
                }
            }
        }
        report!("scores of beams are off by {worst:.1e}");
        assert!(worst < 1e-4);
        Ok(())
    }

    /// Beams outgrow the cache, a chat goes on from one of them, and a search that is ended has something to say.
    async fn beams_over_a_growing_cache() -> Result<()> {
        let model = long_context_on(&cpu(), None, KvCacheDtype::F32).await?;
        let mut g = Generator::new(model.clone())?;
        let (first, o) =
            (prompt(19), GenerateOptions { num_beams: 2, n: 2, max_new_tokens: 300, ignore_eos: true, ..GenerateOptions::default() });
        let answers = run(&mut g, &first, &o).await?;
        let next = [&first[..], &answers[1].token_ids, &[5, 6, 7]].concat();
        let few = GenerateOptions { num_beams: 3, max_new_tokens: 4, ignore_eos: true, ..GenerateOptions::default() };
        g.start(&next, few.clone())?;
        assert!(g.cached_tokens() > first.len() + 100, "{} tokens are kept", g.cached_tokens());
        while g.step().await?.is_some() {}
        let warm = g.finish().await?;
        for c in &answers {
            assert_eq!((c.token_ids.len(), c.finish_reason), (300, FinishReason::Length));
            check_logprobs(&mut g, &first, c).await?;
        }
        let mut fresh = Generator::new(model)?;
        assert_eq!(run(&mut fresh, &next, &few).await?[0].token_ids, warm[0].token_ids);
        g.start(&first, o)?;
        // Two chunks of the prompt, three tokens.
        for _ in 0..5 {
            g.step().await?;
        }
        g.abort_flag().set(true);
        let mut said = Vec::new();
        while let Some(events) = g.step().await? {
            said.extend(events);
        }
        assert_eq!(said.iter().filter(|e| matches!(e, Event::Done { reason: FinishReason::Abort, .. })).count(), 2);
        let ended = g.finish().await?;
        assert_eq!((ended.len(), ended[0].token_ids.len()), (2, 3));
        check_logprobs(&mut g, &first, &ended[0]).await
    }

    /// Alternatives change nothing of what is said; they begin with the likeliest token.
    async fn alternatives_of_tokens() -> Result<()> {
        for exec in devices().await {
            let mut g = llama(&exec, &serde_json::json!([2])).await?;
            let first = prompt(17);
            for (n, temperature) in [(1, 0.0), (3, 0.9)] {
                let o = GenerateOptions {
                    n,
                    temperature,
                    seed: 4,
                    top_k: 20,
                    max_new_tokens: 8,
                    ignore_eos: true,
                    ..GenerateOptions::default()
                };
                let plain = run(&mut g, &first, &o).await?;
                let told = run(&mut g, &first, &GenerateOptions { top_logprobs: 4, ..o }).await?;
                for (a, b) in plain.iter().zip(&told) {
                    assert_eq!(a.token_ids, b.token_ids);
                    assert!(a.top_logprobs.is_empty() && b.top_logprobs.len() == 8);
                    for (t, top) in b.top_logprobs.iter().enumerate() {
                        assert!((a.logprobs[t] - b.logprobs[t]).abs() < 1e-4);
                        assert!(top.len() == 4 && top.windows(2).all(|w| w[0].1 >= w[1].1) && top[0].1 >= b.logprobs[t]);
                        assert!(temperature > 0.0 || top[0] == (b.token_ids[t], b.logprobs[t]));
                    }
                }
            }
        }
        Ok(())
    }

    /// What was guessed and checked is what would have been said, in fewer passes.
    async fn looked_up_tokens_are_the_same() -> Result<()> {
        for (exec, tokens) in devices().await.iter().zip([40, 300]) {
            let model = long_context_on(exec, None, KvCacheDtype::F32).await?;
            let mut g = Generator::new(model)?;
            for (first, largest, most) in [([prompt(9), prompt(9), prompt(9)].concat(), 2, 10), (prompt(23), 3, 4), (vec![7; 12], 1, 1)] {
                let plain = GenerateOptions { max_new_tokens: tokens, ignore_eos: true, ..GenerateOptions::default() };
                let want = run(&mut g, &first, &plain).await?;
                g.reset();
                let o = GenerateOptions { prompt_lookup_num_tokens: most, max_matching_ngram_size: largest, ..plain };
                g.start(&first, o)?;
                let mut steps = 0;
                while g.step().await?.is_some() {
                    steps += 1;
                }
                let got = g.finish().await?;
                assert_eq!(got[0].token_ids, want[0].token_ids);
                assert!(got[0].logprobs.iter().zip(&want[0].logprobs).all(|(a, b)| (a - b).abs() < 1e-4));
                assert!(steps < tokens, "{steps} passes for {tokens} tokens");
                report!("{tokens} tokens in {steps} passes");
                // The cache is what a chat goes on from.
                let next = [&first[..], &got[0].token_ids, &[9, 8]].concat();
                let few = GenerateOptions { max_new_tokens: 3, ignore_eos: true, ..GenerateOptions::default() };
                let warm = run(&mut g, &next, &few).await?;
                g.reset();
                assert_eq!(run(&mut g, &next, &few).await?[0].token_ids, warm[0].token_ids);
            }
        }
        Ok(())
    }

    async fn what_does_not_go_together_is_refused() -> Result<()> {
        let o = GenerateOptions::default;
        for (field, o) in [
            ("n", GenerateOptions { num_beams: 2, n: 3, ..o() }),
            ("temperature", GenerateOptions { num_beams: 2, temperature: 1.0, ..o() }),
            ("stop_strings", GenerateOptions { num_beams: 2, stop_strings: vec!["a".into()], ..o() }),
            ("top_logprobs", GenerateOptions { num_beams: 2, top_logprobs: 1, ..o() }),
            ("num_beams", GenerateOptions { num_beams: 0, ..o() }),
            ("num_beams", GenerateOptions { num_beams: 65, ..o() }),
            ("length_penalty", GenerateOptions { length_penalty: 2.0, ..o() }),
            ("length_penalty", GenerateOptions { num_beams: 2, length_penalty: f32::NAN, ..o() }),
            ("early_stopping", GenerateOptions { early_stopping: EarlyStopping::Never, ..o() }),
            ("top_logprobs", GenerateOptions { top_logprobs: 21, ..o() }),
            ("max_matching_ngram_size", GenerateOptions { max_matching_ngram_size: 0, ..o() }),
            ("prompt_lookup_num_tokens", GenerateOptions { prompt_lookup_num_tokens: 64, ..o() }),
            ("prompt_lookup_num_tokens", GenerateOptions { prompt_lookup_num_tokens: 3, n: 2, ..o() }),
            ("prompt_lookup_num_tokens", GenerateOptions { prompt_lookup_num_tokens: 3, temperature: 0.5, ..o() }),
            ("prompt_lookup_num_tokens", GenerateOptions { prompt_lookup_num_tokens: 3, num_beams: 2, ..o() }),
            ("prompt_lookup_num_tokens", GenerateOptions { prompt_lookup_num_tokens: 3, no_repeat_ngram_size: 2, ..o() }),
        ] {
            match o.validate() {
                Err(Error::BadConfig { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field}: {other:?}"),
            }
        }
        // Where every token was said.
        let mut g = llama(&cpu(), &serde_json::json!([2])).await?;
        let all: Vec<u32> = (0..96).collect();
        let e = run(&mut g, &all, &GenerateOptions { no_repeat_ngram_size: 1, ..o() }).await.unwrap_err().to_string();
        assert!(e.contains("no_repeat_ngram_size"), "{e}");
        Ok(())
    }
);
