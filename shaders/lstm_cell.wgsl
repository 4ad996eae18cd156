// The cell of an LSTM: c2 = s(f)·c + s(i)·tanh(g), h = s(o)·tanh(c2), s the logistic function; a row of gates is i, f, g, o. Without PREV, c is 0.
// Grid: one thread per element of h, 64 per workgroup, folded into (x, y).
// Variants: {|PREV}
struct Params { n: u32, hidden: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> gates: array<f32>;       // (B, 4H)
#if PREV
@group(0) @binding(auto) var<storage, read> prev: array<f32>;        // (B, H)
#endif
@group(0) @binding(auto) var<storage, read_write> h: array<f32>;     // (B, H)
@group(0) @binding(auto) var<storage, read_write> c: array<f32>;     // (B, H)
#include "common/grid.wgsl"
#include "common/lstm.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let at = linear_id(gid, nwg, 64u);
  if (at >= p.n) { return; }
  let row = at / p.hidden * 4u * p.hidden + at % p.hidden;
  var cell = logistic(gates[row]) * bent(gates[row + 2u * p.hidden]);
#if PREV
  cell += logistic(gates[row + p.hidden]) * prev[at];
#endif
  c[at] = cell;
  h[at] = logistic(gates[row + 3u * p.hidden]) * bent(cell);
}
