//! The configuration of a training as the command line has it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::files;
use fledgling::{Error, Result};

/// Name of the adapter while it is trained.
pub const NAME: &str = "default";

/// The configuration file with what the options say on top.
pub fn config(file: Option<&Path>, fields: &Fields) -> Result<Map<String, Value>> {
    let mut map = match file {
        None => Map::new(),
        Some(path) => read_object(path)?,
    };
    map.insert("adapter_name".into(), json!(NAME));
    if fields.0.get("max_steps").is_some_and(|n| *n == 0) {
        return Err(Error::config("max_steps", "is 0, expected at least 1, or -1 for as many as the epochs give"));
    }
    map.extend(fields.0.clone());
    Ok(map)
}

fn read_object(path: &Path) -> Result<Map<String, Value>> {
    let name = path.display().to_string();
    match serde_json::from_str(&files::read_text(path)?) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::file(name, "is not a JSON object")),
        Err(e) => Err(Error::file(name, format!("is not JSON: {e}"))),
    }
}
