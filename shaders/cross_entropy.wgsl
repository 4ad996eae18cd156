// loss = Σ −w·logp over all rows, from the log-probabilities that `logps` gives (0 for ignored rows). A row of weight 0 does not count,
// whatever its logp. Overwrites loss; gather_logps_bwd is its gradient.
// Grid: one workgroup (SERIAL: one thread works).
// Variants: {|SERIAL}
struct Params { rows: u32, first: u32 } // rows first…rows − 1; from the second dispatch on, loss is added to
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> logp: array<f32>;        // (rows)
@group(0) @binding(auto) var<storage, read> w: array<f32>;           // (rows)
@group(0) @binding(auto) var<storage, read_write> loss: array<f32>;  // (1)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  if (row_index(wid, nwg, lid) > 0u) { return; }
  var acc = 0.0;
  for (var i = p.first + row_first(lid); i < p.rows; i += ROW_STEP) {
    if (w[i] != 0.0) { acc -= w[i] * logp[i]; }
  }
  let s = row_sum(acc, lid);
  if (row_leader(lid)) { loss[0] = select(0.0, loss[0], p.first > 0u) + s; }
}
