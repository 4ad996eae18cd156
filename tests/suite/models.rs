//! Tiny checkpoints against Transformers: logits, loss, every gradient, weights after one AdamW step, with and without a cache.

use std::collections::BTreeMap;

use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::formats::peft::LoraAdapter;
use fledgling::graph::{Desc, Exec, Program, ProgramOptions, StepParams, Tape, Tensor};
use fledgling::models::{Config, LoadOptions, ModelLoader, TrainInputs};
use fledgling::nn::Adapter;
use fledgling::ops::optim::{AdamW, GradNorm, Group};
use fledgling::{Error, Result};
use serde_json::Value;

use crate::harness::{devices, gpu};

/// A file of expected values.
pub struct Expected(BTreeMap<String, Vec<f64>>);

impl Expected {
    pub fn read(file: &[u8]) -> Expected {
        let size = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&file[8..8 + size]).unwrap();
        let mut out = BTreeMap::new();
        for (name, t) in header.as_object().unwrap().iter().filter(|(n, _)| *n != "__metadata__") {
            let at = |i: usize| t["data_offsets"][i].as_u64().unwrap() as usize + 8 + size;
            let words = file[at(0)..at(1)].chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
            let values = match t["dtype"].as_str() {
                Some("I32") => words.map(|b| f64::from(i32::from_le_bytes(b))).collect(),
                Some("F32") => words.map(|b| f64::from(f32::from_le_bytes(b))).collect(),
                other => panic!("{name}: {other:?}"),
            };
            out.insert(name.clone(), values);
        }
        Expected(out)
    }

    pub fn get(&self, name: &str) -> &[f64] {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} in the fixture"))
    }

    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a [f64])> {
        self.0.iter().filter_map(move |(k, v)| Some((k.strip_prefix(prefix)?, v.as_slice())))
    }

    pub fn ids(&self) -> Vec<u32> {
        self.get("input_ids").iter().map(|v| *v as u32).collect()
    }

    /// Real tokens of each row.
    pub fn lengths(&self) -> Vec<usize> {
        self.get("attention_mask").chunks(T).map(|r| r.iter().filter(|v| **v > 0.0).count()).collect()
    }

    /// Target of each position: the next label, 0xffffffff where it does not count.
    fn targets(&self) -> Vec<u32> {
        let labels = self.get("labels");
        (0..labels.len()).map(|i| if i % T + 1 == T || labels[i + 1] < 0.0 { u32::MAX } else { labels[i + 1] as u32 }).collect()
    }
}

/// Rows and columns of the fixtures' batch.
pub const B: usize = 2;
pub const T: usize = 12;

struct Fixture {
    name: &'static str,
    config: &'static str,
    weights: &'static [u8],
    expected: &'static [u8],
}

macro_rules! fixtures {
    ($($name:literal),*) => { [$(Fixture {
        name: $name,
        config: include_str!(concat!("../fixtures/models/", $name, "/config.json")),
        weights: include_bytes!(concat!("../fixtures/models/", $name, "/model.safetensors")),
        expected: include_bytes!(concat!("../fixtures/models/", $name, "/expected.safetensors")),
    }),*] };
}

fn fixtures() -> [Fixture; 6] {
    fixtures!["llama", "llama_tied", "llama3_rope", "qwen2", "qwen3", "gpt2"]
}

pub static GGUF: &[u8] = include_bytes!("../fixtures/models/llama_gguf/model.gguf");
/// The same weights as beside them, in F32.
static PLAIN_GGUFS: [(&str, &[u8]); 3] = [
    ("qwen2", include_bytes!("../fixtures/models/qwen2/model.gguf")),
    ("qwen3", include_bytes!("../fixtures/models/qwen3/model.gguf")),
    ("llama3_rope", include_bytes!("../fixtures/models/llama3_rope/model.gguf")),
];
static GGUF_EXPECTED: &[u8] = include_bytes!("../fixtures/models/llama_gguf/expected.safetensors");

