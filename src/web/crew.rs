//! Threads for the processor: what `www/src/lib/threads.ts` and its workers call. Several instances of one module then share a memory;
//! the one that loads the model drives, the others help.

use wasm_bindgen::prelude::*;

use crate::cpu::crew;

/// The compiled module, to be instantiated by a worker …
#[wasm_bindgen]
pub fn crew_module() -> JsValue {
    wasm_bindgen::module()
}

/// … over this memory.
#[wasm_bindgen]
pub fn crew_memory() -> JsValue {
    wasm_bindgen::memory()
}

/// Threads that have entered, the one that drives included.
#[wasm_bindgen]
pub fn crew_size() -> usize {
    crew::size()
}

/// Enters: the worker that calls it helps from now on and does not come back.
#[wasm_bindgen]
pub fn crew_work() {
    crew::work();
}

/// For a worker whose `crew_work` threw: nobody is to wait for it.
#[wasm_bindgen]
pub fn crew_fell() {
    crew::fell();
}
