//! Judges that JavaScript hands over: rules as texts, and functions over a batch.

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::convert::to_js;
use crate::tune::rewards::{RewardBatch, RewardSource, Rule, Scored};
use crate::{Error, Result};

/// A function `(batch) => Promise<number[]>`; the time limit is the caller's.
struct JsJudge {
    name: String,
    call: js_sys::Function,
}

/// A property of a thrown thing, where it has one.
fn property(thrown: &JsValue, name: &str) -> Option<JsValue> {
    js_sys::Reflect::get(thrown, &name.into()).ok().filter(|v| !v.is_undefined())
}

impl JsJudge {
    async fn ask(&self, batch: &RewardBatch) -> Result<Vec<f64>> {
        let failed = |thrown: JsValue| {
            if property(&thrown, "code").and_then(|c| c.as_string()).as_deref() == Some("aborted") {
                return Error::Aborted;
            }
            let said = property(&thrown, "message").and_then(|m| m.as_string()).or_else(|| thrown.as_string());
            batch.fault(&self.name, 0, said.unwrap_or_else(|| "something was thrown that cannot be read".into()))
        };
        let given = self.call.call1(&JsValue::UNDEFINED, &to_js(&batch.json())?).map_err(failed)?;
        let value = JsFuture::from(js_sys::Promise::resolve(&given)).await.map_err(failed)?;
        if !js_sys::Array::is_array(&value) {
            return Err(batch.fault(&self.name, 0, "gave no list of numbers"));
        }
        let list = js_sys::Array::from(&value);
        let number = |(i, v): (usize, JsValue)| v.as_f64().ok_or_else(|| batch.fault(&self.name, i, "gave something else than a number"));
        list.iter().enumerate().map(number).collect()
    }
}

impl RewardSource for JsJudge {
    fn name(&self) -> &str {
        &self.name
    }

    fn reads_text(&self) -> bool {
        false
    }

    fn score<'a>(&'a mut self, batch: &'a RewardBatch) -> Scored<'a> {
        Box::pin(self.ask(batch))
    }
}

/// Judges from a list of rules and of objects `{ name, call }`.
pub(super) fn judges(list: Option<js_sys::Array>) -> Result<Vec<Box<dyn RewardSource>>> {
    let mut all: Vec<Box<dyn RewardSource>> = Vec::new();
    for value in list.iter().flat_map(|l| l.iter()) {
        if let Some(rule) = value.as_string() {
            all.push(Box::new(Rule::parse(&rule)?));
            continue;
        }
        let name = property(&value, "name").and_then(|n| n.as_string());
        let call = property(&value, "call").and_then(|c| c.dyn_into::<js_sys::Function>().ok());
        let (Some(name), Some(call)) = (name, call) else {
            return Err(Error::config("rewards", "expected rules and functions"));
        };
        all.push(Box::new(JsJudge { name, call }));
    }
    Ok(all)
}
