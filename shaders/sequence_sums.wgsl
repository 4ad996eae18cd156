// Sums of per-token log-probabilities: sums[s] = Σ logp over the rows that belong to sequence s. What every loss over whole answers begins with.
// Rows of no sequence (0xffffffff) do not count. Overwrites sums.
// Grid: one workgroup per sequence (SERIAL: one thread per sequence).
// SECOND: logp is (rows, 2), and its second column is summed.
// Variants: {|SERIAL} {|SECOND}
struct Params { rows: u32, seqs: u32, first: u32 } // rows first…rows − 1; from the second dispatch on, sums are added to
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> logp: array<f32>;        // (rows) per token
@group(0) @binding(auto) var<storage, read> seq: array<u32>;         // (rows) sequence of each token
@group(0) @binding(auto) var<storage, read_write> sums: array<f32>;  // (seqs)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let s = row_index(wid, nwg, lid);
  if (s >= p.seqs) { return; }
  var sum = 0.0;
  for (var i = p.first + row_first(lid); i < p.rows; i += ROW_STEP) {
#if SECOND
    if (seq[i] == s) { sum += logp[2u * i + 1u]; }
#else
    if (seq[i] == s) { sum += logp[i]; }
#endif
  }
  sum = row_sum(sum, lid);
  if (row_leader(lid)) { sums[s] = select(sum, sum + sums[s], p.first > 0u); }
}
