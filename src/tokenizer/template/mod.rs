//! Chat templates: Jinja as Transformers runs it.
use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, ErrorKind, State, filters, functions, tests};
use serde::Serialize;
use serde_json::{Map, Value as Json};

mod guard;
mod python;

use self::python::{civil, method, strftime};
use crate::clock;
use crate::error::{Error, Result};

/// A template's work is bounded (about one unit per instruction): a hostile one must not hang the page.
const FUEL: u64 = 5_000_000;
/// No template may be longer.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// A parsed chat template.
pub struct ChatTemplate {
    env: Environment<'static>,
    source: String,
    bos_token: String,
    eos_token: String,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("source", &self.source).finish_non_exhaustive()
    }
}

/// The message with the place, without minijinja's multi-line form; a `raise_exception` gives its own text only.
fn typed(e: minijinja::Error) -> Error {
    let what = match (e.kind(), e.detail()) {
        (ErrorKind::OutOfFuel, _) => "it does not come to an end".to_string(),
        (kind, Some(detail)) if detail.starts_with(RAISED) => {
            let _ = kind;
            return Error::Template(detail[RAISED.len()..].to_string());
        }
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    Error::Template(match e.line() {
        Some(line) => format!("{what} (line {line})"),
        None => what,
    })
}

/// Marks errors that the template raised itself.
const RAISED: &str = "raised: ";

impl ChatTemplate {
    /// Parses a template; `bos_token` and `eos_token` are the texts it may refer to.
    pub fn new(source: &str, bos_token: Option<&str>, eos_token: Option<&str>) -> Result<Self> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(Error::Template(format!("it has {} bytes, at most {MAX_TEMPLATE_BYTES} are supported", source.len())));
        }
        if let Some(why) = guard::too_deep(source) {
            return Err(Error::Template(why));
        }
        // Only what templates use is registered: the rest then stays out of the wasm.
        let mut env = Environment::empty();
        env.set_trim_blocks(true);
        env.set_lstrip_blocks(true);
        env.set_fuel(Some(FUEL));
        // A macro that calls itself must end in an error before it ends the stack, which is 1 MiB in wasm.
        env.set_recursion_limit(50);
        env.set_unknown_method_callback(|_, value, name, args| method(value, name, args));
        // As Python prints them.
        env.set_formatter(|out, _, value| match (value.is_none(), value.as_object(), bool::try_from(value.clone())) {
            (true, ..) => Ok(out.write_str("None")?),
            (_, None, Ok(b)) if value.kind() == minijinja::value::ValueKind::Bool => Ok(out.write_str(if b { "True" } else { "False" })?),
            _ if value.is_undefined() => Ok(()),
            _ => Ok(write!(out, "{value}")?),
        });
        register(&mut env);
        env.add_template_owned("chat", without_generation_tags(source)).map_err(typed)?;
        Ok(ChatTemplate {
            env,
            source: source.to_string(),
            bos_token: bos_token.unwrap_or_default().to_string(),
            eos_token: eos_token.unwrap_or_default().to_string(),
        })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a chat. `messages` are objects with `role` and `content`; `extra` are further variables, such as
    /// `tools` or `enable_thinking`.
    pub fn render<M: Serialize>(&self, messages: &[M], add_generation_prompt: bool, extra: &Map<String, Json>) -> Result<String> {
        self.render_values(Value::from_serialize(messages), add_generation_prompt, extra)
    }

    fn render_values(&self, messages: Value, add_generation_prompt: bool, extra: &Map<String, Json>) -> Result<String> {
        let mut variables: Vec<(&str, Value)> = vec![
            ("messages", messages),
            ("add_generation_prompt", add_generation_prompt.into()),
            ("bos_token", self.bos_token.as_str().into()),
            ("eos_token", self.eos_token.as_str().into()),
            ("tools", ().into()),
            ("documents", ().into()),
        ];
        for (key, value) in extra {
            variables.retain(|(k, _)| k != key);
            variables.push((key, Value::from_serialize(value)));
        }
        let context: Value = variables.into_iter().collect();
        self.env.get_template("chat").and_then(|t| t.render(context)).map_err(typed)
    }
}

/// `{% generation %}` marks the assistant's text for training masks and renders nothing by itself.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |e| e + 2);
        let word = tag[2..end].trim_end_matches("%}").trim_matches(['-', '+', ' ', '\n', '\t']);
        let replaced = match word {
            "generation" => tag[..end].replace("generation", "if true"),
            "endgeneration" => tag[..end].replace("endgeneration", "endif"),
            _ => tag[..end].to_string(),
        };
        out.push_str(&replaced);
        rest = &tag[end..];
    }
    out + rest
}

