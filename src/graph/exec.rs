//! Where a tape runs: the executor, its memory, and what is moved between the two sides. Everything above this module that needs a
//! buffer, a copy or a readback asks an [`Exec`] and does not know which device it is.

use std::rc::Rc;

use crate::counters::Counters;
use crate::cpu::{self, Cpu};
use crate::gpu::{self, Gpu, Mark};
use crate::{Error, Result};

/// Where a tape runs.
#[derive(Clone)]
pub enum Exec {
    /// WGSL kernels.
    Gpu(Gpu),
    /// f32 kernels on the processor.
    Cpu(Cpu),
    /// f64 on the host, slow and exact: the oracle of the tests.
    Reference,
}

/// Memory of one device.
#[derive(Clone)]
pub enum Mem {
    Gpu(gpu::Buf),
    Cpu(cpu::Buf),
}

/// Bytes that go from one place to another on the same device.
#[derive(Clone)]
pub struct Transfer {
    pub from: Mem,
    pub from_at: u64,
    pub to: Mem,
    pub to_at: u64,
    pub bytes: u64,
}

/// What is shown to a person of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DeviceInfo {
    pub name: String,
    pub vendor: String,
    /// Vulkan, Metal, BrowserWebGpu …; `Cpu` for the host executor.
    pub backend: String,
    /// `gpu` or `cpu`.
    pub device: String,
    /// A processor that pretends to be a GPU.
    pub is_software: bool,
    pub features: Vec<String>,
}

/// Bytes that a device allows, as far as it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// In one buffer.
    pub max_buffer: Option<u64>,
    /// That one kernel can see of a tensor.
    pub max_binding: Option<u64>,
    /// In all. No API of a graphics device tells.
    pub memory: Option<u64>,
}

impl Limits {
    /// Bytes of the largest buffer that kernels can work on.
    pub fn buffer(&self) -> Option<u64> {
        [self.max_buffer, self.max_binding].into_iter().flatten().min()
    }
}

impl Mem {
    /// Bytes of the range.
    pub fn bytes(&self) -> u64 {
        match self {
            Mem::Gpu(b) => b.bytes(),
            Mem::Cpu(b) => b.bytes(),
        }
    }

    /// True when both are ranges of one buffer.
    pub fn same_buffer(&self, other: &Mem) -> bool {
        match (self, other) {
            (Mem::Gpu(a), Mem::Gpu(b)) => a.same_buffer(b),
            (Mem::Cpu(a), Mem::Cpu(b)) => a.same_buffer(b),
            _ => false,
        }
    }

    /// A part of this range; `offset` is a multiple of 256 bytes.
    pub fn range(&self, offset: u64, bytes: u64) -> Mem {
        match self {
            Mem::Gpu(b) => Mem::Gpu(b.range(offset, bytes)),
            Mem::Cpu(b) => Mem::Cpu(b.range(offset, bytes)),
        }
    }

    /// The buffer of a graphics device.
    ///
    /// # Panics
    /// On the processor's: devices were mixed up.
    pub fn gpu(&self) -> &gpu::Buf {
        match self {
            Mem::Gpu(b) => b,
            Mem::Cpu(_) => panic!("memory of the processor where the GPU's was expected"),
        }
    }

    /// The processor's buffer.
    ///
    /// # Panics
    /// On a graphics device's: devices were mixed up.
    pub fn cpu(&self) -> &cpu::Buf {
        match self {
            Mem::Cpu(b) => b,
            Mem::Gpu(_) => panic!("memory of the GPU where the processor's was expected"),
        }
    }
}

impl Transfer {
    /// The first `bytes` bytes of `from` to `at` in `to`.
    pub fn new(from: &Mem, to: &Mem, at: u64, bytes: u64) -> Transfer {
        Transfer { from: from.clone(), from_at: 0, to: to.clone(), to_at: at, bytes }
    }

    pub(super) fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        if self.bytes > 0 {
            let (from, to) = (self.from.gpu(), self.to.gpu());
            encoder.copy_buffer_to_buffer(from.raw(), from.offset() + self.from_at, to.raw(), to.offset() + self.to_at, self.bytes);
        }
    }

    pub(super) fn copy(&self) {
        self.to.cpu().copy_from(self.to_at, self.from.cpu(), self.from_at, self.bytes);
    }
}

const REFERENCE: &str = "the f64 reference has no device memory";

impl Exec {
    /// The graphics device, where this is one.
    pub fn gpu(&self) -> Option<&Gpu> {
        match self {
            Exec::Gpu(g) => Some(g),
            _ => None,
        }
    }

    /// The processor, where this is it.
    pub fn cpu(&self) -> Option<&Cpu> {
        match self {
            Exec::Cpu(c) => Some(c),
            _ => None,
        }
    }

    /// Refuses the f64 reference, which runs tapes but holds no programs.
    ///
    /// # Errors
    /// [`Error::NoAdapter`].
    pub fn need_device(&self, what: &str) -> Result<()> {
        match self {
            Exec::Reference => Err(Error::NoAdapter(format!("{what} runs on the GPU or on the processor, not on the f64 reference"))),
            _ => Ok(()),
        }
    }

    /// What is shown to a person of it.
    pub fn info(&self) -> DeviceInfo {
        match self {
            Exec::Gpu(g) => {
                let c = g.caps();
                DeviceInfo {
                    name: c.name.clone(),
                    vendor: c.vendor.clone(),
                    backend: c.backend.clone(),
                    device: "gpu".into(),
                    is_software: c.is_software,
                    features: c.features(),
                }
            }
            Exec::Cpu(c) => DeviceInfo {
                name: c.name(),
                backend: "Cpu".into(),
                device: "cpu".into(),
                features: vec![cpu::simd::level().name().into(), format!("threads ({})", c.pool().threads())],
                ..DeviceInfo::default()
            },
            Exec::Reference => DeviceInfo { name: "f64 reference".into(), device: "reference".into(), ..DeviceInfo::default() },
        }
    }

