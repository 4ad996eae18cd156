//! Legal files that are odd where nobody looks: what a model does not need is no reason to refuse it, and what is left out of account is said.

use std::rc::Rc;

use fledgling::adapters::LoadedModel;
use fledgling::formats::{Array, Container, Metadata, Value};
use fledgling::generate::{GenerateOptions, Generator};
use fledgling::models::{Config, GgufQuantize, LoadOptions, gguf_tokenizer};
use fledgling::tensor::DType;
use fledgling::tune::Training;
use fledgling::{Error, Result};
use serde_json::json;

use crate::harness::cpu;
use crate::models::load;

static GGUF: &[u8] = include_bytes!("../fixtures/models/llama_gguf/model.gguf");
static CONFIG: &str = include_str!("../fixtures/models/llama/config.json");
static WEIGHTS: &[u8] = include_bytes!("../fixtures/models/llama/model.safetensors");

/// The tiny GGUF with other metadata, and with more tensors: name, number of ggml's type, elements.
fn changed(edit: impl Fn(&mut Metadata), more: &[(&str, u32, usize)]) -> Vec<u8> {
    let container = Container::parse("tiny.gguf", GGUF).expect("a fixture");
    let mut metadata = container.metadata.clone();
    edit(&mut metadata);
    let zeros = vec![0; 8 * 1024];
    let mut tensors: Vec<_> = (container.tensors.iter().enumerate())
        .map(|(i, t)| (t.name.as_str(), t.dtype, t.shape.clone(), container.bytes(GGUF, i).expect("inside")))
        .collect();
    // Written as floats, and then said to be something else.
    more.iter().for_each(|(name, _, n)| tensors.push((name, DType::F32, vec![*n], &zeros[..4 * n])));
    let views: Vec<_> = tensors.iter().map(|(n, d, s, b)| (*n, *d, s.as_slice(), *b)).collect();
    let mut bytes = fledgling::formats::gguf::write(&metadata, &views).expect("a GGUF");
    for (name, ty, _) in more {
        let at = bytes.windows(name.len()).rposition(|w| w == name.as_bytes()).expect("its entry") + name.len() + 4 + 8;
        bytes[at..at + 4].copy_from_slice(&ty.to_le_bytes());
    }
    bytes
}

fn set(m: &mut Metadata, key: &str, value: Value) {
    m.remove(key);
    m.insert(key, value);
}

async fn loaded(file: &[u8]) -> Result<LoadedModel> {
    load(&cpu(), None, file, 4099, LoadOptions::default()).await
}

async fn answer(file: &[u8]) -> Result<Vec<u32>> {
    let mut g = Generator::new(Rc::new(loaded(file).await?))?;
    let options = GenerateOptions { max_new_tokens: 4, ignore_eos: true, ..GenerateOptions::default() };
    Ok(g.run(&[5, 6, 7], options, &mut |_| ()).await?.remove(0).token_ids)
}

/// Arrays of arrays, as GGUF writes them behind a key.
fn with_nested(file: &[u8], key: &str) -> Vec<u8> {
    let inner = |n: u64| [&4u32.to_le_bytes()[..], &n.to_le_bytes(), &vec![7; 4 * n as usize]].concat();
    let text = [&8u32.to_le_bytes()[..], &1u64.to_le_bytes(), &2u64.to_le_bytes(), b"ab"].concat();
    let deeper = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &inner(1)].concat();
    let array = [&9u32.to_le_bytes()[..], &9u32.to_le_bytes(), &4u64.to_le_bytes(), &inner(3), &inner(0), &text, &deeper].concat();
    let entry = [&(key.len() as u64).to_le_bytes()[..], key.as_bytes(), &array].concat();
    let c = Container::parse("f", file).expect("a GGUF");
    let (infos, data) = (file[24..].to_vec(), c.data_start as usize);
    let mut keys = u64::from_le_bytes(file[16..24].try_into().expect("8 bytes"));
    keys += 1;
    let mut out = [&file[..16], &keys.to_le_bytes(), &entry, &infos[..data - 24]].concat();
    // Padding of the old header is in front of the new one: the table has ended, so that it only moves the data.
    let end = c.tensors.iter().map(|t| &t.name).chain(c.skipped.iter().map(|t| &t.name)).next_back().expect("tensors");
    let table = out.windows(end.len()).rposition(|w| w == end.as_bytes()).expect("its entry") + end.len();
    let dims = u32::from_le_bytes(out[table..table + 4].try_into().expect("4 bytes")) as usize;
    out.truncate(table + 4 + 8 * dims + 4 + 8);
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(&file[data..]);
    out
}