/// Loads from pieces of `piece` bytes.
pub async fn load(exec: &Exec, config: Option<&str>, weights: &[u8], piece: usize, options: LoadOptions) -> Result<LoadedModel> {
    let mut loader = ModelLoader::new(exec, options);
    if let Some(c) = config {
        loader.add_text("config.json", c);
    }
    loader.begin_file("model.file", Some(weights.len() as u64))?;
    for bytes in weights.chunks(piece) {
        loader.push(bytes)?;
    }
    loader.end_file()?;
    Ok(loader.finish().await?.into())
}

/// A fixture by name.
pub async fn load_named(exec: &Exec, name: &str, options: LoadOptions) -> Result<LoadedModel> {
    let f = fixtures().into_iter().find(|f| f.name == name).expect("a fixture");
    load(exec, Some(f.config), f.weights, 1 << 20, options).await
}

pub async fn load_gguf(exec: &Exec) -> Result<LoadedModel> {
    load(exec, None, GGUF, 4099, LoadOptions::default()).await
}

/// Records the whole batch; with `train`, backward from the mean loss over counted targets.
pub fn record(loaded: &LoadedModel, e: &Expected, adapter: Option<&dyn Adapter>, train: bool, checkpoint: bool) -> Result<Tape> {
    let model = &loaded.model;
    let mut tape = Tape::new();
    let inputs = TrainInputs {
        batch: B,
        ids: tape.input("ids", Desc::u32(&[B * T])),
        positions: tape.input("positions", Desc::u32(&[B * T])),
        spans: tape.input("spans", Desc::u32(&[B * T, 2])),
        window_spans: model.window().map(|_| tape.input("window_spans", Desc::u32(&[B * T, 2]))),
        types: None,
        source: None,
    };
    let hidden = model.record_hidden(&mut tape, &inputs, adapter, train)?;
    let targets = tape.input("targets", Desc::u32(&[B * T]));
    let logp = model.record_logps(&mut tape, hidden, targets, adapter, train, adapter.is_some())?;
    tape.output("logp", logp);
    let logits = model.record_logits(&mut tape, hidden, adapter)?;
    tape.output("logits", logits);
    if train {
        let counted = e.targets().iter().filter(|t| **t != u32::MAX).count() as f64;
        let seed: Vec<f64> = e.targets().iter().map(|t| if *t == u32::MAX { 0.0 } else { -1.0 / counted }).collect();
        let seed = Tensor::from_f64(model.exec(), "dlogp", &[B * T], &seed)?;
        let seed = tape.tensor(&seed);
        tape.backward(&[(logp, seed)], checkpoint)?;
    }
    Ok(tape)
}

/// One update of all weights, as `torch.optim.AdamW` with its defaults but for the rate and the decay.
pub fn update(exec: &Exec, flat: &Tensor, grads: &Tensor) -> Result<Program> {
    let [m, v] = ["m", "v"].map(|n| Tensor::zeros(exec, n, flat.desc().clone()));
    let mut tape = Tape::new();
    let g = tape.tensor(grads);
    let norm = tape.push1(GradNorm, &[g])?;
    let state = [flat, grads, &m?, &v?].map(|t| (tape.tensor(t), true));
    let total = flat.desc().len();
    tape.push_into(AdamW { start: 0, len: total, total, group: Group { rate: 1.0, decay: 0.01 } }, &[norm], &state)?;
    Program::build(exec, &tape, ProgramOptions::default())
}

/// Runs it: (loss, logits).
pub async fn run(tape: &Tape, exec: &Exec, e: &Expected, step: &StepParams) -> Result<(f64, Vec<f32>)> {
    run_again(&Program::build(exec, tape, ProgramOptions::default())?, e, step, None).await
}

