//! One source, several instruction sets. A kernel's body is an `#[inline(always)]` function with fixed-size arrays that the compiler turns into
//! vectors; [`simd_fn!`](crate::simd_fn) compiles it once per level and calls the best one that this processor has. No unstable features, no
//! `-C target-cpu`. In a browser there is one level, SIMD128, which the build switches on.

use std::sync::OnceLock;

/// What the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Whatever the target guarantees: SSE2, NEON, SIMD128.
    Base,
    /// AVX2 and fused multiply-add.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL).
    Avx512,
}

impl Level {
    /// For a person.
    pub fn name(self) -> &'static str {
        match self {
            Level::Base if cfg!(all(target_arch = "wasm32", not(target_feature = "simd128"))) => "without SIMD128",
            Level::Base if cfg!(target_arch = "wasm32") => "SIMD128",
            Level::Base if cfg!(target_arch = "aarch64") => "NEON",
            Level::Base => "SSE2",
            Level::Avx2 => "AVX2",
            Level::Avx512 => "AVX-512",
        }
    }
}

/// The best level of this processor. `FLEDGLING_SIMD=base|avx2|avx512` lowers it, for tests of every variant.
pub fn level() -> Level {
    // A constant, so that what is for other levels is not part of a browser's binary.
    if cfg!(target_arch = "wasm32") {
        return Level::Base;
    }
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let best = detect();
        let wanted = match std::env::var("FLEDGLING_SIMD").as_deref() {
            Ok("base") => Level::Base,
            Ok("avx2") => Level::Avx2,
            _ => Level::Avx512,
        };
        best.min(wanted)
    })
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    if !(std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") && std::is_x86_feature_detected!("f16c")) {
        return Level::Base;
    }
    let wide = std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512dq")
        && std::is_x86_feature_detected!("avx512vl");
    if wide { Level::Avx512 } else { Level::Avx2 }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Base
}

/// `a·b + c`, fused where the level has it (`FMA`) and in two steps where a fused one would be a library call.
#[inline(always)]
pub fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Whether the base level has a fused multiply-add.
pub const BASE_FMA: bool = cfg!(target_arch = "aarch64");

/// Defines a function that runs `body` in the version for this processor's instruction set. `body` is an `#[inline(always)]`
/// function with a first const parameter `FMA: bool`. What it calls must be `#[inline(always)]` too, and hot loops are `for` loops: a closure
/// that is not inlined is compiled for the base level.
///
/// ```
/// use fledgling_compute::cpu::simd::fma;
/// #[inline(always)]
/// fn axpy_body<const FMA: bool>(y: &mut [f32], a: f32, x: &[f32]) {
///     for (y, x) in y.iter_mut().zip(x) {
///         *y = fma::<FMA>(a, *x, *y);
///     }
/// }
/// fledgling_compute::simd_fn!(fn axpy(y: &mut [f32], a: f32, x: &[f32]) = axpy_body);
/// let mut y = [1.0, 2.0];
/// axpy(&mut y, 2.0, &[1.0, 1.0]);
/// assert_eq!(y, [3.0, 4.0]);
/// ```
#[macro_export]
macro_rules! simd_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                match $crate::cpu::simd::level() {
                    // SAFETY: the level says that the processor has these instructions.
                    $crate::cpu::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::cpu::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::cpu::simd::Level::Base => {}
                }
            }
            $body::<{ $crate::cpu::simd::BASE_FMA }>($($arg),*)
        }
    };
}

/// As [`simd_fn!`](crate::simd_fn) for an `#[inline(always)]` function whose first type parameter is a `cpu::vector::Vector` and whose const
/// parameters are the rows and columns (in registers) of the tile that fits the instruction set's register file.
#[macro_export]
macro_rules! simd_vec {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx2($($arg: $ty),*) {
                    // SAFETY: this function has the instructions.
                    unsafe { $body::<std::arch::x86_64::__m256, 3, 4>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx512($($arg: $ty),*) {
                    // SAFETY: as above.
                    unsafe { $body::<std::arch::x86_64::__m512, 6, 4>($($arg),*) }
                }
                match $crate::cpu::simd::level() {
                    // SAFETY: the level says that the processor has these instructions.
                    $crate::cpu::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::cpu::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::cpu::simd::Level::Base => {}
                }
            }
            // SAFETY: the base is always there.
            unsafe { $body::<$crate::cpu::vector::Base, { $crate::cpu::vector::BASE_ROWS }, 4>($($arg),*) }
        }
    };
}
