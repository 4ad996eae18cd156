// Queries, keys and values straight from the projections, turned as in rope.wgsl: what attention that also fills the cache reads in place of q.
@group(0) @binding(auto) var<storage, read> qkv: array<f32>;        // (t, heads + 2·kv_heads, dim)
@group(0) @binding(auto) var<storage, read> positions: array<u32>;  // (t)
@group(0) @binding(auto) var<storage, read> inv_freq: array<f32>;   // (rotary/2), radians per position
@group(0) @binding(auto) var<storage, read> slots: array<u32>;      // (t): where a row's key and value go; outside the cache: nowhere
#include "common/rotation.wgsl"
#if KV == F16
#include "common/half.wgsl"
#endif
// (cos, sin) of every pair: all threads make them, turned_at reads them behind a barrier.
var<workgroup> rotations: array<vec2<f32>, 256>;

// Does a row see its own key? That is the last of its span, and nobody has written it yet.
fn sees_own(row: u32) -> bool { return slots[row] < p.s && spans[row].w > spans[row].z; }

fn turned(head: u32, c: u32) -> f32 { // channel c of the head that begins at `head`
  let x = qkv[head + c];
  if (c >= p.rotary) { return x; }
  let half = p.rotary >> 1u;
  let paired = p.interleaved != 0u;
  let second = select(c >= half, (c & 1u) == 1u, paired);
  let y = qkv[head + select(select(c + half, c - half, second), c ^ 1u, paired)];
  let cs = rotations[select(select(c, c - half, second), c >> 1u, paired)];
  return x * cs.x + select(-y, y, second) * cs.y;
}
fn turned_at(head: u32, c: u32) -> vec4<f32> {
  return vec4<f32>(turned(head, c), turned(head, c + 1u), turned(head, c + 2u), turned(head, c + 3u));
}
fn copied_at(head: u32, c: u32) -> vec4<f32> { return vec4<f32>(qkv[head + c], qkv[head + c + 1u], qkv[head + c + 2u], qkv[head + c + 3u]); }

// Four channels as the cache keeps them at `at`, and there they are put if `write`.
fn stored(at: u32, x: vec4<f32>, write: bool) -> vec4<f32> {
#if KV == F16
  let words = vec2<u32>(word(x.x, x.y), word(x.z, x.w));
  if (write) { kv[at] = words; }
  return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
#else
  if (write) { kv[at] = x; }
  return x;
#endif
}
