//! Encoder-decoders of `tests/oracle/translators.py` against Transformers: logits with the target given, every gradient, a step of AdamW; what they
//! learn from rows; answers with a cache, greedy and by beams; and what is refused.

use std::rc::Rc;

use fledgling::adapters::{ActiveAdapter, AdapterChoice, LoadedModel};
use fledgling::data::{Batch, Example, Front, IGNORE, Layout};
use fledgling::encode::Encodings;
use fledgling::generate::{EarlyStopping, GenerateOptions, Generator};
use fledgling::graph::{Desc, Exec, Program, ProgramOptions, StepParams, Tape, Tensor};
use fledgling::models::{Config, Judge, LoadOptions, TrainInputs};
use fledgling::nn::Adapter;
use fledgling::ops::embedding::GatherRows;
use fledgling::tune::Training;
use fledgling::{Error, Result};
use serde_json::{Value, json};

use crate::harness::{cpu, devices};
use crate::models::{Expected, difference, load, update};

/// Tokens of a source and of a target.
const S: usize = 12;
const T: usize = 9;

struct Fixture {
    name: &'static str,
    config: &'static str,
    weights: &'static [u8],
    expected: &'static [u8],
}

macro_rules! fixtures {
    ($($name:literal),*) => { vec![$(Fixture {
        name: $name,
        config: include_str!(concat!("../fixtures/models/", $name, "/config.json")),
        weights: include_bytes!(concat!("../fixtures/models/", $name, "/model.safetensors")),
        expected: include_bytes!(concat!("../fixtures/models/", $name, "/expected.safetensors")),
    }),*] };
}

fn fixtures() -> Vec<Fixture> {
    fixtures!["bart", "mbart", "marian"]
}

/// The model types that these fixtures try.
#[cfg(not(target_arch = "wasm32"))]
pub fn model_types() -> Vec<String> {
    fixtures().into_iter().map(|f| f.name.to_string()).collect()
}

/// Both sources, without their padding.
fn sources(e: &Expected) -> Vec<Vec<u32>> {
    let (ids, mask) = (e.ids(), e.get("attention_mask"));
    let real = |row: usize| (row * S..(row + 1) * S).filter(|i| mask[*i] > 0.0).map(|i| ids[i]).collect();
    (0..2).map(real).collect()
}

/// The fixture's rows; `all` judges every token that the decoder reads.
fn examples(e: &Expected, all: bool) -> Vec<Example> {
    let (read, labels) = (e.get("decoder_input_ids"), e.get("labels"));
    let of = |(row, source): (usize, Vec<u32>)| {
        let range = row * T..(row + 1) * T;
        let ids = read[range.clone()].iter().map(|v| *v as u32).collect();
        let label = |v: &f64| if *v < 0.0 && !all { IGNORE } else { v.max(0.0) as u32 };
        let labels: Vec<u32> = labels[range].iter().map(label).collect();
        Example { source, ..Example::in_place(ids, &labels, Vec::new()) }
    };
    sources(e).into_iter().enumerate().map(of).collect()
}

fn write(program: &Program, batch: &Batch) {
    for (name, values) in [
        ("ids", &batch.ids),
        ("positions", &batch.positions),
        ("spans", &batch.spans),
        ("source_ids", &batch.sources.ids),
        ("source_positions", &batch.sources.positions),
        ("source_spans", &batch.sources.spans),
        ("cross_spans", &batch.sources.cross),
        ("gather", &batch.gather),
        ("inverse", &batch.inverse),
        ("targets", &batch.targets),
    ] {
        if program.has_input(name) {
            program.write(name, values);
        }
    }
}

/// Logits of all tokens of the decoder, one row after the other.
async fn logits(exec: &Exec, loaded: &LoadedModel, examples: &[&Example]) -> Result<Vec<f32>> {
    logits_with(exec, loaded, examples, None).await
}

