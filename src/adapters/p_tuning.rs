//! P-tuning (Liu et al. 2021): embeddings of virtual tokens that a small network makes. It is trained, and PEFT saves what it has made.

use super::kind::{First, Kind, Made, wide};
use super::network::{Direction, Layer, Lstm, relu_layers, steps, uniform};
use super::random::Random;
use super::virtual_tokens::{TOKEN_TABLE, fill, parts_of, prompt_file};
use crate::Result;
use crate::data::Front;
use crate::formats::peft::{NamedTensor, PeftAdapter, PeftConfig, PromptConfig};
use crate::graph::{Arena, Desc, Exec, Tape, Tensor};
use crate::models::Model;

/// What PEFT's names begin with.
const PREFIX: &str = "prompt_encoder.default.";

/// The network with its table of inputs.
pub(super) struct PTuning {
    config: PromptConfig,
    key: String,
    arena: Arena,
    /// Inputs of the layer that each part belongs to, by which it begins; the table has none.
    fans: Vec<Option<usize>>,
    lstm: Option<Lstm>,
    layers: Vec<Layer>,
}

/// Names, shapes and inputs of an LSTM's parts, in PyTorch's order.
fn lstm_parts(width: usize, hidden: usize, layers: usize) -> Vec<(String, Vec<usize>, Option<usize>)> {
    let mut all = Vec::new();
    for layer in 0..layers {
        let inputs = if layer == 0 { width } else { 2 * hidden };
        for end in ["", "_reverse"] {
            let mut part =
                |kind: &str, shape: &[usize]| all.push((format!("lstm_head.{kind}_l{layer}{end}"), shape.to_vec(), Some(hidden)));
            part("weight_ih", &[4 * hidden, inputs]);
            part("weight_hh", &[4 * hidden, hidden]);
            part("bias_ih", &[4 * hidden]);
            part("bias_hh", &[4 * hidden]);
        }
    }
    all
}

impl PTuning {
    /// # Errors
    /// [`crate::Error::BadAdapter`] for an adapter of another model; [`crate::Error::OutOfMemory`].
    pub fn new(model: &Model, config: &PromptConfig) -> Result<PTuning> {
        let config = fill(model, config)?;
        let exec = model.exec();
        let (n, width) = (config.virtual_tokens(), model.config().hidden_size);
        let hidden = config.whole("encoder_hidden_size").unwrap_or(width);
        let depth = config.whole("encoder_num_layers").unwrap_or(2);
        let lstm = config.text("encoder_reparameterization_type") == Some("LSTM");
        // Widths between the linear layers.
        let widths = if lstm { vec![2 * hidden, 2 * hidden, width] } else { vec![width, hidden, hidden, width] };
        let mut parts = vec![("embedding.weight".to_string(), vec![n, width], None)];
        if lstm {
            parts.extend(lstm_parts(width, hidden, depth));
        }
        let at = parts.len();
        for (i, pair) in widths.windows(2).enumerate() {
            parts.push((format!("mlp_head.{}.weight", 2 * i), vec![pair[1], pair[0]], Some(pair[0])));
            parts.push((format!("mlp_head.{}.bias", 2 * i), vec![pair[1]], Some(pair[0])));
        }
        let shapes: Vec<_> = parts.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
        let arena = Arena::zeros(exec, "adapter", &shapes)?;
        let layer = |i: usize| Layer { weight: arena.parts[i].clone(), bias: arena.parts[i + 1].clone() };
        let direction = |i: usize| Direction {
            input: Layer { weight: arena.parts[i].clone(), bias: arena.parts[i + 2].clone() },
            hidden: Layer { weight: arena.parts[i + 1].clone(), bias: arena.parts[i + 3].clone() },
        };
        let lstm = match lstm {
            false => None,
            true => Some(Lstm {
                layers: (0..depth).map(|l| [direction(1 + 8 * l), direction(5 + 8 * l)]).collect(),
                dropout: config.number("encoder_dropout") as f32,
                steps: steps(exec, n)?,
                zero: Tensor::zeros(exec, "state", Desc::f32(&[1, hidden]))?,
            }),
        };
        let layers = (at..parts.len()).step_by(2).map(layer).collect();
        let key = format!(
            "{} {n} {width} {hidden} {:?} {:?}",
            config.kind.name(),
            lstm.as_ref().map(|l| l.layers.len()),
            lstm.as_ref().map(|l| l.dropout)
        );
        let fans = parts.into_iter().map(|p| p.2).collect();
        Ok(PTuning { config, key, arena, fans, lstm, layers })
    }

    /// Names and shapes of all that is trained.
    fn parts(&self) -> Vec<(String, Vec<usize>)> {
        self.arena.parts.iter().map(|p| (format!("{PREFIX}{}", p.name()), p.desc().shape.clone())).collect()
    }
}

impl Kind for PTuning {
    fn config(&self) -> PeftConfig {
        self.config.clone().into()
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn arena(&self) -> &Arena {
        &self.arena
    }

    /// As PyTorch begins embeddings, linear layers and LSTMs.
    fn begin(&self, exec: &Exec, first: &First) -> Result<()> {
        let mut random = Random::new(first.seed);
        for (part, fan) in self.arena.parts.iter().zip(&self.fans) {
            let count = part.desc().len();
            let values = match fan {
                Some(inputs) => uniform(&mut random, count, *inputs),
                None => (0..count).map(|_| random.normal()).collect(),
            };
            part.set_f64(exec, &values);
        }
        Ok(())
    }

    fn import(&self, exec: &Exec, adapter: &PeftAdapter) -> Result<()> {
        debug_assert!(self.parts()[0].0 == TOKEN_TABLE);
        let found = parts_of(adapter, &self.config, &self.parts())?;
        self.arena.parts.iter().zip(found).for_each(|(t, v)| t.set_f64(exec, &wide(v)));
        Ok(())
    }

    fn named(&self, parts: &[Vec<f32>]) -> Vec<NamedTensor> {
        let all = self.parts().into_iter().zip(parts);
        all.map(|((name, shape), values)| NamedTensor { name, shape, values: values.clone() }).collect()
    }

    fn encodes(&self) -> bool {
        true
    }

    fn file(&self, tables: &[Vec<f32>]) -> PeftAdapter {
        prompt_file(&self.config, tables)
    }

    fn front(&self) -> Front {
        Front::Tokens(self.config.virtual_tokens())
    }

    fn made(&self, tape: &mut Tape, train: bool) -> Result<Made> {
        let mut x = tape.tensor(&self.arena.parts[0]);
        if let Some(lstm) = &self.lstm {
            x = lstm.record(tape, x, train)?;
        }
        relu_layers(tape, &self.layers, x).map(Made::Tokens)
    }
}
