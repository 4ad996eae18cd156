//! Folders of safetensors written as GGUFs: what comes out computes what went in, or is refused.

use std::collections::HashMap;
use std::rc::Rc;

use fledgling::adapters::AdapterChoice;
use fledgling::formats::Container;
use fledgling::generate::Generator;
use fledgling::models::{GgufExport, LoadOptions, Quantization, gguf_tokenizer};
use fledgling::tokenizer::Tokenizer;
use fledgling::{Error, Result};
use serde_json::{Value as Json, json};

use crate::families::fixtures;
use crate::harness::cpu;
use crate::models::{B, Expected, T, difference, load};
use crate::tokenizer_shapes::{all_files, texts};

/// The whole file in memory.
fn written(export: &GgufExport, weights: &[u8], header: &Container) -> Result<Vec<u8>> {
    let layout = export.layout();
    let mut out = layout.header.clone();
    for (i, t) in export.tensors().iter().enumerate() {
        out.resize(layout.tensors[i].offset as usize, 0);
        out.extend(export.known(i).unwrap_or_default());
        for (_, tensor) in t.parts() {
            // In two pieces of whole groups, as a disk would give them.
            let bytes = header.bytes(weights, *tensor)?;
            let unit = bytes.len() / header.tensors[*tensor].shape[0] * t.group();
            let half = bytes.len() / unit / 2 * unit;
            out.extend(export.rows(i, &bytes[..half])?);
            out.extend(export.rows(i, &bytes[half..])?);
        }
    }
    out.resize(layout.total_bytes as usize, 0);
    Ok(out)
}

fn export(config: &str, weights: &[u8], wanted: Option<&str>) -> Result<(GgufExport, Container)> {
    let header = Container::parse("model.safetensors", weights)?;
    let texts = HashMap::from([("config.json".to_string(), config.to_string())]);
    let wanted = wanted.map(|w| Quantization::parse(w).expect("a type"));
    Ok((GgufExport::new(&texts, std::slice::from_ref(&header), "tiny", wanted)?, header))
}

