//! Encoders of `tests/oracle/encoders.py` against Transformers: what heads give, every gradient, a step of AdamW, vectors of sequences.

use std::rc::Rc;

use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::data::{Batch, Example, Front, IGNORE, Layout};
use fledgling::encode::{Encoded, Encodings};
use fledgling::generate::Generator;
use fledgling::graph::{Desc, Exec, Program, ProgramOptions, StepParams, Tape, Tensor};
use fledgling::models::{Judge, LoadOptions, ModelLoader, Pooling, Problem, Scope, TrainInputs};
use fledgling::ops::embedding::GatherRows;
use fledgling::ops::loss::GatherLogps;
use fledgling::tune::Training;
use fledgling::{Error, Result};

use crate::harness::{cpu, devices};
use crate::models::{Expected, T, difference, load, update};

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
    fixtures![
        "bert",
        "bert_sequence",
        "bert_tokens",
        "minilm",
        "roberta",
        "roberta_sequence",
        "distilbert",
        "distilbert_sequence",
        "modernbert",
        "modernbert_sequence"
    ]
}

fn fixture(name: &str) -> Fixture {
    fixtures().into_iter().find(|f| f.name == name).expect("a fixture")
}

/// The model types that these fixtures try.
#[cfg(not(target_arch = "wasm32"))]
pub fn model_types() -> Vec<String> {
    let of =
        |f: Fixture| serde_json::from_str::<serde_json::Value>(f.config).expect("a fixture's")["model_type"].as_str().map(str::to_string);
    fixtures().into_iter().filter_map(of).collect()
}

/// Which head a fixture has.
#[derive(Clone, Copy, PartialEq)]
enum Head {
    Tokens,
    Classes(Scope),
}

fn head(f: &Fixture) -> Head {
    match f.name {
        n if n.ends_with("_sequence") => Head::Classes(Scope::Sequence),
        n if n.ends_with("_tokens") => Head::Classes(Scope::Tokens),
        _ => Head::Tokens,
    }
}

fn sequences(e: &Expected) -> Vec<Encoded> {
    let (ids, types) = (e.ids(), e.get("token_type_ids"));
    let lengths = e.lengths();
    (0..lengths.len())
        .map(|i| {
            let range = i * T..i * T + lengths[i];
            Encoded { ids: ids[range.clone()].to_vec(), types: types[range].iter().map(|v| *v as u32).collect() }
        })
        .collect()
}

/// The fixture's rows as a training takes them.
fn examples(e: &Expected, head: Head) -> Vec<Example> {
    let labels = e.get("labels");
    let label = |v: f64| if v < 0.0 { IGNORE } else { v as u32 };
    let of = |(i, s): (usize, Encoded)| {
        let labels = match head {
            Head::Classes(Scope::Sequence) => vec![label(labels[i].max(0.0))],
            _ => labels[i * T..i * T + s.ids.len()].iter().map(|v| label(*v)).collect(),
        };
        Example::in_place(s.ids, &labels, s.types)
    };
    sequences(e).into_iter().enumerate().map(of).collect()
}

fn inputs(tape: &mut Tape, loaded: &LoadedModel, batch: &Batch) -> TrainInputs {
    let (m, model) = (batch.ids.len(), &loaded.model);
    TrainInputs {
        batch: batch.shape.batch,
        ids: tape.input("ids", Desc::u32(&[m])),
        positions: tape.input("positions", Desc::u32(&[m])),
        spans: tape.input("spans", Desc::u32(&[m, 2])),
        window_spans: model.window().map(|_| tape.input("window_spans", Desc::u32(&[m, 2]))),
        types: model.has_types().then(|| tape.input("types", Desc::u32(&[m]))),
        source: None,
    }
}

fn write(program: &Program, batch: &Batch) {
    for (name, values) in [
        ("ids", &batch.ids),
        ("positions", &batch.positions),
        ("spans", &batch.spans),
        ("window_spans", &batch.window_spans),
        ("types", &batch.types),
        ("gather", &batch.gather),
        ("inverse", &batch.inverse),
        ("targets", &batch.targets),
    ] {
        if program.has_input(name) {
            program.write(name, values);
        }
    }
}

