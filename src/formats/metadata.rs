//! Typed metadata of a file.
use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// A metadata value with the type it has in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// A metadata array, packed by element type: vocabularies have 10⁵ entries.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(StrArray),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    Nested(Nested),
}

/// Arrays in an array: nobody asks for one, so that they are only checked, counted and kept for a copy of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nested {
    bytes: Vec<u8>,
    count: usize,
}

impl Nested {
    /// Appends an array as GGUF writes it: its type, its length, its elements.
    pub(super) fn push(&mut self, array: &[u8]) {
        self.bytes.extend_from_slice(array);
        self.count += 1;
    }

    /// Number of arrays.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without arrays.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them as GGUF writes them.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Array {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(v) => v.len(),
            Array::I8(v) => v.len(),
            Array::U16(v) => v.len(),
            Array::I16(v) => v.len(),
            Array::U32(v) => v.len(),
            Array::I32(v) => v.len(),
            Array::F32(v) => v.len(),
            Array::Bool(v) => v.len(),
            Array::String(v) => v.len(),
            Array::U64(v) => v.len(),
            Array::I64(v) => v.len(),
            Array::F64(v) => v.len(),
            Array::Nested(v) => v.len(),
        }
    }

    /// True without elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn type_name(&self) -> &'static str {
        match self {
            Array::U8(_) => "array of u8",
            Array::I8(_) => "array of i8",
            Array::U16(_) => "array of u16",
            Array::I16(_) => "array of i16",
            Array::U32(_) => "array of u32",
            Array::I32(_) => "array of i32",
            Array::F32(_) => "array of f32",
            Array::Bool(_) => "array of bool",
            Array::String(_) => "array of string",
            Array::U64(_) => "array of u64",
            Array::I64(_) => "array of i64",
            Array::F64(_) => "array of f64",
            Array::Nested(_) => "array of arrays",
        }
    }
}

/// Many strings in one allocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StrArray {
    text: String,
    ends: Vec<u32>,
}

impl StrArray {
    /// Appends a string.
    pub fn push(&mut self, s: &str) {
        self.text.push_str(s);
        self.ends.push(self.text.len() as u32);
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without strings.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// String number `i`.
    pub fn get(&self, i: usize) -> Option<&str> {
        let end = *self.ends.get(i)? as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        Some(&self.text[start..end])
    }

    /// All of them in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i).expect("i < len"))
    }
}

impl<S: AsRef<str>> FromIterator<S> for StrArray {
    fn from_iter<I: IntoIterator<Item = S>>(iter: I) -> Self {
        let mut out = StrArray::default();
        iter.into_iter().for_each(|s| out.push(s.as_ref()));
        out
    }
}

static NO_STRINGS: StrArray = StrArray { text: String::new(), ends: Vec::new() };

impl Value {
    /// The type's name in messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::U8(_) => "u8",
            Value::I8(_) => "i8",
            Value::U16(_) => "u16",
            Value::I16(_) => "i16",
            Value::U32(_) => "u32",
            Value::I32(_) => "i32",
            Value::F32(_) => "f32",
            Value::Bool(_) => "bool",
            Value::String(_) => "string",
            Value::Array(a) => a.type_name(),
            Value::U64(_) => "u64",
            Value::I64(_) => "i64",
            Value::F64(_) => "f64",
        }
    }

    /// Any non-negative integer type.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U8(v) => Some(v.into()),
            Value::U16(v) => Some(v.into()),
            Value::U32(v) => Some(v.into()),
            Value::U64(v) => Some(v),
            Value::I8(v) => v.try_into().ok(),
            Value::I16(v) => v.try_into().ok(),
            Value::I32(v) => v.try_into().ok(),
            Value::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// A float, or an integer as one.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(v) => Some(v.into()),
            Value::F64(v) => Some(v),
            Value::I8(v) => Some(v.into()),
            Value::I16(v) => Some(v.into()),
            Value::I32(v) => Some(v.into()),
            _ => self.as_u64().map(|v| v as f64),
        }
    }
}

