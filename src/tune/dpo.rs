//! Direct preference optimization (Rafailov et al. 2023): −log σ(β·((π_chosen − ref_chosen) − (π_rejected − ref_rejected))), with label
//! smoothing. Mean over the pairs of a micro-batch, then over the micro-batches of an update; so are the metrics.

use super::config::DpoConfig;
use super::kl::RowCache;
use super::objective::{Metrics, Micro, Objective, PreferenceMetrics, digest};
use crate::Result;
use crate::data::{BatchShape, Example, IGNORE, Pair};
use crate::graph::{Desc, Program, StepParams, Tape, Val};
use crate::ops::loss::DpoLoss;

/// Words of a pair's metrics: loss, rewards of chosen and rejected, log-probabilities of chosen and rejected.
const WORDS: usize = 8;

/// See the module.
pub struct Dpo {
    pairs: Vec<Pair>,
    beta: f32,
    label_smoothing: f32,
    /// Per pair: log-probabilities of both answers under the reference, computed once.
    references: RowCache,
}

impl Dpo {
    pub fn new(pairs: Vec<Pair>, config: &DpoConfig) -> Dpo {
        let references = RowCache::new(pairs.len());
        Dpo { pairs, beta: config.beta as f32, label_smoothing: config.label_smoothing as f32, references }
    }
}

impl Objective for Dpo {
    fn method(&self) -> &'static str {
        "dpo"
    }

    fn digest(&self) -> String {
        digest(self.pairs.iter().flat_map(|p| {
            [&p.chosen.ids, &p.chosen.labels, &p.rejected.ids, &p.rejected.labels]
                .map(Vec::clone)
                .into_iter()
                .chain([vec![p.weight.to_bits()]])
        }))
    }

    fn rows(&self) -> usize {
        self.pairs.len()
    }

    /// All chosen, then all rejected, as TRL concatenates them.
    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        let pair = |r: &u32| &self.pairs[*r as usize];
        rows.iter().map(|r| &pair(r).chosen).chain(rows.iter().map(|r| &pair(r).rejected)).collect()
    }

    fn key(&self, shape: BatchShape) -> BatchShape {
        shape
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, logp: Val) -> Result<(Val, Val)> {
        let pairs = shape.seqs / 2;
        let seq = tape.input("seq", Desc::u32(&[shape.rows]));
        let reference = tape.input("reference", Desc::f32(&[2 * pairs]));
        let weights = tape.input("weights", Desc::f32(&[pairs]));
        let out = tape.push(DpoLoss, &[logp, seq, reference, weights])?;
        Ok((out[0], out[1]))
    }

    fn metric_words(&self, shape: &BatchShape) -> usize {
        WORDS * (shape.seqs / 2)
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![("beta", self.beta.to_string()), ("label_smoothing", self.label_smoothing.to_string())]
    }

    fn references(&self) -> Option<(&RowCache, usize)> {
        Some((&self.references, 2))
    }

    fn restore_references(&mut self, references: RowCache) {
        self.references = references;
    }

    fn set_reference(&mut self, rows: &[u32], words: &[f32]) {
        for (r, w) in rows.iter().zip(words.chunks(WORDS)) {
            self.references.set(*r, vec![w[3], w[4]]);
        }
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro], step: &mut StepParams) {
        let pairs = micro.rows.len();
        // Sequence s of the batch is the chosen answer of pair s, or the rejected one of pair s − pairs.
        let seq: Vec<u32> =
            micro.batch.seqs.iter().map(|s| if *s == IGNORE { IGNORE } else { 2 * (s % pairs as u32) + s / pairs as u32 }).collect();
        program.write("seq", &seq);
        // None in the pass that computes them.
        let reference: Vec<f32> = micro.rows.iter().flat_map(|r| self.references.get(*r).unwrap_or(&[0.0; 2])).copied().collect();
        program.write("reference", &reference);
        let weights: Vec<f32> = micro.rows.iter().map(|r| self.pairs[*r as usize].weight).collect();
        program.write("weights", &weights);
        step.beta = self.beta;
        step.label_smoothing = self.label_smoothing;
        step.loss_scale = 1.0 / (pairs * all.len()) as f32;
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        let (mut loss, mut p) = (0.0, PreferenceMetrics::default());
        for (micro, words) in micros.iter().zip(words) {
            let share = 1.0 / (micro.rows.len() * micros.len()) as f64;
            for (r, w) in micro.rows.iter().zip(words.chunks(WORDS)) {
                let at = |i: usize| f64::from(w[i]);
                let pair = &self.pairs[*r as usize];
                loss += share * f64::from(pair.weight) * at(0);
                p.rewards_chosen += share * at(1);
                p.rewards_rejected += share * at(2);
                p.rewards_margins += share * (at(1) - at(2));
                p.rewards_accuracies += if w[1] > w[2] { share } else { 0.0 };
                p.logps_chosen += share * at(3);
                p.logps_rejected += share * at(4);
            }
        }
        Metrics { loss, preference: Some(p), ..Metrics::default() }
    }
}
