//! Generation by steps: JavaScript asks for one token of every candidate at a time and can stop before each. Also scoring: the
//! log-probabilities and logits of given tokens.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::Deserialize;
use serde_json::json;
use wasm_bindgen::prelude::*;

use super::convert::{from_js, js_error, to_js};
use super::model::{Message, Shared, WasmModel, future, set};
use crate::adapters::AdapterChoice;
use crate::data::{Example, TextSource};
use crate::generate::{Candidate, Event, FinishReason, GenerateOptions, Generator};
use crate::tune::{ModelText, Scorer};
use crate::{Error, Result};

/// What is to be read: exactly one of a chat, a text and token ids.
#[derive(Debug, Deserialize)]
struct Input {
    messages: Option<Vec<Message>>,
    prompt: Option<String>,
    input_ids: Option<Vec<u32>>,
}

impl Input {
    /// Its tokens; a chat ends with the opening of an answer where `open`.
    fn ids(self, shared: &Shared, open: bool) -> Result<Vec<u32>> {
        match self {
            Input { messages: Some(m), prompt: None, input_ids: None } => shared.loaded.tokenizer()?.encode_chat(&m, open),
            Input { messages: None, prompt: Some(p), input_ids: None } => Ok(shared.loaded.tokenizer()?.encode(&p)),
            Input { messages: None, prompt: None, input_ids: Some(ids) } => Ok(ids),
            _ => Err(Error::config("request", "expected one of messages, a prompt and input_ids")),
        }
    }
}

/// `adapter` of a request: `null` is the base model, absence the active adapter.
fn adapter_of(request: &JsValue) -> AdapterChoice {
    match js_sys::Reflect::get(request, &"adapter".into()) {
        Ok(v) if v.is_null() => AdapterChoice::Base,
        Ok(v) => v.as_string().map_or(AdapterChoice::Active, AdapterChoice::Named),
        Err(_) => AdapterChoice::Active,
    }
}

/// A request in the names of Transformers' GenerationConfig; `adapter` is read separately, because `null` and absence differ.
#[derive(Debug, Deserialize)]
struct Request {
    n: usize,
    max_new_tokens: usize,
    temperature: f32,
    #[serde(default)]
    top_k: u32,
    #[serde(default = "one")]
    top_p: f32,
    #[serde(default)]
    min_p: f32,
    #[serde(default = "one")]
    repetition_penalty: f32,
    #[serde(default)]
    no_repeat_ngram_size: usize,
    #[serde(default = "none")]
    num_beams: usize,
    #[serde(default = "one")]
    length_penalty: f32,
    /// `true`, `false` or `never`.
    early_stopping: Option<String>,
    #[serde(default)]
    prompt_lookup_num_tokens: usize,
    #[serde(default = "two")]
    max_matching_ngram_size: usize,
    #[serde(default)]
    top_logprobs: usize,
    #[serde(default)]
    seed: u32,
    #[serde(default)]
    stop_strings: Vec<String>,
    #[serde(default)]
    ignore_eos: bool,
}

fn one() -> f32 {
    1.0
}

fn none() -> usize {
    1
}

fn two() -> usize {
    2
}

/// A generation in progress.
#[wasm_bindgen(js_name = Session)]
pub struct WasmSession {
    shared: Rc<Shared>,
    abort: Rc<Cell<bool>>,
    /// The answers were taken: nothing is left to be cleared.
    finished: Rc<Cell<bool>>,
}

impl Drop for WasmSession {
    fn drop(&mut self) {
        // A generation that an error ended must not keep the next one waiting.
        if !self.finished.get()
            && let Ok(mut g) = self.shared.generator.try_borrow_mut()
            && let Some(g) = g.as_mut()
        {
            g.reset();
        }
    }
}

#[wasm_bindgen(js_class = Model)]
impl WasmModel {
    /// Begins a generation: tokenizes and checks; nothing is computed before the first step.
    pub fn generate(&self, request: JsValue) -> std::result::Result<WasmSession, JsValue> {
        self.begin(request).map_err(js_error)
    }
}

impl WasmModel {
    fn begin(&self, request: JsValue) -> Result<WasmSession> {
        let shared = self.0.clone();
        let _turn = shared.turn("generation")?;
        let adapter = adapter_of(&request);
        let prompt = from_js::<Input>("request", request.clone())?.ids(&shared, true)?;
        let r: Request = from_js("request", request)?;
        let options = GenerateOptions {
            n: r.n,
            max_new_tokens: r.max_new_tokens,
            temperature: r.temperature,
            top_k: r.top_k,
            top_p: r.top_p,
            min_p: r.min_p,
            repetition_penalty: r.repetition_penalty,
            no_repeat_ngram_size: r.no_repeat_ngram_size,
            num_beams: r.num_beams,
            length_penalty: r.length_penalty,
            early_stopping: r.early_stopping.as_deref().unwrap_or("false").parse()?,
            prompt_lookup_num_tokens: r.prompt_lookup_num_tokens,
            max_matching_ngram_size: r.max_matching_ngram_size,
            top_logprobs: r.top_logprobs,
            seed: r.seed,
            stop_strings: r.stop_strings,
            ignore_eos: r.ignore_eos,
            adapter,
            ..GenerateOptions::default()
        };
        let mut generator = shared.take_or_new()?;
        let abort = generator.abort_flag();
        let started = generator.start(&prompt, options);
        shared.generator.replace(Some(generator));
        started?;
        Ok(WasmSession { shared: shared.clone(), abort, finished: Rc::default() })
    }
}

#[derive(Debug, Deserialize)]
struct ScoreRequest {
    /// Positions whose logits (after them) are wanted.
    #[serde(default)]
    positions: Vec<usize>,
}

