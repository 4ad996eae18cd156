//! What every module of the suite uses: one macro that makes a body run natively and in a browser, and a way to print in both.

use std::cell::OnceCell;
use std::mem::ManuallyDrop;

use fledgling::cpu::{Cpu, CpuOptions};
use fledgling::gpu::Gpu;
use fledgling::graph::Exec;

/// `fl_test!(async fn name() { … })`: a `#[test]` driven by pollster natively, a `#[wasm_bindgen_test]` on wasm32.
/// The body may also return a `Result`: `fl_test!(async fn name() -> fledgling::Result<()> { … })`.
/// Several functions may stand in one call.
#[macro_export]
macro_rules! fl_test {
    ($($(#[$meta:meta])* async fn $name:ident() $(-> $ret:ty)? $body:block)+) => { $(
        $(#[$meta])*
        #[cfg(not(target_arch = "wasm32"))]
        #[test]
        fn $name() {
            pollster::block_on(async { $crate::harness::Outcome::check($crate::fl_test!(@run $body $($ret)?), stringify!($name)) });
        }

        $(#[$meta])*
        #[cfg(target_arch = "wasm32")]
        #[wasm_bindgen_test::wasm_bindgen_test]
        async fn $name() {
            $crate::harness::Outcome::check($crate::fl_test!(@run $body $($ret)?), stringify!($name));
        }
    )+ };
    (@run $body:block) => { async $body.await };
    (@run $body:block $ret:ty) => {{
        let future: ::std::pin::Pin<Box<dyn ::std::future::Future<Output = $ret>>> = Box::pin(async $body);
        future.await
    }};
}

/// What a test body ends with: nothing, or a `Result` whose error fails the test.
pub trait Outcome {
    fn check(self, name: &str);
}

impl Outcome for () {
    fn check(self, _: &str) {}
}

impl<E: std::fmt::Display> Outcome for Result<(), E> {
    fn check(self, name: &str) {
        if let Err(error) = self {
            panic!("{name}: {error}");
        }
    }
}

/// Prints to standard error natively, to the browser's console on wasm32 (where standard output leads nowhere).
#[macro_export]
macro_rules! report {
    ($($arg:tt)*) => {{
        #[cfg(not(target_arch = "wasm32"))]
        eprintln!($($arg)*);
        #[cfg(target_arch = "wasm32")]
        wasm_bindgen_test::console_log!($($arg)*);
    }};
}

/// The device the tests run on: one per thread, which natively is one per test, in a browser one for all. Panics when there is none:
/// nothing of the suite may pass by not running.
pub async fn gpu() -> Gpu {
    // Never dropped: wgpu cannot be torn down while the thread's other locals are.
    thread_local!(static SHARED: OnceCell<ManuallyDrop<Gpu>> = const { OnceCell::new() });
    if let Some(gpu) = SHARED.with(|s| s.get().map(|g| Gpu::clone(g))) {
        return gpu;
    }
    let gpu = Gpu::new().await.unwrap_or_else(|e| panic!("the suite needs a GPU adapter: {e}"));
    let caps = gpu.caps();
    report!("adapter: {} ({}, {}; {})", caps.name, caps.backend, caps.driver, caps.features().join(", "));
    SHARED.with(|s| Gpu::clone(s.get_or_init(|| ManuallyDrop::new(gpu.clone()))))
}

/// The same adapter with every kernel in the form that it does not use by itself: on software adapters one workgroup per row and tiles in
/// workgroup memory, on hardware what has no barrier; without subgroups. Opened once per thread, like [`gpu`].
pub async fn other_form() -> Gpu {
    thread_local!(static OTHER: OnceCell<ManuallyDrop<Gpu>> = const { OnceCell::new() });
    if let Some(gpu) = OTHER.with(|s| s.get().map(|g| Gpu::clone(g))) {
        return gpu;
    }
    let kernels = if gpu().await.caps().is_software {
        "rows=group,linear.m1=vec,linear.m8=vec,linear.big=tile,linear_dx=tile,attention=tile,attention_small=append,attention_dq=tile,attention_dkv=tile"
    } else {
        "rows=serial,linear=reg8x8,linear_dx=reg8,attention=rows8x8,attention_small=rows1x8,attention_dq=rows8x8,attention_dkv=rows8x8"
    };
    let without = vec!["subgroups".into()];
    let gpu = gpu_with(&fledgling::gpu::GpuOptions { kernels: Some(kernels.into()), without, ..Default::default() }).await;
    OTHER.with(|s| Gpu::clone(s.get_or_init(|| ManuallyDrop::new(gpu.clone()))))
}

/// True for a device that picks its kernels itself: the one of [`gpu`].
pub fn is_default_form(gpu: &Gpu) -> bool {
    let tuning = gpu.tuning().borrow();
    !tuning.known("rows") && !tuning.known("linear.big")
}

/// The processor's executor, with two threads (in a browser: one).
pub fn cpu() -> Exec {
    Exec::Cpu(Cpu::new(CpuOptions { threads: Some(2) }))
}

/// Both executors.
pub async fn devices() -> [Exec; 2] {
    [Exec::Gpu(gpu().await), cpu()]
}

/// The engine on this machine's adapter, with options.
pub async fn gpu_with(options: &fledgling::gpu::GpuOptions) -> fledgling::gpu::Gpu {
    fledgling::gpu::Gpu::with(options).await.unwrap_or_else(|e| panic!("{e}"))
}
