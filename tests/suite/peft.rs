//! Adapters as PEFT writes them: the fixtures of `tests/fixtures/training/adapters` come from PEFT itself.
use std::collections::BTreeMap;

use fledgling::formats::Container;
use fledgling::formats::peft::{LoraAdapter, LoraConfig, LoraPair, OneOrMany, SavedTensor, Target};
use fledgling::formats::safetensors::{self, TensorView};
use fledgling::tensor::{DType, quantize};
use serde_json::{Value as Json, json};

macro_rules! folder {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../fixtures/training/adapters/", $name, "/adapter_config.json")),
            include_bytes!(concat!("../fixtures/training/adapters/", $name, "/adapter_model.safetensors")).as_slice(),
            include_str!(concat!("../fixtures/training/adapters/", $name, "/scales.json")),
        )
    };
}

fn folders() -> [(&'static str, &'static str, &'static [u8], &'static str); 7] {
    [
        folder!("default"),
        folder!("patterns"),
        folder!("patterns_rslora"),
        folder!("regex"),
        folder!("rslora"),
        folder!("subset"),
        folder!("head"),
    ]
}

/// Paths of the linear modules of a two-layer Llama.
fn linears() -> Vec<String> {
    let layer = |i: usize| {
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
            .map(|n| format!("model.layers.{i}.{n}"))
    };
    (0..2).flat_map(layer).chain(["lm_head".to_string()]).collect()
}

fn chosen(config: &LoraConfig) -> Vec<String> {
    let all = linears();
    config.targets(all.iter().map(String::as_str), Some("lm_head")).unwrap().into_iter().map(|t| t.module).collect()
}

fn many(names: &[&str]) -> Option<OneOrMany<String>> {
    Some(OneOrMany::Many(names.iter().map(|s| s.to_string()).collect()))
}

fn one(text: &str) -> Option<OneOrMany<String>> {
    Some(OneOrMany::One(text.into()))
}

fn tiny() -> LoraAdapter {
    let config = LoraConfig { r: 2, lora_alpha: 4.0, target_modules: many(&["q_proj"]), ..LoraConfig::default() };
    let target = Target { module: "model.layers.0.self_attn.q_proj".into(), r: 2, alpha: 4.0, scale: 2.0 };
    let (a, b) = ((0..6).map(|i| i as f32).collect(), (0..8).map(|i| i as f32 * 0.5).collect());
    LoraAdapter {
        config,
        pairs: vec![LoraPair { target, in_features: 3, out_features: 4, a, b, ..LoraPair::default() }],
        saved: Vec::new(),
    }
}

/// A safetensors file with another name of a tensor.
fn rename(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let c = Container::parse("x", file).unwrap();
    let all: Vec<_> = (0..c.tensors.len()).map(|i| (&c.tensors[i], c.bytes(file, i).unwrap())).collect();
    let named = |name: &str| if name == from { to.to_string() } else { name.to_string() };
    let names: Vec<String> = all.iter().map(|(t, _)| named(&t.name)).collect();
    let views: Vec<TensorView> =
        all.iter().zip(&names).map(|((t, bytes), name)| TensorView { name, dtype: t.dtype, shape: &t.shape, bytes }).collect();
    safetensors::write("x", &views, &BTreeMap::new()).unwrap()
}

