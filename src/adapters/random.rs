//! The first values of adapters: the same numbers on every machine.

/// Largest rank of an orthogonal start: its work grows with the third power.
const MAX_ORTHOGONAL: usize = 256;

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Uniform in 0…1 with 24 bits.
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in ±bound.
    pub fn around(&mut self, bound: f32) -> f32 {
        (self.unit() * 2.0 - 1.0) * bound
    }

    /// One of 0…n−1.
    pub fn below(&mut self, n: usize) -> usize {
        // 48 bits of two draws: vocabularies have fewer than 2³² tokens.
        let share = f64::from(self.unit()) + f64::from(self.unit()) / f64::from(1u32 << 24);
        ((share * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// Normal with a deviation of 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - f64::from(self.unit()), f64::from(self.unit()));
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// PEFT's orthogonal start of a (r, in) and b (out, r): the rows of a random orthogonal (r, r) matrix are shared out among the two, so that
    /// B·A is zero though neither is.
    ///
    /// # Errors
    /// Which ranks it can have.
    pub fn orthogonal(&mut self, r: usize, a: &mut [f64], b: &mut [f64]) -> Result<(), String> {
        if !r.is_multiple_of(2) {
            return Err("needs an even rank".into());
        }
        if r > MAX_ORTHOGONAL {
            return Err(format!("takes a rank of at most {MAX_ORTHOGONAL}"));
        }
        // Gram and Schmidt, twice over for rounding.
        let mut q: Vec<Vec<f64>> = Vec::with_capacity(r);
        while q.len() < r {
            let mut row: Vec<f64> = (0..r).map(|_| self.normal()).collect();
            for _ in 0..2 {
                for other in &q {
                    let along: f64 = row.iter().zip(other).map(|(x, y)| x * y).sum();
                    row.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
                }
            }
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            if length > 1e-6 {
                row.iter_mut().for_each(|x| *x /= length);
                q.push(row);
            }
        }
        let inputs = a.len() / r;
        a.fill(0.0);
        b.fill(0.0);
        for pair in q.chunks(2) {
            for c in 0..inputs {
                let g = self.normal() / 10.0;
                (0..r).for_each(|i| a[i * inputs + c] += g * pair[0][i]);
            }
            for row in b.chunks_mut(r) {
                let g = self.normal() / 10.0;
                row.iter_mut().zip(&pair[1]).for_each(|(v, q)| *v += g * q);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_are_normal() {
        let mut random = Random::new(7);
        let values: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let moment = |k: i32| values.iter().map(|v| v.powi(k)).sum::<f64>() / values.len() as f64;
        assert!(moment(1).abs() < 0.02 && (moment(2) - 1.0).abs() < 0.02 && moment(3).abs() < 0.05 && (moment(4) - 3.0).abs() < 0.1);
    }

    #[test]
    fn an_orthogonal_start_changes_nothing() {
        let (r, inputs, outputs) = (4, 9, 7);
        let (mut a, mut b) = (vec![1.0; r * inputs], vec![1.0; outputs * r]);
        Random::new(3).orthogonal(r, &mut a, &mut b).unwrap();
        for o in 0..outputs {
            for c in 0..inputs {
                let product: f64 = (0..r).map(|i| b[o * r + i] * a[i * inputs + c]).sum();
                assert!(product.abs() < 1e-15, "{product}");
            }
        }
        assert!(a.iter().chain(&b).any(|v| v.abs() > 0.01));
        assert!(Random::new(3).orthogonal(3, &mut a, &mut b).is_err() && Random::new(3).orthogonal(1000, &mut a, &mut b).is_err());
    }
}
