// rotation(position, freq) → (cos, sin) of position·freq, to about 1e-7 for every u32 position.
// A product in f32 would be off by 0.004 radians at position 65536, and the built-in sine of some adapters is far worse for large
// arguments. So the angle is kept in turns as a 64-bit fixed-point fraction: whole turns fall off by themselves, and no rounding that a
// compiler may choose matters.
fn mul_wide(a: u32, b: u32) -> vec2<u32> { // (low, high) of the 64-bit product
  let al = a & 0xffffu;
  let ah = a >> 16u;
  let bl = b & 0xffffu;
  let bh = b >> 16u;
  let low = al * bl;
  let mid1 = ah * bl + (low >> 16u);
  let mid2 = al * bh + (mid1 & 0xffffu);
  return vec2<u32>((mid2 << 16u) | (low & 0xffffu), ah * bh + (mid1 >> 16u) + (mid2 >> 16u));
}
fn rotation(position: u32, freq: f32) -> vec2<f32> {
  let bits = bitcast<u32>(freq);
  let exponent = (bits >> 23u) & 255u;
  if (exponent == 0u) { return vec2<f32>(1.0, 0.0); } // zero, or too small to turn anything
  // freq = mantissa · 2^(exponent − 150); mantissa · 2⁶⁴/2π is (w2, w1, w0).
  let mantissa = (bits & 0x7fffffu) | 0x800000u;
  let a = mul_wide(mantissa, 0x9391054au);
  let b = mul_wide(mantissa, 0x28be60dbu);
  var w0 = a.x;
  var w1 = a.y + b.x;
  var w2 = b.y + select(0u, 1u, w1 < b.x);
  // Shifted right by 150 − exponent: turns per position, 64 bits behind the point.
  let shift = 150u - min(exponent, 150u);
  for (var i = 0u; i < (shift >> 5u); i++) {
    w0 = w1;
    w1 = w2;
    w2 = 0u;
  }
  let s = shift & 31u;
  if (s > 0u) {
    w0 = (w0 >> s) | (w1 << (32u - s));
    w1 = (w1 >> s) | (w2 << (32u - s));
  }
  let turns = position * w1 + mul_wide(position, w0).y;
  // Nearest quarter turn, and −π/4…π/4 around it, where the first terms of both series are enough.
  let quarter = (turns + 0x20000000u) >> 30u;
  let x = f32(bitcast<i32>(turns - (quarter << 30u))) * 1.4629180793e-9; // 2π / 2³²
  let z = x * x;
  let sine = x + x * z * (-1.6666666667e-1 + z * (8.3333333333e-3 + z * (-1.9841269841e-4 + z * 2.7557319224e-6)));
  let cosine = 1.0 + z * (-0.5 + z * (4.1666666667e-2 + z * (-1.3888888889e-3 + z * 2.4801587302e-5)));
  var r = vec2<f32>(cosine, sine);
  if ((quarter & 1u) != 0u) { r = vec2<f32>(-sine, cosine); }
  if ((quarter & 2u) != 0u) { r = -r; }
  return vec2<f32>(r.x, select(r.y, -r.y, (bits >> 31u) != 0u));
}
// Where a head (of q, then k, then v) lies in a fused row.
fn place(head: u32) -> u32 { return select(head, head % p.heads * 3u + head / p.heads, p.by_head != 0u); }
