// y = x·wᵀ with TM × TN outputs per thread in registers and no barrier: for software adapters, and for thin shapes.
// See common/linear_io.wgsl for the layout and what is added. Overwrites y.
// Grid: (⌈n/TN⌉ / 32, ⌈m/TM⌉): one thread per tile, 32 along n per workgroup. GLU: n counts gate rows, the up row of n is n + p.n.
// Variants: {SCALAR,WT=F32|WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,RESIDUAL|EXTRA,BIAS,LORA,RESIDUAL} {TM=1,TN=4|TM=8,TN=8}
// Variants: {SCALAR,WT=F32|WT=F32|WT=Q4} NORM {|EXTRA,LORA|EXTRA,BIAS,LORA} {TM=1,TN=1|TM=4,TN=8|GLU,ACT=SILU,TM=2,TN=2}
// Variants: {SCALAR,WT=F32|WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,BIAS,LORA} GLU,TM=2,TN=2 {ACT=RELU|ACT=SILU|ACT=GELU|ACT=GELU_TANH}
// Variants: {WT=Q5|WT=Q2K|WT=Q3K|WT=Q4K|WT=Q5K|WT=Q6K|WT=IQ4|WT=IQ4X|WT=MX4} {TM=8,TN=8|TM=1,TN=4,NORM,EXTRA,LORA|TM=2,TN=2,GLU,ACT=SILU|TM=8,TN=4,GLU,KEEP,ACT=SILU}
// Variants: {WT=F32|WT=Q4} {|EXTRA,BIAS|EXTRA,LORA} GLU,KEEP {ACT=SILU|ACT=GELU} {TM=1,TN=2|TM=8,TN=4}
#include "common/linear_io.wgsl"

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let n0 = gid.x * u32(TN);
  let m0 = gid.y * u32(TM);
  if (n0 >= p.n) { return; }
  // Rows beyond the edge read the last row and are not stored.
#repeat I TM
  let mr$I = min(m0 + $Iu, p.m - 1u) * XSTRIDE;
#endrepeat
#repeat J TN
  let nr$J = min(n0 + $Ju, p.n - 1u);
#endrepeat
#repeat I TM
#if NORM
  var squares$I = 0.0;
#endif
#repeat J TN
  var acc$I_$J = 0.0;
#if GLU
  var up$I_$J = 0.0;
#endif
#endrepeat
#endrepeat
#if SCALAR
  for (var k = 0u; k < p.k; k++) {
#repeat I TM
#if NORM
    let raw$I = x[mr$I + k];
    squares$I += raw$I * raw$I;
    let x$I = raw$I * (gain[k] + p.offset);
#else
    let x$I = x[mr$I + k];
#endif
#endrepeat
#repeat J TN
    {
      let v = w[nr$J * p.k + k];
#if GLU
      let u = w[(nr$J + p.n) * p.k + k];
#endif
#repeat I TM
      acc$I_$J += x$I * v;
#if GLU
      up$I_$J += x$I * u;
#endif
#endrepeat
    }
#endrepeat
  }
#else
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
#if NORM
      let ga = gain[2u * g] + p.offset;
      let gb = gain[2u * g + 1u] + p.offset;
#endif
#repeat I TM
#if NORM
      let ra$I = x[mr$I + 2u * g];
      let rb$I = x[mr$I + 2u * g + 1u];
      squares$I += dot(ra$I, ra$I) + dot(rb$I, rb$I);
      let xa$I = ra$I * ga;
      let xb$I = rb$I * gb;
#else
      let xa$I = x[mr$I + 2u * g];
      let xb$I = x[mr$I + 2u * g + 1u];
#endif
#endrepeat
#repeat J TN
      {
        let v = w_load8(nr$J, g, s$J);
#repeat I TM
        acc$I_$J += dot(xa$I, v.lo) + dot(xb$I, v.hi);
#endrepeat
#if GLU
        let u = w_load8(nr$J + p.n, g, t$J);
#repeat I TM
        up$I_$J += dot(xa$I, u.lo) + dot(xb$I, u.hi);
#endrepeat
#endif
      }
#endrepeat
    }
  }
#endif
#if NORM
#repeat I TM
  let root$I = inv_rms(squares$I);
#repeat J TN
  acc$I_$J *= root$I;
#if GLU
  up$I_$J *= root$I;
#endif
#endrepeat
#endrepeat
#endif
#if EXTRA && GLU && !KEEP
  var gates: array<f32, TM * TN>;
  var ups: array<f32, TM * TN>;
#endif
#repeat I TM
#repeat J TN
#if EXTRA && GLU && !KEEP
  gates[$I * TN + $J] = acc$I_$J;
  ups[$I * TN + $J] = up$I_$J;
#else
  if (m0 + $Iu < p.m && n0 + $Ju < p.n) {
#if KEEP
    kept[(m0 + $Iu) * 2u * p.n + n0 + $Ju] = acc$I_$J;
    kept[(m0 + $Iu) * 2u * p.n + n0 + $Ju + p.n] = up$I_$J;
#elif GLU
    y[(m0 + $Iu) * p.ldy + n0 + $Ju] = act(acc$I_$J) * up$I_$J;
#else
    y[(m0 + $Iu) * p.ldy + p.y0 + n0 + $Ju] = acc$I_$J;
#endif
  }
#endif
#endrepeat
#endrepeat
#if EXTRA && GLU && !KEEP
  // In a loop, as in add_extra: two copies of what is added for every output take a software adapter half a minute to compile.
  for (var i = 0u; i < min(u32(TM), p.m - m0); i++) {
    for (var j = 0u; j < min(u32(TN), p.n - n0); j++) {
      let at = i * u32(TN) + j;
      y[(m0 + i) * p.ldy + n0 + j] = act(gates[at] + extra(m0 + i, n0 + j)) * (ups[at] + extra(m0 + i, n0 + j + p.n));
    }
  }
#endif
#if KEEP
  finish_gate(vec2<u32>(m0, n0), vec2<u32>(min(m0 + u32(TM), p.m), min(n0 + u32(TN), p.n)));
#elif EXTRA && !GLU
  add_extra(vec2<u32>(m0, n0), vec2<u32>(min(m0 + u32(TM), p.m), min(n0 + u32(TN), p.n)));
#endif
}
