//! Adapter, limits and device; errors the device reports; counters.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use futures_channel::oneshot;
use sha2::{Digest, Sha256};

use super::caps::Caps;
use super::kernel::{Kernel, KernelCache, KernelKey};
use super::subgroups;
use super::tuning::Tuning;
use crate::counters::Counters;
use crate::{Error, Result, clock};

/// How to open the device.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Pretend that these features are missing (`subgroups`, `timestamps`): for tests of every variant.
    pub without: Vec<String>,
    /// A variant name for `class=variant,…`, in place of what was measured (see [`Tuning`]).
    pub kernels: Option<String>,
    /// Part of the adapter's name to prefer (native only; the environment variable `WGPU_ADAPTER_NAME` works too).
    pub adapter: Option<String>,
    /// Pretend that storage bindings end here (bytes): for tests of tensors split over several buffers.
    pub max_binding: Option<u64>,
    /// Pretend that a software adapter is a GPU: for tests of what is measured and chosen on those.
    pub as_hardware: bool,
}

/// A point in what has been submitted to a device; the default is all of it.
#[derive(Clone, Debug, Default)]
pub struct Mark(Option<wgpu::SubmissionIndex>);

/// The end of what had been submitted to a device at some moment.
pub struct Passed {
    ended: oneshot::Receiver<f64>,
    mark: Mark,
}

impl Passed {
    /// When it ended, as far as the host has heard of it: natively that is while it submits or waits. Told once.
    pub fn ended(&mut self) -> Option<f64> {
        // Nobody is left to tell where the device is lost: then it has ended, too.
        self.ended.try_recv().unwrap_or_else(|_| Some(clock::seconds()))
    }

    /// Waits for it; gives when it ended.
    pub async fn wait(&mut self, gpu: &Gpu) -> f64 {
        gpu.wait_for(&self.mark);
        // A lost device may never say so, and natively there is nothing more to wait for.
        if !cfg!(target_arch = "wasm32") {
            return self.ended().unwrap_or_else(clock::seconds);
        }
        (&mut self.ended).await.unwrap_or_else(|_| clock::seconds())
    }
}

/// An opened device. Cloning shares it.
#[derive(Clone)]
pub struct Gpu(Rc<Inner>);

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    caps: Caps,
    kernels: KernelCache,
    errors: Arc<Mutex<Vec<String>>>,
    lost: Arc<Mutex<Option<String>>>,
    counters: Rc<Counters>,
    tuning: RefCell<Tuning>,
    last: RefCell<Option<wgpu::SubmissionIndex>>,
}

impl Gpu {
    /// Opens the best adapter.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where there is none, with the reason as far as it is known.
    pub async fn new() -> Result<Gpu> {
        Gpu::with(&GpuOptions::default()).await
    }

