//! What nearly all encoders say of themselves in a `config.json`.

use serde_json::Value;

use super::json::{Json, activation};
use crate::models::config::{Config, NormKind, Recipe};
use crate::models::shape::{Classifier, Encoder, Problem, Scope, Shape};
use crate::ops::Act;
use crate::{Error, Result};

/// Turns sizes that were read into an encoder as BERT has it: LayerNorm behind each branch and its sum, biases everywhere, learned positions.
///
/// # Errors
/// [`Error::BadConfig`] with the field.
pub fn bert(j: &Json<'_>, mut c: Config) -> Result<Config> {
    j.only("position_embedding_type", "absolute")?;
    j.only("is_decoder", false)?;
    j.only("add_cross_attention", false)?;
    c.recipe = Recipe::POST_SUM;
    c.norm = NormKind::Layer { bias: true };
    c.norm_eps = j.opt_number("layer_norm_eps")?.unwrap_or(1e-12) as f32;
    (c.attention_bias, c.attention_out_bias, c.mlp_bias) = (true, true, true);
    c.tie_word_embeddings = j.flag("tie_word_embeddings", true)?;
    c.hidden_act = activation(j.text("hidden_act").unwrap_or("gelu"))?;
    let act = c.hidden_act;
    c.shape = shape(j, act)?;
    Ok(c)
}

/// An encoder's own part, for the family to complete.
///
/// # Errors
/// As [`bert`].
pub fn shape(j: &Json<'_>, masked_act: Act) -> Result<Shape> {
    Ok(Shape::Encoder(Box::new(Encoder {
        first_position: 0,
        type_vocab_size: 0,
        masked: false,
        masked_act,
        dense_bias: true,
        pooler: false,
        classifier: classifier(j)?,
        classifies: false,
        classifier_dense: None,
        tokens_dense: false,
    })))
}

/// Changes the encoder's own part.
pub fn with(mut c: Config, change: impl FnOnce(&mut Encoder)) -> Config {
    if let Shape::Encoder(e) = &mut c.shape {
        change(e);
    }
    c
}

/// The class of Transformers that wrote the file.
fn architecture<'a>(j: &Json<'a>) -> &'a str {
    j.get("architectures").and_then(Value::as_array).and_then(|a| a.first()).and_then(Value::as_str).unwrap_or_default()
}

/// Notes why a classifier cannot be used.
pub fn refuse(c: &mut Classifier, field: &str, why: String) {
    c.refused = Some((field.to_string(), why));
}

/// The classification head that the file tells of. Transformers' own default is two classes.
fn classifier(j: &Json<'_>) -> Result<Classifier> {
    let scope = if architecture(j).ends_with("ForTokenClassification") { Scope::Tokens } else { Scope::Sequence };
    let names = j.get("id2label").and_then(Value::as_object);
    let count = match (names, j.opt_size("num_labels")?) {
        (Some(names), _) => names.len(),
        (None, Some(n)) => n,
        (None, None) => 2,
    };
    let mut c = Classifier::of(scope, count.min(1 << 17));
    for (i, label) in c.labels.iter_mut().enumerate() {
        if let Some(name) = names.and_then(|n| n.get(&i.to_string())) {
            *label = name.as_str().ok_or_else(|| Error::config("id2label", format!("holds {name}, expected a text")))?.to_string();
        }
    }
    match j.text("problem_type") {
        None => {}
        Some("regression") if count == 1 => c.problem = Problem::Regression,
        Some("single_label_classification") => c.problem = Problem::Classes,
        Some("regression") => refuse(&mut c, "problem_type", format!("is regression of {count} numbers (only one is supported)")),
        Some(other) => refuse(&mut c, "problem_type", format!("{other:?} is not supported (regression, single_label_classification)")),
    }
    Ok(c)
}
