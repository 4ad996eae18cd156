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

/// Seconds since 1970, as the machine's clock has it.
#[cfg(not(target_arch = "wasm32"))]
pub fn unix_seconds() -> f64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Seconds since 1970, as the machine's clock has it.
#[cfg(target_arch = "wasm32")]
pub fn unix_seconds() -> f64 {
    use wasm_bindgen::prelude::*;
    #[wasm_bindgen]
    extern "C" {
        /// Milliseconds.
        #[wasm_bindgen(js_namespace = Date, js_name = now)]
        fn date_now() -> f64;
    }
    date_now() * 1e-3
}
