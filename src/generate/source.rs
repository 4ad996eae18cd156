//! The encoder's side of a generation with an encoder-decoder: it is read once, and the keys and values that the decoder reads of it are those of all
//! answers.

use super::engine::{End, Engine, Kept, NONE};
use super::options::GenerateOptions;
use crate::adapters::ActiveAdapter;
use crate::data::bucket;
use crate::graph::Program;
use crate::models::Rules;
use crate::{Error, Result};

impl Engine {
    /// Has the model an encoder of its own?
    pub fn has_source(&self) -> bool {
        self.loaded.model.config().shape.encoder_decoder().is_some()
    }

    /// What its tables of positions call the place `at` of a sequence.
    pub fn position(&self, at: usize) -> u32 {
        (at + self.loaded.model.config().shape.encoder_decoder().map_or(0, |e| e.first_position)) as u32
    }

    /// Which tokens an answer must or cannot have: what the model's files say, where the options say nothing.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for options that this model has no use for, and for ids outside its vocabulary.
    pub fn rules(&self, o: &GenerateOptions) -> Result<Rules> {
        let config = self.loaded.model.config();
        let given = [("decoder_start_token_id", o.decoder_start_token_id), ("forced_bos_token_id", o.forced_bos_token_id)];
        for (field, id) in given.into_iter().filter_map(|(field, id)| Some((field, id?))) {
            config.need_encoder_decoder(field)?;
            if id as usize >= config.vocab_size {
                return Err(Error::config(field, format!("is {id}, outside the vocabulary of {}", config.vocab_size)));
            }
        }
        let Some(e) = config.shape.encoder_decoder() else { return Ok(Rules::default()) };
        if o.prompt_lookup_num_tokens > 0 {
            return Err(Error::config(
                "prompt_lookup_num_tokens",
                "looks tokens up in a decoder's prompt: expected 0 for an encoder-decoder",
            ));
        }
        let mut rules = e.rules.clone();
        rules.decoder_start_token_id = o.decoder_start_token_id.or(rules.decoder_start_token_id).or(e.start.token());
        rules.forced_bos_token_id = o.forced_bos_token_id.or(rules.forced_bos_token_id);
        // What ends an answer may always come.
        rules.bad_words_ids.retain(|word| !matches!(word[..], [id] if self.ends.contains(&id)));
        Ok(rules)
    }

    /// What is read of a prompt: by the encoder, where there is one, and by the decoder. It makes room for the first of them.
    ///
    /// # Errors
    /// [`Error::ContextOverflow`], [`Error::BadConfig`] where nobody says what the decoder begins with, [`Error::OutOfMemory`].
    pub fn sides(&mut self, prompt: &[u32], rules: &Rules) -> Result<(Vec<u32>, Vec<u32>)> {
        if !self.has_source() {
            return Ok((Vec::new(), prompt.to_vec()));
        }
        if prompt.len() > self.context() {
            return Err(Error::ContextOverflow { needed: prompt.len(), available: self.context() });
        }
        let missing = || Error::config("decoder_start_token_id", "is missing, and the model does not say what its answers begin with");
        let start = rules.decoder_start_token_id.ok_or_else(missing)?;
        // What the decoder has read depends on the source.
        self.forget();
        self.reserve_source(prompt.len())?;
        Ok((prompt.to_vec(), vec![start]))
    }

    /// Rows of the encoder's pass over so many tokens: all of them see one another.
    pub fn source_rows(&self, tokens: usize) -> usize {
        bucket(tokens)
    }

    /// Makes room for the keys and values of so many tokens.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn reserve_source(&mut self, tokens: usize) -> Result<()> {
        let rows = self.source_rows(tokens);
        let fits = self.exec.is_processor() || rows as u64 * self.widest() <= self.exec.max_binding();
        if !fits || rows > self.most_slots() {
            return Err(Error::OutOfMemory(format!("a source of {tokens} tokens is read at once: bindings of this device are too small")));
        }
        if self.kept.as_ref().is_none_or(|k| k.cache.capacity() < rows) {
            let cache = self.loaded.model.cache(rows, self.loaded.kv_cache_dtype)?;
            self.exec.check()?;
            self.kept = Some(Kept { cache, len: 0 });
            // They are bound to the other one.
            self.forget_programs();
        }
        Ok(())
    }

    /// Runs the encoder over `ids`.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn read_source(&mut self, ids: &[u32], adapter: Option<&ActiveAdapter>) -> Result<()> {
        let (m, count) = (self.source_rows(ids.len()), ids.len());
        let program = self.program(m, End::Source, adapter)?;
        program.compile().await?;
        let rows = |of: &dyn Fn(usize) -> u32, else_: u32| -> Vec<u32> { (0..m).map(|i| if i < count { of(i) } else { else_ }).collect() };
        program.write("ids", &rows(&|i| ids[i], 0));
        program.write("positions", &rows(&|i| self.position(i), 0));
        program.write("slots", &rows(&|i| i as u32, NONE));
        program.write("spans", &(0..m).flat_map(|i| [0, if i < count { count as u32 } else { 0 }]).collect::<Vec<_>>());
        program.submit(&GenerateOptions::default().step(0, adapter.is_some()));
        program.check()?;
        if let Some(kept) = &mut self.kept {
            kept.len = count;
        }
        // So that an abort has an effect before the first token.
        self.exec.done().await
    }

    /// Writes what `m` rows see of the source: all of it, or nothing where `sees` says so.
    pub fn write_cross_spans(&self, program: &Program, m: usize, sees: impl Fn(usize) -> bool) {
        let Some(kept) = self.kept.as_ref().filter(|_| program.has_input("cross_spans")) else { return };
        let span = [NONE, 0, 0, kept.len as u32];
        program.write("cross_spans", &(0..m).flat_map(|i| if sees(i) { span } else { [0; 4] }).collect::<Vec<_>>());
    }
}
