// stats = (lse, Σ_d do·o): what the gradients of attention need of each (query, head) besides its inputs.
// Σ_d do·o = Σ_j w_j·(do·v_j) is the part of the softmax's gradient that all scores of a query share.
// Grid: one workgroup per (query, head) (SERIAL: one thread). Overwrites.
// Variants: {|SERIAL}
struct Params { rows: u32, dim: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> o: array<f32>;                  // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> dout: array<f32>;               // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> lse: array<f32>;                // (batch, t, heads)
@group(0) @binding(auto) var<storage, read_write> stats: array<vec2<f32>>;  // (batch, t, heads)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = row_index(wid, nwg, lid);
  if (row >= p.rows) { return; }
  let at = row * p.dim;
  var acc = 0.0;
  for (var d = row_first(lid); d < p.dim; d += ROW_STEP) { acc += o[at + d] * dout[at + d]; }
  let delta = row_sum(acc, lid);
  if (row_leader(lid)) { stats[row] = vec2<f32>(lse[row], delta); }
}
