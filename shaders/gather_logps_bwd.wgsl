// dz = g·(hot − softmax(z)), hot = onehot(target), per row of logits, from the saved lse: softmax(z) = exp(z − lse). g = dlogp[row] (gather_logps), or
// −dloss·w[row] with WEIGHTED (cross_entropy). A target outside the row is ignored: g = 0. Overwrites dz, or adds to it with ACC.
// smoothing (label smoothing): hot = (1 − smoothing)·onehot(target) + smoothing / length of the row.
// Grid: one thread per element (VEC: per four of a row), 64 per workgroup, folded into (x, y).
// Variants: {|VEC} {|ACC} {|WEIGHTED}
struct Params { n: u32, cols: u32, smoothing: f32 } // elements and row length in units of E
#include "common/elem.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> z: array<E>;           // (rows, cols)
@group(0) @binding(auto) var<storage, read> targets: array<u32>;   // (rows)
@group(0) @binding(auto) var<storage, read> lse: array<f32>;       // (rows)
#if WEIGHTED
@group(0) @binding(auto) var<storage, read> w: array<f32>;         // (rows)
@group(0) @binding(auto) var<storage, read> dloss: array<f32>;     // (1)
#else
@group(0) @binding(auto) var<storage, read> dlogp: array<f32>;     // (rows)
#endif
@group(0) @binding(auto) var<storage, read_write> dz: array<E>;    // (rows, cols)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let row = i / p.cols;
  let t = targets[row];
#if VEC
  let hot = vec4<f32>(vec4<u32>(t) == vec4<u32>((i % p.cols) * 4u) + vec4<u32>(0u, 1u, 2u, 3u));
  let used = t < p.cols * 4u;
  let share = p.smoothing / f32(p.cols * 4u);
#else
  let hot = f32(t == i % p.cols);
  let used = t < p.cols;
  let share = p.smoothing / f32(p.cols);
#endif
  var d = E(0.0);
  if (used) {
#if WEIGHTED
    let g = -dloss[0] * w[row];
#else
    let g = dlogp[row];
#endif
    if (g != 0.0) { d = g * (hot * (1.0 - p.smoothing) + share - exp(z[i] - lse[row])); }
  }
#if ACC
  dz[i] += d;
#else
  dz[i] = d;
#endif
}
