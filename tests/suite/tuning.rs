//! Trainings as a whole: adapters PEFT wrote, all weights, checkpoints, references, memory, refusals.

use fledgling::Result;
use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::data::{Example, IGNORE, Preferred};
use fledgling::formats::Container;
use fledgling::formats::peft::LoraAdapter;
use fledgling::graph::Exec;
use fledgling::models::{LoadOptions, ModelLoader};
use fledgling::tensor::dequantize;
use fledgling::tune::methods::dpo::DpoOptions;
use fledgling::tune::{Checkpoint, Dpo, GptBench, Sft, StepMetrics, Target, Trainer, Training, TrainingArguments};
use serde_json::{Value, json};

use crate::harness::{cpu, devices, gpu};

macro_rules! model_files {
    ($name:literal) => {
        (
            include_str!(concat!("../fixtures/models/", $name, "/config.json")),
            include_bytes!(concat!("../fixtures/models/", $name, "/model.safetensors")).as_slice(),
            include_bytes!(concat!("../fixtures/models/", $name, "/expected.safetensors")).as_slice(),
        )
    };
}

macro_rules! adapter_files {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../fixtures/training/adapters/", $name, "/adapter_config.json")),
            include_bytes!(concat!("../fixtures/training/adapters/", $name, "/adapter_model.safetensors")).as_slice(),
            include_bytes!(concat!("../fixtures/training/adapters/", $name, "/expected.safetensors")).as_slice(),
        )
    };
}

async fn load(files: (&str, &[u8], &[u8]), trainable: bool) -> Result<LoadedModel> {
    load_on(&Exec::Gpu(gpu().await), files, trainable).await
}

async fn load_on(exec: &Exec, (config, weights, _): (&str, &[u8], &[u8]), trainable: bool) -> Result<LoadedModel> {
    let mut loader = ModelLoader::new(exec, LoadOptions { trainable, ..LoadOptions::default() });
    loader.add_text("config.json", config);
    loader.begin_file("model.safetensors", Some(weights.len() as u64))?;
    loader.push(weights)?;
    loader.end_file()?;
    Ok(loader.finish().await?.into())
}

/// The tiny llama on a device.
pub async fn llama_on(exec: &Exec) -> Result<LoadedModel> {
    load_on(exec, model_files!("llama"), false).await
}

async fn llama() -> Result<LoadedModel> {
    load(model_files!("llama"), false).await
}

/// Values of a tensor of a fixture; I32 is not a type the reader delivers, so integers are taken from the bytes.
fn values(file: &[u8], name: &str) -> Vec<f64> {
    let c = Container::parse("fixture", file).unwrap();
    if let Some(i) = c.index_of(name) {
        return dequantize(c.tensors[i].dtype, c.bytes(file, i).unwrap()).into_iter().map(f64::from).collect();
    }
    let size = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + size]).unwrap();
    let entry = &header[name];
    assert_eq!(entry["dtype"], "I32", "{name}");
    let at = |i: usize| 8 + size + entry["data_offsets"][i].as_u64().unwrap() as usize;
    file[at(0)..at(1)].chunks_exact(4).map(|b| f64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
}

/// The two sequences of a fixture, without their padding.
fn sequences(file: &[u8]) -> Vec<Example> {
    let (ids, mask, labels) = (values(file, "input_ids"), values(file, "attention_mask"), values(file, "labels"));
    let len = ids.len() / 2;
    (0..2)
        .map(|row| {
            let real = |i: &usize| mask[*i] != 0.0;
            let at: Vec<usize> = (row * len..(row + 1) * len).filter(real).collect();
            let label = |i: usize| if labels[i] < 0.0 { IGNORE } else { labels[i] as u32 };
            Example {
                ids: at.iter().map(|i| ids[*i] as u32).collect(),
                labels: at.iter().map(|i| label(*i)).collect(),
                ..Example::default()
            }
        })
        .collect()
}

fn arguments() -> TrainingArguments {
    TrainingArguments { per_device_train_batch_size: 2, max_steps: 10, shuffle: false, ..TrainingArguments::default() }
}

fn off(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let top = want.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    got.iter().zip(want).fold(0f64, |m, (g, w)| m.max((f64::from(*g) - w).abs())) / top
}

