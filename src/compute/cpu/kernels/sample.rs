//! Picks a token from the logits of a row, and exactly the one that the f64 reference picks, without sorting the vocabulary: thresholds are found
//! by selection and by histograms of weights, and the race of `weight / exponential` is run with a bound that leaves only few tokens to be computed.
//!
//! Comparisons are in f64, like the reference's: two tokens that f32 cannot tell apart would else be kept or dropped differently.

use std::cell::RefCell;

use super::lanes;
use super::math::{exp, exp64};
use super::random::{BLOCK, bits, exponential};
use crate::cpu::Pool;

/// The numbers of a step; see `ops::sample`.
#[derive(Clone, Copy)]
pub struct Settings {
    pub temperature: f32,
    pub top_p: f32,
    pub min_p: f32,
    pub repetition_penalty: f32,
    pub top_k: u32,
    pub seed: u32,
    pub counter: u32,
}

/// What a row needs for a moment: logits after penalty and temperature, weights, and some of either.
struct Work {
    z: Vec<f64>,
    w: Vec<f64>,
    some: Vec<(f64, f64)>,
    few: Vec<f64>,
}

thread_local! {
    static WORK: RefCell<Work> = const { RefCell::new(Work { z: Vec::new(), w: Vec::new(), some: Vec::new(), few: Vec::new() }) };
}

/// Token and log-probability of each row of `cols` logits, and the token's bit in `seen`. A row that cannot be sampled from gives 0 and NaN.
pub fn sample(pool: &Pool, logits: &[f32], cols: usize, token: &mut [u32], logp: &mut [f32], seen: &mut [u32], s: &Settings) {
    let words = cols.div_ceil(32);
    let bits = &*seen;
    pool.rows2((&mut *token, 1), (&mut *logp, 1), 1, |first, token, logp| {
        for (i, (token, logp)) in token.iter_mut().zip(logp).enumerate() {
            let row = first + i;
            let x = &logits[row * cols..(row + 1) * cols];
            let picked = WORK.with(|w| pick(&mut w.borrow_mut(), x, row as u32, &bits[row * words..(row + 1) * words], s));
            (*token, *logp) = picked.map_or((0, f32::NAN), |(i, logp)| (i as u32, logp));
        }
    });
    for ((token, logp), seen) in token.iter().zip(logp).zip(seen.chunks_exact_mut(words)) {
        if !logp.is_nan() {
            seen[*token as usize / 32] |= 1 << (token % 32);
        }
    }
}

fn pick(work: &mut Work, x: &[f32], row: u32, seen: &[u32], s: &Settings) -> Option<(usize, f32)> {
    let largest = lanes_max(x);
    if has_nan(x) || !largest.is_finite() {
        return None;
    }
    let log_sum = f64::from(largest) + f64::from(sum_exp(x, largest)).ln();
    let result = |i: usize| Some((i, (f64::from(x[i]) - log_sum) as f32));
    let penalty = f64::from(s.repetition_penalty);
    if s.temperature <= 0.0 && penalty == 1.0 {
        return result(first_largest(x));
    }
    let temperature = if s.temperature > 0.0 { f64::from(s.temperature.max(1e-6)) } else { 1.0 };
    let z = sized(&mut work.z, x.len());
    scaled(z, x, temperature);
    for (word, bits) in seen.iter().enumerate() {
        let mut bits = *bits;
        while bits != 0 {
            let i = 32 * word + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            // There may be stray bits behind the last token.
            if let Some(x) = x.get(i).map(|x| f64::from(*x)) {
                z[i] = if x < 0.0 { x * penalty / temperature } else { x / penalty / temperature };
            }
        }
    }
    let (mut best, mut top) = (0, z[0]);
    for (i, v) in z.iter().enumerate() {
        if *v > top {
            (best, top) = (i, *v);
        }
    }
    if s.temperature <= 0.0 {
        // Of equal ones the reference takes 0 before −0.
        let same = z.iter().enumerate().skip(best).filter(|(_, v)| **v == top && top == 0.0 && v.is_sign_positive());
        return result(same.map(|(i, _)| i).next().unwrap_or(best));
    }
    let k = s.top_k as usize;
    let kth = if k > 0 && k < z.len() { kth_largest(z, k, &mut work.few) } else { f64::NEG_INFINITY };
    let mut floor = if s.min_p > 0.0 { kth.max(top + f64::from(s.min_p).ln().min(0.0)) } else { kth };
    if s.top_p < 1.0 {
        let w = sized(&mut work.w, z.len());
        let (mass, least) = weights(w, z, top, kth);
        floor = floor.max(nucleus(z, w, (least, top), f64::from(s.top_p) * mass, &mut work.some));
    }
    // Every weight is exp(z − top), the best one's is 1.
    let first = 1.0 / exponential(bits(s.seed, s.counter, row, best / BLOCK)[best % BLOCK]);
    let best = race(z, top, floor, (s.seed, s.counter, row), (best, first));
    result(best)
}

