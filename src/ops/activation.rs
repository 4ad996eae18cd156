//! Activations and gated activations (GLU variants, Shazeer 2020).

use super::Act;
use super::elementwise::{Units, units};
use crate::cpu::kernels::activation::{self as kernels, Halves};
use crate::gpu::KernelKey;
use crate::graph::{Back, CpuIo, Desc, HostIo, Lower, Op, Val};
use crate::{Error, Result};

/// `y = act(x)`, element by element.
#[derive(Clone, Copy, Debug)]
pub struct Activation {
    pub kind: Act,
}

impl Op for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let Units { vec, n, grid } = units(cx.gpu(), cx.inputs[0].desc.len(), 4);
        let key = KernelKey::new("activation").def("ACT", self.kind.define()).flag("VEC", vec);
        cx.dispatch(key, &[n], &[&cx.input(0), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        for (i, v) in io.input(0).iter().enumerate() {
            io.add(0, i, self.kind.value(*v));
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::forward(io.pool(), self.kind.curve(), io.out(0), io.f32(0));
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let x = b.input(0);
        let dx = b.sink(0);
        b.emit(ActivationBwd { kind: self.kind }, &[x, dy], &[dx])
    }
}

/// `dx = dy·act′(x)`. Inputs: x, dy.
struct ActivationBwd {
    kind: Act,
}

impl Op for ActivationBwd {
    fn name(&self) -> &'static str {
        "activation_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let Units { vec, n, grid } = units(cx.gpu(), cx.inputs[0].desc.len(), 4);
        let key = KernelKey::new("activation_bwd").def("ACT", self.kind.define()).flag("VEC", vec).flag("ACC", cx.acc[0]);
        cx.dispatch(key, &[n], &[&cx.input(0), &cx.input(1), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (x, dy) = (io.input(0), io.input(1));
        for i in 0..x.len() {
            io.add(0, i, dy[i] * self.kind.slope(x[i]));
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::backward(io.pool(), self.kind.curve(), io.out(0), io.f32(0), io.f32(1), io.acc(0));
        Ok(())
    }
}

/// `y = act(gate)·up`. Inputs: gate_up (M, 2F) with the gate columns first, or gate (M, F) and up (M, F). Output: (M, F).
#[derive(Clone, Copy, Debug)]
pub struct Gated {
    pub kind: Act,
}

/// Row length of the output, from the inputs.
fn gated_cols(name: &str, inputs: &[&Desc]) -> Result<usize> {
    let cols = inputs[0].cols();
    if let Some(up) = inputs.get(1) {
        if up.shape != inputs[0].shape {
            return Err(Error::shape(name, format!("gate {:?} and up {:?} differ", inputs[0].shape, up.shape)));
        }
        return Ok(cols);
    }
    if !cols.is_multiple_of(2) {
        return Err(Error::shape(name, format!("rows of {cols} are not a gate and an up half")));
    }
    Ok(cols / 2)
}

impl Gated {
    /// Host indices of gate and up for element `i` of the output.
    fn at(fused: bool, cols: usize, i: usize) -> (usize, usize) {
        if fused { (i + i / cols * cols, i + i / cols * cols + cols) } else { (i, i) }
    }
}

fn halves<'a>(io: &CpuIo<'a>, fused: bool) -> Halves<'a> {
    if fused { Halves::Fused(io.f32(0)) } else { Halves::Apart(io.f32(0), io.f32(1)) }
}

impl Op for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let mut shape = inputs[0].shape.clone();
        let cols = gated_cols("gated", inputs)?;
        *shape.last_mut().ok_or_else(|| Error::shape("gated", "a scalar has no halves"))? = cols;
        Ok(vec![Desc::f32(&shape)])
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let fused = cx.inputs.len() == 1;
        let out = &cx.outputs[0].desc;
        let Units { vec, n, grid } = units(cx.gpu(), out.len(), out.cols());
        let params = [n, out.cols() as u32 / if vec { 4 } else { 1 }];
        let key = KernelKey::new("gated").def("ACT", self.kind.define()).flag("FUSED", fused).flag("VEC", vec);
        let mut bufs: Vec<_> = (0..cx.inputs.len()).map(|i| cx.input(i)).collect();
        bufs.push(cx.output(0));
        cx.dispatch(key, &params, &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let fused = io.inputs.len() == 1;
        let (g, u) = (io.input(0), io.input(io.inputs.len() - 1));
        let cols = io.out_descs[0].cols();
        for i in 0..io.out_descs[0].len() {
            let (a, b) = Gated::at(fused, cols, i);
            io.add(0, i, self.kind.value(g[a]) * u[b]);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::gated(io.pool(), self.kind.curve(), io.out(0), halves(io, io.inputs() == 1), io.out_desc(0).cols());
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let ins: Vec<Val> = (0..b.inputs()).map(|i| b.input(i)).chain([dy]).collect();
        if b.inputs() == 1 {
            let dx = b.sink(0);
            return b.emit(GatedBwd { kind: self.kind, part: Part::Both }, &ins, &[dx]);
        }
        for (i, part) in [(0, Part::Gate), (1, Part::Up)] {
            if b.wants(i) {
                let dx = b.sink(i);
                b.emit(GatedBwd { kind: self.kind, part }, &ins, &[dx])?;
            }
        }
        Ok(())
    }
}

/// Which of gate and up a gradient is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Both,
    Gate,
    Up,
}

/// Gradient of [`Gated`]. Inputs: gate_up or (gate, up), then dy.
pub(super) struct GatedBwd {
    pub kind: Act,
    pub part: Part,
}

impl Op for GatedBwd {
    fn name(&self) -> &'static str {
        "gated_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let dy = &cx.inputs[cx.inputs.len() - 1].desc;
        let Units { vec, n, grid } = units(cx.gpu(), dy.len(), dy.cols());
        let params = [n, dy.cols() as u32 / if vec { 4 } else { 1 }];
        let key = KernelKey::new("gated_bwd").def("ACT", self.kind.define()).flag("VEC", vec).flag("ACC", cx.acc[0]);
        let key = match self.part {
            Part::Both => key.flag("FUSED", true),
            Part::Gate => key.def("PART", "GATE"),
            Part::Up => key.def("PART", "UP"),
        };
        let mut bufs: Vec<_> = (0..cx.inputs.len()).map(|i| cx.input(i)).collect();
        bufs.push(cx.output(0));
        cx.dispatch(key, &params, &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let last = io.inputs.len() - 1;
        let (g, u, dy) = (io.input(0), io.input(last - 1), io.input(last));
        let cols = io.descs[last].cols();
        for i in 0..dy.len() {
            let (a, b) = Gated::at(self.part == Part::Both, cols, i);
            if self.part != Part::Up {
                io.add(0, a, dy[i] * u[b] * self.kind.slope(g[a]));
            }
            if self.part != Part::Gate {
                io.add(0, b, dy[i] * self.kind.value(g[a]));
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let last = io.inputs() - 1;
        let part = match self.part {
            Part::Both => kernels::Part::Both,
            Part::Gate => kernels::Part::Gate,
            Part::Up => kernels::Part::Up,
        };
        let x = halves(io, self.part == Part::Both);
        kernels::gated_bwd(io.pool(), self.kind.curve(), part, io.out(0), x, io.f32(last), io.desc(last).cols(), io.acc(0));
        Ok(())
    }
}