fl_test!(
    async fn adapters_that_peft_wrote_have_its_loss_and_gradients() -> Result<()> {
        let model = llama().await?;
        for (name, config, weights, expected) in [
            adapter_files!("default"),
            adapter_files!("rslora"),
            adapter_files!("patterns"),
            adapter_files!("patterns_rslora"),
            adapter_files!("subset"),
            adapter_files!("regex"),
            adapter_files!("head"),
        ] {
            model.adapters.add(name, &LoraAdapter::read(config, weights)?)?;
            let set = model.adapters.copy_of(name)?;
            let target = Target::Adapter { set: set.clone(), name: name.into() };
            let mut trainer = Trainer::new(model.model.clone(), target, None, arguments(), Box::new(Sft::new(sequences(expected))))?;
            trainer.gradients().await?;
            let mut worst = 0.0f64;
            for p in set.lora_grads().await?.pairs {
                for (half, got) in [("A", &p.a), ("B", &p.b)] {
                    let key = format!("grad/base_model.model.{}.lora_{half}.weight", p.target.module);
                    worst = worst.max(off(got, &values(expected, &key)));
                }
            }
            assert!(worst < 1e-3, "{name}: gradients are off by {worst}");
            let want = values(expected, "loss")[0];
            let loss = trainer.step().await?.expect("one of ten").metrics.loss();
            assert!((loss - want).abs() < 1e-4 * want, "{name}: loss {loss}, expected {want}");
            report!("{name}: loss {loss:.6} (PEFT {want:.6}), gradients off by {worst:.1e}");
        }
        Ok(())
    }
);

/// One AdamW step on every weight of a model: PyTorch's, but that vectors (norms, biases) do not decay here.
async fn full_step(name: &str, files: (&str, &[u8], &[u8])) -> Result<()> {
    let model = load(files, true).await?;
    let args = TrainingArguments {
        learning_rate: 1e-3,
        weight_decay: 0.01,
        max_grad_norm: 0.0,
        lr_scheduler_type: fledgling::tune::SchedulerType::Constant,
        ..arguments()
    };
    let mut before = Vec::new();
    let paths: Vec<String> = model.model.params().paths().map(str::to_string).collect();
    for path in &paths {
        before.push(model.model.params().read(path).await?);
    }
    let mut trainer = Trainer::new(model.model.clone(), Target::Full, None, args, Box::new(Sft::new(sequences(files.2))))?;
    let loss = trainer.step().await?.expect("one of ten").metrics.loss();
    let want = values(files.2, "loss")[0];
    assert!((loss - want).abs() < 1e-4 * want, "{name}: loss {loss}, expected {want}");
    let (mut worst, mut skipped) = (0.0f64, 0);
    for (path, before) in paths.iter().zip(&before) {
        let after = model.model.params().read(path).await?;
        let (want, grad) = (values(files.2, &format!("after/{path}")), values(files.2, &format!("grad/{path}")));
        let vector = path.ends_with(".bias") || path.contains("norm") || path.contains(".ln_");
        for i in 0..want.len() {
            // The first step is the gradient's sign: noise where there is hardly a gradient.
            if grad[i].abs() < 1e-5 {
                skipped += 1;
                continue;
            }
            let want = if vector { want[i] + 1e-3 * 0.01 * f64::from(before[i]) } else { want[i] };
            let error = (f64::from(after[i]) - want).abs();
            assert!(error < 5e-5, "{name}: {path}[{i}] is {}, expected {want}", after[i]);
            worst = worst.max(error);
        }
    }
    report!("{name}: all weights after one AdamW step within {worst:.1e} ({skipped} without a gradient)");
    Ok(())
}

fl_test!(
    async fn one_step_on_all_weights_of_gpt2() -> Result<()> {
        full_step("gpt2", model_files!("gpt2")).await
    }
    async fn one_step_on_all_weights_of_llama() -> Result<()> {
        full_step("llama", model_files!("llama")).await?;
        full_step("llama_tied", model_files!("llama_tied")).await
    }
    async fn the_gpt_of_the_benchmark_learns() -> Result<()> {
        let mut bench = GptBench::new(&Exec::Gpu(gpu().await))?;
        assert_eq!((bench.parameters() as f64 / 1e4).round(), 82.0);
        let first = bench.step().await?.loss;
        // ln 96: nothing is known yet.
        assert!((first - 96f64.ln()).abs() < 0.3, "first loss {first}");
        let mut last = first;
        for _ in 0..3 {
            last = bench.step().await?.loss;
        }
        assert!(last < first - 0.2, "loss {first} → {last}");
        Ok(())
    }
);

