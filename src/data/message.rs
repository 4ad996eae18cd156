//! Messages of conversations: objects that go to the chat template as they are, whatever they hold.

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::columns::near;
use super::fault::{Fault, kind};

/// Most messages of a conversation.
const MAX_MESSAGES: usize = 10_000;

/// One turn of a conversation: an object with a `role`, and whatever the template makes of the rest of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Message(Map<String, Json>);

/// What ShareGPT calls the two who speak.
const SPEAKERS: &[(&str, &str)] = &[("human", "user"), ("gpt", "assistant")];

impl Message {
    /// A message of that role with a text.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Message(Map::from_iter([("role".to_string(), json!(role)), ("content".to_string(), json!(content.into()))]))
    }

    pub fn role(&self) -> &str {
        self.get("role").and_then(Json::as_str).unwrap_or_default()
    }

    /// A field of it.
    pub fn get(&self, field: &str) -> Option<&Json> {
        self.0.get(field)
    }

    /// Its text, where it is one text.
    pub fn text(&self) -> Option<&str> {
        self.get("content").and_then(Json::as_str)
    }

    /// True where nothing but white space is in it: neither in its content nor in anything else that it holds.
    pub fn is_wordless(&self) -> bool {
        fn empty(v: &Json) -> bool {
            match v {
                Json::Null | Json::Bool(false) => true,
                Json::String(s) => s.trim().is_empty(),
                Json::Array(a) => a.iter().all(empty),
                // A part: its type says nothing.
                Json::Object(o) => o.iter().all(|(k, v)| k == "type" || empty(v)),
                _ => false,
            }
        }
        self.0.iter().all(|(k, v)| ["role", "name"].contains(&k.as_str()) || empty(v))
    }

    /// Reads one; `place` says where it stands.
    ///
    /// # Errors
    /// A [`Fault`] that names the place in it.
    pub fn read(place: &str, value: &Json) -> Result<Message, Fault> {
        let Json::Object(fields) = value else {
            return Err(Fault::at(place, format!("is {}, expected a message", kind(Some(value)))));
        };
        let at = |name: &str| format!("{place}.{name}");
        let mut fields = fields.clone();
        // ShareGPT's names.
        for (theirs, ours) in [("from", "role"), ("value", "content")] {
            if !fields.contains_key(ours)
                && let Some(v) = fields.shift_remove(theirs)
            {
                let known = v.as_str().and_then(|s| SPEAKERS.iter().find(|p| ours == "role" && p.0 == s));
                fields.insert(ours.into(), known.map_or(v, |p| json!(p.1)));
            }
        }
        let there = |name: &str| fields.get(name).filter(|v| !v.is_null());
        if let Some(name) = ["role", "content"].into_iter().find(|name| there(name).is_none())
            && let Some(meant) = fields.keys().find(|k| *k != name && near(k, [name].into_iter()).is_some())
        {
            return Err(Fault::at(at(meant), format!("is not known (did you mean {name}?)")));
        }
        if !matches!(fields.get("role"), Some(Json::String(s)) if !s.is_empty()) {
            return Err(Fault::at(at("role"), format!("is {}, expected a text", kind(fields.get("role")))));
        }
        match there("content") {
            Some(Json::String(_)) => {}
            Some(Json::Array(parts)) => {
                for (i, part) in parts.iter().enumerate() {
                    let text = part.get("type").is_none_or(|t| t == "text") && part.get("text").is_some_and(Json::is_string);
                    if !text && !part.is_string() {
                        let found = match part.get("type").and_then(Json::as_str) {
                            Some("text") => "a text part without its text".into(),
                            Some(other) => format!("a part of type {:?}", other.chars().take(40).collect::<String>()),
                            None => kind(Some(part)),
                        };
                        return Err(Fault::at(
                            format!("{}[{i}]", at("content")),
                            format!("is {found}, expected text: {{\"type\": \"text\", \"text\": …}}"),
                        ));
                    }
                }
            }
            None if fields.get("role").is_some_and(|r| r == "assistant") => {
                let message = Message(fields.clone());
                if message.is_wordless() {
                    let reason = format!("is {}, and there are no tool_calls or anything else beside it", kind(fields.get("content")));
                    return Err(Fault::at(at("content"), reason));
                }
            }
            other => {
                return Err(Fault::at(
                    at("content"),
                    format!("is {}, expected a text or a list of parts", kind(other.or(fields.get("content")))),
                ));
            }
        }
        Ok(Message(fields))
    }

    /// Reads a conversation; `column` says where it stands.
    ///
    /// # Errors
    /// A [`Fault`] that names the place in it.
    pub fn read_all(column: &str, value: Option<&Json>) -> Result<Vec<Message>, Fault> {
        let list = value.and_then(Json::as_array).filter(|l| !l.is_empty());
        let list = list.ok_or_else(|| Fault::at(column, format!("is {}, expected a list of messages", kind(value))))?;
        if list.len() > MAX_MESSAGES {
            return Err(Fault::at(column, format!("has {} messages, at most {MAX_MESSAGES} are supported", list.len())));
        }
        list.iter().enumerate().map(|(i, m)| Message::read(&format!("{column}[{i}]"), m)).collect()
    }
}

