//! What `fledgling embed`, `fill-mask` and `classify` take.

use std::path::PathBuf;

use clap::Args;
use fledgling::models::Pooling;

use super::model_args::ModelArgs;

/// What is read, once or several times.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub struct TextsArgs {
    /// A text (may be given several times).
    #[arg(short, long, alias = "text", value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Vec<String>,
    /// Token ids in place of a text: 1,2,3 (may be given several times).
    #[arg(long, value_name = "IDS", value_parser = ids)]
    pub prompt_ids: Vec<Ids>,
    /// JSON lines: objects with a text, or with input_ids and perhaps token_type_ids, or plain strings. "-" reads standard input.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
}

/// The segments of what --prompt-ids gives.
#[derive(Args)]
pub struct TypesArgs {
    /// The segment of each of the --prompt-ids: 0,0,1 (as often as those). Without it all are of the first one.
    #[arg(long, value_name = "IDS", requires = "prompt_ids", value_parser = ids)]
    pub token_type_ids: Vec<Ids>,
}

/// Numbers with commas between them.
pub type Ids = std::sync::Arc<[u32]>;

fn ids(text: &str) -> Result<Ids, String> {
    let of = |s: &str| s.trim().parse::<u32>().map_err(|_| format!("{s:?} is no token id: expected 1,2,3"));
    text.split(',').map(of).collect()
}

#[derive(Args)]
pub struct EmbedArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub texts: TextsArgs,
    #[command(flatten)]
    pub types: TypesArgs,
    /// Which states a vector is made of: mean (of all tokens) or cls (the first one's). Without it what the folder's 1_Pooling says, else mean.
    #[arg(long, value_name = "POOLING", value_parser = Pooling::parse)]
    pub pooling: Option<Pooling>,
    /// Whether vectors get the length 1. Without it, whether the folder's modules.json says so.
    #[arg(long, value_name = "BOOL")]
    pub normalize: Option<bool>,
    /// Prints one JSON object per text: {"index", "tokens", "embedding": […]}; without it the vector alone, as a list.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct FillMaskArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub texts: TextsArgs,
    #[command(flatten)]
    pub types: TypesArgs,
    /// The id of the masked token; without it that of the tokenizer's [MASK] or <mask>.
    #[arg(long, value_name = "ID")]
    pub mask_id: Option<u32>,
    /// So many candidates for each.
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub top_k: usize,
    /// Prints one JSON object per text: {"index", "prompt_ids", "masks": [{"position", "candidates": [{"id", "token", "score"}]}]}
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct ClassifyArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub texts: TextsArgs,
    #[command(flatten)]
    pub types: TypesArgs,
    /// Prints one JSON object per text: {"index", "label", "score", "scores": {label: probability}, "logits"}, with "tokens" in place of them where every
    /// token is classified, and {"index", "score"} of a regression.
    #[arg(long)]
    pub json: bool,
}
