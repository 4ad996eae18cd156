//! The encoder of an encoder-decoder: its configuration as one of a stack, and what is recorded of it.

use super::config::Config;
use super::model::Model;
use super::shape::{EncoderDecoder, Shape};
use super::stack::SourceInputs;
use crate::graph::{Desc, Tape, Val};
use crate::nn::{Adapter, Forward, Keys, KvCache, Pass, Source};
use crate::ops::elementwise::Add;
use crate::{Error, Result};

impl Config {
    /// The encoder of an encoder-decoder, as the configuration of a stack of its own.
    pub(super) fn source(&self) -> Option<Config> {
        let e = self.shape.encoder_decoder()?;
        let dim = self.hidden_size.checked_div(e.heads).unwrap_or(0);
        let flags = vec![false; e.layers.min(super::config::MAX_LAYERS)];
        Some(Config {
            shape: Shape::Decoder,
            names: e.names,
            num_hidden_layers: e.layers,
            num_attention_heads: e.heads,
            num_key_value_heads: e.heads,
            head_dim: dim,
            intermediate_size: e.intermediate_size,
            attention_scale: 1.0 / (dim as f32).sqrt(),
            windowed: flags.clone(),
            rotated: flags.iter().map(|_| true).collect(),
            ..self.clone()
        })
    }

    /// Refuses a model without an encoder and a decoder.
    ///
    /// # Errors
    /// [`Error::BadConfig`] that says what `what` needs.
    pub fn need_encoder_decoder(&self, what: &str) -> Result<&EncoderDecoder> {
        let (kind, own) = (self.shape.with_article(), &self.model_type);
        let wrong = || Error::config("model", format!("is {kind} ({own}): {what} needs an encoder-decoder"));
        self.shape.encoder_decoder().ok_or_else(wrong)
    }
}

impl Model {
    /// Records the encoder over whole sequences: what the decoder's blocks read. `None` for models without one.
    ///
    /// # Errors
    /// [`Error::Shape`] where the model has one and nothing is given for it.
    pub(super) fn record_source(
        &self,
        tape: &mut Tape,
        inputs: Option<&SourceInputs>,
        batch: usize,
        adapter: Option<&dyn Adapter>,
        train: bool,
    ) -> Result<Option<Source<'static>>> {
        if self.stack().is_none() {
            return Ok(None);
        }
        let inputs = inputs.ok_or_else(|| Error::shape("encoder", "the model has an encoder, and nothing is given for it"))?;
        let states = self.record_states(
            tape,
            [inputs.ids, inputs.positions, inputs.spans],
            batch,
            &Forward { params: self.params(), adapter, train },
        )?;
        Ok(Some(Source::States { batch, states, spans: inputs.cross }))
    }

    /// The encoder's hidden states (B·S, C) of ids, positions and spans.
    fn record_states(&self, tape: &mut Tape, [ids, positions, spans]: [Val; 3], batch: usize, cx: &Forward<'_>) -> Result<Val> {
        let stack = self.stack().ok_or_else(|| Error::shape("encoder", "the model has none"))?;
        let mut x = self.embed_tokens(tape, cx, ids)?;
        if let Some(table) = &stack.positions {
            let own = table.forward(tape, cx, positions)?;
            x = tape.push1(Add, &[x, own])?;
        }
        if let Some(norm) = &stack.embed_norm {
            x = norm.forward(tape, cx, x)?;
        }
        for block in &stack.blocks {
            tape.begin_segment();
            let keys = Keys::Sequence { batch, spans, prefix: None };
            x = block.forward(tape, cx, x, &Pass { positions, ropes: self.ropes(), keys, source: None })?;
            tape.end_segment();
        }
        match &stack.norm {
            Some(norm) => norm.forward(tape, cx, x),
            None => Ok(x),
        }
    }

    /// Records the encoder over one sequence of `len` tokens, and what each of the decoder's layers reads of it: keys and values in `cross`. Inputs of the
    /// tape: `ids`, `positions` (S) u32, `spans` (S, 2) u32, and the `slots` (S) u32 that they go to.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn record_kept(&self, tape: &mut Tape, len: usize, cross: &KvCache, adapter: Option<&dyn Adapter>) -> Result<()> {
        let cx = Forward { params: self.params(), adapter, train: false };
        let [ids, positions, slots] = ["ids", "positions", "slots"].map(|name| tape.input(name, Desc::u32(&[len])));
        let spans = tape.input("spans", Desc::u32(&[len, 2]));
        let states = self.record_states(tape, [ids, positions, spans], 1, &cx)?;
        let unturned = tape.tensor(&self.ropes()[0].inv_freq);
        for (attention, cache) in self.blocks().iter().filter_map(|b| b.cross.as_ref()).zip(&cross.layers) {
            attention.keep(tape, &cx, states, [positions, unturned], (cache, slots))?;
        }
        Ok(())
    }
}
