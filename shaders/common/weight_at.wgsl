// One weight of a row, for kernels that pick elements (see weights.wgsl for WT and the layouts).
// Include it after the bindings: `w` is array<u32> for every type, p.k the row length, p.s_off the first word of the second plane of blocks.
#if WT == F32
fn w_at(row: u32, c: u32) -> f32 { return bitcast<f32>(w[row * p.k + c]); }
#elif WT == F16
fn w_at(row: u32, c: u32) -> f32 {
  let v = unpack2x16float(w[row * ((p.k + 1u) >> 1u) + (c >> 1u)]);
  return select(v.x, v.y, (c & 1u) == 1u);
}
#elif WT == BF16
fn w_at(row: u32, c: u32) -> f32 {
  let v = w[row * ((p.k + 1u) >> 1u) + (c >> 1u)];
  return bitcast<f32>(select(v << 16u, v & 0xffff0000u, (c & 1u) == 1u));
}
#else
#include "common/weights.wgsl"
#include "common/weight_row.wgsl"
fn w_at(row: u32, c: u32) -> f32 {
  let v = w_load8(row, c >> 3u, w_scale(row, c >> 5u));
  return select(v.lo, v.hi, (c & 4u) != 0u)[c & 3u];
}
#endif
