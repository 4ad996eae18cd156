//! `fledgling embed`, `fill-mask`, `classify`, and the logits of an encoder.

use std::rc::Rc;

use serde_json::{Value, json};

use super::args::{Cli, LogitsArgs};
use super::encode_args::{ClassifyArgs, EmbedArgs, FillMaskArgs, TextsArgs, TypesArgs};
use super::model_args::ModelArgs;
use super::{files, load};
use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::encode::{Encoded, Encodings, sentence_ids, softmax, top};
use fledgling::models::{LoadOptions, Problem, Scope};
use fledgling::{Error, Result};

/// A text as it stands: what is too long is refused, not cut.
fn whole(model: &LoadedModel, text: &str) -> Result<Encoded> {
    Ok(Encoded { ids: model.tokenizer()?.encode(text), types: Vec::new() })
}

/// Sequences of what was given, in this order: texts, ids, rows.
fn sequences(
    model: &LoadedModel,
    texts: &TextsArgs,
    types: &TypesArgs,
    read: impl Fn(&LoadedModel, &str) -> Result<Encoded>,
) -> Result<Vec<Encoded>> {
    let mut all = texts.prompt.iter().map(|text| read(model, text)).collect::<Result<Vec<_>>>()?;
    if !types.token_type_ids.is_empty() && types.token_type_ids.len() != texts.prompt_ids.len() {
        let (n, of) = (types.token_type_ids.len(), texts.prompt_ids.len());
        return Err(Error::config("token_type_ids", format!("is given {n} times, prompt_ids {of} times")));
    }
    for (i, ids) in texts.prompt_ids.iter().enumerate() {
        let types = types.token_type_ids.get(i).map(|t| t.to_vec()).unwrap_or_default();
        all.push(Encoded { ids: ids.to_vec(), types });
    }
    let Some(path) = &texts.data else { return Ok(all) };
    let (name, text) = (path.display().to_string(), files::read_text(path)?);
    for (line, s) in text.lines().enumerate().filter(|(_, s)| !s.trim().is_empty()) {
        let bad = |what: String| Error::file(&name, format!("line {} {what}", line + 1));
        let value: Value = serde_json::from_str(s).map_err(|e| bad(format!("is not JSON: {e}")))?;
        let list = |column: &str| -> Result<Option<Vec<u32>>> {
            let found = value.get(column).filter(|v| !v.is_null());
            found
                .map(|v| serde_json::from_value(v.clone()).map_err(|_| bad(format!("has {v} as {column}, expected token ids"))))
                .transpose()
        };
        const COLUMNS: [&str; 3] = ["text", "input_ids", "token_type_ids"];
        if let Some(other) = value.as_object().and_then(|row| row.keys().find(|k| !COLUMNS.contains(&k.as_str()))) {
            return Err(bad(format!("has {other:?}, expected {}", COLUMNS.join(", "))));
        }
        let text = value.as_str().or_else(|| value.get("text").and_then(Value::as_str));
        match (text, list("input_ids")?) {
            (Some(_), None) if list("token_type_ids")?.is_some() => {
                return Err(bad("has token_type_ids, which are of input_ids, beside a text".into()));
            }
            (Some(text), None) => all.push(read(model, text)?),
            (None, Some(ids)) => all.push(Encoded { ids, types: list("token_type_ids")?.unwrap_or_default() }),
            _ => return Err(bad("is neither a text, nor an object with a text or with input_ids".into())),
        }
    }
    Ok(all)
}

/// The model and an encoder of it.
async fn open(cli: &Cli, a: &ModelArgs, json: bool) -> Result<(Rc<LoadedModel>, Encodings)> {
    let mask = a.mask.mask.unwrap_or_default();
    let options = LoadOptions { quantize: a.quantize, mask, ..LoadOptions::default() };
    let loaded = Rc::new(load::model(cli, &a.model, options, json).await?.model);
    let encoder = Encodings::new(loaded.clone())?;
    load::activate(&loaded, a.adapter.as_deref())?;
    Ok((loaded, encoder))
}

pub async fn embed(cli: &Cli, a: &EmbedArgs) -> Result<()> {
    let (loaded, mut encoder) = open(cli, &a.model, a.json).await?;
    let rows = sequences(&loaded, &a.texts, &a.types, sentence_ids)?;
    let said = loaded.sentence()?;
    let (pooling, normalize) = (a.pooling.unwrap_or(said.pooling), a.normalize.unwrap_or(said.normalize));
    let vectors = encoder.embed(&rows, pooling, normalize, &AdapterChoice::Active).await?;
    for (i, (v, row)) in vectors.iter().zip(&rows).enumerate() {
        match a.json {
            true => say!("{}", json!({"index": i, "tokens": row.ids.len(), "embedding": v})),
            false => say!("{}", json!(v)),
        }
    }
    Ok(())
}

