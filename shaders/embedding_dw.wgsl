// dw[ids[m]] += dy[m], without atomics and in the order of m: the same bits every time. Adds to dw (fill clears it where it is to be
// overwritten).
// Grid: COLUMNS: one thread per column, which walks over all m (software adapters: least work). Otherwise one workgroup per m, folded:
// the first m of an id adds up all rows of that id, a column per thread.
// Variants: {|COLUMNS}
struct Params {
  m: u32, k: u32,
  first: u32, rows: u32, // rows of the table in this part
  from_m: u32,           // ids from_m…m − 1: what takes a thread too many rounds is several dispatches
}
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> ids: array<u32>;       // (m)
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (m, k)
@group(0) @binding(auto) var<storage, read_write> dw: array<f32>;  // (rows, k)
#include "common/grid.wgsl"

#if COLUMNS
@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let c = linear_id(gid, nwg, 16u);
  if (c >= p.k) { return; }
  for (var i = p.from_m; i < p.m; i++) {
    let id = ids[i];
    if (id >= p.first && id < p.first + p.rows) { dw[(id - p.first) * p.k + c] += dy[i * p.k + c]; }
  }
}
#else
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let mine = p.from_m + linear_group(wid, nwg);
  if (mine >= p.m) { return; }
  let id = ids[mine];
  if (id < p.first || id >= p.first + p.rows) { return; }
  for (var i = p.from_m; i < mine; i++) {
    if (ids[i] == id) { return; }
  }
  let at = (id - p.first) * p.k;
  for (var i = mine; i < p.m; i++) {
    if (ids[i] == id) {
      for (var c = lid; c < p.k; c += 64u) { dw[at + c] += dy[i * p.k + c]; }
    }
  }
}
#endif
