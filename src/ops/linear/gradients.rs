//! The backward passes of [`super::Linear`].

use std::rc::Rc;

use super::lora::LoraSeg;
use super::{cpu, select};
use crate::Result;
use crate::cpu::kernels::{gemm, lora};
use crate::gpu::KernelKey;
use crate::graph::{Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::ops::{pieces, serial_rows};

/// Adds `dy·W` of [m, n, k] to output 0.
fn host_dx(io: &mut HostIo<'_>, (dy, w): (&[f64], &[f64]), [m, n, k]: [usize; 3]) {
    for i in 0..m {
        for j in 0..n {
            for c in 0..k {
                io.add(0, i * k + c, dy[i * n + j] * w[j * k + c]);
            }
        }
    }
}

/// Adds `dyᵀ·x` of [m, n, k] to output `to`.
fn host_dw(io: &mut HostIo<'_>, to: usize, (dy, x): (&[f64], &[f64]), [m, n, k]: [usize; 3]) {
    for i in 0..m {
        for j in 0..n {
            for c in 0..k {
                io.add(to, j * k + c, dy[i * n + j] * x[i * k + c]);
            }
        }
    }
}

/// Of `dx = dy·W`, with dy and W in front.
fn dx_cost(io: &CpuIo<'_>) -> Cost {
    let (dy, w) = (io.desc(0), io.desc(1));
    select::product([dy.rows(), dy.cols(), w.cols()], w.file_bytes())
}

/// `dx = dy·W`. Inputs: dy (M, N), W (N, K). Output: dx (M, K).
pub(crate) struct LinearDx;

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
        select::dx(cx, m, &dy, &w, &dx, acc, None)
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (dy, w) = (io.input(0), io.input(1));
        let shape = [io.descs[0].rows(), io.descs[0].cols(), io.descs[1].cols()];
        host_dx(io, (&dy, &w), shape);
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        gemm::dx(io.pool(), io.desc(0).rows(), io.f32(0), io.weight(1), io.out(0), io.acc(0));
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        dx_cost(io)
    }
}

/// `dW += dyᵀ·x`. Inputs: dy (M, N), x (M, K). Output: dW (N, K).
pub(super) struct LinearDw;

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
        select::dw(cx, [m, n, k], &dy, &x, &dw, acc);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (dy, x) = (io.input(0), io.input(1));
        let shape = [io.descs[0].rows(), io.descs[0].cols(), io.descs[1].cols()];
        host_dw(io, 0, (&dy, &x), shape);
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let shape = [io.desc(0).rows(), io.desc(0).cols(), io.desc(1).cols()];
        gemm::dw(io.pool(), shape, io.f32(0), io.f32(1), io.out(0), io.acc(0));
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        select::product([io.desc(0).rows(), io.desc(0).cols(), io.desc(1).cols()], io.out_desc(0).file_bytes())
    }
}

/// `dx = dy·W + dh·A` and `dA += dhᵀ·x`: what is left of a linear's backward pass once the gradient of its h is there.
/// Inputs: dy (M, N), W (N, K), dh (M, R), A (R, K), x (M, K). Outputs: dx (M, K), dA (R, K).
pub(super) struct LinearDxDa;

impl Op for LinearDxDa {
    fn name(&self) -> &'static str {
        "linear_dx_da"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![Desc::f32(&[inputs[0].rows(), inputs[1].cols()]), inputs[3].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (dy, w, dx, da) = (cx.input(0), cx.inputs[1].clone(), cx.output(0), cx.output(1));
        let (dh, a, x) = (cx.input(2), cx.input(3), cx.input(4));
        let low = select::LowDx { dh: &dh, a: &a, x: &x, da: &da, r: cx.inputs[3].desc.rows(), acc: cx.acc[1] };
        let (m, acc) = (cx.inputs[0].desc.rows(), cx.acc[0]);
        select::dx(cx, m, &dy, &w, &dx, acc, Some(&low))
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let [dy, w, dh, a, x] = [0, 1, 2, 3, 4].map(|i| io.input(i));
        let (m, n, k, r) = (io.descs[0].rows(), io.descs[0].cols(), io.descs[1].cols(), io.descs[3].rows());
        host_dx(io, (&dy, &w), [m, n, k]);
        host_dx(io, (&dh, &a), [m, r, k]);
        host_dw(io, 1, (&dh, &x), [m, r, k]);
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (m, r, k) = (io.desc(0).rows(), io.desc(3).rows(), io.desc(1).cols());
        let dx = io.out(0);
        gemm::dx(io.pool(), m, io.f32(0), io.weight(1), dx, io.acc(0));
        gemm::dx(io.pool(), m, io.f32(2), io.weight(3), dx, true);
        gemm::dw(io.pool(), [m, r, k], io.f32(2), io.f32(4), io.out(1), io.acc(1));
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        dx_cost(io) + select::low_product([io.desc(0).rows(), io.desc(3).rows(), io.desc(1).cols()])
    }
}

