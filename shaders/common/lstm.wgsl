// Curves of an LSTM's gates. Arguments are clamped where the result is 0 or ±1 in f32: exp overflows on some drivers.
fn logistic(x: f32) -> f32 { return 1.0 / (1.0 + exp(-clamp(x, -80.0, 80.0))); }
fn bent(x: f32) -> f32 { return tanh(clamp(x, -15.0, 15.0)); }
