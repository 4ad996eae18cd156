//! One file per op family: shape rule, kernels, backward and f64 host reference.

pub mod activation;
pub mod adapter;
pub mod attention;
pub mod dora;
pub mod elementwise;
pub mod embedding;
pub mod half;
pub mod head;
mod kv;
pub mod linear;
pub mod loss;
pub mod lstm;
pub mod norm;
pub mod optim;
pub mod optim8;
pub mod reduce;
pub mod rope;
pub mod sample;
pub mod softcap;

use crate::cpu::kernels::activation::Curve;
use crate::gpu::Gpu;
pub use fledgling_compute::rng;

/// True when row kernels run one thread per row without barriers (software adapters), not one workgroup per row.
pub(crate) fn serial_rows(gpu: &Gpu) -> bool {
    gpu.tuning().borrow().pick("rows", "serial", "group") == "serial"
}

/// Rounds that a thread may make in one dispatch, all its loops together: llvmpipe ends them after 65,535, silently. Some are left for
/// short loops at the edges.
pub(crate) const ROUNDS: usize = 60_000;

/// 0..n in pieces for as many dispatches as it takes when each element costs a thread `each` rounds: (first, end). One empty piece for
/// nothing, so that outputs are still written.
pub(crate) fn pieces(n: usize, each: usize) -> impl Iterator<Item = (usize, usize)> {
    cut(n, (ROUNDS / each.max(1)).max(1))
}

/// 0..n in pieces of `step`, as [`pieces`].
pub(crate) fn cut(n: usize, step: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n.div_ceil(step).max(1)).map(move |i| (i * step, n.min((i + 1) * step)))
}

/// Threads of a row kernel's workgroup and its grid for `rows` rows.
pub(crate) fn row_grid(gpu: &Gpu, rows: usize) -> [u32; 3] {
    if serial_rows(gpu) { gpu.grid(rows, 64) } else { gpu.grid(rows, 1) }
}

/// An activation function; `define` is its name in `shaders/common/act.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// x·Φ(x) with the error function.
    Gelu,
    /// The tanh approximation of GELU (Hendrycks & Gimpel 2016).
    GeluTanh,
    Relu,
    /// x·σ(x), also called swish.
    Silu,
}

impl Act {
    /// The define that selects it in `common/act.wgsl`.
    pub fn define(self) -> &'static str {
        match self {
            Act::Gelu => "GELU",
            Act::GeluTanh => "GELU_TANH",
            Act::Relu => "RELU",
            Act::Silu => "SILU",
        }
    }

    /// Its name among the processor's kernels.
    pub(crate) fn curve(self) -> Curve {
        match self {
            Act::Gelu => Curve::Gelu,
            Act::GeluTanh => Curve::GeluTanh,
            Act::Relu => Curve::Relu,
            Act::Silu => Curve::Silu,
        }
    }

    /// f(x) in f64.
    pub fn value(self, x: f64) -> f64 {
        match self {
            Act::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
            Act::GeluTanh => 0.5 * x * (1.0 + tanh_argument(x).tanh()),
            Act::Relu => x.max(0.0),
            Act::Silu => x / (1.0 + (-x).exp()),
        }
    }

    /// f′(x) in f64.
    pub fn slope(self, x: f64) -> f64 {
        match self {
            Act::Gelu => {
                let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
                0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2)) + x * density
            }
            Act::GeluTanh => {
                let t = tanh_argument(x).tanh();
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (1.0 + 3.0 * 0.044715 * x * x);
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
            }
            Act::Relu => f64::from(u8::from(x > 0.0)),
            Act::Silu => {
                let s = 1.0 / (1.0 + (-x).exp());
                s * (1.0 + x * (1.0 - s))
            }
        }
    }
}

fn tanh_argument(x: f64) -> f64 {
    (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)
}

/// The error function to f64 accuracy: Maclaurin series below 3 (Abramowitz & Stegun 7.1.6), continued fraction of erfc
/// above (7.1.14).
pub(crate) fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a > 6.0 {
        return x.signum();
    }
    if a < 3.0 {
        // erf x = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): all terms positive, no cancellation.
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term > 1e-17 * sum {
            n += 1.0;
            term *= 2.0 * a * a / (2.0 * n + 1.0);
            sum += term;
        }
        return x.signum() * 2.0 / std::f64::consts::PI.sqrt() * (-a * a).exp() * sum;
    }
    let mut f = a;
    for k in (1..60).rev() {
        f = a + 0.5 * f64::from(k) / f;
    }
    x.signum() * (1.0 - (-a * a).exp() / (std::f64::consts::PI.sqrt() * f))
}
