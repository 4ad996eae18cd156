//! Models made of noise: what the shapes of `--random` are.

use serde_json::{Value, json};

use crate::args::Shape;
use fledgling::Result;
use fledgling::adapters::LoadedModel;
use fledgling::graph::Exec;
use fledgling::models::{Config, Model};

/// `config.json` of a shape.
fn config(shape: Shape) -> Value {
    let llama = |vocab: usize, hidden: usize, inner: usize, layers: usize, heads: usize, kv_heads: usize, theta: f64, context: usize| {
        json!({
            "model_type": "llama", "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "rope_theta": theta, "max_position_embeddings": context,
            "rms_norm_eps": 1e-5, "hidden_act": "silu", "tie_word_embeddings": true,
        })
    };
    match shape {
        Shape::Smollm2 => llama(49_152, 576, 1536, 30, 9, 3, 1e5, 8192),
        Shape::Llama3b => llama(128_256, 3072, 8192, 28, 24, 8, 5e5, 8192),
        Shape::Tiny => llama(512, 64, 128, 2, 4, 2, 1e4, 1024),
    }
}

/// A model of this shape; it has no tokenizer.
pub fn model(exec: &Exec, shape: Shape) -> Result<LoadedModel> {
    let name = match shape {
        Shape::Smollm2 => "random weights, shape of SmolLM2-135M",
        Shape::Llama3b => "random weights, shape of Llama 3.2 3B",
        Shape::Tiny => "random weights, two small layers",
    };
    let config = Config::from_json("config.json", &config(shape).to_string())?;
    Ok(LoadedModel::of(Model::random_q4_0(exec, config, 1)?, None, name))
}
