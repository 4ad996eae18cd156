//! The browser's side of the engine: the only place with `web_sys`, and but for `clock` and `gpu` with `wasm_bindgen`.
//!
//! What is exported here is declared for TypeScript in `www/src/lib/wasm.ts`. No exported `async fn` borrows `self` across an
//! await (wasm-bindgen would hold the borrow and panic on the next call): each clones an `Rc` and lets go.

mod bench;
mod convert;
mod crew;
mod loader;
mod model;
mod rewards;
mod rows;
mod session;
mod trainer;

use std::cell::RefCell;

use serde_json::{Value, json};
use sha2::{Digest, Sha256 as Hasher};
use wasm_bindgen::prelude::*;

use crate::gpu::{Gpu, GpuOptions};
use crate::graph::Exec;

thread_local! {
    /// One device for all models of this instance.
    static GPU: RefCell<Option<Gpu>> = const { RefCell::new(None) };
}

/// Shows in the console what the library warns of. What its dependencies warn of is not for a person.
struct Console;

impl log::Log for Console {
    fn enabled(&self, m: &log::Metadata) -> bool {
        m.target().starts_with("fledgling")
    }

    fn log(&self, r: &log::Record) {
        if self.enabled(r.metadata()) {
            web_sys::console::warn_1(&format!("fledgling: {}", r.args()).into());
        }
    }

    fn flush(&self) {}
}

/// A panic becomes a message in the console before it ends the instance.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
    // Who has set a logger before keeps it.
    if log::set_logger(&Console).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

/// The crate's version.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// Opens the adapter and says under which name its measured kernel choices should be remembered; `undefined` where there is none.
#[wasm_bindgen]
pub async fn tuning_key() -> Option<String> {
    device(None).await.ok().map(|gpu| gpu.key())
}

/// The shared device, opened at its first use and again after it was lost; with forced kernels, a device of its own.
pub(crate) async fn device(kernels: Option<String>) -> crate::Result<Gpu> {
    if kernels.is_some() {
        return Gpu::with(&GpuOptions { kernels, ..Default::default() }).await;
    }
    if let Some(gpu) = GPU.with_borrow(Clone::clone)
        && !matches!(gpu.check(), Err(crate::Error::DeviceLost(_)))
    {
        return Ok(gpu);
    }
    let gpu = Gpu::new().await?;
    GPU.set(Some(gpu.clone()));
    Ok(gpu)
}

/// A device for a person, in the names of `AdapterDescription`; `why`: why this one.
pub(crate) fn describe(exec: &Exec, why: &str) -> Value {
    let on = exec.info();
    json!({
        "name": on.name, "vendor": on.vendor, "backend": on.backend, "isSoftware": on.is_software, "features": on.features,
        "device": on.device, "reason": why,
    })
}

/// Streaming SHA-256.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256(Hasher);

#[wasm_bindgen]
impl Sha256 {
    #[wasm_bindgen(constructor)]
    pub fn new() -> Sha256 {
        Sha256::default()
    }

    pub fn update(&mut self, chunk: &[u8]) {
        self.0.update(chunk);
    }

    /// Hex digits; the object is spent.
    pub fn digest(self) -> String {
        self.0.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }
}
