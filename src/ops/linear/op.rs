//! Linear layers over plain and quantized weights, with LoRA (Hu et al. 2021), bias and residual in the epilogue.

use std::rc::Rc;

use super::gradients::{ColSum, LinearDw, LinearDx, LinearDxDa, LoraGrads};
use super::lora::{LoraSeg, Low, MAX_SEGS};
use super::{cpu, select};
use crate::cpu::kernels::{gemm, norm};
use crate::cpu::scratch;
use crate::graph::{Back, Cost, CpuIo, Desc, HostIo, Lower, Op, Val};
use crate::ops::Act;
use crate::ops::activation::{GatedBwd, Part};
use crate::ops::norm::{RmsNorm, host_rms, rms, rms_cost};
use crate::tensor::DType;
use crate::{Error, Result};

/// `y = x·Wᵀ (+ bias) (+ LoRA) (+ residual)`; with `glu`, `y = act(gate)·up` where W holds the gate rows and then the up rows.
///
/// With `norm`, x is normed first, as by [`crate::ops::norm::RmsNorm`], for W and for A (inference only; not joined with a residual). Where the
/// kernel for M rows cannot do that itself, it is a dispatch of its own.
///
/// Inputs in this order: x (M, K), W (N, K) of any type, then if present bias (N), h (M, R) or A (R, K), B (flat), residual (M, N), the norm's
/// weight (K). Outputs: y (M, N), or (M, N/2) with `glu` (cannot be joined with a residual); with [`Low::Made`] h (M, R); with `keep`
/// what the activation was given (M, N).
#[derive(Clone, Debug, Default)]
pub struct Linear {
    pub segs: Vec<LoraSeg>,
    pub bias: bool,
    pub lora: Option<Low>,
    pub residual: bool,
    pub glu: Option<Act>,
    /// With `glu`: gate and up are an output, for the backward pass.
    pub keep: bool,
    /// What x passes first.
    pub norm: Option<RmsNorm>,
}

impl Linear {
    /// `x·Wᵀ` and nothing else.
    pub fn plain() -> Self {
        Linear::default()
    }

    fn bias_at(&self) -> Option<usize> {
        self.bias.then_some(2)
    }

    /// Input of h or A; B is the next one.
    fn lora_at(&self) -> Option<usize> {
        self.lora.map(|_| self.behind_bias())
    }

    fn made(&self) -> bool {
        self.lora == Some(Low::Made)
    }

    fn behind_bias(&self) -> usize {
        2 + usize::from(self.bias)
    }

    fn behind_lora(&self) -> usize {
        self.behind_bias() + 2 * usize::from(self.lora.is_some())
    }

    fn residual_at(&self) -> Option<usize> {
        self.residual.then_some(self.behind_lora())
    }

    /// (input that holds the norm's weight, the norm)
    fn norm_at(&self) -> Option<(usize, RmsNorm)> {
        self.norm.map(|norm| (self.behind_lora() + usize::from(self.residual), norm))
    }

