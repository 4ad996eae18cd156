//! Sums, products, scaling, dropout and noise: ops that treat every element alike.

use super::rng;
use crate::cpu::kernels::elementwise as kernels;
use crate::gpu::{Gpu, KernelKey};
use crate::graph::{Back, CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// How an elementwise kernel covers its elements.
pub(super) struct Units {
    /// Four elements per thread.
    pub vec: bool,
    /// Threads that have work.
    pub n: u32,
    pub grid: [u32; 3],
}

/// Four elements per thread where rows of `cols` allow it, in workgroups of 64.
pub(super) fn units(gpu: &Gpu, len: usize, cols: usize) -> Units {
    let vec = len.is_multiple_of(4) && cols.is_multiple_of(4);
    let n = if vec { len / 4 } else { len };
    Units { vec, n: n as u32, grid: if n == 0 { [0; 3] } else { gpu.grid(n, 64) } }
}

fn same_shape(op: &str, inputs: &[&Desc]) -> Result<Vec<Desc>> {
    if inputs[0].len() != inputs[1].len() {
        return Err(Error::shape(op, format!("{:?} and {:?} differ", inputs[0].shape, inputs[1].shape)));
    }
    Ok(vec![inputs[0].clone()])
}

/// `y = a + b` of equal shapes (the residual connection).
#[derive(Clone, Copy, Debug)]
pub struct Add;

impl Op for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        same_shape("add", inputs)
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let Units { vec, n, grid } = units(cx.gpu(), cx.inputs[0].desc.len(), 4);
        cx.dispatch(KernelKey::new("add").flag("VEC", vec), &[n], &[&cx.input(0), &cx.input(1), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (a, b) = (io.input(0), io.input(1));
        for i in 0..a.len() {
            io.add(0, i, a[i] + b[i]);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::add(io.pool(), io.out(0), io.f32(0), io.f32(1), io.acc(0));
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        for i in 0..2 {
            if b.wants(i) {
                b.alias(i, dy)?;
            }
        }
        Ok(())
    }
}

/// `y = a·b`, element by element.
#[derive(Clone, Copy, Debug)]
pub struct Mul;

impl Op for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        same_shape("mul", inputs)
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let Units { vec, n, grid } = units(cx.gpu(), cx.inputs[0].desc.len(), 4);
        let key = KernelKey::new("mul").flag("VEC", vec).flag("ACC", cx.acc[0]);
        cx.dispatch(key, &[n], &[&cx.input(0), &cx.input(1), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (a, b) = (io.input(0), io.input(1));
        for i in 0..a.len() {
            io.add(0, i, a[i] * b[i]);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::mul(io.pool(), io.out(0), io.f32(0), io.f32(1), io.acc(0));
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        for i in 0..2 {
            if b.wants(i) {
                let other = b.input(1 - i);
                let d = b.sink(i);
                b.emit(Mul, &[dy, other], &[d])?;
            }
        }
        Ok(())
    }
}

/// `y = factor·x`.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub factor: f32,
}

impl Op for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let Units { vec, n, grid } = units(cx.gpu(), cx.inputs[0].desc.len(), 4);
        let key = KernelKey::new("scale").flag("VEC", vec).flag("ACC", cx.acc[0]);
        cx.dispatch(key, &[n, self.factor.to_bits()], &[&cx.input(0), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        for (i, v) in io.input(0).iter().enumerate() {
            io.add(0, i, f64::from(self.factor) * v);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::scale(io.pool(), io.out(0), io.f32(0), self.factor, io.acc(0));
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let dx = b.sink(0);
        b.emit(*self, &[dy], &[dx])
    }
}

/// Inverted dropout: `y = keep·x / (1 − p)`, the mask drawn from (`step.seed`, `step.counter`, `salt`, element), so that the
/// backward pass draws the same one again. Leave it out of programs that do not train.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    pub p: f32,
    /// Distinguishes the dropout ops of one tape.
    pub salt: u32,
}

impl Dropout {
    /// Bits below this are dropped.
    fn threshold(&self) -> u32 {
        (f64::from(self.p.clamp(0.0, 1.0)) * 4_294_967_296.0).min(f64::from(u32::MAX)) as u32
    }

    fn factor(&self) -> f32 {
        if self.p < 1.0 { 1.0 / (1.0 - self.p.max(0.0)) } else { 0.0 }
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        if !(0.0..=1.0).contains(&self.p) {
            return Err(Error::shape("dropout", format!("probability {} is not in 0…1", self.p)));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let Units { vec, n, grid } = units(cx.gpu(), cx.inputs[0].desc.len(), 4);
        let key = KernelKey::new("dropout").flag("VEC", vec).flag("ACC", cx.acc[0]);
        let params = [n, self.salt, self.threshold(), self.factor().to_bits()];
        cx.dispatch(key, &params, &[&cx.input(0), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (seed, counter) = (io.step.seed, io.step.counter);
        for (i, v) in io.input(0).iter().enumerate() {
            if rng::bits(seed, counter, self.salt, i as u32) >= self.threshold() {
                io.add(0, i, v * f64::from(self.factor()));
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (seed, counter) = (io.step().seed, io.step().counter);
        let drop = kernels::Drop { seed, counter, salt: self.salt, threshold: self.threshold(), factor: self.factor() };
        kernels::dropout(io.pool(), io.out(0), io.f32(0), drop, io.acc(0));
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let dx = b.sink(0);
        b.emit(*self, &[dy], &[dx])
    }
}

/// `y[m, :] = x[m, :] + size[m]·u` with u uniform in −1…1 for every element, drawn from (`step.seed`, `step.counter`, `salt`, element): noise on
/// embeddings (NEFTune, Jain et al. 2023). Leave it out of programs that do not train.
///
/// Inputs: x (M, C); size (M), which has no gradient. Output: y (M, C).
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// Distinguishes it from the dropout ops of the tape.
    pub salt: u32,
}

impl Op for Noise {
    fn name(&self) -> &'static str {
        "noise"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        if inputs[1].len() != inputs[0].rows() {
            return Err(Error::shape("noise", format!("{} sizes for {} rows", inputs[1].len(), inputs[0].rows())));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let cols = cx.inputs[0].desc.cols();
        let Units { vec, n, grid } = units(cx.gpu(), cx.inputs[0].desc.len(), cols);
        let params = [n, cols as u32 / if vec { 4 } else { 1 }, self.salt];
        cx.dispatch(KernelKey::new("noise").flag("VEC", vec), &params, &[&cx.input(0), &cx.input(1), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (seed, counter) = (io.step.seed, io.step.counter);
        let (size, cols) = (io.input(1), io.descs[0].cols());
        for (i, v) in io.input(0).iter().enumerate() {
            let u = f64::from(rng::bits(seed, counter, self.salt, i as u32)) / 2_147_483_648.0 - 1.0;
            io.add(0, i, v + size[i / cols] * u);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let stream = (io.step().seed, io.step().counter, self.salt);
        kernels::noise(io.pool(), io.out(0), io.f32(0), io.f32(1), stream);
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        if b.wants(1) {
            return Err(Error::shape("noise", "sizes have no gradient"));
        }
        if b.wants(0) {
            b.alias(0, dy)?;
        }
        Ok(())
    }
}
