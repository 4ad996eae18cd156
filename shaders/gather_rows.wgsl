// y[r] = x[idx[r]]; an index outside x (0xffffffff by convention) gives zeros. Overwrites y, or adds to it with ACC.
// The backward pass is the same kernel with the inverse index: dx[m] (+)= dy[inv[m]].
// Grid: one thread per element of y (VEC: per four), 64 per workgroup, folded into (x, y).
// Variants: {|VEC} {|ACC}
struct Params { n: u32, c: u32, rows: u32 } // elements of y and of a row in units of E; rows of x
#include "common/elem.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<E>;        // (rows, c)
@group(0) @binding(auto) var<storage, read> idx: array<u32>;    // (n / c)
@group(0) @binding(auto) var<storage, read_write> y: array<E>;  // (n / c, c)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let row = idx[i / p.c];
  let inside = row < p.rows;
#if ACC
  if (inside) { y[i] += x[row * p.c + i % p.c]; }
#else
  if (inside) { y[i] = x[row * p.c + i % p.c]; } else { y[i] = E(0.0); }
#endif
}
