// y = x·wᵀ for few rows of x and weights in blocks: TM × TN·PARTS sums per thread, 32 values at a time, no barrier.
// For software adapters: integers are masked where they stand, not shifted, x is scaled by the powers of two instead; a block's scale and
// minimum are applied to its sums, Σ x·(d·q + m) = d·Σ x·q + m·Σ x. What is done to x serves all its rows of w.
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
#elif W_TABLE
const LOW = vec4<f32>(1.0);
const HIGH = LOW;
fn in_place(q: u32) -> vec4<f32> { return w_ints(q); }
#else
const LOW = W_PLACES;
const HIGH = LOW;
fn in_place(q: u32) -> vec4<f32> { return w_bytes(q); }
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
  for (var b = 0u; b < blocks; b++) {
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
    let ls$I_$C = l$I_$C * LOW;
    let hs$I_$C = h$I_$C * HIGH;
#endrepeat
    let low$I = (l$I_0 + l$I_1) + (l$I_2 + l$I_3);
    let high$I = (h$I_0 + h$I_1) + (h$I_2 + h$I_3);
#if NIBBLES
    let sum$I = dot(low$I + high$I, vec4<f32>(1.0));
    let off$I = 8.0 * high$I.w;
#elif WT == Q8
    let off$I = dot(low$I + high$I, vec4<f32>(-128.0, -128.0, -128.0, 0.0));
#elif W_SIXTEENS
    let first$I = dot((l$I_0 + l$I_1) + (h$I_0 + h$I_1), vec4<f32>(1.0));
    let second$I = dot((l$I_2 + l$I_3) + (h$I_2 + h$I_3), vec4<f32>(1.0));
#elif !W_TABLE
    let sum$I = dot(low$I + high$I, vec4<f32>(1.0));
#endif
#endrepeat
#repeat G PARTS
#repeat J TN
    {
#if WT == Q4K
      let s = w_scale_at(wr$J_$G + b).s;
#else
      let s = w_scale_at(wr$J_$G + b);
#endif
#if NIBBLES
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
#else
      let q = w[wr$J_$G + b];
#repeat C 4
#if W_LOW == 2
      let n$C = w_lanes(q[$Cu / 2u], s, $Cu);
#else
      let n$C = w_lanes(q[$C], s, $Cu);
#endif
      let lo$C = in_place(n$C.x);
      let hi$C = in_place(n$C.y);
#endrepeat
#endif
#repeat I TM
      {
#if W_SIXTEENS
        let t = dot(ls$I_0, lo0) + dot(hs$I_0, hi0) + dot(ls$I_1, lo1) + dot(hs$I_1, hi1);
        let u = dot(ls$I_2, lo2) + dot(hs$I_2, hi2) + dot(ls$I_3, lo3) + dot(hs$I_3, hi3);
        acc$I_$J_$G += (s.s.x * t + s.s.y * first$I) + (s.s.z * u + s.s.w * second$I);
#else
#if NIBBLES || WT == Q8
        var t = off$I;
#else
        var t = 0.0;
#endif
#repeat C 4
        t += dot(ls$I_$C, lo$C) + dot(hs$I_$C, hi$C);
#endrepeat
#if NIBBLES
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
