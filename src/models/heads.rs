//! The heads that an encoder's files have behind its hidden states.

use crate::Result;
use crate::graph::{Tape, Val};
use crate::nn::{Extra, Forward, Linear, Norm, ParamId};
use crate::ops::Act;
use crate::ops::activation::Activation;

/// The heads that a model's files have.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads {
    /// Dense layer, activation and norm before the output layer.
    pub masked: Option<(Linear, Act, Norm)>,
    pub pooler: Option<Linear>,
    /// Weight and bias before the classifier, and of it.
    pub classifier_dense: Option<(ParamId, ParamId)>,
    pub classifier: Option<(ParamId, ParamId)>,
}

impl Heads {
    /// Linears that an adapter may be put on.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.masked.iter().map(|m| &m.0).chain(&self.pooler)
    }

    /// Hidden states (R, C) as the output layer reads them: an encoder's pass a dense layer, an activation and a norm.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn before_head(&self, tape: &mut Tape, cx: &Forward<'_>, hidden: Val) -> Result<Val> {
        let Some((dense, kind, norm)) = &self.masked else { return Ok(hidden) };
        let x = dense.forward(tape, cx, hidden, Extra::default())?;
        let x = tape.push1(Activation { kind: *kind }, &[x])?;
        norm.forward(tape, cx, x)
    }
}
