// Gradient of sequence_sums: dlogp[i] = dsums[seq[i]], 0 for rows of no sequence. Overwrites dlogp, or adds to it (ACC).
// Grid: one thread per row, 64 per workgroup, folded into (x, y).
// Variants: {|ACC}
struct Params { rows: u32, seqs: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> dsums: array<f32>;        // (seqs)
@group(0) @binding(auto) var<storage, read> seq: array<u32>;          // (rows)
@group(0) @binding(auto) var<storage, read_write> dlogp: array<f32>;  // (rows)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.rows) { return; }
  var d = 0.0;
  if (seq[i] < p.seqs) { d = dsums[seq[i]]; }
#if ACC
  dlogp[i] += d;
#else
  dlogp[i] = d;
#endif
}
