//! The counter-based random bits of `rng` and `shaders/common/rng.wgsl`, many at once.

/// Elements of a block.
pub const BLOCK: usize = 32;
const HASHES: usize = BLOCK / 4;

/// Bits of the elements `BLOCK·block …` of the stream (seed, counter, salt).
#[inline(always)]
pub fn bits(seed: u32, counter: u32, salt: u32, block: usize) -> [u32; BLOCK] {
    // pcg4d, one hash per lane.
    let start = |word: u32| word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let mut v = [[start(seed); HASHES], [start(counter); HASHES], [start(salt); HASHES], [0; HASHES]];
    for (i, v) in v[3].iter_mut().enumerate() {
        *v = start((block * HASHES + i) as u32);
    }
    mix(&mut v);
    for word in &mut v {
        for v in word {
            *v ^= *v >> 16;
        }
    }
    mix(&mut v);
    let mut out = [0; BLOCK];
    for (i, out) in out.chunks_exact_mut(4).enumerate() {
        for (out, v) in out.iter_mut().zip(&v) {
            *out = v[i];
        }
    }
    out
}

/// A standard exponential variate from 32 bits.
#[inline(always)]
pub fn exponential(h: u32) -> f64 {
    let v = (f64::from(h) + 0.5) / 4_294_967_296.0;
    -(-v).ln_1p()
}

#[inline(always)]
fn mix(v: &mut [[u32; HASHES]; 4]) {
    for (to, a, b) in [(0, 1, 3), (1, 2, 0), (2, 0, 1), (3, 1, 2)] {
        let (a, b) = (v[a], v[b]);
        for ((to, a), b) in v[to].iter_mut().zip(a).zip(b) {
            *to = to.wrapping_add(a.wrapping_mul(b));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bits_are_those_of_the_reference() {
        for (seed, counter, salt, block) in [(0, 0, 0, 0), (1, 2, 3, 5), (u32::MAX, 7, 0x8000_0000, 40_000_000)] {
            for (i, b) in super::bits(seed, counter, salt, block).into_iter().enumerate() {
                assert_eq!(super::exponential(b), crate::rng::exponential(b));
                assert_eq!(b, crate::rng::bits(seed, counter, salt, (block * super::BLOCK + i) as u32));
            }
        }
    }
}
