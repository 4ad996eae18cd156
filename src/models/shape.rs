//! Which of a Transformer's shapes a model has, and what an encoder has that a decoder has not.

use super::names::Role;
use crate::ops::Act;

/// Which tokens see which, and what the hidden states are for.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A token sees itself and those before it: what comes next is written.
    Decoder,
    /// All tokens see each other (Devlin et al. 2018).
    Encoder(Box<Encoder>),
}

impl Shape {
    /// As errors call it.
    pub fn name(&self) -> &'static str {
        match self {
            Shape::Decoder => "decoder",
            Shape::Encoder(_) => "encoder",
        }
    }

    /// The encoder's own part.
    pub fn encoder(&self) -> Option<&Encoder> {
        match self {
            Shape::Decoder => None,
            Shape::Encoder(e) => Some(e),
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
