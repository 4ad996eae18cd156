// Parameters and bindings shared by the forward variants of `linear`, and what happens to a finished sum:
//   y[m, y0 + n] = Σ_k x[m, k]·w[n, k]  (+ bias[n])  (+ LoRA)  (+ residual)          (GLU: act(row n)·row n + F)
// NORM: x is normed on the way in, x / sqrt(mean(x²) + eps) · (offset + gain). The gain is applied to each x that is read, the reciprocal root, which
// depends on the row alone, to the finished sum; every thread adds up the squares of its rows along with its products.
// LoRA: rows of segment s get + step.lora · scale_s · Σ_j h[m, h_off + j] · b[b_off + (n − row0)·r + j].
struct Seg { rows: vec4<u32>, b: vec4<u32> } // (row0, row1, h_off, r), (b_off, bits of scale, –, –)
struct Params {
  m: u32, n: u32, k: u32, ldy: u32,
  y0: u32,     // first column of y and first row of bias and segments (weights split over several buffers)
  s_off: u32, nseg: u32, ldh: u32,
  segs: array<Seg, 4>,
  eps: f32, offset: f32, // of the norm
}
@group(0) @binding(auto) var<uniform> p: Params;
#if LORA
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> step: Step;
#endif
#include "common/weights.wgsl"
#if SCALAR
#define XSTRIDE p.k
@group(0) @binding(auto) var<storage, read> x: array<f32>;         // (m, k)
@group(0) @binding(auto) var<storage, read> w: array<f32>;         // (n, k)
#else
#define XSTRIDE (p.k >> 2u)
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;   // (m, k/4)
#if BLOCKS
// The two planes of a weight, for kernels that take whole blocks: both bindings are the same buffer.
#if W_LOW == 2
@group(0) @binding(auto) var<storage, read> w: array<vec2<u32>>;   // (n, k/32 vectors of integers)
#else
@group(0) @binding(auto) var<storage, read> w: array<vec4<u32>>;   // (n, k/32, 1 or 2 vectors of integers)
#endif
@group(0) @binding(auto) var<storage, read> scales: array<u32>;    // from s_off on: (n, blocks, W_RECORD)
#define W_WORDS scales
#include "common/weight_block.wgsl"
#else
@group(0) @binding(auto) var<storage, read> w: array<W_TYPE>;      // (n, k) packed
#include "common/weight_row.wgsl"
#endif
#endif
#if NORM
#if SCALAR
@group(0) @binding(auto) var<storage, read> gain: array<f32>;      // (k)
#else
@group(0) @binding(auto) var<storage, read> gain: array<vec4<f32>>; // (k/4)
#endif
// What a row's products are multiplied by, from the sum of its squares.
fn inv_rms(squares: f32) -> f32 { return inverseSqrt(squares / f32(p.k) + p.eps); }
#endif
#if BIAS
@group(0) @binding(auto) var<storage, read> bias: array<f32>;      // (n of all parts)
#endif
#if LORA
@group(0) @binding(auto) var<storage, read> h: array<f32>;         // (m, ldh) = x·Aᵀ
@group(0) @binding(auto) var<storage, read> b: array<f32>;         // B of every segment, row by row
#endif
#if RESIDUAL
@group(0) @binding(auto) var<storage, read> residual: array<f32>;  // (m, ldy)
#endif
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;   // (m, ldy)
#if KEEP
@group(0) @binding(auto) var<storage, read_write> kept: array<f32>; // (m, 2·n): gate and up, for the backward pass
#endif
#if GLU
#include "common/act.wgsl"
#endif

#if LORA
fn lora(m: u32, n: u32) -> f32 {
  var acc = 0.0;
  for (var s = 0u; s < p.nseg; s++) {
    let g = p.segs[s];
    if (n >= g.rows.x && n < g.rows.y) {
      let hat = m * p.ldh + g.rows.z;
      let bat = g.b.x + (n - g.rows.x) * g.rows.w;
      for (var j = 0u; j < g.rows.w; j++) { acc += h[hat + j] * b[bat + j]; }
      acc *= bitcast<f32>(g.b.y);
    }
  }
  return acc * step.lora;
}
#endif
// Everything that is added to the plain product of row m and weight row n (before GLU).
fn extra(m: u32, n: u32) -> f32 {
  var v = 0.0;
#if BIAS
  v += bias[p.y0 + n];
#endif
#if LORA
  v += lora(m, p.y0 + n);
#endif
#if RESIDUAL
  v += residual[m * p.ldy + p.y0 + n];
#endif
  return v;
}
#if EXTRA && !GLU
// Adds it to the products of rows and weight rows `first` … `end` − 1 in y: in a loop, so that the body is compiled once and not for every output.
fn add_extra(first: vec2<u32>, end: vec2<u32>) {
  for (var i = first.x; i < end.x; i++) {
    for (var j = first.y; j < end.y; j++) { y[i * p.ldy + p.y0 + j] += extra(i, j); }
  }
}
#endif
#if KEEP
// The same of a gated product, whose plain products lie in `kept` so far.
fn finish_gate(first: vec2<u32>, end: vec2<u32>) {
  for (var i = first.x; i < end.x; i++) {
    for (var j = first.y; j < end.y; j++) {
      let at = i * 2u * p.n + j;
      let gate = kept[at] + extra(i, j);
      let up = kept[at + p.n] + extra(i, j + p.n);
      kept[at] = gate;
      kept[at + p.n] = up;
      y[i * p.ldy + j] = act(gate) * up;
    }
  }
}
#endif
