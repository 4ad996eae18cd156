//! What a broken or malicious file, a small device or an adapter gone wrong may do: a typed error, in time, and nothing else.

use std::rc::Rc;

use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::formats::Container;
use fledgling::formats::peft::LoraAdapter;
use fledgling::generate::{FinishReason, GenerateOptions, Generator};
use fledgling::gpu::GpuOptions;
use fledgling::graph::{Desc, Exec, Tensor};
use fledgling::models::{LoadOptions, ModelLoader};
use fledgling::tensor::DType;
use fledgling::{Error, Result};

use crate::harness::{cpu, devices, gpu_with};

static GGUF: &[u8] = include_bytes!("../fixtures/models/llama_gguf/model.gguf");
static CONFIG: &str = include_str!("../fixtures/models/llama/config.json");
static WEIGHTS: &[u8] = include_bytes!("../fixtures/models/llama/model.safetensors");
static ADAPTER: (&str, &[u8]) = (
    include_str!("../fixtures/training/adapters/default/adapter_config.json"),
    include_bytes!("../fixtures/training/adapters/default/adapter_model.safetensors"),
);

async fn load(exec: &Exec, config: Option<&str>, file: &[u8]) -> Result<LoadedModel> {
    let mut loader = ModelLoader::new(exec, LoadOptions::default());
    if let Some(c) = config {
        loader.add_text("config.json", c);
    }
    loader.begin_file("model.file", Some(file.len() as u64))?;
    loader.push(file)?;
    loader.end_file()?;
    Ok(loader.finish().await?.into())
}

/// The tiny llama with a context of 4096.
async fn llama(exec: &Exec) -> Result<LoadedModel> {
    let config = CONFIG.replace("\"max_position_embeddings\": 128", "\"max_position_embeddings\": 4096");
    load(exec, Some(&config), WEIGHTS).await
}

