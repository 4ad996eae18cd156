// Parameters and spans of the attention kernels.
// Queries of one (batch row, key head) form the rows r = t·G + g (G = heads / kv_heads query heads read one key head): they share keys,
// so neighbours in r may share loads. A query sees the keys of at most PASSES ranges of rows of k and v; no mask is ever stored.
// T is what a channel index counts: four channels, or with SCALAR one (head widths that are no multiple of 4). p.dim is in units of T.
#if SCALAR
#define T f32
fn inner(a: T, b: T) -> f32 { return a * b; }
#else
#define T vec4<f32>
fn inner(a: T, b: T) -> f32 { return dot(a, b); }
#endif
// Ranges are tested by one unsigned comparison, `j − first < count`: `&&` would be a branch of its own for every score.
struct Params {
  t: u32, s: u32,           // queries and keys per batch row (CACHED: queries, and slots of the cache)
  heads: u32, kv_heads: u32,
  dim: u32,                 // T per head
  batch: u32,
  scale: f32,               // of q·k
  plane: u32,               // CACHED: T of the key plane
  groups: u32,              // workgroups per (batch row, key head)
  row0: u32, row1: u32,     // attention_dkv: the rows r it adds up
  key0: u32, key1: u32,     // keys (CACHED: slots) that are seen by anybody: sums over many of them are several dispatches
  cap: f32,                 // CAP: scores become cap·tanh(score / cap)
#if APPEND
  rotary: u32, interleaved: u32, mscale: f32, by_head: u32,  // see rope_io.wgsl
#endif
}
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/grid.wgsl"
#define NEG -1e30
#define LOG2E 1.4426950408889634
#define LN2 0.6931471805599453
// A score from q·k, the same in units of ln 2, and the score's slope by q·k. tanh of ±15 is ±1 in f32, and exp inside tanh overflows on some drivers.
#if CAP
fn bent(product: f32) -> f32 { return tanh(clamp(product * p.scale / p.cap, -15.0, 15.0)); }
fn natural(product: f32) -> f32 { return p.cap * bent(product); }
fn binary(product: f32) -> f32 { return p.cap * bent(product) * LOG2E; }
fn slope(product: f32) -> f32 {
  let t = bent(product);
  return p.scale * (1.0 - t * t);
}
#else
fn natural(product: f32) -> f32 { return product * p.scale; }
fn binary(product: f32) -> f32 { return product * (p.scale * LOG2E); }
fn slope(product: f32) -> f32 { return p.scale; }
#endif
// [first, end) moved by `shift`: what of it lies in key0…key1 − 1.
fn counted(first: u32, end: u32, shift: u32) -> vec2<u32> {
  let a = clamp(first + shift, p.key0, p.key1);
  return vec2<u32>(a, max(min(select(a, end + shift, end > first), p.key1), a) - a);
}
#if CACHED
#define PASSES 2u
@group(0) @binding(auto) var<storage, read> spans: array<vec4<u32>>;  // (t): prefix_len, own_base, begin, end
// (first, count) of the slots of a pass: positions begin…end below prefix_len lie in slots of the same number, later ones from own_base on.
fn span(row: u32, n: u32) -> vec2<u32> {
#if APPEND
  var a = spans[row];
  a.w -= select(0u, 1u, sees_own(row));
#else
  let a = spans[row];
#endif
  let first = select(max(a.z, a.x), a.z, n == 0u);
  let end = select(a.w, min(a.w, a.x), n == 0u);
  return counted(first, end, select(a.y - a.x, 0u, n == 0u));
}
#else
#define PASSES 1u
@group(0) @binding(auto) var<storage, read> spans: array<vec2<u32>>;  // (batch, t): begin, end in the batch row's keys
// (first, count) of the keys a query sees; n is 0.
fn span(row: u32, n: u32) -> vec2<u32> {
  let a = spans[row];
  return counted(a.x, a.y, 0u);
}
#endif
