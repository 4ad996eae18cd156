// dx = dy·w for real GPUs: 16·TM × 16·TN outputs per workgroup of 256 threads, TM × TN per thread, 16 rows of w at a time through
// workgroup memory; the next 16 are read into registers meanwhile (see linear_tile.wgsl, also for the order inside the tile of dy).
// DY4: rows of dy can be read four values at a time. Overwrites dx, or adds with ACC. k must be a multiple of 8.
// LORA: what linear_dx.wgsl says. dh·lora_a takes the way of the other products, as 16 more rows of w per 16 ranks; da is made by workgroups
// whose threads share the sum over m.
// Grid: (⌈k/(16·TN)⌉, da_rows + ⌈m/(16·TM)⌉).
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|ACC} {|DY4} {TM=4,TN=4|TM=8,TN=8}
// Variants: {WT=F32|WT=Q4} DY4 {|LORA} {TM=2,TN=4|TM=8,TN=4}
// Variants: {WT=F32|WT=Q4|WT=Q8} {|ACC} {|DY4} LORA {|ACC_A} {TM=4,TN=4|TM=8,TN=8}
// Variants: {WT=Q5|WT=Q2K|WT=Q3K|WT=Q4K|WT=Q5K|WT=Q6K|WT=IQ4|WT=IQ4X|WT=MX4} DY4 {TM=4,TN=4,LORA|TM=8,TN=8}
struct Params { m: u32, n: u32, k: u32, ldy: u32, y0: u32, s_off: u32, r: u32, da_rows: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/weights.wgsl"
#if DY4
@group(0) @binding(auto) var<storage, read> dy: array<vec4<f32>>;        // (m, ldy/4)
#else
@group(0) @binding(auto) var<storage, read> dy: array<f32>;              // (m, ldy)
#endif
@group(0) @binding(auto) var<storage, read> w: array<W_TYPE>;            // (n, k) packed
#if LORA
@group(0) @binding(auto) var<storage, read> dh: array<f32>;              // (m, r)
@group(0) @binding(auto) var<storage, read> lora_a: array<vec4<f32>>;    // (r, k/4)
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;         // (m, k/4)
#endif
@group(0) @binding(auto) var<storage, read_write> dx: array<vec4<f32>>;  // (m, k/4)
#if LORA
@group(0) @binding(auto) var<storage, read_write> da: array<vec4<f32>>;  // (r, k/4)
#endif
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
#if LORA
fn dh4(row: u32, r: u32) -> vec4<f32> {
  var v = vec4<f32>(0.0);
#repeat C 4
  if (r + $Cu < p.r) { v[$C] = dh[row * p.r + r + $Cu]; }
#endrepeat
  return v;
}
// As `fetch`, of ranks r0…r0+15: dh in place of dy, A in place of w.
fn fetch_lora(i: u32, r0: u32, m0: u32, c0: u32) -> W8 {
  var v = W8(vec4<f32>(0.0), vec4<f32>(0.0));
  if (i < DSLOTS) {
    let m = m0 + i / 2u;
    if (m < p.m) {
      let r = r0 + (i & 1u) * 8u;
      v = W8(dh4(m, r), dh4(m, r + 4u));
    }
  } else if (i < DSLOTS + WSLOTS) {
    let r = r0 + (i - DSLOTS) / (COLUMNS / 2u);
    let g = (c0 >> 3u) + (i - DSLOTS) % (COLUMNS / 2u);
    if (r < p.r && g < (p.k >> 3u)) {
      let at = r * (p.k >> 2u) + 2u * g;
      v = W8(lora_a[at], lora_a[at + 1u]);
    }
  }
  return v;
}
const LANES: u32 = 256u / COLUMNS;
// Rows r0…r0+7 of da in the workgroup's columns; `ws` holds the sums of the lanes, a row after the other.
fn grad_a(r0: u32, first: u32, lid: u32) {
  let k4 = p.k >> 2u;
  let at = first + lid % COLUMNS;
  let c = min(at, k4 - 1u);
#repeat J 8
  var sum$J = vec4<f32>(0.0);
  let rc$J = min(r0 + $Ju, p.r - 1u);
#endrepeat
  for (var m = lid / COLUMNS; m < p.m; m += LANES) {
    let v = x[m * k4 + c];
#repeat J 8
    sum$J += dh[m * p.r + rc$J] * v;
#endrepeat
  }
#repeat J 8
  workgroupBarrier();
  ws[lid] = sum$J;
  workgroupBarrier();
  if (lid < COLUMNS && r0 + $Ju < p.r && at < k4) {
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < LANES; i++) { sum += ws[i * COLUMNS + lid]; }
#if ACC_A
    da[(r0 + $Ju) * k4 + at] += sum;
#else
    da[(r0 + $Ju) * k4 + at] = sum;
#endif
  }
#endrepeat
}
#endif
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
  let c0 = wid.x * 16u * u32(TN);
  let plain = (p.n + 15u) >> 4u;
#if LORA
  if (wid.y < p.da_rows) {
    grad_a(wid.y * 8u, c0 >> 2u, lid);
    return;
  }
  let m0 = (wid.y - p.da_rows) * 16u * u32(TM);
  let steps = plain + ((p.r + 15u) >> 4u);
#else
  let m0 = wid.y * 16u * u32(TM);
  let steps = plain;
#endif
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
  for (var t = 1u; t <= steps; t++) {
    workgroupBarrier();
    put(lid, a);
    put(lid + 256u, a2);
    workgroupBarrier();
    if (t < plain) {
      a = fetch(lid, t * 16u, m0, c0);
      a2 = fetch(lid + 256u, t * 16u, m0, c0);
    }
#if LORA
    else if (t < steps) {
      a = fetch_lora(lid, (t - plain) * 16u, m0, c0);
      a2 = fetch_lora(lid + 256u, (t - plain) * 16u, m0, c0);
    }
#endif
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
