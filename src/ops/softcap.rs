//! Soft caps of logits (Gemma 2): a bound that bends values instead of cutting them.

use super::elementwise::{Units, units};
use crate::cpu::kernels::softcap as kernels;
use crate::gpu::KernelKey;
use crate::graph::{Back, CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// `y = cap·tanh(x / cap)`, element by element.
#[derive(Clone, Copy, Debug)]
pub struct SoftCap {
    /// Above 0.
    pub cap: f32,
}

impl Op for SoftCap {
    fn name(&self) -> &'static str {
        "softcap"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        if !(self.cap.is_finite() && self.cap > 0.0) {
            return Err(Error::shape("softcap", format!("a cap of {}, expected a number above 0", self.cap)));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let Units { vec, n, grid } = units(cx.gpu(), cx.inputs[0].desc.len(), 4);
        let key = KernelKey::new("softcap").flag("VEC", vec);
        cx.dispatch(key, &[n, self.cap.to_bits()], &[&cx.input(0), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let cap = f64::from(self.cap);
        for (i, v) in io.input(0).iter().enumerate() {
            io.add(0, i, cap * (v / cap).tanh());
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::forward(io.pool(), io.out(0), io.f32(0), self.cap);
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let y = b.output(0);
        let dx = b.sink(0);
        b.emit(SoftCapBwd { cap: self.cap }, &[y, dy], &[dx])
    }
}

/// `dx = dy·(1 − (y / cap)²)`. Inputs: y, dy.
struct SoftCapBwd {
    cap: f32,
}

impl Op for SoftCapBwd {
    fn name(&self) -> &'static str {
        "softcap_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let Units { vec, n, grid } = units(cx.gpu(), cx.inputs[0].desc.len(), 4);
        let key = KernelKey::new("softcap").flag("VEC", vec).flag("GRAD", true).flag("ACC", cx.acc[0]);
        cx.dispatch(key, &[n, self.cap.to_bits()], &[&cx.input(0), &cx.input(1), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (y, dy, cap) = (io.input(0), io.input(1), f64::from(self.cap));
        for (i, (y, d)) in y.iter().zip(dy.iter()).enumerate() {
            io.add(0, i, d * (1.0 - (y / cap).powi(2)));
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::backward(io.pool(), io.out(0), io.f32(0), io.f32(1), self.cap, io.acc(0));
        Ok(())
    }
}
