// Backward of `reduce`: dx[row, i] = scale·dy[row]; with MAX, dy[row]/counts[row] where x is the maximum, else 0 (ties share the gradient).
// Overwrites dx, or adds to it with ACC.
// Grid: one thread per element, 64 per workgroup, folded into (x, y).
// Variants: {|MAX} {|ACC}
struct Params { n: u32, cols: u32, scale: f32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (rows)
#if MAX
@group(0) @binding(auto) var<storage, read> x: array<f32>;         // (rows, cols)
@group(0) @binding(auto) var<storage, read> y: array<f32>;         // (rows)
@group(0) @binding(auto) var<storage, read> counts: array<f32>;    // (rows)
#endif
@group(0) @binding(auto) var<storage, read_write> dx: array<f32>;  // (rows, cols)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let row = i / p.cols;
#if MAX
  let d = select(0.0, dy[row] / counts[row], x[i] == y[row]);
#else
  let d = dy[row] * p.scale;
#endif
#if ACC
  dx[i] += d;
#else
  dx[i] = d;
#endif
}
