//! Kinds of adapters against PEFT: losses of six updates, first gradients, what is saved, logits over a cache and without one. Fixtures are made by
//! tests/oracle/peft_kinds.py.

use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::formats::peft::{Combination, PeftAdapter, PromptAdapter};
use fledgling::formats::{Container, safetensors};
use fledgling::generate::{GenerateOptions, Generator};
use fledgling::graph::Exec;
use fledgling::models::{LoadOptions, Quantization};
use fledgling::tensor::{DType, dequantize};
use fledgling::tune::{ModelText, Target, Trainer, Training, prepare};
use serde_json::{Value, json};

use crate::harness::{cpu, devices};
use crate::models::load_named;
use crate::tuning::llama_on;

struct Case {
    name: &'static str,
    curve: &'static [u8],
    expected: &'static [u8],
    config: &'static str,
    weights: &'static [u8],
}

macro_rules! cases {
    ($($name:literal),* $(,)?) => {
        [$(Case {
            name: $name,
            curve: include_bytes!(concat!("../fixtures/peft/", $name, "/curve.json")),
            expected: include_bytes!(concat!("../fixtures/peft/", $name, "/expected.safetensors")),
            config: include_str!(concat!("../fixtures/peft/", $name, "/adapter_config.json")),
            weights: include_bytes!(concat!("../fixtures/peft/", $name, "/adapter_model.safetensors")),
        }),*]
    };
}

const CASES: [Case; 8] = cases!(
    "prompt_tuning",
    "p_tuning_mlp",
    "p_tuning_lstm",
    "p_tuning_lstm2",
    "prefix_tuning",
    "prefix_tuning_projection",
    "lora_dora",
    "lora_dora_head"
);