pub fn sft_rows() -> Vec<Value> {
    let row = |i: u64, n: u64| json!({"input_ids": (0..n).map(|t| (7 * i + 3 * t * t + t) % 90 + 3).collect::<Vec<_>>()});
    (0..7).map(|i| row(i, 5 + 3 * i)).collect()
}

pub fn dpo_rows() -> Vec<Value> {
    let ids = |i: u64, n: u64| (0..n).map(|t| (11 * i + 5 * t * t + t) % 90 + 3).collect::<Vec<_>>();
    (0..5).map(|i| json!({"prompt_ids": ids(i, 3 + i), "chosen_ids": ids(i + 20, 4), "rejected_ids": ids(i + 40, 6 - i % 3)})).collect()
}

pub fn kto_rows() -> Vec<Value> {
    let ids = |i: u64, n: u64| (0..n).map(|t| (11 * i + 5 * t * t + t) % 90 + 3).collect::<Vec<_>>();
    (0..5).map(|i| json!({"prompt_ids": ids(i, 3 + i), "completion_ids": ids(i + 20, 6 - i % 3), "label": i % 2 == 0})).collect()
}

/// Everything that uses random numbers or depends on the position in the data.
pub fn sft_args() -> Value {
    json!({
        "learning_rate": 1e-2, "max_steps": 9, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "warmup_steps": 2,
        "lr_scheduler_type": "cosine", "weight_decay": 0.1, "seed": 5,
        "peft_config": {"r": 3, "lora_alpha": 6, "lora_dropout": 0.2, "use_rslora": true, "rank_pattern": {"q_proj": 5}},
    })
}

pub fn dpo_args() -> Value {
    json!({"learning_rate": 2e-2, "max_steps": 8, "per_device_train_batch_size": 2, "seed": 9, "beta": 0.2, "r": 4, "lora_alpha": 8})
}

pub async fn finish(t: &mut Training) -> Result<Vec<StepMetrics>> {
    let mut all = Vec::new();
    while let Some(m) = t.step().await? {
        all.push(m);
    }
    Ok(all)
}

/// What must be equal bit for bit (times are not).
pub fn numbers(m: &StepMetrics) -> Vec<u64> {
    let values = [m.grad_norm, m.learning_rate, m.epoch];
    m.metrics.iter().map(|v| v.1).chain(values).map(f64::to_bits).chain([m.step, m.tokens]).collect()
}

async fn resumed(method: &str, args: &Value, rows: &[Value], before: impl AsyncFn(&LoadedModel) -> Result<()>) -> Result<()> {
    resumed_on(&Exec::Gpu(gpu().await), method, args, rows, 4, before).await
}

/// Interrupted after `at` updates.
pub async fn resumed_on(
    exec: &Exec,
    method: &str,
    args: &Value,
    rows: &[Value],
    at: usize,
    before: impl AsyncFn(&LoadedModel) -> Result<()>,
) -> Result<()> {
    let model = llama_on(exec).await?;
    before(&model).await?;
    let mut whole = Training::new(&model, method, args, rows, None).await?;
    let curve = finish(&mut whole).await?;
    let (_, weights) = model.adapters.save("default").await?;

    let model = llama_on(exec).await?;
    before(&model).await?;
    let mut first = Training::new(&model, method, args, rows, None).await?;
    for m in &curve[..at] {
        assert_eq!(numbers(&first.step().await?.expect("one of them")), numbers(m), "{method}: the same run twice");
    }
    let bytes = first.checkpoint().await?;
    drop(first);
    assert_eq!(Checkpoint::parse(&bytes)?.state.step, at as u64);

    // Another model, nothing of the first run but the file.
    let model = llama_on(exec).await?;
    let mut second = Training::new(&model, method, args, rows, Some(&bytes)).await?;
    let rest = finish(&mut second).await?;
    assert_eq!(rest.len(), curve.len() - at);
    for (got, want) in rest.iter().zip(&curve[at..]) {
        assert_eq!(numbers(got), numbers(want), "{method}, step {}: {got:?}, uninterrupted {want:?}", want.step);
    }
    assert_eq!(model.adapters.active().as_deref(), Some("default"));
    assert!(model.adapters.save("default").await?.1 == weights, "{method}: the adapters differ");
    report!("{method}: {} updates after the checkpoint, bit for bit", rest.len());
    Ok(())
}

