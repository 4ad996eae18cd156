//! A monotonic clock that is there natively and in a browser, where `std::time::Instant` panics.

/// Seconds since some fixed moment: only differences mean something.
#[cfg(not(target_arch = "wasm32"))]
pub fn seconds() -> f64 {
    use std::{sync::OnceLock, time::Instant};
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Seconds since some fixed moment: only differences mean something.
#[cfg(target_arch = "wasm32")]
pub fn seconds() -> f64 {
    use wasm_bindgen::prelude::*;
    #[wasm_bindgen]
    extern "C" {
        /// Milliseconds, in a window and in a worker alike; coarse (0.1 ms, or 5 µs when cross-origin isolated).
        #[wasm_bindgen(js_namespace = performance)]
        fn now() -> f64;
    }
    now() * 1e-3
}
