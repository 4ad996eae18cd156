// y = x·wᵀ for few rows of x and weights in blocks: TM × TN·PARTS sums per thread, 32 values at a time, no barrier.
// For software adapters: integers are masked where they stand, not shifted, x is scaled by the powers of two instead; a block's scale and
// minimum are applied to its sums, Σ x·(d·q + m) = d·Σ x·q + m·Σ x. What is done to x serves all its rows of w. Of a block of 256 values, factors are
// read once, and scales stay where they stand in their words, too.
// See common/linear_io.wgsl for the layout and what is added. Overwrites y. GLU: PARTS = 2, TN gate rows and their up rows, else 1.
// Grid: (⌈n/TN⌉ / 8, ⌈m/TM⌉): one thread per tile, 8 along n per workgroup.
// Variants: BLOCKS {WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,RESIDUAL|EXTRA,BIAS,LORA,RESIDUAL} PARTS=1 {TM=1,TN=16|TM=4,TN=8}
// Variants: BLOCKS {WT=Q4|WT=Q8} NORM {|EXTRA,LORA|EXTRA,BIAS,LORA} {PARTS=1,TM=1,TN=16|PARTS=1,TM=4,TN=8|PARTS=2,GLU,ACT=SILU,TM=1,TN=8}
// Variants: BLOCKS {WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,BIAS,LORA} GLU,TM=2,TN=4,PARTS=2 {ACT=RELU|ACT=SILU|ACT=GELU|ACT=GELU_TANH}
// Variants: BLOCKS {WT=Q5|WT=Q2K|WT=Q3K|WT=Q4K|WT=Q5K|WT=Q6K|WT=IQ4|WT=IQ4X|WT=MX4} {PARTS=1,TM=1,TN=16|PARTS=1,TM=4,TN=8,EXTRA,LORA|PARTS=2,TM=1,TN=8,NORM,GLU,ACT=SILU|PARTS=2,TM=2,TN=4,GLU,ACT=SILU}
#include "common/linear_io.wgsl"
#if WT == Q4 || WT == Q4K
#define NIBBLES 1
// Vectors 0…7 of a block's 32 elements: the low nibbles of a word are four neighbours, its high nibbles the next four. The sign bit is
// flipped, so that the topmost nibble is q − 8 as a signed integer.
#define FLIP 0x80000000u
fn low(word: u32) -> vec4<f32> { return vec4<f32>(vec4<i32>(vec4<u32>(word) & vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u))); }
fn high(word: u32) -> vec4<f32> { return vec4<f32>(vec4<i32>(vec4<u32>(word) & vec4<u32>(0xf0u, 0xf000u, 0xf00000u, 0xf0000000u))); }
const LOW = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
const HIGH = LOW * 0x1p-4;
#elif WT == Q8
// Three bytes of a word are made unsigned by adding 128; the fourth keeps its sign.
#define FLIP 0x00808080u
fn bytes(word: u32) -> vec4<f32> { return vec4<f32>(vec4<i32>(vec4<u32>(word) & vec4<u32>(0xffu, 0xff00u, 0xff0000u, 0xff000000u))); }
const LOW = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
const HIGH = LOW;
#elif WT == MX4
const LOW = vec4<f32>(1.0, 0x1p-8, 0x1p-16, 0x1p-24);
const HIGH = LOW * 0x1p-4;
// 0, 1, 2, 3, 4, 6, 8, 12: the largest of three lines, all of it `unit` times as large. The fourth bit is the sign's.
fn lines(a: vec4<f32>, unit: vec4<f32>) -> vec4<f32> {
  let b = a + a - 4.0 * unit;
  return max(max(a, b), b + b - 8.0 * unit);
}
fn low(word: u32) -> vec4<f32> {
  let v = vec4<u32>(word);
  let size = lines(vec4<f32>(vec4<i32>(v & vec4<u32>(0x7u, 0x700u, 0x70000u, 0x7000000u))), vec4<f32>(1.0, 0x1p8, 0x1p16, 0x1p24));
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(size) | ((v * vec4<u32>(0x10000000u, 0x100000u, 0x1000u, 0x10u)) & vec4<u32>(0x80000000u)));
}
fn high(word: u32) -> vec4<f32> {
  let v = vec4<u32>(word);
  let size = lines(vec4<f32>(vec4<i32>(v & vec4<u32>(0x70u, 0x7000u, 0x700000u, 0x70000000u))), vec4<f32>(0x1p4, 0x1p12, 0x1p20, 0x1p28));
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(size) | ((v * vec4<u32>(0x1000000u, 0x10000u, 0x100u, 1u)) & vec4<u32>(0x80000000u)));
}
#define FLIP 0u
#elif W_TABLE
const LOW = vec4<f32>(1.0);
const HIGH = LOW;
// The polynomial of w_ints for integers where they stand; the topmost is one of −8 … 7.
#define FLIP 0x80000000u
fn low(word: u32) -> vec4<f32> {
  let x = vec4<f32>(vec4<i32>(vec4<u32>(word) & vec4<u32>(0xfu, 0xf00u, 0xf0000u, 0xf000000u)));
  return floor((((vec4<f32>(0.001586043, 0.001586043 * 0x1p-32, 0.001586043 * 0x1p-64, 0.001586043 * 0x1p-96) * x
    + vec4<f32>(0.03108644, 0.03108644 * 0x1p-24, 0.03108644 * 0x1p-48, 0.03108644 * 0x1p-72)) * x
    - vec4<f32>(1.371927, 1.371927 * 0x1p-16, 1.371927 * 0x1p-32, 1.371927 * 0x1p-48)) * x
    + vec4<f32>(24.17383, 24.17383 * 0x1p-8, 24.17383 * 0x1p-16, 24.17383 * 0x1p-24)) * x - vec4<f32>(126.06701));
}
fn high(word: u32) -> vec4<f32> {
  let x = vec4<f32>(vec4<i32>(vec4<u32>(word) & vec4<u32>(0xf0u, 0xf000u, 0xf00000u, 0xf0000000u)));
  return floor((((vec4<f32>(0.001586043 * 0x1p-16, 0.001586043 * 0x1p-48, 0.001586043 * 0x1p-80, 0.001586043 * 0x1p-112) * x
    + vec4<f32>(0.03108644 * 0x1p-12, 0.03108644 * 0x1p-36, 0.03108644 * 0x1p-60, 0.081839815 * 0x1p-84)) * x
    - vec4<f32>(1.371927 * 0x1p-8, 1.371927 * 0x1p-24, 1.371927 * 0x1p-40, 0.016811952 * 0x1p-56)) * x
    + vec4<f32>(24.17383 * 0x1p-4, 24.17383 * 0x1p-12, 24.17383 * 0x1p-20, 11.43981 * 0x1p-28)) * x
    - vec4<f32>(126.06701, 126.06701, 126.06701, -1.932991));
}
#else
const LOW = W_PLACES;
const HIGH = LOW;
fn in_place(q: u32) -> vec4<f32> { return w_bytes(q); }
#if W_LOW == 2
// Four integers of two bits stand in a byte: of each eight the first two, or the last.
#define LOW_PLACE0 1.0
#define HIGH_PLACE0 0x1p-2
#define LOW_PLACE1 0x1p-4
#define LOW_PLACE2 1.0
#define HIGH_PLACE2 0x1p-2
#define LOW_PLACE3 0x1p-4
#if WT == Q3K
#define HIGH_PLACE1 0x1p-4
#define HIGH_PLACE3 0x1p-4
#else
#define HIGH_PLACE1 0x1p-6
#define HIGH_PLACE3 0x1p-6
#define FLIP 0x80000000u
fn in_place0(q: u32) -> vec4<f32> { return vec4<f32>(vec4<i32>(vec4<u32>(q) & vec4<u32>(0x3u, 0x300u, 0x30000u, 0x3000000u))); }
fn in_place1(q: u32) -> vec4<f32> { return vec4<f32>(vec4<i32>(vec4<u32>(q) & vec4<u32>(0xcu, 0xc00u, 0xc0000u, 0xc000000u))); }
fn in_place2(q: u32) -> vec4<f32> { return vec4<f32>(vec4<i32>(vec4<u32>(q) & vec4<u32>(0x30u, 0x3000u, 0x300000u, 0x30000000u))); }
fn in_place3(q: u32) -> vec4<f32> { return vec4<f32>(vec4<i32>(vec4<u32>(q) & vec4<u32>(0xc0u, 0xc000u, 0xc00000u, 0xc0000000u))); }
#endif
#endif
#endif
#ifdef W_LONG
#define OWN0 place.x.x
#define OWN1 place.x.x
#define OWN2 place.x.y
#define OWN3 place.x.y
#endif

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let n0 = gid.x * u32(TN);
  let m0 = gid.y * u32(TM);
  if (n0 >= p.n) { return; }
  let blocks = p.k >> 5u;
  // Rows beyond the edge read the last row and are not stored.
