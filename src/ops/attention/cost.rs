//! What attention costs: spans are data, so that is known only where they are read.

use super::sizes::Sizes;
use crate::graph::Cost;
use crate::tensor::DType;

/// Arithmetic of the gradients relative to the forward pass's two products: three for dq (q·k, do·v, ds·k), four for dk and dv (q·k, do·v, p·do, ds·q).
pub(super) const DQ: f64 = 1.5;
pub(super) const DKV: f64 = 2.0;

impl Sizes {
    /// What the forward pass costs: q·k and p·v for every pair that the spans let in, q, o, and those keys and values that any query sees.
    pub fn cost(&self, spans: &[u32]) -> Cost {
        self.cost_for(self.seen(spans))
    }

    /// The same if every query saw every key.
    pub fn most(&self) -> Cost {
        self.cost_for((self.batch * self.t * self.s, self.batch * self.s))
    }

    fn cost_for(&self, (pairs, keys): (usize, usize)) -> Cost {
        let queries = self.batch * self.t * self.heads * self.dim;
        let keys = keys * self.kv_heads * self.dim;
        Cost {
            flops: 4.0 * (pairs * self.heads * self.dim) as f64,
            bytes: (8 * queries + 2 * keys * self.cache.unwrap_or(DType::F32).block_bytes()) as f64,
        }
    }

    /// Pairs of a query and a key that it sees, and keys that any sees.
    fn seen(&self, spans: &[u32]) -> (usize, usize) {
        let (mut pairs, mut keys) = (0, 0);
        for row in 0..self.batch {
            // How many more queries see a key than saw the one before it.
            let mut edges = vec![0i64; self.s + 1];
            for i in row * self.t..(row + 1) * self.t {
                for (begin, end) in self.ranges(|j| spans[j] as usize, i).into_iter().filter(|r| r.0 < r.1) {
                    pairs += end - begin;
                    edges[begin] += 1;
                    edges[end] -= 1;
                }
            }
            let seers = edges.iter().scan(0, |sum, e| {
                *sum += e;
                Some(*sum)
            });
            keys += seers.filter(|n| *n > 0).count();
        }
        (pairs, keys)
    }

    /// What a gradient costs, with `work` times the arithmetic of the forward pass.
    pub fn gradient_cost(&self, spans: &[u32], work: f64, values: usize) -> Cost {
        Cost { flops: work * self.cost(spans).flops, bytes: 4.0 * values as f64 }
    }

    /// The same if every query saw every key.
    pub fn most_of_gradient(&self, work: f64, values: usize) -> Cost {
        Cost { flops: work * self.most().flops, bytes: 4.0 * values as f64 }
    }
}
