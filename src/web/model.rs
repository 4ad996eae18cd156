//! A loaded model: what it is, its adapters, its memory. Generation and training are in their own files.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wasm_bindgen::prelude::*;

use super::convert::{from_js, js_error, to_js};
use crate::adapters::{AdapterInfo, LoadedModel};
use crate::device::Chosen;
use crate::formats::peft::{Combination, PeftAdapter};
use crate::generate::{GenerateOptions, Generator, MAX_CANDIDATES, Warming};
use crate::graph::Exec;
use crate::{Error, Result};

/// Shared by the model and by whatever runs on it.
pub(crate) struct Shared {
    pub exec: Exec,
    /// For a person: why this device.
    why: String,
    pub loaded: Rc<LoadedModel>,
    /// Keeps the key/value cache between calls; made at the first generation.
    pub generator: RefCell<Option<Generator>>,
    /// What has the device now.
    running: Cell<Option<&'static str>>,
}

/// Held over an await: a second call meanwhile is refused instead of corrupting the first.
pub(crate) struct Turn<'a>(&'a Cell<Option<&'static str>>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

impl Shared {
    /// Takes the device for `what`.
    ///
    /// # Errors
    /// [`Error::Busy`] with what has it.
    pub fn turn(&self, what: &'static str) -> Result<Turn<'_>> {
        if let Some(other) = self.running.get() {
            return Err(Error::Busy(format!("{other} is running, {what} has to wait")));
        }
        self.exec.check()?;
        self.running.set(Some(what));
        Ok(Turn(&self.running))
    }

    /// Takes the generator, a new one where there has been no generation: nothing runs while the turn is held, so that is what an empty place means.
    ///
    /// # Errors
    /// As [`Generator::new`].
    pub fn take_or_new(&self) -> Result<Generator> {
        self.loaded.model.config().need_decoder("generation in the package")?;
        self.generator.take().map_or_else(|| Generator::new(self.loaded.clone()), Ok)
    }
}

/// One message of a chat.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    pub role: String,
    pub content: String,
}

/// A model on the device.
#[wasm_bindgen(js_name = Model)]
pub struct WasmModel(pub(crate) Rc<Shared>);

impl WasmModel {
    pub(crate) fn new(device: Chosen, loaded: LoadedModel) -> WasmModel {
        let Chosen { exec, why, .. } = device;
        WasmModel(Rc::new(Shared { exec, why, loaded: Rc::new(loaded), generator: RefCell::default(), running: Cell::new(None) }))
    }
}

/// An adapter as JavaScript names its fields.
fn adapter_json(a: &AdapterInfo) -> serde_json::Value {
    json!({
        "name": a.name, "active": a.active, "peftType": a.peft_type, "numVirtualTokens": a.num_virtual_tokens,
        "r": a.r, "loraAlpha": a.lora_alpha, "targetModules": a.target_modules, "scores": a.scores, "mask": a.mask,
        "parameters": a.parameters, "bytes": a.bytes,
    })
}

#[wasm_bindgen(js_class = Model)]
impl WasmModel {
    /// What is known of it, in the names of `ModelInfo`.
    pub fn info(&self) -> std::result::Result<JsValue, JsValue> {
        let Shared { exec, why, loaded, .. } = &*self.0;
        let i = &loaded.info;
        to_js(&json!({
            "name": i.name, "architecture": i.architecture, "parameters": i.parameters, "layers": i.layers, "hiddenSize": i.hidden_size,
            "contextLength": i.context_length, "vocabSize": i.vocab_size, "quantization": i.quantization, "gpuBytes": exec.live_bytes(),
            "targetModules": i.target_modules, "mask": loaded.model.mask(),
            "adapter": super::describe(exec, why),
        }))
        .map_err(js_error)
    }

    /// Tokens of a text, or of a chat with the opening of an answer.
    pub fn count_tokens(&self, input: JsValue) -> std::result::Result<usize, JsValue> {
        let count = || -> Result<usize> {
            let tokenizer = self.0.loaded.tokenizer()?;
            if let Some(text) = input.as_string() {
                return Ok(tokenizer.encode(&text).len());
            }
            let messages: Vec<Message> = from_js("messages", input.clone())?;
            Ok(tokenizer.encode_chat(&messages, true)?.len())
        };
        count().map_err(js_error)
    }

    /// The ids of a text; with `special`, those that belong around every text are added.
    pub fn encode(&self, text: &str, special: bool) -> std::result::Result<Vec<u32>, JsValue> {
        let tokenizer = self.0.loaded.tokenizer().map_err(js_error)?;
        Ok(if special { tokenizer.encode(text) } else { tokenizer.encode_plain(text, true) })
    }

