//! Supervised tuning in its variants, against TRL's SFTTrainer: packing, label smoothing, Dynamic Fine-Tuning, noise on the embeddings.

use fledgling::adapters::LoadedModel;
use fledgling::data::{Packing, RowOptions, RowReader};
use fledgling::tune::{ModelText, Training};
use fledgling::{Error, Result};
use serde_json::{Value, json};

use crate::harness::{cpu, devices};
use crate::training::{acting, curve, distance, follow_on, tiny_on, trainer};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../fixtures/sft/", $name)) as &[u8]
    };
}

const CURVES: [(&str, &[u8]); 12] = [
    ("sft_completion", fixture!("sft_completion.json")),
    ("sft_accumulate", fixture!("sft_accumulate.json")),
    ("sft_assistant", fixture!("sft_assistant.json")),
    ("sft_packed", fixture!("sft_packed.json")),
    ("sft_packed_one", fixture!("sft_packed_one.json")),
    ("sft_label_smoothing", fixture!("sft_label_smoothing.json")),
    ("sft_packed_smoothing", fixture!("sft_packed_smoothing.json")),
    ("sft_smoothing_accumulate", fixture!("sft_smoothing_accumulate.json")),
    ("sft_dft", fixture!("sft_dft.json")),
    ("sft_packed_split", fixture!("sft_packed_split.json")),
    ("sft_packed_wrapped", fixture!("sft_packed_wrapped.json")),
    ("sft_keep_end", fixture!("sft_keep_end.json")),
];

fn args(own: &Value) -> Value {
    let mut all = json!({"max_steps": 3, "learning_rate": 1e-3, "lr_scheduler_type": "constant", "per_device_train_batch_size": 2,
        "shuffle": false, "peft_config": {"r": 4, "target_modules": ["q_proj", "v_proj"]}});
    all.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
    all
}

fn rows() -> Vec<Value> {
    (0..6u32).map(|i| json!({"input_ids": (0..4 + 3 * i).map(|t| (7 * i + 3 * t) % 90 + 3).collect::<Vec<u32>>()})).collect()
}

async fn losses(model: &LoadedModel, own: &Value) -> Result<Vec<f64>> {
    let mut t = Training::new(model, "sft", &args(own), &rows(), None).await?;
    let mut all = Vec::new();
    while let Some(m) = t.step().await? {
        all.push(m.metrics.loss());
    }
    model.adapters.remove("default");
    Ok(all)
}

