//! What a linear layer asks of an adapter. Adapters themselves stand above the models, which know this trait alone.

use crate::Result;
use crate::graph::{Tape, Val};
use crate::ops::linear::{LoraSeg, Low};

/// What an adapter adds to one (possibly fused) linear, as values of a tape: `y += step.lora · scale · h·Bᵀ`, segment by segment, with h = x·Aᵀ.
pub struct LowRank {
    /// With [`Low::Made`] A (Σr, in); with [`Low::Given`] h (M, Σr).
    pub first: Val,
    /// (1, Σ rows·r): every module's B, row by row.
    pub b: Val,
    /// Which rows of the output and which columns of h belong together.
    pub segs: Vec<LoraSeg>,
}

/// An adapter as a pass over a model is recorded with it.
pub trait Adapter {
    /// How it joins linear number `index` of the model (see [`super::Linear::index`]); `None` where it leaves that alone.
    fn low(&self, index: usize, train: bool) -> Option<Low>;

    /// Records what goes before the product with B, of the x (M, in) that the linear multiplies (normed, unless [`Adapter::low`] says
    /// [`Low::Made`]). `train`: dropout is on. Called only for linears that `low` names.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn record(&self, tape: &mut Tape, index: usize, x: Val, train: bool) -> Result<LowRank>;
}
