// dx = y·(dy − Σ dy·y) over the last axis; overwrites dx, or adds to it with ACC. Elements that were not there have y = 0, hence dx = 0.
// Grid: one workgroup per row (SERIAL: one thread per row), eight elements per round.
// Variants: {|SERIAL} {|ACC}
struct Params { rows: u32, cols: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> y: array<f32>;         // (rows, cols)
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (rows, cols)
@group(0) @binding(auto) var<storage, read_write> dx: array<f32>;  // (rows, cols)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = row_index(wid, nwg, lid);
  if (row >= p.rows) { return; }
  let at = row * p.cols;
  let last = p.cols - 1u;
  var acc = 0.0;
  for (var i = row_first(lid) * 8u; i < p.cols; i += ROW_STEP * 8u) {
#repeat U 8
    acc += select(0.0, y[at + min(i + $Uu, last)] * dy[at + min(i + $Uu, last)], i + $Uu < p.cols);
#endrepeat
  }
  let dot = row_sum(acc, lid);
  for (var i = row_first(lid) * 8u; i < p.cols; i += ROW_STEP * 8u) {
#repeat U 8
    if (i + $Uu < p.cols) {
      let d = y[at + i + $Uu] * (dy[at + i + $Uu] - dot);
#if ACC
      dx[at + i + $Uu] += d;
#else
      dx[at + i + $Uu] = d;
#endif
    }
#endrepeat
  }
}
