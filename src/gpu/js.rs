//! JavaScript's objects and methods, for what browsers can do with a device and wgpu has no call for.

use js_sys::{Function, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// A plain object.
pub fn object(of: &[(&str, JsValue)]) -> Result<JsValue, JsValue> {
    let o = Object::new();
    for (key, value) in of {
        Reflect::set(&o, &(*key).into(), value)?;
    }
    Ok(o.into())
}

/// Calls a method with one argument.
pub fn call(of: &JsValue, name: &str, with: &JsValue) -> Result<JsValue, JsValue> {
    Reflect::get(of, &name.into())?.dyn_into::<Function>()?.call1(of, with)
}
