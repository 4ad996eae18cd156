//! Chat templates: Jinja as Transformers runs it (an immutable sandbox with `trim_blocks` and `lstrip_blocks`), and Python as such templates see it.
//!
//! Written here, because a template has to give Transformers' text or none, and comes from a stranger: the figures and what `minijinja` does
//! otherwise are in `docs/decisions.md`. `lex`, `parse` and `frames` read a source, `run` and `eval` walk its tree, `value` and the files of
//! operators, methods and filters are Python; `meter` bounds all of them.
use serde::Serialize;
use serde_json::{Map, Value as Json};

mod access;
mod args;
mod ast;
mod compare;
mod eval;
mod expressions;
mod fault;
mod fields;
mod filters;
mod format;
mod frames;
mod globals;
mod json;
mod lex;
mod lists;
mod meter;
mod methods;
mod ops;
mod parse;
mod print;
mod run;
mod strings;
mod texts;
mod value;

use self::ast::Tree;
use self::fault::Fault;
use self::value::{Value, from_json, held};
use crate::error::{Error, Result};

/// No template may be longer.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;
/// Levels of what is given to a template.
const MAX_LEVELS: u32 = meter::MAX_NESTING / 2;

/// A parsed chat template.
pub struct ChatTemplate {
    tree: Tree,
    source: String,
    /// The texts of special tokens by name, such as `bos_token`.
    tokens: Map<String, Json>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The message with the place; a `raise_exception` gives its own text only.
#[expect(clippy::boxed_local, reason = "faults travel in boxes")]
fn typed(fault: Box<Fault>) -> Error {
    // A message may hold what a template has made.
    let mut what = fault.what;
    if let Some((cut, _)) = what.char_indices().nth(2000) {
        what.truncate(cut);
        what.push('…');
    }
    Error::Template(if fault.raised || fault.line == 0 { what } else { format!("{what} (line {})", fault.line) })
}

impl ChatTemplate {
    /// Parses a template; `bos_token` and `eos_token` are the texts it may refer to.
    pub fn new(source: &str, bos_token: Option<&str>, eos_token: Option<&str>) -> Result<Self> {
        let tokens = [("bos_token", bos_token), ("eos_token", eos_token)];
        Self::with_tokens(source, tokens.into_iter().filter_map(|(n, t)| Some((n.to_string(), Json::from(t?)))).collect())
    }

    /// Parses a template; `tokens` are the special tokens that it may refer to by name (`bos_token`, `unk_token`, …).
    pub fn with_tokens(source: &str, tokens: Map<String, Json>) -> Result<Self> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(Error::Template(format!("it has {} bytes, at most {MAX_TEMPLATE_BYTES} are supported", source.len())));
        }
        meter::start();
        let tree = parse::parse(source).map_err(typed)?;
        Ok(ChatTemplate { tree, source: source.to_string(), tokens })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a chat. `messages` are objects with `role`, `content` and whatever else the template reads; `extra` are further variables, such
    /// as `tools` or `enable_thinking`.
    pub fn render<M: Serialize>(&self, messages: &[M], add_generation_prompt: bool, extra: &Map<String, Json>) -> Result<String> {
        let messages = messages.iter().map(|m| Ok(with_reasoning(serde_json::to_value(m)?))).collect::<serde_json::Result<Vec<Json>>>();
        let messages = messages.map_err(|e| Error::Template(format!("the messages are no JSON: {e}")))?;
        self.render_values(Json::Array(messages), add_generation_prompt, extra).map_err(typed)
    }

    fn render_values(&self, messages: Json, add_generation_prompt: bool, extra: &Map<String, Json>) -> fault::Res<String> {
        let mut variables = |name: &str| -> fault::Res<Option<Value>> {
            let given = extra.get(name).or_else(|| self.tokens.get(name));
            Ok(match (name, given) {
                (_, Some(value)) => Some(from_json(value, MAX_LEVELS)?),
                ("messages", None) => Some(from_json(&messages, MAX_LEVELS)?),
                ("add_generation_prompt", None) => Some(Value::Bool(add_generation_prompt)),
                ("tools" | "documents", None) => Some(Value::None),
                ("bos_token" | "eos_token", None) => Some(Value::Str(held(String::new()))),
                _ => globals::global(name).map(Value::Global),
            })
        };
        // Values are made before anything is counted: what comes from outside is free.
        let run = run::Run::new(&self.tree, &mut variables)?;
        meter::start();
        run.render::<eval::Expressions>()
    }
}

/// Reasoning under all the names that templates read, as Transformers passes it.
fn with_reasoning(message: Json) -> Json {
    let Json::Object(fields) = message else { return message };
    let found = ["reasoning_content", "thinking", "reasoning"].iter().find_map(|n| fields.get(*n).filter(|v| !v.is_null()));
    let Some(reasoning) = found.cloned() else { return Json::Object(fields) };
    let mut out = Map::new();
    out.insert("thinking".into(), reasoning.clone());
    out.extend(fields);
    out.insert("reasoning_content".into(), reasoning);
    Json::Object(out)
}
