//! The cell of an LSTM (Hochreiter & Schmidhuber 1997), which P-tuning makes virtual tokens with.

use crate::cpu::kernels::lstm as kernels;
use crate::gpu::KernelKey;
use crate::graph::{Back, CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// `c′ = σ(f)·c + σ(i)·tanh(g)`, `h = σ(o)·tanh(c′)`.
///
/// Inputs: gates (B, 4H), a row being i, f, g, o as in PyTorch; c (B, H), which is 0 where it is left out. Outputs: h (B, H), c′ (B, H).
#[derive(Clone, Copy, Debug)]
pub struct LstmCell;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Op for LstmCell {
    fn name(&self) -> &'static str {
        "lstm_cell"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (rows, cols) = (inputs[0].rows(), inputs[0].cols());
        if !cols.is_multiple_of(4) || inputs.get(1).is_some_and(|c| c.len() * 4 != inputs[0].len()) {
            let shapes: Vec<_> = inputs.iter().map(|d| &d.shape).collect();
            return Err(Error::shape("lstm_cell", format!("gates and cell are {shapes:?}, expected (B, 4H) and (B, H)")));
        }
        let out = Desc::f32(&[rows, cols / 4]);
        Ok(vec![out.clone(), out])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let n = cx.outputs[0].desc.len();
        let key = KernelKey::new("lstm_cell").flag("PREV", cx.inputs.len() == 2);
        let mut bufs = vec![cx.input(0)];
        bufs.extend((cx.inputs.len() == 2).then(|| cx.input(1)));
        bufs.extend([cx.output(0), cx.output(1)]);
        let grid = cx.gpu().grid(n, 64);
        let hidden = cx.outputs[0].desc.cols();
        cx.dispatch(key, &[n as u32, hidden as u32], &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let gates = io.input(0);
        let prev = (io.inputs.len() == 2).then(|| io.input(1));
        let hidden = io.descs[0].cols() / 4;
        for at in 0..gates.len() / 4 {
            let (row, j) = (at / hidden * 4 * hidden, at % hidden);
            let [i, f, g, o] = [0, 1, 2, 3].map(|k| gates[row + k * hidden + j]);
            let c = sigmoid(f) * prev.as_ref().map_or(0.0, |c| c[at]) + sigmoid(i) * g.tanh();
            io.add(0, at, sigmoid(o) * c.tanh());
            io.add(1, at, c);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let prev = (io.inputs() == 2).then(|| io.f32(1));
        let hidden = io.desc(0).cols() / 4;
        kernels::forward(io.out(0), io.out(1), io.f32(0), prev, hidden);
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dh) = b.dout(0) else { return Ok(()) };
        let (gates, c, dc) = (b.input(0), b.output(1), b.dout(1));
        let prev = if b.inputs() == 2 { Some(b.input(1)) } else { None };
        let inputs: Vec<_> = [gates, c, dh].into_iter().chain(prev).chain(dc).collect();
        let mut sinks = vec![b.sink(0)];
        sinks.extend(prev.map(|_| b.sink(1)));
        b.emit(LstmCellBwd { prev: prev.is_some(), dc: dc.is_some() }, &inputs, &sinks)
    }
}

/// Inputs: gates (B, 4H), c′ (B, H), dh (B, H), then c and dc′ where there are some. Outputs: dgates (B, 4H), dc (B, H) where there is a c.
struct LstmCellBwd {
    prev: bool,
    dc: bool,
}

impl LstmCellBwd {
    /// Numbers of the inputs c and dc′.
    fn places(&self) -> (Option<usize>, Option<usize>) {
        (self.prev.then_some(3), self.dc.then_some(3 + usize::from(self.prev)))
    }
}

impl Op for LstmCellBwd {
    fn name(&self) -> &'static str {
        "lstm_cell_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let mut out = vec![inputs[0].clone()];
        out.extend(self.prev.then(|| inputs[1].clone()));
        Ok(out)
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (n, hidden) = (cx.inputs[1].desc.len(), cx.inputs[1].desc.cols());
        let key = KernelKey::new("lstm_cell_bwd").flag("PREV", self.prev).flag("DC", self.dc);
        let key = key.flag("ACC", cx.acc[0]).flag("ACC_C", self.prev && cx.acc[1]);
        let mut bufs: Vec<_> = (0..cx.inputs.len()).map(|i| cx.input(i)).collect();
        bufs.push(cx.output(0));
        bufs.extend(self.prev.then(|| cx.output(1)));
        let grid = cx.gpu().grid(n, 64);
        cx.dispatch(key, &[n as u32, hidden as u32], &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (gates, c, dh) = (io.input(0), io.input(1), io.input(2));
        let (prev, dc) = self.places();
        let (prev, dc) = (prev.map(|i| io.input(i)), dc.map(|i| io.input(i)));
        let hidden = io.descs[1].cols();
        for at in 0..c.len() {
            let (row, j) = (at / hidden * 4 * hidden, at % hidden);
            let [i, f, g, o] = [0, 1, 2, 3].map(|k| gates[row + k * hidden + j]);
            let (si, sf, tg, so, t) = (sigmoid(i), sigmoid(f), g.tanh(), sigmoid(o), c[at].tanh());
            let d = dh[at] * so * (1.0 - t * t) + dc.as_ref().map_or(0.0, |d| d[at]);
            let before = prev.as_ref().map_or(0.0, |c| c[at]);
            let all = [d * tg * si * (1.0 - si), d * before * sf * (1.0 - sf), d * si * (1.0 - tg * tg), dh[at] * t * so * (1.0 - so)];
            for (k, v) in all.into_iter().enumerate() {
                io.add(0, row + k * hidden + j, v);
            }
            if self.prev {
                io.add(1, at, d * sf);
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (prev, dc) = self.places();
        let (prev, dc) = (prev.map(|i| io.f32(i)), dc.map(|i| io.f32(i)));
        let hidden = io.desc(1).cols();
        let given = kernels::Given { gates: io.f32(0), c: io.f32(1), dh: io.f32(2), prev, dc };
        let (acc, acc_c) = (io.acc(0), self.prev && io.acc(1));
        let to_c = if self.prev { Some((io.out(1), acc_c)) } else { None };
        kernels::backward((io.out(0), acc), to_c, &given, hidden);
        Ok(())
    }
}
