//! Pipelines compiled side by side, before they are needed.

use std::rc::Rc;

use super::{Gpu, Kernel};

impl Gpu {
    /// Compiles those of `kernels` that are not compiled yet, and returns when all are: the number of those that were compiled side by side.
    /// What cannot be compiled is reported by [`Gpu::check`].
    pub async fn compile(&self, kernels: impl Iterator<Item = &Rc<Kernel>>) -> usize {
        let mut fresh: Vec<&Rc<Kernel>> = Vec::new();
        for k in kernels.filter(|k| !k.is_compiled()) {
            if !fresh.iter().any(|f| Rc::ptr_eq(f, k)) {
                fresh.push(k);
            }
        }
        let ahead = if fresh.len() > 1 { side_by_side(self, &fresh).await } else { 0 };
        for k in fresh {
            k.pipeline(self.device(), self.counters());
        }
        ahead
    }
}

#[cfg(not(target_arch = "wasm32"))]
async fn side_by_side(gpu: &Gpu, kernels: &[&Rc<Kernel>]) -> usize {
    use std::sync::Mutex;
    use std::thread;

    let threads = thread::available_parallelism().map_or(1, usize::from).min(kernels.len());
    let device = gpu.device();
    let recipes: Vec<_> = kernels.iter().map(|k| k.recipe()).collect();
    let (queue, done) = (Mutex::new(recipes.into_iter().enumerate()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            // A statement of its own: the lock is not held while this thread compiles.
            let next = queue.lock().unwrap_or_else(|e| e.into_inner()).next();
            let Some((i, recipe)) = next else { return };
            let pipeline = recipe.compile(device);
            done.lock().unwrap_or_else(|e| e.into_inner()).push((i, pipeline));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Where there can be no more threads, the others do the work.
            let _ = thread::Builder::new().name("fledgling-compile".into()).spawn_scoped(scope, work);
        }
        work();
    });
    let done = done.into_inner().unwrap_or_else(|e| e.into_inner());
    let count = done.len();
    for (i, pipeline) in done {
        kernels[i].set_pipeline(gpu.counters(), pipeline);
    }
    count
}

/// A browser compiles in threads of its own where it is asked to by `createComputePipelineAsync`, for which wgpu has no call. So the device
/// itself is asked, and then hands its pipelines over when wgpu asks for them. Layouts need only be equal, not the same. A rejected one is
/// compiled again by wgpu, whose error is the one that is reported.
#[cfg(target_arch = "wasm32")]
async fn side_by_side(gpu: &Gpu, kernels: &[&Rc<Kernel>]) -> usize {
    let Some(device) = gpu.device().as_webgpu() else { return 0 };
    let pipelines = match web::compile(device, kernels).await {
        Ok(pipelines) => pipelines,
        Err(e) => {
            log::warn!("compiling ahead: {e:?}");
            return 0;
        }
    };
    let mut count = 0;
    for (k, pipeline) in kernels.iter().zip(pipelines.iter()) {
        // Somebody else may have compiled it meanwhile.
        if !pipeline.is_undefined() && !k.is_compiled() {
            match web::handing_over(device, pipeline, || _ = k.pipeline(gpu.device(), gpu.counters())) {
                Ok(()) => count += 1,
                Err(e) => log::warn!("compiling ahead: {e:?}"),
            }
        }
    }
    count
}

#[cfg(target_arch = "wasm32")]
mod web {
    use std::rc::Rc;

    use js_sys::{Array, Object, Promise, Reflect};
    use wasm_bindgen::closure::Closure;
    use wasm_bindgen::{JsCast, JsValue};
    use wasm_bindgen_futures::JsFuture;

    use crate::gpu::Kernel;
    use crate::gpu::js::{call, object};
    use crate::gpu::preprocess::Binding;

    /// Runs `f`, in which the device gives `pipeline` to whoever creates one.
    pub fn handing_over(device: &JsValue, pipeline: JsValue, f: impl FnOnce()) -> Result<(), JsValue> {
        const CREATE: &str = "createComputePipeline";
        let give = Closure::<dyn Fn() -> JsValue>::new(move || pipeline.clone());
        Reflect::set(device, &CREATE.into(), give.as_ref())?;
        f();
        // What the device has from its prototype is in force again.
        Reflect::delete_property(device.unchecked_ref::<Object>(), &CREATE.into())?;
        Ok(())
    }

    /// The pipelines of kernels; `undefined` where there is none.
    pub async fn compile(device: &JsValue, kernels: &[&Rc<Kernel>]) -> Result<Array, JsValue> {
        call(device, "pushErrorScope", &"validation".into())?;
        let begun = Array::new();
        for k in kernels {
            begun.push(&begin(device, k).unwrap_or_default());
        }
        // A shader that is wrong is wgpu's to report.
        let scope = JsFuture::from(call(device, "popErrorScope", &JsValue::UNDEFINED)?.unchecked_into::<Promise>());
        let results = Array::from(&JsFuture::from(Promise::all_settled(&begun)).await?);
        let _ = scope.await;
        results.iter().map(|r| Reflect::get(&r, &"value".into())).collect()
    }

    /// A promise of a kernel's pipeline.
    fn begin(device: &JsValue, k: &Kernel) -> Result<JsValue, JsValue> {
        let recipe = k.recipe();
        let label = JsValue::from(&recipe.label);
        let entries = Array::new();
        for (i, b) in k.bindings.iter().enumerate() {
            let kind = match b {
                Binding::Params | Binding::Step => "uniform",
                Binding::Read => "read-only-storage",
                Binding::Write => "storage",
            };
            /// `GPUShaderStage.COMPUTE`.
            const COMPUTE: u32 = 4;
            let buffer = object(&[("type", kind.into())])?;
            entries.push(&object(&[("binding", (i as u32).into()), ("visibility", COMPUTE.into()), ("buffer", buffer)])?);
        }
        let group = call(device, "createBindGroupLayout", &object(&[("entries", entries.into())])?)?;
        let groups = Array::of1(&group);
        let layout = call(device, "createPipelineLayout", &object(&[("bindGroupLayouts", groups.into())])?)?;
        let code = JsValue::from(&recipe.text);
        let module = call(device, "createShaderModule", &object(&[("label", label.clone()), ("code", code)])?)?;
        let constants = Object::new();
        for (key, value) in &recipe.constants {
            Reflect::set(&constants, &(*key).into(), &(*value).into())?;
        }
        let stage = object(&[("module", module), ("entryPoint", "main".into()), ("constants", constants.into())])?;
        call(device, "createComputePipelineAsync", &object(&[("label", label), ("layout", layout), ("compute", stage)])?)
    }
}
