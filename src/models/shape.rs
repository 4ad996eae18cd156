//! Which of a Transformer's shapes a model has, and what an encoder has that a decoder has not.

use super::names::{Names, Role};
use crate::ops::Act;

/// Which tokens see which, and what the hidden states are for.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A token sees itself and those before it: what comes next is written.
    Decoder,
    /// All tokens see each other (Devlin et al. 2018).
    Encoder(Box<Encoder>),
    /// A decoder that reads what an encoder makes of another sequence (Vaswani et al. 2017).
    EncoderDecoder(Box<EncoderDecoder>),
}

impl Shape {
    /// As errors call it.
    pub fn name(&self) -> &'static str {
        match self {
            Shape::Decoder => "decoder",
            Shape::Encoder(_) => "encoder",
            Shape::EncoderDecoder(_) => "encoder-decoder",
        }
    }

    /// The same, in a sentence.
    pub fn with_article(&self) -> &'static str {
        match self {
            Shape::Decoder => "a decoder",
            Shape::Encoder(_) => "an encoder",
            Shape::EncoderDecoder(_) => "an encoder-decoder",
        }
    }

    /// The encoder's own part.
    pub fn encoder(&self) -> Option<&Encoder> {
        match self {
            Shape::Encoder(e) => Some(e),
            Shape::Decoder | Shape::EncoderDecoder(_) => None,
        }
    }

    /// What an encoder-decoder has of its own.
    pub fn encoder_decoder(&self) -> Option<&EncoderDecoder> {
        match self {
            Shape::EncoderDecoder(e) => Some(e),
            Shape::Decoder | Shape::Encoder(_) => None,
        }
    }
}

/// What a head's dense layer is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squash {
    Tanh,
    Act(Act),
}

/// What a classifier judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A sequence, by its first token.
    Sequence,
    /// Every token.
    Tokens,
}

/// What is asked of a classifier's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// One number, near the label.
    Regression,
    /// The likeliest of several classes.
    Classes,
}

/// A classification head.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    pub scope: Scope,
    pub problem: Problem,
    /// What each of its numbers stands for, `LABEL_<i>` where the files do not say.
    pub labels: Vec<String>,
    /// Field and reason, where the files ask for one that is not supported: who uses it is told, other heads are there.
    pub refused: Option<(String, String)>,
}

impl Classifier {
    /// One for so many classes; one number alone is a regression.
    pub fn of(scope: Scope, count: usize) -> Classifier {
        let problem = if count == 1 { Problem::Regression } else { Problem::Classes };
        Classifier { scope, problem, labels: (0..count).map(|i| format!("LABEL_{i}")).collect(), refused: None }
    }
}

/// What an encoder has of its own. Which heads there are is known by the weights: see [`super::Config::fit`].
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    /// Rows of the table of positions in front of the first one (RoBERTa: the padding token's id + 1).
    pub first_position: usize,
    /// Kinds of segments; 0 = none are told apart.
    pub type_vocab_size: usize,
    /// Is there a head that fills masked tokens?
    pub masked: bool,
    /// Activation inside that head, and whether its dense layer has a bias.
    pub masked_act: Act,
    pub dense_bias: bool,
    /// Is there a dense layer over the first token's state?
    pub pooler: bool,
    /// The classification head, or what one would be like.
    pub classifier: Classifier,
    /// Is there one?
    pub classifies: bool,
    /// The dense layer before the classifier of sequences and what follows it; `None` = the masked head's.
    pub classifier_dense: Option<(Role, Squash)>,
    /// Does the layer before the classifier stand before that of tokens, too?
    pub tokens_dense: bool,
}

/// What an encoder-decoder has of its own. The configuration around it is the decoder's; both stacks read one table of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderDecoder {
    /// What the encoder's stack calls things.
    pub names: &'static Names,
    pub layers: usize,
    pub heads: usize,
    pub intermediate_size: usize,
    /// Rows of the tables of positions in front of the first one.
    pub first_position: usize,
    /// Positions are sines and cosines, which no file holds: all sines, then all cosines (Marian).
    pub sinusoidal: bool,
    /// What the decoder's tokens begin with.
    pub start: Start,
    /// What the decoder reads in the place of a token that is not asked for.
    pub pad: u32,
    pub rules: Rules,
}

/// Which tokens an answer must or cannot have, by the names of Transformers' GenerationConfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What the decoder reads before an answer, where that is not what it read in training.
    pub decoder_start_token_id: Option<u32>,
    /// The first token of an answer (mBART: the language).
    pub forced_bos_token_id: Option<u32>,
    /// One of these ends an answer that is as long as it may be; none = it is cut.
    pub forced_eos_token_id: Vec<u32>,
    /// Runs of tokens that no answer holds.
    pub bad_words_ids: Vec<Vec<u32>>,
}

impl Rules {
    /// Do they say anything of which tokens an answer has?
    pub fn choose(&self) -> bool {
        self.forced_bos_token_id.is_some() || !self.forced_eos_token_id.is_empty() || !self.bad_words_ids.is_empty()
    }
}

/// What the decoder reads before the first token that it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// `decoder_start_token_id`.
    Token(u32),
    /// The last token of the target, its language (mBART); an answer begins with the token given.
    Last(Option<u32>),
}

impl Start {
    /// What the decoder reads to learn `target`: it, one place later. `pad` is none of a language.
    pub fn shifted(self, target: &[u32], pad: u32) -> Vec<u32> {
        let first = match self {
            Start::Token(id) => Some(id),
            // As Transformers counts it.
            Start::Last(_) => target.iter().filter(|id| **id != pad).count().checked_sub(1).map(|i| target[i]),
        };
        first.into_iter().chain(target.iter().copied()).take(target.len()).collect()
    }

    /// What an answer begins with.
    pub fn token(self) -> Option<u32> {
        match self {
            Start::Token(id) => Some(id),
            Start::Last(id) => id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_one_place_later() {
        assert_eq!(Start::Token(9).shifted(&[1, 2, 3], 0), [9, 1, 2]);
        assert_eq!(Start::Last(Some(7)).shifted(&[1, 2, 3], 0), [3, 1, 2]);
        assert_eq!((Start::Token(9).shifted(&[], 0), Start::Last(None).token()), (vec![], None));
    }
}