fl_test!(
    /// Every bit of everything that says what the file holds; of the tokenizer's long lists every eleventh byte.
    async fn flipped_bits_of_a_header_never_panic() -> Result<()> {
        let exec = cpu();
        let c = Container::parse("f", GGUF)?;
        let find = |needle: &str| GGUF.windows(needle.len()).position(|w| w == needle.as_bytes()).expect("it is in the header");
        let (lists, tensors) = (find("tokenizer.ggml.tokens"), find("token_embd.weight").min(find("blk.0.")) - 16);
        let (mut refused, mut tried) = (0, 0);
        for at in 0..c.data_start as usize {
            if (lists..tensors).contains(&at) && at % 11 > 0 {
                continue;
            }
            for bit in 0..8 {
                let mut bad = GGUF.to_vec();
                bad[at] ^= 1 << bit;
                tried += 1;
                refused += usize::from(load(&exec, None, &bad).await.is_err());
            }
        }
        report!("{refused} of {tried} flips were refused");
        assert!(refused > tried / 4, "{refused} of {tried}");
        Ok(())
    }

    /// A norm said to be of quantized blocks has no rows that bytes could be counted in.
    async fn quantized_vectors_are_refused() -> Result<()> {
        let name = b"blk.0.attn_norm.weight";
        let at = GGUF.windows(name.len()).position(|w| w == name).expect("a norm") + name.len();
        // One dimension, its length, the type.
        let mut bad = GGUF.to_vec();
        assert_eq!(bad[at..at + 4], [1, 0, 0, 0]);
        assert_eq!(bad[at + 12..at + 16], [0; 4]);
        for ty in [2u8, 3, 8] {
            bad[at + 12] = ty;
            let e = load(&cpu(), None, &bad).await.err().expect("a vector of blocks");
            assert!(e.code() == "bad-file" && e.to_string().contains("blk.0.attn_norm.weight"), "{e}");
        }
        Ok(())
    }

    /// A configuration that claims far more than the file holds is refused before anything is allocated for it.
    async fn a_claimed_size_costs_no_memory() -> Result<()> {
        for exec in devices().await {
            let before = exec.counters().allocations.get();
            for (from, to) in [
                ("\"intermediate_size\": 48", "\"intermediate_size\": 262144"),
                ("\"num_attention_heads\": 4", "\"num_attention_heads\": 1024"),
                ("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": false, \"attention_bias\": true"),
                ("\"vocab_size\": 96", "\"vocab_size\": 2097152"),
            ] {
                assert!(CONFIG.contains(from), "{from}");
                let e = load(&exec, Some(&CONFIG.replace(from, to)), WEIGHTS).await.err().expect("it does not fit");
                assert_eq!(e.code(), "bad-file", "{to}: {e}");
                assert!(e.to_string().contains("tensor"), "{e}");
            }
            assert_eq!(exec.counters().allocations.get(), before);
        }
        Ok(())
    }

    /// Weights are split over bindings; nothing else is, and says so while there is time.
    async fn what_one_binding_cannot_hold() -> Result<()> {
        let exec = Exec::Gpu(gpu_with(&GpuOptions { max_binding: Some(64 * 1024), ..GpuOptions::default() }).await);
        let rows = |shape: &[usize], dtype| -> Result<usize, &'static str> {
            let t = Tensor::zeros(&exec, "t", Desc { shape: shape.to_vec(), dtype }).map_err(|e| e.code())?;
            Ok(t.chunks().iter().map(|c| c.rows).sum())
        };
        assert_eq!(rows(&[1000, 32], DType::F32), Ok(1000));
        assert_eq!(rows(&[1000, 256], DType::Q8_0), Ok(1000));
        // 64 rows, a whole tile, are too many already.
        assert_eq!(rows(&[100, 300], DType::F32), Err("out-of-memory"));
        assert_eq!(rows(&[2, 1000, 16], DType::F32), Err("out-of-memory"));
        assert_eq!(rows(&[1000, 32], DType::U32), Err("out-of-memory"));
        assert_eq!(rows(&[1, 20_000], DType::F32), Err("out-of-memory"));
        assert_eq!(rows(&[20_000], DType::F32), Err("out-of-memory"));
        Ok(())
    }

    /// A cache that one binding must hold: answers end by length where it ends, not by an error far into them.
    async fn generation_ends_where_the_binding_does() -> Result<()> {
        // A layer has keys and values of 16 f32 per token.
        let slots = 300;
        let options = GpuOptions { max_binding: Some(slots * 2 * 16 * 4), ..GpuOptions::default() };
        let exec = Exec::Gpu(gpu_with(&options).await);
        let mut g = Generator::new(Rc::new(llama(&exec).await?))?;
        let prompt: Vec<u32> = (3..12).collect();
        for (n, tokens) in [(1, 291), (3, 97)] {
            let options = GenerateOptions { n, max_new_tokens: 1000, ignore_eos: true, ..GenerateOptions::default() };
            for c in g.run(&prompt, options, &mut |_| ()).await? {
                assert_eq!((c.token_ids.len(), c.finish_reason), (tokens, FinishReason::Length));
            }
        }
        let long: Vec<u32> = (0..400).map(|i| 3 + i % 90).collect();
        assert_eq!(g.start(&long, GenerateOptions::default()).map_err(|e| e.code()), Err("out-of-memory"));
        assert_eq!(g.nll(&long, &AdapterChoice::Base).await.map_err(|e| e.code()), Err("out-of-memory"));
        assert_eq!(g.nll(&long[..300], &AdapterChoice::Base).await?.len(), 299);
        Ok(())
    }

    /// Gate and up rows in different buffers: the two steps are recorded separately, and nothing changes.
    async fn a_gated_weight_in_several_buffers() -> Result<()> {
        let whole = Exec::Gpu(gpu_with(&GpuOptions::default()).await);
        let split = Exec::Gpu(gpu_with(&GpuOptions { max_binding: Some(8192), ..GpuOptions::default() }).await);
        // One chunk of 16 rows, whose activations fit.
        let ids: Vec<u32> = (0..16).map(|i| 3 + i * i % 90).collect();
        let mut nll = Vec::new();
        for exec in [&whole, &split] {
            let mut g = Generator::new(Rc::new(llama(exec).await?))?;
            nll.push(g.nll(&ids, &AdapterChoice::Base).await?);
            let options = GenerateOptions { max_new_tokens: 5, ignore_eos: true, ..GenerateOptions::default() };
            assert_eq!(g.run(&ids, options, &mut |_| ()).await?[0].token_ids.len(), 5);
        }
        assert!(nll[0].iter().zip(&nll[1]).all(|(a, b)| (a - b).abs() < 1e-5), "{nll:?}");
        Ok(())
    }

    /// An adapter that has run away gives no numbers: an error, and the model without it is as good as before.
    async fn logits_that_are_no_numbers_are_an_error() -> Result<()> {
        for exec in devices().await {
            let model = Rc::new(llama(&exec).await?);
            let mut adapter = LoraAdapter::read(ADAPTER.0, ADAPTER.1)?;
            adapter.pairs.iter_mut().for_each(|p| p.b.iter_mut().for_each(|v| *v *= 1e30));
            model.adapters.add("wild", &adapter)?;
            let mut g = Generator::new(model)?;
            let prompt: Vec<u32> = (3..20).collect();
            let base = || GenerateOptions {
                n: 2,
                max_new_tokens: 5,
                ignore_eos: true,
                adapter: AdapterChoice::Base,
                ..GenerateOptions::default()
            };
            let before = g.run(&prompt, base(), &mut |_| ()).await?;
            let wild = AdapterChoice::Named("wild".into());
            match g.run(&prompt, GenerateOptions { adapter: wild.clone(), ..base() }, &mut |_| ()).await {
                Err(e @ Error::NotFinite(_)) => assert!(e.to_string().contains("wild"), "{e}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(g.nll(&prompt, &wild).await.map_err(|e| e.code()), Err("not-finite"));
            assert_eq!(g.logits_at(&prompt, &[3], &wild).await.map_err(|e| e.code()), Err("not-finite"));
            let after = g.run(&prompt, base(), &mut |_| ()).await?;
            assert_eq!((&after[0].token_ids, &after[0].logprobs), (&before[0].token_ids, &before[0].logprobs));

            // What lies in slots that nobody sees, because answers leave some free, does not reach anyone either: blocks of keys for many rows
            // give them the weight 0. Neither where the run was reported nor where it was broken off before anybody looked.
            let many = || GenerateOptions { n: 12, ..base() };
            let before = g.run(&prompt, many(), &mut |_| ()).await?;
            let long: Vec<u32> = (0..120).map(|i| 3 + i * 7 % 80).collect();
            for reported in [true, false] {
                g.start(&long, GenerateOptions { adapter: wild.clone(), ..base() })?;
                g.step().await.map(|_| ()).or_else(|e| if matches!(e, Error::NotFinite(_)) { Ok(()) } else { Err(e) })?;
                if reported {
                    while let Ok(Some(_)) = g.step().await {}
                }
                g.reset();
                let after = g.run(&prompt, many(), &mut |_| ()).await?;
                for (a, b) in after.iter().zip(&before) {
                    assert_eq!((&a.token_ids, &a.logprobs), (&b.token_ids, &b.logprobs), "reported: {reported}");
                }
            }
        }
        Ok(())
    }
);
