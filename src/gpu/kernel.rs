//! One generic key for every kernel variant and one pipeline cache.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::preprocess::{Binding, Defines, expand};
use crate::counters::Counters;

/// `{name, defines, overrides}`: what a pipeline is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelKey {
    name: &'static str,
    defines: Defines,
    /// Override constants; numbers are kept as text so that the key can be hashed.
    overrides: Vec<(&'static str, String)>,
}

impl KernelKey {
    /// The kernel of `shaders/<name>.wgsl`.
    pub fn new(name: &'static str) -> Self {
        KernelKey { name, defines: Defines::new(), overrides: Vec::new() }
    }

    /// Adds a define.
    pub fn def(mut self, key: &str, value: impl ToString) -> Self {
        self.defines.insert(key.to_string(), value.to_string());
        self
    }

    /// Adds a define when `on`.
    pub fn flag(self, key: &str, on: bool) -> Self {
        if on { self.def(key, 1) } else { self }
    }

    /// Sets an override constant.
    pub fn set(mut self, key: &'static str, value: impl Into<f64>) -> Self {
        self.overrides.push((key, value.into().to_string()));
        self
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn defines(&self) -> &Defines {
        &self.defines
    }

    /// `name[K=V,…]`: the label of its pipeline.
    pub fn label(&self) -> String {
        let mut parts: Vec<String> = self.defines.iter().map(|(k, v)| if v == "1" { k.clone() } else { format!("{k}={v}") }).collect();
        parts.extend(self.overrides.iter().map(|(k, v)| format!("{k}={v}")));
        if parts.is_empty() { self.name.to_string() } else { format!("{}[{}]", self.name, parts.join(",")) }
    }
}

/// Kernels that read nothing from workgroup memory but what they have written there: natively it need not be zeroed for them, which takes
/// 1.6 % of a token's time on a large GPU. (A browser zeroes it in any case.)
const WRITES_FIRST: [&str; 2] = ["linear_vec", "attention_query"];

/// What a pipeline is compiled from.
pub(super) struct Recipe {
    pub label: String,
    pub text: String,
    pub constants: Vec<(&'static str, f64)>,
    layout: wgpu::PipelineLayout,
    /// Workgroup memory begins as zero.
    zeroed: bool,
}

impl Recipe {
    /// Compiles, on the thread that calls.
    pub(super) fn compile(&self, device: &wgpu::Device) -> wgpu::ComputePipeline {
        let desc = wgpu::ShaderModuleDescriptor { label: Some(&self.label), source: wgpu::ShaderSource::Wgsl(self.text.as_str().into()) };
        // Natively wgpu gives every loop a counter of its own, so that none can run for ever. It costs a real GPU some 15 % of a matrix–vector
        // product, and ours all count up to a parameter. Indices stay checked.
        let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
        // SAFETY: what is given up is the guarantee that loops end; every loop of shaders/ ends after at most as many rounds as a u32 counts.
        let module = unsafe { device.create_shader_module_trusted(desc, checks) };
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&self.label),
            layout: Some(&self.layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &self.constants,
                zero_initialize_workgroup_memory: self.zeroed,
            },
            cache: None,
        })
    }
}

/// A kernel, compiled or to be compiled.
pub struct Kernel {
    pub(crate) layout: wgpu::BindGroupLayout,
    pub bindings: Vec<Binding>,
    recipe: Recipe,
    pipeline: OnceCell<wgpu::ComputePipeline>,
    /// It has been launched: no driver has anything left to compile.
    launched: Cell<bool>,
}

impl Kernel {
    fn new(device: &wgpu::Device, key: &KernelKey) -> Kernel {
        let label = key.label();
        let expanded = expand(key.name, &key.defines);
        // Browsers want the extension named; naga knows it without, and does not know the directive.
        let mut text = expanded.text;
        if cfg!(target_arch = "wasm32") && key.defines.contains_key("SUBGROUPS") {
            text.insert_str(0, "enable subgroups;\n");
        }
        let entries: Vec<_> = expanded
            .bindings
            .iter()
            .enumerate()
            .map(|(i, b)| wgpu::BindGroupLayoutEntry {
                binding: i as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: match b {
                        Binding::Params | Binding::Step => wgpu::BufferBindingType::Uniform,
                        Binding::Read => wgpu::BufferBindingType::Storage { read_only: true },
                        Binding::Write => wgpu::BufferBindingType::Storage { read_only: false },
                    },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let constants = key.overrides.iter().map(|(k, v)| (*k, v.parse().expect("written by set()"))).collect();
        let recipe = Recipe { label, text, constants, layout: pipeline_layout, zeroed: !WRITES_FIRST.contains(&key.name) };
        Kernel { layout, bindings: expanded.bindings, recipe, pipeline: OnceCell::new(), launched: Cell::new(false) }
    }

    /// Name and defines.
    pub fn label(&self) -> &str {
        &self.recipe.label
    }

    /// The WGSL it is compiled from.
    pub fn text(&self) -> &str {
        &self.recipe.text
    }

    pub(super) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The pipeline; compiled now, and counted, unless [`super::Gpu::compile`] has done it.
    pub(crate) fn pipeline(&self, device: &wgpu::Device, counters: &Counters) -> &wgpu::ComputePipeline {
        self.pipeline.get_or_init(|| {
            Counters::add(&counters.pipelines, 1);
            self.recipe.compile(device)
        })
    }

    pub(super) fn is_compiled(&self) -> bool {
        self.pipeline.get().is_some()
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn set_pipeline(&self, counters: &Counters, pipeline: wgpu::ComputePipeline) {
        if self.pipeline.set(pipeline).is_ok() {
            Counters::add(&counters.pipelines, 1);
        }
    }

    /// True the first time.
    pub fn first_launch(&self) -> bool {
        !self.launched.replace(true)
    }
}

#[derive(Default)]
pub(super) struct KernelCache(RefCell<HashMap<KernelKey, Rc<Kernel>>>);

impl KernelCache {
    pub fn labels(&self) -> Vec<String> {
        let mut labels: Vec<String> = self.0.borrow().keys().map(KernelKey::label).collect();
        labels.sort_unstable();
        labels
    }

    pub(super) fn get(&self, device: &wgpu::Device, key: &KernelKey) -> Rc<Kernel> {
        if let Some(k) = self.0.borrow().get(key) {
            return k.clone();
        }
        let kernel = Rc::new(Kernel::new(device, key));
        self.0.borrow_mut().insert(key.clone(), kernel.clone());
        kernel
    }
}