struct File(&'static [u8], Container);

impl File {
    fn get(&self, name: &str) -> Vec<f32> {
        let i = self.1.index_of(name).unwrap_or_else(|| panic!("no {name}"));
        dequantize(self.1.tensors[i].dtype, self.1.bytes(self.0, i).unwrap())
    }
}

impl File {
    /// Of a parameter, whose name in a file may leave out what PEFT calls the adapter.
    fn grad(&self, name: &str) -> Vec<f32> {
        let plain = |n: &str| n.replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector");
        let found = self.1.tensors.iter().find(|t| t.name.strip_prefix("grad/").is_some_and(|n| plain(n) == plain(name)));
        self.get(&found.unwrap_or_else(|| panic!("no gradient of {name}")).name)
    }
}

impl Case {
    fn file(&self) -> File {
        File(self.expected, Container::parse("expected", self.expected).unwrap())
    }

    fn curve(&self) -> Value {
        serde_json::from_slice(self.curve).unwrap()
    }

    /// What training begins with: values under the names of PEFT's parameters.
    fn start(&self) -> Result<PeftAdapter> {
        let (file, curve) = (self.file(), self.curve());
        let starts =
            file.1.tensors.iter().filter_map(|t| Some((t.name.strip_prefix("start/")?.to_string(), t.shape.clone(), file.get(&t.name))));
        let all: Vec<(String, Vec<usize>, Vec<u8>)> = starts.map(|(n, s, v)| (n, s, bytemuck::cast_slice(&v).to_vec())).collect();
        let views: Vec<_> =
            all.iter().map(|(name, shape, bytes)| safetensors::TensorView { name, dtype: DType::F32, shape, bytes }).collect();
        PeftAdapter::read(&curve["peft_config"].to_string(), &safetensors::write("start", &views, &Default::default())?)
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Largest difference.
fn difference(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).fold(0f64, |m, (g, w)| m.max(f64::from((g - w).abs())))
}

async fn trainer(model: &LoadedModel, case: &Case) -> Result<Trainer> {
    let curve = case.curve();
    model.adapters.add("start", &case.start()?)?;
    let set = model.adapters.copy_of("start")?;
    let rows = curve["rows"].as_array().expect("rows");
    let p = prepare("sft", &ModelText::of(model), curve["config"].as_object().expect("fields"), rows)?;
    Trainer::new(model.model.clone(), Target::Adapter { set, name: "default".into() }, None, p.args, p.method)
}

/// Logits at every position, over a cache.
async fn logits(model: &Rc<LoadedModel>, ids: &[u32], name: &str) -> Result<Vec<f32>> {
    let mut g = Generator::new(model.clone())?;
    let all: Vec<usize> = (0..ids.len()).collect();
    Ok(g.logits_at(ids, &all, &AdapterChoice::Named(name.into())).await?.concat())
}

async fn follow(exec: &Exec, case: &Case) -> Result<()> {
    let model = Rc::new(llama_on(exec).await?);
    let (file, curve) = (case.file(), case.curve());
    let mut t = trainer(&model, case).await?;
    t.gradients().await?;
    for g in t.target().set().expect("an adapter").export_grads().await? {
        let want = file.grad(&g.name);
        let near = cosine(&g.values, &want);
        assert!(near >= 0.99999, "{}, gradient of {}: cosine {near}", case.name, g.name);
        let longest = want.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(difference(&g.values, &want) <= f64::from(longest) * 2e-4 + 1e-7, "{}, gradient of {}", case.name, g.name);
    }
    for (i, want) in curve["steps"].as_array().expect("steps").iter().enumerate() {
        let got = t.step().await?.expect("as many as PEFT's");
        for (name, have) in [("loss", got.metrics.loss()), ("grad_norm", got.grad_norm)] {
            let want = want[name].as_f64().expect("a number");
            let (off, allowed) = ((have - want).abs() / want.abs(), if i == 0 { 1e-4 } else { 1e-3 });
            assert!(off <= allowed, "{}, step {}: {name} is {have}, PEFT's {want}", case.name, i + 1);
        }
    }
    assert!(t.step().await?.is_none());
    // What PEFT saved reads, and gives PEFT's logits; what we have learned is that.
    let theirs = PeftAdapter::read(case.config, case.weights)?;
    model.adapters.add("theirs", &theirs)?;
    let ids: Vec<u32> = serde_json::from_value(curve["seen"].clone()).expect("ids");
    let want = file.get("logits");
    let want_theirs = want.clone();
    let off = difference(&logits(&model, &ids, "theirs").await?, &want);
    assert!(off <= 1e-4, "{}: logits with PEFT's adapter are off by {off}", case.name);
    model.adapters.put("ours", t.target().set().expect("an adapter"))?;
    let off = difference(&logits(&model, &ids, "ours").await?, &want);
    assert!(off <= 2e-2, "{}: logits after six updates are off by {off}", case.name);
    // Written and read again it is the same, byte for byte.
    let (config, weights) = model.adapters.save("ours").await?;
    let again = PeftAdapter::read(&config, &weights)?;
    assert_eq!(again.write()?, (config.clone(), weights), "{}", case.name);
    let said = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let (mut have, want) = (said(&config), said(case.config));
    for (field, value) in want.as_object().expect("fields") {
        let ours = have.as_object_mut().expect("fields").remove(field);
        let free = ["inference_mode", "base_model_name_or_path", "peft_version", "task_type"].contains(&field.as_str());
        assert!(free || ours.as_ref() == Some(value), "{}: {field} is {ours:?}, PEFT has {value}", case.name);
    }
    model.adapters.add("again", &again)?;
    if case.name.starts_with("lora") {
        let merged = Rc::new(llama_on(exec).await?);
        merged.adapters.add("theirs", &theirs)?;
        merged.adapters.merge("theirs").await?;
        let all: Vec<usize> = (0..ids.len()).collect();
        let got = Generator::new(merged)?.logits_at(&ids, &all, &AdapterChoice::Base).await?.concat();
        assert!(difference(&got, &want_theirs) <= 1e-4, "{}, merged: off by {}", case.name, difference(&got, &want_theirs));
    }
    let off = difference(&logits(&model, &ids, "again").await?, &logits(&model, &ids, "ours").await?);
    assert!(off <= 1e-5, "{}: read again, logits are off by {off}", case.name);
    Ok(())
}

fn hash(bytes: &[f32]) -> u64 {
    bytes.iter().fold(14_695_981_039_346_656_037, |h, v| (h ^ u64::from(v.to_bits())).wrapping_mul(1_099_511_628_211))
}

async fn weights(model: &LoadedModel) -> Result<Vec<(String, u64)>> {
    let mut all = Vec::new();
    for path in model.model.params().paths() {
        all.push((path.to_string(), hash(&model.model.params().read(path).await?)));
    }
    Ok(all)
}

fl_test!(
    /// Every kind learns as PEFT's does, is saved as PEFT saves it, and reads what PEFT has saved.
    async fn kinds_are_those_of_peft() -> Result<()> {
        for exec in devices().await {
            for case in &CASES {
                follow(&exec, case).await?;
            }
        }
        Ok(())
    }

    /// Several answers at once, a second question behind them, and what is counted: as without a cache.
    async fn answers_with_what_is_in_front() -> Result<()> {
        for exec in devices().await {
            let model = Rc::new(llama_on(&exec).await?);
            for case in CASES.iter().filter(|c| !c.name.starts_with("lora")) {
                let adapter = PeftAdapter::read(case.config, case.weights)?;
                model.adapters.add("front", &adapter)?;
                let front = AdapterChoice::Named("front".into());
                let options = |adapter: &AdapterChoice, n| GenerateOptions {
                    n,
                    max_new_tokens: 6,
                    temperature: 0.0,
                    ignore_eos: true,
                    repetition_penalty: 1.1,
                    adapter: adapter.clone(),
                    ..GenerateOptions::default()
                };
                let mut g = Generator::new(model.clone())?;
                let prompt = [7, 20, 33, 46];
                let (mut events, mut first) = (0, Vec::new());
                for n in [1, 3, 1] {
                    let all = g.run(&prompt, options(&front, n), &mut |_| events += 1).await?;
                    assert!(all.len() == n && all.iter().all(|c| c.prompt_tokens == 4 && c.token_ids.len() == 6));
                    first.push(all[0].token_ids.clone());
                    assert!(all.iter().all(|c| c.token_ids == all[0].token_ids), "{}", case.name);
                }
                assert!(first.iter().all(|f| *f == first[0]), "{}: {first:?}", case.name);
                // Token by token from what a fresh cache gives.
                let nll = g.nll(&[&prompt[..], &first[0]].concat(), &front).await?;
                assert_eq!(nll.len(), 9);
                let mut other = Generator::new(model.clone())?;
                for (i, id) in first[0].iter().enumerate() {
                    let ids = [&prompt[..], &first[0][..i]].concat();
                    let row = other.logits_at(&ids, &[ids.len() - 1], &front).await?.remove(0);
                    let top = row.iter().fold(f32::NEG_INFINITY, |m, v| m.max(*v));
                    let sum = row.iter().map(|v| f64::from(v - top).exp()).sum::<f64>().ln() + f64::from(top);
                    let want = sum - f64::from(row[*id as usize]);
                    assert!((f64::from(nll[3 + i]) - want).abs() < 1e-4, "{}: {} and {want}", case.name, nll[3 + i]);
                }
                // The base model is what it was, and the adapter comes back.
                let base = g.run(&prompt, options(&AdapterChoice::Base, 2), &mut |_| {}).await?;
                let mut plain = Generator::new(model.clone())?;
                assert_eq!(base[0].token_ids, plain.run(&prompt, options(&AdapterChoice::Base, 1), &mut |_| {}).await?[0].token_ids);
                assert_eq!(g.run(&prompt, options(&front, 1), &mut |_| {}).await?[0].token_ids, first[0]);
                // The context counts what is in front.
                let long = vec![5u32; model.info.context_length - 3];
                assert_eq!(g.start(&long, options(&front, 1)).err().map(|e| e.code()), Some("context-overflow"));
                assert_eq!(model.adapters.merge("front").await.err().map(|e| e.code()), Some("bad-adapter"));
            }
        }
        Ok(())
    }

    /// Every method trains every kind, goes on from its checkpoint bit for bit, and leaves the base model alone.
    async fn methods_train_all_kinds() -> Result<()> {
        let exec = cpu();
        for (method, case) in ["sft", "dpo", "kto", "orpo", "cpo"].iter().flat_map(|m| CASES.iter().map(move |c| (*m, c))) {
            let model = llama_on(&exec).await?;
            let before = weights(&model).await?;
            let rows = match method {
                "sft" => crate::tuning::sft_rows(),
                "kto" => crate::tuning::kto_rows(),
                _ => crate::tuning::dpo_rows(),
            };
            let peft = case.curve()["peft_config"].clone();
            let args = json!({"max_steps": 3, "per_device_train_batch_size": 2, "learning_rate": 1e-2, "peft_config": peft});
            let mut t = Training::new(&model, method, &args, &rows, None).await?;
            let mut curve = Vec::new();
            let mut checkpoint = Vec::new();
            while let Some(m) = t.step().await? {
                assert!(m.metrics.loss().is_finite() && m.grad_norm > 0.0, "{method} {}", case.name);
                if m.step == 1 {
                    checkpoint = t.checkpoint().await?;
                }
                curve.push(crate::tuning::numbers(&m));
            }
            assert_eq!(weights(&model).await?, before, "{method} {} has changed the base model", case.name);
            let other = llama_on(&exec).await?;
            let mut rest = Training::new(&other, method, &args, &rows, Some(&checkpoint)).await?;
            for want in &curve[1..] {
                assert_eq!(&crate::tuning::numbers(&rest.step().await?.expect("three")), want, "{method} {}", case.name);
            }
            // A second training takes it up; a preference's reference is what it was.
            let mut second = Training::new(&model, method, &json!({"max_steps": 1, "per_device_train_batch_size": 2}), &rows, None).await?;
            let m = second.step().await?.expect("one");
            if method == "dpo" {
                assert!((m.metrics.loss() - 2f64.ln()).abs() < 1e-4, "{}: {:?}", case.name, m.metrics);
            }
        }
        Ok(())
    }

    /// Adapters of another kind, model or shape, and fields of another kind, are refused by name.
    async fn what_does_not_fit_is_refused() -> Result<()> {
        let model = llama_on(&cpu()).await?;
        let case = &CASES[0];
        let PeftAdapter::Prompt(good) = PeftAdapter::read(case.config, case.weights)? else { panic!("virtual tokens") };
        let narrow = PromptAdapter { width: 16, values: vec![0.1; 8 * 16], ..good.clone() };
        assert_eq!(model.adapters.add("x", &narrow).err().map(|e| e.code()), Some("bad-adapter"));
        for (field, value, code) in [
            ("num_layers", json!(3), "bad-adapter"),
            ("token_dim", json!(64), "bad-adapter"),
            ("num_virtual_tokens", json!(9), "bad-adapter"),
            ("num_virtual_tokens", json!(0), "bad-config"),
            ("prompt_tuning_init", json!("TEXTS"), "bad-config"),
            ("encoder_hidden_size", json!(8), "bad-config"),
            ("modules_to_save", json!(["lm_head"]), "bad-config"),
            ("peft_type", json!("CPT"), "bad-config"),
            ("num_transformer_submodules", json!(2), "bad-config"),
        ] {
            let mut config: Value = serde_json::from_str(case.config).expect("JSON");
            config[field] = value.clone();
            let taken = PeftAdapter::read(&config.to_string(), case.weights).and_then(|a| model.adapters.add("x", &a).map(drop));
            let e = taken.err().unwrap_or_else(|| panic!("{field} {value} passes"));
            assert!(e.code() == code && e.to_string().contains(field), "{field} {value}: {e}");
        }
        assert_eq!(PeftAdapter::read(case.config, &case.weights[..40]).err().map(|e| e.code()), Some("bad-file"));
        let rows = crate::tuning::sft_rows();
        for (config, parts) in [
            (json!({"peft_type": "PROMPT_TUNING", "r": 8}), &["r: is no field of PROMPT_TUNING"][..]),
            (json!({"num_virtual_tokens": 8}), &["num_virtual_tokens: is no field of LORA"]),
            (json!({"peft_type": "IA3"}), &["peft_type: expected one of LORA, "]),
            (json!({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 128}), &["num_virtual_tokens: is 128"]),
            (json!({"peft_type": "PROMPT_TUNING", "prompt_tuning_init": "TEXT"}), &["prompt_tuning_init_text: is missing"]),
            (json!({"peft_type": "PROMPT_TUNING", "num_virtual_tokenz": 8}), &["did you mean num_virtual_tokens?"]),
        ] {
            let e = Training::new(&model, "sft", &json!({"peft_config": config}), &rows, None).await.err().expect("refused");
            assert!(parts.iter().all(|p| e.to_string().contains(p)), "{config}: {e}");
        }
        // Tokens of the vocabulary are what some begin with.
        let args = json!({"max_steps": 1, "learning_rate": 0, "peft_type": "prompt_tuning", "num_virtual_tokens": 3, "prompt_tuning_init": "SAMPLE_VOCAB"});
        Training::new(&model, "sft", &args, &rows, None).await?.step().await?;
        let PeftAdapter::Prompt(a) = model.adapters.export("default").await? else { panic!("virtual tokens") };
        let table = model.model.params().read("model.embed_tokens.weight").await?;
        assert!(a.values.chunks(32).all(|row| table.chunks(32).any(|t| t == row)));
        Ok(())
    }
);

/// Two adapters and PEFT's combinations of them.
fn weighted(name: &str) -> Result<PeftAdapter> {
    let (config, weights) = match name {
        "a" => (
            include_str!("../fixtures/peft/lora_weighted/a/adapter_config.json"),
            &include_bytes!("../fixtures/peft/lora_weighted/a/adapter_model.safetensors")[..],
        ),
        _ => (
            include_str!("../fixtures/peft/lora_weighted/b/adapter_config.json"),
            &include_bytes!("../fixtures/peft/lora_weighted/b/adapter_model.safetensors")[..],
        ),
    };
    PeftAdapter::read(config, weights)
}

fl_test!(
    /// linear, cat and svd give PEFT's products and logits.
    async fn combinations_are_those_of_peft() -> Result<()> {
        let bytes = include_bytes!("../fixtures/peft/lora_weighted/expected.safetensors");
        let file = File(bytes, Container::parse("expected", bytes).unwrap());
        let ids: Vec<u32> = serde_json::from_str(include_str!("../fixtures/peft/lora_weighted/seen.json")).expect("ids");
        let model = Rc::new(llama_on(&cpu()).await?);
        for name in ["a", "b"] {
            model.adapters.add(name, &weighted(name)?)?;
        }
        for (name, kind, weights) in [
            ("linear", Combination::Linear, [0.7, 0.3]),
            ("linear_negative", Combination::Linear, [1.0, -0.5]),
            ("cat", Combination::Cat, [0.7, 0.3]),
            ("svd", Combination::Svd, [0.7, 0.3]),
        ] {
            let both = [("a", weights[0]), ("b", weights[1])];
            model.adapters.combine("both", &both, kind, None).await?;
            let a = model.adapters.export("both").await?.into_lora("read")?;
            let p = a.pairs.iter().find(|p| p.target.module == "model.layers.0.self_attn.q_proj").expect("the module");
            let r = p.target.r;
            assert!((p.target.scale - 1.0).abs() < 1e-12 && r == if name == "cat" { 8 } else { 4 }, "{name}: {:?}", p.target);
            let at = |o: usize, c: usize| (0..r).map(|i| p.b[o * r + i] * p.a[i * p.in_features + c]).sum::<f32>();
            let product: Vec<f32> = (0..p.out_features * p.in_features).map(|i| at(i / p.in_features, i % p.in_features)).collect();
            let off = difference(&product, &file.get(&format!("{name}.product")));
            assert!(off <= 1e-5, "{name}: the product is off by {off}");
            let off = difference(&logits(&model, &ids, "both").await?, &file.get(name));
            assert!(off <= 1e-4, "{name}: logits are off by {off}");
            let (config, weights) = model.adapters.save("both").await?;
            assert_eq!(PeftAdapter::read(&config, &weights)?.write()?, (config, weights), "{name}");
        }
        // At full rank svd is exact; an adapter with itself at 0.5 each is that adapter.
        model.adapters.combine("both", &[("a", 0.7), ("b", 0.3)], Combination::Svd, Some(8)).await?;
        let off = difference(&logits(&model, &ids, "both").await?, &file.get("cat"));
        assert!(off <= 1e-4, "svd of rank 8: logits are off by {off}");
        for kind in [Combination::Cat, Combination::Svd] {
            model.adapters.combine("twice", &[("a", 0.5), ("a", 0.5)], kind, None).await?;
            let off = difference(&logits(&model, &ids, "twice").await?, &logits(&model, &ids, "a").await?);
            assert!(off <= 1e-4, "{kind:?} of one adapter with itself: off by {off}");
        }
        // What cannot be combined says why.
        let code = |e: Result<_>| e.err().map(|e: fledgling::Error| e.code());
        for case in CASES.iter().filter(|c| ["prompt_tuning", "lora_dora"].contains(&c.name)) {
            model.adapters.add("other", &PeftAdapter::read(case.config, case.weights)?)?;
            let got = model.adapters.combine("x", &[("a", 0.5), ("other", 0.5)], Combination::Cat, None).await;
            assert_eq!(code(got), Some("bad-adapter"), "{}", case.name);
        }
        assert_eq!(code(model.adapters.combine("x", &[], Combination::Cat, None).await), Some("bad-adapter"));
        assert_eq!(code(model.adapters.combine("x", &[("a", f64::NAN)], Combination::Cat, None).await), Some("bad-config"));
        assert_eq!(code(model.adapters.combine("x", &[("a", 1.0)], Combination::Cat, Some(3)).await), Some("bad-config"));
        assert_eq!(code(model.adapters.combine("x", &[("nobody", 1.0)], Combination::Cat, None).await), Some("bad-adapter"));
        let fewer = model.adapters.fresh(&serde_json::from_value(json!({"r": 2, "target_modules": ["q_proj"]})).expect("a config"), 1)?;
        model.adapters.put("fewer", &fewer)?;
        assert_eq!(code(model.adapters.combine("x", &[("a", 0.5), ("fewer", 0.5)], Combination::Cat, None).await), Some("bad-adapter"));
        let narrow =
            model.adapters.fresh(&serde_json::from_value(json!({"r": 2, "target_modules": "all-linear"})).expect("a config"), 1)?;
        model.adapters.put("narrow", &narrow)?;
        assert_eq!(code(model.adapters.combine("x", &[("a", 0.5), ("narrow", 0.5)], Combination::Linear, None).await), Some("bad-adapter"));
        model.adapters.combine("x", &[("a", 0.5), ("narrow", 0.5)], Combination::Svd, None).await.map(drop)
    }

    /// Over quantized weights every kind learns nearly what it learns over whole ones.
    async fn kinds_learn_over_quantized_weights() -> Result<()> {
        for exec in devices().await {
            for case in &CASES {
                let curve = case.curve();
                let options = LoadOptions { quantize: Some(Quantization::parse("q8_0").expect("a type")), ..LoadOptions::default() };
                let model = load_named(&exec, "llama", options).await?;
                let mut t = trainer(&model, case).await?;
                for want in curve["steps"].as_array().expect("steps") {
                    let got = t.step().await?.expect("six").metrics.loss();
                    let want = want["loss"].as_f64().expect("a number");
                    assert!((got - want).abs() < 0.1 * want, "{}: {got}, over whole weights {want}", case.name);
                }
            }
        }
        Ok(())
    }
);
