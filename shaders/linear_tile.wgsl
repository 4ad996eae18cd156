// The tiled matmul of real GPUs: 16·TM × 16·TN outputs per workgroup of 256 threads, TM × TN per thread, 16 deep through workgroup memory.
//   y[i, j] = Σ_r x[i, r]·w[j, r]   (and everything of common/linear_io.wgsl is added)
// A thread reads the next 16 columns of x and w into registers while it works on those in workgroup memory. Both tiles hold four
// consecutive columns of a row per element, and element c of row r lies at c ^ (r/2 mod 4): so eight neighbouring rows meet no bank twice.
// LoRA's product takes the same way as 16 more columns per segment and 16 ranks: x becomes h, w becomes scale·B.
// Rows and columns beyond the edge are zero in the tiles and not stored; k must be a multiple of 8.
// GLU: n counts gate rows, the up row of n is n + p.n, and the tile of w holds the gate rows and then the up rows.
// Grid: (⌈n/(16·TN)⌉, ⌈m/(16·TM)⌉). Overwrites y.
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,RESIDUAL|EXTRA,BIAS,LORA,RESIDUAL} {TM=4,TN=4|TM=8,TN=8}
// Variants: {WT=Q5|WT=Q2K|WT=Q3K|WT=Q4K|WT=Q5K|WT=Q6K|WT=IQ4|WT=IQ4X|WT=MX4} {TM=4,TN=4,EXTRA,LORA|TM=8,TN=8|TM=4,TN=2,GLU,ACT=SILU|TM=8,TN=4,GLU,KEEP,ACT=SILU}
// Variants: {WT=F32|WT=Q4} {TM=2,TN=2|TM=2,TN=4|TM=8,TN=4}
// Variants: {WT=F32|WT=F16|WT=BF16|WT=Q4|WT=Q8} {|EXTRA,BIAS|EXTRA,LORA|EXTRA,BIAS,LORA} GLU,TM=4,TN=2 {ACT=RELU|ACT=SILU|ACT=GELU|ACT=GELU_TANH}
// Variants: {WT=F32|WT=Q4} {|EXTRA,LORA} GLU,ACT=SILU {TM=2,TN=2|TM=8,TN=2|TM=8,TN=4}
// Variants: {WT=F32|WT=Q4} {|EXTRA,BIAS|EXTRA,LORA} GLU,KEEP {ACT=SILU|ACT=GELU} {TM=4,TN=2|TM=8,TN=4}
#include "common/linear_io.wgsl"
#if GLU
const WROWS: u32 = 32u * u32(TN);
#else
const WROWS: u32 = 16u * u32(TN);
#endif
const XROWS: u32 = 16u * u32(TM);
var<workgroup> xs: array<vec4<f32>, XROWS * 4u>;
var<workgroup> ws: array<vec4<f32>, WROWS * 4u>;

