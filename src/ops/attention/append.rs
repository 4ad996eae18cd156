//! Attention over a key/value cache together with what comes before it: the rotation of queries and keys, and the write into the cache.

use super::cached::AttentionCached;
use crate::cpu::kernels::attention::Keys;
use crate::cpu::scratch;
use crate::gpu::Buf;
use crate::graph::{Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::ops::rope::{RopeAppend, RopeSplit};
use crate::tensor::DType;
use crate::{Error, Result};

/// [`RopeAppend`], then [`AttentionCached`]. Inputs: qkv (M, (H+2·Hkv)·D), or q, k and v; positions (M) u32; inv_freq (rotary/2) f32; slots
/// (M) u32; spans (M, 4) u32. Outputs (by [`crate::graph::Tape::push_into`]): o (M, H·D), fresh; cache (2, S, Hkv·D) f32 or f16, changed in
/// place. What each of them means is said there. Not differentiable.
///
/// For one token of each of M answers: no row may see what another row of the call writes, and a row that is written sees its own slot as the
/// last of its span, or nothing. So nothing has to be ordered, and a real GPU does all of it in one kernel (few rows, qkv in one, heads
/// of a multiple of four and at most 512 channels); elsewhere it is the two ops. For rows that see one another record those.
#[derive(Clone, Copy, Debug)]
pub struct AttentionAppend {
    pub rope: RopeSplit,
    /// Multiplies q·k; usually 1/√dim.
    pub scale: f32,
    /// As in [`super::Attention`].
    pub cap: Option<f32>,
}

impl AttentionAppend {
    fn attend(&self) -> AttentionCached {
        let RopeSplit { heads, kv_heads, dim, .. } = self.rope;
        AttentionCached { heads, kv_heads, dim, scale: self.scale, cap: self.cap }
    }

    fn query(&self, rows: usize) -> Desc {
        Desc::f32(&[rows, self.rope.heads * self.rope.dim])
    }
}

impl Op for AttentionAppend {
    fn name(&self) -> &'static str {
        "attention_append"
    }

    fn infer(&self, _: &[&Desc]) -> Result<Vec<Desc>> {
        Err(Error::shape(self.name(), "writes into a cache: record it with push_into"))
    }

    fn infer_into(&self, inputs: &[&Desc], outputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (before, spans) = inputs.split_at(inputs.len().saturating_sub(1));
        let made = RopeAppend { same: self.rope }.checked(self.name(), before, outputs)?;
        let [q, cache] = &made[..] else { unreachable!("what an append writes") };
        self.attend().checked(self.name(), q, cache, spans[0])?;
        Ok(made)
    }

    /// The turned queries, where they are a kernel's of their own, and what [`AttentionCached`] wants.
    fn scratch(&self, inputs: &[&Desc], outputs: &[&Desc]) -> Vec<Desc> {
        let q = self.query(inputs[inputs.len() - 2].len());
        let more = self.attend().scratch(&[&q], outputs);
        std::iter::once(q).chain(more).collect()
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let n = cx.inputs.len();
        let attend = self.attend();
        let cache = cx.outputs[1].clone();
        if n == 5 && attend.appends(cx.gpu(), &self.query(cx.inputs[3].desc.len()), &cache.desc) {
            let bufs: Vec<Buf> = [4, 0, 1, 2, 3].map(|i| cx.input(i)).into_iter().chain([cx.output(1), cx.output(0)]).collect();
            attend.append(cx, &self.rope, &bufs.iter().collect::<Vec<_>>());
            return Ok(());
        }
        let (q, spans) = (cx.scratch[0].clone(), cx.inputs[n - 1].clone());
        let (inputs, o) = (cx.inputs[..n - 1].to_vec(), cx.outputs[0].clone());
        RopeAppend { same: self.rope }.lower(&mut cx.part(inputs, vec![q.clone(), cache.clone()], vec![false, true]))?;
        let scratch = cx.scratch[1..].to_vec();
        let mut part = cx.part(vec![q, cache, spans], vec![o], vec![false]);
        part.scratch = scratch;
        attend.lower(&mut part)
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let n = io.descs.len();
        let mut q = vec![0.0; self.query(io.descs[n - 2].len()).len()];
        RopeAppend { same: self.rope }.host_append(io, n - 2, |_, at, v| q[at] = v);
        let (spans, desc, cache) = (io.input(n - 1), io.out_descs[1].clone(), io.outputs[1].clone());
        self.attend().host_over(io, &q, (&desc, &cache), &spans);
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let n = io.inputs();
        let (rope, attend) = (RopeAppend { same: self.rope }, self.attend());
        let desc = self.query(io.desc(n - 2).len());
        scratch::with(desc.len(), |q| {
            let keys = match io.out_desc(1).dtype {
                DType::F16 => {
                    let cache = io.out_f16(1);
                    rope.cpu_append(io, n - 2, q, cache);
                    Keys::of_f16(cache)
                }
                _ => {
                    let cache = io.out(1);
                    rope.cpu_append(io, n - 2, q, cache);
                    Keys::of_f32(cache)
                }
            };
            attend.cpu_over(io, q, (io.out_desc(1), keys), io.u32(n - 1));
        });
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        let (n, cache) = (io.inputs(), io.out_desc(1));
        let rows = io.desc(n - 2).len();
        self.rope.turning(rows, cache.dtype) + self.attend().cost_over(self.query(rows).len(), cache, io.u32(n - 1))
    }
}
