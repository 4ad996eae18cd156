//! Rotary position embedding. Angles are taken off whole turns in f64 once per row and shared by its heads.

use super::lanes::put;
use super::math::sin_cos_turns;
use super::stored::Stored;
use crate::cpu::simd::fma;
use crate::cpu::{Pool, scratch};

/// What a call turns.
#[derive(Clone, Copy)]
pub struct Rope<'a> {
    pub dim: usize,
    /// Channels of a head that turn.
    pub rotary: usize,
    pub interleaved: bool,
    pub mscale: f32,
    pub positions: &'a [u32],
    pub inv_freq: &'a [f32],
    /// Turn back.
    pub inverse: bool,
}

#[inline(always)]
fn angles_body<const FMA: bool>(cos: &mut [f32], sin: &mut [f32], position: u32, freq: &[f32], factor: (f32, f32)) {
    // Adding and subtracting 1.5·2⁵² rounds.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let position = f64::from(position) / std::f64::consts::TAU;
    for ((c, s), f) in cos.iter_mut().zip(sin).zip(freq) {
        let turns = position * f64::from(*f);
        let (sine, cosine) = sin_cos_turns::<FMA>((turns - ((turns + ROUND) - ROUND)) as f32);
        (*c, *s) = (cosine * factor.0, sine * factor.1);
    }
}

crate::simd_fn!(fn angles(cos: &mut [f32], sin: &mut [f32], position: u32, freq: &[f32], factor: (f32, f32)) = angles_body);

/// Turns heads of `dim` channels.
#[inline(always)]
fn turn_body<const FMA: bool>(y: &mut [f32], x: &[f32], dim: usize, interleaved: bool, cos: &[f32], sin: &[f32], acc: bool) {
    let half = cos.len();
    for (y, x) in y.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
        let (y, y_rest) = y.split_at_mut(2 * half);
        let (x, x_rest) = x.split_at(2 * half);
        if interleaved {
            for (((y, x), c), s) in y.chunks_exact_mut(2).zip(x.chunks_exact(2)).zip(cos).zip(sin) {
                put(&mut y[0], fma::<FMA>(x[0], *c, -(x[1] * s)), acc);
                put(&mut y[1], fma::<FMA>(x[1], *c, x[0] * s), acc);
            }
        } else {
            let (ya, yb) = y.split_at_mut(half);
            let (xa, xb) = x.split_at(half);
            for (((((ya, yb), xa), xb), c), s) in ya.iter_mut().zip(yb).zip(xa).zip(xb).zip(cos).zip(sin) {
                put(ya, fma::<FMA>(*xa, *c, -(xb * s)), acc);
                put(yb, fma::<FMA>(*xb, *c, xa * s), acc);
            }
        }
        y_rest.iter_mut().zip(x_rest).for_each(|(y, x)| put(y, *x, acc));
    }
}

crate::simd_fn!(fn turn(y: &mut [f32], x: &[f32], dim: usize, interleaved: bool, cos: &[f32], sin: &[f32], acc: bool) = turn_body);

/// A row's cosines and sines.
struct Angles<'s> {
    cos: &'s [f32],
    sin: &'s [f32],
}

impl Rope<'_> {
    /// Rows worth a piece of work.
    fn least(&self, width: usize) -> usize {
        8192 / width.max(1) + 1
    }

    /// Runs `body` with the angles of each of the rows.
    fn each(&self, rows: std::ops::Range<usize>, mut body: impl FnMut(usize, &Angles<'_>)) {
        let half = self.rotary / 2;
        let factor = (self.mscale, if self.inverse { -self.mscale } else { self.mscale });
        scratch::with(2 * half, |mem| {
            let (cos, sin) = mem.split_at_mut(half);
            for row in rows {
                if half > 0 {
                    angles(cos, sin, self.positions[row], &self.inv_freq[..half], factor);
                }
                body(row, &Angles { cos, sin });
            }
        });
    }

    fn turn(&self, y: &mut [f32], x: &[f32], a: &Angles<'_>, acc: bool) {
        turn(y, x, self.dim, self.interleaved, a.cos, a.sin, acc);
    }
}