fl_test!(
    async fn special_ids_that_nothing_uses() -> Result<()> {
        let want = answer(GGUF).await?;
        for none in [Value::U32(u32::MAX), Value::I32(-1), Value::I64(-1), Value::U64(u64::MAX), Value::U32(5000)] {
            let file = changed(
                |m| {
                    for key in ["padding", "unknown", "eos", "eot", "bos"] {
                        set(m, &format!("tokenizer.ggml.{key}_token_id"), none.clone());
                    }
                    set(m, "tokenizer.ggml.add_bos_token", Value::Bool(false));
                },
                &[],
            );
            assert_eq!(answer(&file).await?, want, "{none:?}");
            let model = loaded(&file).await?;
            let t = model.tokenizer()?;
            assert_eq!((t.bos_token_id(), t.eos_token_id(), t.pad_token_id()), (None, None, None), "{none:?}");
            assert_eq!(model.model.config().eos_token_ids, [0u32; 0]);
        }
        // Written before every text, it is used.
        let file = changed(
            |m| {
                set(m, "tokenizer.ggml.bos_token_id", Value::U32(5000));
                set(m, "tokenizer.ggml.add_bos_token", Value::Bool(true));
            },
            &[],
        );
        let e = loaded(&file).await?.tokenizer().expect_err("no such token").to_string();
        assert!(e.contains("5000"), "{e}");
        // In a config.json, too.
        for (from, to) in
            [("\"eos_token_id\": 2", "\"eos_token_id\": -1"), ("\"eos_token_id\": 2", "\"eos_token_id\": [2, 4294967295, 5000]")]
        {
            assert!(CONFIG.contains(from));
            let config = Config::from_json("config.json", &CONFIG.replace(from, to))?;
            assert_eq!(config.eos_token_ids, if to.contains('[') { vec![2] } else { vec![] });
            let mut config = Config::from_json("config.json", CONFIG)?;
            config.add_generation_config("generation_config.json", &format!("\u{feff}{{{to}}}"))?;
            assert_eq!(config.eos_token_ids, [2]);
        }
        Ok(())
    }

    async fn tokenizers_larger_than_the_embedding() -> Result<()> {
        let file = changed(
            |m| {
                let tokens = m.strs("tokenizer.ggml.tokens").expect("a list").iter().map(str::to_string);
                let tokens: Vec<String> = tokens.chain(["<extra>".into(), "<more>".into()]).collect();
                set(m, "tokenizer.ggml.tokens", Value::Array(Array::String(tokens.iter().collect())));
                if let Some(mut types) = m.opt_i32s("tokenizer.ggml.token_type").expect("a list") {
                    types.extend([3, 3]);
                    set(m, "tokenizer.ggml.token_type", Value::Array(Array::I32(types)));
                }
            },
            &[],
        );
        let model = Rc::new(loaded(&file).await?);
        assert_eq!((model.tokenizer()?.vocab_size(), model.model.config().vocab_size), (98, 96));
        let ids = model.tokenizer()?.encode("ab<extra>");
        assert_eq!(ids.last(), Some(&96));
        let mut g = Generator::new(model.clone())?;
        let e = g.start(&ids, GenerateOptions::default()).expect_err("it has no embedding").to_string();
        assert!(e.contains("96"), "{e}");
        g.run(&model.tokenizer()?.encode("ab"), GenerateOptions { max_new_tokens: 2, ..GenerateOptions::default() }, &mut |_| ()).await?;
        let rows = [json!({"prompt": "a", "completion": "<extra>"})];
        let e =
            Training::new(&model, "sft", &json!({"max_steps": 1}), &rows, None).await.err().expect("nothing to learn it in").to_string();
        assert!(e.contains("96"), "{e}");
        Ok(())
    }

    async fn tensors_and_metadata_that_nobody_asks_for() -> Result<()> {
        let want = answer(GGUF).await?;
        let names = ["x.i8", "x.i16", "x.i32", "x.i64", "x.f64", "x.odd"];
        let more: Vec<(&str, u32, usize)> = names.into_iter().zip(24..29).map(|(n, ty)| (n, ty, 64)).chain([("x.odd", 99, 32)]).collect();
        let file = changed(
            |m| {
                set(m, "x.flag", Value::U8(1));
                set(m, "tokenizer.ggml.add_bos_token", Value::U8(1));
                set(m, "x.empty", Value::Array(Array::F64(vec![])));
            },
            &more,
        );
        let nested = with_nested(&file, "x.nested");
        for file in [&file, &nested] {
            let c = Container::parse("f", file)?;
            assert_eq!(c.skipped.iter().map(|t| t.dtype.as_str()).collect::<Vec<_>>(), ["I8", "I16", "I32", "I64", "F64", "number 99"]);
            assert_eq!(answer(file).await?, want);
            assert!(c.metadata.bool("tokenizer.ggml.add_bos_token")?);
            // A copy would lose them.
            let e = GgufQuantize::new(&c, DType::Q8_0.into()).err().expect("it cannot be copied").to_string();
            assert!(e.contains("x.i8"), "{e}");
        }
        // Arrays of arrays are copied as they were.
        let nested = with_nested(GGUF, "x.nested");
        let c = Container::parse("f", &nested)?;
        let tensors: Vec<_> = (c.tensors.iter().enumerate())
            .map(|(i, t)| Ok((t.name.as_str(), t.dtype, t.shape.as_slice(), c.bytes(&nested, i)?)))
            .collect::<Result<_>>()?;
        let copy = fledgling::formats::gguf::write(&c.metadata, &tensors)?;
        assert_eq!(Container::parse("f", &copy)?.metadata.get("x.nested"), c.metadata.get("x.nested"));
        // A weight of such a type is asked for.
        let mut wrong = GGUF.to_vec();
        let name = b"blk.0.ffn_up.weight";
        let at = wrong.windows(name.len()).position(|w| w == name).expect("its entry") + name.len() + 4 + 16;
        wrong[at] = 27;
        let e = loaded(&wrong).await.err().expect("a weight").to_string();
        assert!(e.contains("I64 of tensor \"blk.0.ffn_up.weight\" is not supported") && e.contains("Q4_K"), "{e}");
        Ok(())
    }

    async fn byte_order_marks() -> Result<()> {
        let config = format!("\u{feff}{CONFIG}");
        Config::from_json("config.json", &config)?;
        load(&cpu(), Some(&config), WEIGHTS, 1 << 20, LoadOptions::default()).await?;
        let adapter = include_str!("../fixtures/training/adapters/default/adapter_config.json");
        let weights = include_bytes!("../fixtures/training/adapters/default/adapter_model.safetensors");
        fledgling::formats::peft::LoraAdapter::read(&format!("\u{feff}{adapter}"), weights)?;
        let index = "\u{feff}{\"weight_map\": {\"a\": \"m.safetensors\"}}";
        fledgling::formats::ShardIndex::parse("i", index)?;
        Ok(())
    }

    async fn web_pages_in_place_of_json() {
        let page = "<!doctype html><title>Sign in</title>";
        for e in [
            Config::from_json("config.json", page).expect_err("a page"),
            fledgling::formats::ShardIndex::parse("index.json", page).expect_err("a page"),
            fledgling::tokenizer::Tokenizer::from_json("tokenizer.json", page, None).expect_err("a page"),
            fledgling::formats::peft::LoraAdapter::read(page, &[]).expect_err("a page"),
        ] {
            assert!(matches!(e, Error::BadFile { .. }) && e.to_string().contains("is a web page"), "{e}");
        }
    }

    /// bitsandbytes, GPTQ, …: told as what they are, from the configuration or the tensors.
    async fn packed_weights_are_told_as_such() -> Result<()> {
        let quantized = CONFIG.replacen('{', "{\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4},", 1);
        let e = load(&cpu(), Some(&quantized), WEIGHTS, 1 << 20, LoadOptions::default()).await.err().expect("packed").to_string();
        assert!(e.contains("GPTQ of 4 bits") && e.contains("GGUF"), "{e}");
        let header = "{\"model.layers.0.mlp.up_proj.weight\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\
            \"model.layers.0.mlp.up_proj.weight.absmax\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}";
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 8]].concat();
        let e = load(&cpu(), Some(CONFIG), &file, 1 << 20, LoadOptions::default()).await.err().expect("packed").to_string();
        assert!(e.contains("bitsandbytes") && e.contains("GGUF"), "{e}");
        Ok(())
    }

    /// A head that shares its weights with the embedding cannot have an adapter added in the file, and that is what is said.
    async fn a_tied_head_is_told_as_such() -> Result<()> {
        let c = Container::parse("tiny.gguf", GGUF)?;
        let tensors: Vec<_> = (c.tensors.iter().enumerate())
            .filter(|(_, t)| t.name != "output.weight")
            .map(|(i, t)| Ok((t.name.as_str(), t.dtype, t.shape.as_slice(), c.bytes(GGUF, i)?)))
            .collect::<Result<_>>()?;
        let tied = fledgling::formats::gguf::write(&c.metadata, &tensors)?;
        let config = include_str!("../fixtures/training/adapters/head/adapter_config.json");
        let weights = include_bytes!("../fixtures/training/adapters/head/adapter_model.safetensors");
        let adapter = fledgling::formats::peft::LoraAdapter::read(config, weights)?;
        fledgling::models::GgufMerge::new(&c, &adapter)?;
        let tied = Container::parse("tied.gguf", &tied)?;
        let e = fledgling::models::GgufMerge::new(&tied, &adapter).err().expect("it has no weights of its own").to_string();
        assert!(e.contains("lm_head") && e.contains("shares its weights with the embedding in tied.gguf"), "{e}");
        Ok(())
    }

    /// The reason why text cannot be used is the tokenizer's, also for who trains.
    async fn training_names_the_tokenizers_fault() -> Result<()> {
        let file = changed(|m| set(m, "tokenizer.ggml.pre", Value::String("martian".into())), &[]);
        let model = loaded(&file).await?;
        let arguments = json!({"max_steps": 1});
        let text = [json!({"prompt": "a", "completion": "b"})];
        let e = Training::new(&model, "sft", &arguments, &text, None).await.err().expect("no such split").to_string();
        assert!(e.contains("martian") && e.contains("smollm"), "{e}");
        let ids = [json!({"input_ids": [5, 6, 7]})];
        let mut training = Training::new(&model, "sft", &arguments, &ids, None).await?;
        assert!(training.submit().await?);
        assert!(gguf_tokenizer(&Container::parse("f", &changed(|m| drop(m.remove("tokenizer.ggml.pre")), &[]))?)?.is_some());
        Ok(())
    }
);