async fn logits_with(exec: &Exec, loaded: &LoadedModel, examples: &[&Example], adapter: Option<&ActiveAdapter>) -> Result<Vec<f32>> {
    let model = &loaded.model;
    let batch = model.lay_out(examples, Layout::Auto, Front::Nothing);
    let mut tape = Tape::new();
    let inputs = TrainInputs::declare(&mut tape, model, &batch.shape);
    let placed = adapter.map(|a| a.set.place(&mut tape, batch.ids.len(), batch.shape.batch, false)).transpose()?;
    let placed = placed.as_ref().map(|a| a as &dyn Adapter);
    let all = model.record_hidden(&mut tape, &inputs, placed, false)?;
    let (gather, inverse) = (tape.input("gather", Desc::u32(&[batch.shape.rows])), tape.input("inverse", Desc::u32(&[batch.ids.len()])));
    let hidden = tape.push1(GatherRows, &[all, gather, inverse])?;
    let logits = model.record_logits(&mut tape, hidden, placed)?;
    tape.output("logits", logits);
    let program = Program::build(exec, &tape, ProgramOptions::default())?;
    write(&program, &batch);
    let step = StepParams { lora: f32::from(u8::from(adapter.is_some())), ..StepParams::default() };
    let mut said = program.run_f32(&step, "logits").await?;
    said.truncate(batch.counted * model.config().vocab_size);
    Ok(said)
}

/// Loss and gradients of a fixture's batch.
async fn learn(exec: &Exec, loaded: &LoadedModel, e: &Expected, checkpoint: bool) -> Result<f64> {
    let (model, examples) = (&loaded.model, examples(e, false));
    let batch = model.lay_out(&examples.iter().collect::<Vec<_>>(), Layout::Auto, Front::Nothing);
    let (rows, counted) = (batch.shape.rows, batch.counted);
    let mut tape = Tape::new();
    let inputs = TrainInputs::declare(&mut tape, model, &batch.shape);
    let all = model.record_hidden(&mut tape, &inputs, None, true)?;
    let (gather, inverse) = (tape.input("gather", Desc::u32(&[rows])), tape.input("inverse", Desc::u32(&[batch.ids.len()])));
    let targets = tape.input("targets", Desc::u32(&[rows]));
    let hidden = tape.push1(GatherRows, &[all, gather, inverse])?;
    let said = model.record_judged(&mut tape, hidden, targets, None, Judge { train: true, ..Judge::default() })?.logps;
    tape.output("said", said);
    let seed: Vec<f64> = (0..rows).map(|i| if i < counted { -1.0 / counted as f64 } else { 0.0 }).collect();
    let seed = Tensor::from_f64(exec, "seed", &tape.desc(said).shape, &seed)?;
    let seed = tape.tensor(&seed);
    tape.backward(&[(said, seed)], checkpoint)?;
    let program = Program::build(exec, &tape, ProgramOptions::default())?;
    write(&program, &batch);
    let said = program.run_f32(&StepParams::default(), "said").await?;
    Ok(said[..counted].iter().map(|v| -f64::from(*v)).sum::<f64>() / counted as f64)
}

/// Whether the same is added to all scores of a query by it, so that there is nothing but rounding.
fn is_idle(path: &str) -> bool {
    path.ends_with("k_proj.bias")
}

fn rows(e: &Expected) -> Vec<Value> {
    let labels: Vec<i64> = e.get("labels").iter().map(|v| *v as i64).collect();
    let of = |(source, labels): (Vec<u32>, &[i64])| json!({"input_ids": source, "labels": labels});
    sources(e).into_iter().zip(labels.chunks(T)).map(of).collect()
}

/// Answers of Transformers to a fixture's sources: the cache, greedy and beams.
async fn check_answers(name: &str) -> Result<()> {
    let f = fixtures().into_iter().find(|f| f.name == name).expect("a fixture");
    let e = Expected::read(f.expected);
    for exec in devices().await {
        let loaded = Rc::new(load(&exec, Some(f.config), f.weights, 1 << 20, LoadOptions::default()).await?);
        let mut g = Generator::new(loaded)?;
        for (i, source) in sources(&e).iter().enumerate() {
            for num_beams in [1, 3] {
                let o = GenerateOptions { max_new_tokens: 12, num_beams, ..GenerateOptions::default() };
                let got = g.run(source, o, &mut |_| ()).await?.remove(0);
                let want: Vec<u32> = e.get(&format!("beams{num_beams}/{i}")).iter().map(|id| *id as u32).collect();
                assert_eq!(
                    (got.token_ids, got.prompt_tokens),
                    (want, source.len()),
                    "{name}, {num_beams} beams, on the {}",
                    exec.info().device
                );
            }
        }
    }
    Ok(())
}

