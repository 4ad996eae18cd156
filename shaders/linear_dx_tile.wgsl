// dx = dy·w for real GPUs: 16·TM × 16·TN outputs per workgroup of 256 threads, TM × TN per thread, 16 rows of w at a time through
// workgroup memory; the next 16 are read into registers meanwhile (see linear_tile.wgsl, also for the order inside the tile of dy).
// DY4: rows of dy can be read four values at a time. Overwrites dx, or adds with ACC. k must be a multiple of 8.
// Grid: (⌈k/(16·TN)⌉, ⌈m/(16·TM)⌉).
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|ACC} {|DY4} {TM=4,TN=4|TM=8,TN=8}
// Variants: {WT=F32|WT=Q4} DY4 {TM=2,TN=4|TM=8,TN=4}
struct Params { m: u32, n: u32, k: u32, ldy: u32, y0: u32, s_off: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/weights.wgsl"
#if DY4
@group(0) @binding(auto) var<storage, read> dy: array<vec4<f32>>;        // (m, ldy/4)
#else
@group(0) @binding(auto) var<storage, read> dy: array<f32>;              // (m, ldy)
#endif
@group(0) @binding(auto) var<storage, read> w: array<W_TYPE>;            // (n, k) packed
@group(0) @binding(auto) var<storage, read_write> dx: array<vec4<f32>>;  // (m, k/4)
#include "common/weight_row.wgsl"
const COLUMNS: u32 = 4u * u32(TN);  // of w in a tile, in fours
const WSLOTS: u32 = 8u * COLUMNS;
const DSLOTS: u32 = 32u * u32(TM);
var<workgroup> ds: array<vec4<f32>, DSLOTS * 2u>;  // 16·TM rows of dy, 16 of its columns
var<workgroup> ws: array<vec4<f32>, WSLOTS * 2u>;  // 16 rows of w, 16·TN of its columns

// Four values of a row of dy from column n on; zero where there are none.
fn dy4(row: u32, n: u32) -> vec4<f32> {
#if DY4
  return select(vec4<f32>(0.0), dy[(row * p.ldy + p.y0 + n) >> 2u], n < p.n);
#else
  let at = row * p.ldy + p.y0 + n;
  var v = vec4<f32>(0.0);
#repeat C 4
  if (n + $Cu < p.n) { v[$C] = dy[at + $Cu]; }
#endrepeat
  return v;
#endif
}
// Slot i of the two tiles, of rows n0…n0+15 of w: first eight columns of a row of dy each, then eight columns of a row of w.
fn fetch(i: u32, n0: u32, m0: u32, c0: u32) -> W8 {
  var v = W8(vec4<f32>(0.0), vec4<f32>(0.0));
  if (i < DSLOTS) {
    let m = m0 + i / 2u;
    if (m < p.m) {
      let n = n0 + (i & 1u) * 8u;
      v = W8(dy4(m, n), dy4(m, n + 4u));
    }
  } else if (i < DSLOTS + WSLOTS) {
    let n = n0 + (i - DSLOTS) / (COLUMNS / 2u);
    let g = (c0 >> 3u) + (i - DSLOTS) % (COLUMNS / 2u);
    if (n < p.n && g < (p.k >> 3u)) { v = w_load8(n, g, w_scale(n, g >> 2u)); }
  }
  return v;
}
fn put(i: u32, v: W8) {
  if (i < DSLOTS) {
    let turn = (i >> 2u) & 3u;
    let c = (i & 1u) * 2u;
    let at = (i >> 1u) * 4u;
    ds[at + (c ^ turn)] = v.lo;
    ds[at + ((c + 1u) ^ turn)] = v.hi;
  } else if (i < DSLOTS + WSLOTS) {
    ws[(i - DSLOTS) * 2u] = v.lo;
    ws[(i - DSLOTS) * 2u + 1u] = v.hi;
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let m0 = wid.y * 16u * u32(TM);
  let c0 = wid.x * 16u * u32(TN);
  let tx = lid % 16u;
  let ty = lid / 16u;
  let turn = (ty >> 1u) & 3u;
#repeat I TM
#repeat J 2
  var acc$I_$J = vec4<f32>(0.0);
#endrepeat
#endrepeat
  var a = fetch(lid, 0u, m0, c0);
  var a2 = fetch(lid + 256u, 0u, m0, c0);
  for (var n0 = 0u; n0 < p.n; n0 += 16u) {
    workgroupBarrier();
    put(lid, a);
    put(lid + 256u, a2);
    workgroupBarrier();
    if (n0 + 16u < p.n) {
      a = fetch(lid, n0 + 16u, m0, c0);
      a2 = fetch(lid + 256u, n0 + 16u, m0, c0);
    }
    for (var c = 0u; c < 4u; c++) {
#repeat I TM
      let d$I = ds[(ty + $Iu * 16u) * 4u + (c ^ turn)];
#endrepeat
#repeat N 4
      {
        let v = ws[(c * 4u + $Nu) * COLUMNS + tx];
#if TN == 8
        let u = ws[(c * 4u + $Nu) * COLUMNS + tx + 16u];
#endif
#repeat I TM
        acc$I_0 += d$I[$N] * v;
#if TN == 8
        acc$I_1 += d$I[$N] * u;
#endif
#endrepeat
      }
#endrepeat
    }
  }
  let k4 = p.k >> 2u;
#repeat J 2
#if TN == 8 || $J == 0
  {
    let c = (c0 >> 2u) + tx + $Ju * 16u;
    if (c < k4) {
#repeat I TM
      if (m0 + ty + $Iu * 16u < p.m) {
#if ACC
        dx[(m0 + ty + $Iu * 16u) * k4 + c] += acc$I_$J;
#else
        dx[(m0 + ty + $Iu * 16u) * k4 + c] = acc$I_$J;
#endif
      }
#endrepeat
    }
  }
#endif
#endrepeat
}