fl_test! {
    async fn reads_what_peft_writes_and_writes_the_same() {
        for (name, config, weights, scales) in folders() {
            let adapter = LoraAdapter::read(config, weights).unwrap_or_else(|e| panic!("{name}: {e}"));
            let scales: BTreeMap<String, f64> = serde_json::from_str(scales).unwrap();
            let found: BTreeMap<String, f64> =
                adapter.pairs.iter().map(|p| (format!("base_model.model.{}", p.target.module), p.target.scale)).collect();
            assert_eq!(found.keys().collect::<Vec<_>>(), scales.keys().collect::<Vec<_>>(), "{name}");
            for (module, scale) in &scales {
                assert!((found[module] - scale).abs() < 1e-12, "{name} {module}: {} {scale}", found[module]);
            }
            // The config chooses among all modules exactly those that have weights.
            let mut modules = chosen(&adapter.config);
            modules.sort();
            assert_eq!(modules, adapter.pairs.iter().map(|p| p.target.module.clone()).collect::<Vec<_>>(), "{name}");
            let (text, bytes) = adapter.write().unwrap();
            assert_eq!(text, config, "{name}: the config is written as PEFT writes it");
            // PEFT stores a copy of the output layer's own weights beside its A and B, and loads an adapter without it just the same.
            if name == "head" {
                assert_eq!(LoraAdapter::read(&text, &bytes).unwrap(), adapter);
                continue;
            }
            assert_eq!(bytes, weights, "{name}: the weights are written as PEFT writes them");
        }
    }

    /// What `modules_to_save` names is stored whole, under PEFT's key; what it does not name is refused.
    async fn whole_modules_are_read_and_written() {
        let mut adapter = tiny();
        adapter.config.task_type = Some("SEQ_CLS".into());
        adapter.config.modules_to_save = Some(vec!["classifier".into(), "score".into()]);
        adapter.saved = vec![SavedTensor { path: "score.weight".into(), shape: vec![2, 3], values: (0..6).map(|i| i as f32 - 2.5).collect() }];
        let (config, bytes) = adapter.write().unwrap();
        let file = Container::parse("x", &bytes).unwrap();
        let i = file.index_of("base_model.model.score.weight").expect("PEFT's key");
        assert_eq!(file.tensors[i].shape, [2, 3]);
        let read = LoraAdapter::read(&config, &bytes).unwrap();
        assert_eq!((&read.pairs, &read.saved), (&adapter.pairs, &adapter.saved));
        assert_eq!(adapter.parameters(), 6 + 8 + 6);
        // As it is called in a running PEFT model.
        let running = rename(&bytes, "base_model.model.score.weight", "base_model.model.score.modules_to_save.default.weight");
        assert_eq!(LoraAdapter::read(&config, &running).unwrap().saved, adapter.saved);
        adapter.config.modules_to_save = None;
        let e = LoraAdapter::read(&adapter.config.to_json(), &bytes).unwrap_err();
        assert!(e.code() == "bad-adapter" && e.to_string().contains("score.weight"), "{e}");
    }

    async fn chooses_modules_as_peft_does() {
        let with = |t| LoraConfig { target_modules: t, ..LoraConfig::default() };
        assert_eq!(chosen(&with(one("all-linear"))).len(), 14);
        assert_eq!(chosen(&with(one("ALL-LINEAR"))).len(), 14);
        assert_eq!(chosen(&with(many(&["q_proj", "lm_head"]))).len(), 3);
        assert_eq!(chosen(&with(many(&["self_attn.q_proj"]))).len(), 2);
        assert_eq!(chosen(&with(many(&["model.layers.1.mlp.up_proj"]))), ["model.layers.1.mlp.up_proj"]);
        assert_eq!(chosen(&with(one(r".*\.1\..*"))).len(), 7);
        let excluding = LoraConfig { exclude_modules: many(&["down_proj"]), ..with(one("all-linear")) };
        assert_eq!(chosen(&excluding).len(), 12);
        let excluding = LoraConfig { exclude_modules: one(r".*layers\.0.*"), ..with(many(&["q_proj", "v_proj"])) };
        assert_eq!(chosen(&excluding), ["model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"]);
        let layer = |layers, pattern| LoraConfig {
            layers_to_transform: Some(layers),
            layers_pattern: pattern,
            ..with(many(&["q_proj"]))
        };
        assert_eq!(chosen(&layer(OneOrMany::One(1), None)), ["model.layers.1.self_attn.q_proj"]);
        assert_eq!(chosen(&layer(OneOrMany::Many(vec![0, 1]), one("layers"))).len(), 2);
        assert_eq!(chosen(&layer(OneOrMany::Many(vec![]), None)).len(), 2);

        for nothing in [with(many(&["proj"])), with(None), with(many(&[])), layer(OneOrMany::One(0), one("h"))] {
            let all = linears();
            let e = nothing.targets(all.iter().map(String::as_str), Some("lm_head")).unwrap_err();
            assert!(e.code() == "bad-config" && e.to_string().contains("q_proj"), "{e}");
        }
    }

    async fn all_linear_is_written_as_names() {
        let all = linears();
        let names = || all.iter().map(String::as_str);
        let config = LoraConfig { target_modules: one("all-linear"), ..LoraConfig::default() };
        let resolved = config.resolved(names(), Some("lm_head")).unwrap();
        assert_eq!(resolved.target_modules, many(&["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]));
        // Where the last parts would choose more, whole paths are written.
        let odd = ["a.x", "b.x"];
        let resolved = config.resolved(odd, Some("b.x")).unwrap();
        assert_eq!(resolved.target_modules, many(&["a.x"]));
    }

    async fn fields_of_a_later_peft_survive_where_they_are_not_set() {
        let text = r#"{"peft_type":"LORA","r":4.0,"target_modules":["q_proj"],"lora_alpha":2.5,"layers_to_transform":[0.0],
            "use_later":false,"later_config":null}"#;
        let written = LoraConfig::parse("c", &format!("\u{feff}{text}")).unwrap().to_json();
        let back: Json = serde_json::from_str(&written).unwrap();
        assert_eq!((&back["use_later"], &back["later_config"], &back["r"]), (&json!(false), &Json::Null, &json!(4)));
        assert_eq!((&back["lora_alpha"], &back["layers_to_transform"]), (&json!(2.5), &json!([0])));
        assert_eq!(LoraConfig::parse("c", &written).unwrap().to_json(), written);
        let set = r#"{"r": 4, "target_modules": ["q_proj"], "from_the_future": {"b": 1}, "modules_to_save": ["x"], "bias": "all"}"#;
        let e = LoraConfig::parse("c", set).unwrap_err();
        let all = ["bias: ", "modules_to_save: ", "from_the_future: is {\"b\":1}; this field is not known"];
        assert!(e.code() == "bad-config" && all.iter().all(|part| e.to_string().contains(part)), "{e}");
    }

    async fn starts_that_change_the_base_are_refused() {
        let of = |start: Json| LoraConfig::parse("c", &json!({"r": 4, "target_modules": ["q_proj"], "init_lora_weights": start}).to_string());
        for start in [json!(true), json!(false), json!(null), json!("gaussian"), json!("orthogonal"), json!("eva"), json!("mica")] {
            let config = of(start.clone()).unwrap();
            // What PEFT begins with a look at data or weights is loaded, and not begun here.
            assert_eq!(config.start().is_ok(), start != "eva" && start != "mica", "{start}");
            let saved: Json = serde_json::from_str(&config.to_json()).unwrap();
            assert_eq!(saved["init_lora_weights"], if start.is_null() { json!(true) } else { start });
        }
        let names = ["pissa", "pissa_niter_16", "olora", "OLoRA", "corda", "loftq", "lora_ga", "x"];
        for start in names.map(|n| json!(n)).into_iter().chain([json!(3)]) {
            let e = of(start.clone()).unwrap_err();
            assert!(e.code() == "bad-config" && e.to_string().starts_with("init_lora_weights: is "), "{start}: {e}");
        }
        assert!(of(json!("pissa")).unwrap_err().to_string().contains("the base without its principal part"));
    }

    async fn impossible_configs_are_refused_by_field() {
        for (field, value) in [
            ("peft_type", json!("P_TUNING")),
            ("r", json!(0)),
            ("r", json!(1_000_000)),
            ("lora_dropout", json!(1.0)),
            ("bias", json!("all")),
            ("modules_to_save", json!(["lm_head"])),
            ("use_qalora", json!(true)),
            ("lora_bias", json!(true)),
            ("trainable_token_indices", json!([1])),
            ("target_modules", json!("(")),
            ("exclude_modules", json!("[")),
            ("rank_pattern", json!({"q_proj": 0})),
            ("rank_pattern", json!({"q_proj": 1.5})),
            ("alpha_pattern", json!({"q_proj": "x"})),
            ("alpha_pattern", json!({"(": 1})),
            ("layers_pattern", json!("h")),
        ] {
            let mut config = json!({"r": 4, "target_modules": ["q_proj"]});
            config[field] = value.clone();
            let e = LoraConfig::parse("adapter_config.json", &config.to_string()).unwrap_err();
            assert!(e.code() == "bad-config" && e.to_string().starts_with(field), "{field} = {value}: {e}");
        }
        for text in ["", "[]"] {
            assert_eq!(LoraConfig::parse("adapter_config.json", text).unwrap_err().code(), "bad-file", "{text}");
        }
        for (text, field) in [("{\"r\": -1}", "r"), ("{\"r\": 2.5}", "r"), ("{\"r\": \"x\"}", "r"), ("{\"target_modules\": 3}", "target_modules")] {
            let e = LoraConfig::parse("adapter_config.json", text).unwrap_err();
            assert!(e.code() == "bad-config" && e.to_string().starts_with(&format!("{field}: is ")), "{text}: {e}");
        }
    }

    async fn weights_that_do_not_fit_are_refused() {
        let good = tiny();
        let (config, bytes) = good.write().unwrap();
        assert_eq!(LoraAdapter::read(&config, &bytes).unwrap().pairs, good.pairs);
        assert_eq!(good.parameters(), 14);
        let shape = |o, i| move |m: &str| (m == "model.layers.0.self_attn.q_proj").then_some((o, i));
        good.check(shape(4, 3)).unwrap();
        assert!(good.check(shape(4, 4)).unwrap_err().to_string().contains("q_proj"));
        assert_eq!(good.check(|_| None).unwrap_err().code(), "bad-adapter");

        let base = "base_model.model.model.layers.0.self_attn.q_proj";
        let (a, b) = (quantize(DType::F32, &[0.5; 6]), quantize(DType::F32, &[0.5; 8]));
        let nan = quantize(DType::F32, &[1.0, f32::NAN, 1.0, 1.0, 1.0, 1.0]);
        let file = |parts: &[(String, &[usize], &[u8])]| {
            let views: Vec<_> =
                parts.iter().map(|(n, s, b)| TensorView { name: n, dtype: DType::F32, shape: s, bytes: b }).collect();
            safetensors::write("w", &views, &BTreeMap::new()).unwrap()
        };
        let name = |end: &str| format!("{base}.{end}");
        let half = |end: &str| (name(end), &[4usize, 2][..], b.as_slice());
        let first = (name("lora_A.weight"), &[2usize, 3][..], a.as_slice());
        // An adapter's name inside the tensor's name is allowed.
        LoraAdapter::read(&config, &file(&[(name("lora_A.default.weight"), first.1, first.2), half("lora_B.default.weight")])).unwrap();
        for (parts, code, words) in [
            (vec![first.clone()], "bad-adapter", "lora_B.weight"),
            (vec![half("lora_B.weight")], "bad-adapter", "lora_A.weight"),
            (vec![], "bad-adapter", "no tensors"),
            (vec![first.clone(), half("lora_B.weight"), half("lora_magnitude_vector")], "bad-adapter", "magnitude"),
            (vec![first.clone(), half("lora_B.weight"), half("lora_embedding_B")], "bad-adapter", "embedding"),
            (vec![(name("lora_A.weight"), &[3, 2], &a), half("lora_B.weight")], "bad-adapter", "r = 2"),
            (vec![(name("lora_A.weight"), &[6], &a), half("lora_B.weight")], "bad-adapter", "two dimensions"),
            (vec![(name("lora_A.weight"), &[2, 3], &nan), half("lora_B.weight")], "not-finite", "element 1"),
            (
                vec![
                    (first.0.replace("q_proj", "k_proj"), first.1, first.2),
                    (name("lora_B.weight").replace("q_proj", "k_proj"), &[4, 2], &b),
                ],
                "bad-adapter",
                "does not choose it",
            ),
            (vec![first.clone(), (name("lora_A.x.weight"), first.1, first.2), half("lora_B.weight")], "bad-adapter", "two adapters"),
        ] {
            let e = LoraAdapter::read(&config, &file(&parts)).unwrap_err();
            assert!(e.code() == code && e.to_string().contains(words), "{words}: {e}");
        }
        for n in 0..bytes.len() {
            assert_eq!(LoraAdapter::read(&config, &bytes[..n]).unwrap_err().code(), "bad-file", "cut at {n}");
        }
    }
}
