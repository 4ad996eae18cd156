// Splits the projections of a token into heads and turns queries and keys by its position (RoFormer, Su et al. 2021):
//   (y[a], y[b]) = mscale · (x[a]·cos − x[b]·sin, x[b]·cos + x[a]·sin),  angle = position · inv_freq[i]
// Pair i is (i, i + rotary/2), or (2i, 2i + 1) when interleaved; channels from rotary on, and all of v, are copied.
// Input: FUSED = one row (q heads, k heads, v heads), otherwise three tensors. Output: three tensors, or with CACHE q and row
// slots[row] of a cache (plane 0: k, plane 1: v); a slot outside the cache is not written. With KV=F16 the cache holds halves, two in a word.
// Grid: one thread per (row, pair or single channel), folded into (x, y); z splits the heads. Overwrites.
// Variants: {FUSED|} {CACHE|CACHE,KV=F16|}
#include "common/rope_io.wgsl"
#if FUSED
@group(0) @binding(auto) var<storage, read> qkv: array<f32>;            // (rows, heads + 2·kv_heads, dim)
#else
@group(0) @binding(auto) var<storage, read> q_in: array<f32>;           // (rows, heads, dim)
@group(0) @binding(auto) var<storage, read> k_in: array<f32>;           // (rows, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> v_in: array<f32>;           // (rows, kv_heads, dim)
#endif
#if CACHE
@group(0) @binding(auto) var<storage, read> slots: array<u32>;          // (rows)
#endif
@group(0) @binding(auto) var<storage, read_write> q: array<f32>;        // (rows, heads, dim)
#if CACHE && KV == F16
@group(0) @binding(auto) var<storage, read_write> cache: array<atomic<u32>>; // (2, slots, kv_heads·dim / 2)
#include "common/half.wgsl"
// A word's other half is another thread's.
fn keep(at: u32, value: f32) {
  let shift = (at & 1u) << 4u;
  atomicAnd(&cache[at >> 1u], ~(0xffffu << shift));
  atomicOr(&cache[at >> 1u], half_of(value) << shift);
}
#elif CACHE
@group(0) @binding(auto) var<storage, read_write> cache: array<f32>;    // (2, slots, kv_heads, dim)
fn keep(at: u32, value: f32) { cache[at] = value; }
#else
@group(0) @binding(auto) var<storage, read_write> k: array<f32>;        // (rows, kv_heads, dim)
@group(0) @binding(auto) var<storage, read_write> v: array<f32>;        // (rows, kv_heads, dim)
#endif

fn load(row: u32, head: u32, c: u32) -> f32 {
#if FUSED
  return qkv[(row * (p.heads + 2u * p.kv_heads) + place(head)) * p.dim + c];
#else
  if (head < p.heads) { return q_in[(row * p.heads + head) * p.dim + c]; }
  if (head < p.heads + p.kv_heads) { return k_in[(row * p.kv_heads + head - p.heads) * p.dim + c]; }
  return v_in[(row * p.kv_heads + head - p.heads - p.kv_heads) * p.dim + c];
#endif
}
fn store(row: u32, head: u32, c: u32, value: f32) {
  if (head < p.heads) {
    q[(row * p.heads + head) * p.dim + c] = value;
    return;
  }
  let is_v = head >= p.heads + p.kv_heads;
  let own = head - p.heads - select(0u, p.kv_heads, is_v);
#if CACHE
  let slot = slots[row];
  if (slot < p.slots) { keep(select(0u, p.plane, is_v) + (slot * p.kv_heads + own) * p.dim + c, value); }
#else
  let at = (row * p.kv_heads + own) * p.dim + c;
  if (is_v) { v[at] = value; } else { k[at] = value; }
#endif
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.rows * (p.dim - (p.rotary >> 1u))) { return; }
  let u = unit_of(i);
  for (var head = gid.z; head < p.heads + 2u * p.kv_heads; head += nwg.z) {
    let x = load(u.row, head, u.a);
    if (u.a == u.b) {
      store(u.row, head, u.a, x);
      continue;
    }
    let y = load(u.row, head, u.b);
    let turned = head < p.heads + p.kv_heads;
    store(u.row, head, u.a, select(x, x * u.cs.x - y * u.cs.y, turned));
    store(u.row, head, u.b, select(y, y * u.cs.x + x * u.cs.y, turned));
  }
}
