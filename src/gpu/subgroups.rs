//! Subgroups, which wgpu 30 does not know in browsers: it neither says that an adapter has them nor asks for them.

/// Opens a device of `adapter`, in a browser with subgroups if they are `wanted` and there.
#[cfg(not(target_arch = "wasm32"))]
pub(super) async fn request(
    adapter: &wgpu::Adapter,
    desc: &wgpu::DeviceDescriptor<'_>,
    _wanted: bool,
) -> Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError> {
    adapter.request_device(desc).await
}

/// True where the device has been opened with them.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn has(device: &wgpu::Device) -> bool {
    device.features().contains(wgpu::Features::SUBGROUP)
}

/// wgpu hands its adapter to nobody, but calls its `requestDevice` before it returns: during this call, and no longer than it takes, the
/// function that all adapters have from their prototype adds the feature to what wgpu asks for. Nothing else runs meanwhile.
#[cfg(target_arch = "wasm32")]
pub(super) async fn request(
    adapter: &wgpu::Adapter,
    desc: &wgpu::DeviceDescriptor<'_>,
    wanted: bool,
) -> Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError> {
    let asked = {
        let hook = if wanted { web::Hook::new() } else { Ok(None) };
        if let Err(e) = &hook {
            log::warn!("asking for subgroups: {e:?}");
        }
        adapter.request_device(desc)
    };
    asked.await
}

/// True where the device has been opened with them.
#[cfg(target_arch = "wasm32")]
pub(super) fn has(device: &wgpu::Device) -> bool {
    device.as_webgpu().is_some_and(|d| web::has(d).unwrap_or(false))
}

#[cfg(target_arch = "wasm32")]
mod web {
    use js_sys::{Array, Function, Object, Proxy, Reflect, global};
    use wasm_bindgen::closure::Closure;
    use wasm_bindgen::{JsCast, JsValue};

    use crate::gpu::js::{call, object};

    const REQUEST: &str = "requestDevice";
    const FEATURE: &str = "subgroups";

    /// True of an adapter or a device that has the feature.
    pub fn has(of: &JsValue) -> Result<bool, JsValue> {
        let features = Reflect::get(of, &"features".into())?;
        Ok(call(&features, "has", &FEATURE.into())?.is_truthy())
    }

    /// Adds the feature to the descriptor of a call to `adapter`.
    fn add(adapter: &JsValue, descriptor: &JsValue) -> Result<(), JsValue> {
        if has(adapter)? {
            let asked: Array = Reflect::get(descriptor, &"requiredFeatures".into())?.dyn_into()?;
            // A later wgpu may have asked by itself.
            if !asked.includes(&FEATURE.into(), 0) {
                asked.push(&FEATURE.into());
            }
        }
        Ok(())
    }

    type Apply = Closure<dyn Fn(Function, JsValue, Array) -> Result<JsValue, JsValue>>;

    /// As long as it lives, every device is asked for with subgroups where its adapter has them.
    pub struct Hook {
        prototype: JsValue,
        original: JsValue,
        _apply: Apply,
    }

    impl Hook {
        /// Nothing where adapters are none of the browser's.
        pub fn new() -> Result<Option<Hook>, JsValue> {
            let class = Reflect::get(&global(), &"GPUAdapter".into())?;
            if class.is_undefined() {
                return Ok(None);
            }
            let prototype = Reflect::get(&class, &"prototype".into())?;
            let original = Reflect::get(&prototype, &REQUEST.into())?;
            // A proxy, because a closure does not know which adapter it is called on.
            let apply = Apply::new(|request: Function, adapter: JsValue, given: Array| {
                if let Err(e) = add(&adapter, &given.get(0)) {
                    log::warn!("asking for subgroups: {e:?}");
                }
                request.apply(&adapter, &given)
            });
            let handler = object(&[("apply", apply.as_ref().clone())])?;
            Reflect::set(&prototype, &REQUEST.into(), &Proxy::new(&original, handler.unchecked_ref::<Object>()))?;
            Ok(Some(Hook { prototype, original, _apply: apply }))
        }
    }

    impl Drop for Hook {
        fn drop(&mut self) {
            let _ = Reflect::set(&self.prototype, &REQUEST.into(), &self.original);
        }
    }
}