pub async fn fill_mask(cli: &Cli, a: &FillMaskArgs) -> Result<()> {
    let (loaded, mut encoder) = open(cli, &a.model, a.json).await?;
    loaded.model.need_logits()?;
    let rows = sequences(&loaded, &a.texts, &a.types, whole)?;
    let tokenizer = loaded.tokenizer.as_ref();
    let own = || ["[MASK]", "<mask>"].into_iter().find_map(|t| tokenizer?.token_id(t));
    let mask =
        a.mask_id.or_else(own).ok_or_else(|| Error::config("mask_id", "is not given, and the model has no tokenizer with a [MASK]"))?;
    let token = |id: usize| tokenizer.map_or_else(String::new, |t| t.decode(&[id as u32], false));
    for (i, row) in rows.iter().enumerate() {
        let at: Vec<usize> = (0..row.ids.len()).filter(|k| row.ids[*k] == mask).collect();
        if at.is_empty() {
            return Err(Error::config("prompt", format!("text {i} has no masked token (id {mask})")));
        }
        let logits = encoder.logits(row, &at, &AdapterChoice::Active).await?;
        let mut masks = Vec::new();
        for (position, logits) in at.iter().zip(&logits) {
            let p = softmax(logits);
            let best = top(&p, a.top_k);
            if !a.json {
                best.iter().for_each(|id| say!("{i}:{position}  {:>8}  {:.4}  {}", id, p[*id], token(*id)));
            }
            let candidates: Vec<Value> = best.iter().map(|id| json!({"id": id, "token": token(*id), "score": p[*id]})).collect();
            masks.push(json!({"position": position, "candidates": candidates}));
        }
        if a.json {
            say!("{}", json!({"index": i, "prompt_ids": row.ids, "masks": masks}));
        }
    }
    Ok(())
}

pub async fn classify(cli: &Cli, a: &ClassifyArgs) -> Result<()> {
    let (loaded, mut encoder) = open(cli, &a.model, a.json).await?;
    let rows = sequences(&loaded, &a.texts, &a.types, whole)?;
    let kind = loaded.classifier(&AdapterChoice::Active)?;
    let all = encoder.classes(&rows, kind.scope, &AdapterChoice::Active).await?;
    let said = |logits: &[f32]| -> Value {
        if kind.problem == Problem::Regression {
            return json!({"score": logits[0]});
        }
        let p = softmax(logits);
        let best = top(&p, 1)[0];
        let scores: serde_json::Map<String, Value> = kind.labels.iter().cloned().zip(p.iter().map(|v| json!(v))).collect();
        json!({"label": kind.labels[best], "score": p[best], "scores": scores, "logits": logits})
    };
    let plain = |v: &Value| format!("{:.4}  {}", v["score"].as_f64().unwrap_or_default(), v["label"].as_str().unwrap_or_default());
    for (i, logits) in all.iter().enumerate() {
        if kind.scope == Scope::Sequence {
            let mut v = said(logits);
            if a.json {
                v["index"] = json!(i);
                say!("{v}");
            } else {
                say!("{}", plain(&v));
            }
            continue;
        }
        let tokens: Vec<Value> = logits.chunks(kind.labels.len()).map(said).collect();
        match a.json {
            true => say!("{}", json!({"index": i, "prompt_ids": rows[i].ids, "tokens": tokens})),
            false => tokens.iter().zip(&rows[i].ids).for_each(|(v, id)| say!("{i}  {id:>8}  {}", plain(v))),
        }
    }
    Ok(())
}

/// The logits of every token of a sequence, or what a classifier says where there is no head for tokens.
pub async fn logits(loaded: LoadedModel, a: &LogitsArgs, ids: Vec<u32>, name: Option<String>) -> Result<()> {
    let loaded = Rc::new(loaded);
    let mut encoder = Encodings::new(loaded.clone())?;
    let types = a.token_type_ids.clone().unwrap_or_default();
    let row = Encoded { ids, types };
    let masked = loaded.model.need_logits().is_ok();
    let rows: Vec<Vec<f32>> = if masked {
        encoder.logits(&row, &(0..row.ids.len()).collect::<Vec<_>>(), &AdapterChoice::Active).await?
    } else {
        let kind = loaded.classifier(&AdapterChoice::Active)?;
        let all = encoder.classes(std::slice::from_ref(&row), kind.scope, &AdapterChoice::Active).await?;
        all[0].chunks(kind.labels.len()).map(<[f32]>::to_vec).collect()
    };
    if a.json {
        let head = if masked { "masked" } else { "classifier" };
        say!("{}", json!({"prompt_ids": row.ids, "token_type_ids": row.types, "adapter": name, "head": head, "logits": rows}));
        return Ok(());
    }
    for (i, logits) in rows.iter().enumerate() {
        let best: Vec<String> = top(logits, 5).into_iter().map(|id| format!("{id} {:.4}", logits[id])).collect();
        say!("{i:>6}  {}", best.join("  "));
    }
    Ok(())
}
