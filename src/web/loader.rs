//! Loading: JavaScript streams the files, this side passes the bytes on to the device.

use std::cell::RefCell;

use serde::Deserialize;
use wasm_bindgen::prelude::*;

use super::convert::{from_js, js_error};
use super::model::{WasmModel, future};
use crate::data::Mask;
use crate::device::{self, Chosen, DeviceOptions};
use crate::gpu::GpuOptions;
use crate::models::Quantization;
use crate::models::{LoadOptions, ModelLoader};
use crate::nn::KvCacheDtype;
use crate::{Error, Result};

/// Side files are kept on the host: no honest tokenizer is larger.
const MAX_TEXT_BYTES: usize = 64 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    name: Option<String>,
    context_length: Option<f64>,
    /// Kernel variants in place of the measured ones: a device of its own is opened for them.
    kernels: Option<String>,
    /// What `tuning()` gave earlier for this adapter.
    tuning: Option<String>,
    /// `auto`, `gpu` or `cpu`.
    device: Option<String>,
    /// `f32` or `f16`.
    kv_cache_dtype: Option<String>,
    /// `causal` or `prefix`.
    mask: Option<String>,
    /// What float weights become: `q8_0`, `q4_k`, …
    quantize: Option<String>,
}

/// What is being received.
enum Receiving {
    Nothing,
    /// A side file such as `config.json`.
    Text {
        name: String,
        bytes: Vec<u8>,
    },
    Weights,
}

struct State {
    loader: Option<(Chosen, ModelLoader)>,
    receiving: Receiving,
}

/// Takes the files of a model piece by piece: side files first, the weights last.
#[wasm_bindgen(js_name = ModelLoader)]
pub struct WasmLoader(RefCell<State>);

#[wasm_bindgen(js_class = ModelLoader)]
impl WasmLoader {
    /// Opens the device (shared, unless kernels are forced).
    pub async fn open(options: JsValue) -> std::result::Result<WasmLoader, JsValue> {
        let open = async {
            let options: Options = from_js("load options", options)?;
            let context_length = match options.context_length {
                None => None,
                Some(n) if n >= 1.0 && n <= f64::from(1u32 << 26) => Some(n as usize),
                Some(n) => return Err(Error::config("contextLength", format!("expected a whole number of tokens, found {n}"))),
            };
            let kv_cache_dtype: KvCacheDtype = options.kv_cache_dtype.as_deref().unwrap_or("f32").parse()?;
            let mask: Mask = options.mask.as_deref().unwrap_or("causal").parse()?;
            let quantize = options.quantize.as_deref().map(Quantization::parse).transpose();
            let quantize = quantize.map_err(|why| Error::config("quantize", why))?;
            let device = DeviceOptions {
                device: options.device.as_deref().unwrap_or("auto").parse()?,
                gpu: GpuOptions { kernels: options.kernels.clone(), ..GpuOptions::default() },
                ..DeviceOptions::default()
            };
            let chosen = device::open(&device, super::device(options.kernels.clone()), |_| options.tuning.clone()).await?;
            let load = LoadOptions { context_length, name: options.name.clone(), kv_cache_dtype, mask, quantize, ..Default::default() };
            let loader = ModelLoader::new(&chosen.exec, load);
            Ok(WasmLoader(RefCell::new(State { loader: Some((chosen, loader)), receiving: Receiving::Nothing })))
        };
        open.await.map_err(js_error)
    }

    /// The next bytes of the beginning of a part of a split GGUF, in front of all weights; true when its header has come.
    pub fn header(&self, name: &str, chunk: &[u8]) -> std::result::Result<bool, JsValue> {
        self.0.borrow_mut().loader().and_then(|l| l.header(name, None, chunk)).map_err(js_error)
    }

    /// Begins a file of `total` bytes (0: unknown).
    pub fn begin(&self, name: &str, total: f64) -> std::result::Result<(), JsValue> {
        self.0.borrow_mut().begin(name, total).map_err(js_error)
    }

    /// The next bytes of it.
    pub fn push(&self, chunk: &[u8]) -> std::result::Result<(), JsValue> {
        self.0.borrow_mut().push(chunk).map_err(js_error)
    }

    /// The last byte was pushed.
    pub fn end(&self) -> std::result::Result<(), JsValue> {
        self.0.borrow_mut().end().map_err(js_error)
    }

    /// Builds the model; the loader is spent.
    pub fn finish(&self) -> js_sys::Promise {
        let mut state = self.0.borrow_mut();
        let taken = state.loader.take();
        future(async move {
            let (chosen, loader) = taken.ok_or_else(|| Error::Busy("loading failed or ended before".into()))?;
            Ok(WasmModel::new(chosen, loader.finish().await?.into()).into())
        })
    }
}

impl State {
    fn loader(&mut self) -> Result<&mut ModelLoader> {
        Ok(&mut self.loader.as_mut().ok_or_else(|| Error::Busy("loading failed before".into()))?.1)
    }

    fn begin(&mut self, name: &str, total: f64) -> Result<()> {
        if [".json", ".jinja", ".txt", ".model"].iter().any(|ext| name.ends_with(ext)) {
            self.receiving = Receiving::Text { name: name.to_string(), bytes: Vec::new() };
            return Ok(());
        }
        let total = (total > 0.0).then_some(total as u64);
        self.loader()?.begin_file(name, total)?;
        self.receiving = Receiving::Weights;
        Ok(())
    }

    fn push(&mut self, chunk: &[u8]) -> Result<()> {
        match &mut self.receiving {
            Receiving::Nothing => Err(Error::Busy("push without begin".into())),
            Receiving::Text { name, bytes } => {
                if bytes.len() + chunk.len() > MAX_TEXT_BYTES {
                    return Err(Error::file(name.as_str(), format!("is larger than {MAX_TEXT_BYTES} bytes")));
                }
                bytes.extend_from_slice(chunk);
                Ok(())
            }
            Receiving::Weights => {
                let pushed = self.loader()?.push(chunk);
                if pushed.is_err() {
                    // Gives the device's memory back at once.
                    self.loader = None;
                }
                pushed
            }
        }
    }

    fn end(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.receiving, Receiving::Nothing) {
            Receiving::Nothing => Ok(()),
            Receiving::Text { name, bytes } => {
                let text = crate::text::from_bytes(&name, bytes)?;
                self.loader()?.add_text(&name, text);
                Ok(())
            }
            Receiving::Weights => self.loader()?.end_file(),
        }
    }
}
