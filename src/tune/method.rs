//! What one training method adds to the step that all share.

use std::any::Any;
use std::rc::Rc;

use super::kl::RowCache;
use super::metrics::Metrics;
use super::micro::Micro;
use super::rounds::Rounds;
use super::signals::Signals;
use crate::Result;
use crate::adapters::AdapterSet;
use crate::data::{Batch, BatchShape, Example, Layout};
use crate::graph::{Exec, Program, Tape, Tensor, Val};

/// What a method recorded behind a forward pass.
pub struct Recorded {
    /// Read back after the update, [`Method::metric_words`] words of it.
    pub metrics: Val,
    /// Values of the pass and the gradients of the loss with respect to them: one pair, or several where a loss has several parts.
    pub seeds: Vec<(Val, Val)>,
}

/// Parameters that a method trains beside the adapter (a score head), in one flat buffer that is a group of its own.
#[derive(Clone)]
pub struct OwnParameters {
    /// Under which a checkpoint keeps them.
    pub name: &'static str,
    pub params: Tensor,
    /// Instead of the arguments' rate; follows the same schedule.
    pub learning_rate: Option<f64>,
    /// Instead of the arguments' decay.
    pub weight_decay: Option<f64>,
}

/// How a method's passes are recorded and laid out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// ε: what [`Signals::logps`] gives is (1 − ε)·log-probability + ε·(mean of those of the whole vocabulary).
    pub label_smoothing: f32,
    /// NEFTune's alpha: in updates uniform noise of alpha/√(L·d) is added to the embeddings of a document of L tokens, d wide.
    pub noise_alpha: Option<f64>,
    pub layout: Layout,
}

/// A training method: which sequences a row has, what is computed from them, and what is reported. The rows of a dataset may grow in number while
/// they are trained on; those that are there do not change.
pub trait Method: Any {
    /// By which the table of methods knows it.
    fn name(&self) -> &'static str;

    /// SHA-256 of the dataset's tokens, in hex.
    fn digest(&self) -> String;

    /// Rows of the dataset.
    fn rows(&self) -> usize;

    /// The sequences of some rows, in the order in which [`crate::data::Batch::seqs`] numbers them.
    fn examples(&self, rows: &[u32]) -> Vec<&Example>;

    /// Which of `rows` each of their sequences is of: of so many, the first one of every row, then the second, unless said otherwise.
    fn owners(&self, rows: &[u32], sequences: usize) -> Vec<u32> {
        (0..sequences).map(|s| (s % rows.len().max(1)) as u32).collect()
    }

    /// The part of a batch's shape that its plan depends on.
    fn key(&self, shape: BatchShape) -> BatchShape {
        shape
    }

    /// Records the loss and its gradient behind a forward pass over [`Method::examples`].
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded>;

    /// Words of a micro-batch's metrics.
    fn metric_words(&self, shape: &BatchShape) -> usize;

    /// Writes the inputs that [`Method::record`] declared. `all` are the update's micro-batches.
    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]);

    /// The update's metrics from what its micro-batches wrote.
    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics;

    /// What a metric of one micro-batch counts in a mean over many, in an evaluation: its rows, unless said otherwise.
    fn share(&self, micro: &Micro, _metric: &str) -> f64 {
        micro.rows.len() as f64
    }

    /// Those of its own arguments that decide the curve, by TRL's names.
    fn arguments(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What it knows of its rows under the reference policy, where it is measured against one: the summed log-probabilities of
    /// [`Method::reference_examples`], as many values a row as that has sequences.
    fn references(&self) -> Option<&RowCache> {
        None
    }

    /// The same, to be filled in.
    fn references_mut(&mut self) -> Option<&mut RowCache> {
        None
    }

    /// The sequences of some rows that the reference policy judges, ordered as [`Method::examples`], which they are unless said otherwise.
    fn reference_examples(&self, rows: &[u32]) -> Vec<&Example> {
        self.examples(rows)
    }

    /// What is kept of the reference policy's judgement of [`Method::reference_examples`]: a number for each sequence, from the log-probabilities of
    /// the batch's judged tokens; their sums, unless said otherwise.
    fn reference_sums(&self, _rows: &[u32], _batch: &Batch, _logps: &[f32], sums: Vec<f32>) -> Vec<f32> {
        sums
    }

    /// Sequences of some rows whose summed log-probabilities under the present weights its loss reads, without a gradient, from an input named
    /// [`PRESENT`]. None, unless it says so.
    fn present_examples(&self, _rows: &[u32]) -> Vec<&Example> {
        Vec::new()
    }

    /// False where its loss is of scores, and asks for no log-probabilities of tokens: there are no entropies to report, then.
    fn judges_tokens(&self) -> bool {
        true
    }

    /// True where its loss looks at all rows of a micro-batch together: fewer at once are then another training.
    fn rows_meet(&self) -> bool {
        false
    }

    /// True where `kl` is a metric of its own: [`super::kl`] is then not reported under that name.
    fn own_kl(&self) -> bool {
        false
    }

    /// How its passes are recorded and laid out, where that is not as usual.
    fn manner(&self) -> Manner {
        Manner::default()
    }

    /// How many scores the head of its adapter gives; 0 where the adapter has none.
    fn scores(&self) -> usize {
        0
    }

    /// True where its loss is measured against a reference policy.
    fn is_measured(&self) -> bool {
        self.references().is_some() || self.rounds().is_some_and(Rounds::has_reference)
    }

    /// Under which name the distance to the base model is reported.
    fn kl_name(&self) -> &'static str {
        if self.rounds().is_some() { "kl/base" } else { "kl" }
    }

    /// The rounds of a method that learns from what the policy writes. Rows of its micro-batches are then those of the present round.
    fn rounds(&self) -> Option<&Rounds> {
        None
    }

    /// The same, for the trainer to fill in.
    fn rounds_mut(&mut self) -> Option<&mut Rounds> {
        None
    }

    /// Completions of the present round that some rows are, in the order of [`Method::examples`].
    fn samples(&self, rows: &[u32]) -> Vec<u32> {
        rows.to_vec()
    }

    /// Turns what is known of the present round (rewards, log-probabilities) into what its loss reads (advantages), before its first update.
    fn weigh(&mut self) {}

    /// Logits are divided by it wherever they are judged.
    fn temperature(&self) -> f32 {
        1.0
    }

    /// The rounds are those of a checkpoint: what follows from them is computed again.
    fn restored(&mut self) {}

    /// Another name under which the entropy is reported.
    fn entropy_also(&self) -> Option<&'static str> {
        None
    }

    /// For a method with a critic, a second adapter with one score: the name of the adapter that it starts from, if there is one.
    fn init_critic(&self) -> Option<Option<&str>> {
        None
    }

    /// Takes the critic, which learns together with the adapter.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    fn set_critic(&mut self, _exec: &Exec, _critic: Rc<AdapterSet>) -> Result<()> {
        Ok(())
    }

    /// The critic.
    fn critic(&self) -> Option<&Rc<AdapterSet>> {
        None
    }

    /// A completion of the present round whose judged places are those at which the critic is asked.
    fn value_example(&self, _sample: u32) -> Example {
        Example::default()
    }

    /// What it trains beside the adapter.
    fn parameters(&self) -> Vec<OwnParameters> {
        Vec::new()
    }
}

/// The input that [`Method::present_examples`] end up in.
pub const PRESENT: &str = "present";

/// SHA-256 of words, in hex.
pub(super) fn digest(parts: impl Iterator<Item = Vec<u32>>) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u32).to_le_bytes());
        part.iter().for_each(|w| hash.update(w.to_le_bytes()));
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