/// What TRL allows for prompt, completion, chosen and rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TextOrMessages {
    Text(String),
    Messages(Vec<Message>),
}

impl TextOrMessages {
    /// True where nothing but white space is in it.
    pub fn is_wordless(&self) -> bool {
        match self {
            TextOrMessages::Text(t) => t.trim().is_empty(),
            TextOrMessages::Messages(m) => m.iter().all(Message::is_wordless),
        }
    }

    /// As messages; a text is one of `role`.
    pub fn into_messages(self, role: &str) -> Vec<Message> {
        match self {
            TextOrMessages::Text(t) => vec![Message::new(role, t)],
            TextOrMessages::Messages(m) => m,
        }
    }

    pub(super) fn is_chat(&self) -> bool {
        matches!(self, TextOrMessages::Messages(_))
    }

    /// # Errors
    /// A [`Fault`] that names the place.
    pub fn read(column: &str, value: Option<&Json>) -> Result<TextOrMessages, Fault> {
        match value {
            Some(Json::String(s)) => Ok(TextOrMessages::Text(s.clone())),
            Some(Json::Array(_)) => Ok(TextOrMessages::Messages(Message::read_all(column, value)?)),
            other => Err(Fault::at(column, format!("is {}, expected a text or a list of messages", kind(other)))),
        }
    }
}

/// TRL wants all columns of a row in one style: one that is a chat makes chats of all.
pub(super) fn in_one_style<const N: usize>(prompt: TextOrMessages, answers: [TextOrMessages; N]) -> (TextOrMessages, [TextOrMessages; N]) {
    if !prompt.is_chat() && !answers.iter().any(TextOrMessages::is_chat) {
        return (prompt, answers);
    }
    let chat = |t: TextOrMessages, role: &str| TextOrMessages::Messages(t.into_messages(role));
    (chat(prompt, "user"), answers.map(|a| chat(a, "assistant")))
}

/// What a row says to its chat template beside the messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ForTemplate {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<Json>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub chat_template_kwargs: Map<String, Json>,
}

/// Arguments of Transformers' `apply_chat_template` that are none of the template's variables.
const NO_VARIABLES: &[&str] = &[
    "messages",
    "conversation",
    "add_generation_prompt",
    "continue_final_message",
    "chat_template",
    "tokenize",
    "padding",
    "truncation",
    "max_length",
    "return_tensors",
    "return_dict",
    "return_assistant_tokens_mask",
    "tokenizer_kwargs",
];

impl ForTemplate {
    pub fn is_empty(&self) -> bool {
        *self == ForTemplate::default()
    }

    /// As the template's variables; those of `chat_template_kwargs` go over the others, as in TRL.
    pub fn variables(&self) -> Map<String, Json> {
        let own = [("tools", &self.tools), ("documents", &self.documents)];
        let mut all: Map<String, Json> = own.into_iter().filter_map(|(name, v)| Some((name.to_string(), v.clone()?))).collect();
        all.extend(self.chat_template_kwargs.clone());
        all
    }

    /// # Errors
    /// A [`Fault`] that names the column.
    pub(super) fn read<'a>(get: impl Fn(&str) -> Option<&'a Json>) -> Result<ForTemplate, Fault> {
        // Tables keep lists of objects of any shape as their JSON.
        let parsed = |v: &Json| v.as_str().map_or_else(|| Some(v.clone()), |s| serde_json::from_str(s).ok());
        let list = |column: &str, of: &str| match get(column) {
            None => Ok(None),
            Some(v) => match parsed(v).filter(|v| v.as_array().is_some_and(|l| l.iter().all(Json::is_object))) {
                Some(list) => Ok(Some(list)),
                None => Err(Fault::at(column, format!("is {}, expected a list of {of}", kind(Some(v))))),
            },
        };
        let chat_template_kwargs = match get("chat_template_kwargs") {
            None => Map::new(),
            Some(v) => match parsed(v) {
                Some(Json::Object(map)) => map,
                _ => return Err(Fault::at("chat_template_kwargs", format!("is {}, expected an object", kind(Some(v))))),
            },
        };
        if let Some(name) = chat_template_kwargs.keys().find(|k| NO_VARIABLES.contains(&k.as_str())) {
            return Err(Fault::at(format!("chat_template_kwargs.{name}"), "is not a variable of the template"));
        }
        Ok(ForTemplate {
            tools: list("tools", "tools, each an object")?,
            documents: list("documents", "documents, each an object")?,
            chat_template_kwargs,
        })
    }
}
