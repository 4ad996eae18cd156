// One weight of a row, for kernels that pick elements (see weights.wgsl for WT and graph::pack_rows for the layouts).
// Include it after the bindings: `w` is array<u32>, p.k the row length, p.s_off the first word of the scale plane.
fn w_at(row: u32, c: u32) -> f32 {
#if WT == F32
  return bitcast<f32>(w[row * p.k + c]);
#elif WT == F16
  let v = unpack2x16float(w[row * ((p.k + 1u) >> 1u) + (c >> 1u)]);
  return select(v.x, v.y, (c & 1u) == 1u);
#elif WT == BF16
  let v = w[row * ((p.k + 1u) >> 1u) + (c >> 1u)];
  return bitcast<f32>(select(v << 16u, v & 0xffff0000u, (c & 1u) == 1u));
#else
  let s = unpack2x16float(w[p.s_off + row * (p.k >> 5u) + (c >> 5u)]);
#if WT == Q4
  let q = (w[row * (p.k >> 3u) + (c >> 3u)] >> (((c & 3u) << 3u) | (c & 4u))) & 15u;
  return f32(i32(q)) * s.x + s.y;
#else
  let q = bitcast<i32>(w[row * (p.k >> 2u) + (c >> 2u)] << (24u - ((c & 3u) << 3u))) >> 24u;
  return f32(q) * s.x;
#endif
#endif
}
