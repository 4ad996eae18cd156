// DoRA: the norm of every row of W + s·B·A, from the squared norms of W's rows, p = A·Wᵀ and gram = A·Aᵀ; one segment of a fused linear.
// Grid: one thread per row of the segment, 64 per workgroup, folded into (x, y).
// Variants: {}
struct Params { rows: u32, row0: u32, h_off: u32, r: u32, b_off: u32, scale: f32, ranks: u32, n: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> squares: array<f32>;     // (N)
@group(0) @binding(auto) var<storage, read> products: array<f32>;    // (R, N)
@group(0) @binding(auto) var<storage, read> gram: array<f32>;        // (R, R)
@group(0) @binding(auto) var<storage, read> b: array<f32>;           // flat
@group(0) @binding(auto) var<storage, read_write> norm: array<f32>;  // (N)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.rows) { return; }
  let j = p.row0 + i;
  let own = p.b_off + i * p.r;
  var sum = squares[j];
  for (var k = 0u; k < p.r; k++) {
    let row = (p.h_off + k) * p.ranks + p.h_off;
    var along = 0.0;
    for (var l = 0u; l < p.r; l++) { along += b[own + l] * gram[row + l]; }
    sum += p.scale * b[own + k] * (2.0 * products[(p.h_off + k) * p.n + j] + p.scale * along);
  }
  norm[j] = sqrt(max(sum, 0.0));
}
