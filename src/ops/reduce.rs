//! Softmax, and sums, means and maxima over the last axis or over everything.

use super::{row_grid, serial_rows};
use crate::cpu::kernels::reduce as kernels;
use crate::gpu::KernelKey;
use crate::graph::{Back, CpuIo, Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};

/// `y = softmax(x)` over the last axis. Inputs: x (…, C) and, if given, lengths (rows) u32: only so many elements of a row are there, the
/// others give 0, and a row of length 0 is all zeros.
#[derive(Clone, Copy, Debug)]
pub struct Softmax;

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        if let Some(lengths) = inputs.get(1)
            && (lengths.dtype != DType::U32 || lengths.len() != inputs[0].rows())
        {
            return Err(Error::shape("softmax", format!("lengths {lengths:?} for rows of {:?}", inputs[0].shape)));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, cols) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let key = KernelKey::new("softmax").flag("SERIAL", serial_rows(cx.gpu())).flag("LENGTHS", cx.inputs.len() == 2);
        let mut bufs: Vec<_> = (0..cx.inputs.len()).map(|i| cx.input(i)).collect();
        bufs.push(cx.output(0));
        let grid = row_grid(cx.gpu(), rows);
        cx.dispatch(key, &[rows as u32, cols as u32], &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let x = io.input(0);
        let cols = io.descs[0].cols();
        for row in 0..io.descs[0].rows() {
            let n = io.inputs.get(1).map_or(cols, |l| (l[row] as usize).min(cols));
            let x = &x[row * cols..row * cols + n];
            let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = x.iter().map(|v| (v - top).exp()).sum();
            for (i, v) in x.iter().enumerate() {
                io.add(0, row * cols + i, (v - top).exp() / sum);
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let lengths = (io.inputs() == 2).then(|| io.u32(1));
        kernels::softmax(io.pool(), io.out(0), io.f32(0), lengths, io.desc(0).cols());
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let y = b.output(0);
        let dx = b.sink(0);
        b.emit(SoftmaxBwd, &[y, dy], &[dx])
    }
}

/// `dx = y·(dy − Σ dy·y)`. Inputs: y, dy.
struct SoftmaxBwd;

impl Op for SoftmaxBwd {
    fn name(&self) -> &'static str {
        "softmax_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, cols) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let key = KernelKey::new("softmax_bwd").flag("SERIAL", serial_rows(cx.gpu())).flag("ACC", cx.acc[0]);
        let grid = row_grid(cx.gpu(), rows);
        cx.dispatch(key, &[rows as u32, cols as u32], &[&cx.input(0), &cx.input(1), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (y, dy) = (io.input(0), io.input(1));
        let cols = io.descs[0].cols();
        for row in 0..io.descs[0].rows() {
            let at = row * cols;
            let dot: f64 = (at..at + cols).map(|i| y[i] * dy[i]).sum();
            for i in at..at + cols {
                io.add(0, i, y[i] * (dy[i] - dot));
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::softmax_bwd(io.pool(), io.out(0), io.f32(0), io.f32(1), io.desc(0).cols(), io.acc(0));
        Ok(())
    }
}

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    Sum,
    Mean,
    /// Elements that are equally large share the gradient.
    Max,
}

/// Sum, mean or maximum over the last axis (…, C) → (rows), or over everything → (1). The maximum has a second output, how often it
/// occurs, which its backward pass needs and which carries no gradient.
#[derive(Clone, Copy, Debug)]
pub struct Reduce {
    pub fold: Fold,
    pub all: bool,
}

/// Elements of a part of the first stage over everything.
const PART: usize = 1024;

impl Reduce {
    /// (rows, elements of a row).
    fn rows(&self, x: &Desc) -> (usize, usize) {
        if self.all { (1, x.len()) } else { (x.rows(), x.cols()) }
    }

    fn scale(&self, cols: usize) -> f64 {
        if self.fold == Fold::Mean { 1.0 / cols as f64 } else { 1.0 }
    }
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        "reduce"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (rows, cols) = self.rows(inputs[0]);
        if cols == 0 {
            return Err(Error::shape("reduce", format!("nothing to reduce in {:?}", inputs[0].shape)));
        }
        Ok(vec![Desc::f32(&[rows]); if self.fold == Fold::Max { 2 } else { 1 }])
    }

    fn scratch(&self, inputs: &[&Desc], _outputs: &[&Desc]) -> Vec<Desc> {
        let n = inputs[0].len();
        if self.all && n > PART { vec![Desc::f32(&[n.div_ceil(PART)]); 2] } else { Vec::new() }
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (mut rows, mut cols) = self.rows(&cx.inputs[0].desc);
        let scale = self.scale(cols) as f32;
        let max = self.fold == Fold::Max;
        let key = KernelKey::new("reduce").flag("SERIAL", serial_rows(cx.gpu())).flag("MAX", max);
        let params = |rows: usize, cols: usize, n: usize, scale: f32| [rows as u32, cols as u32, n as u32, scale.to_bits()];
        let mut source = vec![cx.input(0)];
        let staged = !cx.scratch.is_empty();
        if staged {
            (rows, cols) = (cols.div_ceil(PART), PART);
            let n = cx.inputs[0].desc.len();
            let grid = row_grid(cx.gpu(), rows);
            let target = if max { vec![cx.temp(0), cx.temp(1)] } else { vec![cx.temp(0)] };
            let bufs: Vec<_> = source.iter().chain(&target).collect();
            cx.dispatch(key.clone(), &params(rows, cols, n, 1.0), &bufs, grid);
            source = target;
            (rows, cols) = (1, rows);
        }
        let mut bufs: Vec<_> = source.iter().collect();
        let outs: Vec<_> = (0..cx.outputs.len()).map(|i| cx.output(i)).collect();
        bufs.extend(&outs);
        let grid = row_grid(cx.gpu(), rows);
        cx.dispatch(key.flag("PAIRS", staged && max), &params(rows, cols, rows * cols, scale), &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let x = io.input(0);
        let (_, cols) = self.rows(&io.descs[0]);
        for (row, x) in x.chunks(cols).enumerate() {
            if self.fold == Fold::Max {
                let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                io.add(0, row, top);
                io.add(1, row, x.iter().filter(|v| **v == top).count() as f64);
            } else {
                io.add(0, row, x.iter().sum::<f64>() * self.scale(cols));
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (_, cols) = self.rows(io.desc(0));
        if self.fold == Fold::Max {
            kernels::max(io.pool(), io.out(0), io.out(1), io.f32(0), cols);
        } else {
            kernels::sum(io.pool(), io.out(0), io.f32(0), cols, self.scale(cols));
        }
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let x = b.input(0);
        let desc = b.desc(x);
        let (_, cols) = self.rows(&desc);
        let mut ins = vec![dy];
        if self.fold == Fold::Max {
            ins.extend([x, b.output(0), b.output(1)]);
        }
        let dx = b.sink(0);
        b.emit(ReduceBwd { shape: desc.shape, cols, scale: self.scale(cols) }, &ins, &[dx])
    }
}

/// Gradient of [`Reduce`]. Inputs: dy, and for the maximum x, y and counts.
struct ReduceBwd {
    shape: Vec<usize>,
    cols: usize,
    scale: f64,
}

impl Op for ReduceBwd {
    fn name(&self) -> &'static str {
        "reduce_bwd"
    }

    fn infer(&self, _inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![Desc::f32(&self.shape)])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let n = cx.outputs[0].desc.len();
        let key = KernelKey::new("reduce_bwd").flag("MAX", cx.inputs.len() > 1).flag("ACC", cx.acc[0]);
        let mut bufs: Vec<_> = (0..cx.inputs.len()).map(|i| cx.input(i)).collect();
        bufs.push(cx.output(0));
        let grid = cx.gpu().grid(n, 64);
        let params = [n as u32, self.cols as u32, (self.scale as f32).to_bits()];
        cx.dispatch(key, &params, &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let dy = io.input(0);
        for i in 0..io.out_descs[0].len() {
            let row = i / self.cols;
            if io.inputs.len() == 1 {
                io.add(0, i, dy[row] * self.scale);
            } else if io.inputs[1][i] == io.inputs[2][row] {
                io.add(0, i, dy[row] / io.inputs[3][row]);
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        if io.inputs() == 1 {
            kernels::sum_bwd(io.pool(), io.out(0), io.f32(0), self.cols, self.scale as f32, io.acc(0));
        } else {
            let maxima = kernels::Maxima { x: io.f32(1), y: io.f32(2), count: io.f32(3) };
            kernels::max_bwd(io.pool(), io.out(0), io.f32(0), maxima, self.cols, io.acc(0));
        }
        Ok(())
    }
}
