//! Prompt tuning (Lester et al. 2021): embeddings of virtual tokens, which are learned while the model stays as it is.

use super::kind::{First, Kind, Made, wide};
use super::random::Random;
use super::virtual_tokens::{TOKEN_TABLE, fill, holds_parts, parts_of, prompt_file, table_of};
use crate::Result;
use crate::data::Front;
use crate::formats::peft::{NamedTensor, PeftAdapter, PeftConfig, PromptConfig};
use crate::graph::{Arena, Exec, Tape};
use crate::models::Model;

/// One table (n, C).
pub(super) struct PromptTuning {
    config: PromptConfig,
    key: String,
    arena: Arena,
}

impl PromptTuning {
    /// # Errors
    /// [`crate::Error::BadAdapter`] for an adapter of another model; [`crate::Error::OutOfMemory`].
    pub fn new(model: &Model, config: &PromptConfig) -> Result<PromptTuning> {
        let config = fill(model, config)?;
        let shape = vec![config.virtual_tokens(), model.config().hidden_size];
        let key = format!("{} {shape:?}", config.kind.name());
        let arena = Arena::zeros(model.exec(), "adapter", &[("embedding.weight".into(), shape)])?;
        Ok(PromptTuning { config, key, arena })
    }
}

impl Kind for PromptTuning {
    fn config(&self) -> PeftConfig {
        self.config.clone().into()
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Normal with a deviation of 1, as PyTorch's embeddings, or embeddings of tokens.
    fn begin(&self, exec: &Exec, first: &First) -> Result<()> {
        let mut random = Random::new(first.seed);
        let table = &self.arena.parts[0];
        let values = match &first.embeddings {
            Some(rows) => wide(rows),
            None => (0..table.desc().len()).map(|_| random.normal()).collect(),
        };
        table.set_f64(exec, &values);
        Ok(())
    }

    fn import(&self, exec: &Exec, adapter: &PeftAdapter) -> Result<()> {
        let table = &self.arena.parts[0];
        let values = match holds_parts(adapter) {
            true => parts_of(adapter, &self.config, &[(TOKEN_TABLE.into(), table.desc().shape.clone())])?[0],
            false => table_of(adapter, &self.config, table.desc().cols())?,
        };
        table.set_f64(exec, &wide(values));
        Ok(())
    }

    fn named(&self, parts: &[Vec<f32>]) -> Vec<NamedTensor> {
        vec![NamedTensor { name: TOKEN_TABLE.into(), shape: self.arena.parts[0].desc().shape.clone(), values: parts[0].clone() }]
    }

    fn file(&self, parts: &[Vec<f32>]) -> PeftAdapter {
        prompt_file(&self.config, parts)
    }

    fn front(&self) -> Front {
        Front::Tokens(self.config.virtual_tokens())
    }

    fn frozen(&self) -> Option<&'static str> {
        self.config.has_encoder().then_some(
            "virtual tokens that a network has made cannot be trained further: PEFT saves what it has made, and not the network. A checkpoint keeps it",
        )
    }

    fn made(&self, tape: &mut Tape, _train: bool) -> Result<Made> {
        Ok(Made::Tokens(tape.tensor(&self.arena.parts[0])))
    }
}
