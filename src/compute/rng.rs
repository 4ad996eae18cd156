//! The host twin of `shaders/common/rng.wgsl`: counter-based random bits without state, the same on every executor.
//!
//! The hash is pcg4d of M. Jarzynski and M. Olano, "Hash Functions for GPU Rendering", Journal of Computer Graphics
//! Techniques 9(3), 2020.

/// Four words to four hashed words.
pub fn pcg4d(key: [u32; 4]) -> [u32; 4] {
    let mut v = key.map(|x| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    mix(&mut v);
    v = v.map(|x| x ^ (x >> 16));
    mix(&mut v);
    v
}

fn mix(v: &mut [u32; 4]) {
    v[0] = v[0].wrapping_add(v[1].wrapping_mul(v[3]));
    v[1] = v[1].wrapping_add(v[2].wrapping_mul(v[0]));
    v[2] = v[2].wrapping_add(v[0].wrapping_mul(v[1]));
    v[3] = v[3].wrapping_add(v[1].wrapping_mul(v[2]));
}

/// 32 random bits of element `i` in the stream (seed, counter, salt): one hash serves four neighbours.
pub fn bits(seed: u32, counter: u32, salt: u32, i: u32) -> u32 {
    pcg4d([seed, counter, salt, i >> 2])[(i & 3) as usize]
}

/// A standard exponential variate from 32 bits: `−ln(1 − u)` with `u = (h + ½) / 2³²`.
pub fn exponential(h: u32) -> f64 {
    let v = (f64::from(h) + 0.5) / 4_294_967_296.0;
    -(-v).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_look_random() {
        // Every bit is set about half of the time, along the index and along the counter.
        let n = 20_000u32;
        for (name, f) in
            [("index", (|i| bits(1, 2, 3, i)) as fn(u32) -> u32), ("counter", |i| bits(1, i, 3, 9)), ("seed", |i| bits(i, 0, 0, 0))]
        {
            for bit in 0..32 {
                let ones = (0..n).filter(|i| f(*i) >> bit & 1 == 1).count() as f64;
                let z = (ones - f64::from(n) / 2.0) / (f64::from(n) / 4.0).sqrt();
                assert!(z.abs() < 5.0, "{name} bit {bit}: z = {z}");
            }
        }
    }

    #[test]
    fn exponential_has_mean_one() {
        let n = 100_000;
        let mean = (0..n).map(|i| exponential(bits(5, 0, 0, i))).sum::<f64>() / f64::from(n);
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!(exponential(0) > 0.0 && exponential(u32::MAX).is_finite());
    }
}
