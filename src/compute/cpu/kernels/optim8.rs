//! AdamW with 8-bit moments: blocks of 256 elements, each by itself.

use super::optim::Step;
use crate::cpu::Pool;

const BLOCK: usize = 256;

/// What a step changes of one block.
pub struct Block<'a> {
    pub params: &'a mut [f32],
    pub grads: &'a mut [f32],
    /// 64 words of m's codes, then 64 of v's.
    codes: &'a mut [u32],
    /// Of m and of v.
    absmax: &'a mut [f32],
}

/// The blocks of a table of (first element, elements), which rise and do not overlap.
///
/// # Panics
/// When they do: the table is ours.
pub fn blocks<'a>(
    table: &[u32],
    mut params: &'a mut [f32],
    mut grads: &'a mut [f32],
    codes: &'a mut [u32],
    absmax: &'a mut [f32],
) -> Vec<Block<'a>> {
    let mut at = 0;
    let state = codes.chunks_exact_mut(BLOCK / 2).zip(absmax.chunks_exact_mut(2));
    let mut all = Vec::with_capacity(table.len() / 2);
    for (t, (codes, absmax)) in table.chunks_exact(2).zip(state) {
        let (start, len) = (t[0] as usize, t[1] as usize);
        let next = |all: &mut &'a mut [f32]| {
            let (part, rest) = std::mem::take(all).split_at_mut(start - at).1.split_at_mut(len);
            *all = rest;
            part
        };
        let (p, g) = (next(&mut params), next(&mut grads));
        all.push(Block { params: p, grads: g, codes, absmax });
        at = start + len;
    }
    all
}

/// The code whose value is nearest, of two equally near ones the lower.
#[inline(always)]
fn nearest(x: f32, middles: &[f32; BLOCK]) -> usize {
    let mut code = 0;
    let mut bit = BLOCK / 2;
    while bit > 0 {
        // middles[c] lies between the values of c − 1 and c.
        code += if x > middles[code + bit] { bit } else { 0 };
        bit /= 2;
    }
    code
}

#[inline(always)]
fn block_body<const FMA: bool>(b: &mut Block<'_>, map: &[f32], middles: &[[f32; BLOCK]; 2], s: &Step) {
    let mut new = [[0.0f32; BLOCK]; 2];
    let value = |codes: &[u32], at: usize, i: usize| map[BLOCK * at + (codes[64 * at + i / 4] >> (8 * (i % 4)) & 255) as usize];
    for (i, (p, g)) in b.params.iter_mut().zip(b.grads.iter_mut()).enumerate() {
        let grad = *g * s.scale;
        *g = 0.0;
        let m = s.beta1 * (value(b.codes, 0, i) * b.absmax[0]) + s.rest1 * grad;
        let v = s.beta2 * (value(b.codes, 1, i) * b.absmax[1]) + s.rest2 * grad * grad;
        (new[0][i], new[1][i]) = (m, v);
        *p = *p * s.keep - s.rate * m / (v.sqrt() * s.root + s.epsilon);
    }
    for (at, new) in new.iter().enumerate() {
        let top = new.iter().fold(0.0f32, |top, v| top.max(v.abs()));
        b.absmax[at] = top;
        for (word, four) in b.codes[64 * at..64 * (at + 1)].iter_mut().zip(new.chunks_exact(4)) {
            *word = four.iter().enumerate().fold(0, |word, (k, v)| {
                let code = nearest(if top > 0.0 { v / top } else { 0.0 }, &middles[at]);
                // A v that is not 0 does not become 0.
                let code = code.max(usize::from(at == 1 && *v > 0.0));
                word | (code as u32) << (8 * k)
            });
        }
    }
}

crate::simd_fn!(fn block(b: &mut Block<'_>, map: &[f32], middles: &[[f32; BLOCK]; 2], s: &Step) = block_body);

/// One step on blocks; gradients are zeroed. `map` has the values of m's codes and of v's.
pub fn adamw(pool: &Pool, mut blocks: Vec<Block<'_>>, map: &[f32], s: &Step) {
    let mut middles = [[f32::NEG_INFINITY; BLOCK]; 2];
    for (middles, map) in middles.iter_mut().zip(map.chunks_exact(BLOCK)) {
        (1..BLOCK).for_each(|c| middles[c] = 0.5 * (map[c - 1] + map[c]));
    }
    pool.rows(&mut blocks, 1, 16, |_, some| some.iter_mut().for_each(|b| block(b, map, &middles, s)));
}
