// A block of rows from one tensor to another, each with a distance of its own between rows: puts the A and B of several adapters side by
// side, and takes their gradients apart again. y[to + r·to_stride + c] = x[from + r·from_stride + c]; the rest of y stays as it is.
// Overwrites, or adds with ACC.
// Grid: one thread per element of the block, 64 per workgroup, folded into (x, y).
// Variants: {|ACC}
struct Params { n: u32, c: u32, from_at: u32, from_stride: u32, to_at: u32, to_stride: u32 } // n = rows·c
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let r = i / p.c;
  let c = i % p.c;
  let v = x[p.from_at + r * p.from_stride + c];
  let at = p.to_at + r * p.to_stride + c;
#if ACC
  y[at] += v;
#else
  y[at] = v;
#endif
}