fn register(env: &mut Environment) {
    env.add_filter("safe", filters::safe);
    env.add_filter("trim", filters::trim);
    env.add_filter("length", filters::length);
    env.add_filter("count", filters::length);
    env.add_filter("join", filters::join);
    env.add_filter("first", filters::first);
    env.add_filter("last", filters::last);
    env.add_filter("default", filters::default);
    env.add_filter("d", filters::default);
    env.add_filter("upper", filters::upper);
    env.add_filter("lower", filters::lower);
    env.add_filter("capitalize", filters::capitalize);
    env.add_filter("replace", filters::replace);
    env.add_filter("list", filters::list);
    env.add_filter("string", filters::string);
    env.add_filter("int", filters::int);
    env.add_filter("items", filters::items);
    env.add_filter("reverse", filters::reverse);
    env.add_filter("map", filters::map);
    env.add_filter("select", filters::select);
    env.add_filter("reject", filters::reject);
    env.add_filter("selectattr", filters::selectattr);
    env.add_filter("rejectattr", filters::rejectattr);
    env.add_filter("tojson", tojson);

    env.add_test("defined", tests::is_defined);
    env.add_test("undefined", tests::is_undefined);
    env.add_test("none", tests::is_none);
    env.add_test("boolean", tests::is_boolean);
    env.add_test("true", tests::is_true);
    env.add_test("false", tests::is_false);
    env.add_test("string", tests::is_string);
    env.add_test("number", tests::is_number);
    env.add_test("integer", tests::is_integer);
    env.add_test("float", tests::is_float);
    env.add_test("mapping", tests::is_mapping);
    env.add_test("sequence", tests::is_sequence);
    env.add_test("iterable", tests::is_iterable);
    env.add_test("odd", tests::is_odd);
    env.add_test("even", tests::is_even);
    env.add_test("in", tests::is_in);
    for name in ["eq", "equalto", "=="] {
        env.add_test(name, tests::is_eq);
    }
    for name in ["ne", "!="] {
        env.add_test(name, tests::is_ne);
    }
    for name in ["lt", "lessthan", "<"] {
        env.add_test(name, tests::is_lt);
    }
    for name in ["gt", "greaterthan", ">"] {
        env.add_test(name, tests::is_gt);
    }

    env.add_function("range", functions::range);
    env.add_function("dict", functions::dict);
    env.add_function("namespace", functions::namespace);
    env.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
    });
    env.add_function("strftime_now", |format: String| strftime(&format, civil(clock::unix_seconds() as i64)));
}

/// `json.dumps(x, ensure_ascii=False)` with `indent` and `sort_keys`, as Transformers defines the filter.
fn tojson(_: &State, value: Value, args: Rest<Value>, kwargs: Kwargs) -> Result<Value, minijinja::Error> {
    let bad = |e: String| minijinja::Error::new(ErrorKind::InvalidOperation, e);
    let json = serde_json::to_value(&value).map_err(|e| bad(format!("tojson: {e}")))?;
    let indent: Option<usize> = match args.first() {
        Some(v) => usize::try_from(v.clone()).ok(),
        None => kwargs.get("indent")?,
    };
    if indent.is_some_and(|n| n > 64) {
        return Err(bad("tojson: the indent is larger than 64".into()));
    }
    let sort: Option<bool> = kwargs.get("sort_keys")?;
    let _: Option<bool> = kwargs.get("ensure_ascii")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    kwargs.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(bad("tojson: separators are two texts".into())),
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let mut out = String::new();
    let style = Style { indent, sort: sort.unwrap_or(false), item, key };
    style.write(&json, 0, &mut out);
    Ok(Value::from(out))
}

struct Style {
    indent: Option<usize>,
    sort: bool,
    item: String,
    key: String,
}

impl Style {
    fn line(&self, depth: usize, out: &mut String) {
        if let Some(n) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', n * depth));
        }
    }

    fn write(&self, v: &Json, depth: usize, out: &mut String) {
        let mut each = |open: char, close: char, n: usize, item: &mut dyn FnMut(usize, &mut String)| {
            out.push(open);
            for i in 0..n {
                if i > 0 {
                    out.push_str(&self.item);
                }
                self.line(depth + 1, out);
                item(i, out);
            }
            if n > 0 {
                self.line(depth, out);
            }
            out.push(close);
        };
        match v {
            Json::Array(a) => each('[', ']', a.len(), &mut |i, out| self.write(&a[i], depth + 1, out)),
            Json::Object(o) => {
                let mut entries: Vec<(&String, &Json)> = o.iter().collect();
                if self.sort {
                    entries.sort_by_key(|e| e.0);
                }
                each('{', '}', entries.len(), &mut |i, out| {
                    let (k, v) = entries[i];
                    out.push_str(&Json::String(k.clone()).to_string());
                    out.push_str(&self.key);
                    self.write(v, depth + 1, out);
                });
            }
            scalar => out.push_str(&scalar.to_string()),
        }
    }
}
