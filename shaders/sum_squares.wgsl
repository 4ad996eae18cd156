// Partial sums of x², first half of grad_norm. Always the same terms in the same order: deterministic. Overwrites parts[first…].
// Grid: p.parts workgroups, one partial sum each (SERIAL: p.parts threads).
// Variants: {|SERIAL}
struct Params { n: u32, parts: u32, first: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;            // (n)
@group(0) @binding(auto) var<storage, read_write> parts: array<f32>;  // (first + parts, …)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let part = row_index(wid, nwg, lid);
  if (part >= p.parts) { return; }
  var acc = 0.0;
  // Neighbouring threads read neighbouring elements in both forms.
  for (var i = part * ROW_STEP + row_first(lid); i < p.n; i += p.parts * ROW_STEP) { acc += x[i] * x[i]; }
  let s = row_sum(acc, lid);
  if (row_leader(lid)) { parts[p.first + part] = s; }
}
