// The two gradients of a LoRA product y_s = scale_s·h_s·b_sᵀ, in one dispatch because neither needs the other:
//   db_s[n, j] = step.lora · scale_s · Σ_m dy[m, n]·h[m, h_off + j]          for every segment s
//   dh[m, h_off + j] = step.lora · scale_s · Σ_{n in segment s} dy[m, n]·b_s[n, j]
// A thread makes ⌈r/8⌉ rounds per m: long sums of db are several dispatches, from `first` up to `end`, all but the first with ACC_B and without dh.
// Grid, folded: `for_b` workgroups (⌈most rows of a segment / 32⌉ · segments) of one thread per output row, up to 8 ranks at a time;
// behind them one thread per (eight ranks, segment, m). GROUP (real GPUs): sixteen threads share an output row's sum over m (rows / 16 in place
// of / 32), and a workgroup one (m, segment) of dh. Every column of dh belongs to one segment. Overwrite, or add with ACC_B and ACC_H.
// Variants: {|ACC_B} {|ACC_H} {|GROUP}
struct Seg { rows: vec4<u32>, b: vec4<u32> } // (row0, row1, h_off, r), (b_off, bits of scale, –, –)
struct Params { end: u32, n: u32, ldh: u32, nseg: u32, first: u32, for_b: u32, m: u32, pad: u32, segs: array<Seg, 4> }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (m, n)
@group(0) @binding(auto) var<storage, read> b: array<f32>;         // B of every segment
@group(0) @binding(auto) var<storage, read> h: array<f32>;         // (m, ldh)
@group(0) @binding(auto) var<storage, read_write> dh: array<f32>;  // (m, ldh)
@group(0) @binding(auto) var<storage, read_write> db: array<f32>;  // as b
#include "common/grid.wgsl"

fn put_h(at: u32, v: f32) {
#if ACC_H
  dh[at] += v;
#else
  dh[at] = v;
#endif
}
fn put_b(at: u32, v: f32) {
#if ACC_B
  db[at] += v;
#else
  db[at] = v;
#endif
}

#if GROUP
var<workgroup> red: array<f32, 2048>;
var<workgroup> parts: array<f32, 64>;

fn grad_b(s: u32, i0: u32, lid: u32) {
  let g = p.segs[s];
  let column = lid % 16u;
  let lane = lid / 16u;
  if (g.rows.x + i0 >= g.rows.y) { return; }
  let n = min(g.rows.x + i0 + column, g.rows.y - 1u);
  let r = g.rows.w;
  for (var j0 = 0u; j0 < r; j0 += 8u) {
#repeat J 8
    var acc$J = 0.0;
    let hc$J = g.rows.z + min(j0 + $Ju, r - 1u);
#endrepeat
    for (var m = p.first + lane; m < p.end; m += 16u) {
      let d = dy[m * p.n + n];
#repeat J 8
      acc$J += d * h[m * p.ldh + hc$J];
#endrepeat
    }
    workgroupBarrier(); // the sums of the ranks before have been read
#repeat J 8
    red[lane * 128u + $Ju * 16u + column] = acc$J; // [16 lanes][8 ranks][16 rows]
#endrepeat
    workgroupBarrier();
    // Half of the threads add up one (rank, row) each.
    let j = lid / 16u;
    if (lid < 128u && j0 + j < r && g.rows.x + i0 + column < g.rows.y) {
      var acc = 0.0;
      for (var i = 0u; i < 16u; i++) { acc += red[i * 128u + lid]; }
      put_b(g.b.x + (i0 + column) * r + j0 + j, acc * bitcast<f32>(g.b.y) * step.lora);
    }
  }
}
fn grad_h(m: u32, s: u32, lid: u32) {
  let g = p.segs[s];
  let r = g.rows.w;
  for (var j0 = 0u; j0 < r; j0 += 8u) {
#repeat J 8
    var acc$J = 0.0;
    let c$J = min(j0 + $Ju, r - 1u);
#endrepeat
    for (var n = g.rows.x + lid; n < g.rows.y; n += 256u) {
      let d = dy[m * p.n + n];
      let at = g.b.x + (n - g.rows.x) * r;
#repeat J 8
      acc$J += d * b[at + c$J];
#endrepeat
    }
    workgroupBarrier(); // the sums of the ranks before have been read
#repeat J 8
    red[lid * 8u + $Ju] = acc$J; // [256 threads][8 ranks]
#endrepeat
    workgroupBarrier();
    if (lid < 64u) {
      var acc = 0.0;
      for (var i = 0u; i < 32u; i++) { acc += red[(lid / 8u * 32u + i) * 8u + lid % 8u]; }
      parts[lid] = acc;
    }
    workgroupBarrier();
    if (lid < 8u && j0 + lid < r) {
      var acc = 0.0;
      for (var i = 0u; i < 8u; i++) { acc += parts[i * 8u + lid]; }
      put_h(m * p.ldh + g.rows.z + j0 + lid, acc * bitcast<f32>(g.b.y) * step.lora);
    }
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let id = linear_group(wid, nwg);
  if (id < p.for_b) {
    grad_b(id % p.nseg, id / p.nseg * 16u, lid);
  } else if (p.first == 0u && id - p.for_b < p.m * p.nseg) {
    grad_h((id - p.for_b) / p.nseg, (id - p.for_b) % p.nseg, lid);
  }
}
#else
fn grad_b(s: u32, i: u32) {
  let g = p.segs[s];
  let n = g.rows.x + i;
  if (n >= g.rows.y) { return; }
  let scale = bitcast<f32>(g.b.y) * step.lora;
  let r = g.rows.w;
  for (var j0 = 0u; j0 < r; j0 += 8u) {
#repeat J 8
    var acc$J = 0.0;
    let hc$J = g.rows.z + min(j0 + $Ju, r - 1u);
#endrepeat
    for (var m = p.first; m < p.end; m++) {
      let d = dy[m * p.n + n];
#repeat J 8
      acc$J += d * h[m * p.ldh + hc$J];
#endrepeat
    }
    let at = g.b.x + i * r + j0;
#repeat J 8
    if (j0 + $Ju < r) { put_b(at + $Ju, acc$J * scale); }
#endrepeat
  }
}
// Eight ranks of a segment for one row of dy; neighbours differ in the row, so that they read the same part of b.
fn grad_h(i: u32) {
  let m = i % p.m;
  let g = p.segs[i / p.m % p.nseg];
  let j0 = i / p.m / p.nseg * 8u;
  let r = g.rows.w;
  if (j0 >= r) { return; }
#repeat J 8
  var acc$J = 0.0;
  let c$J = min(j0 + $Ju, r - 1u);
#endrepeat
  for (var n = g.rows.x; n < g.rows.y; n++) {
    let d = dy[m * p.n + n];
    let at = g.b.x + (n - g.rows.x) * r;
#repeat J 8
    acc$J += d * b[at + c$J];
#endrepeat
  }
  let scale = bitcast<f32>(g.b.y) * step.lora;
#repeat J 8
  if (j0 + $Ju < r) { put_h(m * p.ldh + g.rows.z + j0 + $Ju, acc$J * scale); }
#endrepeat
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let id = linear_group(wid, nwg);
  if (id < p.for_b) {
    grad_b(id % p.nseg, id / p.nseg * 32u + lid);
  } else if (p.first == 0u) {
    grad_h((id - p.for_b) * 32u + lid);
  }
}
#endif
