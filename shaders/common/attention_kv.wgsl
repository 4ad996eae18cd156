// Bindings of keys and values: two tensors, or the two planes of a cache. After attention_io.wgsl.
@group(0) @binding(auto) var<storage, read> q: array<T>;           // (batch, t, heads, dim)
#if CACHED
@group(0) @binding(auto) var<storage, read> kv: array<T>;          // (2, s, kv_heads, dim)
fn k_at(i: u32) -> T { return kv[i]; }
fn v_at(i: u32) -> T { return kv[p.plane + i]; }
#else
@group(0) @binding(auto) var<storage, read> k: array<T>;           // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> v: array<T>;           // (batch, s, kv_heads, dim)
fn k_at(i: u32) -> T { return k[i]; }
fn v_at(i: u32) -> T { return v[i]; }
#endif
