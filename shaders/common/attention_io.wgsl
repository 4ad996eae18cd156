// Parameters and spans of the attention kernels.
// Queries of one (batch row, key head) form the rows r = t·G + g (G = heads / kv_heads query heads read one key head): they share keys,
// so neighbours in r may share loads. A query sees the keys of at most PASSES ranges of rows of k and v; no mask is ever stored.
struct Params {
  t: u32, s: u32,           // queries and keys per batch row (CACHED: queries, and slots of the cache)
  heads: u32, kv_heads: u32, dim: u32, batch: u32,
  scale: f32,               // of q·k
  plane: u32,               // CACHED: elements (or vec4) of the key plane
  groups: u32,              // workgroups per (batch row, key head)
}
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/grid.wgsl"
#define NEG -1e30
#define LOG2E 1.4426950408889634
#define LN2 0.6931471805599453
#if CACHED
#define PASSES 2u
@group(0) @binding(auto) var<storage, read> spans: array<vec4<u32>>;  // (t): prefix_len, own_base, begin, end
// Slots [x, y) of a pass: positions begin…end below prefix_len lie in slots of the same number, later ones from own_base on.
fn span(row: u32, n: u32) -> vec2<u32> {
  let a = spans[row];
  if (n == 0u) { return min(vec2<u32>(a.z, min(a.w, a.x)), vec2<u32>(p.s)); }
  let first = max(a.z, a.x);
  if (first >= a.w) { return vec2<u32>(0u, 0u); }
  return min(vec2<u32>(first, a.w) - a.x + a.y, vec2<u32>(p.s));
}
#else
#define PASSES 1u
@group(0) @binding(auto) var<storage, read> spans: array<vec2<u32>>;  // (batch, t): begin, end in the batch row's keys
fn span(row: u32, n: u32) -> vec2<u32> { return min(spans[row], vec2<u32>(p.s)); }
#endif
