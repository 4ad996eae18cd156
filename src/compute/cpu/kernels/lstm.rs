//! The cell of an LSTM: a row of gates is i, f, g, o. Rows are few and short.

use super::lanes::put;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Places of the four gates of element `at` of (B, H).
fn places(at: usize, hidden: usize) -> [usize; 4] {
    let row = at / hidden * 4 * hidden + at % hidden;
    [row, row + hidden, row + 2 * hidden, row + 3 * hidden]
}

/// h and c′ (B, H) of gates (B, 4H) and, where there is one, the cell before.
pub fn forward(h: &mut [f32], c: &mut [f32], gates: &[f32], prev: Option<&[f32]>, hidden: usize) {
    for (at, (h, c)) in h.iter_mut().zip(c).enumerate() {
        let [i, f, g, o] = places(at, hidden).map(|k| gates[k]);
        *c = sigmoid(f) * prev.map_or(0.0, |p| p[at]) + sigmoid(i) * g.tanh();
        *h = sigmoid(o) * c.tanh();
    }
}

/// What the backward pass reads.
pub struct Given<'a> {
    pub gates: &'a [f32],
    /// c′
    pub c: &'a [f32],
    pub dh: &'a [f32],
    pub prev: Option<&'a [f32]>,
    /// Of c′.
    pub dc: Option<&'a [f32]>,
}

/// Gradients of the gates and of the cell before, each with whether they are added.
pub fn backward((to, acc): (&mut [f32], bool), mut to_c: Option<(&mut [f32], bool)>, given: &Given<'_>, hidden: usize) {
    for (at, dh) in given.dh.iter().enumerate() {
        let at_gates = places(at, hidden);
        let [i, f, g, o] = at_gates.map(|k| given.gates[k]);
        let (si, sf, tg, so, t) = (sigmoid(i), sigmoid(f), g.tanh(), sigmoid(o), given.c[at].tanh());
        let d = dh * so * (1.0 - t * t) + given.dc.map_or(0.0, |d| d[at]);
        let before = given.prev.map_or(0.0, |p| p[at]);
        let all = [d * tg * si * (1.0 - si), d * before * sf * (1.0 - sf), d * si * (1.0 - tg * tg), dh * t * so * (1.0 - so)];
        for (k, v) in at_gates.into_iter().zip(all) {
            put(&mut to[k], v, acc);
        }
        if let Some((to, acc)) = &mut to_c {
            put(&mut to[at], d * sf, *acc);
        }
    }
}
