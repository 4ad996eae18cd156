// y[row, c] = x[row, c] + size[row]·u with u uniform in −1…1, drawn from (seed, counter, salt, element): noise on embeddings (NEFTune). A row of
// size 0 stays what it is. Overwrites y.
// Grid: one thread per element (VEC: per four of a row), 64 per workgroup, folded into (x, y).
// Variants: {|VEC}
struct Params { n: u32, cols: u32, salt: u32 } // elements and row length in units of E
#include "common/elem.wgsl"
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> x: array<E>;        // (rows, cols)
@group(0) @binding(auto) var<storage, read> size: array<f32>;   // (rows)
@group(0) @binding(auto) var<storage, read_write> y: array<E>;  // (rows, cols)
#include "common/grid.wgsl"
#include "common/rng.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
#if VEC
  let u = vec4<f32>(random4(step.seed, step.counter, p.salt, i)) * 4.656612873077393e-10 - 1.0;
#else
  let bits = random4(step.seed, step.counter, p.salt, i >> 2u);
  let u = f32(bits[i & 3u]) * 4.656612873077393e-10 - 1.0;
#endif
  y[i] = x[i] + size[i / p.cols] * u;
}