/// Rankings of so many answers, all different, with all their pairs and a weight.
fn rankings(sizes: &[usize]) -> Vec<Preferred> {
    let ids =
        |row: usize, k: usize| (0..3 + (row + 2 * k) % 6).map(|t| (13 * row + 7 * k + 5 * t * t + t) as u32 % 90 + 3).collect::<Vec<u32>>();
    let row = |(row, n): (usize, &usize)| Preferred {
        answers: (0..*n).map(|k| Example::from_parts([ids(row, 40), ids(row, k)].concat(), ids(row, 40).len())).collect(),
        pairs: (0..*n).flat_map(|a| (a + 1..*n).map(move |b| [a, b])).collect(),
        weight: 1.0 + row as f32 / 4.0,
    };
    sizes.iter().enumerate().map(row).collect()
}

fl_test!(
    /// A ranking's answers run once; losses, metrics and gradients, update after update, are those of a batch of its pairs.
    async fn a_ranking_is_the_batch_of_its_pairs() -> Result<()> {
        for exec in devices().await {
            for loss in ["sigmoid", "sft"] {
                let run = async |data: Vec<Preferred>, batch: usize| -> Result<Vec<StepMetrics>> {
                    let model = llama_on(&exec).await?;
                    let config =
                        serde_json::from_value(json!({"r": 4, "lora_alpha": 8, "target_modules": "all-linear"})).expect("a config");
                    let args = TrainingArguments {
                        per_device_train_batch_size: batch,
                        num_train_epochs: 2.0,
                        learning_rate: 5e-3,
                        shuffle: false,
                        ..TrainingArguments::default()
                    };
                    let options = DpoOptions { losses: vec![(loss.into(), 1.0)], ..DpoOptions::default() };
                    let target = Target::Adapter { set: model.adapters.fresh(&config, 3)?, name: "default".into() };
                    let mut t = Trainer::new(model.model.clone(), target, None, args, Box::new(Dpo::new(data, options)?))?;
                    let mut curve = Vec::new();
                    while let Some(m) = t.step().await? {
                        curve.push(m);
                    }
                    Ok(curve)
                };
                for (sizes, together, apart) in [(&[4, 4, 4][..], 1, 6), (&[3, 3, 3, 3], 2, 6), (&[5, 2], 2, 11)] {
                    let whole = run(rankings(sizes), together).await?;
                    let pairs = run(rankings(sizes).iter().flat_map(Preferred::apart).collect(), apart).await?;
                    assert_eq!(whole.len(), pairs.len(), "{loss} {sizes:?}");
                    for (a, b) in whole.iter().zip(&pairs) {
                        for ((name, a), (_, b)) in a.metrics.iter().zip(b.metrics.iter()) {
                            // Pairs have each of their answers' tokens in these means, rankings once.
                            let of_tokens = ["kl", "entropy"].contains(&name);
                            assert!(of_tokens || (a - b).abs() <= 2e-4 * b.abs().max(0.1), "{loss} {sizes:?}: {name} is {a}, of pairs {b}");
                        }
                        assert!(
                            (a.grad_norm - b.grad_norm).abs() <= 2e-4 * b.grad_norm,
                            "{loss} {sizes:?}: {} {}",
                            a.grad_norm,
                            b.grad_norm
                        );
                    }
                    let tokens = |curve: &[StepMetrics]| curve.iter().map(|m| m.tokens).sum::<u64>();
                    assert!(sizes == [5, 2] || tokens(&whole) * 10 < tokens(&pairs) * 7, "{} {}", tokens(&whole), tokens(&pairs));
                }
            }
        }
        Ok(())
    }
);

