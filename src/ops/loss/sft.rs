//! The loss of supervised fine-tuning.

use super::METRICS;
use crate::cpu::kernels::loss as kernels;
use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op};
use crate::ops::{pieces, serial_rows};
use crate::{Error, Result};

/// Supervised fine-tuning: inputs logp (R), weights (R), numbers (1): scale; outputs metrics (8) and dlogp (R).
///
/// metrics: `[0]` Σ −w·logp·scale, `[1]` Σ w, `[2]` rows with w ≠ 0, `[3]` Σ −logp over those rows.
/// dlogp = −w·scale. Rows of weight 0 do not count, whatever their logp. With `dft` w is multiplied by the token's own probability, which carries no
/// gradient (Wu et al. 2025, Dynamic Fine-Tuning).
#[derive(Clone, Copy, Debug, Default)]
pub struct SftLoss {
    pub dft: bool,
}

impl Op for SftLoss {
    fn name(&self) -> &'static str {
        "sft_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        if inputs[0].len() != inputs[1].len() || inputs[2].len() != 1 {
            return Err(Error::shape("sft_loss", format!("logp {:?}, weights {:?}", inputs[0].shape, inputs[1].shape)));
        }
        Ok(vec![Desc::f32(&[METRICS]), inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let key = KernelKey::new("sft_loss").flag("SERIAL", serial_rows(cx.gpu())).flag("DFT", self.dft);
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.output(0), &cx.output(1)];
        for (first, end) in pieces(cx.inputs[0].desc.len(), 1) {
            cx.dispatch(key.clone(), &[end as u32, first as u32], &bufs, [1, 1, 1]);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (logp, w) = (io.input(0), io.input(1));
        let scale = io.input(2)[0];
        for i in 0..logp.len() {
            let weight = if self.dft && w[i] != 0.0 { w[i] * logp[i].exp() } else { w[i] };
            io.add(1, i, -weight * scale);
            if w[i] != 0.0 {
                io.add(0, 0, -weight * logp[i] * scale);
                io.add(0, 1, weight);
                io.add(0, 2, 1.0);
                io.add(0, 3, -logp[i]);
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::sft(io.out(0), io.out(1), io.f32(0), io.f32(1), io.f32(2)[0], self.dft);
        Ok(())
    }
}