// Column of y that row r of the tile of w belongs to.
fn column(n0: u32, r: u32) -> u32 {
  return n0 + r % (16u * u32(TN));
}
// The weight row behind it.
fn weight_row(n0: u32, r: u32) -> u32 {
  return column(n0, r) + select(0u, p.n, r >= 16u * u32(TN));
}
// Group g of eight columns of slot i of the two tiles: first the rows of x, then those of w.
fn fetch(i: u32, g: u32, m0: u32, n0: u32) -> W8 {
  var v = W8(vec4<f32>(0.0), vec4<f32>(0.0));
  if (g < (p.k >> 3u)) {
    if (i < 2u * XROWS) {
      let m = m0 + i / 2u;
      if (m < p.m) {
        let at = m * XSTRIDE + 2u * g;
        v = W8(x[at], x[at + 1u]);
      }
    } else if (i < 2u * (XROWS + WROWS)) {
      let r = i / 2u - XROWS;
      if (column(n0, r) < p.n) {
        let n = weight_row(n0, r);
        v = w_load8(n, g, w_scale(n, g >> 2u));
      }
    }
  }
  return v;
}
#if LORA
// As `fetch`, of ranks j…j+7 of segment s.
fn fetch_lora(i: u32, s: u32, j: u32, m0: u32, n0: u32) -> W8 {
  let seg = p.segs[s];
  var v = array<f32, 8>();
  if (i < 2u * XROWS) {
    let m = m0 + i / 2u;
    if (m < p.m) {
      for (var c = 0u; c < min(8u, seg.rows.w - min(j, seg.rows.w)); c++) { v[c] = h[m * p.ldh + seg.rows.z + j + c]; }
    }
  } else if (i < 2u * (XROWS + WROWS)) {
    let r = i / 2u - XROWS;
    let n = p.y0 + weight_row(n0, r);
    if (column(n0, r) < p.n && n >= seg.rows.x && n < seg.rows.y) {
      let scale = bitcast<f32>(seg.b.y) * step.lora;
      let at = seg.b.x + (n - seg.rows.x) * seg.rows.w;
      for (var c = 0u; c < min(8u, seg.rows.w - min(j, seg.rows.w)); c++) { v[c] = scale * b[at + j + c]; }
    }
  }
  return W8(vec4<f32>(v[0], v[1], v[2], v[3]), vec4<f32>(v[4], v[5], v[6], v[7]));
}
#endif
fn put(i: u32, v: W8) {
  let turn = (i >> 2u) & 3u;
  let c = (i & 1u) * 2u;
  if (i < 2u * XROWS) {
    let at = (i >> 1u) * 4u;
    xs[at + (c ^ turn)] = v.lo;
    xs[at + ((c + 1u) ^ turn)] = v.hi;
  } else if (i < 2u * (XROWS + WROWS)) {
    let at = ((i >> 1u) - XROWS) * 4u;
    ws[at + (c ^ turn)] = v.lo;
    ws[at + ((c + 1u) ^ turn)] = v.hi;
  }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let m0 = wid.y * 16u * u32(TM);
  let n0 = wid.x * 16u * u32(TN);
  let tx = lid % 16u;
  let ty = lid / 16u;
  let xt = (ty >> 1u) & 3u;
  let wt = (tx >> 1u) & 3u;
#repeat I TM
#repeat J TN
  var acc$I_$J = 0.0;
#if GLU
  var up$I_$J = 0.0;
#endif
#endrepeat
#endrepeat
  // Every thread fills two slots of eight columns where the tiles are larger than 256 of them.
  let side = lid & 1u;
  var a = fetch(lid, side, m0, n0);
  var a2 = fetch(lid + 256u, side, m0, n0);
  let plain = (p.k + 15u) >> 4u;
#if LORA
  // Tiles behind the plain ones: (segment, 16 ranks).
  var seg = 0u;
  var rank = 0u;
  var steps = plain;
  for (var s = 0u; s < p.nseg; s++) { steps += (p.segs[s].rows.w + 15u) >> 4u; }
#else
  let steps = plain;
#endif
  for (var t = 0u; t < steps; t++) {
    workgroupBarrier();
    put(lid, a);
    put(lid + 256u, a2);
    workgroupBarrier();
    if (t + 1u < plain) {
      let g = (t + 1u) * 2u + side;
      a = fetch(lid, g, m0, n0);
      a2 = fetch(lid + 256u, g, m0, n0);
    }
#if LORA
    else if (t + 1u < steps) {
      a = fetch_lora(lid, seg, rank + side * 8u, m0, n0);
      a2 = fetch_lora(lid + 256u, seg, rank + side * 8u, m0, n0);
      rank += 16u;
      if (rank >= p.segs[seg].rows.w) {
        seg++;
        rank = 0u;
      }
    }
#endif
    for (var c = 0u; c < 4u; c++) {
#repeat J TN
      let w$J = ws[(tx + $Ju * 16u) * 4u + (c ^ wt)];
#if GLU
      let u$J = ws[(tx + ($Ju + u32(TN)) * 16u) * 4u + (c ^ wt)];
#endif
#endrepeat
#repeat I TM
      {
        let v = xs[(ty + $Iu * 16u) * 4u + (c ^ xt)];
#repeat J TN
        acc$I_$J += v.x * w$J.x;
        acc$I_$J += v.y * w$J.y;
        acc$I_$J += v.z * w$J.z;
        acc$I_$J += v.w * w$J.w;
#if GLU
        up$I_$J += v.x * u$J.x;
        up$I_$J += v.y * u$J.y;
        up$I_$J += v.z * u$J.z;
        up$I_$J += v.w * u$J.w;
#endif
#endrepeat
      }
#endrepeat
    }
  }
#repeat I TM
#repeat J TN
  if (m0 + ty + $Iu * 16u < p.m && n0 + tx + $Ju * 16u < p.n) {
    let i = m0 + ty + $Iu * 16u;
    let j = p.y0 + n0 + tx + $Ju * 16u;
    var v = acc$I_$J;
#if BIAS
    v += bias[j];
#endif
#if RESIDUAL
    v += residual[i * p.ldy + j];
#endif
#if GLU
    var u = up$I_$J;
#if BIAS
    u += bias[j + p.n];
#endif
#if KEEP
    kept[i * 2u * p.n + j] = v;
    kept[i * 2u * p.n + j + p.n] = u;
#endif
    v = act(v) * u;
#endif
    y[i * p.ldy + j] = v;
  }
#endrepeat
#endrepeat
}
