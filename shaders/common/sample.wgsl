// What the two sampling kernels share. A row of logits is worked on in chunks of CHUNK; each chunk leaves PART words:
//   0 largest raw logit, 1 Σ exp(raw − largest), 2 largest z, 3 Σ exp(z − largest), 4 largest race of the chunk with exp(z − largest),
//   5 its index, 6 index of the largest z, 7 not zero: a logit is NaN or +∞
// z are the logits after repetition penalty and temperature. The race of token i is exp(z)/E with E exponentially distributed: the
// largest one is at i with probability softmax(z)[i], within any set of tokens (the Gumbel-max trick without its logarithms).
#define CHUNK 256u
#define PART 8u
// −∞ is held as this: a number that differences and products may be formed with.
#define LOW (-3.4e38)

// exp for arguments that may be far below zero.
fn exp0(d: f32) -> f32 { return select(exp(d), 0.0, d < -87.0); }

// ln((1 + s)/(1 − s)) = 2·atanh(s), |s| ≤ 1/3: seven terms of the series, relative error 2e-8.
fn atanh2(s: vec4<f32>) -> vec4<f32> {
  let q = s * s;
  return 2.0 * s * (1.0 + q * (1.0 / 3.0 + q * (0.2 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0)))))));
}
// Exponential variates −ln(1 − u), u = (h + ½)/2³², from random bits h, to full relative accuracy also near 0, where log() has none:
// the winners of a race are there.
fn exponential4(h: vec4<u32>) -> vec4<f32> {
  let small = h < vec4<u32>(0x80000000u);
  // u below ½, otherwise 1 − u.
  let w = (vec4<f32>(vec4<i32>(select(~h, h, small))) + 0.5) * 2.3283064365386963e-10;
  let bits = bitcast<vec4<u32>>(w);
  var e = vec4<f32>(vec4<i32>(bits >> vec4<u32>(23u)) - 127);
  var m = bitcast<vec4<f32>>((bits & vec4<u32>(0x7fffffu)) | vec4<u32>(0x3f800000u));
  let high = m > vec4<f32>(1.41421356);
  m = select(m, m * 0.5, high);
  e = select(e, e + 1.0, high);
  // −ln(1 − u) = 2·atanh(u/(2 − u));   −ln w = −(e·ln 2 + 2·atanh((m − 1)/(m + 1))).
  let a = atanh2(select(m - 1.0, w, small) / select(m + 1.0, 2.0 - w, small));
  return select(-(e * 0.69314718056 + a), a, small);
}
