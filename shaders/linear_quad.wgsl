// y = x·wᵀ with 4·TQ × TN outputs per thread in registers, for software adapters that run four threads side by side and load for each of them
// by itself (SwiftShader): the four threads of a workgroup have the same rows of x, so each loads a quarter of them and passes them on.
// See common/linear_io.wgsl for the layout and what is added. Overwrites y.
// Grid: (⌈n/TN⌉ / 4, ⌈m/(4·TQ)⌉): one thread per tile, four along n per workgroup. GLU: n counts gate rows, the up row of n is n + p.n.
// Variants: SUBGROUPS {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,RESIDUAL|EXTRA,BIAS,LORA,RESIDUAL} {TQ=8,TN=8|TQ=2,TN=8}
// Variants: SUBGROUPS {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} GLU {ACT=RELU|ACT=SILU|ACT=GELU|ACT=GELU_TANH} {TQ=4,TN=4|TQ=2,TN=4}
// Variants: SUBGROUPS {WT=Q5|WT=Q2K|WT=Q3K|WT=Q4K|WT=Q5K|WT=Q6K|WT=IQ4|WT=IQ4X|WT=MX4} {TQ=8,TN=8|TQ=4,TN=4,GLU,ACT=SILU|TQ=8,TN=4,GLU,KEEP,ACT=SILU}
// Variants: SUBGROUPS {WT=F32|WT=Q4} {|EXTRA,BIAS|EXTRA,LORA} GLU,KEEP {ACT=SILU|ACT=GELU} {TQ=8,TN=4|TQ=2,TN=4}
#include "common/linear_io.wgsl"

@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(subgroup_invocation_id) sid: u32) {
  let n0 = gid.x * u32(TN);
  let m0 = gid.y * 4u * u32(TQ);
  // Rows beyond the edge read the last row and are not stored.
#repeat Q TQ
  let mr$Q = min(m0 + 4u * $Qu + (sid & 3u), p.m - 1u) * XSTRIDE;
#repeat L 4
#repeat J TN
  var acc$Q_$L_$J = 0.0;
#if GLU
  var up$Q_$L_$J = 0.0;
#endif
#endrepeat
#endrepeat
#endrepeat
#repeat J TN
  let nr$J = min(n0 + $Ju, p.n - 1u);
#endrepeat
  let groups = p.k >> 3u;
  for (var g0 = 0u; g0 < groups; g0 += 4u) {
#repeat J TN
    let s$J = w_scale(nr$J, g0 >> 2u);
#if GLU
    let t$J = w_scale(nr$J + p.n, g0 >> 2u);
#endif
#endrepeat
    let stop = min(g0 + 4u, groups);
    for (var g = g0; g < stop; g++) {
#repeat Q TQ
      let xa$Q = x[mr$Q + 2u * g];
      let xb$Q = x[mr$Q + 2u * g + 1u];
#repeat L 4
      let xa$Q_$L = quadBroadcast(xa$Q, $Lu);
      let xb$Q_$L = quadBroadcast(xb$Q, $Lu);
#endrepeat
#endrepeat
#repeat J TN
      {
        let v = w_load8(nr$J, g, s$J);
#repeat Q TQ
#repeat L 4
        acc$Q_$L_$J += dot(xa$Q_$L, v.lo) + dot(xb$Q_$L, v.hi);
#endrepeat
#endrepeat
#if GLU
        let u = w_load8(nr$J + p.n, g, t$J);
#repeat Q TQ
#repeat L 4
        up$Q_$L_$J += dot(xa$Q_$L, u.lo) + dot(xb$Q_$L, u.hi);
#endrepeat
#endrepeat
#endif
      }
#endrepeat
    }
  }
#repeat Q TQ
#repeat L 4
#repeat J TN
  if (m0 + 4u * $Qu + $Lu < p.m && n0 + $Ju < p.n) {
#if KEEP
    let at = (m0 + 4u * $Qu + $Lu) * 2u * p.n + n0 + $Ju;
    kept[at] = acc$Q_$L_$J;
    kept[at + p.n] = up$Q_$L_$J;
#elif GLU
    y[(m0 + 4u * $Qu + $Lu) * p.ldy + n0 + $Ju] = act(acc$Q_$L_$J) * up$Q_$L_$J;
#else
    y[(m0 + 4u * $Qu + $Lu) * p.ldy + p.y0 + n0 + $Ju] = acc$Q_$L_$J;
#endif
  }
#endrepeat
#endrepeat
#endrepeat
#if KEEP
  finish_gate(vec2<u32>(m0, n0), vec2<u32>(min(m0 + 4u * u32(TQ), p.m), min(n0 + u32(TN), p.n)));
#elif EXTRA
  add_extra(vec2<u32>(m0, n0), vec2<u32>(min(m0 + 4u * u32(TQ), p.m), min(n0 + u32(TN), p.n)));
#endif
}
