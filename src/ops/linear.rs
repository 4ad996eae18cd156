//! Linear layers over plain and quantized weights, with LoRA (Hu et al. 2021), bias and residual in the epilogue.

use std::rc::Rc;

use super::norm::{host_rms, rms};
use super::{Act, linear_cpu as cpu, matmul, pieces};
use crate::cpu::kernels::{gemm, lora};
use crate::graph::{Back, CpuIo, Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};

/// The LoRA product of one group of output rows of a (possibly fused) weight:
/// `y[:, row0..row1] += step.lora · scale · h[:, h_off..h_off + r] · Bᵀ`, B (row1 − row0, r) row-major at `b_off` of the flat B tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraSeg {
    pub row0: usize,
    pub row1: usize,
    pub h_off: usize,
    pub r: usize,
    pub b_off: usize,
    /// `lora_alpha / r`, or `lora_alpha / √r` with `use_rslora`.
    pub scale: f32,
}

/// Most segments one linear may have (q, k, v and one to spare).
pub const MAX_SEGS: usize = 4;

/// `y = x·Wᵀ (+ bias) (+ LoRA) (+ residual)`; with `glu`, `y = act(gate)·up` where W holds the gate rows and then the up rows.
///
/// With `norm`, x is normed first, as by [`super::norm::RmsNorm`] (inference only; not joined with a residual). Where the kernel for M rows
/// cannot do that itself, it is a dispatch of its own.
///
/// Inputs in this order: x (M, K), W (N, K) of any type, then if present bias (N), h (M, R) and B (flat), residual (M, N), the norm's weight (K).
/// Output: y (M, N), or (M, N/2) with `glu` (inference only; cannot be joined with a residual).
#[derive(Clone, Debug, Default)]
pub struct Linear {
    pub segs: Vec<LoraSeg>,
    pub bias: bool,
    pub lora: bool,
    pub residual: bool,
    pub glu: Option<Act>,
    /// The norm's eps.
    pub norm: Option<f32>,
}

impl Linear {
    /// `x·Wᵀ` and nothing else.
    pub fn plain() -> Self {
        Linear::default()
    }

    fn bias_at(&self) -> Option<usize> {
        self.bias.then_some(2)
    }

    fn h_at(&self) -> Option<usize> {
        self.lora.then_some(2 + usize::from(self.bias))
    }

    fn residual_at(&self) -> Option<usize> {
        self.residual.then_some(2 + usize::from(self.bias) + 2 * usize::from(self.lora))
    }

    /// (input that holds the norm's weight, eps)
    fn norm_at(&self) -> Option<(usize, f32)> {
        self.norm.map(|eps| (2 + usize::from(self.bias) + 2 * usize::from(self.lora) + usize::from(self.residual), eps))
    }
}

