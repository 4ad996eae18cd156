//! What a device can do at most, for the benchmark: a copy that moves bytes and nothing else, and fused multiply-adds that touch no
//! memory. Neither is part of a model, and neither has a backward pass.

use crate::cpu::vector::Vector;
use crate::gpu::KernelKey;
use crate::graph::{Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// Both take whole groups of four.
fn fours(op: &str, x: &Desc) -> Result<Vec<Desc>> {
    if x.len().is_multiple_of(4) {
        Ok(vec![x.clone()])
    } else {
        Err(Error::shape(op, format!("{:?} is not whole groups of four", x.shape)))
    }
}

/// `y = x`, as fast as memory goes: 8 bytes moved per element.
#[derive(Clone, Copy, Debug)]
pub struct PeakCopy {
    /// Groups of four that a thread moves: see [`PeakCopy::PER`].
    pub per: usize,
}

impl PeakCopy {
    /// Groups of four per thread that there are kernels for.
    pub const PER: [usize; 2] = [1, 4];
}

impl Op for PeakCopy {
    fn name(&self) -> &'static str {
        "peak_copy"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        fours("peak_copy", inputs[0])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let n = cx.inputs[0].desc.len() / 4;
        let grid = cx.gpu().grid(n.div_ceil(self.per), 64);
        cx.dispatch(KernelKey::new("peak_copy").def("PER", self.per), &[n as u32], &[&cx.input(0), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        for (i, v) in io.input(0).iter().enumerate() {
            io.add(0, i, *v);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let x = io.f32(0);
        io.pool().rows(io.out(0), 1, 1 << 16, |first, y| y.copy_from_slice(&x[first..first + y.len()]));
        Ok(())
    }
}

/// For every element `x`: chains `a_k = (k + 1)·x`, turned `16·rounds` times into `m·a_k + x`; `y = Σ a_k`.
#[derive(Clone, Copy, Debug)]
pub struct PeakFma {
    /// Chains per element: see [`PeakFma::CHAINS`].
    pub chains: usize,
    pub rounds: usize,
}

/// Keeps the chains finite and far from denormal numbers, which are slow on processors.
const M: f32 = 0.5;
/// Multiply-adds of a chain per round: so many that counting the rounds costs next to nothing.
const UNROLLED: usize = 16;

impl PeakFma {
    /// Numbers of chains that there are kernels for.
    pub const CHAINS: [usize; 3] = [2, 4, 8];

    /// Floating-point operations for `n` elements.
    pub fn flops(&self, n: usize) -> f64 {
        2.0 * (UNROLLED * self.chains * self.rounds) as f64 * n as f64
    }

    fn work(&self, n: usize) -> Cost {
        Cost { flops: self.flops(n), bytes: 8.0 * n as f64 }
    }
}

impl Op for PeakFma {
    fn name(&self) -> &'static str {
        "peak_fma"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        if self.rounds > crate::ops::ROUNDS {
            return Err(Error::shape("peak_fma", format!("{} rounds, a thread makes {} at most", self.rounds, crate::ops::ROUNDS)));
        }
        fours("peak_fma", inputs[0])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let n = cx.inputs[0].desc.len();
        let grid = cx.gpu().grid(n / 4, 64);
        let params = [n as u32 / 4, self.rounds as u32, M.to_bits()];
        cx.dispatch(KernelKey::new("peak_fma").def("N", self.chains), &params, &[&cx.input(0), &cx.output(0)], grid);
        cx.cost(self.work(n));
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        for (i, x) in io.input(0).iter().enumerate() {
            let chain = |k: usize| (0..UNROLLED * self.rounds).fold((k + 1) as f64 * x, |a, _| a * f64::from(M) + x);
            io.add(0, i, (0..self.chains).map(chain).sum());
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (x, rounds, chains) = (io.f32(0), self.rounds, self.chains);
        io.pool().rows(io.out(0), 1, LANES, |first, y| {
            let x = &x[first..first + y.len()];
            match chains {
                2 => fma2(y, x, rounds),
                4 => fma4(y, x, rounds),
                _ => fma8(y, x, rounds),
            }
        });
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.work(io.desc(0).len())
    }
}

/// Lanes of the widest register.
const LANES: usize = 16;

/// # Safety
/// As for [`Vector`].
#[inline(always)]
unsafe fn turn<V: Vector, const N: usize>(y: &mut [f32], x: &[f32], rounds: usize) {
    for (y, x) in y.chunks_mut(V::LANES).zip(x.chunks(V::LANES)) {
        let mut lanes = [0.0; LANES];
        lanes[..x.len()].copy_from_slice(x);
        // SAFETY: no vector has more lanes; the caller's promise.
        unsafe {
            let (b, m, zero) = (V::load(lanes.as_ptr()), V::splat(M), V::splat(0.0));
            let mut a = [zero; N];
            for (k, a) in a.iter_mut().enumerate() {
                *a = b.fma(V::splat((k + 1) as f32), zero);
            }
            for _ in 0..UNROLLED * rounds {
                for a in &mut a {
                    *a = a.fma(m, b);
                }
            }
            a.into_iter().fold(zero, |s, a| s.add(a)).store(lanes.as_mut_ptr());
        }
        y.copy_from_slice(&lanes[..y.len()]);
    }
}

macro_rules! turns {
    ($($name:ident = $body:ident of $n:literal),*) => {$(
        #[inline(always)]
        unsafe fn $body<V: Vector, const A: usize, const B: usize>(y: &mut [f32], x: &[f32], rounds: usize) {
            // SAFETY: the caller's promise.
            unsafe { turn::<V, $n>(y, x, rounds) }
        }
        crate::simd_vec!(fn $name(y: &mut [f32], x: &[f32], rounds: usize) = $body);
    )*};
}

turns!(fma2 = fma2_body of 2, fma4 = fma4_body of 4, fma8 = fma8_body of 8);
