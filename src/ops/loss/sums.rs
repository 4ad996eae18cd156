//! From log-probabilities of tokens to those of sequences.

use crate::cpu::kernels::loss as kernels;
use crate::gpu::KernelKey;
use crate::graph::{Back, CpuIo, Desc, HostIo, Lower, Op};
use crate::ops::{pieces, row_grid, serial_rows};
use crate::tensor::DType;
use crate::{Error, Result};

/// Σ logp per sequence: what every loss over whole answers begins with. Inputs: logp (R); seq (R) u32, the sequence that a token belongs to,
/// [`super::IGNORE`] for none. Output: sums (`seqs`). With `second`, logp is (R, 2) and its second column is summed, without a gradient.
#[derive(Clone, Copy, Debug)]
pub struct SequenceSums {
    pub seqs: usize,
    pub second: bool,
}

impl SequenceSums {
    pub fn new(seqs: usize) -> SequenceSums {
        SequenceSums { seqs, second: false }
    }

    /// Of the second column.
    pub fn of_second(seqs: usize) -> SequenceSums {
        SequenceSums { seqs, second: true }
    }

    fn columns(&self) -> usize {
        1 + usize::from(self.second)
    }
}

fn check(op: &str, seq: &Desc, rows: usize) -> Result<()> {
    if seq.dtype != DType::U32 || seq.len() != rows {
        return Err(Error::shape(op, format!("sequences {seq:?} for {rows} log-probabilities")));
    }
    Ok(())
}

impl Op for SequenceSums {
    fn name(&self) -> &'static str {
        "sequence_sums"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        check("sequence_sums", inputs[1], inputs[0].len() / self.columns())?;
        Ok(vec![Desc::f32(&[self.seqs])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let rows = cx.inputs[1].desc.len();
        let key = KernelKey::new("sequence_sums").flag("SERIAL", serial_rows(cx.gpu())).flag("SECOND", self.second);
        let grid = row_grid(cx.gpu(), self.seqs);
        let bufs = [&cx.input(0), &cx.input(1), &cx.output(0)];
        for (first, end) in pieces(rows, 1) {
            cx.dispatch(key.clone(), &[end as u32, self.seqs as u32, first as u32], &bufs, grid);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (logp, seq) = (io.input(0), io.input(1));
        let logp = logp.iter().skip(self.columns() - 1).step_by(self.columns());
        for (l, s) in logp.zip(seq.iter()).filter(|(_, s)| (**s as usize) < self.seqs) {
            io.add(0, *s as usize, *l);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        if self.second {
            let second: Vec<f32> = io.f32(0).iter().skip(1).step_by(2).copied().collect();
            kernels::sequence_sums(io.out(0), &second, io.u32(1));
        } else {
            kernels::sequence_sums(io.out(0), io.f32(0), io.u32(1));
        }
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dsums) = b.dout(0).filter(|_| !self.second) else { return Ok(()) };
        let ins = [dsums, b.input(1)];
        let rows = b.desc(b.input(0)).len();
        let dlogp = b.sink(0);
        b.emit(SequenceTake { rows }, &ins, &[dlogp])
    }
}

/// A sequence's number wherever the sequence is named: `out[i] = sums[seq[i]]`, 0 for none. The way back of [`SequenceSums`], and its own is that one
/// ([`SequenceSums`] over the same seq). Inputs: sums (S), seq (R) u32. Output (`rows`).
#[derive(Clone, Copy, Debug)]
pub struct SequenceTake {
    pub rows: usize,
}

impl Op for SequenceTake {
    fn name(&self) -> &'static str {
        "sequence_sums_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        check("sequence_sums_bwd", inputs[1], self.rows)?;
        Ok(vec![Desc::f32(&[self.rows])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let key = KernelKey::new("sequence_sums_bwd").flag("ACC", cx.acc[0]);
        let params = [self.rows as u32, cx.inputs[0].desc.len() as u32];
        let grid = cx.gpu().grid(self.rows, 64);
        cx.dispatch(key, &params, &[&cx.input(0), &cx.input(1), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (dsums, seq) = (io.input(0), io.input(1));
        for (i, s) in seq.iter().enumerate() {
            if let Some(d) = dsums.get(*s as usize) {
                io.add(0, i, *d);
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::sequence_sums_bwd(io.out(0), io.f32(0), io.u32(1), io.acc(0));
        Ok(())
    }
}
