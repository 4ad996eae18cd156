//! From logits to what a person reads.

/// Probabilities of logits.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let parts: Vec<f64> = logits.iter().map(|v| f64::from(v - most).exp()).collect();
    let sum: f64 = parts.iter().sum();
    parts.into_iter().map(|v| (v / sum) as f32).collect()
}

/// The places of the `n` largest values, the largest first; of equal ones the first.
pub fn top(values: &[f32], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
    order.truncate(n);
    order
}