/// Loss and gradients of a fixture's batch.
async fn learn(exec: &Exec, loaded: &LoadedModel, f: &Fixture, e: &Expected, checkpoint: bool) -> Result<f64> {
    let (model, head) = (&loaded.model, head(f));
    let examples = examples(e, head);
    let batch = model.lay_out(&examples.iter().collect::<Vec<_>>(), Layout::Auto, Front::Nothing);
    let mut tape = Tape::new();
    let inputs = inputs(&mut tape, loaded, &batch);
    let all = model.record_hidden(&mut tape, &inputs, None, true)?;
    let (rows, m) = (batch.shape.rows, batch.ids.len());
    let (gather, inverse) = (tape.input("gather", Desc::u32(&[rows])), tape.input("inverse", Desc::u32(&[m])));
    let targets = tape.input("targets", Desc::u32(&[rows]));
    let hidden = tape.push1(GatherRows, &[all, gather, inverse])?;
    let regression = head != Head::Tokens && model.encoder("")?.classifier.problem == Problem::Regression;
    let counted = batch.counted;
    let said = match head {
        Head::Tokens => model.record_judged(&mut tape, hidden, targets, None, Judge { train: true, ..Judge::default() })?.logps,
        Head::Classes(scope) => {
            let classes = model.record_classes(&mut tape, hidden, scope, None, true)?;
            if regression { classes } else { tape.push(GatherLogps { spread: false, smoothing: 0.0 }, &[classes, targets])?[0] }
        }
    };
    tape.output("said", said);
    let seed = |said: &[f64]| -> Vec<f64> {
        let of = |i: usize| match (i < counted, regression) {
            (false, _) => 0.0,
            (true, false) => -1.0 / counted as f64,
            (true, true) => 2.0 * (said[i] - e.get("labels")[i]) / counted as f64,
        };
        (0..rows).map(of).collect()
    };
    let step = StepParams::default();
    // A regression's gradient depends on what is said: a pass before it tells.
    let mut known = vec![0.0; rows];
    if regression {
        let mut plain = Tape::new();
        let inputs = self::inputs(&mut plain, loaded, &batch);
        let all = model.record_hidden(&mut plain, &inputs, None, false)?;
        let (gather, inverse) = (plain.input("gather", Desc::u32(&[rows])), plain.input("inverse", Desc::u32(&[m])));
        let hidden = plain.push1(GatherRows, &[all, gather, inverse])?;
        let classes = model.record_classes(&mut plain, hidden, Scope::Sequence, None, false)?;
        plain.output("said", classes);
        let program = Program::build(exec, &plain, ProgramOptions::default())?;
        write(&program, &batch);
        known = program.run_f32(&step, "said").await?.into_iter().map(f64::from).collect();
    }
    let seed = Tensor::from_f64(exec, "seed", &tape.desc(said).shape, &seed(&known))?;
    let seed = tape.tensor(&seed);
    tape.backward(&[(said, seed)], checkpoint)?;
    let program = Program::build(exec, &tape, ProgramOptions::default())?;
    write(&program, &batch);
    let said = program.run_f32(&step, "said").await?;
    let of = |i: usize| match regression {
        true => (f64::from(said[i]) - e.get("labels")[i]).powi(2),
        false => -f64::from(said[i]),
    };
    Ok((0..counted).map(of).sum::<f64>() / counted as f64)
}

