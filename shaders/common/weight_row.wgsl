// Loads of the binding `w` (see weights.wgsl, which says what WT is). Include it after the bindings.
#ifdef W_BLOCKS
#define W_WORDS w
#include "common/weight_block.wgsl"
fn w_scale(row: u32, block: u32) -> W_BLOCK { return w_scale_at(row * (p.k >> 5u) + block); }
#else
#define W_BLOCK f32
fn w_scale(row: u32, block: u32) -> f32 { return 1.0; }
#endif
struct W8 { lo: vec4<f32>, hi: vec4<f32> }
fn w_load8(row: u32, g: u32, s: W_BLOCK) -> W8 {
#if WT == F32
  let at = row * (p.k >> 2u) + 2u * g;
  return W8(w[at], w[at + 1u]);
#elif WT == F16
  let q = w[row * (p.k >> 3u) + g];
  return W8(vec4<f32>(unpack2x16float(q.x), unpack2x16float(q.y)), vec4<f32>(unpack2x16float(q.z), unpack2x16float(q.w)));
#elif WT == BF16
  let q = w[row * (p.k >> 3u) + g];
  return W8(bf16x4(q.x, q.y), bf16x4(q.z, q.w));
#elif WT == Q4
  let q = w[row * (p.k >> 3u) + g];
  return W8(q4x4(q) * s.x + s.y, q4x4(q >> 4u) * s.x + s.y);
#elif WT == Q8
  let at = row * (p.k >> 2u) + 2u * g;
  return W8(q8x4(w[at]) * s.x, q8x4(w[at + 1u]) * s.x);
#else
  let q = w_lanes(w_word(row, g), s, g);
  let dm = w_pair(s, g);
  return W8(w_ints(q.x) * dm.x + dm.y, w_ints(q.y) * dm.x + dm.y);
#endif
}
#if W_BLOCKS && WT != Q4 && WT != Q8
// The word of the first plane that has the low bits of group g.
fn w_word(row: u32, g: u32) -> u32 {
#if W_LOW == 2
  return w[row * (p.k >> 4u) + (g >> 1u)];
#else
  return w[row * (p.k >> 3u) + g];
#endif
}
#endif
