// Gradients of the cell of an LSTM (lstm_cell) with respect to its gates and, with PREV, to the cell before. DC: c2 has a gradient of its own, too.
// Grid: one thread per element of h, 64 per workgroup, folded into (x, y). Overwrites, or adds with ACC (gates) and ACC_C (cell).
// Variants: {|PREV|PREV,ACC_C} {|DC} {|ACC}
struct Params { n: u32, hidden: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> gates: array<f32>;            // (B, 4H)
@group(0) @binding(auto) var<storage, read> c: array<f32>;                // (B, H): c2
@group(0) @binding(auto) var<storage, read> dh: array<f32>;               // (B, H)
#if PREV
@group(0) @binding(auto) var<storage, read> prev: array<f32>;             // (B, H)
#endif
#if DC
@group(0) @binding(auto) var<storage, read> dc: array<f32>;               // (B, H)
#endif
@group(0) @binding(auto) var<storage, read_write> dgates: array<f32>;     // (B, 4H)
#if PREV
@group(0) @binding(auto) var<storage, read_write> dprev: array<f32>;      // (B, H)
#endif
#include "common/grid.wgsl"
#include "common/lstm.wgsl"

fn put(at: u32, v: f32) {
#if ACC
  dgates[at] += v;
#else
  dgates[at] = v;
#endif
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let at = linear_id(gid, nwg, 64u);
  if (at >= p.n) { return; }
  let row = at / p.hidden * 4u * p.hidden + at % p.hidden;
  let i = logistic(gates[row]);
  let f = logistic(gates[row + p.hidden]);
  let g = bent(gates[row + 2u * p.hidden]);
  let o = logistic(gates[row + 3u * p.hidden]);
  let t = bent(c[at]);
  var d = dh[at] * o * (1.0 - t * t);
#if DC
  d += dc[at];
#endif
  put(row, d * g * i * (1.0 - i));
#if PREV
  put(row + p.hidden, d * prev[at] * f * (1.0 - f));
#if ACC_C
  dprev[at] += d * f;
#else
  dprev[at] = d * f;
#endif
#else
  put(row + p.hidden, 0.0);
#endif
  put(row + 2u * p.hidden, d * i * (1.0 - g * g));
  put(row + 3u * p.hidden, dh[at] * t * o * (1.0 - o));
}