fn sized(v: &mut Vec<f64>, n: usize) -> &mut [f64] {
    if v.len() < n {
        v.resize(n, 0.0);
    }
    &mut v[..n]
}

#[inline(always)]
fn max_body<const FMA: bool>(x: &[f32]) -> f32 {
    lanes::max(x)
}

crate::simd_fn!(fn lanes_max(x: &[f32]) -> f32 = max_body);

#[inline(always)]
fn has_nan_body<const FMA: bool>(x: &[f32]) -> bool {
    let mut found = 0;
    for x in x {
        found |= u32::from(x.is_nan());
    }
    found != 0
}

crate::simd_fn!(fn has_nan(x: &[f32]) -> bool = has_nan_body);

#[inline(always)]
fn sum_exp_body<const FMA: bool>(x: &[f32], top: f32) -> f32 {
    lanes::sum_exp::<FMA>(x, top)
}

crate::simd_fn!(fn sum_exp(x: &[f32], top: f32) -> f32 = sum_exp_body);

/// The order of `total_cmp` as integers.
#[inline(always)]
fn key(x: f32) -> i32 {
    let bits = x.to_bits().cast_signed();
    bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed()
}

#[inline(always)]
fn first_largest_body<const FMA: bool>(x: &[f32]) -> usize {
    let mut top = i32::MIN;
    for x in x {
        top = top.max(key(*x));
    }
    x.iter().position(|x| key(*x) == top).unwrap_or(0)
}

crate::simd_fn!(fn first_largest(x: &[f32]) -> usize = first_largest_body);

#[inline(always)]
fn scaled_body<const FMA: bool>(z: &mut [f64], x: &[f32], temperature: f64) {
    for (z, x) in z.iter_mut().zip(x) {
        *z = f64::from(*x) / temperature;
    }
}

crate::simd_fn!(fn scaled(z: &mut [f64], x: &[f32], temperature: f64) = scaled_body);

#[inline(always)]
fn group_max_body<const FMA: bool>(out: &mut [f64], z: &[f64], per: usize) {
    for (out, z) in out.iter_mut().zip(z.chunks(per)) {
        let mut top = [f64::NEG_INFINITY; 8];
        let (all, rest) = z.as_chunks::<8>();
        for z in all {
            for i in 0..8 {
                top[i] = if z[i] > top[i] { z[i] } else { top[i] };
            }
        }
        *out = top.iter().chain(rest).fold(f64::NEG_INFINITY, |m, v| if *v > m { *v } else { m });
    }
}

crate::simd_fn!(fn group_max(out: &mut [f64], z: &[f64], per: usize) = group_max_body);

/// The `k`-th largest value, equal ones counted. Of the largest of many groups the k-th largest is a lower bound, which leaves few candidates.
fn kth_largest(z: &[f64], k: usize, few: &mut Vec<f64>) -> f64 {
    const GROUPS: usize = 1024;
    let descending = |a: &f64, b: &f64| b.total_cmp(a);
    few.clear();
    if k <= GROUPS / 2 && z.len() >= 4 * GROUPS {
        let per = z.len().div_ceil(GROUPS);
        few.resize(z.len().div_ceil(per), 0.0);
        group_max(few, z, per);
        let bound = *few.select_nth_unstable_by(k - 1, descending).1;
        few.clear();
        few.extend(z.iter().filter(|v| **v >= bound));
    } else {
        few.extend_from_slice(z);
    }
    *few.select_nth_unstable_by(k - 1, descending).1
}

