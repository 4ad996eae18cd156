// db_s[n, j] += step.lora · scale_s · Σ_m dy[m, n]·h[m, h_off + j] for every segment s.
// A thread makes ⌈r/8⌉ rounds per m: long sums are several dispatches, from `first m` up to m, all but the first with ACC.
// Grid: (⌈n / 32⌉, segments): one thread per output row, up to 8 ranks at a time; GROUP (real GPUs): ⌈n / 16⌉ workgroups per segment,
// and sixteen threads share an output row's sum over m. Overwrites, or adds with ACC.
// Variants: {|ACC} {|GROUP}
struct Seg { rows: vec4<u32>, b: vec4<u32> } // (row0, row1, h_off, r), (b_off, bits of scale, first m, –)
struct Params { m: u32, n: u32, ldh: u32, nseg: u32, segs: array<Seg, 4> }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (m, n)
@group(0) @binding(auto) var<storage, read> h: array<f32>;         // (m, ldh)
@group(0) @binding(auto) var<storage, read_write> db: array<f32>;  // B of every segment

#if GROUP
var<workgroup> red: array<f32, 2048>; // [16 lanes][8 ranks][16 rows]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let g = p.segs[wid.y];
  let column = lid % 16u;
  let lane = lid / 16u;
  let i0 = wid.x * 16u;
  if (g.rows.x + i0 >= g.rows.y) { return; }
  let n = min(g.rows.x + i0 + column, g.rows.y - 1u);
  let r = g.rows.w;
  for (var j0 = 0u; j0 < r; j0 += 8u) {
#repeat J 8
    var acc$J = 0.0;
    let hc$J = g.rows.z + min(j0 + $Ju, r - 1u);
#endrepeat
    for (var m = g.b.z + lane; m < p.m; m += 16u) {
      let d = dy[m * p.n + n];
#repeat J 8
      acc$J += d * h[m * p.ldh + hc$J];
#endrepeat
    }
    workgroupBarrier(); // the sums of the ranks before have been read
#repeat J 8
    red[lane * 128u + $Ju * 16u + column] = acc$J;
#endrepeat
    workgroupBarrier();
    // Half of the threads add up one (rank, row) each.
    let j = lid / 16u;
    if (lid < 128u && j0 + j < r && g.rows.x + i0 + column < g.rows.y) {
      var acc = 0.0;
      for (var i = 0u; i < 16u; i++) { acc += red[i * 128u + lid]; }
      acc *= bitcast<f32>(g.b.y) * step.lora;
      let at = g.b.x + (i0 + column) * r + j0 + j;
#if ACC
      db[at] += acc;
#else
      db[at] = acc;
#endif
    }
  }
}
#else
@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let g = p.segs[gid.y];
  let n = g.rows.x + gid.x;
  if (n >= g.rows.y) { return; }
  let scale = bitcast<f32>(g.b.y) * step.lora;
  let r = g.rows.w;
  for (var j0 = 0u; j0 < r; j0 += 8u) {
#repeat J 8
    var acc$J = 0.0;
    let hc$J = g.rows.z + min(j0 + $Ju, r - 1u);
#endrepeat
    for (var m = g.b.z; m < p.m; m++) {
      let d = dy[m * p.n + n];
#repeat J 8
      acc$J += d * h[m * p.ldh + hc$J];
#endrepeat
    }
    let at = g.b.x + gid.x * r + j0;
#repeat J 8
    if (j0 + $Ju < r) {
#if ACC
      db[at + $Ju] += acc$J * scale;
#else
      db[at + $Ju] = acc$J * scale;
#endif
    }
#endrepeat
  }
}
#endif
