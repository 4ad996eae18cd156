//! Reading the fields of a `config.json`, with errors that name them.

use serde_json::Value;

use crate::ops::Act;
use crate::{Error, Result};

/// Reads fields of a JSON object with errors that name them.
pub struct Json<'a> {
    pub map: &'a Value,
}

impl<'a> Json<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    pub fn opt_size(&self, key: &str) -> Result<Option<usize>> {
        self.get(key)
            .map(|v| {
                v.as_u64().and_then(|v| usize::try_from(v).ok()).ok_or_else(|| Error::config(key, format!("expected a size, found {v}")))
            })
            .transpose()
    }

    pub fn size(&self, key: &str) -> Result<usize> {
        self.opt_size(key)?.ok_or_else(|| Error::config(key, "is missing"))
    }

    pub fn opt_number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key).map(|v| v.as_f64().ok_or_else(|| Error::config(key, format!("expected a number, found {v}")))).transpose()
    }

    pub fn number(&self, key: &str) -> Result<f64> {
        self.opt_number(key)?.ok_or_else(|| Error::config(key, "is missing"))
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        self.get(key).map_or(Ok(default), |v| v.as_bool().ok_or_else(|| Error::config(key, format!("expected true or false, found {v}"))))
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(Value::as_str)
    }

    /// Refuses a field that says anything but what the engine does.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the field.
    pub fn only(&self, key: &str, supported: impl Into<Value>) -> Result<()> {
        let supported = supported.into();
        match self.get(key) {
            Some(found) if *found != supported => Err(Error::config(key, format!("{found} is not supported (only {supported})"))),
            _ => Ok(()),
        }
    }

    /// One id or a list of ids. −1 and the largest of 32 bits are no ids: so it is written that there is none.
    pub fn ids(&self, key: &str) -> Result<Vec<u32>> {
        let id = |v: &Value| -> Result<Option<u32>> {
            if v.as_i64() == Some(-1) {
                return Ok(None);
            }
            let id = v.as_u64().and_then(|v| u32::try_from(v).ok());
            id.map(|id| Some(id).filter(|id| *id != u32::MAX)).ok_or_else(|| Error::config(key, format!("expected a token id, found {v}")))
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(a)) => a.iter().filter_map(|v| id(v).transpose()).collect(),
            Some(v) => Ok(id(v)?.into_iter().collect()),
        }
    }
}

/// An activation by its name in Transformers.
pub fn activation(name: &str) -> Result<Act> {
    Ok(match name {
        "silu" | "swish" => Act::Silu,
        "gelu" => Act::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Act::GeluTanh,
        "relu" => Act::Relu,
        other => {
            return Err(Error::config("hidden_act", format!("{other:?} is not supported (silu, gelu, gelu_new, gelu_pytorch_tanh, relu)")));
        }
    })
}
