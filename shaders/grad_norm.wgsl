// norm = sqrt(Σ parts), second half of the global gradient norm. Overwrites norm; with HOLD, not one that is infinite or NaN.
// Grid: one workgroup (SERIAL: one thread works).
// Variants: {|SERIAL} {|HOLD}
struct Params { parts: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> parts: array<f32>;       // (parts) from sum_squares
@group(0) @binding(auto) var<storage, read_write> norm: array<f32>;  // (1)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  if (row_index(wid, nwg, lid) > 0u) { return; }
  var acc = 0.0;
  for (var i = row_first(lid); i < p.parts; i += ROW_STEP) { acc += parts[i]; }
  let s = row_sum(acc, lid);
  if (row_leader(lid)) {
#if HOLD
    // As in adamw: asked by bits.
    if ((bitcast<u32>(norm[0]) & 0x7f800000u) == 0x7f800000u) { return; }
#endif
    norm[0] = sqrt(s);
  }
}
