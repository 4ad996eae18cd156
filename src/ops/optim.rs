//! The optimizer: global gradient norm and AdamW (Loshchilov & Hutter 2019) over flat buffers.

use super::elementwise::{Units, units};
use super::{row_grid, serial_rows};
use crate::cpu::kernels::optim as kernels;
use crate::gpu::KernelKey;
use crate::graph::{Cost, CpuIo, Desc, HostIo, Lower, Op, StepParams, Tape, Val};
use crate::{Error, Result};

/// Partial sums of one gradient buffer of `n` elements: some 4096 elements each, so that no thread loops for long.
fn parts(n: usize) -> usize {
    (n / 4096).next_power_of_two().clamp(256, 16_384)
}

/// The global norm `sqrt(Σ g²)` over one or several gradient buffers. Output: (1). Two stages, always summed in the same order.
///
/// Recorded as changing a norm that is there, it leaves one that is not finite as it is, until the host sets it to 0: [`AdamW`] then changes nothing
/// in the updates behind a bad one, however many were submitted before the host saw it.
#[derive(Clone, Copy, Debug)]
pub struct GradNorm;

impl Op for GradNorm {
    fn name(&self) -> &'static str {
        "grad_norm"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        if inputs.is_empty() {
            return Err(Error::shape("grad_norm", "no gradients"));
        }
        Ok(vec![Desc::f32(&[1])])
    }

    fn scratch(&self, inputs: &[&Desc], _outputs: &[&Desc]) -> Vec<Desc> {
        vec![Desc::f32(&[inputs.iter().map(|g| parts(g.len())).sum()])]
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let serial = serial_rows(cx.gpu());
        let mut first = 0;
        for i in 0..cx.inputs.len() {
            let n = cx.inputs[i].desc.len();
            let grid = row_grid(cx.gpu(), parts(n));
            let params = [n as u32, parts(n) as u32, first as u32];
            cx.dispatch(KernelKey::new("sum_squares").flag("SERIAL", serial), &params, &[&cx.input(i), &cx.temp(0)], grid);
            first += parts(n);
        }
        let key = KernelKey::new("grad_norm").flag("SERIAL", serial).flag("HOLD", cx.acc[0]);
        cx.dispatch(key, &[first as u32], &[&cx.temp(0), &cx.output(0)], [1, 1, 1]);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let squares: f64 = io.inputs.iter().flat_map(|g| g.iter()).map(|g| g * g).sum();
        if io.outputs[0][0].is_finite() {
            io.outputs[0][0] = squares.sqrt();
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let squares: f64 = (0..io.inputs()).map(|i| kernels::sum_squares(io.pool(), io.f32(i))).sum();
        let norm = &mut io.out(0)[0];
        if !io.acc(0) || norm.is_finite() {
            *norm = squares.sqrt() as f32;
        }
        Ok(())
    }
}

/// What a group of parameters has of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Times the step's learning rate: groups of different rates follow one schedule, as in PyTorch.
    pub rate: f32,
    /// Decoupled weight decay.
    pub decay: f32,
}

/// What gradients of a global norm are multiplied by: accumulation, and clipping as torch's `clip_grad_norm_`.
pub(super) fn clip(s: &StepParams, norm: f64) -> f64 {
    let (scale, most) = (f64::from(s.grad_scale), f64::from(s.max_grad_norm));
    if most > 0.0 { scale * (most / (norm * scale + 1e-6)).min(1.0) } else { scale }
}

/// The numbers of a step on the processor.
pub(super) fn step(s: &StepParams, norm: f64, group: Group) -> kernels::Step {
    let f = |v: f32| f64::from(v);
    let rate = f(s.learning_rate) * f(group.rate);
    kernels::Step {
        scale: clip(s, norm) as f32,
        beta1: s.beta1,
        beta2: s.beta2,
        rest1: (1.0 - f(s.beta1)) as f32,
        rest2: (1.0 - f(s.beta2)) as f32,
        keep: (1.0 - rate * f(group.decay)) as f32,
        rate: (rate / f(s.correction1)) as f32,
        root: (1.0 / f(s.correction2).sqrt()) as f32,
        epsilon: s.epsilon,
    }
}