fl_test!(
    /// Six updates each, on both executors.
    async fn curves_are_trls() -> Result<()> {
        for exec in devices().await {
            let model = tiny_on(exec).await?;
            for (name, bytes) in CURVES {
                // DFT weighs a token by its own probability, here about a hundredth. AdamW makes whole steps of gradients that are as small as the
                // rounding of others, so that norms drift apart; the first gradients are compared by themselves.
                let tolerance = if name == "sft_dft" { 5e-3 } else { 1e-3 };
                let first = follow_on(&model, "sft", name, bytes, tolerance).await?.metrics.loss();
                let want = curve(bytes).2[0]["loss"].as_f64().expect("a loss");
                assert!((first - want).abs() < 1e-4 * want.abs().max(0.1), "{name}: the first loss is {first}, TRL's {want}");
            }
        }
        Ok(())
    }

    async fn gradients_are_trls() -> Result<()> {
        for exec in devices().await {
            let model = tiny_on(exec).await?;
            for (name, bytes, grads) in [
                ("completion", fixture!("sft_completion.json"), fixture!("sft_completion_grad_step0.safetensors")),
                ("packed", fixture!("sft_packed.json"), fixture!("sft_packed_grad_step0.safetensors")),
                ("smoothing", fixture!("sft_label_smoothing.json"), fixture!("sft_label_smoothing_grad_step0.safetensors")),
                ("packed, smoothing", fixture!("sft_packed_smoothing.json"), fixture!("sft_packed_smoothing_grad_step0.safetensors")),
                ("dft", fixture!("sft_dft.json"), fixture!("sft_dft_grad_step0.safetensors")),
            ] {
                let (config, rows, _) = curve(bytes);
                let set = acting(&model)?;
                trainer("sft", &model, &set, &config, &rows)?.gradients().await?;
                let off = distance(&set.export_grads().await?, grads, "grad/");
                assert!(off < 1e-3, "{name}: gradients are off by {off}");
                report!("gradients of {name}: {off:.1e}");
            }
        }
        Ok(())
    }

    /// The packs that TRL made, in its order.
    async fn packs_are_trls() -> Result<()> {
        let model = tiny_on(cpu()).await?;
        for (name, bytes) in CURVES.into_iter().filter(|c| c.0.starts_with("sft_packed")) {
            let fixture: Value = serde_json::from_slice(bytes).expect("a curve");
            let config = &fixture["config"];
            let text = ModelText::of(&model);
            let reader = RowReader::new(&text, RowOptions { whole: true, ..RowOptions::default() });
            let packing = Packing::from_name(config["packing_strategy"].as_str().expect("a text"));
            let packs = packing
                .pack(&reader.sft(fixture["rows"].as_array().expect("rows"))?, config["max_length"].as_u64().expect("a length") as usize);
            let want = fixture["packed"].as_array().expect("packs");
            assert_eq!(packs.len(), want.len(), "{name}");
            for (pack, want) in packs.iter().zip(want) {
                assert_eq!(json!(pack.ids), want["input_ids"], "{name}");
                let lens: Vec<usize> = pack.documents().map(|d| d.len()).collect();
                assert!(
                    want["seq_lengths"].is_null() || json!(lens) == want["seq_lengths"],
                    "{name}: {lens:?} for {}",
                    want["seq_lengths"]
                );
            }
        }
        Ok(())
    }

    /// However rows are laid out, what is learned is the same.
    async fn packed_and_unpacked_learn_the_same() -> Result<()> {
        for exec in devices().await {
            let model = tiny_on(exec).await?;
            // All rows in one update.
            let plain = losses(&model, &json!({"per_device_train_batch_size": 6})).await?;
            for other in [
                json!({"per_device_train_batch_size": 6, "padding_free": true}),
                json!({"gradient_accumulation_steps": 6, "per_device_train_batch_size": 1}),
                json!({"per_device_train_batch_size": 9, "packing": true, "max_length": 24}),
                json!({"per_device_train_batch_size": 9, "packing": true, "max_length": 200}),
                json!({"per_device_train_batch_size": 1, "gradient_accumulation_steps": 9, "packing": true, "packing_strategy": "bfd_split", "max_length": 40}),
            ] {
                let got = losses(&model, &other).await?;
                let off = got.iter().zip(&plain).map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max);
                assert!(got.len() == plain.len() && off < 1e-4, "{other}: {got:?} for {plain:?}");
            }
        }
        Ok(())
    }

    /// Noise is there in updates, the same twice, another with another seed; nothing else is moved.
    async fn noise_on_embeddings() -> Result<()> {
        for exec in devices().await {
            let model = tiny_on(exec).await?;
            let plain = losses(&model, &json!({})).await?;
            let noisy = losses(&model, &json!({"neftune_noise_alpha": 5.0})).await?;
            assert_eq!(noisy, losses(&model, &json!({"neftune_noise_alpha": 5})).await?);
            assert!(noisy.iter().zip(&plain).all(|(a, b)| (a - b).abs() > 1e-6), "{noisy:?} without noise {plain:?}");
            assert_ne!(noisy[0], losses(&model, &json!({"neftune_noise_alpha": 5.0, "seed": 7, "data_seed": 42})).await?[0]);
            assert_eq!(plain, losses(&model, &json!({"neftune_noise_alpha": 0})).await?);
            // The smaller the noise, the smaller is what it does.
            let little = losses(&model, &json!({"neftune_noise_alpha": 1e-4})).await?;
            assert!(little.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-4), "{little:?} without noise {plain:?}");
        }
        Ok(())
    }

    async fn what_cannot_be_packed_is_refused() -> Result<()> {
        let model = tiny_on(cpu()).await?;
        let start = async |own: Value| Training::new(&model, "sft", &args(&own), &rows(), None).await;
        match start(json!({"packing": true, "max_length": null})).await {
            Err(Error::BadConfig { field, .. }) => assert_eq!(field, "max_length"),
            other => panic!("{:?}", other.err()),
        }
        for (field, value) in [("packing_strategy", json!("ffd")), ("loss_type", json!("mse")), ("label_smoothing_factor", json!(1))] {
            let error = start(json!({ field: value })).await.err().expect("refused").to_string();
            assert!(error.contains(field), "{error}");
        }
        let notes = start(json!({"packing": true, "max_length": 24})).await?.notes().join("; ");
        assert!(notes.contains("6 rows are 3 packs of up to 24 tokens, 96 % full"), "{notes}");
        let notes = start(json!({"loss_type": "dft", "label_smoothing_factor": 0.1})).await?.notes().join("; ");
        assert!(notes.contains("label_smoothing_factor has no effect"), "{notes}");
        Ok(())
    }
);
