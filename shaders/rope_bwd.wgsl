// Gradient of rope: turns back, (dx[a], dx[b]) = mscale · (dy[a]·cos + dy[b]·sin, dy[b]·cos − dy[a]·sin); the gradient of v, and of
// channels from rotary on, is copied. Output rows hold q heads, k heads, v heads; with kv_heads = 0 this is the gradient of one tensor.
// A part whose gradient is missing (no HAS_…) gets zeros. Overwrites dx, or adds to it with ACC.
// Grid: one thread per (row, pair or single channel), folded into (x, y); z splits the heads.
// Variants: {|HAS_Q} {|HAS_K} {|HAS_V} {|ACC}
#include "common/rope_io.wgsl"
#if HAS_Q
@group(0) @binding(auto) var<storage, read> dq: array<f32>;         // (rows, heads, dim)
#endif
#if HAS_K
@group(0) @binding(auto) var<storage, read> dk: array<f32>;         // (rows, kv_heads, dim)
#endif
#if HAS_V
@group(0) @binding(auto) var<storage, read> dv: array<f32>;         // (rows, kv_heads, dim)
#endif
@group(0) @binding(auto) var<storage, read_write> dx: array<f32>;   // (rows, heads + 2·kv_heads, dim)

fn load(row: u32, head: u32, c: u32) -> f32 {
#if HAS_Q
  if (head < p.heads) { return dq[(row * p.heads + head) * p.dim + c]; }
#endif
#if HAS_K
  if (head >= p.heads && head < p.heads + p.kv_heads) { return dk[(row * p.kv_heads + head - p.heads) * p.dim + c]; }
#endif
#if HAS_V
  if (head >= p.heads + p.kv_heads) { return dv[(row * p.kv_heads + head - p.heads - p.kv_heads) * p.dim + c]; }
#endif
  return 0.0;
}
fn store(row: u32, head: u32, c: u32, value: f32) {
  let at = (row * (p.heads + 2u * p.kv_heads) + place(head)) * p.dim + c;
#if ACC
  dx[at] += value;
#else
  dx[at] = value;
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
    store(u.row, head, u.a, select(x, x * u.cs.x + y * u.cs.y, turned));
    store(u.row, head, u.b, select(y, y * u.cs.x - x * u.cs.y, turned));
  }
}
