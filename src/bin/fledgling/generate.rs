//! `fledgling generate`: continues a prompt or answers a message.

use std::path::Path;
use std::rc::Rc;

use serde_json::{Value, json};

use super::args::{Cli, GenerateArgs, SamplingArgs};
use super::{files, load, logits};
use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::data::{Fault, RowFile, TextOrMessages};
use fledgling::generate::{Candidate, Event, GenerateOptions, Generator};
use fledgling::models::LoadOptions;
use fledgling::{Error, Result, clock};

pub async fn run(cli: &Cli, a: &GenerateArgs) -> Result<()> {
    let options = a.search.add_to(a.sampling.options(usize::from(a.n))?)?;
    let mask = load::mask(&a.model.mask, a.model.adapter.iter())?;
    let how = LoadOptions { kv_cache_dtype: a.cache.kv_cache_dtype, quantize: a.model.quantize, mask, ..LoadOptions::default() };
    let loaded = load::model(cli, &a.model.model, how, a.json).await?;
    if a.chat {
        loaded.model.model.config().need_decoder("a chat")?;
    }
    let adapter = load::activate(&loaded.model, a.model.adapter.as_deref())?;
    if let Some(file) = &a.data {
        return each(loaded.model, a, file, &options).await;
    }
    let prompt_ids = prompt(&loaded.model, a)?;
    let stream = !a.json && a.n == 1;
    let mut on = |e: Event| {
        if let (true, Event::Text { text, .. }) = (stream, e) {
            say_part!("{text}");
        }
    };
    let mut generator = Generator::new(Rc::new(loaded.model))?;
    let begin = clock::seconds();
    generator.warm(Some(prompt_ids.len()), &options).await?;
    let load = loaded.seconds + clock::seconds() - begin;
    let answers = generator.run(&prompt_ids, options, &mut on).await?;
    if a.json {
        say!("{}", report(&prompt_ids, adapter.as_deref(), load, &answers));
    } else if stream {
        say!();
    } else {
        for (i, c) in answers.iter().enumerate() {
            say!("[{}] {}", i + 1, c.text);
        }
    }
    if !a.json {
        let tokens: usize = answers.iter().map(|c| c.token_ids.len()).sum();
        let s = answers.first().map(|c| c.seconds).unwrap_or_default();
        note!(
            "{} + {tokens} tokens; load {:.1} s, prefill {:.1} s, decode {:.1} s, on {}",
            prompt_ids.len(),
            load,
            s.prefill,
            s.decode,
            loaded.exec.info().name
        );
    }
    Ok(())
}

fn prompt(model: &LoadedModel, a: &GenerateArgs) -> Result<Vec<u32>> {
    if !a.chat {
        return logits::prompt_ids(model, &a.prompt);
    }
    asked(model, a, a.prompt.text()?.unwrap_or_default())
}

/// A user's message, behind the system's.
fn asked(model: &LoadedModel, a: &GenerateArgs, text: String) -> Result<Vec<u32>> {
    let mut messages: Vec<Value> = a.system.iter().map(|s| json!({"role": "system", "content": s})).collect();
    messages.push(json!({"role": "user", "content": text}));
    model.tokenizer()?.encode_chat(&messages, true)
}

/// Every prompt of a file.
async fn each(model: LoadedModel, a: &GenerateArgs, path: &Path, options: &GenerateOptions) -> Result<()> {
    let file = RowFile::parse(&path.display().to_string(), &files::read_text(path)?)?;
    // All of them are read before the first is answered.
    let read = |(i, row): (usize, &Value)| row_prompt(&model, a, row).map_err(|fault| file.place(fault.of_row(i)));
    let prompts = file.rows().iter().enumerate().map(read).collect::<Result<Vec<_>>>()?;
    let mut generator = Generator::new(Rc::new(model))?;
    for (i, (row, ids)) in file.rows().iter().zip(&prompts).enumerate() {
        let options = GenerateOptions { seed: options.seed.wrapping_add(i as u32), ..options.clone() };
        let answers = generator.run(ids, options, &mut |_| {}).await?;
        let mut line = row.as_object().cloned().unwrap_or_default();
        line.insert("candidates".into(), answers.iter().map(candidate).collect());
        say!("{}", Value::Object(line));
    }
    Ok(())
}

