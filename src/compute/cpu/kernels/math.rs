//! Elementary functions in f32 without branches or tables, so that loops over them become vector code on every instruction set.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use crate::cpu::simd::fma;

/// Adding and subtracting 1.5·2²³ rounds to the nearest integer, which is then in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// eˣ within 2e-7 of itself. Results below the smallest normal number are 0 (sums of weights lose nothing, and denormals are slow), those above
/// the largest ∞; NaN stays NaN.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    // ln 2 in two parts: n·HI is exact for |n| < 2⁹.
    const HI: f32 = 0.693_359_4;
    const LO: f32 = -2.121_944_4e-4;
    let c = if x > 89.0 { 89.0 } else { x };
    let c = if c < -88.0 { -88.0 } else { c };
    let t = fma::<FMA>(c, LOG2_E, ROUND);
    let n = t - ROUND;
    let r = fma::<FMA>(n, -LO, fma::<FMA>(n, -HI, c));
    // Cephes' expf: (eʳ − 1 − r) / r² on ±ln 2 / 2.
    let p = fma::<FMA>(1.987_569_2e-4, r, 1.398_2e-3);
    let p = fma::<FMA>(p, r, 8.333_452e-3);
    let p = fma::<FMA>(p, r, 4.166_579_6e-2);
    let p = fma::<FMA>(p, r, 0.166_666_65);
    let p = fma::<FMA>(p, r, 0.5);
    let p = fma::<FMA>(p, r * r, r) + 1.0;
    // 2ⁿ in two factors: n may be 128, which has no float of its own.
    let n = t.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(n.wrapping_add(127).cast_unsigned() << 23);
    let y = p * power(half) * power(n.wrapping_sub(half));
    if x < -87.336_54 { 0.0 } else { y }
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// The normal distribution function Φ(x) within 3e-7, and within 1e-5 of itself far down its lower tail.
#[inline(always)]
pub fn phi<const FMA: bool>(x: f32) -> f32 {
    // erfc by a Chebyshev fit of relative error 1.2e-7 (Numerical Recipes, erfcc).
    let z = x.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / fma::<FMA>(z, 0.5, 1.0);
    let p = fma::<FMA>(0.170_872_77, t, -0.822_152_23);
    let p = fma::<FMA>(p, t, 1.488_515_9);
    let p = fma::<FMA>(p, t, -1.135_204);
    let p = fma::<FMA>(p, t, 0.278_868_07);
    let p = fma::<FMA>(p, t, -0.186_288_06);
    let p = fma::<FMA>(p, t, 0.096_784_18);
    let p = fma::<FMA>(p, t, 0.374_091_96);
    let p = fma::<FMA>(p, t, 1.000_023_7);
    let p = fma::<FMA>(p, t, -1.265_512_2);
    let tail = 0.5 * t * exp::<FMA>(fma::<FMA>(-z, z, p));
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// sin and cos of `turns`·2π. The caller takes whole turns off in f64, which is what keeps far positions exact: |turns| ≤ ½.
#[inline(always)]
pub fn sin_cos_turns<const FMA: bool>(turns: f32) -> (f32, f32) {
    let t = fma::<FMA>(turns, 4.0, ROUND);
    let r = fma::<FMA>(turns, 4.0, ROUND - t) * std::f32::consts::FRAC_PI_2;
    let quarter = t.to_bits();
    let r2 = r * r;
    // Cephes' sinf and cosf on ±π/4.
    let s = fma::<FMA>(fma::<FMA>(-1.951_529_6e-4, r2, 8.332_161e-3), r2, -0.166_666_55);
    let s = fma::<FMA>(s, r2 * r, r);
    let c = fma::<FMA>(fma::<FMA>(2.443_315_7e-5, r2, -1.388_731_6e-3), r2, 4.166_664_6e-2);
    let c = fma::<FMA>(c, r2 * r2, fma::<FMA>(-0.5, r2, 1.0));
    let (a, b) = if quarter & 1 == 0 { (s, c) } else { (c, s) };
    let sign = |v: f32, negative: u32| f32::from_bits(v.to_bits() ^ (negative << 31));
    (sign(a, quarter >> 1 & 1), sign(b, (quarter.wrapping_add(1)) >> 1 & 1))
}

/// eˣ in f64 within 1e-15 of itself, for x ≤ 0; below e⁻⁷⁰⁰ it is 0.
#[inline(always)]
pub fn exp64<const FMA: bool>(x: f64) -> f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const HI: f64 = 0.693_147_180_369_123_8;
    const LO: f64 = 1.908_214_929_270_587_7e-10;
    let mul = |a: f64, b: f64, c: f64| if FMA { a.mul_add(b, c) } else { a * b + c };
    let c = if x < -701.0 { -701.0 } else { x };
    let t = mul(c, std::f64::consts::LOG2_E, ROUND);
    let n = t - ROUND;
    let r = mul(n, -LO, mul(n, -HI, c));
    // The Taylor series to r¹³: what is left out is below 2⁻⁵³ for |r| ≤ ln 2 / 2.
    let mut p = 1.0 / 6_227_020_800.0;
    for f in [479_001_600.0, 39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        p = mul(p, r, 1.0 / f);
    }
    let n = t.to_bits().wrapping_sub(ROUND.to_bits());
    let y = p * f64::from_bits(n.wrapping_add(1023) << 52);
    if x < -700.0 { 0.0 } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(f: impl Fn(bool, f32) -> f32, x: f32, want: f64, tol: f64, what: &str) {
        for fused in [false, true] {
            let got = f64::from(f(fused, x));
            assert!((got - want).abs() <= tol, "{what}({x}) is {got}, not {want} (fused: {fused})");
        }
    }

    fn exp_of(fused: bool, x: f32) -> f32 {
        if fused { exp::<true>(x) } else { exp::<false>(x) }
    }

    #[test]
    fn exp_is_right_everywhere() {
        let mut x = -87.33;
        while x < 88.72 {
            let want = f64::from(x).exp();
            both(exp_of, x, want, 2.5e-7 * want, "exp");
            x += 0.003_7;
        }
        for tiny in [1e-3f32, 1e-6, 1e-20, 1e-40, 0.0, -0.0] {
            for x in [tiny, -tiny] {
                both(exp_of, x, f64::from(x).exp(), 1.2e-7, "exp");
            }
        }
        for fused in [false, true] {
            assert_eq!(exp_of(fused, 0.0), 1.0);
            for x in [f32::NEG_INFINITY, f32::MIN, -1e4, -104.0, -87.4] {
                assert_eq!(exp_of(fused, x), 0.0, "{x}");
            }
            for x in [f32::INFINITY, f32::MAX, 1e4, 89.0, 88.73] {
                assert_eq!(exp_of(fused, x), f32::INFINITY, "{x}");
            }
            assert!(exp_of(fused, 88.722).is_finite());
            assert!(exp_of(fused, f32::NAN).is_nan() && exp_of(fused, -f32::NAN).is_nan());
        }
    }

    #[test]
    fn sigmoid_and_phi_are_right_everywhere() {
        let sigmoid_of = |fused, x| if fused { sigmoid::<true>(x) } else { sigmoid::<false>(x) };
        let phi_of = |fused, x| if fused { phi::<true>(x) } else { phi::<false>(x) };
        let mut x = -12.0f32;
        while x < 12.0 {
            let want = 1.0 / (1.0 + (-f64::from(x)).exp());
            both(sigmoid_of, x, want, 4e-7 * want, "sigmoid");
            // Φ by the midpoint rule from far below.
            x += 0.013;
        }
        for (x, want) in [
            (0.0, 0.5),
            (-1.0, 0.158_655_253_931_457_05),
            (1.0, 0.841_344_746_068_542_9),
            (2.0, 0.977_249_868_051_820_8),
            (-3.0, 1.349_898_031_630_094_5e-3),
            (-5.0, 2.866_515_718_791_939e-7),
            (-8.0, 6.220_960_574_271_784e-16),
            (0.25, 0.598_706_325_682_923_7),
            (7.0, 1.0),
        ] {
            both(phi_of, x, want, if x < 0.0 { 1e-5 * want } else { 3e-7 }, "phi");
        }
        for fused in [false, true] {
            assert_eq!((sigmoid_of(fused, f32::NEG_INFINITY), sigmoid_of(fused, f32::INFINITY)), (0.0, 1.0));
            assert_eq!((phi_of(fused, f32::MIN), phi_of(fused, f32::MAX)), (0.0, 1.0));
            assert!(sigmoid_of(fused, f32::NAN).is_nan() && phi_of(fused, f32::NAN).is_nan());
        }
    }

    #[test]
    fn sin_cos_are_right_in_every_quarter() {
        for i in -5000..=5000 {
            let turns = i as f32 / 10_000.0;
            let want = (f64::from(turns) * std::f64::consts::TAU).sin_cos();
            for (s, c) in [sin_cos_turns::<false>(turns), sin_cos_turns::<true>(turns)] {
                assert!((f64::from(s) - want.0).abs() < 1.5e-7 && (f64::from(c) - want.1).abs() < 1.5e-7, "{turns}: {s} {c}, {want:?}");
            }
        }
    }

    #[test]
    fn exp64_is_exact() {
        for i in 0..70_000 {
            let x = f64::from(i) * -0.01;
            for y in [exp64::<false>(x), exp64::<true>(x)] {
                assert!((y - x.exp()).abs() <= 1e-15 * x.exp(), "{x}: {y}");
            }
        }
        assert_eq!((exp64::<true>(0.0), exp64::<true>(f64::NEG_INFINITY), exp64::<false>(-1e9)), (1.0, 0.0, 0.0));
    }
}