/// Gradients of h and of B. Inputs: dy (M, N), B (flat), h (M, R). Outputs: dh (M, R), dB (as B).
pub(super) struct LoraGrads {
    pub segs: Rc<[LoraSeg]>,
}

impl LoraGrads {
    /// dh and dB, for which dy is read once.
    fn work(&self, dy: &Desc, b: &Desc, h: &Desc) -> Cost {
        let products: usize = self.segs.iter().map(|s| (s.row1 - s.row0) * s.r).sum();
        Cost { flops: 4.0 * (dy.rows() * products) as f64, bytes: 4.0 * (dy.len() + 2 * (b.len() + h.len())) as f64 }
    }
}

impl Op for LoraGrads {
    fn name(&self) -> &'static str {
        "lora_grads"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[2].clone(), inputs[1].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (m, n, ldh) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols(), cx.inputs[2].desc.cols());
        let rows = self.segs.iter().map(|s| s.row1 - s.row0).max().unwrap_or(0);
        let eights = self.segs.iter().map(|s| s.r.div_ceil(8)).max().unwrap_or(1);
        let group = !serial_rows(cx.gpu());
        let nseg = self.segs.len();
        // Workgroups for B and, behind them, for h.
        let (for_b, for_h) =
            if group { (rows.div_ceil(16) * nseg, m * nseg) } else { (rows.div_ceil(32) * nseg, (m * nseg * eights).div_ceil(32)) };
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.output(0), &cx.output(1)];
        for (first, end) in pieces(m, eights) {
            // A piece behind the first has sums of B only.
            let groups = for_b + if first == 0 { for_h } else { 0 };
            let mut params = [end, n, ldh, nseg, first, for_b, m].map(|v| v as u32).to_vec();
            params.push(0);
            select::seg_words(&self.segs, &mut params);
            let key = KernelKey::new("lora_grads").flag("ACC_H", cx.acc[0]).flag("ACC_B", cx.acc[1] || first > 0).flag("GROUP", group);
            cx.dispatch(key, &params, &bufs, cx.gpu().grid(groups, 1));
            let all = self.work(&cx.inputs[0].desc, &cx.inputs[1].desc, &cx.inputs[2].desc);
            cx.cost(all * ((end - first) as f64 / m.max(1) as f64));
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (dy, b, h) = (io.input(0), io.input(1), io.input(2));
        let (m, n, ldh) = (io.descs[0].rows(), io.descs[0].cols(), io.descs[2].cols());
        for s in self.segs.iter() {
            let scale = f64::from(s.scale) * f64::from(io.step.lora);
            for c in 0..s.r {
                for i in 0..m {
                    let dot: f64 = (s.row0..s.row1).map(|j| dy[i * n + j] * b[s.b_off + (j - s.row0) * s.r + c]).sum();
                    io.add(0, i * ldh + s.h_off + c, scale * dot);
                }
                for j in s.row0..s.row1 {
                    let dot: f64 = (0..m).map(|i| dy[i * n + j] * h[i * ldh + s.h_off + c]).sum();
                    io.add(1, s.b_off + (j - s.row0) * s.r + c, scale * dot);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (m, dy, ldh) = (io.desc(0).rows(), (io.f32(0), io.desc(0).cols()), io.desc(2).cols());
        let (dh, db) = (io.out(0), io.out(1));
        for s in self.segs.iter() {
            let seg = cpu::seg(s, io.step().lora);
            lora::dh(io.pool(), m, dy, io.f32(1), &seg, (dh, ldh), io.acc(0));
            lora::db(io.pool(), m, dy, (io.f32(2), ldh), &seg, db, io.acc(1));
        }
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.work(io.desc(0), io.desc(1), io.desc(2))
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
            let key = KernelKey::new("col_sum").flag("ACC", cx.acc[0] || first > 0);
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
