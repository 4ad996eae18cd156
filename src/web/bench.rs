//! Benchmarks of the device: what the page and the peers' benchmark measure.

use std::future::Future;

use serde_json::json;
use wasm_bindgen::prelude::*;

use super::convert::{js_error, to_js};
use super::model::{WasmModel, future};
use crate::Result;
use crate::device::measure;
use crate::device::{self, DeviceOptions};
use crate::graph::{Cost, Exec};

/// An opened device, to be measured.
#[wasm_bindgen(js_name = DeviceBench)]
pub struct WasmDeviceBench {
    exec: Exec,
    why: String,
    tuning: Option<String>,
}

#[wasm_bindgen(js_class = DeviceBench)]
impl WasmDeviceBench {
    /// `device`: auto, gpu or cpu. Kernel variants are measured first where `tuning` does not tell them.
    pub async fn open(device: Option<String>, tuning: Option<String>) -> std::result::Result<WasmDeviceBench, JsValue> {
        let open = async {
            let options = DeviceOptions { device: device.as_deref().unwrap_or("auto").parse()?, ..DeviceOptions::default() };
            let chosen = device::open(&options, super::device(None), |_| tuning).await?;
            let tuning = chosen.measured.map(|(_, json)| json);
            Ok(WasmDeviceBench { exec: chosen.exec, why: chosen.why, tuning })
        };
        open.await.map_err(js_error)
    }

    /// What is shown to a person of it, and why it was chosen.
    pub fn info(&self) -> std::result::Result<JsValue, JsValue> {
        to_js(&super::describe(&self.exec, &self.why)).map_err(js_error)
    }

    /// The kernel choices that were measured, as `Model.tuning()`; of the adapter that the processor was compared with, too.
    pub fn tuning(&self) -> Option<String> {
        self.tuning.clone()
    }

    /// Bytes per second of a large copy, read and written.
    pub fn copy(&self) -> js_sys::Promise {
        self.number(|exec| async move { measure::copy(&exec).await })
    }

    /// Operations per second of fused multiply-adds in registers.
    pub fn fma(&self) -> js_sys::Promise {
        self.number(|exec| async move { measure::fma(&exec).await })
    }

    /// Operations per second of an f32 matmul of n × n.
    pub fn matmul(&self, n: usize) -> js_sys::Promise {
        self.number(move |exec| async move { measure::matmul(&exec, n).await })
    }
}

/// The most that the device reaches, in operations and bytes per second, where both were measured: shares of a profile are of that.
pub(super) fn peaks(fma: Option<f64>, copy: Option<f64>) -> Option<Cost> {
    fma.zip(copy).map(|(flops, bytes)| Cost { flops, bytes })
}

#[wasm_bindgen(js_class = Model)]
impl WasmModel {
    /// Bytes of weights, keys and values that decoding one token behind `keys` others reads.
    pub fn token_bytes(&self, keys: usize) -> f64 {
        let model = &self.0.loaded.model;
        (model.token_bytes() + model.config().kv_bytes_per_token(self.0.loaded.kv_cache_dtype) * keys as u64) as f64
    }

    /// `{prefill, decode}`: what each kernel takes for a prompt and for one token behind it, and what is lost between them. An error where the adapter
    /// has no timestamps.
    pub fn profile(&self, ids: Vec<u32>, fma: Option<f64>, copy: Option<f64>) -> js_sys::Promise {
        let shared = self.0.clone();
        future(async move {
            let _turn = shared.turn("a profile")?;
            let mut generator = shared.take_or_new()?;
            let found = generator.profile(&ids, 1).await;
            shared.generator.replace(Some(generator));
            let (prefill, decode) = found?;
            let peaks = peaks(fma, copy);
            to_js(&json!({"prefill": prefill.summary(peaks), "decode": decode.summary(peaks)}))
        })
    }
}

impl WasmDeviceBench {
    fn number<F: Future<Output = Result<f64>> + 'static>(&self, body: impl FnOnce(Exec) -> F) -> js_sys::Promise {
        let measured = body(self.exec.clone());
        wasm_bindgen_futures::future_to_promise(async move { measured.await.map(JsValue::from_f64).map_err(js_error) })
    }
}
