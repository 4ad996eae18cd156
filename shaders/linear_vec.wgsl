// y = x·wᵀ for few rows (m = TM ≤ 8) on real GPUs: 32 threads side by side along k are a slice, SLICES of these a workgroup. SHARE of them
// work on the same ROWS weight rows: what takes the time is the latency of loads, so a row should be under way all at once. Partial sums
// are then added (SUBGROUPS: first inside the subgroup). See common/linear_io.wgsl for what is added; GLU as in linear.wgsl.
// A thread takes DEEP groups of eight columns at a time. Four bits of weight go to float as mantissa bits of a number in 1…2, which costs one shift and
// one logical operation instead of a conversion: Σ x·q = 16·(Σ x·(1 + q/16) − Σ x), and the scale and the offset of a block come last.
// TURN: y is stored transposed. So a few long rows of weights (LoRA's A) take the place of x, and the many rows of x that of w.
// Grid: ⌈n/(ROWS·SLICES/SHARE)⌉ workgroups, folded. Overwrites y. k must be a multiple of 8.
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,RESIDUAL|EXTRA,BIAS,LORA,RESIDUAL} {TM=1|TM=8} ROWS=2,SLICES=4,DEEP=2,SHARE=2
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,BIAS,LORA} GLU,TM=2,ROWS=2,SLICES=4,DEEP=2,SHARE=1 {ACT=RELU|ACT=SILU|ACT=GELU|ACT=GELU_TANH}
// Variants: {WT=F32|WT=Q4} {|GLU,ACT=SILU} SUBGROUPS,TM=2 {ROWS=1,SLICES=4,DEEP=1,SHARE=1|ROWS=2,SLICES=8,DEEP=4,SHARE=8|ROWS=4,SLICES=2,DEEP=3,SHARE=2}
// Variants: {WT=F32|WT=Q4} NORM {|EXTRA,BIAS|EXTRA,LORA|GLU,ACT=SILU|EXTRA,LORA,GLU,ACT=SILU} {|SUBGROUPS} {TM=1,ROWS=2,SLICES=8,DEEP=3,SHARE=4|TM=4,ROWS=2,SLICES=4,DEEP=1,SHARE=1}
// Variants: {WT=Q5|WT=Q2K|WT=Q3K|WT=Q4K|WT=Q5K|WT=Q6K|WT=IQ4|WT=IQ4X|WT=MX4} {TM=1|TM=4,NORM|TM=2,GLU,ACT=SILU|TM=1,NORM,EXTRA,LORA,SUBGROUPS} ROWS=2,SLICES=4,DEEP=2,SHARE=2
// Variants: WT=F32,TURN,ROWS=1,SLICES=2,DEEP=1,SHARE=1 {|SUBGROUPS} {TM=8|TM=24}
#include "common/linear_io.wgsl"
#include "common/grid.wgsl"
#if GLU
const PRODUCTS: u32 = u32(TM) * u32(ROWS) * 2u;
#else
const PRODUCTS: u32 = u32(TM) * u32(ROWS);
#endif
#if NORM
// Behind the products the sums of squares of the rows of x.
const SUMS: u32 = PRODUCTS + u32(TM);
#else
const SUMS: u32 = PRODUCTS;
#endif
const THREADS: u32 = 32u * u32(SLICES);
// [slice][sum][thread of 32]
var<workgroup> red: array<f32, SUMS * THREADS>;

