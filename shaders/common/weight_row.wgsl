// Loads of the binding `w` (see weights.wgsl, which says what WT is). Include it after the bindings.
fn w_scale(row: u32, block: u32) -> vec2<f32> {
#ifdef W_BLOCKS
  return unpack2x16float(w[p.s_off + row * (p.k >> 5u) + block]);
#else
  return vec2<f32>(1.0, 0.0);
#endif
}
struct W8 { lo: vec4<f32>, hi: vec4<f32> }
fn w_load8(row: u32, g: u32, s: vec2<f32>) -> W8 {
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
#else
  let at = row * (p.k >> 2u) + 2u * g;
  return W8(q8x4(w[at]) * s.x, q8x4(w[at + 1u]) * s.x);
#endif
}