/// The token ids of a row's prompt.
fn row_prompt(model: &LoadedModel, a: &GenerateArgs, row: &Value) -> std::result::Result<Vec<u32>, Fault> {
    let fault = |e: Error| Fault::at("prompt", e.to_string());
    if let Some(ids) = row.get("prompt_ids") {
        if row.get("prompt").is_some() {
            return Err(Fault::at("prompt_ids", "stands beside prompt: expected one of them"));
        }
        if a.system.is_some() {
            return Err(Fault::at("prompt_ids", "goes through no chat template, which --system is for"));
        }
        let read = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids: Option<Vec<u32>> = ids.as_array().and_then(|list| list.iter().map(read).collect());
        let ids = ids.ok_or_else(|| Fault::at("prompt_ids", "is not a list of token ids"))?;
        return logits::checked(model, ids).map_err(|e| Fault::at("prompt_ids", e.to_string()));
    }
    let ids = match TextOrMessages::read("prompt", row.get("prompt"))? {
        TextOrMessages::Messages(_) if a.system.is_some() => {
            return Err(Fault::at("prompt", "is messages, which bring their own system message: leave --system out"));
        }
        TextOrMessages::Messages(messages) => {
            model.model.config().need_decoder("a chat").map_err(fault)?;
            let messages: Vec<Value> = messages.iter().map(|m| serde_json::to_value(m).expect("messages are JSON")).collect();
            model.tokenizer().and_then(|t| t.encode_chat(&messages, true)).map_err(fault)?
        }
        TextOrMessages::Text(text) if a.chat => asked(model, a, text).map_err(fault)?,
        TextOrMessages::Text(text) => model.tokenizer().map_err(fault)?.encode(&text),
    };
    logits::checked(model, ids).map_err(fault)
}

fn candidate(c: &Candidate) -> Value {
    let mut out = json!({"text": c.text, "token_ids": c.token_ids, "logprobs": c.logprobs, "finish_reason": c.finish_reason});
    if let Some(score) = c.score {
        out["score"] = json!(score);
    }
    if !c.top_logprobs.is_empty() {
        let of = |(id, logprob): &(u32, f32)| json!({"token_id": id, "logprob": logprob});
        out["top_logprobs"] = c.top_logprobs.iter().map(|top| top.iter().map(of).collect::<Value>()).collect();
    }
    out
}

/// Answers as `--json` tells them.
pub fn report(prompt_ids: &[u32], adapter: Option<&str>, load: f64, answers: &[Candidate]) -> Value {
    let s = answers.first().map(|c| c.seconds).unwrap_or_default();
    let mut out = json!({
        "prompt_ids": prompt_ids,
        "adapter": adapter,
        "seconds": {"load": load, "prefill": s.prefill, "decode": s.decode},
    });
    // One shape for one answer and for many: the first is there by itself, too.
    if let (Some(map), Some(Value::Object(first))) = (out.as_object_mut(), answers.first().map(candidate)) {
        map.extend(first);
        map.insert("candidates".into(), answers.iter().map(candidate).collect());
    }
    out
}

impl SamplingArgs {
    /// The options of a generation of `n` answers.
    ///
    /// # Errors
    /// A value that is out of range, by its name.
    pub fn options(&self, n: usize) -> Result<GenerateOptions> {
        let options = GenerateOptions {
            n,
            max_new_tokens: self.max_new_tokens,
            temperature: self.temperature,
            top_k: self.top_k.unwrap_or(0),
            top_p: self.top_p.unwrap_or(1.0),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
            seed: self.seed,
            stop_strings: self.stop.clone(),
            ignore_eos: false,
            adapter: AdapterChoice::Active,
            ..GenerateOptions::default()
        };
        options.validate()?;
        Ok(options)
    }
}