/// Answers with a cache have the log-probabilities of passes over whole sequences, wherever their tokens are chosen.
async fn check_cached(exec: &Exec, loaded: &Rc<LoadedModel>, source: &[u32], adapter: &AdapterChoice) -> Result<()> {
    let active = loaded.adapters.resolve(adapter)?;
    let config = loaded.model.config();
    let start = config.shape.encoder_decoder().and_then(|e| e.start.token()).expect("a start");
    let mut g = Generator::new(loaded.clone())?;
    for top_logprobs in [0, 1] {
        let (n, adapter) = (2, adapter.clone());
        let o = GenerateOptions {
            n,
            max_new_tokens: 6,
            temperature: 1.0,
            seed: 7,
            ignore_eos: true,
            top_logprobs,
            adapter,
            ..GenerateOptions::default()
        };
        for c in g.run(source, o, &mut |_| ()).await? {
            let read = [&[start], &c.token_ids[..c.token_ids.len() - 1]].concat();
            let example = Example { source: source.to_vec(), ..Example::in_place(read, &c.token_ids, Vec::new()) };
            let all = logits_with(exec, loaded, &[&example], active.as_ref()).await?;
            assert_eq!((c.token_ids.len(), all.len()), (6, 6 * config.vocab_size));
            for ((row, id), said) in all.chunks(config.vocab_size).zip(&c.token_ids).zip(&c.logprobs) {
                let sum: f64 = row.iter().map(|v| f64::from(*v).exp()).sum();
                let d = f64::from(row[*id as usize]) - sum.ln() - f64::from(*said);
                assert!(d.abs() < 2e-5, "{} on the {}: {said} is off by {d}", config.model_type, exec.info().device);
            }
        }
    }
    Ok(())
}

