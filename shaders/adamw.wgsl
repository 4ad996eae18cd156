// AdamW with decoupled weight decay (Loshchilov & Hutter 2019) on elements start … start + n of the flat buffers, in place:
//   g = grads·grad_scale·clip,  clip = min(1, max_grad_norm / (norm·grad_scale + 1e-6)) as torch's clip_grad_norm_ (1 when max_grad_norm is 0)
//   m = β1·m + (1 − β1)·g,  v = β2·v + (1 − β2)·g²
//   params = params·(1 − lr·decay) − lr/(1 − β1ᵗ) · m / (sqrt(v)/sqrt(1 − β2ᵗ) + ε),  lr = learning_rate·rate of the group
// Gradients are zeroed after use. A norm that is not finite leaves parameters and moments as they are: one bad batch must not ruin them.
// Grid: one thread per element (VEC: per four), 64 per workgroup, folded into (x, y).
// Variants: {|VEC} {|DECAY}
struct Params { start: u32, n: u32, rate: f32, decay: f32 } // start and n in units of E
#include "common/elem.wgsl"
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> norm: array<f32>;         // (1) before grad_scale
@group(0) @binding(auto) var<storage, read_write> params: array<E>;   // (start + n, …)
@group(0) @binding(auto) var<storage, read_write> grads: array<E>;    // (start + n, …)
@group(0) @binding(auto) var<storage, read_write> m: array<E>;        // (start + n, …)
@group(0) @binding(auto) var<storage, read_write> v: array<E>;        // (start + n, …)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let t = linear_id(gid, nwg, 64u);
  if (t >= p.n) { return; }
  let i = p.start + t;
  // Exponent bits all ones: infinity or NaN. Asked by bits, for compilers that believe in finite numbers.
  if ((bitcast<u32>(norm[0]) & 0x7f800000u) == 0x7f800000u) {
    grads[i] = E(0.0);
    return;
  }
  var scale = step.grad_scale;
  if (step.max_grad_norm > 0.0) { scale *= min(1.0, step.max_grad_norm / (norm[0] * step.grad_scale + 1e-6)); }
  let g = grads[i] * scale;
  grads[i] = E(0.0);
  let mi = step.beta1 * m[i] + (1.0 - step.beta1) * g;
  let vi = step.beta2 * v[i] + (1.0 - step.beta2) * g * g;
  m[i] = mi;
  v[i] = vi;
  let lr = step.learning_rate * p.rate;
  var w = params[i];
#if DECAY
  w *= 1.0 - lr * p.decay;
#endif
  params[i] = w - (lr / step.correction1) * mi / (sqrt(vi) / sqrt(step.correction2) + step.epsilon);
}
