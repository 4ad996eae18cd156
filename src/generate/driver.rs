//! Who chooses the tokens of a generation.

use super::beams::Beams;
use super::engine::End;
use super::options::GenerateOptions;
use crate::models::Rules;

/// How tokens are chosen.
pub(super) enum Driver {
    /// On the device, which feeds itself.
    Device,
    /// On the host, from the logits of every answer.
    Host,
    /// A beam's keys and values lie in the block of slots that `blocks` names; what each block holds is in `held`.
    Beams { beams: Box<Beams>, blocks: Vec<usize>, held: Vec<Vec<u32>> },
    /// On the device, several at once where they could be guessed.
    Lookup,
}

impl Driver {
    pub fn of(o: &GenerateOptions, rules: &Rules, prompt: &[u32], ends: &[u32], limit: usize) -> Driver {
        let lanes = o.lanes();
        if o.num_beams > 1 {
            let ends = if o.ignore_eos { &[] } else { ends };
            let beams = Box::new(Beams::new(o, rules, prompt, ends, limit));
            return Driver::Beams { beams, blocks: (0..lanes).collect(), held: vec![Vec::new(); lanes] };
        }
        match o {
            _ if o.prompt_lookup_num_tokens > 0 => Driver::Lookup,
            _ if o.no_repeat_ngram_size > 0 || o.top_logprobs > 0 || rules.choose() => Driver::Host,
            _ => Driver::Device,
        }
    }

    /// Does the host want the logits behind the prompt?
    pub fn wants_logits(&self) -> bool {
        matches!(self, Driver::Host | Driver::Beams { .. })
    }

    /// What the programs behind a prompt, and of the tokens behind it, end in.
    pub fn ends(o: &GenerateOptions, rules: &Rules) -> (End, End) {
        match Driver::of(o, rules, &[], &[], 1) {
            Driver::Device | Driver::Lookup => (End::SampleLast(o.n), End::Sample),
            Driver::Host | Driver::Beams { .. } => (End::Logits, End::Rows),
        }
    }
}
