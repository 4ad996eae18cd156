// As adamw, with both moments in 8 bits (Dettmers et al. 2022): blocks of 256 elements, each with its largest |m| and its largest v, and of every
// element the nearest value of a dynamic map, times that. The update itself is made of the f32 moments, before they are rounded again.
// One row per block: the new moments are computed for the maximum, and once more where they are rounded.
// A v that is not 0 does not become 0: what has moved once would otherwise be divided by ε alone.
// Grid: one row per block of p.blocks (see common/reduce.wgsl).
// Variants: {|SERIAL} {|DECAY}
struct Params { first: u32, blocks: u32, rate: f32, decay: f32 } // blocks first … first + blocks − 1
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> norm: array<f32>;          // (1) before grad_scale
@group(0) @binding(auto) var<storage, read> blocks: array<vec2<u32>>;  // (all blocks) first element, elements
@group(0) @binding(auto) var<storage, read> map: array<f32>;           // (2, 256) values of m's codes, of v's, rising
@group(0) @binding(auto) var<storage, read_write> params: array<f32>;  // (elements)
@group(0) @binding(auto) var<storage, read_write> grads: array<f32>;   // (elements)
@group(0) @binding(auto) var<storage, read_write> codes: array<u32>;   // (all blocks, 128) four of m's codes a word, then v's
@group(0) @binding(auto) var<storage, read_write> absmax: array<f32>;  // (all blocks, 2) of m, of v
#include "common/reduce.wgsl"

struct Moments { m: vec4<f32>, v: vec4<f32> }

// The values of four codes; `map_at` is where their map begins.
fn values(word: u32, map_at: u32) -> vec4<f32> {
  return vec4<f32>(map[map_at + (word & 255u)], map[map_at + ((word >> 8u) & 255u)],
                   map[map_at + ((word >> 16u) & 255u)], map[map_at + (word >> 24u)]);
}

// The new moments of four elements of block b; beyond its end they are 0.
fn moments(b: u32, w: u32, scale: f32, old: vec2<f32>) -> Moments {
  let block = blocks[b];
  var g = vec4<f32>(0.0);
  for (var k = 0u; k < 4u; k++) {
    if (4u * w + k < block.y) { g[k] = grads[block.x + 4u * w + k] * scale; }
  }
  let m = values(codes[128u * b + w], 0u) * old.x;
  let v = values(codes[128u * b + 64u + w], 256u) * old.y;
  let inside = vec4<u32>(4u * w) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(block.y);
  return Moments(select(vec4<f32>(0.0), step.beta1 * m + (1.0 - step.beta1) * g, inside),
                 select(vec4<f32>(0.0), step.beta2 * v + (1.0 - step.beta2) * g * g, inside));
}

// The code whose value is nearest to x, of two equally near ones the lower.
fn nearest(x: f32, map_at: u32) -> u32 {
  var code = 0u;
  for (var bit = 128u; bit > 0u; bit /= 2u) {
    if (x > 0.5 * (map[map_at + code + bit - 1u] + map[map_at + code + bit])) { code += bit; }
  }
  return code;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = row_index(wid, nwg, lid);
  if (row >= p.blocks) { return; }
  let b = p.first + row;
  let block = blocks[b];
  // As in adamw: asked by bits.
  if ((bitcast<u32>(norm[0]) & 0x7f800000u) == 0x7f800000u) {
    for (var i = row_first(lid); i < block.y; i += ROW_STEP) { grads[block.x + i] = 0.0; }
    return;
  }
  var scale = step.grad_scale;
  if (step.max_grad_norm > 0.0) { scale *= min(1.0, step.max_grad_norm / (norm[0] * step.grad_scale + 1e-6)); }
  let old = vec2<f32>(absmax[2u * b], absmax[2u * b + 1u]);
  var most = vec2<f32>(0.0);
  for (var w = row_first(lid); w < 64u; w += ROW_STEP) {
    let s = moments(b, w, scale, old);
    let m = abs(s.m);
    most = max(most, vec2<f32>(max(max(m.x, m.y), max(m.z, m.w)), max(max(s.v.x, s.v.y), max(s.v.z, s.v.w))));
  }
  let top = vec2<f32>(row_max(most.x, lid), row_max(most.y, lid));
  let lr = step.learning_rate * p.rate;
  for (var w = row_first(lid); w < 64u; w += ROW_STEP) {
    let s = moments(b, w, scale, old);
    var word = vec2<u32>(0u);
    for (var k = 0u; k < 4u; k++) {
      let m = s.m[k];
      let v = s.v[k];
      var code = vec2<u32>(nearest(select(0.0, m / top.x, top.x > 0.0), 0u), nearest(select(0.0, v / top.y, top.y > 0.0), 256u));
      code.y = max(code.y, select(0u, 1u, v > 0.0));
      word |= code << vec2<u32>(8u * k);
      if (4u * w + k < block.y) {
        let i = block.x + 4u * w + k;
        var x = params[i];
#if DECAY
        x *= 1.0 - lr * p.decay;
#endif
        params[i] = x - (lr / step.correction1) * m / (sqrt(v) / sqrt(step.correction2) + step.epsilon);
        grads[i] = 0.0;
      }
    }
    codes[128u * b + w] = word.x;
    codes[128u * b + 64u + w] = word.y;
  }
  if (row_leader(lid)) {
    absmax[2u * b] = top.x;
    absmax[2u * b + 1u] = top.y;
  }
}
