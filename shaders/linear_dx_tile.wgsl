// dx = dy·w for real GPUs: 64 × 64 outputs per workgroup of 256 threads, 4 × 4 per thread, 16 rows of w at a time through workgroup
// memory. Overwrites dx, or adds with ACC. k must be a multiple of 8. Grid: (⌈k/64⌉, ⌈m/64⌉).
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|ACC}
struct Params { m: u32, n: u32, k: u32, ldy: u32, y0: u32, s_off: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/weights.wgsl"
@group(0) @binding(auto) var<storage, read> dy: array<f32>;              // (m, ldy)
@group(0) @binding(auto) var<storage, read> w: array<W_TYPE>;            // (n, k) packed
@group(0) @binding(auto) var<storage, read_write> dx: array<vec4<f32>>;  // (m, k/4)
#include "common/weight_row.wgsl"
var<workgroup> ds: array<f32, 1088>;       // [16 n][68]: 64 rows of dy, transposed
var<workgroup> ws: array<vec4<f32>, 256>;  // [16 n][16]: 64 columns of w

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let m0 = wid.y * 64u;
  let c0 = wid.x * 64u;
  let tx = lid % 16u;
  let ty = lid / 16u;
#repeat I 4
  var acc$I = vec4<f32>(0.0);
#endrepeat
  for (var n0 = 0u; n0 < p.n; n0 += 16u) {
    // dy: every thread takes 4 values of one row.
    let row = lid / 4u;
    for (var j = 0u; j < 4u; j++) {
      let n = (lid % 4u) * 4u + j;
      var v = 0.0;
      if (m0 + row < p.m && n0 + n < p.n) { v = dy[(m0 + row) * p.ldy + p.y0 + n0 + n]; }
      ds[n * 68u + row] = v;
    }
    // w: 128 threads take one group of 8 of one row.
    if (lid < 128u) {
      let n = lid / 8u;
      let g = (c0 >> 3u) + lid % 8u;
      var v = W8(vec4<f32>(0.0), vec4<f32>(0.0));
      if (n0 + n < p.n && g < (p.k >> 3u)) { v = w_load8(n0 + n, g, w_scale(n0 + n, g >> 2u)); }
      ws[n * 16u + (lid % 8u) * 2u] = v.lo;
      ws[n * 16u + (lid % 8u) * 2u + 1u] = v.hi;
    }
    workgroupBarrier();
    for (var n = 0u; n < 16u; n++) {
      let b = ws[n * 16u + tx];
#repeat I 4
      acc$I += ds[n * 68u + ty * 4u + $Iu] * b;
#endrepeat
    }
    workgroupBarrier();
  }
  let k4 = p.k >> 2u;
  let c = (c0 >> 2u) + tx;
  if (c < k4) {
#repeat I 4
    if (m0 + ty * 4u + $Iu < p.m) {
#if ACC
      dx[(m0 + ty * 4u + $Iu) * k4 + c] += acc$I;
#else
      dx[(m0 + ty * 4u + $Iu) * k4 + c] = acc$I;
#endif
    }
#endrepeat
  }
}
