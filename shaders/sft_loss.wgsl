// loss = Σ −w·logp·scale over all rows, and its gradient dlogp = −w·scale: the loss of supervised fine-tuning. A row of weight 0
// does not count, whatever its logp. DFT: w times the token's own probability, which carries no gradient.
// metrics = (loss, Σ w, rows with w ≠ 0, Σ −logp over those, 0, 0, 0, 0). Overwrites both outputs.
// Grid: one workgroup (SERIAL: one thread works).
// Variants: {|SERIAL} {|DFT}
struct Params { rows: u32, first: u32 } // rows first…rows − 1; from the second dispatch on, metrics are added to
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> logp: array<f32>;           // (rows)
@group(0) @binding(auto) var<storage, read> w: array<f32>;              // (rows)
@group(0) @binding(auto) var<storage, read> numbers: array<f32>;        // (1) scale
@group(0) @binding(auto) var<storage, read_write> metrics: array<f32>;  // (8)
@group(0) @binding(auto) var<storage, read_write> dlogp: array<f32>;    // (rows)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  if (row_index(wid, nwg, lid) > 0u) { return; }
  let scale = numbers[0];
  var loss = 0.0;
  var weight = 0.0;
  var count = 0.0;
  var nll = 0.0;
  for (var i = p.first + row_first(lid); i < p.rows; i += ROW_STEP) {
    var v = w[i];
    let used = v != 0.0;
#if DFT
    if (used) { v *= exp(logp[i]); }
#endif
    dlogp[i] = -v * scale;
    if (used) {
      loss -= v * logp[i];
      weight += v;
      count += 1.0;
      nll -= logp[i];
    }
  }
  loss = row_sum(loss, lid);
  weight = row_sum(weight, lid);
  count = row_sum(count, lid);
  nll = row_sum(nll, lid);
  if (row_leader(lid)) {
    let more = p.first > 0u;
    metrics[0] = select(0.0, metrics[0], more) + loss * scale;
    metrics[1] = select(0.0, metrics[1], more) + weight;
    metrics[2] = select(0.0, metrics[2], more) + count;
    metrics[3] = select(0.0, metrics[3], more) + nll;
    for (var i = 4u; i < 8u; i++) { metrics[i] = 0.0; }
  }
}
