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
            k.pipeline(self);
        }
        ahead
    }
}

#[cfg(not(target_arch = "wasm32"))]
async fn side_by_side(gpu: &Gpu, kernels: &[&Rc<Kernel>]) -> usize {
    use std::sync::Mutex;

    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(kernels.len());
    if threads < 2 {
        return 0;
    }
    let device = gpu.device();
    let recipes: Vec<_> = kernels.iter().map(|k| k.recipe()).collect();
    let (queue, done) = (Mutex::new(recipes.into_iter().enumerate()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((i, recipe)) = queue.lock().unwrap_or_else(|e| e.into_inner()).next() {
                    let pipeline = recipe.compile(device);
                    done.lock().unwrap_or_else(|e| e.into_inner()).push((i, pipeline));
                }
            });
        }
    });
    for (i, pipeline) in done.into_inner().unwrap_or_else(|e| e.into_inner()) {
        kernels[i].set_pipeline(gpu, pipeline);
    }
    kernels.len()
}

/// A browser compiles in threads of its own where it is asked to by `createComputePipelineAsync`, for which wgpu has no call. So the device
/// itself is asked, and hands each pipeline over when wgpu wants one of that label. Layouts need only be equal, not the same. A rejected
/// one is compiled again by wgpu, whose error is the one that is reported.
#[cfg(target_arch = "wasm32")]
async fn side_by_side(gpu: &Gpu, kernels: &[&Rc<Kernel>]) -> usize {
    let Some(device) = gpu.device().as_webgpu() else { return 0 };
    web::compile(device, kernels).await.unwrap_or_else(|e| {
        log::warn!("compiling ahead: {e:?}");
        0
    })
}

#[cfg(target_arch = "wasm32")]
mod web {
    use std::rc::Rc;

    use js_sys::{Array, Function, Map, Object, Promise, Reflect};
    use wasm_bindgen::closure::Closure;
    use wasm_bindgen::{JsCast, JsValue};

    use crate::gpu::Kernel;
    use crate::gpu::preprocess::Binding;

    /// Property of the device under which pipelines wait, by label.
    const WAITING: &str = "fledglingPipelines";

    fn object(of: &[(&str, JsValue)]) -> Result<JsValue, JsValue> {
        let o = Object::new();
        for (key, value) in of {
            Reflect::set(&o, &(*key).into(), value)?;
        }
        Ok(o.into())
    }

    fn method(of: &JsValue, name: &str) -> Result<Function, JsValue> {
        Reflect::get(of, &name.into())?.dyn_into()
    }

    fn call(of: &JsValue, name: &str, with: &JsValue) -> Result<JsValue, JsValue> {
        method(of, name)?.call1(of, with)
    }

    /// The pipelines of a device that wait to be taken; from the first call on, its `createComputePipeline` takes them.
    fn waiting(device: &JsValue) -> Result<Map, JsValue> {
        if let Ok(map) = Reflect::get(device, &WAITING.into())?.dyn_into::<Map>() {
            return Ok(map);
        }
        let (map, create) = (Map::new(), method(device, "createComputePipeline")?);
        Reflect::set(device, &WAITING.into(), &map)?;
        let (pipelines, this) = (map.clone(), device.clone());
        let take = Closure::<dyn Fn(JsValue) -> Result<JsValue, JsValue>>::new(move |desc: JsValue| {
            let label = Reflect::get(&desc, &"label".into())?;
            let pipeline = pipelines.get(&label);
            if pipeline.is_undefined() {
                return create.call1(&this, &desc);
            }
            pipelines.delete(&label);
            Ok(pipeline)
        });
        Reflect::set(device, &"createComputePipeline".into(), &take.into_js_value())?;
        Ok(map)
    }

    /// The number of pipelines that wait.
    pub async fn compile(device: &JsValue, kernels: &[&Rc<Kernel>]) -> Result<usize, JsValue> {
        let map = waiting(device)?;
        let promises = Array::new();
        for k in kernels {
            promises.push(&begin(device, k)?);
        }
        let results = Array::from(&wasm_bindgen_futures::JsFuture::from(Promise::all_settled(&promises)).await?);
        for (k, result) in kernels.iter().zip(results.iter()) {
            let pipeline = Reflect::get(&result, &"value".into())?;
            if !pipeline.is_undefined() {
                map.set(&k.label().into(), &pipeline);
            }
        }
        Ok(map.size() as usize)
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
