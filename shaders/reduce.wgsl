// y[row] = scale·Σ x[row, :], or with MAX the largest x[row, :] and how often it occurs. The last row may be shorter: n elements in all.
// PAIRS: x are maxima of parts, found n_x times each (second stage of a maximum over everything). Overwrites y and counts.
// Grid: one workgroup per row (SERIAL: one thread per row). Eight elements per round: llvmpipe ends all loops of a thread after 65,535
// rounds in total.
// Variants: {|SERIAL} {|MAX|MAX,PAIRS}
struct Params { rows: u32, cols: u32, n: u32, scale: f32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;             // (n)
#if PAIRS
@group(0) @binding(auto) var<storage, read> n_x: array<f32>;           // (n)
#endif
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;       // (rows)
#if MAX
@group(0) @binding(auto) var<storage, read_write> counts: array<f32>;  // (rows)
#endif
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = row_index(wid, nwg, lid);
  if (row >= p.rows) { return; }
  let end = min((row + 1u) * p.cols, p.n);
#if MAX
  var top = -3.4e38;
  for (var i = row * p.cols + row_first(lid) * 8u; i < end; i += ROW_STEP * 8u) {
#repeat U 8
    top = max(top, x[min(i + $Uu, end - 1u)]);
#endrepeat
  }
  top = row_max(top, lid);
#endif
  var acc = 0.0;
  for (var i = row * p.cols + row_first(lid) * 8u; i < end; i += ROW_STEP * 8u) {
#repeat U 8
    {
      let v = x[min(i + $Uu, end - 1u)];
#if PAIRS
      acc += select(0.0, n_x[min(i + $Uu, end - 1u)], i + $Uu < end && v == top);
#elif MAX
      acc += select(0.0, 1.0, i + $Uu < end && v == top);
#else
      acc += select(0.0, v, i + $Uu < end);
#endif
    }
#endrepeat
  }
  let s = row_sum(acc, lid);
  if (row_leader(lid)) {
#if MAX
    y[row] = top;
    counts[row] = s;
#else
    y[row] = s * p.scale;
#endif
  }
}