fl_test!(
    async fn a_resumed_sft_is_the_uninterrupted_one() -> Result<()> {
        resumed("sft", &sft_args(), &sft_rows(), async |_: &LoadedModel| Ok(())).await
    }
    async fn a_resumed_dpo_is_the_uninterrupted_one() -> Result<()> {
        resumed("dpo", &dpo_args(), &dpo_rows(), async |_: &LoadedModel| Ok(())).await
    }
    async fn a_resumed_kto_or_orpo_is_the_uninterrupted_one() -> Result<()> {
        for (method, rows) in [("kto", kto_rows()), ("orpo", dpo_rows())] {
            let mut args = dpo_args();
            args["max_steps"] = json!(6);
            resumed(method, &args, &rows, async |_: &LoadedModel| Ok(())).await?;
        }
        Ok(())
    }
    async fn a_resumed_kto_keeps_its_reference() -> Result<()> {
        resumed("kto", &dpo_args(), &kto_rows(), async |model: &LoadedModel| {
            let (_, config, weights, _) = adapter_files!("default");
            model.adapters.add("default", &LoraAdapter::read(config, weights)?).map(|_| ())
        })
        .await
    }
    async fn a_resumed_dpo_with_halves_is_the_uninterrupted_one() -> Result<()> {
        let mut args = dpo_args();
        args["fp16"] = json!(true);
        resumed("dpo", &args, &dpo_rows(), async |_: &LoadedModel| Ok(())).await
    }
    /// Computed again from halves, an activation is not what it was: the choice is part of what a checkpoint goes on from.
    async fn with_halves_checkpoints_know_what_was_computed_again() -> Result<()> {
        let model = llama().await?;
        let mut args = sft_args();
        args["fp16"] = json!(true);
        let mut t = Training::new(&model, "sft", &args, &sft_rows(), None).await?;
        t.step().await?;
        let bytes = t.checkpoint().await?;
        args["gradient_checkpointing"] = json!(true);
        let error = Training::new(&model, "sft", &args, &sft_rows(), Some(&bytes)).await.err().expect("another choice");
        assert!(error.to_string().contains("gradient_checkpointing"), "{error}");
        args["gradient_checkpointing"] = Value::Null;
        args["fp16"] = json!(false);
        let error = Training::new(&model, "sft", &args, &sft_rows(), Some(&bytes)).await.err().expect("another choice");
        assert_eq!(error.code(), "bad-config", "{error}");
        Ok(())
    }
    async fn a_resumed_dpo_keeps_its_reference() -> Result<()> {
        resumed("dpo", &dpo_args(), &dpo_rows(), async |model: &LoadedModel| {
            // An earlier adapter that does something is what training starts from and is measured against.
            let (_, config, weights, _) = adapter_files!("default");
            model.adapters.add("default", &LoraAdapter::read(config, weights)?).map(|_| ())
        })
        .await
    }
    async fn an_earlier_adapter_is_the_reference() -> Result<()> {
        let model = llama().await?;
        let (_, config, weights, _) = adapter_files!("default");
        model.adapters.add("mine", &LoraAdapter::read(config, weights)?)?;
        let mut args = dpo_args();
        args["adapter_name"] = json!("mine");
        let mut t = Training::new(&model, "dpo", &args, &dpo_rows(), None).await?;
        let m = t.step().await?.expect("the first");
        assert!((m.metrics.loss() - std::f64::consts::LN_2).abs() < 1e-6, "the first loss is {}", m.metrics.loss());
        // The loss is measured against that adapter, the distance to the base against the model without it.
        assert!(m.metrics.kl().expect("it is reported") > 1e-4, "{:?}", m.metrics);
        // What was learned is already the adapter's.
        assert!(model.adapters.save("mine").await?.1.as_slice() != weights);
        assert_eq!(model.adapters.active(), None);
        finish(&mut t).await?;
        assert_eq!(model.adapters.active().as_deref(), Some("mine"));
        Ok(())
    }
    async fn checkpoints_that_do_not_fit_are_refused() -> Result<()> {
        let model = llama().await?;
        let rows = sft_rows();
        let mut t = Training::new(&model, "sft", &sft_args(), &rows, None).await?;
        t.step().await?;
        let bytes = t.checkpoint().await?;
        let resume = async |method: &str, args: Value, rows: Vec<Value>, bytes: Vec<u8>| -> (String, String) {
            match Training::new(&model, method, &args, &rows, Some(&bytes)).await {
                Ok(_) => ("accepted".into(), String::new()),
                Err(e) => (e.code().into(), e.to_string()),
            }
        };
        assert_eq!(resume("sft", sft_args(), rows.clone(), bytes.clone()).await.0, "accepted");
        assert_eq!(resume("sft", sft_args(), rows.clone(), bytes[..bytes.len() / 2].to_vec()).await.0, "bad-file");
        assert_eq!(resume("sft", sft_args(), rows.clone(), b"not a checkpoint".to_vec()).await.0, "bad-file");
        let weights = model_files!("llama").1.to_vec();
        assert_eq!(resume("sft", sft_args(), rows.clone(), weights).await.0, "bad-file");
        let (code, message) = resume("sft", sft_args(), rows[1..].to_vec(), bytes.clone()).await;
        assert!(code == "bad-config" && message.contains("rows"), "{code}: {message}");
        let mut other = rows.clone();
        other[0]["input_ids"][1] = json!(4);
        let (code, message) = resume("sft", sft_args(), other, bytes.clone()).await;
        assert!(code == "bad-config" && message.contains("dataset"), "{code}: {message}");
        let mut args = sft_args();
        args["seed"] = json!(6);
        let (code, message) = resume("sft", args, rows, bytes.clone()).await;
        assert!(code == "bad-config" && message.contains("seed"), "{code}: {message}");
        assert_eq!(resume("dpo", dpo_args(), dpo_rows(), bytes.clone()).await.0, "bad-config");
        let mut broken = bytes;
        let end = broken.len();
        broken[end - 2..].copy_from_slice(&[0xc0, 0x7f]);
        assert_eq!(resume("sft", sft_args(), sft_rows(), broken).await.0, "not-finite");
        Ok(())
    }
);

