//! Activations and gated activations.

use super::lanes::put;
use super::math::{exp, phi, sigmoid};
use crate::cpu::Pool;
use crate::cpu::simd::fma;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    Gelu,
    GeluTanh,
    Relu,
    Silu,
}

trait Function {
    fn value<const FMA: bool>(x: f32) -> f32;
    /// (f(x), f′(x)).
    fn both<const FMA: bool>(x: f32) -> (f32, f32);
}

struct Gelu;
struct GeluTanh;
struct Relu;
struct Silu;

impl Function for Gelu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x * phi::<FMA>(x)
    }
    #[inline(always)]
    fn both<const FMA: bool>(x: f32) -> (f32, f32) {
        const DENSITY: f32 = 0.398_942_3;
        let p = phi::<FMA>(x);
        (x * p, fma::<FMA>(x * DENSITY, exp::<FMA>(-0.5 * x * x), p))
    }
}

impl GeluTanh {
    /// ½(1 + tanh u) = σ(2u), the clamped x and 2u′. Beyond ±20 nothing changes any more, and x³ would overflow.
    #[inline(always)]
    fn parts<const FMA: bool>(x: f32) -> (f32, f32, f32) {
        const TWICE: f32 = 2.0 * 0.797_884_6;
        let c = if x > 20.0 { 20.0 } else { x };
        let c = if c < -20.0 { -20.0 } else { c };
        let square = c * c;
        let s = sigmoid::<FMA>(TWICE * c * fma::<FMA>(square, 0.044_715, 1.0));
        (s, c, TWICE * fma::<FMA>(square, 3.0 * 0.044_715, 1.0))
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x * Self::parts::<FMA>(x).0
    }
    #[inline(always)]
    fn both<const FMA: bool>(x: f32) -> (f32, f32) {
        let (s, c, inner) = Self::parts::<FMA>(x);
        (x * s, fma::<FMA>(c * s * (1.0 - s), inner, s))
    }
}

impl Function for Relu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        if x > 0.0 { x } else { 0.0 }
    }
    #[inline(always)]
    fn both<const FMA: bool>(x: f32) -> (f32, f32) {
        if x > 0.0 { (x, 1.0) } else { (0.0, 0.0) }
    }
}

impl Function for Silu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x * sigmoid::<FMA>(x)
    }
    #[inline(always)]
    fn both<const FMA: bool>(x: f32) -> (f32, f32) {
        let s = sigmoid::<FMA>(x);
        (x * s, s * fma::<FMA>(x, 1.0 - s, 1.0))
    }
}

/// Calls a function generic over [`Function`] for a [`Curve`].
macro_rules! by_curve {
    ($curve:expr, $f:ident($($arg:expr),*)) => {
        match $curve {
            Curve::Gelu => $f::<FMA, Gelu>($($arg),*),
            Curve::GeluTanh => $f::<FMA, GeluTanh>($($arg),*),
            Curve::Relu => $f::<FMA, Relu>($($arg),*),
            Curve::Silu => $f::<FMA, Silu>($($arg),*),
        }
    };
}

/// Elements worth a piece of work.
const LEAST: usize = 4096;

/// Elements whose code stands in one piece in a browser, which makes the constants of a function anew in every round of a loop, at the price of the
/// function. Natively the compiler does better with plain loops.
const ROUND: usize = 16;

/// How many of `n` elements are worked on in such pieces.
#[inline(always)]
fn in_pieces(n: usize) -> usize {
    if cfg!(target_arch = "wasm32") { n / ROUND * ROUND } else { 0 }
}

#[inline(always)]
fn values<const FMA: bool, F: Function>(y: &mut [f32], x: &[f32]) {
    let (y, y_rest) = y.split_at_mut(in_pieces(y.len()));
    let (x, x_rest) = x.split_at(y.len());
    for (y, x) in y.as_chunks_mut::<ROUND>().0.iter_mut().zip(x.as_chunks::<ROUND>().0) {
        for i in 0..ROUND {
            y[i] = F::value::<FMA>(x[i]);
        }
    }
    for (y, x) in y_rest.iter_mut().zip(x_rest) {
        *y = F::value::<FMA>(*x);
    }
}

