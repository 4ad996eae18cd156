//! f32 to halves and back: activations that wait for the backward pass in half their memory (see [`crate::graph::Tape::keep_halves`]).

use std::rc::Rc;

use half::f16;

use super::elementwise::units;
use crate::cpu::kernels::stored;
use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op, Tape};
use crate::tensor::DType;
use crate::{Error, Result};

/// The half nearest to a number; NaN for what is too large, so that it is found where results are looked at (see `cpu::kernels::stored`).
pub(super) fn nearest(v: f64) -> f64 {
    // By way of f32: without hardware for it, the half crate's own way from f64 looks at the upper 20 bits of the fraction only.
    let h = f16::from_f32(v as f32);
    if h.is_finite() { h.to_f64() } else { f64::NAN }
}

/// Lets what only the backward pass still reads wait in half precision. `forward`: nodes recorded before [`Tape::backward`].
///
/// # Errors
/// Never in practice: shapes are equal by construction.
pub fn keep_halves(tape: &mut Tape, forward: usize) -> Result<()> {
    tape.keep_halves(forward, &(Rc::new(Narrow) as Rc<dyn Op>), &(Rc::new(Widen) as Rc<dyn Op>))
}

fn convert(op: &str, x: &Desc, from: DType, to: DType) -> Result<Vec<Desc>> {
    if x.dtype != from || !x.cols().is_multiple_of(2) {
        return Err(Error::shape(op, format!("{:?} {}, expected {} in rows of an even length", x.shape, x.dtype.name(), from.name())));
    }
    Ok(vec![Desc { shape: x.shape.clone(), dtype: to }])
}

fn lower(cx: &mut Lower<'_>, kernel: &'static str) {
    let units = units(cx.gpu(), cx.inputs[0].desc.len(), 4);
    let n = if units.vec { units.n } else { units.n / 2 };
    let grid = if n == 0 { [0; 3] } else { cx.gpu().grid(n as usize, 64) };
    cx.dispatch(KernelKey::new(kernel).flag("VEC", units.vec), &[n], &[&cx.input(0), &cx.output(0)], grid);
}

/// `y` = x (…, C) as halves, C even. Nearest, ties to even; what is too large for a half (from 65,520 on) becomes NaN. Not differentiable.
#[derive(Clone, Copy, Debug)]
pub struct Narrow;

impl Op for Narrow {
    fn name(&self) -> &'static str {
        "narrow"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        convert("narrow", inputs[0], DType::F32, DType::F16)
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        lower(cx, "narrow");
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        io.input(0).iter().enumerate().for_each(|(i, v)| io.add(0, i, nearest(*v)));
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        stored::narrow_all(io.pool(), io.out_f16(0), io.f32(0));
        Ok(())
    }
}

/// `y` = x (…, C) f16 as f32, exactly; C even. Not differentiable.
#[derive(Clone, Copy, Debug)]
pub struct Widen;

impl Op for Widen {
    fn name(&self) -> &'static str {
        "widen"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        convert("widen", inputs[0], DType::F16, DType::F32)
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        lower(cx, "widen");
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        io.input(0).iter().enumerate().for_each(|(i, v)| io.add(0, i, *v));
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        stored::widen_all(io.pool(), io.out(0), io.f16(0));
        Ok(())
    }
}