fl_test!(
    async fn recomputed_activations_change_nothing_but_memory() -> Result<()> {
        let model = llama().await?;
        let mut curves = Vec::new();
        let mut bytes = Vec::new();
        for flag in [false, true] {
            let set =
                model.adapters.fresh(&serde_json::from_value(json!({"r": 4, "target_modules": "all-linear"})).expect("a config"), 3)?;
            let args = TrainingArguments { gradient_checkpointing: Some(flag), learning_rate: 1e-2, ..arguments() };
            let row = |i: u32| (0..64).map(|t| (i + t * 7) % 96).collect::<Vec<u32>>();
            let rows = (0..4).map(|i| Example { ids: row(i), labels: row(i), ..Example::default() }).collect();
            let target = Target::Adapter { set, name: "x".into() };
            let mut t = Trainer::new(model.model.clone(), target, None, args, Box::new(Sft::new(rows)))?;
            let mut curve = Vec::new();
            for _ in 0..3 {
                curve.push(numbers(&t.step().await?.expect("three of ten")));
            }
            curves.push(curve);
            bytes.push(t.activation_bytes());
        }
        assert_eq!(curves[0], curves[1]);
        assert!(bytes[1] < bytes[0], "activations: {} bytes kept, {} recomputed", bytes[0], bytes[1]);
        report!("activations of two layers: {} bytes kept, {} recomputed", bytes[0], bytes[1]);
        Ok(())
    }
    async fn activations_that_wait_as_halves_have_the_same_curve() -> Result<()> {
        let model = llama().await?;
        let mut runs = Vec::new();
        for (fp16, flag) in [(false, false), (true, false), (true, true)] {
            let set =
                model.adapters.fresh(&serde_json::from_value(json!({"r": 4, "target_modules": "all-linear"})).expect("a config"), 3)?;
            let args = TrainingArguments { fp16, gradient_checkpointing: Some(flag), learning_rate: 1e-2, ..arguments() };
            let row = |i: u32| (0..64).map(|t| (i + t * 7) % 96).collect::<Vec<u32>>();
            let rows = (0..4).map(|i| Example { ids: row(i), labels: row(i), ..Example::default() }).collect();
            let mut t = Trainer::new(model.model.clone(), Target::Adapter { set, name: "x".into() }, None, args, Box::new(Sft::new(rows)))?;
            let mut losses = Vec::new();
            while let Some(step) = t.step().await? {
                losses.push(step.metrics.loss());
            }
            runs.push((losses, t.activation_bytes()));
        }
        let (want, kept) = &runs[0];
        assert_eq!(want.len(), 10);
        for (losses, bytes) in &runs[1..] {
            assert_eq!(losses[0], want[0], "the forward pass is the same");
            for (got, want) in losses.iter().zip(want) {
                assert!((got - want).abs() <= 1e-3 * want, "loss {got}, {want} with f32");
            }
            assert!(bytes < kept, "activations: {bytes} bytes, {kept} with f32");
        }
        assert!(runs.iter().any(|r| r.0[9] != want[9]), "nothing was narrowed");
        report!("activations of two layers: {kept} bytes as f32, {} as halves, {} of those recomputed", runs[1].1, runs[2].1);
        Ok(())
    }
    async fn the_second_step_allocates_nothing() -> Result<()> {
        let gpu = gpu().await;
        let model = llama().await?;
        let set = model.adapters.fresh(&serde_json::from_value(json!({"r": 4, "target_modules": ["q_proj"]})).expect("a config"), 3)?;
        let row = Example { ids: (3..30).collect(), labels: (3..30).collect(), ..Example::default() };
        let target = Target::Adapter { set, name: "x".into() };
        let mut t = Trainer::new(
            model.model.clone(),
            target,
            None,
            arguments(),
            Box::new(Sft::new(vec![row.clone(), row.clone(), row.clone(), row])),
        )?;
        t.step().await?;
        let before = (gpu.counters().allocations.get(), gpu.counters().pipelines.get());
        t.step().await?;
        assert_eq!((gpu.counters().allocations.get(), gpu.counters().pipelines.get()), before);
        Ok(())
    }
    /// 26 dispatches per layer and at most twenty more, with LoRA on every linear and nothing computed twice, on both executors. (The distance to
    /// the base, where it is reported, is one more forward pass per row, once.)
    async fn a_lora_step_takes_few_dispatches() -> Result<()> {
        for exec in [Exec::Gpu(gpu().await), cpu()] {
            let model = llama_on(&exec).await?;
            let args = json!({
                "gradient_checkpointing": false, "report_kl": false, "max_steps": 3, "peft_config": {"r": 4}, "per_device_train_batch_size": 1,
            });
            let rows = vec![json!({"input_ids": (3..30).collect::<Vec<u32>>()}); 3];
            let mut t = Training::new(&model, "sft", &args, &rows, None).await?;
            t.step().await?;
            let before = exec.counters().dispatches.get();
            t.step().await?;
            let (spent, layers) = (exec.counters().dispatches.get() - before, model.model.config().num_hidden_layers as u64);
            report!("LoRA step on {}: {spent} dispatches, {layers} layers", exec.info().name);
            assert!(spent <= 26 * layers + 20, "{spent} dispatches on {}", exec.info().name);
        }
        Ok(())
    }
    async fn an_untrained_adapter_changes_nothing() -> Result<()> {
        let model = std::rc::Rc::new(llama().await?);
        let set = model.adapters.fresh(&serde_json::from_value(json!({"r": 8, "target_modules": "all-linear"})).expect("a config"), 3)?;
        model.adapters.put("fresh", &set)?;
        let mut g = fledgling::generate::Generator::new(model)?;
        let ids: Vec<u32> = (3..20).collect();
        let base = g.logits_at(&ids, &[16], &AdapterChoice::Base).await?;
        let with = g.logits_at(&ids, &[16], &AdapterChoice::Named("fresh".into())).await?;
        assert_eq!(base, with);
        Ok(())
    }
    async fn trainings_that_cannot_be_are_refused() -> Result<()> {
        let model = llama().await?;
        let refuse = async |method: &str, args: Value, rows: Vec<Value>| -> (String, String) {
            match Training::new(&model, method, &args, &rows, None).await {
                Ok(_) => ("accepted".into(), String::new()),
                Err(e) => (e.code().into(), e.to_string()),
            }
        };
        let good = || json!({"input_ids": [3, 4, 5]});
        assert_eq!(refuse("sft", json!({}), vec![]).await.0, "empty-dataset");
        assert_eq!(refuse("dpo", json!({}), vec![]).await.0, "empty-dataset");
        let (code, message) = refuse("sft", json!({}), vec![good(), json!({"prompt": "a"})]).await;
        assert!(code == "bad-row" && message.starts_with("row 1:"), "{code}: {message}");
        assert_eq!(refuse("sft", json!({}), vec![json!({"input_ids": [3, 96]})]).await.0, "bad-row");
        assert_eq!(refuse("dpo", json!({}), vec![json!({"prompt": "a", "chosen": "b"})]).await.0, "bad-row");
        // This model has no tokenizer.
        assert_eq!(refuse("sft", json!({}), vec![json!({"text": "abc"})]).await.0, "bad-config");
        assert_eq!(refuse("nosuch", json!({}), vec![good()]).await.0, "bad-config");
        // Rows of another method, fields of another method, fields of none.
        assert_eq!(refuse("kto", json!({}), dpo_rows()).await.0, "bad-row");
        assert_eq!(refuse("orpo", json!({}), kto_rows()).await.0, "bad-row");
        let (code, message) = refuse("orpo", json!({"label_smoothing": 0.1}), dpo_rows()).await;
        assert!(code == "bad-config" && message.contains("label_smoothing"), "{code}: {message}");
        let (code, message) = refuse("kto", json!({"desirable_wieght": 2}), kto_rows()).await;
        assert!(code == "bad-config" && message.contains("did you mean desirable_weight?"), "{code}: {message}");
        let (code, message) = refuse("kto", json!({"peft_config": {"lora_alfa": 2}}), kto_rows()).await;
        assert!(code == "bad-config" && message.contains("did you mean lora_alpha?"), "{code}: {message}");
        let (code, message) = refuse("dpo", json!({"reference": "init"}), dpo_rows()).await;
        assert!(code == "bad-config" && message.contains("reference"), "{code}: {message}");
        assert_eq!(refuse("sft", json!({"learning_rate": "high"}), vec![good()]).await.0, "bad-config");
        for peft in [
            json!({"r": 0}),
            json!({"target_modules": ["nothing"]}),
            json!({"use_dora": true, "lora_dropout": 0.1}),
            json!({"r": 1_000_000}),
            json!(7),
        ] {
            let (code, message) = refuse("sft", json!({"peft_config": peft}), vec![good()]).await;
            assert!(code == "bad-config" || code == "bad-adapter", "{peft}: {code}: {message}");
        }
        let long = json!({"input_ids": (0..200).map(|i| i % 90 + 3).collect::<Vec<_>>()});
        assert_eq!(refuse("sft", json!({"max_length": null}), vec![long.clone()]).await.0, "context-overflow");
        assert_eq!(refuse("sft", json!({}), vec![long]).await.0, "accepted");
        Ok(())
    }
    async fn a_loss_that_is_no_number_leaves_the_weights_alone() -> Result<()> {
        let model = llama().await?;
        let (_, config, weights, _) = adapter_files!("default");
        let mut adapter = LoraAdapter::read(config, weights)?;
        adapter.pairs.iter_mut().for_each(|p| p.b.iter_mut().for_each(|v| *v *= 1e30));
        model.adapters.add("default", &adapter)?;
        let (_, before) = model.adapters.save("default").await?;
        let mut t = Training::new(&model, "sft", &json!({"max_steps": 3}), &sft_rows(), None).await?;
        let error = t.step().await.expect_err("a loss of NaN");
        assert_eq!(error.code(), "not-finite", "{error}");
        assert!(model.adapters.save("default").await?.1 == before);
        Ok(())
    }
    async fn an_activation_too_large_for_a_half_leaves_the_weights_alone() -> Result<()> {
        let (_, config, weights, _) = adapter_files!("default");
        let mut told_apart = 0;
        // Somewhere on the way up activations are too much for halves and not for floats.
        for scale in [3e2, 3e3, 3e4, 3e5] {
            let mut ended = Vec::new();
            for fp16 in [false, true] {
                let model = llama().await?;
                let mut adapter = LoraAdapter::read(config, weights)?;
                adapter.pairs.iter_mut().for_each(|p| p.b.iter_mut().for_each(|v| *v *= scale));
                model.adapters.add("default", &adapter)?;
                let (_, before) = model.adapters.save("default").await?;
                let mut t = Training::new(&model, "sft", &json!({"max_steps": 1, "fp16": fp16}), &sft_rows(), None).await?;
                let code = t.step().await.err().map(|e| e.code());
                assert!(code.is_none() || code == Some("not-finite"), "{code:?}");
                assert_eq!(model.adapters.save("default").await?.1 == before, code.is_some(), "scale {scale}, fp16 {fp16}: {code:?}");
                ended.push(code.is_some());
            }
            told_apart += usize::from(ended == [false, true]);
        }
        assert!(told_apart > 0, "halves and floats end alike");
        Ok(())
    }
);