// Eight weights of a row as they lie in memory, so that several loads are under way before the first is used.
#if WT == F32
struct Raw { v: W8 }
fn raw(row: u32, g: u32) -> Raw { return Raw(w_load8(row, g, 1.0)); }
#elif WT == F16 || WT == BF16
struct Raw { q: vec4<u32> }
fn raw(row: u32, g: u32) -> Raw { return Raw(w[row * (p.k >> 3u) + g]); }
#elif WT == Q4
struct Raw { q: u32, s: u32 }
fn raw(row: u32, g: u32) -> Raw { return Raw(w[row * (p.k >> 3u) + g], w[p.s_off + row * (p.k >> 5u) + (g >> 2u)]); }
#elif WT == Q8
struct Raw { lo: u32, hi: u32, s: u32 }
fn raw(row: u32, g: u32) -> Raw {
  let at = row * (p.k >> 2u) + 2u * g;
  return Raw(w[at], w[at + 1u], w[p.s_off + row * (p.k >> 5u) + (g >> 2u)]);
}
#else
struct Raw { q: vec2<u32>, s: vec2<f32> }
fn raw(row: u32, g: u32) -> Raw {
  let b = w_scale(row, g >> 2u);
  return Raw(w_lanes(w_word(row, g), b, g), w_pair(b, g));
}
#endif
// Σ x·w of these eight columns, `sum` being that of the eight x.
fn product(r: Raw, lo: vec4<f32>, hi: vec4<f32>, sum: f32) -> f32 {
#if WT == F32
  return dot(lo, r.v.lo) + dot(hi, r.v.hi);
#elif WT == F16
  let a = vec4<f32>(unpack2x16float(r.q.x), unpack2x16float(r.q.y));
  return dot(lo, a) + dot(hi, vec4<f32>(unpack2x16float(r.q.z), unpack2x16float(r.q.w)));
#elif WT == BF16
  return dot(lo, bf16x4(r.q.x, r.q.y)) + dot(hi, bf16x4(r.q.z, r.q.w));
#elif WT == Q4
  let s = unpack2x16float(r.s);
  let one = vec4<u32>(0x3f800000u);
  let mask = vec4<u32>(0x780000u);
  // Bits 0–3, 8–11, 16–19, 24–27 are the first four values, those above them the others; bits 19–22 are a mantissa's first.
  let a = bitcast<vec4<f32>>((vec4<u32>(r.q << 19u, r.q << 11u, r.q << 3u, r.q >> 5u) & mask) | one);
  let b = bitcast<vec4<f32>>((vec4<u32>(r.q << 15u, r.q << 7u, r.q >> 1u, r.q >> 9u) & mask) | one);
  return (dot(lo, a) + dot(hi, b) - sum) * (16.0 * s.x) + sum * s.y;
#elif WT == Q8
  return (dot(lo, q8x4(r.lo)) + dot(hi, q8x4(r.hi))) * unpack2x16float(r.s).x;
#elif W_TABLE
  return (dot(lo, w_ints(r.q.x)) + dot(hi, w_ints(r.q.y))) * r.s.x;
#else
  return (dot(lo, w_ints(r.q.x)) + dot(hi, w_ints(r.q.y))) * r.s.x + sum * r.s.y;
#endif
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32
#if SUBGROUPS
  , @builtin(subgroup_size) sg: u32, @builtin(subgroup_invocation_id) sl: u32
#endif
) {
  let slice = lid / 32u;
  let lane = lid % 32u;
  let first = linear_group(wid, nwg) * u32(ROWS * SLICES / SHARE);
  let n0 = first + (slice / u32(SHARE)) * u32(ROWS);
#repeat J ROWS
  let row$J = min(n0 + $Ju, p.n - 1u);
#endrepeat
#repeat I TM
#if NORM
  var squares$I = 0.0;
#endif
#repeat J ROWS
  var acc$I_$J = 0.0;
#if GLU
  var up$I_$J = 0.0;
#endif
#endrepeat
#endrepeat
  let groups = p.k >> 3u;
  for (var g0 = lane + (slice % u32(SHARE)) * 32u * u32(DEEP); g0 < groups; g0 += 32u * u32(DEEP * SHARE)) {
    // Groups beyond the end read the last one and meet an x of zero.
#repeat D DEEP
    let g$D = min(g0 + 32u * $Du, groups - 1u);
#repeat J ROWS
    let w$D_$J = raw(row$J, g$D);
#if GLU
    let u$D_$J = raw(row$J + p.n, g$D);
#endif
#endrepeat
#endrepeat
#repeat D DEEP
#repeat I TM
    {
      let live = g0 + 32u * $Du < groups;
#if NORM
      let xa = select(vec4<f32>(0.0), x[$Iu * XSTRIDE + 2u * g$D], live);
      let xb = select(vec4<f32>(0.0), x[$Iu * XSTRIDE + 2u * g$D + 1u], live);
      squares$I += dot(xa, xa) + dot(xb, xb);
      let lo = xa * (gain[2u * g$D] + p.offset);
      let hi = xb * (gain[2u * g$D + 1u] + p.offset);
#else
      let lo = select(vec4<f32>(0.0), x[$Iu * XSTRIDE + 2u * g$D], live);
      let hi = select(vec4<f32>(0.0), x[$Iu * XSTRIDE + 2u * g$D + 1u], live);
#endif
      let sum = dot(lo + hi, vec4<f32>(1.0));
#repeat J ROWS
      acc$I_$J += product(w$D_$J, lo, hi, sum);
#if GLU
      up$I_$J += product(u$D_$J, lo, hi, sum);
#endif
#endrepeat
    }
#endrepeat
#endrepeat
  }
  // One partial sum per thread, or per subgroup, then one thread per output adds them.
  let base = slice * SUMS * 32u;
#if SUBGROUPS
  // Subgroups of more than 32 hold several slices: those are summed as without.
  let narrow = sg <= 32u;
  let parts = select(32u, 32u / max(min(sg, 32u), 1u), narrow);
  let part = select(lane, lane / sg, narrow);
#repeat I TM
#repeat J ROWS
  {
    let v = subgroupAdd(acc$I_$J);
    if (!narrow || sl == 0u) { red[base + ($Iu * u32(ROWS) + $Ju) * 32u + part] = select(acc$I_$J, v, narrow); }
#if GLU
    let u = subgroupAdd(up$I_$J);
    if (!narrow || sl == 0u) { red[base + (($Iu + u32(TM)) * u32(ROWS) + $Ju) * 32u + part] = select(up$I_$J, u, narrow); }
#endif
  }
#endrepeat
#if NORM
  {
    let v = subgroupAdd(squares$I);
    if (!narrow || sl == 0u) { red[base + (PRODUCTS + $Iu) * 32u + part] = select(squares$I, v, narrow); }
  }
#endif
#endrepeat
#else
  let parts = 32u;
#repeat I TM
#repeat J ROWS
  red[base + ($Iu * u32(ROWS) + $Ju) * 32u + lane] = acc$I_$J;
#if GLU
  red[base + (($Iu + u32(TM)) * u32(ROWS) + $Ju) * 32u + lane] = up$I_$J;
#endif
#endrepeat
#if NORM
  red[base + (PRODUCTS + $Iu) * 32u + lane] = squares$I;
#endif
#endrepeat
#endif
  workgroupBarrier();
  for (var i = lid; i < u32(TM * ROWS * SLICES / SHARE); i += THREADS) {
    let m = i / u32(ROWS * SLICES / SHARE);
    let r = i % u32(ROWS * SLICES / SHARE);
    let n = first + r;
    if (n < p.n) {
      let slices = (r / u32(ROWS)) * (u32(SHARE) * SUMS * 32u);
      let at = slices + (m * u32(ROWS) + r % u32(ROWS)) * 32u;
      var v = 0.0;
#if GLU
      var u = 0.0;
#endif
#if NORM
      var squares = 0.0;
#endif
      for (var s = 0u; s < u32(SHARE); s++) {
        for (var j = 0u; j < parts; j++) {
#if NORM
          squares += red[slices + s * SUMS * 32u + (PRODUCTS + m) * 32u + j];
#endif
          v += red[at + s * SUMS * 32u + j];
#if GLU
          u += red[at + s * SUMS * 32u + u32(TM * ROWS) * 32u + j];
#endif
        }
      }
#if NORM
      v *= inv_rms(squares);
#if GLU
      u *= inv_rms(squares);
#endif
#endif
#if GLU
      y[m * p.ldy + n] = act(v + extra(m, n)) * (u + extra(m, n + p.n));
#elif TURN
      y[n * p.ldy + m] = v;
#else
      y[m * p.ldy + p.y0 + n] = v + extra(m, n);
#endif
    }
  }
}
