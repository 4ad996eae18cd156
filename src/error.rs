//! The one error type of the crate: everything a file, a user or a device can cause.
//!
//! Every variant names what was wrong and, where it helps, where and what was expected. [`Error::code`] is
//! stable and becomes the `code` of the JavaScript `FledglingError` and part of the command line's message.

use thiserror::Error;

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything a file, a user or a device can cause.
#[derive(Debug, Error)]
pub enum Error {
    /// No adapter, or the browser has no WebGPU.
    #[error("no usable GPU adapter: {0}")]
    NoAdapter(String),
    /// The device was lost (driver reset, tab in the background for long, memory pressure).
    #[error("the GPU device was lost: {0}")]
    DeviceLost(String),
    /// The device refused an allocation or a limit is too small for the model.
    #[error("out of GPU memory: {0}")]
    OutOfMemory(String),
    /// A kernel did not compile or a dispatch was refused: the adapter's message is inside.
    #[error("the GPU refused {what}: {message}")]
    Gpu { what: String, message: String },
    /// A shape or type an operation cannot take.
    #[error("{op}: {message}")]
    Shape { op: String, message: String },
    /// A file that is not what it claims to be.
    #[error("{file}: {message}")]
    BadFile { file: String, message: String },
    /// A readable file of an architecture that is not implemented.
    #[error("architecture {found:?} is not supported (supported: {supported})")]
    UnsupportedArchitecture { found: String, supported: String },
    /// An adapter that does not fit the model.
    #[error("adapter: {0}")]
    BadAdapter(String),
    /// A configuration field with an impossible value.
    #[error("{field}: {message}")]
    BadConfig { field: String, message: String },
    /// A dataset row that cannot be used.
    #[error("row {row}: {message}")]
    BadRow { row: usize, message: String },
    /// A dataset row that is longer than the model's context, where nothing says to cut it.
    #[error("row {row}: {message}")]
    LongRow { row: usize, message: String },
    /// A dataset without a single usable row.
    #[error("the dataset is empty: {0}")]
    EmptyDataset(String),
    /// A ranking in which nothing is preferred to anything.
    #[error("no pairs: {0}")]
    NoPairs(String),
    /// Prompt and answer do not fit into the model's context.
    #[error("{needed} tokens do not fit into a context of {available}")]
    ContextOverflow { needed: usize, available: usize },
    /// The caller asked to stop.
    #[error("aborted")]
    Aborted,
    /// The model is doing something else.
    #[error("the model is busy: {0}")]
    Busy(String),
    /// A chat template that does not parse or refuses these messages.
    #[error("chat template: {0}")]
    Template(String),
    /// Reading or writing a file failed.
    #[error("{path}: {message}")]
    Io { path: String, message: String },
    /// NaN or infinity where a number was needed.
    #[error("not a finite number: {0}")]
    NotFinite(String),
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
            Error::BadRow { .. } => "bad-row",
            Error::EmptyDataset(_) => "empty-dataset",
            Error::NoPairs(_) => "no-pairs",
            Error::ContextOverflow { .. } | Error::LongRow { .. } => "context-overflow",
            Error::Aborted => "aborted",
            Error::Busy(_) => "busy",
            Error::Template(_) => "bad-template",
            Error::Io { .. } => "io",
            Error::NotFinite(_) => "not-finite",
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
