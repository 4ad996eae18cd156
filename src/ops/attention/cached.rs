//! Attention over a key/value cache.

use super::sizes::Sizes;
use crate::Result;
use crate::cpu::kernels::attention::{Keys, forward};
use crate::cpu::scratch;
use crate::gpu::{Buf, Gpu};
use crate::graph::{Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::ops::kv;
use crate::ops::rope::RopeSplit;
use crate::tensor::DType;
/// Attention over a key/value cache. Inputs: q (M, H·D); cache (2, S, Hkv·D) f32 or f16, plane 0 keys, plane 1 values; spans (M, 4) u32 =
/// (prefix_len, own_base, begin, end): position t of `begin..end` lies in slot t when t < prefix_len, otherwise in slot
/// own_base + t − prefix_len. So candidates that continue one prompt share its slots. Output: o (M, H·D). Not differentiable.
#[derive(Clone, Copy, Debug)]
pub struct AttentionCached {
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub scale: f32,
    /// As in [`super::Attention`].
    pub cap: Option<f32>,
}

impl AttentionCached {
    fn sizes(&self, q: usize, cache: &Desc) -> Sizes {
        let AttentionCached { heads, kv_heads, dim, scale, cap } = *self;
        let t = q.checked_div(heads * dim).unwrap_or(0);
        Sizes { heads, kv_heads, dim, scale, cap, batch: 1, t, s: cache.shape.get(1).copied().unwrap_or(0), cache: Some(cache.dtype) }
    }

    /// As [`Op::infer`] of the op that is called `op`.
    pub(super) fn checked(&self, op: &str, q: &Desc, cache: &Desc, spans: &Desc) -> Result<Vec<Desc>> {
        let s = self.sizes(q.len(), cache);
        s.check(op, q, spans, s.t)?;
        kv::check(op, cache, s.kv_heads * s.dim)?;
        Ok(vec![Desc::f32(&[s.t, s.heads * s.dim])])
    }

    /// Can rows be turned, kept and attended to by one kernel (see `AttentionAppend`)?
    pub(super) fn appends(&self, gpu: &Gpu, q: &Desc, cache: &Desc) -> bool {
        let s = self.sizes(q.len(), cache);
        s.few() && s.by_query(gpu) && gpu.tuning().borrow().pick("attention_small", "", "append") == "append"
    }

    /// Emits that kernel; `bufs` in the order of its bindings.
    pub(super) fn append(&self, cx: &mut Lower<'_>, rope: &RopeSplit, bufs: &[&Buf]) {
        let s = self.sizes(cx.outputs[0].desc.len(), &cx.outputs[1].desc);
        let turn = [rope.rotary as u32, u32::from(rope.interleaved), rope.mscale.to_bits(), u32::from(rope.by_head)];
        let params: Vec<u32> = s.params(1, (0, s.rows()), s.keys()).into_iter().chain(turn).collect();
        s.dispatch_by_query(cx, s.forward_key("attention_query").flag("APPEND", true), &params, bufs);
        let turning = rope.turning(s.t, cx.outputs[1].desc.dtype);
        cx.cost_of(bufs[0], turning + s.most(), move |spans| turning + s.cost(spans));
    }

    /// The reference, for queries and a cache from anywhere.
    pub(super) fn host_over(&self, io: &mut HostIo<'_>, q: &[f64], (desc, cache): (&Desc, &[f64]), spans: &[f64]) {
        let (k, v) = cache.split_at(cache.len() / 2);
        self.sizes(q.len(), desc).host(io, q, k, v, spans);
    }

    /// What `q` values of queries cost over a cache.
    pub(super) fn cost_over(&self, q: usize, cache: &Desc, spans: &[u32]) -> Cost {
        self.sizes(q, cache).cost(spans)
    }

    /// On the processor, likewise.
    pub(super) fn cpu_over(&self, io: &CpuIo<'_>, q: &[f32], (desc, keys): (&Desc, Keys<'_>), spans: &[u32]) {
        let sizes = self.sizes(q.len(), desc);
        scratch::with(sizes.t * sizes.heads, |lse| forward(io.pool(), &sizes.attend(spans), q, keys, io.out(0), lse));
    }
}

impl Op for AttentionCached {
    fn name(&self) -> &'static str {
        "attention_cached"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        self.checked("attention_cached", inputs[0], inputs[1], inputs[2])
    }

    /// lse (M, H), to be carried on where a software adapter takes several dispatches.
    fn scratch(&self, inputs: &[&Desc], _: &[&Desc]) -> Vec<Desc> {
        vec![Desc::f32(&[inputs[0].len() / self.dim.max(1)])]
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        self.sizes(cx.inputs[0].desc.len(), &cx.inputs[1].desc).forward(cx)
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (q, cache, spans) = (io.input(0), io.input(1), io.input(2));
        let desc = io.descs[1].clone();
        self.host_over(io, &q, (&desc, &cache), &spans);
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let keys = match io.desc(1).dtype {
            DType::F16 => Keys::of_f16(io.f16(1)),
            _ => Keys::of_f32(io.f32(1)),
        };
        self.cpu_over(io, io.f32(0), (io.desc(1), keys), io.u32(2));
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.cost_over(io.desc(0).len(), io.desc(1), io.u32(2))
    }
}
