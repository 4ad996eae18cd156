// In a pass with several adapters x·Aᵀ holds the columns of all of them: each row keeps those of its own adapter and gets zeros elsewhere.
// y[m, c] = scales[c]·h[m, c] where owners[c] = rows[m], otherwise 0; 0xffffffff owns nothing and is owned by nothing.
// Its own backward: dh from dy. Overwrites y, or adds to it with ACC.
// Grid: one thread per element, 64 per workgroup, folded into (x, y).
// Variants: {|ACC}
struct Params { n: u32, c: u32 } // M·C, C
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> h: array<f32>;        // (M, C)
@group(0) @binding(auto) var<storage, read> rows: array<u32>;     // (M)
@group(0) @binding(auto) var<storage, read> owners: array<u32>;   // (C)
@group(0) @binding(auto) var<storage, read> scales: array<f32>;   // (C)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;  // (M, C)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let c = i % p.c;
  let owner = owners[c];
  let mine = owner == rows[i / p.c] && owner != 0xffffffffu;
#if ACC
  if (mine) { y[i] += scales[c] * h[i]; }
#else
  if (mine) { y[i] = scales[c] * h[i]; } else { y[i] = 0.0; }
#endif
}
