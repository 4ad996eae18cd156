// Bindings of keys and values: two tensors, or the two planes of a cache. After attention_io.wgsl.
// A cache may hold halves (KV=F16), two in a word: unpack2x16float needs no shader-f16.
#if APPEND
#define KV_ACCESS read_write
#include "common/attention_append.wgsl"
#else
#define KV_ACCESS read
@group(0) @binding(auto) var<storage, read> q: array<T>;           // (batch, t, heads, dim)
#endif
#if CACHED
#if KV == F16 && SCALAR
@group(0) @binding(auto) var<storage, read> kv: array<u32>;        // (2, s, kv_heads·dim / 2)
fn kv_at(i: u32) -> T {
  let v = unpack2x16float(kv[i >> 1u]);
  return select(v.x, v.y, (i & 1u) == 1u);
}
#elif KV == F16
@group(0) @binding(auto) var<storage, KV_ACCESS> kv: array<vec2<u32>>;  // (2, s, kv_heads, dim)
fn kv_at(i: u32) -> T {
  let v = kv[i];
  return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y));
}
#else
@group(0) @binding(auto) var<storage, KV_ACCESS> kv: array<T>;          // (2, s, kv_heads, dim)
fn kv_at(i: u32) -> T { return kv[i]; }
#endif
fn k_at(i: u32) -> T { return kv_at(i); }
fn v_at(i: u32) -> T { return kv_at(p.plane + i); }
#else
@group(0) @binding(auto) var<storage, read> k: array<T>;           // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> v: array<T>;           // (batch, s, kv_heads, dim)
fn k_at(i: u32) -> T { return k[i]; }
fn v_at(i: u32) -> T { return v[i]; }
#endif
