// dh[m, j] = step.lora · scale_s · Σ_{n in segment s of column j} dy[m, n]·b_s[n, j]: the gradient of h = x·Aᵀ.
// Grid: one thread per (m, j), 32 per workgroup, folded; GROUP (real GPUs): a workgroup of 64 per (m, segment), whose threads share the
// sum over n, folded. Every column of dh belongs to one segment there. Overwrites dh, or adds with ACC.
// Variants: {|ACC} {|GROUP}
struct Seg { rows: vec4<u32>, b: vec4<u32> } // (row0, row1, h_off, r), (b_off, bits of scale, –, –)
struct Params { m: u32, n: u32, ldh: u32, nseg: u32, segs: array<Seg, 4> }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (m, n)
@group(0) @binding(auto) var<storage, read> b: array<f32>;         // B of every segment
@group(0) @binding(auto) var<storage, read_write> dh: array<f32>;  // (m, ldh)
#include "common/grid.wgsl"

#if GROUP
var<workgroup> red: array<f32, 512>; // [64 threads][8 ranks]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let id = linear_group(wid, nwg);
  if (id >= p.m * p.nseg) { return; }
  let m = id / p.nseg;
  let g = p.segs[id % p.nseg];
  let r = g.rows.w;
  for (var j0 = 0u; j0 < r; j0 += 8u) {
#repeat J 8
    var acc$J = 0.0;
    let c$J = min(j0 + $Ju, r - 1u);
#endrepeat
    for (var n = g.rows.x + lid; n < g.rows.y; n += 64u) {
      let d = dy[m * p.n + n];
      let at = g.b.x + (n - g.rows.x) * r;
#repeat J 8
      acc$J += d * b[at + c$J];
#endrepeat
    }
    workgroupBarrier(); // the sums of the ranks before have been read
#repeat J 8
    red[lid * 8u + $Ju] = acc$J;
#endrepeat
    workgroupBarrier();
    if (lid < 8u && j0 + lid < r) {
      var acc = 0.0;
      for (var i = 0u; i < 64u; i++) { acc += red[i * 8u + lid]; }
      let at = m * p.ldh + g.rows.z + j0 + lid;
      acc *= bitcast<f32>(g.b.y) * step.lora;
#if ACC
      dh[at] += acc;
#else
      dh[at] = acc;
#endif
    }
  }
}
#else
@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 32u);
  if (i >= p.m * p.ldh) { return; }
  let m = i / p.ldh;
  let j = i % p.ldh;
  var acc = 0.0;
  for (var s = 0u; s < p.nseg; s++) {
    let g = p.segs[s];
    if (j >= g.rows.z && j < g.rows.z + g.rows.w) {
      var sum = 0.0;
      let bat = g.b.x + (j - g.rows.z);
      for (var n = g.rows.x; n < g.rows.y; n++) { sum += dy[m * p.n + n] * b[bat + (n - g.rows.x) * g.rows.w]; }
      acc += sum * bitcast<f32>(g.b.y);
    }
  }
#if ACC
  dh[i] += acc * step.lora;
#else
  dh[i] = acc * step.lora;
#endif
}
#endif