fl_test!(
    async fn bart_answers_as_in_transformers() -> Result<()> {
        check_answers("bart").await
    }

    async fn mbart_answers_as_in_transformers() -> Result<()> {
        check_answers("mbart").await
    }

    async fn marian_answers_as_in_transformers() -> Result<()> {
        check_answers("marian").await
    }

    /// Several answers of one source, sampled: their tokens share what they read of the encoder.
    async fn cached_answers_are_those_without_a_cache() -> Result<()> {
        for (exec, name) in devices().await.iter().zip(["bart", "mbart"]) {
            let f = fixtures().into_iter().find(|f| f.name == name).expect("a fixture");
            let loaded = Rc::new(load(exec, Some(f.config), f.weights, 1 << 20, LoadOptions::default()).await?);
            check_cached(exec, &loaded, &sources(&Expected::read(f.expected))[1], &AdapterChoice::Base).await?;
        }
        Ok(())
    }

    /// Tokens that must or cannot come, by what the model's files say; penalties; scores of beams. One executor has all of the cases, the other some.
    async fn rules_are_those_of_transformers() -> Result<()> {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../fixtures/translations.json")).expect("JSON");
        let ids = |v: &Value| v.as_array().expect("a list").iter().map(|id| id.as_u64().expect("an id") as u32).collect::<Vec<_>>();
        for (number, exec) in devices().await.iter().enumerate() {
            for case in cases.iter().step_by(1 + 3 * number) {
                let f = fixtures().into_iter().find(|f| f.name == case["model"]).expect("a fixture");
                let mut config: Value = serde_json::from_str(f.config).expect("JSON");
                config.as_object_mut().expect("an object").extend(case["rules"].as_object().expect("rules").clone());
                let loaded = load(exec, Some(&config.to_string()), f.weights, 1 << 20, LoadOptions::default()).await?;
                let o = &case["options"];
                let whole = |name: &str, or: u64| o[name].as_u64().unwrap_or(or) as usize;
                let number = |name: &str| o[name].as_f64().unwrap_or(1.0) as f32;
                let options = GenerateOptions {
                    n: whole("num_return_sequences", 1),
                    max_new_tokens: whole("max_new_tokens", 1),
                    num_beams: whole("num_beams", 1),
                    length_penalty: number("length_penalty"),
                    repetition_penalty: number("repetition_penalty"),
                    no_repeat_ngram_size: whole("no_repeat_ngram_size", 0),
                    early_stopping: match &o["early_stopping"] {
                        Value::Bool(true) => EarlyStopping::True,
                        Value::String(_) => EarlyStopping::Never,
                        _ => EarlyStopping::False,
                    },
                    ..GenerateOptions::default()
                };
                let got = Generator::new(Rc::new(loaded))?.run(&ids(&case["source"]), options, &mut |_| ()).await?;
                let want: Vec<Vec<u32>> = case["answers"].as_array().expect("answers").iter().map(ids).collect();
                assert_eq!(got.iter().map(|c| c.token_ids.clone()).collect::<Vec<_>>(), want, "{case} on the {}", exec.info().device);
                for (c, score) in got.iter().zip(case["scores"].as_array().expect("scores")) {
                    let (have, want) = (c.score.expect("of a beam"), score.as_f64().expect("a score") as f32);
                    assert!((have - want).abs() < 1e-4 * want.abs().max(1.0), "{have}: {case}");
                }
            }
        }
        Ok(())
    }

    /// A file of its own for generation holds in place of the model's configuration; without either, an answer that is cut ends as the class ends it.
    async fn files_say_what_answers_hold() -> Result<()> {
        let f = fixtures().remove(0);
        let rules = |c: &Config| c.shape.encoder_decoder().expect("one").rules.clone();
        let mut old: Value = serde_json::from_str(f.config).expect("JSON");
        old.as_object_mut().expect("an object").remove("forced_eos_token_id");
        let mut config = Config::from_json("config.json", &old.to_string())?;
        assert_eq!((rules(&config).forced_eos_token_id, rules(&config).decoder_start_token_id), (vec![2], Some(2)));
        let file = json!({"eos_token_id": [2, 5], "forced_bos_token_id": 3, "bad_words_ids": [[1], [4, 6]]}).to_string();
        config.add_generation_config("generation_config.json", &file)?;
        let now = rules(&config);
        assert_eq!((config.eos_token_ids.clone(), now.forced_bos_token_id, now.forced_eos_token_id), (vec![2, 5], Some(3), Vec::new()));
        assert_eq!(now.bad_words_ids, [vec![1], vec![4, 6]]);
        for (wrong, field) in [
            (json!({"forced_bos_token_id": 48}), "forced_bos_token_id"),
            (json!({"forced_eos_token_id": [2, 48]}), "forced_eos_token_id"),
            (json!({"bad_words_ids": [[48]]}), "bad_words_ids"),
            (json!({"bad_words_ids": [4]}), "bad_words_ids"),
            (json!({"bad_words_ids": [[]]}), "bad_words_ids"),
        ] {
            match config.clone().add_generation_config("generation_config.json", &wrong.to_string()) {
                Err(Error::BadConfig { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{wrong}: {other:?}"),
            }
        }
        Ok(())
    }

    /// With the target given: both rows together, whose sources differ in length, and each alone.
    async fn every_encoder_decoder_answers_as_transformers_does() -> Result<()> {
        for (exec, f) in devices().await.iter().flat_map(|exec| fixtures().into_iter().map(move |f| (exec, f))) {
            let e = Expected::read(f.expected);
            let what = format!("{} on the {}", f.name, exec.info().device);
            let loaded = load(exec, Some(f.config), f.weights, 5003, LoadOptions::default()).await?;
            let examples = examples(&e, true);
            let d = difference(&logits(exec, &loaded, &examples.iter().collect::<Vec<_>>()).await?, e.get("logits"));
            assert!(d <= 2e-5, "{what}: logits differ by {d}");
            let row = e.get("logits").len() / 2;
            let d = difference(&logits(exec, &loaded, &[&examples[1]]).await?, &e.get("logits")[row..]);
            assert!(d <= 2e-5, "{what}: logits of the second row alone differ by {d}");
        }
        Ok(())
    }

    /// Full training: loss, the gradient of every parameter, and what a step of AdamW makes of it; on the processor with checkpointing.
    async fn every_encoder_decoder_trains_as_transformers_trains_it() -> Result<()> {
        for (exec, f) in devices().await.iter().flat_map(|exec| fixtures().into_iter().map(move |f| (exec, f))) {
            let e = Expected::read(f.expected);
            let what = format!("{} on the {}", f.name, exec.info().device);
            let options = LoadOptions { trainable: true, ..LoadOptions::default() };
            let loaded = load(exec, Some(f.config), f.weights, 1009, options).await?;
            let params = loaded.model.params();
            let grads = params.train()?;
            let loss = learn(exec, &loaded, &e, exec.is_processor()).await?;
            assert!((loss - e.get("loss")[0]).abs() < 2e-5, "{what}: loss {loss}, expected {}", e.get("loss")[0]);
            let constant = params.read("final_logits_bias").await?;
            let mut compared = 0;
            for (path, want) in e.under("grad/") {
                let got = params.read_grad(path).await?;
                compared += 1;
                if is_idle(path) {
                    assert!(got.iter().all(|g| g.abs() < 1e-5), "{what}: gradient of {path} is {got:?}");
                    continue;
                }
                let (mut got, mut want) = (got, want.to_vec());
                if path == "model.shared.weight" && f.name == "marian" {
                    // PyTorch leaves out what the padding token gets where it is read, and Marian's decoder begins with it: refused below.
                    let (pad, width) = (47, loaded.model.config().hidden_size);
                    got.drain(pad * width..(pad + 1) * width);
                    want.drain(pad * width..(pad + 1) * width);
                }
                let d = difference(&got, &want);
                assert!(d <= 5e-5, "{what}: gradient of {path} differs by {d}");
            }
            // The constant bias of the logits has none.
            assert_eq!(compared + 1, params.paths().count(), "{what}: every parameter has a gradient to compare");
            let arena = params.arena().expect("loaded trainable");
            let step = StepParams { learning_rate: 1e-3, correction1: 1.0 - 0.9, correction2: 1.0 - 0.999, ..StepParams::default() };
            update(exec, &arena.flat, &grads)?.submit(&step);
            for (path, want) in e.under("after/") {
                let grad = e.get(&format!("grad/{path}"));
                let padding = |i: usize| f.name == "marian" && path == "model.shared.weight" && i / loaded.model.config().hidden_size == 47;
                let after = params.read(path).await?;
                for (_, ((got, want), g)) in after.iter().zip(want).zip(grad).enumerate().filter(|(i, _)| !padding(*i)) {
                    // The first step is lr·sign(g): where g is rounding, so is the sign.
                    let d = (f64::from(*got) - want).abs();
                    assert!(g.abs() < 1e-5 || d <= 1e-5, "{what}: {path} after a step is {got}, expected {want} (gradient {g})");
                }
            }
            assert_eq!(params.read("final_logits_bias").await?, constant, "{what}");
        }
        Ok(())
    }

    /// Rows of token ids whose labels are the target, in a training: the first loss is Transformers', and it falls. By LoRA, whose configuration says
    /// what it is of, and with all weights.
    async fn targets_are_learned() -> Result<()> {
        for (exec, (name, full)) in devices().await.iter().zip([("mbart", true), ("marian", false)]) {
            let f = fixtures().into_iter().find(|f| f.name == name).expect("a fixture");
            let e = Expected::read(f.expected);
            let options = LoadOptions { trainable: full, ..LoadOptions::default() };
            let loaded = Rc::new(load(exec, Some(f.config), f.weights, 1 << 20, options).await?);
            let mut args = json!({"max_steps": 4, "learning_rate": 2e-2, "per_device_train_batch_size": 2, "warmup_ratio": 0.0});
            match full {
                true => args["full"] = json!(true),
                false => args["r"] = json!(2),
            }
            let mut training = Training::new(&loaded, "sft", &args, &rows(&e), None).await?;
            let mut losses = Vec::new();
            while let Some(m) = training.step().await? {
                losses.push(m.metrics.get("loss").expect("sft has one"));
            }
            let want = e.get("trained")[0];
            assert!((losses[0] - want).abs() < 2e-5, "{name}: {losses:?}, expected {want}");
            assert!(losses[3] < losses[0], "{name}: {losses:?}");
            if !full {
                let config = loaded.adapters.config(training.adapter_name()).expect("it was trained");
                assert!(config.to_json().contains("SEQ_2_SEQ_LM"), "{}", config.to_json());
                let [own, none] = [AdapterChoice::Named(training.adapter_name().into()), AdapterChoice::Base];
                let mut g = Generator::new(loaded.clone())?;
                let o =
                    |adapter: &AdapterChoice| GenerateOptions { max_new_tokens: 2, adapter: adapter.clone(), ..GenerateOptions::default() };
                let with = g.run(&sources(&e)[0], o(&own), &mut |_| ()).await?.remove(0);
                let without = g.run(&sources(&e)[0], o(&none), &mut |_| ()).await?.remove(0);
                assert!(with.logprobs[0] != without.logprobs[0], "{with:?}");
                check_cached(exec, &loaded, &sources(&e)[0], &own).await?;
            }
        }
        Ok(())
    }

    /// What such a model does not do is said by name, before anything is read.
    async fn the_rest_is_refused() -> Result<()> {
        let f = fixtures().remove(0);
        let e = Expected::read(f.expected);
        let loaded = Rc::new(load(&cpu(), Some(f.config), f.weights, 1 << 20, LoadOptions::default()).await?);
        let said = |e: Error| e.to_string();
        for (method, args, rows, word) in [
            ("dpo", json!({}), rows(&e), "needs a decoder"),
            ("grpo", json!({}), rows(&e), "needs a decoder"),
            ("kto", json!({}), rows(&e), "needs a decoder"),
            ("sft", json!({"packing": true}), rows(&e), "packing"),
            ("sft", json!({"neftune_noise_alpha": 5.0}), rows(&e), "neftune_noise_alpha"),
            ("sft", json!({"task_type": "CAUSAL_LM"}), rows(&e), "SEQ_2_SEQ_LM"),
            ("sft", json!({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2}), rows(&e), "LORA"),
            ("sft", json!({}), vec![json!({"input_ids": [4, 5]})], "labels"),
            ("sft", json!({}), vec![json!({"input_ids": [4, 5], "labels": [-100, -100, -100]})], "nothing to learn"),
            ("sft", json!({}), vec![json!({"text": "a"})], "encoder-decoder"),
            ("sft", json!({}), vec![json!({"input_ids": [4, 5], "labels": [4], "token_type_ids": [0, 0]})], "token_type_ids"),
        ] {
            let error = Training::new(&loaded, method, &args, &rows, None).await.map(|_| ()).map_err(said).expect_err(method);
            assert!(error.contains(word), "{method} {args}: {error}");
        }
        let f = fixtures().into_iter().find(|f| f.name == "marian").expect("a fixture");
        let options = LoadOptions { trainable: true, ..LoadOptions::default() };
        let marian = Rc::new(load(&cpu(), Some(f.config), f.weights, 1 << 20, options).await?);
        let error =
            Training::new(&marian, "sft", &json!({"full": true}), &rows(&e), None).await.map(|_| ()).map_err(said).expect_err("full");
        assert!(error.contains("padding token"), "{error}");
        let error = Encodings::new(loaded.clone()).map(|_| ()).map_err(said).expect_err("no encoder");
        assert!(error.contains("needs an encoder"), "{error}");
        assert!(loaded.adapters.resolve(&AdapterChoice::Active)?.is_none());
        let mut g = Generator::new(loaded.clone())?;
        let error = g.nll(&[4, 5], &AdapterChoice::Base).await.map_err(said).expect_err("no decoder");
        assert!(error.contains("needs a decoder"), "{error}");
        for (source, lookup, word) in [(vec![4; 21], 0, "20"), (vec![4, 48], 0, "vocabulary"), (vec![], 0, "empty"), (vec![4], 2, "lookup")]
        {
            let options = GenerateOptions { prompt_lookup_num_tokens: lookup, ..GenerateOptions::default() };
            let error = g.start(&source, options).map_err(said).expect_err(word);
            assert!(error.contains(word), "{word}: {error}");
        }
        let f = fixtures().into_iter().find(|f| f.name == "mbart").expect("a fixture");
        let config = f.config.replace("\"decoder_start_token_id\": 3", "\"decoder_start_token_id\": null");
        let mut g = Generator::new(Rc::new(load(&cpu(), Some(&config), f.weights, 1 << 20, LoadOptions::default()).await?))?;
        let error = g.start(&[4, 5], GenerateOptions::default()).map_err(said).expect_err("a start");
        assert!(error.contains("decoder_start_token_id"), "{error}");
        g.start(&[4, 5], GenerateOptions { decoder_start_token_id: Some(3), ..GenerateOptions::default() })?;
        Ok(())
    }
);
