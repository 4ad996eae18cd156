//! Readers and writers: what a good file gives, and that no bad one does worse than a typed error.
use std::collections::BTreeMap;

use fledgling::formats::safetensors::{self, TensorView};
use fledgling::formats::{Array, Container, ContainerKind, Event, Foreign, Metadata, ShardIndex, StreamReader, Value, gguf};
use fledgling::tensor::{DType, dequantize, quantize};
use fledgling::{Error, Result};

/// A small random-number stream (xorshift), the same everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.next() % 20001) as f32 / 10000.0 - 1.0).collect()
    }
}

fn small_metadata() -> Metadata {
    let mut m = Metadata::new("small.gguf");
    m.insert("general.architecture", Value::String("llama".into()));
    m.insert("llama.block_count", Value::U32(3));
    m.insert("llama.rope.freq_base", Value::F32(10000.0));
    m.insert("tokenizer.ggml.add_bos_token", Value::Bool(true));
    m.insert("tokenizer.ggml.tokens", Value::Array(Array::String(["a", "", "Ġthe", "é"].iter().collect())));
    m.insert("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1, 3, -1, 4])));
    m.insert("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.5, -1.0])));
    m.insert("x.bools", Value::Array(Array::Bool(vec![true, false, true])));
    m.insert("x.i64", Value::I64(-5));
    m
}

/// Name, type and bytes of a tensor.
type Part = (String, DType, Vec<u8>);

/// A GGUF with one tensor of every type, 3 rows of 64 and a vector.
fn small_gguf() -> (Vec<u8>, Vec<Part>) {
    let mut rng = Rng(7);
    let mut parts: Vec<Part> = [DType::F32, DType::F16, DType::BF16, DType::Q4_0, DType::Q4_1, DType::Q8_0]
        .into_iter()
        .map(|d| (format!("t.{}", d.name()), d, quantize(d, &rng.floats(3 * 64))))
        .collect();
    parts.push(("norm".into(), DType::F32, quantize(DType::F32, &rng.floats(7))));
    let views: Vec<_> =
        parts.iter().map(|(n, d, b)| (n.as_str(), *d, if n == "norm" { &[7usize][..] } else { &[3, 64][..] }, b.as_slice())).collect();
    (gguf::write(&small_metadata(), &views).unwrap(), parts)
}

fn small_safetensors() -> Vec<u8> {
    let mut rng = Rng(11);
    let (a, b) = (quantize(DType::F16, &rng.floats(6)), quantize(DType::F32, &rng.floats(8)));
    let tensors = [
        TensorView { name: "b.half", dtype: DType::F16, shape: &[2, 3], bytes: &a },
        TensorView { name: "a.full", dtype: DType::F32, shape: &[2, 2, 2], bytes: &b },
    ];
    safetensors::write("small", &tensors, &BTreeMap::from([("format".to_string(), "pt".to_string())])).unwrap()
}

/// Streams `file` in pieces given by `sizes` and returns each tensor's bytes.
fn stream(file: &[u8], total: Option<u64>, mut size: impl FnMut() -> usize) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut reader = StreamReader::new("streamed", total).with_sha256();
    let mut out: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut container = None;
    let mut rest = file;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(size().clamp(1, rest.len()));
        rest = tail;
        reader.push(piece, &mut |event| {
            match event {
                Event::Header(c) => container = Some(c.clone()),
                Event::Chunk { tensor, offset, bytes } => {
                    let t = &container.as_ref().expect("the header comes first").tensors[tensor];
                    let have = out.entry(t.name.clone()).or_default();
                    assert_eq!(have.len() as u64, offset, "chunks of {} come in order", t.name);
                    have.extend_from_slice(bytes);
                    let whole = (bytes.len() as u64).is_multiple_of(StreamReader::unit(t));
                    assert!(whole || have.len() as u64 == t.bytes, "{}: {} bytes", t.name, bytes.len());
                }
            }
            Ok(())
        })?;
    }
    let summary = reader.finish()?;
    assert_eq!(summary.bytes, file.len() as u64);
    assert_eq!(summary.sha256.as_deref().map(str::len), Some(64));
    Ok(out)
}