/// One AdamW step on elements `start..start + len` of flat buffers of `total` elements: clipping by the global norm, decoupled
/// weight decay, gradients zeroed after use. Input: norm (1). Outputs, all in place: params, grads, m, v.
/// Rate and decay are the group's, the other numbers come from the step uniform. A norm that is not finite leaves parameters and moments as they are.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    pub start: usize,
    pub len: usize,
    pub total: usize,
    pub group: Group,
}

impl AdamW {
    /// Records the step. `flats` are params, grads, m and v.
    ///
    /// # Errors
    /// [`Error::Shape`] when the range is not inside the buffers, or they differ in length.
    pub fn record(tape: &mut Tape, start: usize, len: usize, group: Group, norm: Val, flats: [Val; 4]) -> Result<()> {
        let total = tape.desc(flats[0]).len();
        tape.push_into(AdamW { start, len, total, group }, &[norm], &flats.map(|v| (v, true)))
    }

    /// Fifteen operations an element, a root and a division among them; four values read and written.
    fn work(&self) -> Cost {
        Cost { flops: 15.0 * self.len as f64, bytes: 32.0 * self.len as f64 }
    }
}

impl Op for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        if inputs[0].len() != 1 || self.start.checked_add(self.len).is_none_or(|end| end > self.total) {
            return Err(Error::shape(
                "adamw",
                format!("elements {}+{} of {}, norm {:?}", self.start, self.len, self.total, inputs[0].shape),
            ));
        }
        Ok(vec![Desc::f32(&[1, self.total]); 4])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let Units { vec, n, grid } = units(cx.gpu(), self.len, if self.start.is_multiple_of(4) { 4 } else { 1 });
        let start = self.start / if vec { 4 } else { 1 };
        let key = KernelKey::new("adamw").flag("VEC", vec).flag("DECAY", self.group.decay != 0.0);
        let bufs = [&cx.input(0), &cx.output(0), &cx.output(1), &cx.output(2), &cx.output(3)];
        let params = [start as u32, n, self.group.rate.to_bits(), self.group.decay.to_bits()];
        cx.dispatch(key, &params, &bufs, grid);
        cx.cost(self.work());
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let s = io.step;
        let f = |v: f32| f64::from(v);
        let norm = io.input(0)[0];
        let rate = f(s.learning_rate) * f(self.group.rate);
        let scale = clip(s, norm);
        for i in self.start..self.start + self.len {
            let g = std::mem::take(&mut io.outputs[1][i]) * scale;
            if !norm.is_finite() {
                continue;
            }
            let m = f(s.beta1) * io.outputs[2][i] + (1.0 - f(s.beta1)) * g;
            let v = f(s.beta2) * io.outputs[3][i] + (1.0 - f(s.beta2)) * g * g;
            io.outputs[2][i] = m;
            io.outputs[3][i] = v;
            let keep = 1.0 - rate * f(self.group.decay);
            io.outputs[0][i] = io.outputs[0][i] * keep - rate / f(s.correction1) * m / (v.sqrt() / f(s.correction2).sqrt() + f(s.epsilon));
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let norm = f64::from(io.f32(0)[0]);
        let range = self.start..self.start + self.len;
        let [p, g, m, v] = [0, 1, 2, 3].map(|i| &mut io.out(i)[range.clone()]);
        if !norm.is_finite() {
            g.fill(0.0);
            return Ok(());
        }
        kernels::adamw(io.pool(), [p, g, m, v], &step(io.step(), norm, self.group));
        Ok(())
    }

    fn cost(&self, _: &CpuIo<'_>) -> Cost {
        self.work()
    }
}