/// Checks that a weight's rows can be read in groups of eight, or element by element.
pub(super) fn check_weight(op: &str, x: &Desc, w: &Desc) -> Result<()> {
    if w.shape.len() != 2 || w.cols() != x.cols() {
        return Err(Error::shape(op, format!("x {:?} and weight {:?}: rows must be equally long", x.shape, w.shape)));
    }
    if w.dtype != DType::F32 && !w.cols().is_multiple_of(8) {
        return Err(Error::shape(op, format!("{} weight {:?}: rows must be a multiple of 8 long", w.dtype.name(), w.shape)));
    }
    Ok(())
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let want = 2 + usize::from(self.bias) + 2 * usize::from(self.lora) + usize::from(self.residual) + usize::from(self.norm.is_some());
        if inputs.len() != want {
            return Err(Error::shape("linear", format!("{want} inputs expected, {} given", inputs.len())));
        }
        let (x, w) = (inputs[0], inputs[1]);
        check_weight("linear", x, w)?;
        let n = w.shape[0];
        if let Some(b) = self.bias_at().map(|i| inputs[i])
            && b.len() != n
        {
            return Err(Error::shape("linear", format!("bias {:?} for {n} outputs", b.shape)));
        }
        if let Some(i) = self.h_at() {
            let (h, b) = (inputs[i], inputs[i + 1]);
            let fits =
                |s: &LoraSeg| s.row0 < s.row1 && s.row1 <= n && s.h_off + s.r <= h.cols() && s.b_off + (s.row1 - s.row0) * s.r <= b.len();
            if h.rows() != x.rows() || self.segs.len() > MAX_SEGS || !self.segs.iter().all(fits) {
                return Err(Error::shape(
                    "linear",
                    format!("LoRA segments {:?} do not fit h {:?} and B {:?}", self.segs, h.shape, b.shape),
                ));
            }
        }
        if let Some(r) = self.residual_at().map(|i| inputs[i])
            && (r.rows() != x.rows() || r.cols() != n)
        {
            return Err(Error::shape("linear", format!("residual {:?} for an output of {}×{n}", r.shape, x.rows())));
        }
        if let Some((i, _)) = self.norm_at()
            && (self.residual || inputs[i].len() != x.cols() || inputs[i].dtype != DType::F32)
        {
            return Err(Error::shape(
                "linear",
                format!("a norm's weight {:?} for rows of {} and no residual expected", inputs[i].shape, x.cols()),
            ));
        }
        if self.glu.is_some() && (self.residual || !n.is_multiple_of(2)) {
            return Err(Error::shape("linear", format!("a gated linear needs an even number of rows and no residual, {n} rows given")));
        }
        let mut shape = x.shape.clone();
        *shape.last_mut().expect("checked by cols") = if self.glu.is_some() { n / 2 } else { n };
        Ok(vec![Desc::f32(&shape)])
    }

    fn scratch(&self, inputs: &[&Desc], _outputs: &[&Desc]) -> Vec<Desc> {
        match self.norm {
            Some(_) => vec![Desc::f32(&inputs[0].shape), Desc::f32(&[inputs[0].rows()])],
            None => Vec::new(),
        }
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (mut x, w, y) = (cx.input(0), cx.inputs[1].clone(), cx.output(0));
        let (m, k) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let mut extras = matmul::Extras { glu: self.glu, segs: &self.segs, ..Default::default() };
        let bias = self.bias_at().map(|i| cx.input(i));
        extras.bias = bias.as_ref();
        let h = self.h_at().map(|i| (cx.input(i), cx.input(i + 1), cx.inputs[i].desc.cols()));
        extras.lora = h.as_ref().map(|(h, b, ldh)| (h, b, *ldh));
        let residual = self.residual_at().map(|i| cx.input(i));
        extras.residual = residual.as_ref();
        let gain = self.norm_at().map(|(i, eps)| (cx.input(i), eps));
        match &gain {
            Some((gain, eps)) if matmul::takes_norm(cx.gpu(), m) => extras.norm = Some((gain, *eps)),
            Some((gain, eps)) => {
                let (normed, r) = (cx.temp(0), cx.temp(1));
                rms(cx, (m, k), *eps, [&x, gain, &normed, &r]);
                x = normed;
            }
            None => {}
        }
        matmul::forward(cx, m, &x, &w, &y, &extras)
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (mut x, w) = (io.input(0), io.input(1));
        let (m, k, n) = (io.descs[0].rows(), io.descs[0].cols(), io.descs[1].shape[0]);
        if let Some((i, eps)) = self.norm_at() {
            let mut normed = Vec::with_capacity(x.len());
            host_rms(&x, &io.input(i), eps, |_, _, row| normed.extend(row));
            x = Rc::new(normed);
        }
        let mut y = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                y[i * n + j] = (0..k).map(|c| x[i * k + c] * w[j * k + c]).sum();
            }
        }
        if let Some(b) = self.bias_at().map(|i| io.input(i)) {
            for row in y.chunks_mut(n) {
                row.iter_mut().zip(b.iter()).for_each(|(y, b)| *y += b);
            }
        }
        if let Some(at) = self.h_at() {
            let (h, b, ldh) = (io.input(at), io.input(at + 1), io.descs[at].cols());
            for s in &self.segs {
                let scale = f64::from(s.scale) * f64::from(io.step.lora);
                for i in 0..m {
                    for j in s.row0..s.row1 {
                        let dot: f64 = (0..s.r).map(|c| h[i * ldh + s.h_off + c] * b[s.b_off + (j - s.row0) * s.r + c]).sum();
                        y[i * n + j] += scale * dot;
                    }
                }
            }
        }
        if let Some(r) = self.residual_at().map(|i| io.input(i)) {
            y.iter_mut().zip(r.iter()).for_each(|(y, r)| *y += r);
        }
        match self.glu {
            None => y.iter().enumerate().for_each(|(i, v)| io.add(0, i, *v)),
            Some(act) => {
                let f = n / 2;
                for i in 0..m * f {
                    let at = i / f * n + i % f;
                    io.add(0, i, act.value(y[at]) * y[at + f]);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (x, w, y) = (io.f32(0), io.weight(1), io.out(0));
        let extras = cpu::Extras {
            bias: self.bias_at().map(|i| io.f32(i)),
            lora: self.h_at().map(|i| (io.f32(i), io.f32(i + 1), io.desc(i).cols())),
            segs: &self.segs,
            step: io.step().lora,
            residual: self.residual_at().map(|i| io.f32(i)),
            norm: self.norm_at().map(|(i, eps)| (io.f32(i), eps)),
        };
        cpu::forward(io.pool(), io.desc(0).rows(), x, w, y, &extras, self.glu);
        Ok(())
    }

    fn differentiable(&self) -> bool {
        self.glu.is_none() && self.norm.is_none()
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        if let Some(at) = self.h_at() {
            let segs: Rc<[LoraSeg]> = self.segs.as_slice().into();
            let (h, bmat) = (b.input(at), b.input(at + 1));
            if b.wants(at) {
                let ldh = b.desc(h).cols();
                let dh = b.sink(at);
                b.emit(LoraDh { segs: segs.clone(), ldh }, &[dy, bmat], &[dh])?;
            }
            if b.wants(at + 1) {
                let shape = b.desc(bmat);
                let db = b.sink(at + 1);
                b.emit(LoraDb { segs, shape }, &[dy, h], &[db])?;
            }
        }
        if b.wants(0) {
            let w = b.input(1);
            let dx = b.sink(0);
            b.emit(LinearDx, &[dy, w], &[dx])?;
        }
        if b.wants(1) {
            let x = b.input(0);
            let dw = b.sink(1);
            b.emit(LinearDw, &[dy, x], &[dw])?;
        }
        if let Some(i) = self.bias_at().filter(|i| b.wants(*i)) {
            let db = b.sink(i);
            b.emit(ColSum, &[dy], &[db])?;
        }
        if let Some(i) = self.residual_at().filter(|i| b.wants(*i)) {
            b.alias(i, dy)?;
        }
        Ok(())
    }
}

/// `dx = dy·W`. Inputs: dy (M, N), W (N, K). Output: dx (M, K).
pub(super) struct LinearDx;

impl Op for LinearDx {
    fn name(&self) -> &'static str {
        "linear_dx"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![Desc::f32(&[inputs[0].rows(), inputs[1].cols()])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (dy, w, dx, acc) = (cx.input(0), cx.inputs[1].clone(), cx.output(0), cx.acc[0]);
        let m = cx.inputs[0].desc.rows();
        matmul::dx(cx, m, &dy, &w, &dx, acc)
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (dy, w) = (io.input(0), io.input(1));
        let (m, n, k) = (io.descs[0].rows(), io.descs[0].cols(), io.descs[1].cols());
        for i in 0..m {
            for j in 0..n {
                for c in 0..k {
                    io.add(0, i * k + c, dy[i * n + j] * w[j * k + c]);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        gemm::dx(io.pool(), io.desc(0).rows(), io.f32(0), io.weight(1), io.out(0), io.acc(0));
        Ok(())
    }
}

/// `dW += dyᵀ·x`. Inputs: dy (M, N), x (M, K). Output: dW (N, K).
struct LinearDw;

impl Op for LinearDw {
    fn name(&self) -> &'static str {
        "linear_dw"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![Desc::f32(&[inputs[0].cols(), inputs[1].cols()])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (dy, x, dw, acc) = (cx.input(0), cx.input(1), cx.output(0), cx.acc[0]);
        let (m, n, k) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols(), cx.inputs[1].desc.cols());
        matmul::dw(cx, [m, n, k], &dy, &x, &dw, acc);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (dy, x) = (io.input(0), io.input(1));
        let (m, n, k) = (io.descs[0].rows(), io.descs[0].cols(), io.descs[1].cols());
        for i in 0..m {
            for j in 0..n {
                for c in 0..k {
                    io.add(0, j * k + c, dy[i * n + j] * x[i * k + c]);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let shape = [io.desc(0).rows(), io.desc(0).cols(), io.desc(1).cols()];
        gemm::dw(io.pool(), shape, io.f32(0), io.f32(1), io.out(0), io.acc(0));
        Ok(())
    }
}

/// Gradient of h. Inputs: dy (M, N), B (flat). Output: dh (M, ldh).
struct LoraDh {
    segs: Rc<[LoraSeg]>,
    ldh: usize,
}

impl Op for LoraDh {
    fn name(&self) -> &'static str {
        "lora_dh"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![Desc::f32(&[inputs[0].rows(), self.ldh])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let m = cx.inputs[0].desc.rows();
        let params = matmul::lora_params((0, m), cx.inputs[0].desc.cols(), self.ldh, &self.segs);
        let group = !super::serial_rows(cx.gpu());
        let grid = if group { cx.gpu().grid(m * self.segs.len(), 1) } else { cx.gpu().grid(m * self.ldh, 32) };
        let key = crate::gpu::KernelKey::new("lora_dh").flag("ACC", cx.acc[0]).flag("GROUP", group);
        cx.dispatch(key, &params, &[&cx.input(0), &cx.input(1), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (dy, b) = (io.input(0), io.input(1));
        let (m, n) = (io.descs[0].rows(), io.descs[0].cols());
        for s in self.segs.iter() {
            let scale = f64::from(s.scale) * f64::from(io.step.lora);
            for i in 0..m {
                for c in 0..s.r {
                    let dot: f64 = (s.row0..s.row1).map(|j| dy[i * n + j] * b[s.b_off + (j - s.row0) * s.r + c]).sum();
                    io.add(0, i * self.ldh + s.h_off + c, scale * dot);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (dy, b, dh, add) = ((io.f32(0), io.desc(0).cols()), io.f32(1), io.out(0), io.acc(0));
        for s in self.segs.iter() {
            lora::dh(io.pool(), io.desc(0).rows(), dy, b, &cpu::seg(s, io.step().lora), (dh, self.ldh), add);
        }
        Ok(())
    }
}

/// Gradient of B. Inputs: dy (M, N), h (M, ldh). Output: dB (as `shape`).
struct LoraDb {
    segs: Rc<[LoraSeg]>,
    shape: Desc,
}

impl Op for LoraDb {
    fn name(&self) -> &'static str {
        "lora_db"
    }

    fn infer(&self, _inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![self.shape.clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (m, n, ldh) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols(), cx.inputs[1].desc.cols());
        let rows = self.segs.iter().map(|s| s.row1 - s.row0).max().unwrap_or(0);
        let group = !super::serial_rows(cx.gpu());
        let grid = [rows.div_ceil(if group { 16 } else { 32 }) as u32, self.segs.len() as u32, 1];
        let eights = self.segs.iter().map(|s| s.r.div_ceil(8)).max().unwrap_or(1);
        for (first, end) in pieces(m, eights) {
            let params = matmul::lora_params((first, end), n, ldh, &self.segs);
            let key = crate::gpu::KernelKey::new("lora_db").flag("ACC", cx.acc[0] || first > 0).flag("GROUP", group);
            cx.dispatch(key, &params, &[&cx.input(0), &cx.input(1), &cx.output(0)], grid);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (dy, h) = (io.input(0), io.input(1));
        let (m, n, ldh) = (io.descs[0].rows(), io.descs[0].cols(), io.descs[1].cols());
        for s in self.segs.iter() {
            let scale = f64::from(s.scale) * f64::from(io.step.lora);
            for j in s.row0..s.row1 {
                for c in 0..s.r {
                    let dot: f64 = (0..m).map(|i| dy[i * n + j] * h[i * ldh + s.h_off + c]).sum();
                    io.add(0, s.b_off + (j - s.row0) * s.r + c, scale * dot);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (dy, h, db, add) = ((io.f32(0), io.desc(0).cols()), (io.f32(1), io.desc(1).cols()), io.out(0), io.acc(0));
        for s in self.segs.iter() {
            lora::db(io.pool(), io.desc(0).rows(), dy, h, &cpu::seg(s, io.step().lora), db, add);
        }
        Ok(())
    }
}

/// `y[c] = Σ_rows x[row, c]`: the gradient of a bias.
pub(super) struct ColSum;

impl Op for ColSum {
    fn name(&self) -> &'static str {
        "col_sum"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![Desc::f32(&[inputs[0].cols()])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, cols) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let grid = cx.gpu().grid(cols, 64);
        for (first, end) in pieces(rows, 1) {
            let key = crate::gpu::KernelKey::new("col_sum").flag("ACC", cx.acc[0] || first > 0);
            cx.dispatch(key, &[end, cols, first].map(|v| v as u32), &[&cx.input(0), &cx.output(0)], grid);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let x = io.input(0);
        let cols = io.descs[0].cols();
        for (i, v) in x.iter().enumerate() {
            io.add(0, i % cols, *v);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (x, y) = (io.f32(0), io.out(0));
        if !io.acc(0) {
            y.fill(0.0);
        }
        for row in x.chunks_exact(y.len().max(1)) {
            y.iter_mut().zip(row).for_each(|(y, x)| *y += x);
        }
        Ok(())
    }
}
