// y = x·wᵀ for few rows (m = TM ≤ 8) on real GPUs: one workgroup of 64 threads per ROWS weight rows, the threads side by side along k,
// reduced through workgroup memory (SUBGROUPS: first inside the subgroup). See common/linear_io.wgsl for what is added; GLU as in linear.wgsl.
// Grid: ⌈n/ROWS⌉ workgroups, folded. Overwrites y. k must be a multiple of 8.
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,RESIDUAL|EXTRA,BIAS,LORA,RESIDUAL} {TM=1|TM=8} ROWS=4
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,BIAS,LORA} GLU,TM=2,ROWS=4 {ACT=RELU|ACT=SILU|ACT=GELU|ACT=GELU_TANH}
// Variants: {WT=F32|WT=Q4} {|GLU,ACT=SILU} SUBGROUPS,TM=2,ROWS=4
#include "common/linear_io.wgsl"
#include "common/grid.wgsl"
#define ROWS 4
#if GLU
#define SUMS (TM * 8)
#else
#define SUMS (TM * 4)
#endif
var<workgroup> red: array<f32, SUMS * 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32
#if SUBGROUPS
  , @builtin(subgroup_size) sg: u32, @builtin(subgroup_invocation_id) sl: u32
#endif
) {
  let n0 = linear_group(wid, nwg) * u32(ROWS);
#repeat I TM
#repeat J ROWS
  var acc$I_$J = 0.0;
#if GLU
  var up$I_$J = 0.0;
#endif
#endrepeat
#endrepeat
  let groups = p.k >> 3u;
  for (var g = lid; g < groups; g += 64u) {
#repeat I TM
    let xa$I = x[$Iu * XSTRIDE + 2u * g];
    let xb$I = x[$Iu * XSTRIDE + 2u * g + 1u];
#endrepeat
#repeat J ROWS
    {
      let n = min(n0 + $Ju, p.n - 1u);
      let v = w_load8(n, g, w_scale(n, g >> 2u));
#if GLU
      let u = w_load8(n + p.n, g, w_scale(n + p.n, g >> 2u));
#endif
#repeat I TM
      acc$I_$J += dot(xa$I, v.lo) + dot(xb$I, v.hi);
#if GLU
      up$I_$J += dot(xa$I, u.lo) + dot(xb$I, u.hi);
#endif
#endrepeat
    }
#endrepeat
  }
  // One partial sum per thread, or per subgroup, then one thread per output adds them.
#if SUBGROUPS
  let parts = (64u + sg - 1u) / sg;
  let part = lid / sg;
#repeat I TM
#repeat J ROWS
  { let v = subgroupAdd(acc$I_$J); if (sl == 0u) { red[($Iu * u32(ROWS) + $Ju) * 64u + part] = v; } }
#if GLU
  { let v = subgroupAdd(up$I_$J); if (sl == 0u) { red[(($Iu + u32(TM)) * u32(ROWS) + $Ju) * 64u + part] = v; } }
#endif
#endrepeat
#endrepeat
#else
  let parts = 64u;
#repeat I TM
#repeat J ROWS
  red[($Iu * u32(ROWS) + $Ju) * 64u + lid] = acc$I_$J;
#if GLU
  red[(($Iu + u32(TM)) * u32(ROWS) + $Ju) * 64u + lid] = up$I_$J;
#endif
#endrepeat
#endrepeat
#endif
  workgroupBarrier();
  if (lid < u32(TM) * u32(ROWS)) {
    let m = lid / u32(ROWS);
    let n = n0 + lid % u32(ROWS);
    if (n < p.n) {
      var v = 0.0;
      for (var i = 0u; i < parts; i++) { v += red[lid * 64u + i]; }
#if GLU
      var u = 0.0;
      for (var i = 0u; i < parts; i++) { u += red[(lid + u32(TM) * u32(ROWS)) * 64u + i]; }
      y[m * p.ldy + n] = act(v + extra(m, n)) * (u + extra(m, n + p.n));
#else
      y[m * p.ldy + p.y0 + n] = v + extra(m, n);
#endif
    }
  }
}
