//! The loss of a critic.

use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// Words of a value's metrics.
pub const VALUE_METRICS: usize = 2;

/// ½·max((v − R)², (clip(v) − R)²) of every value v of a critic, R the return that it should have foreseen and clip(v) no further than a bound from
/// what the critic said before the round (Schulman et al. 2017, as in OpenAI's baselines).
///
/// Inputs: values (V); targets (V, 3): the value before the round, the return, what the loss of this value counts; numbers (1): the bound.
/// Outputs: metrics (V, 2), the loss without its weight and 1 where the clipped one is the larger, and dvalues as values, the gradient of
/// Σ weight·loss.
#[derive(Clone, Copy, Debug)]
pub struct ValueLoss;

/// A value in f64.
fn value(v: f64, [old, target, weight]: [f64; 3], bound: f64) -> ([f64; VALUE_METRICS], f64) {
    let (plain, clipped) = ((v - target).powi(2), (v.clamp(old - bound, old + bound) - target).powi(2));
    let slope = if plain >= clipped { weight * (v - target) } else { 0.0 };
    ([0.5 * plain.max(clipped), f64::from(u8::from(clipped > plain))], slope)
}

impl Op for ValueLoss {
    fn name(&self) -> &'static str {
        "value_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (values, targets, numbers) = (inputs[0], inputs[1], inputs[2]);
        if targets.len() != 3 * values.len() || numbers.len() != 1 {
            return Err(Error::shape(
                "value_loss",
                format!("values, targets and numbers {:?}", (&values.shape, &targets.shape, &numbers.shape)),
            ));
        }
        Ok(vec![Desc::f32(&[values.len(), VALUE_METRICS]), values.clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let n = cx.inputs[0].desc.len();
        let grid = cx.gpu().grid(n, 64);
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.output(0), &cx.output(1)];
        cx.dispatch(KernelKey::new("value_loss"), &[n as u32], &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (values, targets, bound) = (io.input(0), io.input(1), io.input(2)[0]);
        for (i, v) in values.iter().enumerate() {
            let (metrics, slope) = value(*v, [0, 1, 2].map(|k| targets[3 * i + k]), bound);
            metrics.into_iter().enumerate().for_each(|(k, m)| io.add(0, VALUE_METRICS * i + k, m));
            io.add(1, i, slope);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (values, targets, bound) = (io.f32(0), io.f32(1), f64::from(io.f32(2)[0]));
        let (metrics, slopes) = (io.out(0), io.out(1));
        for (i, v) in values.iter().enumerate() {
            let (found, slope) = value(f64::from(*v), [0, 1, 2].map(|k| f64::from(targets[3 * i + k])), bound);
            found.into_iter().enumerate().for_each(|(k, m)| metrics[VALUE_METRICS * i + k] = m as f32);
            slopes[i] = slope as f32;
        }
        Ok(())
    }
}