fl_test!(
    /// Full training: loss, the gradient of every parameter, and what a step of AdamW makes of it; on the processor with checkpointing.
    async fn every_encoder_trains_as_transformers_trains_it() -> Result<()> {
        let all = || fixtures().into_iter().filter(|f| f.name != "minilm");
        for (exec, f) in devices().await.iter().flat_map(|exec| all().map(move |f| (exec, f))) {
            let e = Expected::read(f.expected);
            let what = format!("{} on the {}", f.name, exec.info().device);
            let options = LoadOptions { trainable: true, ..LoadOptions::default() };
            let loaded = load(exec, Some(f.config), f.weights, 1009, options).await?;
            let params = loaded.model.params();
            let grads = params.train()?;
            let loss = learn(exec, &loaded, &f, &e, exec.is_processor()).await?;
            assert!((loss - e.get("loss")[0]).abs() < 2e-5, "{what}: loss {loss}, expected {}", e.get("loss")[0]);
            let mut compared = 0;
            for (path, want) in e.under("grad/") {
                let got = params.read_grad(path).await?;
                compared += 1;
                // Without rotation the same is added to all scores of a query: there is nothing but rounding.
                if path.ends_with("key.bias") || path.ends_with("k_lin.bias") {
                    assert!(got.iter().all(|g| g.abs() < 1e-5), "{what}: gradient of {path} is {got:?}");
                    continue;
                }
                let d = difference(&got, want);
                assert!(d <= 5e-5, "{what}: gradient of {path} differs by {d}");
            }
            assert_eq!(compared, params.paths().count(), "{what}: every parameter has a gradient to compare");
            let arena = params.arena().expect("loaded trainable");
            let step = StepParams { learning_rate: 1e-3, correction1: 1.0 - 0.9, correction2: 1.0 - 0.999, ..StepParams::default() };
            update(exec, &arena.flat, &grads)?.submit(&step);
            for (path, want) in e.under("after/") {
                let grad = e.get(&format!("grad/{path}"));
                for ((got, want), g) in params.read(path).await?.iter().zip(want).zip(grad) {
                    // The first step is lr·sign(g): where g is rounding, so is the sign.
                    let d = (f64::from(*got) - want).abs();
                    assert!(g.abs() < 1e-5 || d <= 1e-5, "{what}: {path} after a step is {got}, expected {want} (gradient {g})");
                }
            }
        }
        Ok(())
    }

    /// What heads give, alone and beside others; vectors as sentence-transformers makes them.
    async fn every_encoder_answers_as_transformers_does() -> Result<()> {
        for (exec, f) in devices().await.iter().flat_map(|exec| fixtures().into_iter().map(move |f| (exec, f))) {
            let e = Expected::read(f.expected);
            let what = format!("{} on the {}", f.name, exec.info().device);
            let loaded = Rc::new(load(exec, Some(f.config), f.weights, 5003, LoadOptions::default()).await?);
            let mut encoder = Encodings::new(loaded.clone())?;
            let rows = sequences(&e);
            let near = |got: &[f32], want: &[f64], what: &str| {
                let d = difference(got, want);
                assert!(d <= 2e-5, "{what} differ by {d}");
            };
            if f.name == "minilm" {
                let width = loaded.model.config().hidden_size;
                for (i, got) in encoder.states(&rows, &AdapterChoice::Base).await?.iter().enumerate() {
                    near(got, &e.get("hidden")[i * T * width..][..got.len()], &format!("{what}: states of row {i}"));
                }
                near(&encoder.pooled(&rows, &AdapterChoice::Base).await?.concat(), e.get("pooler"), &format!("{what}: pooled"));
                let vectors = encoder.embed(&rows, Pooling::Mean, true, &AdapterChoice::Base).await?;
                near(&vectors.concat(), e.get("mean"), &format!("{what}: vectors"));
                let first = encoder.embed(&rows, Pooling::First, false, &AdapterChoice::Base).await?;
                near(&first[1], &e.get("hidden")[T * width..][..width], &format!("{what}: first states"));
                // Whatever else is in the batch, and wherever: the same vector.
                let many: Vec<Encoded> =
                    (0..40).flat_map(|i| [rows[i % 2].clone(), Encoded { ids: vec![5; 1 + i % 19], types: vec![] }]).collect();
                for pooling in [Pooling::Mean, Pooling::First] {
                    let alone = encoder.embed(&rows[..1], pooling, true, &AdapterChoice::Base).await?;
                    let among = encoder.embed(&many, pooling, true, &AdapterChoice::Base).await?;
                    for at in [0, 4, 40, 76] {
                        let want: Vec<f64> = alone[0].iter().map(|v| f64::from(*v)).collect();
                        near(&among[at], &want, &format!("{what}: vector {at} of many"));
                    }
                }
                continue;
            }
            match head(&f) {
                Head::Tokens => {
                    let v = loaded.model.config().vocab_size;
                    for (i, row) in rows.iter().enumerate() {
                        let at: Vec<usize> = (0..row.ids.len()).rev().collect();
                        for (got, t) in encoder.logits(row, &at, &AdapterChoice::Base).await?.iter().zip(at) {
                            near(got, &e.get("logits")[(i * T + t) * v..][..v], &format!("{what}: logits of token {t} of row {i}"));
                        }
                    }
                }
                Head::Classes(scope) => {
                    let together = encoder.classes(&rows, scope, &AdapterChoice::Base).await?;
                    let wide = e.get("logits").len() / if scope == Scope::Tokens { 2 * T } else { 2 };
                    let each = if scope == Scope::Tokens { T * wide } else { wide };
                    for (i, got) in together.iter().enumerate() {
                        near(got, &e.get("logits")[i * each..][..got.len()], &format!("{what}: classes of row {i}"));
                        let alone = encoder.classes(&rows[i..=i], scope, &AdapterChoice::Base).await?;
                        near(&alone[0], &e.get("logits")[i * each..][..got.len()], &format!("{what}: classes of row {i} alone"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Masked tokens are learned from rows of token ids: all weights and by LoRA, whose adapter PEFT's configuration describes.
    async fn masked_tokens_are_learned() -> Result<()> {
        for (exec, name) in devices().await.iter().zip(["roberta", "bert"]) {
            let f = fixture(name);
            let e = Expected::read(f.expected);
            let labels = e.get("labels");
            let of = |(i, s): (usize, Encoded)| {
                let labels: Vec<i64> = labels[i * T..i * T + s.ids.len()].iter().map(|v| *v as i64).collect();
                let mut row = serde_json::json!({"input_ids": s.ids, "labels": labels});
                if name == "bert" {
                    row["token_type_ids"] = serde_json::json!(s.types);
                }
                row
            };
            let rows: Vec<_> = sequences(&e).into_iter().enumerate().map(of).collect();
            for full in [true, false] {
                let loaded = load(exec, Some(f.config), f.weights, 4001, LoadOptions { trainable: full, ..LoadOptions::default() }).await?;
                let mut args = serde_json::json!({"per_device_train_batch_size": 2, "max_steps": 8, "learning_rate": if full { 3e-3 } else { 3e-2 },
                    "full": full, "lr_scheduler_type": "constant"});
                if !full {
                    args["peft_config"] = serde_json::json!({"r": 4, "lora_alpha": 8, "task_type": "FEATURE_EXTRACTION"});
                }
                let mut t = Training::new(&loaded, "sft", &args, &rows, None).await?;
                let mut losses = Vec::new();
                while let Some(m) = t.step().await? {
                    losses.push(m.metrics.loss());
                }
                let want = e.get("loss")[0];
                assert!((losses[0] - want).abs() < 2e-5, "{name}: loss {}, expected {want}", losses[0]);
                assert!(losses[7] < 0.8 * losses[0], "{name}, full {full}: {losses:?}");
                if full {
                    continue;
                }
                let (config, weights) = loaded.adapters.save("default").await?;
                assert!(config.contains("FEATURE_EXTRACTION"), "{config}");
                // As PEFT writes it of the bare encoder, and as it was.
                let row = &sequences(&e)[0];
                let loaded = Rc::new(loaded);
                let want =
                    Encodings::new(loaded.clone())?.embed(std::slice::from_ref(row), Pooling::Mean, true, &AdapterChoice::Active).await?;
                let again = Rc::new(load(exec, Some(f.config), f.weights, 4001, LoadOptions::default()).await?);
                let plain = fledgling::formats::peft::PeftAdapter::read(&config, &weights)?;
                again.adapters.add("again", &plain)?;
                let got = Encodings::new(again)?
                    .embed(std::slice::from_ref(row), Pooling::Mean, true, &AdapterChoice::Named("again".into()))
                    .await?;
                assert!(difference(&got[0], &want[0].iter().map(|v| f64::from(*v)).collect::<Vec<_>>()) < 1e-5);
            }
            let loaded = load(exec, Some(f.config), f.weights, 4001, LoadOptions::default()).await?;
            for (method, args, rows, word) in [
                ("sft", serde_json::json!({"packing": true}), &rows[..], "packing"),
                ("dpo", serde_json::json!({}), &rows[..], "needs a decoder"),
                ("sft", serde_json::json!({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}), &rows[..], "LORA"),
                ("sft", serde_json::json!({}), &[serde_json::json!({"text": "a"})][..], "encoder"),
                ("sft", serde_json::json!({}), &[serde_json::json!({"input_ids": [3, 4]})][..], "labels"),
            ] {
                let said = Training::new(&loaded, method, &args, rows, None).await.err().expect("it is refused").to_string();
                assert!(said.contains(word), "{said}");
            }
        }
        Ok(())
    }

    /// What a shape cannot do is refused by name, and so is what a file's heads cannot give.
    async fn shapes_are_not_confused() -> Result<()> {
        let exec = cpu();
        let f = fixture("minilm");
        let loaded = Rc::new(load(&exec, Some(f.config), f.weights, 999, LoadOptions::default()).await?);
        let model = |e: Error| match e {
            Error::BadConfig { field, message } if field == "model" => message,
            e => panic!("{e}"),
        };
        assert!(model(Generator::new(loaded.clone()).err().expect("it writes nothing")).contains("needs a decoder"));
        let mut encoder = Encodings::new(loaded)?;
        let row = Encoded { ids: vec![3, 4], types: vec![] };
        let said = encoder.logits(&row, &[0], &AdapterChoice::Base).await.expect_err("no such head");
        assert!(model(said).contains("no head for masked tokens"));
        let said = encoder.classes(std::slice::from_ref(&row), Scope::Sequence, &AdapterChoice::Base).await.expect_err("no such head");
        assert!(model(said).contains("classifier"));
        let of = |types: Vec<u32>| [Encoded { ids: vec![3, 4], types }];
        for (types, message) in [(vec![0], "1 numbers for 2 tokens"), (vec![0, 2], "holds 2")] {
            match encoder.embed(&of(types), Pooling::Mean, true, &AdapterChoice::Base).await {
                Err(Error::BadConfig { field, message: m }) => assert!(field == "token_type_ids" && m.contains(message), "{field}: {m}"),
                other => panic!("{other:?}"),
            }
        }
        let decoder = Rc::new(crate::models::load_named(&exec, "llama", LoadOptions::default()).await?);
        assert!(model(Encodings::new(decoder).err().expect("no encoder")).contains("needs an encoder"));
        Ok(())
    }

    /// How a folder says that vectors are made; what is not implemented is refused by name.
    async fn sentence_files_are_read() -> Result<()> {
        let f = fixture("minilm");
        let read = |files: &[(&str, &str)]| {
            let mut loader = ModelLoader::new(&cpu(), LoadOptions::default());
            loader.add_text("config.json", f.config);
            files.iter().for_each(|(name, text)| loader.add_text(name, *text));
            loader.begin_file("model.safetensors", None)?;
            loader.push(f.weights)?;
            loader.end_file()?;
            Ok::<_, Error>(loader.finish())
        };
        let modules = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;
        let pooling = r#"{"word_embedding_dimension": 16, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
        let length = r#"{"max_seq_length": 12, "do_lower_case": false}"#;
        let all = [("modules.json", modules), ("1_Pooling/config.json", pooling), ("sentence_bert_config.json", length)];
        let s = read(&all)?.await?.sentence.expect("it is said");
        assert_eq!((s.pooling, s.normalize, s.max_length), (Pooling::First, true, Some(12)));
        let other = pooling.replace("\"pooling_mode_mean_tokens\": false", "\"pooling_mode_max_tokens\": true");
        // The model is there for all else; who wants a vector is told.
        match read(&[("modules.json", modules), ("1_Pooling/config.json", &other)])?.await?.sentence() {
            Err(Error::BadConfig { field, .. }) => assert_eq!(field, "pooling_mode_max_tokens"),
            other => panic!("{other:?}"),
        }
        match read(&[("modules.json", &modules.replace("models.Normalize", "models.Dense")), all[1]])?.await?.sentence() {
            Err(Error::BadConfig { field, message }) => assert!(field == "modules.json" && message.contains("Dense"), "{message}"),
            other => panic!("{other:?}"),
        }
        // A decoder has no use for such files.
        let mut loader = ModelLoader::new(&cpu(), LoadOptions::default());
        loader.add_text("config.json", include_str!("../fixtures/models/llama/config.json"));
        [("modules.json", modules), ("1_Pooling/config.json", &other)].iter().for_each(|(name, text)| loader.add_text(name, *text));
        loader.begin_file("model.safetensors", None)?;
        loader.push(include_bytes!("../fixtures/models/llama/model.safetensors"))?;
        loader.end_file()?;
        assert!(loader.finish().await?.sentence().is_ok());
        Ok(())
    }
);