fl_test! {
    async fn gguf_round_trip() {
        let (file, parts) = small_gguf();
        let c = Container::parse("small.gguf", &file).unwrap();
        assert_eq!(c.kind, ContainerKind::Gguf { version: 3 });
        assert_eq!(c.metadata.len(), small_metadata().len());
        for (k, v) in small_metadata().iter() {
            assert_eq!(c.metadata.get(k), Some(v), "{k}");
        }
        assert_eq!(c.metadata.strs("tokenizer.ggml.tokens").unwrap().iter().collect::<Vec<_>>(), ["a", "", "Ġthe", "é"]);
        assert_eq!(c.metadata.usize("llama.block_count").unwrap(), 3);
        for (i, (name, dtype, bytes)) in parts.iter().enumerate() {
            let t = c.require(name).unwrap();
            assert_eq!((t.dtype, c.index_of(name)), (*dtype, Some(i)));
            assert_eq!(t.shape, if name == "norm" { vec![7] } else { vec![3, 64] });
            assert_eq!(c.bytes(&file, i).unwrap(), bytes, "{name}");
        }
        assert_eq!(c.parameters(), 6 * 192 + 7);
        let e = c.require("nothing.weight").unwrap_err();
        assert!(e.to_string().contains("nothing.weight") && e.code() == "bad-file", "{e}");
        let e = c.metadata.u32("general.architecture").unwrap_err().to_string();
        assert!(e.contains("general.architecture") && e.contains("string"), "{e}");
        assert!(c.metadata.str("no.such").unwrap_err().to_string().contains("no.such"));
    }

    async fn safetensors_round_trip() {
        let file = small_safetensors();
        let c = Container::parse("small", &file).unwrap();
        assert_eq!(c.metadata.str("format").unwrap(), "pt");
        // Wider types first.
        assert_eq!(c.tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a.full", "b.half"]);
        assert_eq!(c.require("a.full").unwrap().shape, [2, 2, 2]);
        assert_eq!(c.data_start % 8, 0);
        assert_eq!(c.total_bytes, file.len() as u64);
        let mut rng = Rng(11);
        let half = rng.floats(6);
        let read = dequantize(DType::F16, c.bytes(&file, 1).unwrap());
        assert!(half.iter().zip(&read).all(|(a, b)| (a - b).abs() < 1e-3));
    }

    async fn streams_in_pieces_of_any_size() {
        let (gguf, parts) = small_gguf();
        let expected: BTreeMap<String, Vec<u8>> = parts.into_iter().map(|(n, _, b)| (n, b)).collect();
        for size in [1, 2, 3, 7, 31, 64, 1000, 1 << 20] {
            assert_eq!(stream(&gguf, Some(gguf.len() as u64), || size).unwrap(), expected, "pieces of {size}");
        }
        let mut rng = Rng(3);
        for _ in 0..50 {
            assert_eq!(stream(&gguf, None, || 1 + rng.below(300)).unwrap(), expected);
        }
        let st = small_safetensors();
        assert_eq!(stream(&st, Some(st.len() as u64), || 1).unwrap(), stream(&st, None, || 1 << 20).unwrap());
    }

    async fn an_error_of_the_receiver_ends_the_stream() {
        let (file, _) = small_gguf();
        let mut reader = StreamReader::new("f", None);
        let e = reader.push(&file, &mut |event| match event {
            Event::Header(_) => Ok(()),
            Event::Chunk { .. } => Err(Error::Aborted),
        });
        assert_eq!(e.unwrap_err().code(), "aborted");
    }

    async fn truncated_anywhere_is_an_error() {
        for file in [small_gguf().0, small_safetensors()] {
            let end = Container::parse("f", &file).unwrap().total_bytes as usize;
            for n in 0..end {
                for total in [None, Some(n as u64), Some(file.len() as u64)] {
                    let e = stream(&file[..n], total, || 4096).expect_err("cut short");
                    assert_eq!(e.code(), "bad-file", "cut at {n}: {e}");
                    assert!(e.to_string().starts_with("streamed: "), "{e}");
                }
                assert_eq!(Container::parse("f", &file[..n]).unwrap_err().code(), "bad-file");
            }
        }
    }

    async fn flipped_bits_never_panic() {
        for file in [small_gguf().0, small_safetensors()] {
            let header = Container::parse("f", &file).unwrap().data_start as usize;
            let mut refused = 0;
            for bit in 0..header * 8 {
                let mut bad = file.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                if let Err(e) = stream(&bad, Some(bad.len() as u64), || 1 << 16) {
                    assert_eq!(e.code(), "bad-file", "{e}");
                    refused += 1;
                }
            }
            assert!(refused > header, "{refused} of {} flips were refused", header * 8);
            // Several random bytes at once, and sizes unknown.
            let mut rng = Rng(5);
            for _ in 0..3000 {
                let mut bad = file.clone();
                for _ in 0..1 + rng.below(6) {
                    let at = rng.below(header);
                    bad[at] = rng.next() as u8;
                }
                if let Err(e) = stream(&bad, None, || 1 << 16) {
                    assert_eq!(e.code(), "bad-file", "{e}");
                }
            }
        }
    }
}

/// A GGUF header from raw fields.
fn raw(tensors: u64, keys: u64, rest: &[u8]) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend(tensors.to_le_bytes());
    out.extend(keys.to_le_bytes());
    out.extend(rest);
    out
}

