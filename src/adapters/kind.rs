//! What a kind of adapter is: its values in one flat buffer, how they begin, how PEFT writes them, and what it does to a pass.

use std::any::Any;

use crate::Result;
use crate::data::Front;
use crate::formats::peft::{NamedTensor, PeftAdapter, PeftConfig};
use crate::graph::{Arena, Exec, Tape, Val};

/// Which of an adapter's values there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// All that is trained.
    Whole,
    /// What PEFT's file holds, which of virtual tokens is not the network that made them.
    File,
}

/// What a new adapter begins with.
pub(super) struct First {
    pub seed: u64,
    /// Embeddings of tokens (n, C), where it begins with some.
    pub embeddings: Option<Vec<f32>>,
}

/// What a kind puts in front of every sequence, as values of a pass.
pub(super) enum Made {
    Nothing,
    /// Embeddings of virtual tokens (n, C).
    Tokens(Val),
    /// Keys and values (n, Hkv·D) of every layer.
    Keys(Vec<(Val, Val)>),
}

/// One kind of adapter in the shape that its configuration asks for.
pub(super) trait Kind: Any {
    /// The configuration, with what PEFT writes of the model.
    fn config(&self) -> PeftConfig;

    /// What tells apart the shapes of two sets: equal keys mean that one's values fit into the other and that recorded programs serve both.
    fn key(&self) -> &str;

    /// All its values.
    fn arena(&self) -> &Arena;

    /// Starts it as PEFT does.
    ///
    /// # Errors
    /// [`crate::Error::BadConfig`] for a start that cannot be.
    fn begin(&self, exec: &Exec, first: &First) -> Result<()>;

    /// Takes the values of an adapter in host memory.
    ///
    /// # Errors
    /// [`crate::Error::BadAdapter`] when it has other shapes or is of another kind.
    fn import(&self, exec: &Exec, adapter: &PeftAdapter) -> Result<()>;

    /// Renews what it keeps of its values, which have changed.
    fn refresh(&self) {}

    /// What is trained, under PEFT's names: `parts` are values, or gradients, of the parts of [`Kind::arena`].
    fn named(&self, parts: &[Vec<f32>]) -> Vec<NamedTensor>;

    /// True where a file holds what a network has made: [`Kind::file`] then gets the values of [`Kind::made`].
    fn encodes(&self) -> bool {
        false
    }

    /// What a file holds, from the values of the parts of [`Kind::arena`].
    fn file(&self, parts: &[Vec<f32>]) -> PeftAdapter;

    /// Whether the model with it is another than without.
    fn changes(&self, _parts: &[Vec<f32>]) -> bool {
        true
    }

    /// What it has in front of every sequence.
    fn front(&self) -> Front {
        Front::Nothing
    }

    /// Records what [`Kind::front`] says. `train`: dropout is on.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn made(&self, _tape: &mut Tape, _train: bool) -> Result<Made> {
        Ok(Made::Nothing)
    }

    /// Why it cannot be trained, where it cannot.
    fn frozen(&self) -> Option<&'static str> {
        None
    }
}

/// A tensor's values in the form in which tensors take them.
pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}
