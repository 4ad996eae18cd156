//! Every family of `tests/oracle/families.py` against Transformers, as safetensors and as a GGUF.

use std::rc::Rc;

use fledgling::adapters::AdapterChoice;
use fledgling::formats::Container;
use fledgling::generate::{GenerateOptions, Generator};
use fledgling::graph::{Program, ProgramOptions, StepParams};
#[cfg(not(target_arch = "wasm32"))]
use fledgling::models::{Config, FAMILIES};
use fledgling::models::{GgufMerge, LoadOptions};
use fledgling::{Error, Result};

use crate::harness::devices;
use crate::models::{B, Expected, T, compare_logits, difference, load, record, run_again, update};

pub struct Fixture {
    pub name: &'static str,
    pub config: &'static str,
    pub weights: &'static [u8],
    /// The same weights as llama.cpp's converter writes them, where the family has GGUFs of its own.
    pub gguf: Option<&'static [u8]>,
    pub expected: &'static [u8],
}

macro_rules! fixture {
    ($name:literal, $gguf:expr) => {
        Fixture {
            name: $name,
            config: include_str!(concat!("../fixtures/models/", $name, "/config.json")),
            weights: include_bytes!(concat!("../fixtures/models/", $name, "/model.safetensors")),
            gguf: $gguf,
            expected: include_bytes!(concat!("../fixtures/models/", $name, "/expected.safetensors")),
        }
    };
    ($name:literal) => {
        fixture!($name, Some(include_bytes!(concat!("../fixtures/models/", $name, "/model.gguf"))))
    };
}

pub fn fixtures() -> Vec<Fixture> {
    vec![
        fixture!("gemma"),
        fixture!("gemma2"),
        fixture!("gemma3"),
        fixture!("phi3"),
        fixture!("gpt_neox"),
        fixture!("gpt_neox_sequential"),
        fixture!("mistral", None),
        fixture!("qwen3_windows", None),
        fixture!("smollm3"),
        fixture!("olmo2"),
        fixture!("granite"),
        fixture!("stablelm"),
        fixture!("stablelm_parallel"),
        fixture!("starcoder2"),
        fixture!("cohere"),
        fixture!("cohere2"),
        fixture!("glm4"),
    ]
}

fl_test!(
    /// Full training: logits, loss, the gradient of every parameter, and ten steps; on the processor with checkpointing.
    async fn every_family_trains_as_transformers_trains_it() -> Result<()> {
        for (exec, f) in devices().await.iter().flat_map(|exec| fixtures().into_iter().map(move |f| (exec, f))) {
            let e = Expected::read(f.expected);
            let what = format!("{} on the {}", f.name, exec.info().device);
            let options = LoadOptions { trainable: true, ..LoadOptions::default() };
            let loaded = load(exec, Some(f.config), f.weights, 1009, options).await.map_err(|e| {
                report!("{what}: {e}");
                e
            })?;
            let params = loaded.model.params();
            let grads = params.train()?;
            let tape = record(&loaded, &e, None, true, exec.is_processor())?;
            let program = Program::build(exec, &tape, ProgramOptions::default())?;
            let window = loaded.model.window();
            let (loss, logits) = run_again(&program, &e, &StepParams::default(), window).await?;
            compare_logits(&what, &e, "logits", &logits, 1e-5);
            assert!((loss - e.get("loss")[0]).abs() < 2e-5, "{what}: loss {loss}, expected {}", e.get("loss")[0]);
            let mut compared = 0;
            for (path, want) in e.under("grad/") {
                let d = difference(&params.read_grad(path).await?, want);
                assert!(d <= 5e-5, "{what}: gradient of {path} differs by {d}");
                compared += 1;
            }
            assert_eq!(compared, params.paths().count(), "{what}: every parameter has a gradient to compare");
            if !exec.is_processor() {
                continue;
            }
            let adamw = update(exec, &params.arena().expect("loaded trainable").flat, &grads)?;
            for (i, want) in e.get("curve").iter().enumerate() {
                let t = i as i32 + 1;
                let step = StepParams {
                    learning_rate: 1e-3,
                    correction1: 1.0 - 0.9f32.powi(t),
                    correction2: 1.0 - 0.999f32.powi(t),
                    ..StepParams::default()
                };
                // Gradients add up: those of the first step are there already.
                let (loss, _) = if i == 0 {
                    (loss, Vec::new())
                } else {
                    grads.set_f64(exec, &vec![0.0; grads.desc().len()]);
                    run_again(&program, &e, &step, window).await?
                };
                assert!((loss - want).abs() < 5e-4, "{what}: loss {loss} in step {i}, expected {want}");
                adamw.submit(&step);
            }
        }
        Ok(())
    }

    /// A GGUF and the safetensors give the same, from a cache as without, and go on with the same tokens.
    async fn every_family_answers_from_either_format() -> Result<()> {
        for (exec, f) in devices().await.iter().flat_map(|exec| fixtures().into_iter().map(move |f| (exec, f))) {
            let e = Expected::read(f.expected);
            for (format, config, file) in [("safetensors", Some(f.config), Some(f.weights)), ("gguf", None, f.gguf)]
                .into_iter()
                .filter_map(|(n, c, w)| Some((n, c, w?)))
            {
                let what = format!("{} as {format} on the {}", f.name, exec.info().device);
                let loaded = load(exec, config, file, 5003, LoadOptions::default()).await.map_err(|e| {
                    report!("{what}: {e}");
                    e
                })?;
                let mut g = Generator::new(Rc::new(loaded))?;
                let (ids, v) = (e.ids(), e.get("logits").len() / (B * T));
                for (row, len) in e.lengths().into_iter().enumerate() {
                    let at = [len - 1, 0, len / 2];
                    for (got, at) in g.logits_at(&ids[row * T..row * T + len], &at, &AdapterChoice::Base).await?.iter().zip(at) {
                        let d = difference(got, &e.get("logits")[(row * T + at) * v..][..v]);
                        assert!(d <= 2e-5, "{what}, row {row}: logits after position {at} differ by {d}");
                    }
                }
                let greedy: Vec<u32> = e.get("greedy").iter().map(|v| *v as u32).collect();
                let options = GenerateOptions { max_new_tokens: 8, ignore_eos: true, ..GenerateOptions::default() };
                g.reset();
                let got = g.run(&greedy[..4], options, &mut |_| ()).await?.remove(0).token_ids;
                assert_eq!(got, greedy[4..], "{what}: greedy tokens");
            }
        }
        Ok(())
    }
);

