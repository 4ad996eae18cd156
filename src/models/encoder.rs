//! What is done with an encoder: which heads its files have, how sequences are laid out, pooling and classifiers.

use super::config::Config;
use super::model::Model;
use super::names::Role;
use super::shape::{Encoder, Scope, Shape, Squash};
use crate::data::{Batch, Example, Front, Layout, Sight};
use crate::graph::{Desc, Tape, Tensor, Val};
use crate::nn::{Adapter, Extra, Forward, ParamId};
use crate::ops::activation::Activation;
use crate::ops::attention::Attention;
use crate::ops::linear::Linear as Product;
use crate::ops::softcap::SoftCap;
use crate::{Error, Result};

fn squash(tape: &mut Tape, squash: Squash, x: Val) -> Result<Val> {
    match squash {
        Squash::Tanh => tape.push1(SoftCap { cap: 1.0 }, &[x]),
        Squash::Act(kind) => tape.push1(Activation { kind }, &[x]),
    }
}

impl Config {
    /// Takes account of which heads a checkpoint has: `has` knows its keys.
    pub fn fit(&mut self, has: &dyn Fn(&str) -> bool) {
        let names = self.names;
        let Shape::Encoder(e) = &mut self.shape else { return };
        let there = |role: Role| names.has(role) && has(&format!("{}.weight", names.end(role)));
        e.masked = there(Role::HeadDense) && has(&format!("{}.bias", names.end(Role::HeadBias)));
        e.pooler = there(Role::Pooler);
        e.classifies = match e.classifier.scope {
            Scope::Sequence => there(Role::Classifier),
            Scope::Tokens => there(Role::TokenClassifier),
        };
    }

    /// Refuses a model that cannot write.
    ///
    /// # Errors
    /// [`Error::BadConfig`] that says what `what` needs.
    pub fn need_decoder(&self, what: &str) -> Result<()> {
        match &self.shape {
            Shape::Decoder => Ok(()),
            other => Err(Error::config("model", format!("is {} ({}): {what} needs a decoder", other.with_article(), self.model_type))),
        }
    }

    /// Refuses a model whose tokens do not see each other.
    ///
    /// # Errors
    /// [`Error::BadConfig`] that says what `what` needs.
    pub fn need_encoder(&self, what: &str) -> Result<&Encoder> {
        self.shape.encoder().ok_or_else(|| {
            Error::config("model", format!("is {} ({}): {what} needs an encoder", self.shape.with_article(), self.model_type))
        })
    }
}

impl Model {
    /// Sequences as this model takes them: who sees whom, under its window, and at which positions.
    pub fn lay_out(&self, examples: &[&Example], layout: Layout, front: Front) -> Batch {
        let (encoder, pair) = (self.config().shape.encoder(), self.config().shape.encoder_decoder());
        let sight = if encoder.is_some() { Sight::Bidirectional } else { self.mask().sight() };
        let mut batch = Batch::laid_out(examples, sight, self.window(), layout, front);
        if pair.is_some() {
            batch.add_sources(examples);
        }
        if let Some(first) = encoder.map(|e| e.first_position).or(pair.map(|p| p.first_position)).filter(|f| *f > 0) {
            batch.positions.iter_mut().chain(&mut batch.sources.positions).for_each(|p| *p += first as u32);
        }
        batch
    }

    /// The encoder's own part of the configuration.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for a decoder.
    pub fn encoder(&self, what: &str) -> Result<&Encoder> {
        self.config().need_encoder(what)
    }

    /// Whether [`Model::record_logits`] gives something: an encoder's files may have no head for it.
    ///
    /// # Errors
    /// [`Error::BadConfig`].
    pub fn need_logits(&self) -> Result<()> {
        match self.config().shape.encoder() {
            Some(e) if !e.masked => Err(Error::config("model", "its files have no head for masked tokens: it gives no logits of tokens")),
            _ => Ok(()),
        }
    }

    /// Module path of the pooler; empty where there is none.
    pub fn pooler_path(&self) -> &str {
        self.heads().pooler.as_ref().map_or("", |l| l.parts[0].path.as_str())
    }

    /// Records the pooler on the states (R, C) of first tokens: (R, C).
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the files have none, [`Error::Shape`].
    pub fn record_pooled(&self, tape: &mut Tape, first: Val, adapter: Option<&dyn Adapter>, train: bool) -> Result<Val> {
        let cx = Forward { params: self.params(), adapter, train };
        let pooler = self.heads().pooler.as_ref().ok_or_else(|| Error::config("model", "its files have no pooler"))?;
        let x = pooler.forward(tape, &cx, first, Extra::default())?;
        squash(tape, Squash::Tanh, x)
    }