    /// Opens the best adapter with options.
    pub async fn with(options: &GpuOptions) -> Result<Gpu> {
        let mut desc = wgpu::InstanceDescriptor::new_without_display_handle();
        desc.backends = if cfg!(target_arch = "wasm32") {
            wgpu::Backends::BROWSER_WEBGPU
        } else {
            wgpu::Backends::from_env().unwrap_or(wgpu::Backends::PRIMARY)
        };
        desc.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(desc);
        let adapter = choose(&instance, options).await?;
        let info = adapter.get_info();
        let has = adapter.features();
        let allowed = |name: &str| !options.without.iter().any(|w| w == name);
        let mut features = wgpu::Features::empty();
        let mut ask = |flag: wgpu::Features, name: &str| {
            let on = has.contains(flag) && allowed(name);
            if on {
                features |= flag;
            }
            on
        };
        ask(wgpu::Features::SUBGROUP, "subgroups");
        let timestamps = ask(wgpu::Features::TIMESTAMP_QUERY, "timestamps");
        let limits = adapter.limits();
        let desc = wgpu::DeviceDescriptor {
            label: Some("fledgling"),
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = subgroups::request(&adapter, &desc, allowed("subgroups"))
            .await
            .map_err(|e| Error::NoAdapter(format!("{} refused a device: {e}", info.name)))?;
        let errors = Arc::new(Mutex::new(Vec::new()));
        let sink = errors.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            if let Ok(mut list) = sink.lock() {
                list.push(format!("{e}"));
            }
        }));
        let lost = Arc::new(Mutex::new(None));
        let sink = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            if let Ok(mut l) = sink.lock() {
                *l = Some(format!("{reason:?}: {message}"));
            }
        });
        let lower = format!("{} {} {}", info.name, info.driver, info.driver_info).to_lowercase();
        let caps = Caps {
            is_discrete: info.device_type == wgpu::DeviceType::DiscreteGpu,
            is_software: !options.as_hardware
                && (info.device_type == wgpu::DeviceType::Cpu
                    || ["swiftshader", "llvmpipe", "lavapipe", "basic render"].iter().any(|s| lower.contains(s))),
            name: if info.name.is_empty() { "unnamed adapter".into() } else { info.name.clone() },
            vendor: format!("{:#06x}", info.vendor),
            backend: format!("{:?}", info.backend),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
            subgroups: subgroups::has(&device),
            subgroup_min: info.subgroup_min_size,
            subgroup_max: info.subgroup_max_size,
            timestamps,
            max_binding: limits.max_storage_buffer_binding_size.min(options.max_binding.unwrap_or(u64::MAX)),
            max_buffer: limits.max_buffer_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_threads: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_groups: limits.max_compute_workgroups_per_dimension,
        };
        let tuning = Tuning::new(&caps, options.kernels.as_deref())?;
        Ok(Gpu(Rc::new(Inner {
            device,
            queue,
            caps,
            kernels: KernelCache::default(),
            errors,
            lost,
            counters: Rc::default(),
            tuning: RefCell::new(tuning),
            last: RefCell::default(),
        })))
    }

    /// wgpu's device: for tests of what compiles on it.
    #[doc(hidden)]
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    pub(crate) fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// What the adapter offers.
    pub fn caps(&self) -> &Caps {
        &self.0.caps
    }

    /// A file name for what was measured on this adapter: adapter, driver, features and this crate's version.
    pub fn key(&self) -> String {
        let caps = self.caps();
        let digest = Sha256::digest(format!("{} {} {} {}", caps.name, caps.vendor, caps.driver, caps.features().join(",")));
        format!("{}-{}", env!("CARGO_PKG_VERSION"), digest[..8].iter().map(|b| format!("{b:02x}")).collect::<String>())
    }

    pub fn counters(&self) -> &Rc<Counters> {
        &self.0.counters
    }

    /// The measured choice of kernel variants.
    pub fn tuning(&self) -> &RefCell<Tuning> {
        &self.0.tuning
    }

    /// Bytes of all buffers alive.
    pub fn live_bytes(&self) -> u64 {
        self.0.counters.live_bytes.get()
    }

    /// A kernel variant; its pipeline is compiled by [`Gpu::compile`], or at its first use.
    pub fn kernel(&self, key: &KernelKey) -> Rc<Kernel> {
        self.0.kernels.get(&self.0.device, key)
    }

    /// The labels of the kernels that anything has asked for so far, in order.
    pub fn kernels(&self) -> Vec<String> {
        self.0.kernels.labels()
    }

    /// Ends and submits an encoder.
    pub(crate) fn submit(&self, encoder: wgpu::CommandEncoder) {
        Counters::add(&self.0.counters.submits, 1);
        let index = self.0.queue.submit([encoder.finish()]);
        *self.0.last.borrow_mut() = Some(index);
    }

    /// What was submitted last, to be waited for by [`Gpu::wait_for`] while more is under way.
    pub fn mark(&self) -> Mark {
        Mark(self.0.last.borrow().clone())
    }

    /// Natively, drives the device until everything submitted is done; in a browser the event loop does.
    pub fn wait(&self) {
        self.wait_for(&Mark::default());
    }

    /// As [`Gpu::wait`], but only for what was submitted up to `mark`.
    pub fn wait_for(&self, mark: &Mark) {
        #[cfg(target_arch = "wasm32")]
        let _ = &mark.0;
        #[cfg(not(target_arch = "wasm32"))]
        if let Err(e) = self.0.device.poll(wgpu::PollType::Wait { submission_index: mark.0.clone(), timeout: None })
            && let Ok(mut l) = self.0.lost.lock()
        {
            l.get_or_insert(format!("waiting for the device: {e}"));
        }
    }

    /// Notes everything submitted so far, to hear when it ends.
    pub fn passed(&self) -> Passed {
        let (send, ended) = oneshot::channel();
        self.0.queue.on_submitted_work_done(move || {
            let _ = send.send(clock::seconds());
        });
        Passed { ended, mark: self.mark() }
    }

    /// Waits until everything submitted is done.
    pub async fn done(&self) -> Result<()> {
        self.passed().wait(self).await;
        self.check()
    }

    /// Whatever the device reported since the last call.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`] or [`Error::Gpu`].
    pub fn check(&self) -> Result<()> {
        if let Ok(lost) = self.0.lost.lock()
            && let Some(why) = lost.as_ref()
        {
            return Err(Error::DeviceLost(why.clone()));
        }
        let Ok(mut list) = self.0.errors.lock() else { return Ok(()) };
        let Some(first) = list.first().cloned() else { return Ok(()) };
        list.clear();
        if first.to_lowercase().contains("out of memory") {
            return Err(Error::OutOfMemory(first));
        }
        Err(Error::Gpu { what: "a command".into(), message: first })
    }

    /// Workgroups for `n` threads of `size`, folded into two dimensions where one is not enough.
    pub fn grid(&self, n: usize, size: u32) -> [u32; 3] {
        let groups = (n as u64).div_ceil(u64::from(size)).max(1);
        let max = u64::from(self.0.caps.max_groups);
        if groups <= max {
            return [groups as u32, 1, 1];
        }
        let y = groups.div_ceil(max);
        [groups.div_ceil(y) as u32, y as u32, 1]
    }
}

#[cfg(target_arch = "wasm32")]
async fn choose(instance: &wgpu::Instance, _options: &GpuOptions) -> Result<wgpu::Adapter> {
    instance
        .request_adapter(&wgpu::RequestAdapterOptions { power_preference: wgpu::PowerPreference::HighPerformance, ..Default::default() })
        .await
        .map_err(|e| Error::NoAdapter(format!("the browser offers no WebGPU adapter ({e})")))
}

#[cfg(not(target_arch = "wasm32"))]
async fn choose(instance: &wgpu::Instance, options: &GpuOptions) -> Result<wgpu::Adapter> {
    let wanted = options.adapter.clone().or_else(|| std::env::var("WGPU_ADAPTER_NAME").ok()).map(|w| w.to_lowercase());
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
    // A real GPU first, software last.
    adapters.sort_by_key(|a| match a.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
    adapters.into_iter().find(|a| wanted.as_ref().is_none_or(|w| a.get_info().name.to_lowercase().contains(w))).ok_or_else(|| {
        Error::NoAdapter(if names.is_empty() {
            "no Vulkan, Metal or DirectX 12 driver found (on Debian: mesa-vulkan-drivers gives a software one)".into()
        } else {
            format!("none of {names:?} matches {wanted:?}")
        })
    })
}