macro_rules! getter {
    ($(#[$doc:meta])* $name:ident, $opt:ident, $ty:ty, $expected:literal, |$v:ident| $get:expr) => {
        $(#[$doc])*
        pub fn $opt(&self, key: &str) -> Result<Option<$ty>> {
            match self.values.get(key) {
                None => Ok(None),
                Some($v) => $get.map(Some).ok_or_else(|| self.mistyped(key, $expected)),
            }
        }

        /// The same, and an error if the key is missing.
        pub fn $name(&self, key: &str) -> Result<$ty> {
            self.$opt(key)?.ok_or_else(|| self.missing(key, $expected))
        }
    };
}

/// The metadata of one file; getters name file and key in their errors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The file's name, for messages.
    pub file: String,
    values: BTreeMap<String, Value>,
}

impl Metadata {
    /// Empty metadata of `file`.
    pub fn new(file: impl Into<String>) -> Self {
        Metadata { file: file.into(), values: BTreeMap::new() }
    }

    /// Sets a key; false if it was there already.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> bool {
        self.values.insert(key.into(), value).is_none()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Removes a key and hands its value over (a loader frees the tokenizer's tables with it).
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.values.remove(key)
    }

    /// All keys in alphabetical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True without keys.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A token id. −1, and the largest number of the type, are what converters write where there is none.
    ///
    /// # Errors
    /// [`Error::BadFile`] for what is no integer.
    pub fn opt_token_id(&self, key: &str) -> Result<Option<u32>> {
        match self.values.get(key) {
            None => Ok(None),
            Some(Value::I8(..=-1) | Value::I16(..=-1) | Value::I32(..=-1) | Value::I64(..=-1) | Value::U64(u64::MAX)) => Ok(None),
            Some(_) => Ok(self.opt_u32(key)?.filter(|id| *id != u32::MAX)),
        }
    }

    fn mistyped(&self, key: &str, expected: &str) -> Error {
        let found = self.values.get(key).map_or("nothing", Value::type_name);
        Error::file(&self.file, format!("metadata {key:?} is of type {found}, expected {expected}"))
    }

    fn missing(&self, key: &str, expected: &str) -> Error {
        Error::file(&self.file, format!("metadata {key:?} ({expected}) is missing"))
    }

    getter!(
        /// A string, if the key is there.
        str, opt_str, &str, "string",
        |v| match v { Value::String(s) => Some(s.as_str()), _ => None }
    );
    getter!(
        /// A non-negative integer of any width.
        u64, opt_u64, u64, "a non-negative integer", |v| v.as_u64()
    );
    getter!(
        /// A non-negative integer below 2³².
        u32, opt_u32, u32, "an integer from 0 to 2^32 - 1", |v| v.as_u64().and_then(|v| u32::try_from(v).ok())
    );
    getter!(
        /// A non-negative integer as a size.
        usize, opt_usize, usize, "a size", |v| v.as_u64().and_then(|v| usize::try_from(v).ok())
    );
    getter!(
        /// A number as f32.
        f32, opt_f32, f32, "a number", |v| v.as_f64().map(|v| v as f32)
    );
    getter!(
        /// True or false; some converters write 1 or 0.
        bool, opt_bool, bool, "bool",
        |v| match v { Value::Bool(b) => Some(*b), other => other.as_u64().filter(|n| *n <= 1).map(|n| n == 1) }
    );
    getter!(
        /// An array of strings.
        strs, opt_strs, &StrArray, "array of string",
        |v| match v {
            Value::Array(Array::String(a)) => Some(a),
            // An empty list has no type worth the name.
            Value::Array(a) if a.is_empty() => Some(&NO_STRINGS),
            _ => None,
        }
    );
    getter!(
        /// An array of floats.
        f32s, opt_f32s, Vec<f32>, "array of f32",
        |v| match v {
            Value::Array(Array::F32(a)) => Some(a.clone()),
            Value::Array(Array::F64(a)) => Some(a.iter().map(|v| *v as f32).collect()),
            Value::Array(a) if a.is_empty() => Some(Vec::new()),
            _ => None,
        }
    );
    getter!(
        /// An array of 32-bit integers (other widths are accepted too).
        i32s, opt_i32s, Vec<i32>, "array of i32",
        |v| match v {
            Value::Array(Array::I32(a)) => Some(a.clone()),
            Value::Array(Array::U32(a)) => a.iter().map(|&v| i32::try_from(v).ok()).collect(),
            Value::Array(Array::U64(a)) => a.iter().map(|&v| i32::try_from(v).ok()).collect(),
            Value::Array(Array::I64(a)) => a.iter().map(|&v| i32::try_from(v).ok()).collect(),
            Value::Array(Array::U16(a)) => Some(a.iter().map(|&v| v.into()).collect()),
            Value::Array(Array::I16(a)) => Some(a.iter().map(|&v| v.into()).collect()),
            Value::Array(Array::U8(a)) => Some(a.iter().map(|&v| v.into()).collect()),
            Value::Array(Array::I8(a)) => Some(a.iter().map(|&v| v.into()).collect()),
            Value::Array(a) if a.is_empty() => Some(Vec::new()),
            _ => None,
        }
    );
}