/// The same for a program that is there; `window` is the model's.
pub async fn run_again(program: &Program, e: &Expected, step: &StepParams, window: Option<usize>) -> Result<(f64, Vec<f32>)> {
    program.write("ids", &e.ids());
    program.write("positions", &(0..B * T).map(|i| (i % T) as u32).collect::<Vec<_>>());
    let lengths = e.lengths();
    let spans = |window: Option<usize>| -> Vec<u32> {
        let end = |i: usize| (i % T + 1).min(lengths[i / T]);
        (0..B * T).flat_map(|i| [window.map_or(0, |w| end(i).saturating_sub(w)) as u32, end(i) as u32]).collect()
    };
    program.write("spans", &spans(None));
    if program.has_input("window_spans") {
        program.write("window_spans", &spans(window));
    }
    program.write("targets", &e.targets());
    let out = program.run(step, &["logp", "logits"]).await?;
    let floats = |w: &[u32]| w.iter().map(|w| f32::from_bits(*w)).collect::<Vec<_>>();
    let counted = e.targets().iter().filter(|t| **t != u32::MAX).count() as f64;
    let loss = -floats(&out[0]).iter().map(|v| f64::from(*v)).sum::<f64>() / counted;
    Ok((loss, floats(&out[1])))
}

/// Largest difference, relative to the largest expected value.
pub fn difference(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let top = want.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
    got.iter().zip(want).fold(0f64, |m, (g, w)| m.max((f64::from(*g) - w).abs() / top))
}

pub fn compare_logits(what: &str, e: &Expected, name: &str, got: &[f32], tol: f64) {
    let want = e.get(name);
    let v = want.len() / (B * T);
    for (row, len) in e.lengths().iter().enumerate() {
        let range = row * T * v..(row * T + len) * v;
        let d = difference(&got[range.clone()], &want[range]);
        assert!(d <= tol, "{what}: logits of row {row} differ by {d}");
    }
}

