//! The backward passes of [`super::Attention`].

use super::cost::{DKV, DQ};
use super::sizes::{Attention, TILE, threads, tile};
use crate::Result;
use crate::cpu::kernels::attention_bwd::{self, Reads};
use crate::gpu::KernelKey;
use crate::graph::{Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::ops::cut;
/// Gradient of [`Attention`] with respect to q. Inputs: q, k, v, spans, do, o. Outputs: dq; the forward pass's statistics, to which it adds what all
/// scores of a query share of the softmax's gradient, delta = Σ do·o (plane 1).
pub(super) struct AttentionDq(pub Attention);

impl Op for AttentionDq {
    fn name(&self) -> &'static str {
        "attention_dq"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let stats = [2, inputs[0].len() / self.0.dim.max(1)];
        Ok(vec![inputs[0].clone(), Desc::f32(&stats)])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let s = self.0.sizes(&cx.inputs[0].desc, &cx.inputs[1].desc);
        if s.tiled(cx.gpu(), "attention_dq", 2) {
            let key = s.tile_key(KernelKey::new("attention_dq_tile").flag("ACC", cx.acc[0]));
            s.gradient(cx, key, s.rows().div_ceil(TILE), ((0, s.rows()), s.keys()), (DQ, 1.0));
            return Ok(());
        }
        let tile = tile(cx.gpu(), "attention_dq");
        let groups = s.rows().div_ceil(threads(cx.gpu()) * tile.0);
        let pieces = s.key_pieces(cx.gpu(), "attention_dq", tile)?;
        let part = (DQ, 1.0 / pieces.len() as f64);
        for keys in pieces {
            let key = KernelKey::new("attention_dq").flag("ACC", cx.acc[0] || keys.0 > 0);
            s.gradient(cx, s.key(cx.gpu(), key, tile), groups, ((0, s.rows()), keys), part);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let s = self.0.sizes(&io.descs[0], &io.descs[1]);
        let (k, dout, o) = (io.input(1), io.input(4), io.input(5));
        let delta: Vec<f64> = o.chunks(s.dim).zip(dout.chunks(s.dim)).map(|(o, d)| o.iter().zip(d).map(|(o, d)| o * d).sum()).collect();
        delta.iter().enumerate().for_each(|(i, v)| io.add(1, delta.len() + i, *v));
        s.host_gradients(io, &delta, |io, qat, kat, _, ds| {
            for d in 0..s.dim {
                io.add(0, qat + d, ds * k[kat + d]);
            }
        });
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let s = self.0.sizes(io.desc(0), io.desc(1));
        let stats = io.out(1);
        attention_bwd::delta(io.pool(), stats, io.f32(5), io.f32(4));
        attention_bwd::dq(io.pool(), &s.attend(io.u32(3)), reads(io, stats), io.out(0), io.acc(0));
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.0.gradient_cost(io, DQ)
    }
}

/// Gradients of [`Attention`] with respect to k and v. Inputs as for [`AttentionDq`]. Outputs: dk, dv.
pub(super) struct AttentionDkv(pub Attention);

impl Op for AttentionDkv {
    fn name(&self) -> &'static str {
        "attention_dkv"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[1].clone(), inputs[2].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let s = self.0.sizes(&cx.inputs[0].desc, &cx.inputs[1].desc);
        if s.tiled(cx.gpu(), "attention_dkv", 2) {
            let key = KernelKey::new("attention_dkv_tile").flag("ACC_K", cx.acc[0]).flag("ACC_V", cx.acc[1]);
            s.gradient(cx, s.tile_key(key), s.s.div_ceil(TILE), ((0, s.rows()), s.keys()), (DKV, 1.0));
            return Ok(());
        }
        let (qb, kb) = tile(cx.gpu(), "attention_dkv");
        // A thread clears its keys and then walks over all rows, QB at a time.
        let pieces: Vec<_> = cut(s.rows(), s.blocks("attention_dkv", 2 * kb, 1)? * qb).collect();
        let (groups, part) = (s.s.div_ceil(threads(cx.gpu()) * kb), (DKV, 1.0 / pieces.len() as f64));
        for rows in pieces {
            let more = rows.0 > 0;
            let key = KernelKey::new("attention_dkv").flag("ACC_K", cx.acc[0] || more).flag("ACC_V", cx.acc[1] || more);
            s.gradient(cx, s.key(cx.gpu(), key, (qb, kb)), groups, (rows, s.keys()), part);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let s = self.0.sizes(&io.descs[0], &io.descs[1]);
        let (q, dout, stats) = (io.input(0), io.input(4), io.input(5));
        s.host_gradients(io, &stats[stats.len() / 2..], |io, qat, kat, w, ds| {
            for d in 0..s.dim {
                io.add(0, kat + d, ds * q[qat + d]);
                io.add(1, kat + d, w * dout[qat + d]);
            }
        });
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let s = self.0.sizes(io.desc(0), io.desc(1));
        let (dk, dv) = ((io.out(0), io.acc(0)), (io.out(1), io.acc(1)));
        attention_bwd::dkv(io.pool(), &s.attend(io.u32(3)), reads(io, io.f32(5)), dk, dv);
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.0.gradient_cost(io, DKV)
    }
}

/// The inputs of both gradients.
fn reads<'a>(io: &CpuIo<'a>, stats: &'a [f32]) -> Reads<'a> {
    let (lse, delta) = stats.split_at(stats.len() / 2);
    Reads { q: io.f32(0), k: io.f32(1), v: io.f32(2), dout: io.f32(4), lse, delta }
}
