// The nearest half, of two equally near ones the even one; NaN for NaN and for what is too large. As in src/compute/cpu/kernels/stored.rs: which way
// pack2x16float rounds is left to the adapter.
fn half_of(v: f32) -> u32 {
  let bits = bitcast<u32>(v);
  let a = bits & 0x7fffffffu;
  let normal = (a + 0xfffu + ((a >> 13u) & 1u) - 0x38000000u) >> 13u;
  // Below 2⁻¹⁴ halves are multiples of 2⁻²⁴, and so are the floats from ½ to 1.
  let small = bitcast<u32>(bitcast<f32>(a) + 0.5) - 0x3f000000u;
  return select(select(normal, small, a < 0x38800000u), 0x7e00u, a >= 0x477ff000u) | ((bits >> 16u) & 0x8000u);
}
// Two of them in a word, `a` in its lower part.
fn word(a: f32, b: f32) -> u32 { return half_of(a) | (half_of(b) << 16u); }
