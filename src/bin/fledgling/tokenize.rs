//! `fledgling tokenize`: the tokens of texts, and the text of ids. Reads no weights.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::args::TokenizeArgs;
use super::files;
use fledgling::models::{TOKENIZER_FILES, folder_tokenizer, gguf_files, gguf_tokenizer};
use fledgling::tokenizer::Tokenizer;
use fledgling::{Error, Result};

/// The tokenizer of a GGUF (of all its parts, the first has it), of a folder (or of a safetensors file in one), or of a `tokenizer.json` by itself.
fn open(path: &Path) -> Result<Tokenizer> {
    let is = |extension: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension));
    let shown = path.display().to_string();
    if !path.exists() {
        return Err(Error::Io { path: shown, message: "there is no such file or folder".into() });
    }
    if path.is_dir() || is("safetensors") {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
        let mut texts = HashMap::new();
        for name in TOKENIZER_FILES {
            let file = folder.join(name);
            if file.exists() {
                texts.insert(name.to_string(), files::read_text(&file)?);
            }
        }
        if let Some(found) = folder_tokenizer(&texts)? {
            return Ok(found);
        }
        let config = texts.get("tokenizer_config.json").map(String::as_str);
        let found = SENTENCEPIECE.iter().map(|name| folder.join(name)).find(|file| file.exists());
        if let Some(file) = found {
            return sentencepiece(&file, config);
        }
        if !path.is_dir() {
            return Err(Error::file(folder.display().to_string(), "holds no tokenizer.json"));
        }
    } else if is("json") {
        return Tokenizer::from_json(&shown, &files::read_text(path)?, None);
    } else if is("model") || is("spm") {
        return sentencepiece(path, None);
    }
    let file = gguf_files(path)?.and_then(|files| files.into_iter().next());
    let file = file.ok_or_else(|| Error::file(&shown, "holds neither a tokenizer.json nor a GGUF"))?;
    let found = gguf_tokenizer(&files::header(&file)?)?;
    found.ok_or_else(|| Error::file(file.display().to_string(), "has no tokenizer: there is no tokenizer.ggml.model"))
}

/// SentencePiece's files by the names that folders of Transformers have for them.
const SENTENCEPIECE: [&str; 4] = ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "source.spm"];

/// A SentencePiece model; beside a `vocab.json`, a `.spm` is one side of a Marian model.
fn sentencepiece(path: &Path, config: Option<&str>) -> Result<Tokenizer> {
    let (shown, bytes) = (path.display().to_string(), files::read(path)?);
    let vocab = path.with_file_name("vocab.json");
    if path.extension().is_some_and(|e| e == "spm") && vocab.exists() {
        return Tokenizer::from_marian(&shown, &bytes, &files::read_text(&vocab)?);
    }
    Tokenizer::from_sentencepiece(&shown, &bytes, config)
}

/// A text, and the one that belongs to it.
type Texts = (String, Option<String>);

/// The texts of JSON lines: objects with a `text` and maybe a `text_pair`, or plain strings.
fn rows(path: &Path) -> Result<Vec<Texts>> {
    let text = files::read_text(path)?;
    let name = path.display();
    let mut out = Vec::new();
    for (line, s) in text.lines().enumerate().filter(|(_, s)| !s.trim().is_empty()) {
        let bad = |what: String| Error::BadRow { row: out.len(), message: format!("line {} of {name} {what}", line + 1) };
        let value: Json = serde_json::from_str(s).map_err(|e| bad(format!("is not JSON: {e}")))?;
        let found = match &value {
            Json::String(text) => Some((text.clone(), None)),
            Json::Object(row) => {
                let of = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_string);
                if row.get("text_pair").is_some_and(|pair| !pair.is_string() && !pair.is_null()) {
                    return Err(bad("has a text_pair that is no text".into()));
                }
                of("text").map(|text| (text, of("text_pair")))
            }
            _ => None,
        };
        out.push(found.ok_or_else(|| bad("is neither a text nor an object whose text is one".into()))?);
    }
    if out.is_empty() {
        return Err(Error::EmptyDataset(format!("{name} has no rows")));
    }
    Ok(out)
}

/// Ids with commas or white space between them.
fn ids(list: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let parts = list.split([',', ' ', '\t', '\n']).filter(|p| !p.is_empty());
    let one = |part: &str| {
        let id = part.parse::<u32>().map_err(|_| Error::config("decode", format!("{part:?} is no token id")))?;
        match tokenizer.id_to_token(id) {
            Some(_) => Ok(id),
            None => Err(Error::config("decode", format!("{id} is no token, the vocabulary has {}", tokenizer.vocab_size()))),
        }
    };
    parts.map(one).collect()
}

pub fn run(a: &TokenizeArgs) -> Result<()> {
    let tokenizer = open(a.model.as_ref().or(a.tokenizer.as_ref()).expect("clap asks for one"))?;
    let mut texts: Vec<Texts> = a.text.iter().map(|t| (t.clone(), a.text_pair.clone())).collect();
    if let Some(path) = &a.data {
        texts.extend(rows(path)?);
    }
    let lists = a.decode.iter().map(|list| ids(list, &tokenizer)).collect::<Result<Vec<_>>>()?;
    let quoted = |s: &str| Json::from(s).to_string();
    for (text, pair) in &texts {
        let e = match pair {
            Some(second) => tokenizer.encode_pair(text, second, a.add_special_tokens)?,
            None => tokenizer.encode_with_offsets(text, a.add_special_tokens),
        };
        let decoded = tokenizer.decode(&e.ids, a.skip_special_tokens);
        if a.json {
            let mut line = json!({
                "text": text, "ids": e.ids, "tokens": e.tokens, "offsets": e.offsets, "type_ids": e.type_ids, "decoded": decoded,
            });
            if let Some(second) = pair {
                line["text_pair"] = second.as_str().into();
            }
            say!("{line}");
            continue;
        }
        say!("{}: {} tokens", quoted(text), e.ids.len());
        for ((id, token), (from, to)) in e.ids.iter().zip(&e.tokens).zip(&e.offsets) {
            say!("{id:>8}  {:<24}  {from}..{to}", quoted(token));
        }
        say!("decoded: {}", quoted(&decoded));
    }
    for list in &lists {
        let decoded = tokenizer.decode(list, a.skip_special_tokens);
        let tokens: Vec<&str> = list.iter().filter_map(|id| tokenizer.id_to_token(*id)).collect();
        if a.json {
            say!("{}", json!({"ids": list, "tokens": tokens, "decoded": decoded}));
        } else {
            list.iter().zip(&tokens).for_each(|(id, token)| say!("{id:>8}  {}", quoted(token)));
            say!("decoded: {}", quoted(&decoded));
        }
    }
    Ok(())
}
