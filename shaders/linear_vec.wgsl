// y = x·wᵀ for few rows (m = TM ≤ 8) on real GPUs: 32 threads side by side along k on ROWS weight rows, SLICES of these in a workgroup,
// then their partial sums are added (SUBGROUPS: first inside the subgroup). See common/linear_io.wgsl for what is added; GLU as in linear.wgsl.
// A thread takes eight columns at a time. Four bits of weight go to float as mantissa bits of a number in 1…2, which costs one shift and
// one logical operation instead of a conversion: Σ x·q = 16·(Σ x·(1 + q/16) − Σ x), and the scale and the offset of a block come last.
// Grid: ⌈n/(ROWS·SLICES)⌉ workgroups, folded. Overwrites y. k must be a multiple of 8.
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,RESIDUAL|EXTRA,BIAS,LORA,RESIDUAL} {TM=1|TM=8} ROWS=2,SLICES=4
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,BIAS,LORA} GLU,TM=2,ROWS=2,SLICES=4 {ACT=RELU|ACT=SILU|ACT=GELU|ACT=GELU_TANH}
// Variants: {WT=F32|WT=Q4} {|GLU,ACT=SILU} SUBGROUPS,TM=2 {ROWS=1,SLICES=4|ROWS=2,SLICES=4|ROWS=4,SLICES=2}
#include "common/linear_io.wgsl"
#include "common/grid.wgsl"
#if GLU
const SUMS: u32 = u32(TM) * u32(ROWS) * 2u;
#else
const SUMS: u32 = u32(TM) * u32(ROWS);
#endif
const THREADS: u32 = 32u * u32(SLICES);
// [slice][sum][thread of 32]
var<workgroup> red: array<f32, SUMS * THREADS>;

#if WT == Q4
// Σ x·w of eight columns of a block with the scale s, `sum` being that of the eight x.
fn product(lo: vec4<f32>, hi: vec4<f32>, sum: f32, row: u32, g: u32) -> f32 {
  let s = w_scale(row, g >> 2u);
  let q = w[row * (p.k >> 3u) + g];
  let one = vec4<u32>(0x3f800000u);
  let mask = vec4<u32>(0x780000u);
  // Bits 0–3, 8–11, 16–19, 24–27 are the first four values, those above them the others; bits 19–22 are a mantissa's first.
  let a = bitcast<vec4<f32>>((vec4<u32>(q << 19u, q << 11u, q << 3u, q >> 5u) & mask) | one);
  let b = bitcast<vec4<f32>>((vec4<u32>(q << 15u, q << 7u, q >> 1u, q >> 9u) & mask) | one);
  return (dot(lo, a) + dot(hi, b) - sum) * (16.0 * s.x) + sum * s.y;
}
#else
fn product(lo: vec4<f32>, hi: vec4<f32>, sum: f32, row: u32, g: u32) -> f32 {
  let v = w_load8(row, g, w_scale(row, g >> 2u));
  return dot(lo, v.lo) + dot(hi, v.hi);
}
#endif

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32
#if SUBGROUPS
  , @builtin(subgroup_size) sg: u32, @builtin(subgroup_invocation_id) sl: u32
#endif
) {
  let slice = lid / 32u;
  let lane = lid % 32u;
  let first = linear_group(wid, nwg) * u32(ROWS * SLICES);
  let n0 = first + slice * u32(ROWS);
#repeat J ROWS
  let row$J = min(n0 + $Ju, p.n - 1u);
#endrepeat
#repeat I TM
#repeat J ROWS
  var acc$I_$J = 0.0;
#if GLU
  var up$I_$J = 0.0;
#endif
#endrepeat
#endrepeat
  let groups = p.k >> 3u;
  for (var g = lane; g < groups; g += 32u) {
#repeat I TM
    {
      let lo = x[$Iu * XSTRIDE + 2u * g];
      let hi = x[$Iu * XSTRIDE + 2u * g + 1u];
      let sum = dot(lo + hi, vec4<f32>(1.0));
#repeat J ROWS
      acc$I_$J += product(lo, hi, sum, row$J, g);
#if GLU
      up$I_$J += product(lo, hi, sum, row$J + p.n, g);
#endif
#endrepeat
    }
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
#endrepeat
#endif
  workgroupBarrier();
  for (var i = lid; i < u32(TM * ROWS * SLICES); i += THREADS) {
    let m = i / u32(ROWS * SLICES);
    let r = i % u32(ROWS * SLICES);
    let n = first + r;
    if (n < p.n) {
      let at = (r / u32(ROWS)) * SUMS * 32u + (m * u32(ROWS) + r % u32(ROWS)) * 32u;
      var v = 0.0;
      for (var j = 0u; j < parts; j++) { v += red[at + j]; }
#if GLU
      var u = 0.0;
      for (var j = 0u; j < parts; j++) { u += red[at + u32(TM * ROWS) * 32u + j]; }
      y[m * p.ldy + n] = act(v + extra(m, n)) * (u + extra(m, n + p.n));
#else
      y[m * p.ldy + p.y0 + n] = v + extra(m, n);
#endif
    }
  }
}