fl_test!(
    /// An adapter added to the weights of a GGUF, from file to file, and to those on a device: in the file's order of rows.
    async fn every_gguf_takes_an_adapter_into_its_weights() -> Result<()> {
        let exec = crate::harness::cpu();
        for (f, gguf) in fixtures().into_iter().filter_map(|f| f.gguf.map(|g| (f, g))) {
            let loaded = Rc::new(load(&exec, None, gguf, 1 << 20, LoadOptions::default()).await?);
            let config = serde_json::json!({"r": 2, "lora_alpha": 4, "target_modules": "all-linear"});
            let set = loaded.adapters.fresh(&serde_json::from_value(config).expect("a config"), 7)?;
            let mut adapter = set.export_lora().await?;
            for (i, pair) in adapter.pairs.iter_mut().enumerate() {
                pair.b.iter_mut().enumerate().for_each(|(k, b)| *b = ((i * 31 + k * 17) % 13) as f32 / 26.0 - 0.25);
            }
            loaded.adapters.add("a", &adapter)?;
            let ids = Expected::read(f.expected).ids()[..T].to_vec();
            let mut g = Generator::new(loaded.clone())?;
            let logits = |v: Vec<Vec<f32>>| v[0].iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
            let base = logits(g.logits_at(&ids, &[T - 1], &AdapterChoice::Base).await?);
            let want = logits(g.logits_at(&ids, &[T - 1], &AdapterChoice::Named("a".into())).await?);
            assert!(base.iter().zip(&want).any(|(a, b)| (a - b).abs() > 0.1), "{}: the adapter does nothing", f.name);

            let container = Container::parse("tiny.gguf", gguf)?;
            let merge = GgufMerge::new(&container, &adapter)?;
            let tensors = merge.tensors();
            let bytes = (0..tensors.len()).map(|i| merge.bytes(i, container.bytes(gguf, i)?)).collect::<Result<Vec<_>>>()?;
            let all: Vec<_> = tensors.iter().zip(&bytes).map(|((n, d, s), b)| (n.as_str(), *d, s.as_slice(), b.as_ref())).collect();
            let file = fledgling::formats::gguf::write(&container.metadata, &all)?;
            let mut merged = Generator::new(Rc::new(load(&exec, None, &file, 1 << 20, LoadOptions::default()).await?))?;
            let d = difference(&merged.logits_at(&ids, &[T - 1], &AdapterChoice::Base).await?[0], &want);
            assert!(d <= 2e-5, "{}, merged into its file: logits differ by {d}", f.name);
            loaded.adapters.merge("a").await?;
            let d = difference(&g.logits_at(&ids, &[T - 1], &AdapterChoice::Base).await?[0], &want);
            assert!(d <= 2e-5, "{}, merged on the device: logits differ by {d}", f.name);
        }
        Ok(())
    }
);

