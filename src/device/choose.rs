//! Which device a model runs on: a real GPU where there is one; between a software adapter and the processor itself, whichever is faster
//! in a short measurement.

use std::future::Future;
use std::str::FromStr;

use super::calibrate::{calibrate, seconds_of};
use crate::cpu::{Cpu, CpuOptions};
use crate::gpu::{Gpu, GpuOptions};
use crate::graph::Exec;
use crate::{Error, Result};

/// `device: "auto" | "gpu" | "cpu"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// See the module.
    #[default]
    Auto,
    Gpu,
    Cpu,
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(s: &str) -> Result<DeviceChoice> {
        match s {
            "auto" => Ok(DeviceChoice::Auto),
            "gpu" => Ok(DeviceChoice::Gpu),
            "cpu" => Ok(DeviceChoice::Cpu),
            other => Err(Error::config("device", format!("expected auto, gpu or cpu, found {other:?}"))),
        }
    }
}

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    pub device: DeviceChoice,
    pub cpu: CpuOptions,
    pub gpu: GpuOptions,
}

/// An opened device.
#[derive(Clone)]
pub struct Chosen {
    pub exec: Exec,
    /// For a person: why this one.
    pub why: String,
    /// Key of the graphics adapter that was opened and what was measured on it, as JSON, to be remembered: also where the processor was faster.
    pub measured: Option<(String, String)>,
}

/// Work that is compared: prefill, and decoding of one row.
const JUDGED: [&str; 2] = ["linear.big", "linear.m1"];

/// Opens the device that `options` ask for. `gpu` opens the graphics device and is not touched where none is wanted; `remembered` is what
/// [`crate::gpu::Tuning::measured`] gave, as JSON, for the adapter of a key ([`Gpu::key`]): kernel variants are measured where nothing is.
///
/// # Errors
/// [`Error::NoAdapter`] where a GPU is asked for and there is none.
pub async fn open(
    options: &DeviceOptions,
    gpu: impl Future<Output = Result<Gpu>>,
    remembered: impl FnOnce(&str) -> Option<String>,
) -> Result<Chosen> {
    let cpu = |why: String| Chosen { exec: Exec::Cpu(Cpu::new(options.cpu)), why, measured: None };
    if options.device == DeviceChoice::Cpu {
        return Ok(cpu("asked for".into()));
    }
    let gpu = match gpu.await {
        Ok(gpu) => gpu,
        Err(e) if options.device == DeviceChoice::Auto => return Ok(cpu(e.to_string())),
        Err(e) => return Err(e),
    };
    // A note that cannot be read only means measuring again.
    if gpu.tuning().borrow().measured().is_empty()
        && let Some(chosen) = remembered(&gpu.key()).and_then(|text| serde_json::from_str(&text).ok())
    {
        gpu.tuning().borrow_mut().restore(chosen);
    }
    // What is forced is not measured.
    calibrate(&gpu).await?;
    let json = serde_json::to_string(gpu.tuning().borrow().measured()).unwrap_or_default();
    let measured = Some((gpu.key(), json));
    if options.device == DeviceChoice::Gpu || !gpu.caps().is_software {
        let why = if options.device == DeviceChoice::Gpu { "asked for" } else { "a GPU" };
        return Ok(Chosen { exec: Exec::Gpu(gpu), why: why.into(), measured });
    }
    let (software, host) = (Exec::Gpu(gpu), cpu(String::new()));
    let mut ratio = 1.0;
    for class in JUDGED {
        ratio *= seconds_of(&software, class).await? / seconds_of(&host.exec, class).await?.max(1e-9);
    }
    let ratio = ratio.powf(1.0 / JUDGED.len() as f64);
    Ok(if ratio >= 1.0 {
        Chosen {
            why: format!("the only GPU adapter is software, {ratio:.1} times slower than the processor's own kernels"),
            measured,
            ..host
        }
    } else {
        Chosen {
            exec: software,
            why: format!("a software adapter, {:.1} times faster than the processor's own kernels", 1.0 / ratio),
            measured,
        }
    })
}
