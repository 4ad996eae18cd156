// What the rope kernels share: which two channels of a head a thread turns.
// A head has rotary/2 pairs and dim − rotary channels that pass through; a thread owns one of these units for all heads
// wid.z, wid.z + nwg.z, … of its row, so that the angle is computed once.
struct Params {
  rows: u32, heads: u32, kv_heads: u32, dim: u32,
  rotary: u32, interleaved: u32,
  mscale: f32,  // multiplies cos and sin (yarn's attention factor)
  plane: u32,   // elements of the cache's key plane
  slots: u32,   // rows of the cache
  by_head: u32, // a fused row is q, k and v of one head after the other
}
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> positions: array<u32>;  // (rows)
@group(0) @binding(auto) var<storage, read> inv_freq: array<f32>;   // (rotary/2), radians per position
#include "common/grid.wgsl"
#include "common/rotation.wgsl"

struct Unit { row: u32, a: u32, b: u32, cs: vec2<f32> }  // a == b: one channel, not turned
fn unit_of(i: u32) -> Unit {
  let half = p.rotary >> 1u;
  let units = p.dim - half;
  let row = i / units;
  let u = i % units;
  if (u >= half) { return Unit(row, u + half, u + half, vec2<f32>(1.0, 0.0)); }
  let cs = rotation(positions[row], inv_freq[u]) * p.mscale;
  if (p.interleaved != 0u) { return Unit(row, 2u * u, 2u * u + 1u, cs); }
  return Unit(row, u, u + half, cs);
}