fn str_bytes(s: &str) -> Vec<u8> {
    [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat()
}

fn tensor_entry(name: &str, dims: &[u64], ty: u32, offset: u64) -> Vec<u8> {
    let mut out = str_bytes(name);
    out.extend((dims.len() as u32).to_le_bytes());
    dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
    out.extend(ty.to_le_bytes());
    out.extend(offset.to_le_bytes());
    out
}

/// The error for `file`, which must be typed, quick and say each of `words`.
#[track_caller]
fn refused(file: &[u8], words: &[&str]) {
    for total in [None, Some(file.len() as u64)] {
        let e = stream(file, total, || 1 << 16).expect_err("a bad file");
        assert_eq!(e.code(), "bad-file", "{e}");
        if total.is_none() {
            for w in words {
                assert!(e.to_string().contains(w), "expected {w:?} in: {e}");
            }
        }
    }
}

fl_test! {
    async fn hostile_gguf_headers_are_refused_with_reasons() {
        refused(&raw(u64::MAX, 0, &[]), &["18446744073709551615 tensors"]);
        refused(&raw(0, u64::MAX, &[]), &["18446744073709551615 metadata keys"]);
        refused(&raw(0, 1, &u64::MAX.to_le_bytes()), &["metadata key", "18446744073709551615 bytes"]);
        let huge_string = [str_bytes("k"), 8u32.to_le_bytes().to_vec(), (1u64 << 40).to_le_bytes().to_vec()].concat();
        refused(&raw(0, 1, &huge_string), &["\"k\"", "1099511627776"]);
        for (ty, n) in [(0u32, 1u64 << 62), (6, 1 << 61), (8, 1 << 60), (12, u64::MAX)] {
            let array = [
                str_bytes("k"),
                9u32.to_le_bytes().to_vec(),
                ty.to_le_bytes().to_vec(),
                n.to_le_bytes().to_vec(),
            ];
            refused(&raw(0, 1, &array.concat()), &["\"k\"", &n.to_string(), "left in the header"]);
        }
        let nested = [str_bytes("k"), [9u32.to_le_bytes(), 9u32.to_le_bytes()].concat(), vec![0; 8]].concat();
        let nested = Container::parse("f", &raw(0, 1, &nested)).expect("nobody asks for it");
        assert_eq!(nested.metadata.get("k").map(Value::type_name), Some("array of arrays"));
        // Levels without end, lengths without bytes.
        let deep: Vec<u8> = (0..9).flat_map(|_| [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat()).collect();
        refused(&raw(0, 1, &[str_bytes("k"), 9u32.to_le_bytes().to_vec(), deep].concat()), &["\"k\"", "levels deep"]);
        let long = [&9u32.to_le_bytes()[..], &9u32.to_le_bytes(), &1u64.to_le_bytes(), &8u32.to_le_bytes(), &(1u64 << 40).to_le_bytes()];
        refused(&raw(0, 1, &[str_bytes("k"), long.concat()].concat()), &["\"k\"", "inner array of 1099511627776", "left in the header"]);
        refused(&raw(0, 1, &[str_bytes("k"), 99u32.to_le_bytes().to_vec()].concat()), &["value type 99"]);
        let bool2 = [str_bytes("k"), 7u32.to_le_bytes().to_vec(), vec![2]].concat();
        refused(&raw(0, 1, &bool2), &["bool of 2"]);
        refused(&raw(0, 2, &[&bool2[..13], &[1], &bool2[..]].concat()), &["occurs twice"]);
        refused(&raw(0, 1, &[&1u64.to_le_bytes()[..], &[0xff]].concat()), &["UTF-8"]);

        let with = |entries: &[Vec<u8>]| [raw(entries.len() as u64, 0, &entries.concat()), vec![0; 4096]].concat();
        refused(&with(&[tensor_entry("w", &[1 << 40, 1 << 40], 0, 0)]), &["\"w\"", "product"]);
        refused(&with(&[tensor_entry("w", &[1 << 46], 0, 0)]), &["\"w\"", "too large"]);
        refused(&with(&[tensor_entry("w", &[32, 0], 0, 0)]), &["\"w\"", "empty dimension"]);
        refused(&with(&[tensor_entry("w", &[1, 1, 1, 1, 1], 0, 0)]), &["\"w\"", "5 dimensions"]);
        refused(&with(&[tensor_entry("w", &[], 0, 0)]), &["0 dimensions"]);
        for (ty, parts) in [(17, ["IQ2_XS", "Q4_K, Q5_K"]), (77, ["number 77", "supported"]), (27, ["I64", "supported"])] {
            let c = Container::parse("f", &with(&[tensor_entry("w", &[256, 2], ty, 0)])).expect("nobody asks for it");
            let said = c.require("w").unwrap_err().to_string();
            assert!(said.contains("\"w\"") && parts.iter().all(|p| said.contains(p)), "{said}");
            assert_eq!(c.all_readable().unwrap_err().to_string(), said);
        }
        refused(&with(&[tensor_entry("w", &[33, 2], 3, 0)]), &["\"w\"", "rows of 33", "multiple of 32"]);
        refused(&with(&[tensor_entry("w", &[8], 0, 7)]), &["\"w\"", "offset 7", "multiple of 32"]);
        refused(&with(&[tensor_entry("w", &[8], 0, u64::MAX - 31)]), &["\"w\"", "beyond any file"]);
        refused(&with(&[tensor_entry("w", &[8], 0, 1 << 50)]), &["cut short", "\"w\""]);
        refused(&with(&[tensor_entry("v", &[64], 0, 0), tensor_entry("w", &[64], 0, 128)]), &["\"v\"", "\"w\"", "overlap"]);
        refused(&with(&[tensor_entry("w", &[8], 0, 0), tensor_entry("w", &[8], 0, 32)]), &["\"w\"", "twice"]);
        let alignment = |a: u32| [str_bytes("general.alignment"), [4u32.to_le_bytes(), a.to_le_bytes()].concat()].concat();
        for a in [0, 1, 24, 1 << 30] {
            refused(&raw(0, 1, &alignment(a)), &["general.alignment", &a.to_string()]);
        }

        let mut version = raw(0, 0, &[]);
        version[4] = 1;
        refused(&version, &["version 1"]);
        version[4..8].copy_from_slice(&[0, 0, 0, 3]);
        refused(&version, &["big-endian"]);
        refused(b"\x89PNG\r\n\x1a\n................", &["neither GGUF nor safetensors"]);
        refused(&[], &["is empty"]);
        refused(b"GGU", &["cut short"]);
        // What stands there in place of a model, by pieces of any size.
        for (bytes, part) in [
            (&b"<!DOCTYPE html><html><head><title>404 Not Found</title>"[..], "web page"),
            (b"<html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146", "Git LFS pointer"),
            (b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchKey</Code></Error>", "XML"),
            (b"{\"error\": \"Invalid username or password.\"}", "server's answer"),
            (b"{\"model_type\": \"llama\", \"hidden_size\": 32, \"a\": 1}", "JSON text"),
            (b"PK\x03\x04\x14\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "PyTorch"),
        ] {
            for piece in [1, 8, 1000] {
                let e = stream(bytes, None, || piece).unwrap_err().to_string();
                assert!(e.contains(part), "{piece}: {e}");
            }
        }
    }

    async fn a_claimed_length_costs_no_memory() {
        // 60 MiB of array are claimed and 1 KiB is sent: the parser waits with what it has.
        let array = [
            str_bytes("k"),
            [9u32.to_le_bytes(), 0u32.to_le_bytes()].concat(),
            (60u64 << 20).to_le_bytes().to_vec(),
            vec![1; 1024],
        ];
        let mut reader = StreamReader::new("f", None);
        reader.push(&raw(0, 1, &array.concat()), &mut |_| Ok(())).unwrap();
        let e = reader.finish().unwrap_err().to_string();
        assert!(e.contains("\"k\"") && e.contains("cut short"), "{e}");
    }

    async fn hostile_safetensors_headers_are_refused_with_reasons() {
        let file = |json: &str, data: usize| {
            [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat()
        };
        let one = |entry: &str| file(&format!("{{\"w\":{entry}}}"), 16);
        refused(&file("[1,2]   ", 0), &["neither"]);
        refused(&file("{\"w\":", 0), &["JSON"]);
        refused(&one("{\"shape\":[4],\"data_offsets\":[0,16]}"), &["\"w\"", "dtype"]);
        refused(&one("{\"dtype\":\"F32\",\"data_offsets\":[0,16]}"), &["\"w\"", "shape"]);
        refused(&one("{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}"), &["\"w\"", "shape"]);
        refused(&one("{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0]}"), &["\"w\"", "data_offsets"]);
        refused(&one("{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}"), &["\"w\"", "16..0"]);
        refused(&one("{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,16]}"), &["\"w\"", "20 bytes", "16"]);
        let huge = "{\"dtype\":\"F32\",\"shape\":[4294967295,4294967295,4294967295],\"data_offsets\":[0,16]}";
        refused(&one(huge), &["\"w\"", "product"]);
        refused(&one("{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}"), &["\"w\"", "hole"]);
        let two = "{\"v\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\
                    \"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}";
        refused(&file(two, 12), &["\"w\"", "overlaps"]);
        let twice = two.replace("\"w\"", "\"v\"").replace("[4,12]", "[8,16]");
        refused(&file(&twice, 16), &["\"v\"", "twice"]);
        refused(&one("{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}")[..40], &["cut short"]);
        refused(&(65u64 << 20).to_le_bytes(), &["neither"]);
        // Nesting deep enough to overflow a stack that trusts its input.
        refused(&file(&format!("{{\"w\":{}", "[".repeat(100_000)), 0), &["JSON"]);
        refused(&file("{\"__metadata__\":{\"a\":1}}", 0), &["__metadata__", "\"a\""]);
        // More bytes than described, the size being known.
        let good = small_safetensors();
        let longer = [&good[..], &[0; 5]].concat();
        assert_eq!(stream(&longer, Some(longer.len() as u64), || 99).unwrap_err().code(), "bad-file");
        // Types no kernel reads are stepped over, not fatal.
        let ids = "{\"ids\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},\
                    \"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[16,20]}}";
        let c = Container::parse("f", &file(ids, 20)).unwrap();
        assert_eq!(c.skipped, [Foreign { name: "ids".into(), dtype: "I64".into(), shape: vec![2] }]);
        assert!(c.require("ids").unwrap_err().to_string().contains("I64"));
        assert_eq!(stream(&file(ids, 20), None, || 3).unwrap()["w"].len(), 4);
    }

    async fn shard_indices() {
        let good = r#"{"metadata":{"total_size":10},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors","c":"m-1.safetensors"}}"#;
        let index = ShardIndex::parse("i", good).unwrap();
        assert_eq!((index.total_size, index.files()), (Some(10), vec!["m-1.safetensors", "m-2.safetensors"]));
        let c = Container::parse("m-1.safetensors", &small_safetensors()).unwrap();
        assert!(index.check("m-1.safetensors", &c).unwrap_err().to_string().contains("\"a\""));
        for bad in ["", "{}", r#"{"weight_map":{}}"#, r#"{"weight_map":{"a":"../x"}}"#, r#"{"weight_map":{"a":"https://x"}}"#] {
            assert_eq!(ShardIndex::parse("i", bad).unwrap_err().code(), "bad-file", "{bad}");
        }
    }

    async fn quantized_blocks_round_trip() {
        let mut rng = Rng(9);
        let x = rng.floats(32 * 8);
        for (dtype, tolerance) in [
            (DType::F32, 0.0),
            (DType::F16, 5e-4),
            (DType::BF16, 4e-3),
            (DType::Q8_0, 5e-3),
            // Half a step of 2/15 and 2/16 (the extreme of the other sign is one step short).
            (DType::Q4_1, 0.07),
            (DType::Q4_0, 0.135),
        ] {
            let bytes = quantize(dtype, &x);
            assert_eq!(bytes.len() as u64, dtype.bytes_of(x.len() as u64).unwrap());
            let y = dequantize(dtype, &bytes);
            let worst = x.iter().zip(&y).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= tolerance, "{}: {worst}", dtype.name());
            // What was read back is a fixed point, up to the rounding of the scale.
            let again = dequantize(dtype, &quantize(dtype, &y));
            let drift = y.iter().zip(&again).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(drift <= 2e-3, "{}: {drift}", dtype.name());
        }
        assert!(dequantize(DType::Q4_1, &quantize(DType::Q4_1, &[0.0; 32])).iter().all(|&v| v == 0.0));
        assert_eq!(quantize(DType::Q8_0, &x[..5]).len(), 34);
        assert_eq!(DType::Q4_1.bytes_of(33), None);
    }
}
