//! Models in several GGUF files: all parts in turn make the model that the whole file makes; missing, repeated and strange ones are named.

use crate::harness::cpu;
use fledgling::Result;
use fledgling::formats::gguf::write;
use fledgling::formats::{Container, Value};
use fledgling::models::{LoadOptions, Loaded, ModelLoader};

static WHOLE: &[u8] = include_bytes!("../fixtures/models/llama_gguf/model.gguf");

/// The file in parts that begin at these tensors; only the first has the metadata.
fn parts(begin: &[usize]) -> Vec<(String, Vec<u8>)> {
    let whole = Container::parse("whole", WHOLE).unwrap();
    let n = begin.len();
    (0..n)
        .map(|i| {
            let file = format!("tiny-{:05}-of-{n:05}.gguf", i + 1);
            let mut metadata = if i == 0 { whole.metadata.clone() } else { fledgling::formats::Metadata::new(&file) };
            metadata.insert("split.no", Value::U16(i as u16));
            metadata.insert("split.count", Value::U16(n as u16));
            metadata.insert("split.tensors.count", Value::I32(whole.tensors.len() as i32));
            let end = begin.get(i + 1).copied().unwrap_or(whole.tensors.len());
            let tensors: Vec<_> = (begin[i]..end)
                .map(|t| {
                    (whole.tensors[t].name.as_str(), whole.tensors[t].dtype, &whole.tensors[t].shape[..], whole.bytes(WHOLE, t).unwrap())
                })
                .collect();
            (file, write(&metadata, &tensors).unwrap())
        })
        .collect()
}

/// Headers of `known`, then the files of `given`.
async fn load(known: &[(String, Vec<u8>)], given: &[(String, Vec<u8>)]) -> Result<Loaded> {
    let mut loader = ModelLoader::new(&cpu(), LoadOptions::default());
    for (name, bytes) in known {
        for piece in bytes.chunks(999) {
            if loader.header(name, Some(bytes.len() as u64), piece)? {
                break;
            }
        }
    }
    for (name, bytes) in given {
        loader.begin_file(name, Some(bytes.len() as u64))?;
        bytes.chunks(4099).try_for_each(|b| loader.push(b))?;
        loader.end_file()?;
    }
    loader.finish().await
}

fl_test!(
    async fn parts_make_the_whole() {
        let mut loader = ModelLoader::new(&cpu(), LoadOptions::default());
        loader.begin_file("whole", None).unwrap();
        loader.push(WHOLE).unwrap();
        loader.end_file().unwrap();
        let want = loader.finish().await.unwrap();
        for begin in [vec![0, 1, 12], vec![0, 0]] {
            let mut files = parts(&begin);
            for turn in 0..2 {
                let got = load(&files, &files).await.unwrap_or_else(|e| panic!("{turn}: {e}"));
                assert_eq!((got.info.parameters, got.info.vocab_size), (want.info.parameters, want.info.vocab_size));
                assert!(got.tokenizer.is_some());
                for path in want.model.params().paths() {
                    assert_eq!(got.model.params().read(path).await.unwrap(), want.model.params().read(path).await.unwrap(), "{path}");
                }
                files.reverse();
            }
        }
    }

    async fn what_is_wrong_with_parts_is_named() {
        let files = parts(&[0, 5, 12]);
        let other = parts(&[0, 5]);
        let swapped = [files[0].clone(), (files[1].0.clone(), files[2].1.clone()), files[2].clone()];
        let mut fewer = files.clone();
        fewer[1].1 = parts(&[0, 6, 12])[1].1.clone();
        for (what, known, given, words) in [
            ("no headers", &files[..0], &files[..], "part 1 of 3: the headers of all parts"),
            ("a header is missing", &files[..2], &files[..], "3 parts, and part 3 is missing"),
            ("a file is missing", &files[..], &files[..2], "part 3 of 3 has not come"),
            ("a file comes twice", &files[..], &[files[0].clone(), files[0].clone()][..], "part 1 of 3: it is there twice"),
            ("a header comes twice", &swapped[..], &files[..], "is part 3 of 3, and so is"),
            ("parts of another model", &[files[0].clone(), other[1].clone()][..], &files[..], "is part 2 of 2, the other files are of 3"),
            ("a tensor less", &fewer[..], &files[..], "of a model of 21 tensors, its parts have 20"),
        ] {
            let e = load(known, given).await.err().unwrap_or_else(|| panic!("{what}: loaded"));
            assert_eq!(e.code(), "bad-file", "{what}: {e}");
            assert!(e.to_string().contains(words), "{what}: {e}");
        }
    }
);
