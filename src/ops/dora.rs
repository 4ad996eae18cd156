//! DoRA (Liu et al. 2024): a linear's output scaled row by row of its weight, `m / ‖W + s·B·A‖`, m being learned.

use std::rc::Rc;

use super::linear::LoraSeg;
use crate::cpu::kernels::dora as kernels;
use crate::gpu::KernelKey;
use crate::graph::{Back, CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// `norm[j] = ‖W_j + s·B_j·A‖` from `‖W_j‖²`, `A·Wᵀ` and `A·Aᵀ`, so that W is read by a product of few rows alone; 0 for rows of no segment. It has no
/// gradient.
///
/// Inputs: squares (N), `‖W_j‖²`; p (R, N) = A·Wᵀ; gram (R, R) = A·Aᵀ; b (flat). Output: (N).
#[derive(Clone, Debug)]
pub struct DoraNorm {
    pub segs: Rc<[LoraSeg]>,
}

impl Op for DoraNorm {
    fn name(&self) -> &'static str {
        "dora_norm"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (squares, p, gram, b) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        let (n, r) = (squares.len(), p.rows());
        let fits =
            |s: &LoraSeg| s.row0 < s.row1 && s.row1 <= n && s.h_off + s.r <= r && s.b_off + (s.row1 - s.row0) * s.r <= b.len() && s.r > 0;
        if p.cols() != n || gram.len() != r * r || !self.segs.iter().all(fits) {
            let shapes: Vec<_> = inputs.iter().map(|d| &d.shape).collect();
            return Err(Error::shape("dora_norm", format!("squares, products, gram and B are {shapes:?}, segments {:?}", self.segs)));
        }
        Ok(vec![Desc::f32(&[n])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (n, r) = (cx.outputs[0].desc.len(), cx.inputs[1].desc.rows());
        let grid = cx.gpu().grid(n, 64);
        cx.dispatch(KernelKey::new("fill"), &[n as u32, 0f32.to_bits()], &[&cx.output(0)], grid);
        for s in self.segs.iter() {
            let rows = s.row1 - s.row0;
            let params = [rows as u32, s.row0 as u32, s.h_off as u32, s.r as u32, s.b_off as u32, s.scale.to_bits(), r as u32, n as u32];
            let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.input(3), &cx.output(0)];
            let grid = cx.gpu().grid(rows, 64);
            cx.dispatch(KernelKey::new("dora_norm"), &params, &bufs, grid);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let [squares, p, gram, b] = [0, 1, 2, 3].map(|i| io.input(i));
        let (n, r) = (squares.len(), io.descs[1].rows());
        for s in self.segs.iter() {
            for (i, b) in b[s.b_off..s.b_off + (s.row1 - s.row0) * s.r].chunks(s.r).enumerate() {
                let (j, scale) = (s.row0 + i, f64::from(s.scale));
                let mut sum = squares[j];
                for (k, x) in b.iter().enumerate() {
                    let along: f64 = b.iter().enumerate().map(|(l, y)| y * gram[(s.h_off + k) * r + s.h_off + l]).sum();
                    sum += scale * x * (2.0 * p[(s.h_off + k) * n + j] + scale * along);
                }
                io.add(0, j, sum.max(0.0).sqrt());
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (n, r) = (io.desc(0).len(), io.desc(1).rows());
        let out = io.out(0);
        out.fill(0.0);
        for s in self.segs.iter() {
            let part = kernels::Part { row0: s.row0, h_off: s.h_off, r: s.r, scale: s.scale, ranks: r, rows: n };
            let b = &io.f32(3)[s.b_off..s.b_off + (s.row1 - s.row0) * s.r];
            kernels::norms(&mut out[s.row0..s.row1], part, io.f32(0), io.f32(1), io.f32(2), b);
        }
        Ok(())
    }
}

/// `y[:, j] = x[:, j]·m[j] / norm[j] (+ bias[j])`; x itself where norm is 0.
///
/// Inputs: x (M, N), m (N values), norm (N), then if present bias (N). Output: (M, N). norm and bias have no gradient.
#[derive(Clone, Copy, Debug)]
pub struct DoraScale {
    pub bias: bool,
}

impl Op for DoraScale {
    fn name(&self) -> &'static str {
        "dora_scale"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let n = inputs[0].cols();
        if inputs.len() != 3 + usize::from(self.bias) || inputs[1..].iter().any(|d| d.len() != n) {
            let shapes: Vec<_> = inputs.iter().map(|d| &d.shape).collect();
            return Err(Error::shape("dora_scale", format!("inputs are {shapes:?}, expected (M, N) and then N values each")));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (len, n) = (cx.inputs[0].desc.len(), cx.inputs[0].desc.cols());
        let key = KernelKey::new("dora_scale").flag("BIAS", self.bias).flag("ACC", cx.acc[0]);
        let mut bufs: Vec<_> = (0..cx.inputs.len()).map(|i| cx.input(i)).collect();
        bufs.push(cx.output(0));
        let grid = if len == 0 { [0; 3] } else { cx.gpu().grid(len, 64) };
        cx.dispatch(key, &[len as u32, n as u32], &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let [x, m, norm] = [0, 1, 2].map(|i| io.input(i));
        let bias = self.bias.then(|| io.input(3));
        for (i, v) in x.iter().enumerate() {
            let j = i % norm.len();
            let y = if norm[j] > 0.0 { v * m[j] / norm[j] } else { *v };
            io.add(0, i, y + bias.as_ref().map_or(0.0, |b| b[j]));
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let bias = self.bias.then(|| io.f32(3));
        kernels::scale(io.pool(), io.out(0), io.f32(0), [io.f32(1), io.f32(2)], bias, io.acc(0));
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let [x, m, norm] = [0, 1, 2].map(|i| b.input(i));
        if b.wants(1) {
            let dm = b.sink(1);
            b.emit(DoraScaleDm { shape: b.desc(m).shape }, &[dy, x, norm], &[dm])?;
        }
        if b.wants(0) {
            let dx = b.sink(0);
            b.emit(DoraScale { bias: false }, &[dy, m, norm], &[dx])?;
        }
        Ok(())
    }
}

/// `dm[j] = Σ dy[:, j]·x[:, j] / norm[j]`; 0 where norm is 0. Inputs: dy (M, N), x (M, N), norm (N). Output: N values.
struct DoraScaleDm {
    shape: Vec<usize>,
}

impl Op for DoraScaleDm {
    fn name(&self) -> &'static str {
        "dora_scale_dm"
    }

    fn infer(&self, _inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![Desc::f32(&self.shape)])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (m, n) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.output(0)];
        let grid = cx.gpu().grid(n, 64);
        cx.dispatch(KernelKey::new("dora_scale_dm").flag("ACC", cx.acc[0]), &[m as u32, n as u32], &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let [dy, x, norm] = [0, 1, 2].map(|i| io.input(i));
        for (i, (d, x)) in dy.iter().zip(x.iter()).enumerate() {
            let j = i % norm.len();
            if norm[j] > 0.0 {
                io.add(0, j, d * x / norm[j]);
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::magnitudes(io.out(0), io.f32(0), io.f32(1), io.f32(2), io.acc(0));
        Ok(())
    }
}