#[inline(always)]
fn forward_body<const FMA: bool>(curve: Curve, y: &mut [f32], x: &[f32]) {
    by_curve!(curve, values(y, x));
}

crate::simd_fn!(fn forward_part(curve: Curve, y: &mut [f32], x: &[f32]) = forward_body);

/// `y = f(x)`.
pub fn forward(pool: &Pool, curve: Curve, y: &mut [f32], x: &[f32]) {
    pool.rows(y, 1, LEAST, |first, y| forward_part(curve, y, &x[first..first + y.len()]));
}

#[inline(always)]
fn slopes<const FMA: bool, F: Function>(dx: &mut [f32], x: &[f32], dy: &[f32], acc: bool) {
    let (dx, dx_rest) = dx.split_at_mut(in_pieces(dx.len()));
    let (x, x_rest) = x.split_at(dx.len());
    let (dy, dy_rest) = dy.split_at(dx.len());
    for ((dx, x), dy) in dx.as_chunks_mut::<ROUND>().0.iter_mut().zip(x.as_chunks::<ROUND>().0).zip(dy.as_chunks::<ROUND>().0) {
        for i in 0..ROUND {
            put(&mut dx[i], dy[i] * F::both::<FMA>(x[i]).1, acc);
        }
    }
    for ((dx, x), dy) in dx_rest.iter_mut().zip(x_rest).zip(dy_rest) {
        put(dx, dy * F::both::<FMA>(*x).1, acc);
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(curve: Curve, dx: &mut [f32], x: &[f32], dy: &[f32], acc: bool) {
    by_curve!(curve, slopes(dx, x, dy, acc));
}

crate::simd_fn!(fn backward_part(curve: Curve, dx: &mut [f32], x: &[f32], dy: &[f32], acc: bool) = backward_body);

/// `dx = dy·f′(x)`.
pub fn backward(pool: &Pool, curve: Curve, dx: &mut [f32], x: &[f32], dy: &[f32], acc: bool) {
    pool.rows(dx, 1, LEAST, |first, dx| {
        let r = first..first + dx.len();
        backward_part(curve, dx, &x[r.clone()], &dy[r], acc);
    });
}

/// Gate and up: the halves of each row of one tensor, or two tensors.
#[derive(Clone, Copy)]
pub enum Halves<'a> {
    Fused(&'a [f32]),
    Apart(&'a [f32], &'a [f32]),
}

impl<'a> Halves<'a> {
    /// (gate, up) of a row of `cols`.
    #[inline(always)]
    fn row(self, row: usize, cols: usize) -> (&'a [f32], &'a [f32]) {
        match self {
            Halves::Fused(x) => x[2 * row * cols..2 * (row + 1) * cols].split_at(cols),
            Halves::Apart(g, u) => (&g[row * cols..(row + 1) * cols], &u[row * cols..(row + 1) * cols]),
        }
    }
}

#[inline(always)]
fn products<const FMA: bool, F: Function>(y: &mut [f32], g: &[f32], u: &[f32]) {
    for ((y, g), u) in y.iter_mut().zip(g).zip(u) {
        *y = F::value::<FMA>(*g) * u;
    }
}

#[inline(always)]
fn gated_body<const FMA: bool>(curve: Curve, y: &mut [f32], x: Halves<'_>, first: usize, cols: usize) {
    for (i, y) in y.chunks_exact_mut(cols).enumerate() {
        let (g, u) = x.row(first + i, cols);
        by_curve!(curve, products(y, g, u));
    }
}

crate::simd_fn!(fn gated_rows(curve: Curve, y: &mut [f32], x: Halves<'_>, first: usize, cols: usize) = gated_body);

/// `y = f(gate)·up`, rows of `cols`.
pub fn gated(pool: &Pool, curve: Curve, y: &mut [f32], x: Halves<'_>, cols: usize) {
    if y.is_empty() {
        return;
    }
    match x {
        // One row is worth splitting too.
        Halves::Fused(x) if y.len() == cols => {
            let (g, u) = x.split_at(cols);
            gated(pool, curve, y, Halves::Apart(g, u), cols);
        }
        Halves::Fused(_) => pool.rows(y, cols, LEAST / cols + 1, |first, y| gated_rows(curve, y, x, first, cols)),
        Halves::Apart(g, u) => pool.rows(y, 1, LEAST, |first, y| {
            let r = first..first + y.len();
            gated_rows(curve, y, Halves::Apart(&g[r.clone()], &u[r]), 0, y.len());
        }),
    }
}

/// Which gradients are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Both,
    Gate,
    Up,
}

#[inline(always)]
fn both_halves<const FMA: bool, F: Function>(dg: &mut [f32], du: &mut [f32], g: &[f32], u: &[f32], dy: &[f32], acc: bool) {
    for ((((dg, du), g), u), dy) in dg.iter_mut().zip(du).zip(g).zip(u).zip(dy) {
        let (value, slope) = F::both::<FMA>(*g);
        put(dg, dy * u * slope, acc);
        put(du, dy * value, acc);
    }
}

#[inline(always)]
fn gate_half<const FMA: bool, F: Function>(dx: &mut [f32], g: &[f32], u: &[f32], dy: &[f32], acc: bool) {
    for (((dx, g), u), dy) in dx.iter_mut().zip(g).zip(u).zip(dy) {
        put(dx, dy * u * F::both::<FMA>(*g).1, acc);
    }
}

#[inline(always)]
fn up_half<const FMA: bool, F: Function>(dx: &mut [f32], g: &[f32], dy: &[f32], acc: bool) {
    for ((dx, g), dy) in dx.iter_mut().zip(g).zip(dy) {
        put(dx, dy * F::value::<FMA>(*g), acc);
    }
}

#[inline(always)]
fn both_body<const FMA: bool>(curve: Curve, dg: &mut [f32], du: &mut [f32], g: &[f32], u: &[f32], dy: &[f32], acc: bool) {
    by_curve!(curve, both_halves(dg, du, g, u, dy, acc));
}

// One row at a time: over several rows the two halves lie within each other, which the compiler cannot tell from overlapping.
crate::simd_fn!(fn both_row(curve: Curve, dg: &mut [f32], du: &mut [f32], g: &[f32], u: &[f32], dy: &[f32], acc: bool) = both_body);

#[inline(always)]
fn gate_body<const FMA: bool>(curve: Curve, dx: &mut [f32], g: &[f32], u: &[f32], dy: &[f32], acc: bool) {
    by_curve!(curve, gate_half(dx, g, u, dy, acc));
}

crate::simd_fn!(fn gate_row(curve: Curve, dx: &mut [f32], g: &[f32], u: &[f32], dy: &[f32], acc: bool) = gate_body);

#[inline(always)]
fn up_body<const FMA: bool>(curve: Curve, dx: &mut [f32], g: &[f32], dy: &[f32], acc: bool) {
    by_curve!(curve, up_half(dx, g, dy, acc));
}

crate::simd_fn!(fn up_row(curve: Curve, dx: &mut [f32], g: &[f32], dy: &[f32], acc: bool) = up_body);

/// Gradient of [`gated`], rows of `cols`; for both halves side by side, or for one.
#[allow(clippy::too_many_arguments)]
pub fn gated_bwd(pool: &Pool, curve: Curve, part: Part, dx: &mut [f32], x: Halves<'_>, dy: &[f32], cols: usize, acc: bool) {
    if dx.is_empty() {
        return;
    }
    let width = if part == Part::Both { 2 * cols } else { cols };
    pool.rows(dx, width, LEAST / cols + 1, |first, dx| {
        for (i, (dx, dy)) in dx.chunks_exact_mut(width).zip(dy[first * cols..].chunks_exact(cols)).enumerate() {
            let (g, u) = x.row(first + i, cols);
            match part {
                Part::Both => {
                    let (dg, du) = dx.split_at_mut(cols);
                    both_row(curve, dg, du, g, u, dy, acc);
                }
                Part::Gate => gate_row(curve, dx, g, u, dy, acc),
                Part::Up => up_row(curve, dx, g, dy, acc),
            }
        }
    });
}
