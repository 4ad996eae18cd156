// Counter-based random numbers: no state, the same bits on every adapter and in src/compute/rng.rs.
// pcg4d: M. Jarzynski and M. Olano, "Hash Functions for GPU Rendering", Journal of Computer Graphics Techniques 9(3), 2020.
fn pcg4d(key: vec4<u32>) -> vec4<u32> {
  var v = key * 1664525u + 1013904223u;
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  v ^= v >> vec4<u32>(16u);
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  return v;
}
// 32 random bits of element i in the stream (seed, counter, salt): one call of pcg4d serves four neighbours.
fn random4(seed: u32, counter: u32, salt: u32, i4: u32) -> vec4<u32> {
  return pcg4d(vec4<u32>(seed, counter, salt, i4));
}
