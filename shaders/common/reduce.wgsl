// Sums and maxima over a row, in the two forms every row kernel has:
//   without barriers (define SERIAL): one thread per row, WG rows per workgroup. For software adapters.
//   otherwise: one workgroup of WG threads per row, reduced through workgroup memory.
// Usage: `for (var i = row_first(lid); i < n; i += ROW_STEP) { acc += ... }  let s = row_sum(acc, lid);`
// row_sum and row_max must be reached by every thread of the workgroup (uniform control flow).
#define WG 64
#if SERIAL
#define ROW_STEP 1u
fn row_first(lid: u32) -> u32 { return 0u; }
fn row_sum(v: f32, lid: u32) -> f32 { return v; }
fn row_max(v: f32, lid: u32) -> f32 { return v; }
// The row of this thread.
fn row_index(wid: vec3<u32>, nwg: vec3<u32>, lid: u32) -> u32 { return (wid.x + wid.y * nwg.x) * u32(WG) + lid; }
// True for the thread that writes per-row results.
fn row_leader(lid: u32) -> bool { return true; }
#else
#define ROW_STEP u32(WG)
var<workgroup> red: array<f32, WG>;
fn row_first(lid: u32) -> u32 { return lid; }
fn row_sum(v: f32, lid: u32) -> f32 {
  red[lid] = v;
  workgroupBarrier();
  for (var s = u32(WG) / 2u; s > 0u; s /= 2u) {
    if (lid < s) { red[lid] += red[lid + s]; }
    workgroupBarrier();
  }
  let r = red[0];
  workgroupBarrier(); // red may be used again at once
  return r;
}
fn row_max(v: f32, lid: u32) -> f32 {
  red[lid] = v;
  workgroupBarrier();
  for (var s = u32(WG) / 2u; s > 0u; s /= 2u) {
    if (lid < s) { red[lid] = max(red[lid], red[lid + s]); }
    workgroupBarrier();
  }
  let r = red[0];
  workgroupBarrier();
  return r;
}
fn row_index(wid: vec3<u32>, nwg: vec3<u32>, lid: u32) -> u32 { return wid.x + wid.y * nwg.x; }
fn row_leader(lid: u32) -> bool { return lid == 0u; }
#endif