    /// Output that holds gate and up.
    fn kept_at(&self) -> Option<usize> {
        self.keep.then_some(1 + usize::from(self.made()))
    }
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let want = self.behind_lora() + usize::from(self.residual) + usize::from(self.norm.is_some());
        if inputs.len() != want {
            return Err(Error::shape("linear", format!("{want} inputs expected, {} given", inputs.len())));
        }
        let (x, w) = (inputs[0], inputs[1]);
        select::check_weight("linear", x, w)?;
        let n = w.shape[0];
        if let Some(b) = self.bias_at().map(|i| inputs[i])
            && b.len() != n
        {
            return Err(Error::shape("linear", format!("bias {:?} for {n} outputs", b.shape)));
        }
        if let Some(i) = self.lora_at() {
            let (h, b) = (inputs[i], inputs[i + 1]);
            let (rank, whole) = if self.made() { (h.rows(), h.cols() == x.cols()) } else { (h.cols(), h.rows() == x.rows()) };
            let fits =
                |s: &LoraSeg| s.row0 < s.row1 && s.row1 <= n && s.h_off + s.r <= rank && s.b_off + (s.row1 - s.row0) * s.r <= b.len();
            if !whole || self.segs.len() > MAX_SEGS || !self.segs.iter().all(fits) {
                let name = if self.made() { "A" } else { "h" };
                return Err(Error::shape(
                    "linear",
                    format!("LoRA segments {:?} do not fit {name} {:?} and B {:?}", self.segs, h.shape, b.shape),
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
        if self.keep && (self.glu.is_none() || self.norm.is_some()) {
            return Err(Error::shape("linear", "gate and up are kept of a gated linear without a norm"));
        }
        let wide = |cols: usize| {
            let mut shape = x.shape.clone();
            *shape.last_mut().expect("checked by cols") = cols;
            Desc::f32(&shape)
        };
        let mut outs = vec![wide(if self.glu.is_some() { n / 2 } else { n })];
        outs.extend(self.lora_at().filter(|_| self.made()).map(|i| wide(inputs[i].rows())));
        outs.extend(self.kept_at().map(|_| wide(n)));
        Ok(outs)
    }

    fn scratch(&self, inputs: &[&Desc], _outputs: &[&Desc]) -> Vec<Desc> {
        match self.norm {
            Some(_) => vec![Desc::f32(&inputs[0].shape), Desc::f32(&[inputs[0].rows()])],
            None => Vec::new(),
        }
    }

    fn halves(&self, i: usize) -> bool {
        i == 0 || Some(i) == self.kept_at()
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (mut x, w, y) = (cx.input(0), cx.inputs[1].clone(), cx.output(0));
        let (m, k) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let gain = self.norm_at().map(|(i, norm)| (cx.input(i), norm));
        let mut norm = gain.as_ref().map(|(gain, norm)| (gain, *norm));
        if let Some((gain, own)) = norm.filter(|_| !select::takes_norm(cx.gpu(), m)) {
            let (normed, r) = (cx.temp(0), cx.temp(1));
            rms(cx, (m, k), own, [&x, gain, &normed, &r]);
            (x, norm) = (normed, None);
        }
        let h = match self.lora_at() {
            Some(i) if self.made() => {
                let (a, h) = (cx.inputs[i].clone(), cx.output(1));
                select::forward(cx, m, &x, &a, &h, &select::Extras { norm, ..Default::default() })?;
                Some((h, cx.input(i + 1), a.desc.rows()))
            }
            at => at.map(|i| (cx.input(i), cx.input(i + 1), cx.inputs[i].desc.cols())),
        };
        let [bias, residual] = [self.bias_at(), self.residual_at()].map(|at| at.map(|i| cx.input(i)));
        let kept = self.kept_at().map(|i| cx.output(i));
        let extras = select::Extras {
            bias: bias.as_ref(),
            lora: h.as_ref().map(|(h, b, ldh)| (h, b, *ldh)),
            segs: &self.segs,
            residual: residual.as_ref(),
            glu: self.glu,
            kept: kept.as_ref(),
            norm,
        };
        select::forward(cx, m, &x, &w, &y, &extras)
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (mut x, w) = (io.input(0), io.input(1));
        let (m, k, n) = (io.descs[0].rows(), io.descs[0].cols(), io.descs[1].shape[0]);
        if let Some((i, norm)) = self.norm_at() {
            let mut normed = Vec::with_capacity(x.len());
            host_rms(&x, &io.input(i), norm, |_, _, row| normed.extend(row));
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
        if let Some(at) = self.lora_at() {
            let (mut h, b, mut ldh) = (io.input(at), io.input(at + 1), io.descs[at].cols());
            if self.made() {
                ldh = io.descs[at].rows();
                h = Rc::new((0..m * ldh).map(|i| (0..k).map(|c| x[i / ldh * k + c] * h[i % ldh * k + c]).sum()).collect());
                h.iter().enumerate().for_each(|(i, v)| io.add(1, i, *v));
            }
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
                if let Some(kept) = self.kept_at() {
                    y.iter().enumerate().for_each(|(i, v)| io.add(kept, i, *v));
                }
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
        let (x, m) = (io.f32(0), io.desc(0).rows());
        match self.norm_at() {
            None => self.cpu_over(io, m, x),
            Some((i, own)) => scratch::with(x.len() + m, |mem| {
                let (normed, r) = mem.split_at_mut(x.len());
                norm::rms(io.pool(), normed, r, x, io.f32(i), (own.eps, own.offset));
                self.cpu_over(io, m, normed);
            }),
        }
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        let (x, w) = (io.desc(0), io.desc(1));
        let (m, n, k) = (x.rows(), w.shape[0], x.cols());
        let mut cost = select::product_with([m, 0, n, k], w.file_bytes(), &self.segs, self.glu.is_some(), self.keep);
        if let Some(a) = self.lora_at().filter(|_| self.made()).map(|i| io.desc(i)) {
            cost = cost + select::product([m, a.rows(), k], a.file_bytes());
        }
        if self.norm.is_some() {
            cost = cost + rms_cost(x.len());
        }
        cost
    }

    fn differentiable(&self) -> bool {
        (self.glu.is_none() || self.keep) && self.norm.is_none()
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(mut dy) = b.dout(0) else { return Ok(()) };
        if let (Some(kind), Some(i)) = (self.glu, self.kept_at()) {
            let kept = b.output(i);
            let desc = b.desc(kept);
            let d = b.temp(desc);
            b.emit(GatedBwd { kind, part: Part::Both }, &[kept, dy], &[(d, false)])?;
            dy = d;
        }
        let mut through_a = None;
        if let Some(at) = self.lora_at() {
            through_a = self.lora_backward(b, dy, at)?;
        }
        match (through_a, b.wants(0)) {
            (Some((dh, a)), true) => {
                let (x, w) = (b.input(0), b.input(1));
                let (dx, da) = (b.sink(0), b.sink_or_temp(a));
                let low = b.input(a);
                b.emit(LinearDxDa, &[dy, w, dh, low, x], &[dx, da])?;
            }
            (Some((dh, a)), false) if b.wants(a) => {
                let x = b.input(0);
                let da = b.sink(a);
                b.emit(LinearDw, &[dh, x], &[da])?;
            }
            (None, true) => {
                let w = b.input(1);
                let dx = b.sink(0);
                b.emit(LinearDx, &[dy, w], &[dx])?;
            }
            _ => {}
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

impl Linear {
    /// The layer on the processor, for x that is normed already.
    fn cpu_over(&self, io: &mut CpuIo<'_>, m: usize, x: &[f32]) {
        let (w, y) = (io.weight(1), io.out(0));
        let low = match self.lora_at() {
            Some(i) if self.made() => {
                let (h, r) = (io.out(1), io.desc(i).rows());
                gemm::forward(io.pool(), m, x, io.weight(i), h, (0, r));
                Some((&*h, io.f32(i + 1), r))
            }
            at => at.map(|i| (io.f32(i), io.f32(i + 1), io.desc(i).cols())),
        };
        let extras = cpu::Extras {
            bias: self.bias_at().map(|i| io.f32(i)),
            lora: low,
            segs: &self.segs,
            step: io.step().lora,
            residual: self.residual_at().map(|i| io.f32(i)),
        };
        cpu::forward(io.pool(), m, x, w, y, &extras, self.glu, self.kept_at().map(|i| io.out(i)));
    }

    /// Records the gradients of h and B, which lie at `at` (h or A) and behind it. Where the op made h itself: (dh, input of A), for what is
    /// left to be done.
    fn lora_backward(&self, b: &mut Back<'_>, dy: Val, at: usize) -> Result<Option<(Val, usize)>> {
        let made = self.made();
        let inner = b.wants(at) || made && b.wants(0);
        if !inner && !b.wants(at + 1) {
            return Ok(None);
        }
        let (h, bmat) = (if made { b.output(1) } else { b.input(at) }, b.input(at + 1));
        let dh = if made {
            let desc = b.desc(h);
            (b.temp(desc), false)
        } else {
            b.sink_or_temp(at)
        };
        let db = b.sink_or_temp(at + 1);
        b.emit(LoraGrads { segs: self.segs.as_slice().into() }, &[dy, bmat, h], &[dh, db])?;
        Ok((made && inner).then_some((dh.0, at)))
    }
}
