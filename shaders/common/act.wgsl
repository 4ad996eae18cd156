// act(x) and its slope act_grad(x) for ACT = RELU, SILU, GELU (error function) or GELU_TANH.
#if ACT == RELU
fn act(x: f32) -> f32 { return max(x, 0.0); }
fn act_grad(x: f32) -> f32 { return select(0.0, 1.0, x > 0.0); }
#elif ACT == SILU
fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(-clamp(x, -80.0, 80.0))); }
fn act(x: f32) -> f32 { return x * sigmoid(x); }
fn act_grad(x: f32) -> f32 { let s = sigmoid(x); return s * (1.0 + x * (1.0 - s)); }
#elif ACT == GELU_TANH
// The argument is clamped in both directions alike: tanh of ±15 is ±1 in f32, and exp inside tanh overflows on some drivers.
fn gelu_t(x: f32) -> f32 { return tanh(clamp(0.7978845608 * (x + 0.044715 * x * x * x), -15.0, 15.0)); }
fn act(x: f32) -> f32 { return 0.5 * x * (1.0 + gelu_t(x)); }
fn act_grad(x: f32) -> f32 {
  let t = gelu_t(x);
  let c = clamp(x, -20.0, 20.0); // 1 − t² is 0 beyond, and must not meet an infinite x²
  return 0.5 * (1.0 + t) + 0.5 * c * (1.0 - t * t) * 0.7978845608 * (1.0 + 0.134145 * c * c);
}
#else
// Φ(x), the normal distribution function, from erfc with a relative error below 1.2e-7 on the whole axis: the Chebyshev fit of
// Press et al., Numerical Recipes, section 6.2. Relative, so that the negative tail of x·Φ(x) keeps its digits.
fn phi(x: f32) -> f32 {
  let z = abs(x) * 0.7071067812;
  let t = 1.0 / (1.0 + 0.5 * z);
  let poly = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
    + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  let tail = 0.5 * t * exp(poly - min(z * z, 80.0));
  return select(tail, 1.0 - tail, x > 0.0);
}
fn act(x: f32) -> f32 { return x * phi(x); }
fn act_grad(x: f32) -> f32 { return phi(x) + x * 0.3989422804 * exp(-min(0.5 * x * x, 80.0)); }
#endif