/// Rows of a tensor, or a part of each row of a wider one.
#[derive(Clone, Copy)]
pub struct Columns<'a> {
    pub data: &'a [f32],
    pub first: usize,
    pub width: usize,
    /// From row to row.
    pub stride: usize,
}

impl<'a> Columns<'a> {
    /// All of the rows.
    pub fn all(data: &'a [f32], width: usize) -> Self {
        Columns { data, first: 0, width, stride: width }
    }

    fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.stride + self.first..][..self.width]
    }
}

/// Turns the rows of x into y.
pub fn heads(pool: &Pool, r: &Rope<'_>, y: &mut [f32], x: Columns<'_>) {
    if y.is_empty() {
        return;
    }
    pool.rows(y, x.width, r.least(x.width), |first, y| {
        r.each(first..first + y.len() / x.width, |row, a| r.turn(&mut y[(row - first) * x.width..][..x.width], x.row(row), a, false));
    });
}

/// Turns q and k, which share their angles.
pub fn pair(pool: &Pool, r: &Rope<'_>, (q, k): (&mut [f32], &mut [f32]), from_q: Columns<'_>, from_k: Columns<'_>) {
    if k.is_empty() || q.is_empty() {
        heads(pool, r, q, from_q);
        return heads(pool, r, k, from_k);
    }
    let (wq, wk) = (from_q.width, from_k.width);
    pool.rows2((q, wq), (k, wk), r.least(wq + wk), |first, q, k| {
        r.each(first..first + q.len() / wq, |row, a| {
            r.turn(&mut q[(row - first) * wq..][..wq], from_q.row(row), a, false);
            r.turn(&mut k[(row - first) * wk..][..wk], from_k.row(row), a, false);
        });
    });
}

/// Copies rows.
pub fn copy(pool: &Pool, y: &mut [f32], x: Columns<'_>) {
    if y.is_empty() {
        return;
    }
    pool.rows(y, x.width, 16_384 / x.width + 1, |first, y| {
        for (i, y) in y.chunks_exact_mut(x.width).enumerate() {
            y.copy_from_slice(x.row(first + i));
        }
    });
}

/// Turns k into rows `slots[m]` of the first plane and copies v into those of the second; a slot outside is passed over. Each thread looks
/// through all rows for the slots that are its own.
pub fn append<E: Stored>(pool: &Pool, r: &Rope<'_>, cache: &mut [E], slots: &[u32], k: Columns<'_>, v: Columns<'_>) {
    let width = k.width;
    if cache.is_empty() {
        return;
    }
    let (keys, values) = cache.split_at_mut(cache.len() / 2);
    // A few rows are not worth waking anybody.
    let least = if slots.len() * width < 16_384 { usize::MAX } else { 1 };
    pool.rows2((keys, width), (values, width), least, |first, keys, values| {
        let own = first..first + keys.len() / width;
        scratch::with(width, |turned| {
            for (row, slot) in slots.iter().enumerate().filter(|(_, s)| own.contains(&(**s as usize))) {
                let at = (*slot as usize - first) * width;
                r.each(row..row + 1, |row, a| r.turn(turned, k.row(row), a, false));
                E::put(&mut keys[at..at + width], turned);
                E::put(&mut values[at..at + width], v.row(row));
            }
        });
    });
}

/// Gradient of the fused projection (rows of q, k and v heads): each part turned back from its own tensor; one that is missing is zero.
pub fn backward(pool: &Pool, r: &Rope<'_>, dx: &mut [f32], parts: [(usize, Option<&[f32]>); 3], acc: bool) {
    let width: usize = parts.iter().map(|p| p.0).sum();
    if dx.is_empty() {
        return;
    }
    pool.rows(dx, width, r.least(width), |first, dx| {
        r.each(first..first + dx.len() / width, |row, a| {
            let mut dx = &mut dx[(row - first) * width..][..width];
            for (i, (width, part)) in parts.iter().enumerate() {
                let (y, rest) = dx.split_at_mut(*width);
                match part.map(|p| &p[row * width..(row + 1) * width]) {
                    Some(x) if i < 2 => r.turn(y, x, a, acc),
                    Some(x) => y.iter_mut().zip(x).for_each(|(y, x)| put(y, *x, acc)),
                    None if acc => {}
                    None => y.fill(0.0),
                }
                dx = rest;
            }
        });
    });
}
