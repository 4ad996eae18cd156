//! The one error type of the crate: everything a file, a user or a device can cause.
//!
//! Every variant names what was wrong and, where it helps, where and what was expected. [`Error::code`] is
//! stable and becomes the `code` of the JavaScript `FledglingError` and part of the command line's message.

use std::borrow::Cow;

use thiserror::Error;

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything a file, a user or a device can cause.
///
/// New kinds may come: a `match` needs an arm for the rest. Values in messages are cut where they are long: they may come from a hostile file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter, or the browser has no WebGPU.
    #[error("no usable GPU adapter: {}", cut(.0))]
    NoAdapter(String),
    /// The device was lost (driver reset, tab in the background for long, memory pressure).
    #[error("the GPU device was lost: {}", cut(.0))]
    DeviceLost(String),
    /// The device refused an allocation or a limit is too small for the model.
    #[error("out of GPU memory: {}", cut(.0))]
    OutOfMemory(String),
    /// A kernel did not compile or a dispatch was refused: the adapter's message is inside.
    #[error("the GPU refused {what}: {message}")]
    Gpu { what: String, message: String },
    /// A shape or type an operation cannot take.
    #[error("{op}: {}", cut(.message))]
    Shape { op: String, message: String },
    /// A file that is not what it claims to be.
    #[error("{}: {}", cut(.file), cut(.message))]
    BadFile { file: String, message: String },
    /// A readable file of an architecture that is not implemented.
    #[error("architecture {} is not supported (supported: {supported})", cut(&format!("{:?}", .found)))]
    UnsupportedArchitecture { found: String, supported: String },
    /// An adapter that does not fit the model.
    #[error("adapter: {}", cut(.0))]
    BadAdapter(String),
    /// A configuration field with an impossible value.
    #[error("{}: {}", cut(.field), cut(.message))]
    BadConfig { field: String, message: String },
    /// A dataset row that cannot be used.
    #[error("row {row}: {}", cut(.message))]
    BadRow { row: usize, message: String },
    /// A dataset row that is longer than the model's context, where nothing says to cut it.
    #[error("row {row}: {}", cut(.message))]
    LongRow { row: usize, message: String },
    /// A row for evaluation that cannot be used.
    #[error("row {row} of those for evaluation: {}", cut(.message))]
    BadEvalRow { row: usize, message: String },
    /// A dataset without a single usable row.
    #[error("the dataset is empty: {}", cut(.0))]
    EmptyDataset(String),
    /// A judge of completions that failed, took too long, or gave something else than a number for each.
    #[error("reward {judge}: {}{}", row.map_or_else(String::new, |r| format!("row {r}: ")), cut(.message))]
    BadReward { judge: String, row: Option<usize>, message: String },
    /// A ranking in which nothing is preferred to anything.
    #[error("no pairs: {}", cut(.0))]
    NoPairs(String),
    /// Prompt and answer do not fit into the model's context.
    #[error("{needed} tokens do not fit into a context of {available}")]
    ContextOverflow { needed: usize, available: usize },
    /// The caller asked to stop.
    #[error("aborted")]
    Aborted,
    /// The model is doing something else.
    #[error("the model is busy: {}", cut(.0))]
    Busy(String),
    /// A chat template that does not parse or refuses these messages.
    #[error("chat template: {}", cut(.0))]
    Template(String),
    /// Reading or writing a file failed.
    #[error("{}: {}", cut(.path), cut(.message))]
    Io { path: String, message: String },
    /// NaN or infinity where a number was needed.
    #[error("not a finite number: {}", cut(.0))]
    NotFinite(String),
}

impl From<fledgling_compute::cpu::OutOfMemory> for Error {
    fn from(e: fledgling_compute::cpu::OutOfMemory) -> Error {
        Error::OutOfMemory(e.0)
    }
}

