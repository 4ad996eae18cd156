//! Which model, with which adapter and mask: what several commands take.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use fledgling::data::Mask;
use fledgling::models::Quantization;

#[derive(Args)]
pub struct ModelArgs {
    /// A GGUF or safetensors file, or a folder as Transformers writes it.
    #[arg(short, long, value_name = "FILE")]
    pub model: PathBuf,
    /// Makes blocks of few bits of weights that the files have as floats, while they are loaded: q8_0, q4_0, q4_k, q6_k, iq4_nl, … Norms and biases
    /// stay floats; rows that are no whole blocks take a type that fits (Q4_K becomes Q5_0, Q6_K becomes Q8_0).
    #[arg(long, value_name = "TYPE", value_parser = Quantization::parse)]
    pub quantize: Option<Quantization>,
    /// A PEFT adapter folder.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    #[command(flatten)]
    pub mask: MaskArgs,
}

#[derive(Args)]
pub struct MaskArgs {
    /// Which keys a token sees: causal (itself and what stands before it), or prefix (the tokens of the prompt see one another, those of the answer
    /// what stands before them). Without it, what the adapter was trained with.
    #[arg(long, value_name = "MASK", value_parser = Mask::from_str)]
    pub mask: Option<Mask>,
}