fl_test!(
    /// Full training: logits, loss, the gradient of every parameter and what one AdamW step makes of it; plainly and with checkpointing.
    async fn every_gradient_is_transformers() -> Result<()> {
        for (exec, f) in devices().await.iter().flat_map(|exec| fixtures().into_iter().map(move |f| (exec, f))) {
            let e = Expected::read(f.expected);
            for checkpoint in [false, true] {
                let what = format!("{} on the {} (checkpoint {checkpoint})", f.name, exec.info().device);
                let options = LoadOptions { trainable: true, ..LoadOptions::default() };
                let loaded = load(exec, Some(f.config), f.weights, 1009, options).await?;
                let params = loaded.model.params();
                let grads = params.train()?;
                let tape = record(&loaded, &e, None, true, checkpoint)?;
                let (loss, logits) = run(&tape, exec, &e, &StepParams::default()).await?;
                compare_logits(&what, &e, "logits", &logits, 1e-5);
                assert!((loss - e.get("loss")[0]).abs() < 1e-5, "{what}: loss {loss}, expected {}", e.get("loss")[0]);
                let mut compared = 0;
                for (path, want) in e.under("grad/") {
                    let d = difference(&params.read_grad(path).await?, want);
                    assert!(d <= 2e-5, "{what}: gradient of {path} differs by {d}");
                    compared += 1;
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
        }
        Ok(())
    }

    /// The same logits position by position from a cache, in chunks, and the same loss.
    async fn cached_passes_agree() -> Result<()> {
        for (exec, f) in devices().await.iter().flat_map(|exec| fixtures().into_iter().map(move |f| (exec, f))) {
            let e = Expected::read(f.expected);
            let loaded = std::rc::Rc::new(load(exec, Some(f.config), f.weights, 1 << 20, LoadOptions::default()).await?);
            let mut g = fledgling::generate::Generator::new(loaded)?;
            let ids = e.ids();
            for (row, len) in e.lengths().into_iter().enumerate() {
                let ids = &ids[row * T..row * T + len];
                let at = [len - 1, 0, len / 2];
                let v = e.get("logits").len() / (B * T);
                for (got, at) in g.logits_at(ids, &at, &AdapterChoice::Base).await?.iter().zip(at) {
                    let from = (row * T + at) * v;
                    let d = difference(got, &e.get("logits")[from..from + v]);
                    assert!(d <= 1e-5, "{} row {row}: logits after position {at} differ by {d}", f.name);
                }
            }
            let nll = g.nll(&ids[..T], &AdapterChoice::Base).await?;
            let second = g.nll(&ids[T..T + e.lengths()[1]], &AdapterChoice::Base).await?;
            let targets = e.targets();
            let counted: Vec<f64> = nll
                .iter()
                .zip(&targets)
                .chain(second.iter().zip(&targets[T..]))
                .filter(|(_, t)| **t != u32::MAX)
                .map(|(n, _)| f64::from(*n))
                .collect();
            let loss = counted.iter().sum::<f64>() / counted.len() as f64;
            assert!((loss - e.get("loss")[0]).abs() < 1e-5, "{}: {loss}, expected {}", f.name, e.get("loss")[0]);
        }
        Ok(())
    }

    /// Other architectures as GGUFs: biases of q, k, v in order (qwen2), norms on q and k (qwen3), scaling as a tensor of factors (llama3).
    async fn plain_ggufs_are_their_safetensors() -> Result<()> {
        for exec in devices().await {
            for (name, file) in PLAIN_GGUFS {
                let f = fixtures().into_iter().find(|f| f.name == name).expect("a fixture");
                let e = Expected::read(f.expected);
                let loaded = load(&exec, None, file, 5003, LoadOptions::default()).await?;
                let (loss, logits) = run(&record(&loaded, &e, None, false, false)?, &exec, &e, &StepParams::default()).await?;
                compare_logits(&format!("{name}.gguf"), &e, "logits", &logits, 1e-5);
                assert!((loss - e.get("loss")[0]).abs() < 1e-5, "{name}.gguf: loss {loss}");
            }
        }
        Ok(())
    }

    /// A model whose tokenizer is of another kind answers token ids; who asks for text learns why not.
    async fn a_tokenizer_that_cannot_be_used_is_no_reason_to_refuse_the_model() -> Result<()> {
        let container = fledgling::formats::Container::parse("tiny.gguf", GGUF)?;
        let mut metadata = container.metadata.clone();
        metadata.remove("tokenizer.ggml.pre");
        metadata.insert("tokenizer.ggml.pre", fledgling::formats::Value::String("martian".into()));
        let tensors: Vec<_> = (container.tensors.iter().enumerate())
            .map(|(i, t)| Ok((t.name.as_str(), t.dtype, t.shape.as_slice(), container.bytes(GGUF, i)?)))
            .collect::<Result<_>>()?;
        let file = fledgling::formats::gguf::write(&metadata, &tensors)?;
        let loaded = load(&crate::harness::cpu(), None, &file, 1 << 20, LoadOptions::default()).await?;
        let e = loaded.tokenizer().expect_err("no such pre-tokenizer");
        assert!(e.code() == "bad-file" && e.to_string().contains("martian"), "{e}");
        let expected = Expected::read(GGUF_EXPECTED);
        let ids = expected.ids()[..T].to_vec();
        let mut g = fledgling::generate::Generator::new(std::rc::Rc::new(loaded))?;
        let got = g.logits_at(&ids, &[T - 1], &AdapterChoice::Base).await?.remove(0);
        let v = got.len();
        assert!(difference(&got, &expected.get("logits")[(T - 1) * v..T * v]) <= 1e-5);
        Ok(())
    }

    /// A packed GGUF (interleaved rows, six types, projections that cannot be fused): base, adapter, and the adapter's gradients.
    async fn packed_gguf_with_an_adapter() -> Result<()> {
        let e = Expected::read(GGUF_EXPECTED);
        for (exec, piece) in devices().await.iter().flat_map(|exec| [(exec, 4099), (exec, 1 << 20)]) {
            let loaded = load(exec, None, GGUF, piece, LoadOptions::default()).await?;
            let (loss, logits) = run(&record(&loaded, &e, None, false, false)?, exec, &e, &StepParams::default()).await?;
            compare_logits("gguf", &e, "logits", &logits, 1e-5);
            assert!((loss - e.get("loss")[0]).abs() < 1e-5, "loss {loss}");

            let config = include_str!("../fixtures/training/adapters/default/adapter_config.json");
            let weights = include_bytes!("../fixtures/training/adapters/default/adapter_model.safetensors");
            let adapter = LoraAdapter::read(config, weights)?;
            loaded.adapters.add("a", &adapter)?;
            let set = loaded.adapters.copy_of("a")?;
            set.train(exec)?;
            let tape = record(&loaded, &e, set.lora().map(|l| l as &dyn Adapter), true, piece > 4099)?;
            let (loss, logits) = run(&tape, exec, &e, &StepParams::default()).await?;
            compare_logits("gguf with adapter", &e, "adapter/logits", &logits, 1e-5);
            assert!((loss - e.get("adapter/loss")[0]).abs() < 1e-5, "loss with adapter {loss}");
            let grads = set.lora_grads().await?;
            for p in &grads.pairs {
                for (half, got) in [("A", &p.a), ("B", &p.b)] {
                    let d = difference(got, e.get(&format!("grad/base_model.model.{}.lora_{half}.weight", p.target.module)));
                    assert!(d <= 2e-5, "gradient of {}.lora_{half} differs by {d}", p.target.module);
                }
            }
            assert_eq!(grads.pairs.len(), adapter.pairs.len());
            // Scale 0 is the base.
            let (_, off) = run(&tape, exec, &e, &StepParams { lora: 0.0, ..StepParams::default() }).await?;
            compare_logits("gguf, adapter times 0", &e, "logits", &off, 1e-5);
        }
        Ok(())
    }

    /// Adapters come back as they were saved, are switched, and merged are what they were unmerged.
    async fn adapters_are_switched_and_merged() -> Result<()> {
        let gpu = gpu().await;
        let exec = Exec::Gpu(gpu.clone());
        let e = Expected::read(GGUF_EXPECTED);
        let loaded = std::rc::Rc::new(load_gguf(&exec).await?);
        let config = include_str!("../fixtures/training/adapters/default/adapter_config.json");
        let weights = include_bytes!("../fixtures/training/adapters/default/adapter_model.safetensors");
        let adapter = LoraAdapter::read(config, weights)?;
        loaded.adapters.add("first", &adapter)?;
        let (text, bytes) = loaded.adapters.save("first").await?;
        assert_eq!(LoraAdapter::read(&text, &bytes)?, adapter);
        let mut other = adapter.clone();
        other.pairs.iter_mut().for_each(|p| p.b.iter_mut().for_each(|b| *b = 0.0));
        loaded.adapters.add("none", &other)?;
        assert!(matches!(loaded.adapters.set_active(Some("missing")), Err(Error::BadAdapter(_))));
        loaded.adapters.set_active(Some("first"))?;

        let mut g = fledgling::generate::Generator::new(loaded.clone())?;
        let ids = e.ids()[..T].to_vec();
        let v = e.get("logits").len() / (B * T);
        let last = |name: &str| e.get(name)[(T - 1) * v..T * v].to_vec();
        let cases = [
            (AdapterChoice::Active, "adapter/logits"),
            (AdapterChoice::Base, "logits"),
            (AdapterChoice::Named("none".into()), "logits"),
            (AdapterChoice::Named("first".into()), "adapter/logits"),
        ];
        for (choice, name) in &cases {
            let got = g.logits_at(&ids, &[T - 1], choice).await?.remove(0);
            let d = difference(&got, &last(name));
            assert!(d <= 1e-5, "{choice:?}: logits differ by {d}");
        }
        loaded.adapters.merge("first").await?;
        assert_eq!(loaded.adapters.active(), None);
        assert_eq!(loaded.adapters.list().len(), 1);
        let got = g.logits_at(&ids, &[T - 1], &AdapterChoice::Active).await?.remove(0);
        let d = difference(&got, &last("adapter/logits"));
        // Quantized weights became F16, the BF16 ones were rounded again.
        assert!(d <= 5e-3, "merged: logits differ by {d}");
        Ok(())
    }

    /// Whatever is wrong with a file or its configuration has a name.
    async fn broken_models_are_refused() -> Result<()> {
        let exec = Exec::Gpu(gpu().await);
        let f = &fixtures()[0];
        let code = |r: Result<LoadedModel>| match r {
            Ok(_) => "loaded".to_string(),
            Err(e) => format!("{}: {e}", e.code()),
        };
        let plain = LoadOptions::default;
        let mut nan = f.weights.to_vec();
        let end = nan.len();
        nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        let mut block = GGUF.to_vec();
        // The last tensor's first block scale becomes infinite.
        let c = fledgling::formats::Container::parse("x", GGUF)?;
        let t = c.tensors.iter().find(|t| t.dtype.is_quantized()).expect("it is packed");
        block[t.offset as usize..t.offset as usize + 2].copy_from_slice(&[0, 0x7c]);
        let config = |from: &str, to: &str| {
            assert!(f.config.contains(from), "{from}");
            f.config.replace(from, to)
        };
        let cases: Vec<(&str, String, &str)> = vec![
            ("NaN", code(load(&exec, Some(f.config), &nan, 999, plain()).await), "not-finite"),
            ("scale", code(load(&exec, None, &block, 999, plain()).await), "not-finite"),
            ("cut", code(load(&exec, Some(f.config), &f.weights[..end - 10], 999, plain()).await), "bad-file"),
            ("no config", code(load(&exec, None, f.weights, 999, plain()).await), "bad-file"),
            ("not JSON", code(load(&exec, Some("{"), f.weights, 999, plain()).await), "bad-file"),
            ("t5", code(load(&exec, Some(&config("\"llama\"", "\"t5\"")), f.weights, 999, plain()).await), "unsupported-architecture"),
            (
                "layers",
                code(load(&exec, Some(&config("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3")), f.weights, 999, plain()).await),
                "bad-file",
            ),
            (
                "many",
                code(
                    load(&exec, Some(&config("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 99999999")), f.weights, 999, plain())
                        .await,
                ),
                "bad-config",
            ),
            (
                "heads",
                code(load(&exec, Some(&config("\"num_attention_heads\": 4", "\"num_attention_heads\": 0")), f.weights, 999, plain()).await),
                "bad-config",
            ),
            (
                "kv",
                code(load(&exec, Some(&config("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3")), f.weights, 999, plain()).await),
                "bad-config",
            ),
            (
                "vocab",
                code(load(&exec, Some(&config("\"vocab_size\": 96", "\"vocab_size\": 2000000")), f.weights, 999, plain()).await),
                "bad-file",
            ),
            (
                "text",
                code(load(&exec, Some(&config("\"hidden_size\": 32", "\"hidden_size\": \"x\"")), f.weights, 999, plain()).await),
                "bad-config",
            ),
            (
                "inner",
                code(load(&exec, Some(&config("\"intermediate_size\": 48", "\"intermediate_size\": 64")), f.weights, 999, plain()).await),
                "bad-file",
            ),
            (
                "rope",
                code(
                    load(&exec, Some(&config("\"rope_type\": \"default\"", "\"rope_type\": \"longrope\"")), f.weights, 999, plain()).await,
                ),
                "bad-config",
            ),
        ];
        for (what, got, want) in &cases {
            assert!(got.starts_with(want), "{what}: {got}, expected {want}");
        }
        Ok(())
    }
);

/// Frequencies of every kind of scaling against Transformers.
#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn rope_tables_are_transformers() {
    for case in crate::fixture::cases("rope_table") {
        let p = &case.params;
        let json = serde_json::json!({
            "model_type": "llama", "hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 8, "intermediate_size": 8,
            "head_dim": p["head_dim"], "max_position_embeddings": p["max_position_embeddings"], "rope_parameters": p["rope_scaling"],
        });
        let config = Config::from_json("config.json", &json.to_string()).unwrap_or_else(|e| panic!("{}: {e}", case.case));
        let (freq, attention) = config.rope.expect("a llama has one").table().unwrap();
        let want = case.data("inv_freq");
        for (got, want) in freq.iter().zip(&want) {
            assert!((f64::from(*got) / want - 1.0).abs() < 1e-6, "{}: {got}, expected {want}", case.case);
        }
        assert_eq!(freq.len(), want.len());
        assert!((attention - case.f32_param("attention_factor")).abs() < 1e-6, "{}: attention factor {attention}", case.case);
    }
}