    /// True where a processor does the work, under whatever name: every row costs, idle ones too, and nothing runs beside the host.
    pub fn is_processor(&self) -> bool {
        self.gpu().is_none_or(|g| g.caps().is_software)
    }

    /// Bytes that one kernel can see of one tensor.
    pub fn max_binding(&self) -> u64 {
        self.gpu().map_or(u64::MAX, |g| g.caps().max_binding.min(g.caps().max_buffer))
    }

    /// Bytes that a training's activations may take where nobody says otherwise. No API tells how much memory there is: half of the largest
    /// buffer is a guess that grows with the device (1 GiB where that is 2 GiB, 128 MiB where only WebGPU's least is promised),
    /// and all of it where the card is known to have memory of its own.
    pub fn activation_memory(&self) -> u64 {
        match self {
            Exec::Gpu(g) if g.caps().is_discrete => g.caps().max_buffer.clamp(1 << 30, 4 << 30),
            Exec::Gpu(g) => (g.caps().max_buffer / 2).clamp(128 << 20, 4 << 30),
            // Of a browser's 4 GiB of wasm memory the model takes its part.
            _ if cfg!(target_arch = "wasm32") => 512 << 20,
            _ => 1 << 30,
        }
    }

    /// Counts since the device was opened (of the reference: all zero).
    pub fn counters(&self) -> Rc<Counters> {
        match self {
            Exec::Gpu(g) => g.counters().clone(),
            Exec::Cpu(c) => c.counters().clone(),
            Exec::Reference => Rc::default(),
        }
    }

    /// Bytes that a buffer of so many takes.
    pub fn rounded(&self, bytes: u64) -> u64 {
        let unit = if self.gpu().is_some() { 16 } else { cpu::ALIGN as u64 };
        bytes.max(unit).next_multiple_of(unit)
    }

    /// What the device allows.
    pub fn limits(&self) -> Limits {
        match self {
            Exec::Gpu(g) => Limits { max_buffer: Some(g.caps().max_buffer), max_binding: Some(g.caps().max_binding), memory: None },
            // A browser's memory has 32-bit addresses, and one allocation may take half of them.
            _ if cfg!(target_arch = "wasm32") => Limits { max_buffer: Some((1 << 31) - 1), max_binding: None, memory: Some(1 << 32) },
            _ => Limits { max_buffer: None, max_binding: None, memory: None },
        }
    }

    /// Bytes of all buffers alive.
    pub fn live_bytes(&self) -> u64 {
        self.counters().live_bytes.get()
    }

    /// Zeroed memory that kernels read and write.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn storage(&self, label: &str, bytes: u64) -> Result<Mem> {
        match self {
            Exec::Gpu(g) => Ok(Mem::Gpu(g.storage(label, bytes)?)),
            Exec::Cpu(c) => Ok(Mem::Cpu(c.buffer(label, bytes)?)),
            Exec::Reference => Err(Error::NoAdapter(REFERENCE.into())),
        }
    }

    /// Memory that results are copied to before the host reads them.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn staging(&self, bytes: u64) -> Result<Mem> {
        match self {
            Exec::Gpu(g) => Ok(Mem::Gpu(g.staging(bytes))),
            _ => self.storage("staging", bytes),
        }
    }

    /// Writes bytes at `offset` (both multiples of 4).
    pub fn write(&self, to: &Mem, offset: u64, data: &[u8]) {
        match self {
            Exec::Gpu(g) => g.write(to.gpu(), offset, data),
            _ => to.cpu().write(offset, data),
        }
    }

    /// Copies on the device, in order. Within one entry the buffers must differ.
    pub fn copy(&self, transfers: &[Transfer]) {
        match self {
            Exec::Gpu(g) => {
                let mut encoder = g.device().create_command_encoder(&Default::default());
                transfers.iter().for_each(|t| t.encode(&mut encoder));
                g.submit(encoder);
            }
            _ => transfers.iter().for_each(Transfer::copy),
        }
    }

    /// Reads `bytes` bytes from `offset`: waits for everything submitted before.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn read(&self, from: &Mem, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        match self {
            Exec::Gpu(g) => g.read(from.gpu(), offset, bytes).await,
            _ => Ok(from.cpu().read(offset, bytes)),
        }
    }

    /// Reads the first `bytes` bytes of staging memory, once everything up to `after` is done.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn map(&self, staging: &Mem, bytes: u64, after: &Mark) -> Result<Vec<u8>> {
        match self {
            Exec::Gpu(g) => g.map(staging.gpu(), bytes, after).await,
            _ => Ok(staging.cpu().read(0, bytes)),
        }
    }

    /// What was submitted last: for [`Exec::map`].
    pub fn mark(&self) -> Mark {
        if let Exec::Gpu(g) = self { g.mark() } else { Mark::default() }
    }

    /// Sends pending writes to the device. A loader calls it every few MiB: until then, written bytes wait in host memory.
    pub fn flush(&self) {
        if let Exec::Gpu(g) = self {
            g.flush();
        }
    }

    /// Waits until everything submitted is done.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn done(&self) -> Result<()> {
        match self {
            Exec::Gpu(g) => g.done().await,
            _ => Ok(()),
        }
    }

    /// Whatever the device reported since the last call.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::OutOfMemory`] or [`Error::Gpu`].
    pub fn check(&self) -> Result<()> {
        match self {
            Exec::Gpu(g) => g.check(),
            _ => Ok(()),
        }
    }
}
