//! Attention with grouped query heads over whatever keys each query sees: online softmax, scores never stored.

use super::gradients::{AttentionDkv, AttentionDq};
use super::sizes::Attention;
use crate::cpu::kernels::attention::{Keys, forward};
use crate::graph::{Back, Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};
impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (q, k, v, spans) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        let s = self.sizes(q, k);
        let rows = s.batch * s.t;
        s.check("attention", q, spans, rows)?;
        if k.len() != v.len() || k.len() != s.batch * s.s * s.kv_heads * s.dim || k.dtype != DType::F32 || v.dtype != DType::F32 {
            let width = s.kv_heads * s.dim;
            return Err(Error::shape(
                "attention",
                format!("k {:?} and v {:?}, expected ({}·keys, {width}) f32", k.shape, v.shape, s.batch),
            ));
        }
        Ok(vec![Desc::f32(&[rows, s.heads * s.dim]), Desc::f32(&[2, rows, s.heads])])
    }

    fn halves(&self, i: usize) -> bool {
        i == 0
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        self.sizes(&cx.inputs[0].desc, &cx.inputs[1].desc).forward(cx)
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (q, k, v, spans) = (io.input(0), io.input(1), io.input(2), io.input(3));
        self.sizes(&io.descs[0], &io.descs[1]).host(io, &q, &k, &v, &spans);
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let sizes = self.sizes(io.desc(0), io.desc(1));
        let stats = io.out(1);
        let (lse, _) = stats.split_at_mut(stats.len() / 2);
        forward(io.pool(), &sizes.attend(io.u32(3)), io.f32(0), Keys::F32(io.f32(1), io.f32(2)), io.out(0), lse);
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.sizes(io.desc(0), io.desc(1)).cost(io.u32(3))
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dout) = b.dout(0) else { return Ok(()) };
        let [q, k, v, spans] = [0, 1, 2, 3].map(|i| b.input(i));
        let (o, stats) = (b.output(0), b.output(1));
        // The gradient of q comes first, and always: it completes the statistics that those of k and v read.
        let dq = b.sink_or_temp(0);
        b.emit(AttentionDq(*self), &[q, k, v, spans, dout, o], &[dq, (stats, true)])?;
        if b.wants(1) || b.wants(2) {
            let (dk, dv) = (b.sink_or_temp(1), b.sink_or_temp(2));
            b.emit(AttentionDkv(*self), &[q, k, v, spans, dout, stats], &[dk, dv])?;
        }
        Ok(())
    }
}
