// The logistic function and −ln of it, without overflow.
fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(-clamp(x, -80.0, 80.0))); }
fn nlsig(x: f32) -> f32 { return max(-x, 0.0) + log(1.0 + exp(-abs(x))); }