#[wasm_bindgen(js_class = Model)]
impl WasmModel {
    /// `{tokenIds, logprobs, logits, scores}` of a chat, a text or token ids: ln p of every token but the first given those before it, and a
    /// `Float32Array` of the vocabulary's length per entry of `positions`; of a reward model its scores alone.
    pub fn score(&self, request: JsValue) -> js_sys::Promise {
        let shared = self.0.clone();
        future(async move {
            let _turn = shared.turn("scoring")?;
            let adapter = adapter_of(&request);
            let ids = from_js::<Input>("request", request.clone())?.ids(&shared, false)?;
            let r: ScoreRequest = from_js("request", request.clone())?;
            let name = match &adapter {
                AdapterChoice::Base => None,
                AdapterChoice::Active => shared.loaded.adapters.active(),
                AdapterChoice::Named(name) => Some(name.clone()),
            };
            if name.is_some_and(|name| shared.loaded.adapters.scores(&name).is_some_and(|n| n > 0)) {
                if !r.positions.is_empty() {
                    return Err(Error::config("positions", "has no meaning for a reward model, which has no logits"));
                }
                let text = from_js::<Input>("request", request)?.prompt.is_some();
                return rewarded(&shared, ids, text, &adapter).await;
            }
            let mut generator = shared.take_or_new()?;
            let scores = scores(&mut generator, &ids, &r.positions, &adapter).await;
            shared.generator.replace(Some(generator));
            let (nll, logits) = scores?;
            let out = to_js(&json!({"tokenIds": ids, "logprobs": nll.iter().map(|v| -v).collect::<Vec<f32>>(), "scores": []}))?;
            let rows: js_sys::Array = logits.iter().map(|row| js_sys::Float32Array::from(&row[..])).collect();
            set(out.unchecked_ref(), "logits", &rows.into());
            Ok(out)
        })
    }
}

/// What a reward model says of a sequence; a text has the end token behind it, as in its training.
async fn rewarded(shared: &Shared, mut ids: Vec<u32>, text: bool, adapter: &AdapterChoice) -> Result<JsValue> {
    let model = ModelText::of(&shared.loaded);
    if text {
        ids.extend(model.eos().filter(|eos| ids.last() != Some(eos)));
    }
    if ids.is_empty() {
        return Err(Error::config("input", "has no tokens: there is nothing to score"));
    }
    if ids.len() > model.context() {
        return Err(Error::ContextOverflow { needed: ids.len(), available: model.context() });
    }
    if let Some(id) = ids.iter().find(|id| **id as usize >= model.vocab_size()) {
        return Err(Error::config("input", format!("has token {id}, the vocabulary ends at {}", model.vocab_size())));
    }
    let scores = Scorer::new(&shared.loaded, adapter)?.judge(&[&Example::scored(ids.clone())]).await?.remove(0);
    let out = to_js(&json!({"tokenIds": ids, "logprobs": [], "scores": scores}))?;
    set(out.unchecked_ref(), "logits", &js_sys::Array::new().into());
    Ok(out)
}

async fn scores(g: &mut Generator, ids: &[u32], positions: &[usize], adapter: &AdapterChoice) -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
    Ok((g.nll(ids, adapter).await?, g.logits_at(ids, positions, adapter).await?))
}

#[wasm_bindgen(js_class = Session)]
impl WasmSession {
    /// The next chunk of the prompt, or the next token of every candidate: what text has come of it. `undefined` when all have ended.
    pub fn step(&self) -> js_sys::Promise {
        let shared = self.shared.clone();
        future(async move {
            let _turn = shared.turn("generation")?;
            let mut generator = take(&shared)?;
            let events = generator.step().await;
            shared.generator.replace(Some(generator));
            match events? {
                None => Ok(JsValue::UNDEFINED),
                Some(events) => to_js(&events.iter().filter_map(event_json).collect::<Vec<_>>()),
            }
        })
    }

    /// The next step ends all candidates that are still running.
    pub fn abort(&self) {
        self.abort.set(true);
    }

    /// The answers.
    pub fn finish(&self) -> js_sys::Promise {
        let (shared, finished) = (self.shared.clone(), self.finished.clone());
        future(async move {
            let _turn = shared.turn("generation")?;
            let mut generator = take(&shared)?;
            let candidates = generator.finish().await;
            shared.generator.replace(Some(generator));
            finished.set(true);
            to_js(&candidates?.iter().map(candidate_json).collect::<Vec<_>>())
        })
    }
}

/// Taken out while it works, so that nothing is borrowed over an await.
fn take(shared: &Shared) -> Result<Generator> {
    let slot: &RefCell<Option<Generator>> = &shared.generator;
    slot.take().ok_or_else(|| Error::Busy("a step of it is still running".into()))
}

fn event_json(event: &Event) -> Option<serde_json::Value> {
    match event {
        Event::Prefill { .. } => None,
        Event::Text { index, text } => Some(json!({"index": index, "text": text, "done": false})),
        Event::Done { index, .. } => Some(json!({"index": index, "text": "", "done": true})),
    }
}

fn candidate_json(c: &Candidate) -> serde_json::Value {
    let reason = match c.finish_reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Abort => "abort",
    };
    json!({
        "text": c.text, "tokenIds": c.token_ids, "logprobs": c.logprobs, "finishReason": reason, "seconds": c.seconds,
        "promptTokens": c.prompt_tokens, "adapter": c.adapter, "score": c.score,
        "topLogprobs": c.top_logprobs.iter().map(|top| {
            top.iter().map(|(id, logprob)| json!({"tokenId": id, "logprob": logprob})).collect::<Vec<_>>()
        }).collect::<Vec<_>>(),
    })
}
