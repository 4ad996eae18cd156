// The tiled matmul of real GPUs: 64 × 64 outputs per workgroup of 256 threads, 4 × 4 per thread, 16 deep through workgroup memory.
//   y[i, j] = Σ_r x[i, r]·w[j, r]   (and everything of common/linear_io.wgsl is added)
// Rows and columns beyond the edge are zero in the tiles and not stored; k must be a multiple of 8.
// Grid: (⌈n/64⌉, ⌈m/64⌉). Overwrites y.
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,RESIDUAL|EXTRA,BIAS,LORA,RESIDUAL}
#include "common/linear_io.wgsl"
const BK: u32 = 16u;
var<workgroup> xs: array<f32, 1088>; // [BK][68]: 64 rows of x, transposed; padded against bank conflicts
var<workgroup> ws: array<f32, 1088>; // [BK][68]: 64 rows of w, transposed

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let m0 = wid.y * 64u;
  let n0 = wid.x * 64u;
  let tx = lid % 16u;
  let ty = lid / 16u;
  // Loading: 128 threads fill x, 128 fill w; each takes one group of 8 along k of one row.
  let half = lid / 128u;
  let row = (lid % 128u) / 2u;
  let group = lid % 2u;
#repeat I 4
  var acc$I = vec4<f32>(0.0);
#endrepeat
  for (var k0 = 0u; k0 < p.k; k0 += BK) {
    let g = (k0 >> 3u) + group;
    let inside = g < (p.k >> 3u);
    var lo = vec4<f32>(0.0);
    var hi = vec4<f32>(0.0);
    let at = group * 8u * 68u + row;
    if (half == 0u) {
      if (inside && m0 + row < p.m) {
        let i = (m0 + row) * XSTRIDE + 2u * g;
        lo = x[i];
        hi = x[i + 1u];
      }
#repeat C 4
      xs[at + $Cu * 68u] = lo[$C];
      xs[at + ($Cu + 4u) * 68u] = hi[$C];
#endrepeat
    } else {
      if (inside && n0 + row < p.n) {
        let v = w_load8(n0 + row, g, w_scale(n0 + row, g >> 2u));
        lo = v.lo;
        hi = v.hi;
      }
#repeat C 4
      ws[at + $Cu * 68u] = lo[$C];
      ws[at + ($Cu + 4u) * 68u] = hi[$C];
#endrepeat
    }
    workgroupBarrier();
    for (var k = 0u; k < BK; k++) {
      let b = vec4<f32>(ws[k * 68u + tx * 4u], ws[k * 68u + tx * 4u + 1u], ws[k * 68u + tx * 4u + 2u], ws[k * 68u + tx * 4u + 3u]);
#repeat I 4
      acc$I += xs[k * 68u + ty * 4u + $Iu] * b;
#endrepeat
    }
    workgroupBarrier();
  }
#repeat I 4
#repeat J 4
  if (m0 + ty * 4u + $Iu < p.m && n0 + tx * 4u + $Ju < p.n) {
    y[(m0 + ty * 4u + $Iu) * p.ldy + p.y0 + n0 + tx * 4u + $Ju] = acc$I[$J];
  }
#endrepeat
#endrepeat
#if EXTRA
  for (var i = m0 + ty * 4u; i < min(m0 + ty * 4u + 4u, p.m); i++) {
    for (var j = n0 + tx * 4u; j < min(n0 + tx * 4u + 4u, p.n); j++) {
      y[i * p.ldy + p.y0 + j] += extra(i, j);
    }
  }
#endif
}