    /// The text of ids; those that the vocabulary does not have say nothing.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> std::result::Result<String, JsValue> {
        Ok(self.0.loaded.tokenizer().map_err(js_error)?.decode(ids, skip_special))
    }

    /// A chat as its template makes it; with `open`, with the opening of an answer.
    pub fn render(&self, messages: JsValue, open: bool) -> std::result::Result<String, JsValue> {
        let render = || self.0.loaded.tokenizer()?.render_chat(&from_js::<Vec<Message>>("messages", messages)?, open);
        render().map_err(js_error)
    }

    /// An adapter (the active one without a name) as the two files of a PEFT folder.
    pub fn save_adapter(&self, name: Option<String>) -> js_sys::Promise {
        let shared = self.0.clone();
        future(async move {
            let _turn = shared.turn("saving an adapter")?;
            let adapters = &shared.loaded.adapters;
            let name =
                name.or_else(|| adapters.active()).ok_or_else(|| Error::BadAdapter("none is active, and no name was given".into()))?;
            let (config, weights) = adapters.save(&name).await?;
            let files = js_sys::Object::new();
            set(&files, "config", &config.into());
            set(&files, "weights", &js_sys::Uint8Array::from(&weights[..]).into());
            Ok(files.into())
        })
    }

    /// Adds an adapter from the two files of a PEFT folder.
    pub fn load_adapter(&self, config: &str, weights: &[u8], name: &str) -> std::result::Result<JsValue, JsValue> {
        let load = || -> Result<JsValue> {
            let _turn = self.0.turn("loading an adapter")?;
            let adapter = PeftAdapter::read(config, weights)?;
            to_js(&adapter_json(&self.0.loaded.adapters.add(name, &adapter)?))
        };
        load().map_err(js_error)
    }

    /// Makes an adapter the active one; without a name, none.
    pub fn set_adapter(&self, name: Option<String>) -> std::result::Result<(), JsValue> {
        self.0.loaded.adapters.set_active(name.as_deref()).map_err(js_error)
    }

    pub fn remove_adapter(&self, name: &str) -> std::result::Result<(), JsValue> {
        let removed = self.0.loaded.adapters.remove(name);
        if removed { Ok(()) } else { Err(js_error(Error::BadAdapter(format!("there is no adapter {name:?}")))) }
    }

    /// Adds an adapter to the weights for good.
    pub fn merge_adapter(&self, name: String) -> js_sys::Promise {
        let shared = self.0.clone();
        future(async move {
            let _turn = shared.turn("merging an adapter")?;
            shared.loaded.adapters.merge(&name).await?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Adds a weighted combination of adapters under a name: names and as many weights.
    pub fn combine_adapters(&self, name: String, names: JsValue, weights: Vec<f64>, kind: String, rank: Option<usize>) -> js_sys::Promise {
        let shared = self.0.clone();
        future(async move {
            let _turn = shared.turn("combining adapters")?;
            let names: Vec<String> = from_js("adapters", names)?;
            let parts: Vec<(&str, f64)> = names.iter().map(String::as_str).zip(weights).collect();
            let info = shared.loaded.adapters.combine(&name, &parts, Combination::named(&kind)?, rank).await?;
            to_js(&adapter_json(&info))
        })
    }

    pub fn adapters(&self) -> std::result::Result<JsValue, JsValue> {
        let list: Vec<_> = self.0.loaded.adapters.list().iter().map(adapter_json).collect();
        to_js(&list).map_err(js_error)
    }

    /// Gets ready for the first request, of so many answers at once (1), one program at a time: what is not wanted any more is simply freed.
    pub fn warming(&self, candidates: Option<f64>) -> std::result::Result<WasmWarming, JsValue> {
        let start = || -> Result<WasmWarming> {
            let n = candidates.unwrap_or(1.0);
            if n.fract() != 0.0 || !(1.0..=MAX_CANDIDATES as f64).contains(&n) {
                return Err(Error::config("candidates", format!("is {n}, expected a whole number from 1 to {MAX_CANDIDATES}")));
            }
            let options = GenerateOptions { n: n as usize, ..GenerateOptions::default() };
            let shared = self.0.clone();
            let _turn = shared.turn("warming up")?;
            let mut generator = shared.take_or_new()?;
            let warming = generator.warming(None, &options);
            shared.generator.replace(Some(generator));
            Ok(WasmWarming { shared: shared.clone(), left: Rc::new(RefCell::new(Some(warming?))) })
        };
        start().map_err(js_error)
    }

    /// Bytes of all buffers alive.
    pub fn gpu_bytes(&self) -> f64 {
        self.0.exec.live_bytes() as f64
    }

    /// Counts since the device was opened.
    pub fn counters(&self) -> std::result::Result<JsValue, JsValue> {
        let c = self.0.exec.counters();
        to_js(&json!({
            "dispatches": c.dispatches.get(), "submits": c.submits.get(), "allocations": c.allocations.get(), "pipelines": c.pipelines.get(),
            "peakGpuBytes": c.peak_bytes.get(),
        }))
        .map_err(js_error)
    }

    /// The measured kernel choices, to be remembered under the module's `tuning_key()`; `undefined` on the processor.
    pub fn tuning(&self) -> Option<String> {
        serde_json::to_string(self.0.exec.gpu()?.tuning().borrow().measured()).ok()
    }
}

/// A model getting ready.
#[wasm_bindgen(js_name = Warming)]
pub struct WasmWarming {
    shared: Rc<Shared>,
    left: Rc<RefCell<Option<Warming>>>,
}

#[wasm_bindgen(js_class = Warming)]
impl WasmWarming {
    /// Records and compiles the next program; false when none is left.
    pub fn step(&self) -> js_sys::Promise {
        let (shared, left) = (self.shared.clone(), self.left.clone());
        future(async move {
            let _turn = shared.turn("warming up")?;
            let Some(mut warming) = left.take() else { return Ok(false.into()) };
            let mut generator = shared.take_or_new()?;
            let more = generator.warm_next(&mut warming).await;
            shared.generator.replace(Some(generator));
            let more = more?;
            left.replace(Some(warming));
            Ok(more.into())
        })
    }
}

/// A future of the crate as a promise of JavaScript.
pub(crate) fn future(f: impl Future<Output = Result<JsValue>> + 'static) -> js_sys::Promise {
    wasm_bindgen_futures::future_to_promise(async move { f.await.map_err(js_error) })
}

/// Sets a property of a plain object, which cannot fail.
pub(crate) fn set(object: &js_sys::Object, key: &str, value: &JsValue) {
    let _ = js_sys::Reflect::set(object, &key.into(), value);
}