fl_test!(
    /// Every family, in floats: the file's logits are Transformers'.
    async fn every_family_is_written_as_it_is_read() -> Result<()> {
        let exec = cpu();
        for f in fixtures() {
            if f.name == "qwen3_windows" {
                // A GGUF of Qwen 3 cannot say which layers have a window.
                let refused = export(f.config, f.weights, None).err();
                assert!(matches!(&refused, Some(Error::BadConfig { field, .. }) if field == "windowed"), "{refused:?}");
                continue;
            }
            let e = Expected::read(f.expected);
            let (export, header) = export(f.config, f.weights, None).inspect_err(|e| report!("{}: {e}", f.name))?;
            let file = written(&export, f.weights, &header)?;
            let loaded = load(&exec, None, &file, 4099, LoadOptions::default()).await.inspect_err(|e| report!("{}: {e}", f.name))?;
            let mut g = Generator::new(Rc::new(loaded))?;
            let (ids, v) = (e.ids(), e.get("logits").len() / (B * T));
            let len = e.lengths()[0];
            let got = g.logits_at(&ids[..len], &[len - 1], &AdapterChoice::Base).await?.remove(0);
            let d = difference(&got, &e.get("logits")[(len - 1) * v..][..v]);
            assert!(d <= 2e-5, "{}: logits differ by {d}", f.name);
        }
        Ok(())
    }

    /// In blocks: the same bytes as the folder quantized while it is loaded.
    async fn a_written_mix_is_the_one_that_is_loaded() -> Result<()> {
        let exec = cpu();
        let config = include_str!("../fixtures/models/llama/config.json");
        let weights = include_bytes!("../fixtures/models/llama/model.safetensors");
        let (export, header) = export(config, weights, Some("q4_k_m"))?;
        let file = written(&export, weights, &header)?;
        let from_file = load(&exec, None, &file, 1 << 20, LoadOptions::default()).await?;
        let options = LoadOptions { quantize: Some(Quantization::parse("q4_k_m").expect("a mix")), ..LoadOptions::default() };
        let from_folder = load(&exec, Some(config), weights, 1 << 20, options).await?;
        let mut packed = 0;
        for path in from_folder.model.params().paths() {
            let (a, b) = (from_folder.model.params(), from_file.model.params());
            let dtype = |p: &fledgling::nn::ParamStore| p.tensor(p.find(path).expect("the same keys").id).desc().dtype;
            assert_eq!(dtype(a), dtype(b), "{path}");
            packed += usize::from(dtype(a).is_quantized());
            assert_eq!(a.read(path).await?, b.read(path).await?, "{path}");
        }
        assert!(packed > 10, "{packed} matrices in blocks");
        Ok(())
    }

    /// Every tokenizer of the fixtures: written and read again it gives the same ids, or it is refused.
    async fn tokenizers_are_written_or_refused() -> Result<()> {
        let config = include_str!("../fixtures/models/llama/config.json");
        let weights = include_bytes!("../fixtures/models/llama/model.safetensors");
        let rows = 4096;
        let config = config.replace("\"vocab_size\": 96", &format!("\"vocab_size\": {rows}"));
        let mut header = Container::parse("model.safetensors", weights)?;
        for t in &mut header.tensors {
            if t.name == "model.embed_tokens.weight" || t.name == "lm_head.weight" {
                t.shape[0] = rows;
            }
        }
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        for (name, file) in all_files() {
            let file = file.to_string();
            let template = json!({"chat_template": "{{ messages[0].content }}"}).to_string();
            let texts_of = [("config.json", config.clone()), ("tokenizer.json", file.clone()), ("tokenizer_config.json", template)];
            let folder: HashMap<String, String> = texts_of.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
            match GgufExport::new(&folder, std::slice::from_ref(&header), "tiny", None) {
                Err(Error::BadFile { file, message }) => {
                    assert_eq!(file, "tokenizer.json", "{name}: {message}");
                    refused.push(name);
                }
                Err(e) => panic!("{name}: {e}"),
                Ok(export) => {
                    let layout = export.layout();
                    let mut bytes = layout.header.clone();
                    bytes.resize(layout.total_bytes as usize, 0);
                    let c = Container::parse("tiny.gguf", &bytes)?;
                    let (a, b) = (Tokenizer::from_json("tokenizer.json", &file, None)?, gguf_tokenizer(&c)?.expect("it has one"));
                    if export.warnings.is_empty() {
                        for text in texts() {
                            assert_eq!(a.encode(&text), b.encode(&text), "{name}: {text:?}");
                        }
                    }
                    assert_eq!(b.render_chat(&[json!({"role": "user", "content": "hi"})], false)?, "hi", "{name}");
                    kept.push(name);
                }
            }
        }
        report!("written: {}; refused: {}", kept.join(" "), refused.join(" "));
        for name in ["byte_level", "llama3", "gpt4o", "qwen35", "digits", "deepseek", "llama2", "gemma"] {
            assert!(kept.iter().any(|k| k == name), "{name}");
        }
        for name in ["whitespace", "nfkd", "bert", "suffix"] {
            assert!(refused.iter().any(|k| k == name), "{name}");
        }
        Ok(())
    }

    /// What cannot be written says why.
    async fn what_a_gguf_cannot_hold_is_refused_by_name() {
        let f = fixtures().into_iter().find(|f| f.name == "smollm3").expect("a fixture");
        let mut c: Json = serde_json::from_str(f.config).expect("a config");
        let layers = c["num_hidden_layers"].as_u64().expect("a number") as usize;
        c["no_rope_layers"] = vec![1; layers].into();
        let e = export(&c.to_string(), f.weights, None).err();
        assert!(matches!(&e, Some(Error::BadConfig { field, .. }) if field == "rotated"), "{e:?}");
        let gpt2 = include_bytes!("../fixtures/models/gpt2/model.safetensors");
        let e = export(include_str!("../fixtures/models/gpt2/config.json"), gpt2, Some("q4_0")).err();
        assert!(matches!(&e, Some(Error::UnsupportedArchitecture { supported, .. }) if supported.contains("--quantize")), "{e:?}");
    }
);