fl_test!(
    /// Weights that the configuration has no place for would change every answer: they are not passed over.
    async fn weights_without_a_place_are_refused() -> Result<()> {
        let f = fixtures().into_iter().find(|f| f.name == "stablelm").expect("a fixture");
        let config = f.config.replace("\"use_qkv_bias\": true", "\"use_qkv_bias\": false");
        assert_ne!(config, f.config);
        match load(&crate::harness::cpu(), Some(&config), f.weights, 999, LoadOptions::default()).await {
            Err(Error::BadFile { message, .. }) => assert!(message.contains("_proj.bias"), "{message}"),
            Err(e) => panic!("{e}"),
            Ok(_) => panic!("biases were passed over"),
        }
        Ok(())
    }
);

/// What changes the mathematics is honoured, or refused by the field's name.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn fields_are_honoured_or_refused() {
    let config = |name: &str, key: &str, value: serde_json::Value| {
        let f = fixtures().into_iter().find(|f| f.name == name).expect("a fixture");
        let mut c: serde_json::Value = serde_json::from_str(f.config).expect("a fixture's");
        c[key] = value;
        Config::from_json("config.json", &c.to_string())
    };
    let ok = |name: &str, key: &str, value: serde_json::Value| config(name, key, value).unwrap_or_else(|e| panic!("{name}, {key}: {e}"));
    assert_eq!(ok("gemma2", "query_pre_attn_scalar", 144.into()).attention_scale, 1.0 / 12.0);
    assert_eq!(ok("gemma2", "attn_logit_softcapping", serde_json::Value::Null).attn_logit_softcapping, None);
    assert_eq!(ok("gemma3", "final_logit_softcapping", 30.into()).final_logit_softcapping, Some(30.0));
    assert_eq!(ok("gemma3", "sliding_window_pattern", 2.into()).windowed, [true, false, true, false, true, false]);
    assert_eq!(
        ok("cohere2", "layer_types", serde_json::json!(["sliding_attention", "full_attention", "full_attention", "sliding_attention"]))
            .rotated,
        [true, false, false, true]
    );
    assert_eq!(ok("smollm3", "no_rope_layers", serde_json::json!([0, 1, 1, 1])).rotated, [false, true, true, true]);
    assert_eq!(ok("granite", "logits_scaling", 8.into()).logit_scale, 0.125);
    let refused = [
        ("gemma", "use_bidirectional_attention", serde_json::json!(true)),
        ("gemma3", "attn_logit_softcapping", serde_json::json!(50.0)),
        ("smollm3", "no_rope_layers", serde_json::json!([1, 0])),
        ("granite", "logits_scaling", serde_json::json!(0)),
        ("cohere2", "layer_types", serde_json::json!(["chunked_attention", "full_attention", "full_attention", "full_attention"])),
        ("gemma2", "attn_logit_softcapping", serde_json::json!(-1)),
        ("gpt_neox", "rotary_pct", serde_json::json!(1.5)),
    ];
    for (name, key, value) in refused {
        let field = if key == "rotary_pct" { "partial_rotary_factor" } else { key };
        match config(name, key, value) {
            Err(Error::BadConfig { field: found, .. }) => assert_eq!(found, field, "{name}"),
            other => panic!("{name}, {key}: {other:?}"),
        }
    }
}

/// Whoever adds a line to the registry adds a fixture.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn every_family_has_a_fixture() {
    let type_of =
        |config: &str| serde_json::from_str::<serde_json::Value>(config).expect("a fixture's")["model_type"].as_str().map(str::to_string);
    let mut tried: Vec<String> = fixtures().iter().filter_map(|f| type_of(f.config)).collect();
    // Those of tests/suite/models.rs.
    tried.extend(["llama", "qwen2", "qwen3", "gpt2"].map(String::from));
    tried.extend(crate::encoders::model_types());
    tried.extend(crate::translators::model_types());
    for f in FAMILIES {
        assert!(f.model_types.iter().any(|t| tried.iter().any(|x| x == t)), "{} has no fixture", f.name);
    }
}
