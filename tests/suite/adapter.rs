//! Without an adapter nothing of the suite would mean anything, so its absence is a failure with a name of its own.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use fledgling::gpu::{Gpu, GpuOptions};
use fledgling::ops::linear::quads;
#[cfg(target_arch = "wasm32")]
use js_sys::{Function, Promise, Reflect};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen::{JsCast, JsValue};

use crate::harness::gpu;

fl_test!(
    /// Asks wgpu itself, not the engine, so that a broken engine cannot be mistaken for a missing adapter.
    async fn there_is_an_adapter() {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = instance
            .request_adapter(&wgpu::RequestAdapterOptions::default())
            .await
            .unwrap_or_else(|e| panic!(
                "no GPU adapter, and the suite does not run without one: {e}. Natively a Vulkan driver is needed (Debian: mesa-vulkan-drivers), \
                 in Chromium the flags of webdriver.json."
            ));
        let info = adapter.get_info();
        report!("adapter: {} ({:?}, {:?}, driver {} {})", info.name, info.backend, info.device_type, info.driver, info.driver_info);
        assert_ne!(info.backend, wgpu::Backend::Noop);
    }
);

/// Sizes of the adapter's subgroups, least and most, as the browser itself gives them; nothing where it has none.
#[cfg(target_arch = "wasm32")]
async fn offered(_: &Gpu) -> Option<(u32, u32)> {
    let get = |of: &JsValue, name: &str| Reflect::get(of, &name.into()).expect("readable");
    let call = |of: &JsValue, name: &str, with: &JsValue| get(of, name).unchecked_into::<Function>().call1(of, with).expect("callable");
    let browser = get(&get(&js_sys::global(), "navigator"), "gpu");
    let adapter = call(&browser, "requestAdapter", &JsValue::UNDEFINED).unchecked_into::<Promise>();
    let adapter = wasm_bindgen_futures::JsFuture::from(adapter).await.expect("an adapter");
    let size = |name: &str| get(&get(&adapter, "info"), name).as_f64().expect("a number") as u32;
    call(&get(&adapter, "features"), "has", &"subgroups".into()).is_truthy().then(|| (size("subgroupMinSize"), size("subgroupMaxSize")))
}

#[cfg(not(target_arch = "wasm32"))]
async fn offered(gpu: &Gpu) -> Option<(u32, u32)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
    let adapter = adapters.into_iter().find(|a| a.get_info().name == gpu.caps().name).expect("the one in use");
    let info = adapter.get_info();
    adapter.features().contains(wgpu::Features::SUBGROUP).then_some((info.subgroup_min_size, info.subgroup_max_size))
}

/// The function by which devices are asked for, which the engine takes the place of for a moment.
#[cfg(target_arch = "wasm32")]
fn request() -> JsValue {
    let get = |of: &JsValue, name: &str| Reflect::get(of, &name.into()).expect("readable");
    get(&get(&get(&js_sys::global(), "GPUAdapter"), "prototype"), "requestDevice")
}

/// Two futures, by turns.
async fn both<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> [T; 2] {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let mut done = [None, None];
    poll_fn(move |cx| {
        for (done, poll) in done.iter_mut().zip([a.as_mut() as Pin<&mut dyn Future<Output = T>>, b.as_mut()]) {
            if done.is_none()
                && let Poll::Ready(value) = poll.poll(cx)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(done.each_mut().map(|d| d.take().expect("done"))) } else { Poll::Pending }
    })
    .await
}

fl_test!(
    /// In a browser, too, where wgpu does not ask for them; and by nobody who does without.
    async fn subgroups_are_asked_for() {
        let gpu = gpu().await;
        let offered = offered(&gpu).await;
        report!("subgroups: {offered:?}, quads: {}", quads(&gpu));
        assert_eq!(gpu.caps().subgroups, offered.is_some());
        if let Some(sizes) = offered {
            assert_eq!((gpu.caps().subgroup_min, gpu.caps().subgroup_max), sizes);
        }
        assert_eq!(quads(&gpu), offered == Some((4, 4)));

        #[cfg(target_arch = "wasm32")]
        let before = request();
        let (plain, without) = (GpuOptions::default(), GpuOptions { without: vec!["subgroups".into()], ..Default::default() });
        for swapped in [false, true] {
            let options = if swapped { [&without, &plain] } else { [&plain, &without] };
            let mut opened = both(Gpu::with(options[0]), Gpu::with(options[1])).await.map(|gpu| gpu.expect("a device"));
            if swapped {
                opened.reverse();
            }
            let [plain, without] = opened;
            assert_eq!(plain.caps().subgroups, offered.is_some());
            assert!(!without.caps().subgroups && !quads(&without));
            assert_eq!(plain.caps().timestamps, without.caps().timestamps);
            assert_eq!(plain.key() == without.key(), offered.is_none(), "what was measured with them is not taken for what was without");
        }
        #[cfg(target_arch = "wasm32")]
        assert!(request() == before, "the browser's function is not put back");
    }
);

fl_test!(
    /// A misspelled class or variant says what there is.
    async fn kernels_that_do_not_exist_are_refused() {
        for (kernels, words) in [
            ("lienar=tile", ["lienar", "linear.big", "rows"]),
            ("rows=grup", ["grup", "serial", "group"]),
            ("linear=reg9000x1", ["reg9000x1", "reg#x#", "tile"]),
            ("attention=8x8", ["8x8", "attention", "rows#x#"]),
            ("rows", ["class=variant", "rows", "kernels"]),
        ] {
            let options = GpuOptions { kernels: Some(kernels.into()), ..Default::default() };
            let e = Gpu::with(&options).await.err().unwrap_or_else(|| panic!("{kernels} was accepted"));
            assert!(e.code() == "bad-config" && words.iter().all(|w| e.to_string().contains(w)), "{kernels}: {e}");
        }
        let fine = "rows=group, linear=reg8x4,linear.m1=vec,linear_dx=reg4,attention_dkv=rows4x4,embedding_dw=rows";
        Gpu::with(&GpuOptions { kernels: Some(fine.into()), ..Default::default() }).await.expect("they exist");
    }

    async fn the_engine_opens_it() {
        let gpu = gpu().await;
        assert!(!gpu.caps().name.is_empty());
        assert!(gpu.caps().max_binding >= 128 << 20, "binding limit {}", gpu.caps().max_binding);
    }
);