/// w = exp(z − top) where z ≥ kth, else 0. Gives the sum and the smallest z of a positive weight.
#[inline(always)]
fn weights_body<const FMA: bool>(w: &mut [f64], z: &[f64], top: f64, kth: f64) -> (f64, f64) {
    const N: usize = 16;
    let (mut sum, mut least) = ([0.0; N], [f64::INFINITY; N]);
    for (w, z) in w.chunks_mut(N).zip(z.chunks(N)) {
        for (((w, z), sum), least) in w.iter_mut().zip(z).zip(&mut sum).zip(&mut least) {
            let e = exp64::<FMA>(z - top);
            let e = if *z >= kth { e } else { 0.0 };
            *w = e;
            *sum += e;
            *least = if e > 0.0 && *z < *least { *z } else { *least };
        }
    }
    (sum.iter().sum(), least.into_iter().fold(f64::INFINITY, f64::min))
}

crate::simd_fn!(fn weights(w: &mut [f64], z: &[f64], top: f64, kth: f64) -> (f64, f64) = weights_body);

/// The smallest z that is kept when tokens are taken from the largest on until those before a token weigh `limit`. Finds the bucket of a histogram in
/// which that happens, looks into it the same way, and sorts only what is left in the end.
fn nucleus(z: &[f64], w: &[f64], range: (f64, f64), limit: f64, some: &mut Vec<(f64, f64)>) -> f64 {
    const BUCKETS: usize = 2048;
    /// So many are sorted.
    const FEW: usize = 512;
    let (mut low, mut high) = range;
    let mut above = 0.0;
    // A bucket is a 2048th of the one before, so this ends; the bound is for ranges that do not get smaller any more in f64.
    for _ in 0..8 {
        let scale = BUCKETS as f64 / (high - low);
        if !scale.is_finite() || scale <= 0.0 {
            break;
        }
        let mut sums = [0.0f64; BUCKETS];
        let bucket = |v: f64| (((high - v) * scale) as usize).min(BUCKETS - 1);
        let inside = |v: f64, w: f64| w > 0.0 && v >= low && v <= high;
        for (v, w) in z.iter().zip(w) {
            if inside(*v, *w) {
                sums[bucket(*v)] += w;
            }
        }
        let mut found = None;
        for (i, s) in sums.iter().enumerate() {
            if *s > 0.0 && above + s >= limit {
                found = Some(i);
                break;
            }
            above += s;
        }
        let Some(found) = found else { return f64::NEG_INFINITY };
        some.clear();
        some.extend(z.iter().zip(w).filter(|(v, w)| inside(**v, **w) && bucket(**v) == found).map(|(v, w)| (*v, *w)));
        let (a, b) = some.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (v, _)| (a.min(*v), b.max(*v)));
        (low, high) = (a, b);
        if some.len() <= FEW {
            break;
        }
    }
    some.retain(|(v, _)| *v >= low && *v <= high);
    if some.is_empty() {
        // All are equal.
        return high;
    }
    some.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut kept, mut at) = (high, 0);
    while at < some.len() && (above == 0.0 || above < limit) {
        kept = some[at].0;
        while at < some.len() && some[at].0 == kept {
            above += some[at].1;
            at += 1;
        }
    }
    kept
}

/// Of the tokens with z ≥ floor the one with the largest weight / exponential, and of equal ones the first. Starts with `best`.
#[inline(always)]
fn race_body<const FMA: bool>(z: &[f64], top: f64, floor: f64, (seed, counter, row): (u32, u32, u32), best: (usize, f64)) -> usize {
    let (mut index, mut best) = best;
    for (block, z) in z.chunks(BLOCK).enumerate() {
        let mut some = 0;
        for z in z {
            some |= u32::from(*z >= floor);
        }
        if some == 0 {
            continue;
        }
        let random = bits(seed, counter, row, block);
        // −ln(1 − u) ≥ u, so weight / u bounds the result; the margin covers the rounding of f32.
        let bound = best as f32 * (1.0 - 1e-4) / 4_294_967_296.0;
        let mut candidates = 0;
        for (i, (z, h)) in z.iter().zip(&random).enumerate() {
            let weight = exp::<FMA>((z - top) as f32);
            candidates |= u32::from(*z >= floor && weight >= bound * *h as f32) << i;
        }
        while candidates != 0 {
            let i = candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            let result = (z[i] - top).exp() / exponential(random[i]);
            let i = block * BLOCK + i;
            if result > best || (result == best && i < index) {
                (index, best) = (i, result);
            }
        }
    }
    index
}

crate::simd_fn!(fn race(z: &[f64], top: f64, floor: f64, stream: (u32, u32, u32), best: (usize, f64)) -> usize = race_body);
