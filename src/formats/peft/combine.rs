//! Weighted combinations of LoRA adapters, as PEFT's `add_weighted_adapter` makes them.

use serde_json::{Map, json};

use super::kinds::not_lora;
use super::{LoraAdapter, LoraPair, OneOrMany, PeftAdapter, Target};
use crate::error::{Error, Result};

/// PEFT's `combination_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// Weighted sums of A and of B, each with √|weight·scale|, the sign on A: of one rank, and not the sum of the products, which it only resembles.
    Linear,
    /// A below one another and B side by side: exactly the weighted sum of the products, in the sum of the ranks.
    Cat,
    /// The weighted sum of the products, cut to a rank by its singular values.
    Svd,
}

impl Combination {
    pub const ALL: [(&'static str, Combination); 3] =
        [("linear", Combination::Linear), ("cat", Combination::Cat), ("svd", Combination::Svd)];

    /// # Errors
    /// [`Error::BadConfig`] with the names there are.
    pub fn named(name: &str) -> Result<Combination> {
        let found = Combination::ALL.into_iter().find(|c| c.0 == name).map(|c| c.1);
        found.ok_or_else(|| Error::config("combination_type", format!("is {name:?}, expected linear, cat or svd")))
    }
}

/// Combines adapters. `svd_rank` is the rank of [`Combination::Svd`]; without it, the largest of theirs, module by module. What comes of it has a scale
/// of 1; PEFT, which copies the first one's `use_rslora`, makes it √r where that is set.
///
/// # Errors
/// [`Error::BadAdapter`] for adapters that cannot be combined, [`Error::BadConfig`] for weights and ranks that cannot be.
pub fn combine(adapters: &[(&PeftAdapter, f64)], how: Combination, svd_rank: Option<usize>) -> Result<LoraAdapter> {
    let mut all: Vec<(&LoraAdapter, f64)> = Vec::new();
    for (adapter, weight) in adapters {
        if !weight.is_finite() {
            return Err(Error::config("weights", format!("{weight} is no weight")));
        }
        match adapter {
            PeftAdapter::Lora(a) if a.config.use_dora => {
                return Err(Error::BadAdapter("magnitudes of DoRA (use_dora) cannot be combined".into()));
            }
            PeftAdapter::Lora(a) if !a.saved.is_empty() => {
                return Err(Error::BadAdapter(format!("{} is held whole beside the products: it cannot be combined", a.saved[0].path)));
            }
            PeftAdapter::Lora(a) => all.push((a, *weight)),
            PeftAdapter::Prompt(a) => return Err(not_lora(a.config.kind.name(), "combined")),
        }
    }
    let Some((first, _)) = all.first() else { return Err(Error::BadAdapter("there is nothing to combine".into())) };
    if svd_rank.is_some() && how != Combination::Svd {
        return Err(Error::config("svd_rank", "belongs to the combination svd"));
    }
    if svd_rank.is_some_and(|r| !(1..=4096).contains(&r)) {
        return Err(Error::config("svd_rank", format!("is {}, expected 1 to 4096", svd_rank.unwrap_or_default())));
    }
    for (adapter, _) in &all {
        adapter.need_causal("a combination with others")?;
    }
    let modules = |a: &LoraAdapter| a.pairs.iter().map(|p| p.target.module.clone()).collect::<Vec<_>>();
    if let Some(other) = all.iter().find(|(a, _)| modules(a) != modules(first)) {
        let odd = modules(other.0).into_iter().find(|m| !modules(first).contains(m)).or_else(|| {
            let own = modules(other.0);
            modules(first).into_iter().find(|m| !own.contains(m))
        });
        return Err(Error::BadAdapter(format!("the adapters are of different modules: {} is in one alone", odd.unwrap_or_default())));
    }
    let mut pairs = Vec::with_capacity(first.pairs.len());
    for (i, shape) in first.pairs.iter().enumerate() {
        let parts: Vec<(&LoraPair, f64)> = all.iter().map(|(a, w)| (&a.pairs[i], w * a.pairs[i].target.scale)).collect();
        let module = &shape.target.module;
        if let Some((p, _)) = parts.iter().find(|(p, _)| (p.in_features, p.out_features) != (shape.in_features, shape.out_features)) {
            let sizes = [(shape.out_features, shape.in_features), (p.out_features, p.in_features)];
            return Err(Error::BadAdapter(format!("{module} is {:?} in one adapter and {:?} in another", sizes[0], sizes[1])));
        }
        let (a, b, r) = match how {
            Combination::Linear => linear(module, &parts)?,
            Combination::Cat => side_by_side(&parts),
            Combination::Svd => {
                let most = shape.in_features.min(shape.out_features);
                let r = svd_rank.unwrap_or_else(|| parts.iter().map(|(p, _)| p.target.r).max().unwrap_or(1)).min(most);
                let (a, b) = cut(&parts, r);
                (a, b, r)
            }
        };
        let narrow = |v: Vec<f64>| v.into_iter().map(|v| v as f32).collect();
        let target = Target { module: module.clone(), r, alpha: r as f64, scale: 1.0 };
        let (in_features, out_features) = (shape.in_features, shape.out_features);
        pairs.push(LoraPair { target, in_features, out_features, a: narrow(a), b: narrow(b), ..LoraPair::default() });
    }
    let mut config = first.config.clone();
    let r = pairs.iter().map(|p| p.target.r).max().unwrap_or(1);
    config.r = r;
    config.lora_alpha = r as f64;
    config.use_rslora = false;
    config.init_lora_weights = json!(true);
    // The modules by their paths: the adapters may have chosen them in different ways, and some may have another rank.
    config.target_modules = Some(OneOrMany::Many(modules(first)));
    (config.exclude_modules, config.layers_to_transform, config.layers_pattern) = (None, None, None);
    let others: Map<_, _> =
        pairs.iter().filter(|p| p.target.r != r).map(|p| (p.target.module.replace('.', "\\."), json!(p.target.r))).collect();
    config.alpha_pattern = Some(others.clone());
    config.rank_pattern = Some(others);
    Ok(LoraAdapter { config, pairs, saved: Vec::new() })
}

type Factors = (Vec<f64>, Vec<f64>, usize);

/// See [`Combination::Linear`].
fn linear(module: &str, parts: &[(&LoraPair, f64)]) -> Result<Factors> {
    let r = parts[0].0.target.r;
    if let Some((p, _)) = parts.iter().find(|(p, _)| p.target.r != r) {
        return Err(Error::BadAdapter(format!(
            "{module} has rank {r} in one adapter and {} in another: \"linear\" needs equal ones, \"cat\" and \"svd\" do not",
            p.target.r
        )));
    }
    let (mut a, mut b) = (vec![0.0; parts[0].0.a.len()], vec![0.0; parts[0].0.b.len()]);
    for (p, w) in parts {
        let root = w.abs().sqrt();
        a.iter_mut().zip(&p.a).for_each(|(s, v)| *s += root * w.signum() * f64::from(*v));
        b.iter_mut().zip(&p.b).for_each(|(s, v)| *s += root * f64::from(*v));
    }
    Ok((a, b, r))
}

/// See [`Combination::Cat`].
fn side_by_side(parts: &[(&LoraPair, f64)]) -> Factors {
    let a = parts.iter().flat_map(|(p, w)| p.a.iter().map(move |v| w * f64::from(*v))).collect();
    let rows = (0..parts[0].0.out_features).flat_map(|o| parts.iter().flat_map(move |(p, _)| &p.b[o * p.target.r..(o + 1) * p.target.r]));
    (a, rows.map(|v| f64::from(*v)).collect(), parts.iter().map(|(p, _)| p.target.r).sum())
}

/// The product of all, cut to rank `r`: A (r, in) with orthonormal rows, B (out, r) with the singular values.
fn cut(parts: &[(&LoraPair, f64)], r: usize) -> (Vec<f64>, Vec<f64>) {
    let (a, b, total) = side_by_side(parts);
    let (inputs, outputs) = (parts[0].0.in_features, parts[0].0.out_features);
    // B·A = Qb·(Rb·Raᵀ)·Qaᵀ: the singular values are those of a small matrix.
    let columns_b: Vec<Vec<f64>> = (0..total).map(|c| (0..outputs).map(|o| b[o * total + c]).collect()).collect();
    let columns_a: Vec<Vec<f64>> = a.chunks_exact(inputs).map(<[f64]>::to_vec).collect();
    let ((qb, rb), (qa, ra)) = (orthonormal(&columns_b), orthonormal(&columns_a));
    // Columns of the small matrix (|Qb|, |Qa|).
    let small: Vec<Vec<f64>> =
        (0..qa.len()).map(|j| (0..qb.len()).map(|i| (0..total).map(|k| rb[k][i] * ra[k][j]).sum()).collect()).collect();
    let (us, v) = singular(small, qa.len());
    let mut order: Vec<usize> = (0..us.len()).collect();
    let length = |c: &[f64]| c.iter().map(|v| v * v).sum::<f64>();
    order.sort_by(|i, j| length(&us[*j]).total_cmp(&length(&us[*i])));
    let (mut low, mut high) = (vec![0.0; r * inputs], vec![0.0; outputs * r]);
    for (to, from) in order.into_iter().take(r).enumerate() {
        for (q, s) in qa.iter().zip(&v[from]) {
            low[to * inputs..(to + 1) * inputs].iter_mut().zip(q).for_each(|(x, q)| *x += s * q);
        }
        for (q, s) in qb.iter().zip(&us[from]) {
            (0..outputs).for_each(|o| high[o * r + to] += s * q[o]);
        }
    }
    (low, high)
}

/// Orthonormal vectors that span `columns`, and each column's parts along them (Gram and Schmidt, twice over for rounding).
fn orthonormal(columns: &[Vec<f64>]) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let mut parts = Vec::new();
    for column in columns {
        let (mut rest, mut along) = (column.clone(), vec![0.0; columns.len()]);
        let before = rest.iter().map(|v| v * v).sum::<f64>().sqrt();
        for _ in 0..2 {
            for (i, q) in basis.iter().enumerate() {
                let part: f64 = rest.iter().zip(q).map(|(x, q)| x * q).sum();
                rest.iter_mut().zip(q).for_each(|(x, q)| *x -= part * q);
                along[i] += part;
            }
        }
        let length = rest.iter().map(|v| v * v).sum::<f64>().sqrt();
        if length > before * 1e-12 {
            rest.iter_mut().for_each(|x| *x /= length);
            along[basis.len()] = length;
            basis.push(rest);
        }
        parts.push(along);
    }
    (basis, parts)
}

/// One-sided Jacobi: rotates columns until they are orthogonal. Gives U·S and the rotations V by columns, `n` of them.
fn singular(mut columns: Vec<Vec<f64>>, n: usize) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let mut v: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for _ in 0..60 {
        let mut turned = false;
        for i in 0..n {
            for j in i + 1..n {
                let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
                let (p, q, both) = (dot(&columns[i], &columns[i]), dot(&columns[j], &columns[j]), dot(&columns[i], &columns[j]));
                if both.abs() <= 1e-15 * (p * q).sqrt() {
                    continue;
                }
                turned = true;
                let zeta = (q - p) / (2.0 * both);
                let t = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
                let (c, s) = (1.0 / (1.0 + t * t).sqrt(), t / (1.0 + t * t).sqrt());
                for set in [&mut columns, &mut v] {
                    let (left, right) = set.split_at_mut(j);
                    for (x, y) in left[i].iter_mut().zip(&mut right[0]) {
                        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                    }
                }
            }
        }
        if !turned {
            break;
        }
    }
    (columns, v)
}
