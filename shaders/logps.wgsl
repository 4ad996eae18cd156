// Log-probability of one target per row of logits: logp = z[target] − log Σ exp z, by the shifted sum.
// GRAD: the logits are overwritten by the gradient of logp, onehot(target) − softmax(z); SCALED: times dlogp of the row.
// A target of 0xffffffff is ignored: logp = 0 and a gradient of zero.
// LSE: also lse = log Σ exp z, which is what the backward pass of gather_logps needs of a row.
// Grid: one workgroup per row (SERIAL: one thread per row). Overwrites logp (unless SCALED) and lse.
// CAP: logits become cap·tanh(logit / cap) first; the gradient is that of what came in.
// SPREAD: also, of each row that is not ignored, the entropy −Σ p·ln p of its distribution and ln Σ p².
// SMOOTH: logp becomes (1 − smoothing)·logp + smoothing·(mean over the row of all log-probabilities): label smoothing.
// Variants: {|SERIAL} {|GRAD|GRAD,SCALED|LSE|SPREAD|GRAD,SPREAD|LSE,SPREAD} {|CAP} {|SMOOTH}
struct Params { rows: u32, cols: u32, cap: f32, smoothing: f32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> targets: array<u32>;      // (rows)
#if SCALED
@group(0) @binding(auto) var<storage, read> dlogp: array<f32>;        // (rows)
#else
@group(0) @binding(auto) var<storage, read_write> logp: array<f32>;   // (rows)
#endif
#if LSE
@group(0) @binding(auto) var<storage, read_write> lse: array<f32>;    // (rows)
#endif
#if SPREAD
@group(0) @binding(auto) var<storage, read_write> spread: array<vec2f>; // (rows)
#endif
#if GRAD
@group(0) @binding(auto) var<storage, read_write> z: array<f32>;      // (rows, cols)
#else
@group(0) @binding(auto) var<storage, read> z: array<f32>;            // (rows, cols)
#endif
#include "common/reduce.wgsl"
// Sixteen elements per round: llvmpipe ends all loops of a thread after 65,535 rounds in total, without a word.
const STRIDE: u32 = 16u;

#if CAP
// tanh of ±15 is ±1 in f32, and exp inside tanh overflows on some drivers.
fn logit(z: f32) -> f32 { return p.cap * tanh(clamp(z / p.cap, -15.0, 15.0)); }
fn slope(logit: f32) -> f32 { return 1.0 - (logit / p.cap) * (logit / p.cap); }
#else
fn logit(z: f32) -> f32 { return z; }
fn slope(logit: f32) -> f32 { return 1.0; }
#endif

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = row_index(wid, nwg, lid);
  if (row >= p.rows) { return; }
  let at = row * p.cols;
  let target_id = targets[row];
  let used = target_id < p.cols;
  let last = p.cols - 1u;
  var top = -3.4e38;
  for (var i = row_first(lid) * STRIDE; i < p.cols; i += ROW_STEP * STRIDE) {
#repeat U 16
    top = max(top, logit(z[at + min(i + $Uu, last)]));
#endrepeat
  }
  top = row_max(top, lid);
  var acc = 0.0;
#if SMOOTH
  var all = 0.0;
#endif
#if SPREAD
  var mean = 0.0;
  var square = 0.0;
#endif
  for (var i = row_first(lid) * STRIDE; i < p.cols; i += ROW_STEP * STRIDE) {
#repeat U 16
#if SMOOTH
    all += select(0.0, logit(z[at + min(i + $Uu, last)]) - top, i + $Uu < p.cols);
#endif
#if SPREAD
    {
      let d = logit(z[at + min(i + $Uu, last)]) - top;
      let e = select(0.0, exp(d), i + $Uu < p.cols);
      acc += e;
      mean += e * d;
      square += e * e;
    }
#else
    acc += select(0.0, exp(logit(z[at + min(i + $Uu, last)]) - top), i + $Uu < p.cols);
#endif
#endrepeat
  }
  let sum = row_sum(acc, lid);
#if SMOOTH
  let mean_all = row_sum(all, lid) / f32(p.cols);
#endif
#if SPREAD
  let mean_sum = row_sum(mean, lid);
  let square_sum = row_sum(square, lid);
#endif
#if !SCALED
  if (row_leader(lid)) {
    var v = 0.0;
#if SMOOTH
    if (used) { v = (1.0 - p.smoothing) * (logit(z[at + target_id]) - top) + p.smoothing * mean_all - log(sum); }
#else
    if (used) { v = logit(z[at + target_id]) - top - log(sum); }
#endif
    logp[row] = v;
#if SPREAD
    var s = vec2f(0.0);
    if (used) { s = vec2f(log(sum) - mean_sum / sum, log(square_sum) - 2.0 * log(sum)); }
    spread[row] = s;
#endif
#if LSE
    lse[row] = top + log(sum);
#endif
  }
#endif
#if GRAD
  var turn = 1.0;
#if CAP
  if (used) { turn = slope(logit(z[at + target_id])); }
#endif
  // Every thread has read what the leader needs before the row is overwritten.
#if !SERIAL
  workgroupBarrier();
#endif
#if SCALED
  let k = select(0.0, dlogp[row], used);
#else
  let k = select(0.0, 1.0, used);
#endif
  let inv = k / sum;
#if SMOOTH
  let share = k * p.smoothing / f32(p.cols);
  let hot = k - k * p.smoothing;
#else
  let share = 0.0;
  let hot = k;
#endif
  for (var i = row_first(lid) * STRIDE; i < p.cols; i += ROW_STEP * STRIDE) {
#repeat U 16
    if (i + $Uu < p.cols) {
      let c = logit(z[at + i + $Uu]);
      z[at + i + $Uu] = (share - exp(c - top) * inv) * slope(c);
    }
#endrepeat
  }
#if !SERIAL
  storageBarrier();
#endif
  if (row_leader(lid) && used) { z[at + target_id] += hot * turn; }
#endif
}