#repeat I TM
  let mr$I = min(m0 + $Iu, p.m - 1u) * XSTRIDE;
#endrepeat
#repeat G PARTS
#repeat J TN
  let wr$J_$G = (min(n0 + $Ju, p.n - 1u) + $Gu * p.n) * blocks;
#repeat I TM
  var acc$I_$J_$G = 0.0;
#endrepeat
#endrepeat
#endrepeat
#if NORM
#repeat I TM
  var squares$I = vec4<f32>(0.0);
#endrepeat
#endif
#ifdef W_LONG
  for (var first = 0u; first < blocks; first += 8u) {
#repeat G PARTS
#repeat J TN
  let long$J_$G = w_long_at((wr$J_$G + first) >> 3u);
#endrepeat
#endrepeat
  for (var part = 0u; part < 8u; part++) {
  let b = first + part;
  let place = w_place(part);
#else
  for (var b = 0u; b < blocks; b++) {
#endif
#if NORM
#repeat C 4
    let gl$C = gain[b * 8u + 2u * $Cu] + p.offset;
    let gh$C = gain[b * 8u + 2u * $Cu + 1u] + p.offset;
#endrepeat
#endif
#repeat I TM
#repeat C 4
#if NORM
    let rl$I_$C = x[mr$I + b * 8u + 2u * $Cu];
    let rh$I_$C = x[mr$I + b * 8u + 2u * $Cu + 1u];
    squares$I += rl$I_$C * rl$I_$C + rh$I_$C * rh$I_$C;
    let l$I_$C = rl$I_$C * gl$C;
    let h$I_$C = rh$I_$C * gh$C;
#else
    let l$I_$C = x[mr$I + b * 8u + 2u * $Cu];
    let h$I_$C = x[mr$I + b * 8u + 2u * $Cu + 1u];
#endif
#if W_LOW == 2
    let ls$I_$C = l$I_$C * (LOW * LOW_PLACE$C * OWN$C);
    let hs$I_$C = h$I_$C * (LOW * HIGH_PLACE$C * OWN$C);
#elif W_LONG
    let ls$I_$C = l$I_$C * (LOW * OWN$C);
    let hs$I_$C = h$I_$C * (HIGH * OWN$C);
#else
    let ls$I_$C = l$I_$C * LOW;
    let hs$I_$C = h$I_$C * HIGH;
#endif
#endrepeat
    let low$I = (l$I_0 + l$I_1) + (l$I_2 + l$I_3);
    let high$I = (h$I_0 + h$I_1) + (h$I_2 + h$I_3);
#if NIBBLES && W_LONG
    let sum$I = dot(low$I + high$I, vec4<f32>(place.sums.x));
    let off$I = 8.0 * place.x.x * high$I.w;
#elif NIBBLES
    let sum$I = dot(low$I + high$I, vec4<f32>(1.0));
    let off$I = 8.0 * high$I.w;
#elif WT == Q8
    let off$I = dot(low$I + high$I, vec4<f32>(-128.0, -128.0, -128.0, 0.0));
#elif W_SIXTEENS
    let first$I = dot((l$I_0 + l$I_1) + (h$I_0 + h$I_1), vec4<f32>(place.sums.x));
    let second$I = dot((l$I_2 + l$I_3) + (h$I_2 + h$I_3), vec4<f32>(place.sums.y));
#if WT == Q2K
    // A flipped sign bit is two less.
    let offt$I = 2.0 * place.x.x * h$I_1.w;
    let offu$I = 2.0 * place.x.y * h$I_3.w;
#elif WT == Q3K
    let offt$I = -4.0 * first$I;
    let offu$I = -4.0 * second$I;
#else
    let offt$I = -32.0 * first$I;
    let offu$I = -32.0 * second$I;
#endif
#elif WT == Q5K
    let sum$I = dot(low$I + high$I, vec4<f32>(place.sums.x));
#elif !W_TABLE
    let sum$I = dot(low$I + high$I, vec4<f32>(1.0));
#endif
#endrepeat
#repeat G PARTS
#repeat J TN
    {
#if W_LONG
      let s = w_part(long$J_$G, part, place);
#else
      let s = w_scale_at(wr$J_$G + b);
#endif
#if NIBBLES || W_TABLE
      let q = w[wr$J_$G + b] ^ vec4<u32>(FLIP);
#repeat C 4
      let lo$C = low(q[$C]);
      let hi$C = high(q[$C]);
#endrepeat
#elif WT == Q8
      let q = w[(wr$J_$G + b) * 2u] ^ vec4<u32>(FLIP);
      let r = w[(wr$J_$G + b) * 2u + 1u] ^ vec4<u32>(FLIP);
      let lo0 = bytes(q[0]);
      let hi0 = bytes(q[1]);
      let lo1 = bytes(q[2]);
      let hi1 = bytes(q[3]);
      let lo2 = bytes(r[0]);
      let hi2 = bytes(r[1]);
      let lo3 = bytes(r[2]);
      let hi3 = bytes(r[3]);
#elif WT == Q2K
      let q = w[wr$J_$G + b] ^ vec2<u32>(FLIP);
      let lo0 = in_place0(q.x);
      let hi0 = in_place1(q.x);
      let lo1 = in_place2(q.x);
      let hi1 = in_place3(q.x);
      let lo2 = in_place0(q.y);
      let hi2 = in_place1(q.y);
      let lo3 = in_place2(q.y);
      let hi3 = in_place3(q.y);
#elif WT == Q3K
      // The third bit of an integer is put in front of the others where these stand; of the last of four, which stand at the end of a byte, not.
      let q = w[wr$J_$G + b];
      let r = q >> vec2<u32>(2u);
      let h = vec2<u32>(s.h, s.h >> 1u);
      let h8 = s.h * 8u;
      let lo0 = in_place((q.x & 0x03030303u) | ((s.h * 4u) & 0x04040404u));
      let hi0 = in_place((q.x & 0x0c0c0c0cu) | (h8 & 0x10101010u));
      let lo1 = in_place((q.x & 0x30303030u) | ((s.h * 16u) & 0x40404040u));
      let hi1 = in_place((r.x & 0x30303030u) | (h8 & 0x40404040u));
      let lo2 = in_place((q.y & 0x03030303u) | ((s.h >> 2u) & 0x04040404u));
      let hi2 = in_place((q.y & 0x0c0c0c0cu) | (h.y & 0x10101010u));
      let lo3 = in_place((q.y & 0x30303030u) | (h.x & 0x40404040u));
      let hi3 = in_place((r.y & 0x30303030u) | (h.y & 0x40404040u));
#else
      let q = w[wr$J_$G + b];
      let low = q & vec4<u32>(0x0f0f0f0fu);
      let high = (q >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu);
#if W_HIGH == 2
      let more = vec2<u32>(0x30303030u);
      let a = (s.h * 16u) & more;
      let c = s.h & more;
      let d = (s.h * 4u) & more;
      let e = (s.h >> vec2<u32>(2u)) & more;
      let lows = low | vec4<u32>(a.x, c.x, a.y, c.y);
      let highs = high | vec4<u32>(d.x, e.x, d.y, e.y);
#else
      let more = vec4<u32>(0x10101010u);
      let lows = low | (vec4<u32>(s.h * 16u, s.h * 4u, s.h, s.h >> 2u) & more);
      let highs = high | (vec4<u32>(s.h * 8u, s.h * 2u, s.h >> 1u, s.h >> 3u) & more);
#endif
#repeat C 4
      let lo$C = in_place(lows[$C]);
      let hi$C = in_place(highs[$C]);
#endrepeat
#endif
#repeat I TM
      {
#if W_SIXTEENS
        var t = offt$I;
        var u = offu$I;
        t += dot(ls$I_0, lo0) + dot(hs$I_0, hi0) + dot(ls$I_1, lo1) + dot(hs$I_1, hi1);
        u += dot(ls$I_2, lo2) + dot(hs$I_2, hi2) + dot(ls$I_3, lo3) + dot(hs$I_3, hi3);
#if WT == Q2K
        acc$I_$J_$G += long$J_$G.d.x * (s.s.x * t + s.s.z * u) + long$J_$G.d.y * (s.s.y * first$I + s.s.w * second$I);
#else
        acc$I_$J_$G += long$J_$G.d.x * (s.s.x * t + s.s.y * u);
#endif
#else
#if NIBBLES || WT == Q8
        var t = off$I;
#else
        var t = 0.0;
#endif
#repeat C 4
        t += dot(ls$I_$C, lo$C) + dot(hs$I_$C, hi$C);
#endrepeat
#if WT == Q4K || WT == Q5K
        acc$I_$J_$G += long$J_$G.d.x * s.s.x * t + long$J_$G.d.y * s.s.y * sum$I;
#elif WT == IQ4X
        acc$I_$J_$G += long$J_$G.d.x * s.s.x * t;
#elif NIBBLES
        acc$I_$J_$G += s.x * t + s.y * sum$I;
#elif WT == Q8
        acc$I_$J_$G += s.x * t;
#elif W_TABLE
        acc$I_$J_$G += s.s.x * t;
#else
        acc$I_$J_$G += s.s.x * t + s.s.y * sum$I;
#endif
#endif
      }
#endrepeat
    }
#endrepeat
#endrepeat
  }
#ifdef W_LONG
  }
#endif
#if NORM
#repeat I TM
  let root$I = inv_rms(dot(squares$I, vec4<f32>(1.0)));
#repeat G PARTS
#repeat J TN
  acc$I_$J_$G *= root$I;
#endrepeat
#endrepeat
#endrepeat
#endif
#repeat I TM
#repeat J TN
  if (m0 + $Iu < p.m && n0 + $Ju < p.n) {
#if GLU
    y[(m0 + $Iu) * p.ldy + n0 + $Ju] = act(acc$I_$J_0 + extra(m0 + $Iu, n0 + $Ju)) * (acc$I_$J_1 + extra(m0 + $Iu, n0 + $Ju + p.n));
#else
    y[(m0 + $Iu) * p.ldy + p.y0 + n0 + $Ju] = acc$I_$J_0;
#endif
  }
#endrepeat
#endrepeat
#if EXTRA && !GLU
  add_extra(vec2<u32>(m0, n0), vec2<u32>(min(m0 + u32(TM), p.m), min(n0 + u32(TN), p.n)));
#endif
}