    /// The paths, and shapes, of what a classifier for `count` classes consists of, as an adapter holds it whole.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for a decoder.
    pub fn classifier_parts(&self, scope: Scope, count: usize) -> Result<Vec<(String, Vec<usize>)>> {
        let (e, names, width) = (self.encoder("classification")?, self.config().names, self.config().hidden_size);
        let pair = |role: Role, rows: usize| {
            let path = names.end(role);
            [(format!("{path}.weight"), vec![rows, width]), (format!("{path}.bias"), vec![rows])]
        };
        let mut parts = Vec::new();
        if let (Some((Role::ClassifierDense, _)), Scope::Sequence) = (e.classifier_dense, scope) {
            parts.extend(pair(Role::ClassifierDense, width));
        }
        parts.extend(pair(if scope == Scope::Sequence { Role::Classifier } else { Role::TokenClassifier }, count));
        Ok(parts)
    }

    /// Records a classifier on hidden states (R, C), those of first tokens where it judges sequences: (R, classes). What the adapter holds whole
    /// takes the place of what the files have.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where there is no classifier, [`Error::Shape`].
    pub fn record_classes(&self, tape: &mut Tape, hidden: Val, scope: Scope, adapter: Option<&dyn Adapter>, train: bool) -> Result<Val> {
        let cx = Forward { params: self.params(), adapter, train };
        let e = self.encoder("classification")?;
        let mut x = hidden;
        match (scope, e.classifier_dense) {
            (Scope::Sequence, Some((Role::Pooler, _))) => x = self.record_pooled(tape, x, adapter, train)?,
            (Scope::Sequence, Some((role, kind))) => {
                x = self.whole(tape, &cx, x, role, self.heads().classifier_dense)?;
                x = squash(tape, kind, x)?;
            }
            (Scope::Sequence, None) => x = self.heads().before_head(tape, &cx, x)?,
            (Scope::Tokens, _) if e.tokens_dense => x = self.heads().before_head(tape, &cx, x)?,
            (Scope::Tokens, _) => {}
        }
        let own = self.heads().classifier.filter(|_| e.classifier.scope == scope);
        self.whole(tape, &cx, x, if scope == Scope::Sequence { Role::Classifier } else { Role::TokenClassifier }, own)
    }

    /// x·Wᵀ + b of a module that an adapter may hold whole.
    fn whole(&self, tape: &mut Tape, cx: &Forward<'_>, x: Val, role: Role, own: Option<(ParamId, ParamId)>) -> Result<Val> {
        let path = self.config().names.end(role);
        let held = |end: &str| cx.adapter.and_then(|a| a.whole(&format!("{path}.{end}")));
        let (w, b) = match (held("weight"), held("bias"), own) {
            (Some(w), Some(b), _) => (w.clone(), b.clone()),
            (_, _, Some((w, b))) => (self.params().tensor(w), self.params().tensor(b)),
            _ => return Err(Error::config("model", format!("neither its files nor the adapter have a classifier ({path})"))),
        };
        let (w, b) = (tape.tensor(&w), tape.tensor(&b));
        tape.push1(Product { bias: true, ..Product::default() }, &[x, w, b])
    }

    /// Records the mean of the hidden states of each sequence: hidden (B·T, C) of `batch` rows, spans (N, 2) u32 of the N sequences inside their rows,
    /// N / `batch` in each → (N, C). It is attention with equal scores.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn record_mean(&self, tape: &mut Tape, hidden: Val, batch: usize, spans: Val) -> Result<Val> {
        let (n, width) = (tape.desc(spans).rows(), self.config().hidden_size);
        // Heads of channels of any width that the kernels take.
        let dim = [64, 32, 16, 8, 4, 2, 1].into_iter().find(|d| width.is_multiple_of(*d)).unwrap_or(1);
        let zeros = Tensor::zeros(self.exec(), "equal", Desc::f32(&[n, width]))?;
        let q = tape.tensor(&zeros);
        let op = Attention { heads: width / dim, kv_heads: width / dim, dim, scale: 1.0, cap: None, batch };
        Ok(tape.push(op, &[q, hidden, hidden, spans])?[0])
    }
}
