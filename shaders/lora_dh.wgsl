// dh[m, j] = step.lora · scale_s · Σ_{n in segment s of column j} dy[m, n]·b_s[n, j]: the gradient of h = x·Aᵀ.
// Grid: one thread per (m, j), 32 per workgroup, folded. Overwrites dh, or adds with ACC.
// Variants: {|ACC}
struct Seg { rows: vec4<u32>, b: vec4<u32> } // (row0, row1, h_off, r), (b_off, bits of scale, –, –)
struct Params { m: u32, n: u32, ldh: u32, nseg: u32, segs: array<Seg, 4> }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (m, n)
@group(0) @binding(auto) var<storage, read> b: array<f32>;         // B of every segment
@group(0) @binding(auto) var<storage, read_write> dh: array<f32>;  // (m, ldh)
#include "common/grid.wgsl"

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
