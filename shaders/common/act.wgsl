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
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.7978845608 * (1.0 + 0.134145 * x * x);
}
#else
// erf: Abramowitz & Stegun 7.1.26 has |error| ≤ 1.5e-7.
fn erf(x: f32) -> f32 {
  let a = abs(x);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(x) * (1.0 - poly * exp(-min(a * a, 80.0)));
}
fn act(x: f32) -> f32 { return 0.5 * x * (1.0 + erf(x * 0.7071067812)); }
fn act_grad(x: f32) -> f32 {
  return 0.5 * (1.0 + erf(x * 0.7071067812)) + x * 0.3989422804 * exp(-min(0.5 * x * x, 80.0));
}
#endif