impl Error {
    /// A stable kebab-case code for scripts and for JavaScript.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoAdapter(_) => "webgpu-unavailable",
            Error::DeviceLost(_) => "device-lost",
            Error::OutOfMemory(_) => "out-of-memory",
            Error::Gpu { .. } => "gpu",
            Error::Shape { .. } => "bad-shape",
            Error::BadFile { .. } => "bad-file",
            Error::UnsupportedArchitecture { .. } => "unsupported-architecture",
            Error::BadAdapter(_) => "bad-adapter",
            Error::BadConfig { .. } => "bad-config",
            Error::BadRow { .. } | Error::BadEvalRow { .. } => "bad-row",
            Error::EmptyDataset(_) => "empty-dataset",
            Error::NoPairs(_) => "no-pairs",
            Error::BadReward { .. } => "bad-reward",
            Error::ContextOverflow { .. } | Error::LongRow { .. } => "context-overflow",
            Error::Aborted => "aborted",
            Error::Busy(_) => "busy",
            Error::Template(_) => "bad-template",
            Error::Io { .. } => "io",
            Error::NotFinite(_) => "not-finite",
        }
    }

    /// A fault of a row, said of those for evaluation.
    #[must_use]
    pub fn of_evaluation(self) -> Self {
        match self {
            Error::BadRow { row, message } | Error::LongRow { row, message } => Error::BadEvalRow { row, message },
            Error::EmptyDataset(message) => Error::EmptyDataset(format!("evaluation: {message}")),
            other => other,
        }
    }

    /// A fault of one of some rows that were taken out of others, by its number there.
    #[must_use]
    pub fn renumbered(self, numbers: &[usize]) -> Self {
        let of = |row: usize| numbers.get(row).copied().unwrap_or(row);
        match self {
            Error::BadRow { row, message } => Error::BadRow { row: of(row), message },
            Error::LongRow { row, message } => Error::LongRow { row: of(row), message },
            other => other,
        }
    }

    /// A shape error of the operation `op`.
    pub fn shape(op: &str, message: impl Into<String>) -> Self {
        Error::Shape { op: op.to_string(), message: message.into() }
    }

    /// A file error.
    pub fn file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Error::BadFile { file: file.into(), message: message.into() }
    }

    /// A configuration error.
    pub fn config(field: impl Into<String>, message: impl Into<String>) -> Self {
        Error::BadConfig { field: field.into(), message: message.into() }
    }
}

/// Longest value that a message repeats, in characters.
const MAX_VALUE: usize = 100;
/// Longest message.
const MAX_MESSAGE: usize = 2000;
/// What is looked at of a message.
const MAX_LOOKED_AT: usize = 64 << 10;

/// A message whose values (in quotes, in brackets) are cut where they are long, and which is cut as a whole: it may repeat what a hostile file says.
fn cut(message: &str) -> Cow<'_, str> {
    if message.len() <= MAX_VALUE {
        return message.into();
    }
    let mut out = String::with_capacity(message.len().min(MAX_MESSAGE));
    let most = (message.len().min(MAX_LOOKED_AT)..).find(|i| message.is_char_boundary(*i)).unwrap_or(message.len());
    let mut rest = &message[..most];
    while let Some(at) = rest.find(['"', '`', '[', '{']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // What never closes is no value: the text around one that was cut before.
        let end = value_end(rest).unwrap_or(1);
        match rest[..end].char_indices().nth(MAX_VALUE) {
            Some((most, _)) => {
                out.push_str(&rest[..most]);
                out.push('…');
                out.extend(rest[..end].chars().next_back().filter(|c| "\"`]}".contains(*c)));
            }
            None => out.push_str(&rest[..end]),
        }
        rest = &rest[end..];
        if out.len() > MAX_MESSAGE {
            break;
        }
    }
    out.push_str(rest);
    if let Some((most, _)) = out.char_indices().nth(MAX_MESSAGE) {
        out.truncate(most);
        out.push('…');
    }
    out.into()
}

/// Where the value ends that `text` begins with: behind the quote or bracket that closes it.
fn value_end(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    let first = bytes.next().map_or(0, |b| b.1);
    let (mut depth, mut quoted, mut escaped) = (1usize, !matches!(first, b'[' | b'{'), false);
    let single = quoted;
    for (i, b) in bytes {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match b {
            b'\\' if quoted => escaped = true,
            _ if single && b == first => return Some(i + 1),
            b'"' if !single => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(i + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn long_values_are_cut() {
        let long = "é".repeat(20_000);
        for message in [
            format!("metadata {long:?} occurs twice"),
            format!("invalid type: string {:?}, expected a number", format!("a\"{long}")),
            format!("unknown field `{long}`, expected one of `a`, `b` at line 1"),
            format!("is {{\"a\": [1, {long:?}]}}, expected true or false, as everywhere else"),
            format!("is [{}], expected one number, and not a list of so many", "7, ".repeat(9000)),
            format!("{long} without quotes"),
        ] {
            let e = Error::config("f", message.clone()).to_string();
            let most = if message.starts_with('é') { 2100 } else { 250 };
            assert!(e.chars().count() < most, "{e}");
            let end: String = message.chars().rev().take(10).collect::<Vec<_>>().into_iter().rev().collect();
            assert!(message.starts_with('é') || e.ends_with(&end), "{e}");
        }
        let short = "is \"a\", expected [1, 2] or {\"b\": 3}; ".repeat(9);
        assert_eq!(Error::config("f", &short).to_string(), format!("f: {short}"));
    }
}
