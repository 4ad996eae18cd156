// y[m] = w[ids[m]]; an id outside the table gives zeros. A table split over several buffers takes one dispatch per part, each writing
// the rows whose id it holds; the first also writes the zeros. Overwrites y.
// Grid: one thread per element of y, 64 per workgroup, folded into (x, y).
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8|WT=Q5|WT=Q2K|WT=Q3K|WT=Q4K|WT=Q5K|WT=Q6K|WT=IQ4|WT=IQ4X|WT=MX4}
struct Params {
  n: u32,      // m·k
  k: u32, s_off: u32,
  first: u32, rows: u32, // rows of the table in this part
  total: u32,  // rows of the whole table
}
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> ids: array<u32>;      // (m)
@group(0) @binding(auto) var<storage, read> w: array<u32>;        // (rows, k) packed as WT says
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;  // (m, k)
#include "common/grid.wgsl"
#include "common/weight_at.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let id = ids[i / p.k];
  if (id >= p.first && id < p.first + p.rows) {
    y[i] = w_at(id - p.first, i % p.k);
  } else if (p.first == 0u && id >= p.total) {
    y[i] = 0.0;
  }
}
