//! Arguments and their help.

use std::path::PathBuf;
use std::str::FromStr;

use super::search_args::SearchArgs;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use fledgling::device::DeviceChoice;
use fledgling::models::Quantization;
use fledgling::nn::KvCacheDtype;

use super::model_args::{MaskArgs, ModelArgs};

/// Runs and trains small language models on the GPU at hand, or on the processor.
#[derive(Parser)]
#[command(name = "fledgling", version, about, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Where to run: auto (a real GPU; else whichever is faster of a software adapter and the processor), gpu, cpu.
    #[arg(long, global = true, value_name = "DEVICE", default_value = "auto", value_parser = DeviceChoice::from_str)]
    pub device: DeviceChoice,
    /// Threads of the processor's own kernels.
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Part of the name of the GPU adapter to use, where there are several.
    #[arg(long, global = true, value_name = "NAME")]
    pub gpu: Option<String>,
    /// Kernel variants to use in place of the measured ones: class=variant,…
    #[arg(long, global = true, value_name = "LIST")]
    pub kernels: Option<String>,
    /// Adapter features to do without: subgroups, timestamps.
    #[arg(long, global = true, value_name = "LIST", value_delimiter = ',')]
    pub without: Vec<String>,
}

const EXIT_CODES: &str = "\
Exit status:
  0    success
  1    anything else
  2    usage: an unknown option, an impossible value, a configuration field that cannot be
  3    a file, dataset row, adapter or prompt that cannot be used; reading or writing failed
  4    no usable GPU adapter
  5    the device was lost, ran out of memory or refused a kernel
  6    training met a number that is not finite
  130  interrupted
Errors are one line on standard error: fledgling: error[CODE]: message
With --json they are an object on standard output as well: {\"event\": \"error\", \"error\": {\"code\", \"message\", \"status\"}}";

#[derive(Subcommand)]
pub enum Command {
    /// Continues a prompt or answers a chat message.
    Generate(GenerateArgs),
    /// Talks with a model: turn after turn, with adapters to choose from.
    Chat(ChatArgs),
    /// Trains an adapter by supervised fine-tuning or preferences.
    Tune(Box<TuneArgs>),
    /// Says what a training will take in memory, and makes it fit.
    Plan(Box<PlanArgs>),
    /// Writes a training for another engine to go on with.
    Export(Box<ExportArgs>),
    /// Says what is in a model or adapter and what it will need in memory.
    Inspect(InspectArgs),
    /// Measures loading, prefill, decoding and training steps.
    Bench(BenchArgs),
    /// Prints the logits after the last token of a prompt; of an encoder, those of every token.
    Logits(LogitsArgs),
    /// Says how likely texts are, or which scores a reward model gives them.
    Score(ScoreArgs),
    /// Makes vectors of texts with an encoder.
    Embed(super::encode_args::EmbedArgs),
    /// Says what may stand in place of masked tokens.
    FillMask(super::encode_args::FillMaskArgs),
    /// Says of which class texts are, with an encoder that has a classifier.
    Classify(super::encode_args::ClassifyArgs),
    /// Translates a text, or sums it up: what an encoder-decoder makes of it.
    Translate(TranslateArgs),
    /// Writes a GGUF with an adapter added to its weights.
    Merge(MergeArgs),
    /// Writes a weighted combination of LoRA adapters, as PEFT's add_weighted_adapter makes it.
    Combine(CombineArgs),
    /// Writes a GGUF with its float weights in blocks of few bits.
    Quantize(QuantizeArgs),
    /// Shows the tokens of texts, or the text of token ids. Reads no weights.
    Tokenize(TokenizeArgs),
    /// Prints a script that completes commands and options in a shell: fledgling completions bash > FILE
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Is JSON asked for?
    pub fn json(&self) -> bool {
        match self {
            Command::Generate(a) => a.json,
            Command::Chat(_) | Command::Completions { .. } => false,
            Command::Tune(a) => a.json,
            Command::Plan(a) => a.json,
            Command::Export(a) => a.json,
            Command::Inspect(a) => a.json,
            Command::Bench(a) => a.json,
            Command::Logits(a) => a.json,
            Command::Score(a) => a.json,
            Command::Embed(a) => a.json,
            Command::FillMask(a) => a.json,
            Command::Classify(a) => a.json,
            Command::Translate(a) => a.json,
            Command::Merge(a) => a.json,
            Command::Combine(a) => a.json,
            Command::Quantize(a) => a.json,
            Command::Tokenize(a) => a.json,
        }
    }
}

/// What is to be continued.
#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["prompt", "prompt_ids"])))]
pub struct PromptArgs {
    /// The text to continue; with --chat, the user's message. "-" reads it from standard input.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Token ids in place of a text: 1,2,3
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub prompt_ids: Option<Vec<u32>>,
}

#[derive(Args)]
pub struct CacheArgs {
    /// What keys and values are stored as: f32, or f16 (half the memory; log-probabilities are then those of PyTorch to two or three digits).
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = KvCacheDtype::from_str)]
    pub kv_cache_dtype: KvCacheDtype,
}

/// How tokens are chosen, and where an answer ends.
#[derive(Args)]
pub struct SamplingArgs {
    /// Most tokens of an answer.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 256)]
    pub max_new_tokens: usize,
    /// 0 = greedy.
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Only the K likeliest tokens.
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub top_k: Option<u32>,
    /// Only the likeliest tokens that hold this share.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f32>,
    /// Only tokens at least this likely, relative to the likeliest.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub min_p: Option<f32>,
    /// Makes tokens that have occurred less likely (1 = no change).
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub repetition_penalty: Option<f32>,
    /// Of the random numbers: 0 to 4294967295.
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..))]
    pub seed: u32,
    /// Ends an answer (may be given several times).
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

#[derive(Args)]
pub struct ChatArgs {
    /// A GGUF or safetensors file, or a folder as Transformers writes it.
    #[arg(short, long, value_name = "FILE")]
    pub model: PathBuf,
    /// Makes blocks of few bits of weights that the files have as floats, while they are loaded (as for generate).
    #[arg(long, value_name = "TYPE", value_parser = Quantization::parse)]
    pub quantize: Option<Quantization>,
    /// A PEFT adapter folder (may be given several times: /adapter NAME chooses; the first answers until then).
    #[arg(long, value_name = "DIR")]
    pub adapter: Vec<PathBuf>,
    /// A system message before the first turn.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub mask: MaskArgs,
}

#[derive(Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// A file of prompts in place of one: JSON objects with prompt (a text, or messages, which go through the chat template) or prompt_ids. Each is
    /// answered with --n candidates, as one JSON line with the row's columns and "candidates"; row i takes the seed --seed + i. "-" reads standard
    /// input.
    #[arg(long, value_name = "FILE", group = "what")]
    pub data: Option<PathBuf>,
    /// Puts the prompt through the model's chat template.
    #[arg(long, conflicts_with = "prompt_ids")]
    pub chat: bool,
    /// A system message before the prompt.
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub system: Option<String>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub search: SearchArgs,
    /// Candidates from one prefill, decoded as one batch; of a beam search, the best beams.
    #[arg(long, visible_alias = "num-return-sequences", value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub n: u16,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Prints one JSON object instead of the text.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct TranslateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub search: SearchArgs,
    /// Translations of the text; of a beam search, the best beams.
    #[arg(long, visible_alias = "num-return-sequences", value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub n: u16,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Prints one JSON object, as `generate` does, instead of the text (of the token ids, where the model's folder has no tokenizer).
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct TuneArgs {
    #[arg(long, value_name = "METHOD", value_parser = super::fields::method, help = super::fields::methods())]
    pub method: &'static str,
    /// A GGUF or safetensors file, or a folder as Transformers writes it.
    #[arg(short, long, value_name = "FILE")]
    pub model: PathBuf,
    /// Makes blocks of few bits of weights that the files have as floats, while they are loaded: q8_0, q4_0, q4_k, q6_k, iq4_nl, … Norms and biases
    /// stay floats; rows that are no whole blocks take a type that fits (Q4_K becomes Q5_0, Q6_K becomes Q8_0).
    #[arg(long, value_name = "TYPE", value_parser = Quantization::parse)]
    pub quantize: Option<Quantization>,
    /// JSONL or a JSON array in TRL's columns: messages; prompt, completion; text; input_ids (labels, prefix_length) · prompt, chosen, rejected; prompt_ids,
    /// chosen_ids, rejected_ids (weight) · rankings: prompt, answers, ranks · KTO: prompt, completion, label; prompt_ids, completion_ids, label ·
    /// reward models: as preferences and rankings, also with a margin; whole sequences chosen_ids, rejected_ids (margin); ids, ranks
    /// · instruction, output (input) · GRPO, RLOO, online DPO: prompt or prompt_ids with columns for the judges; or replayed: prompt_ids, completion_ids
    /// (lists), rewards. CSV and TSV files have them in their first line. Other columns are refused by name. "-" reads standard input.
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    #[command(flatten)]
    pub mask: MaskArgs,
    /// What a column is called in the files: --column prompt=question --column completion=answer. Columns that are then neither named nor known are left
    /// out.
    #[arg(long = "column", value_name = "COLUMN=NAME", value_parser = super::fields::column)]
    pub columns: Vec<(String, String)>,
    /// Rows that are judged and never learned from, of the same kind; see --eval-strategy, and --eval-split to hold some of the data out instead.
    #[arg(long, value_name = "FILE")]
    pub eval_data: Option<PathBuf>,
    /// Folder for the adapter (adapter_config.json, adapter_model.safetensors).
    #[arg(
        long,
        value_name = "DIR",
        required = false,
        required_unless_present = "gradients",
        default_value_if("gradients", clap::builder::ArgPredicate::IsPresent, ".")
    )]
    pub out: PathBuf,
    /// Writes the next update's gradients under PEFT's names to a safetensors file, and makes no update. They are summed over the update's passes and
    /// not clipped, as PyTorch has them before its optimizer.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "save_steps"])]
    pub gradients: Option<PathBuf>,
    /// TRL's and PEFT's field names in one JSON object (LoRA's also under peft_config).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Continues this adapter; methods that have a reference are measured against it where it changes the model (see --reference).
    #[arg(long, value_name = "DIR")]
    pub init_adapter: Option<PathBuf>,
    /// The kind of adapter (docs/methods.md): lora, prompt_tuning, p_tuning, prefix_tuning.
    #[arg(long, value_name = "KIND", value_parser = super::fields::adapter_kind)]
    pub peft: Option<&'static str>,
    #[arg(long, value_name = "RULE", help = super::reward::help())]
    pub reward: Vec<String>,
    /// A reward model that rewards sampled completions: the folder that `tune --method reward` wrote, on this same model.
    #[arg(long, value_name = "DIR")]
    pub reward_model: Option<PathBuf>,
    /// A program that rewards sampled completions. It gets one line of JSON for each round (prompts, completions, completion_ids, columns: lists of one
    /// length) and answers with one line: a list of numbers, or {"error": TEXT, "index": I}.
    #[arg(long, value_name = "COMMAND")]
    pub reward_command: Vec<String>,
    /// Seconds that such a program may take for a line.
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    pub reward_timeout: f64,
    /// Writes what was sampled, rewarded and known of it as JSON lines, which --data reads to replay the same rounds.
    #[arg(long, value_name = "FILE")]
    pub rollouts: Option<PathBuf>,
    /// Writes the adapter behind every round as a folder of its own (round-0, round-1, …).
    #[arg(long, value_name = "DIR")]
    pub keep_rounds: Option<PathBuf>,
    /// Bytes (2000000000, 512M, 2G) that model and training may take together: fewer rows at once, checkpointing, fp16 and a shorter max_length are
    /// chosen, in this order, where they are needed and not set (see `fledgling plan`).
    #[arg(long, value_name = "BYTES", value_parser = super::units::bytes)]
    pub memory: Option<u64>,
    /// Takes the rows as they come.
    #[arg(long)]
    pub no_shuffle: bool,
    /// Writes OUT/checkpoint.safetensors every N updates.
    #[arg(long, value_name = "N")]
    pub save_steps: Option<u64>,
    /// Goes on from a checkpoint.
    #[arg(long, value_name = "FILE", conflicts_with = "init_adapter")]
    pub resume_from_checkpoint: Option<PathBuf>,
    /// JSON lines: {"event": "step", …} for every update, named as TRL names them (null where an update has no such value), {"event": "evaluation",
    /// "eval_loss": …} for every evaluation, then one
    /// {"event": "end", …} or {"event": "error", …}.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub fields: super::fields::Fields,
}

/// What a training is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Hugging Face's TRL: PEFT adapter, JSONL, a script and its requirements.
    Trl,
}

#[derive(Args)]
pub struct ExportArgs {
    /// Where it will be continued.
    #[arg(long, value_name = "WHERE")]
    pub to: Format,
    /// Folder for all of it.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[arg(long, value_name = "METHOD", value_parser = super::fields::method, help = super::fields::methods())]
    pub method: &'static str,
    /// The base model that the script loads; without it the one that the adapter names.
    #[arg(short, long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// The adapter as it is now.
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,
    /// The adapter that training began from, where the method is measured against it.
    #[arg(long, value_name = "DIR")]
    pub init_adapter: Option<PathBuf>,
    /// The checkpoint behind the adapter: rows and learning rate go on from there. Without it both begin.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// The rows of the training.
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// TRL's and PEFT's field names in one JSON object.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Prints one JSON object: {"out", "files", "model"}
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub fields: super::fields::Fields,
}

#[derive(Args)]
pub struct PlanArgs {
    #[arg(long, value_name = "METHOD", value_parser = super::fields::method, help = super::fields::methods())]
    pub method: &'static str,
    /// A GGUF or safetensors file, or a folder as Transformers writes it.
    #[arg(short, long, value_name = "FILE")]
    pub model: PathBuf,
    /// Makes blocks of few bits of weights that the files have as floats, while they are loaded (as for tune).
    #[arg(long, value_name = "TYPE", value_parser = Quantization::parse)]
    pub quantize: Option<Quantization>,
    /// The rows that it will be trained on; without them all are taken to be as long as max_length allows.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// TRL's and PEFT's field names in one JSON object (LoRA's also under peft_config).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The adapter that would be continued.
    #[arg(long, value_name = "DIR")]
    pub init_adapter: Option<PathBuf>,
    /// Bytes (2000000000, 512M, 2G) that model and training may take together; left out, what a processor has free, and on a GPU its largest buffer.
    #[arg(long, value_name = "BYTES", value_parser = super::units::bytes)]
    pub memory: Option<u64>,
    /// Prints one JSON object: {"bytes": {…}, "chosen": {…}, "config": {…}, "notes": […], …}
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub fields: super::fields::Fields,
}

#[derive(Args)]
pub struct InspectArgs {
    /// A GGUF or safetensors file, a model folder or an adapter folder.
    pub file: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Bytes per second of a large copy, operations per second of fused multiply-adds in registers.
    Peaks,
    Prefill,
    Decode,
    /// A LoRA step.
    Lora,
    /// Rows of mixed lengths, learned with and without packing, in turns: tokens of use per second.
    Packing,
    /// Memory and time of a LoRA step of 1 × 512 with and without checkpointing, in turns.
    Checkpointing,
    /// A DPO step over an SFT step of the same tokens, and eight answers from one prefill over eight by themselves. Only where it is named.
    Cost,
    /// A step of full training of a GPT with 0.80 M parameters.
    Gpt,
    /// A square f32 matmul.
    Matmul,
}

/// The shape of a model that is filled with noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// SmolLM2-135M.
    Smollm2,
    /// Llama 3.2 3B.
    #[value(name = "llama-3b")]
    Llama3b,
    /// Two small layers, to try the benchmark itself.
    Tiny,
}

#[derive(Args)]
pub struct BenchArgs {
    #[arg(long, value_name = "FILE", default_value = ".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf")]
    pub model: PathBuf,
    /// Makes blocks of few bits of weights that the files have as floats, while they are loaded: q8_0, q4_0, q4_k, q6_k, iq4_nl, … Norms and biases
    /// stay floats; rows that are no whole blocks take a type that fits (Q4_K becomes Q5_0, Q6_K becomes Q8_0).
    #[arg(long, value_name = "TYPE", value_parser = Quantization::parse)]
    pub quantize: Option<Quantization>,
    /// In place of a file: random Q4_0 weights in the shape of a known model.
    #[arg(long, value_name = "SHAPE", conflicts_with = "model")]
    pub random: Option<Shape>,
    /// Only these parts.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Tokens of the prompt.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = at_least::<1>)]
    pub prompt_length: usize,
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Tokens decoded behind it.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least::<2>)]
    pub new_tokens: usize,
    /// Rows of a LoRA step.
    #[arg(long, value_name = "B", default_value_t = 1, value_parser = at_least::<1>)]
    pub lora_batch: usize,
    /// Tokens of each row of a LoRA step.
    #[arg(long, value_name = "T", default_value_t = 128, value_parser = at_least::<2>)]
    pub lora_length: usize,
    /// Whether a LoRA step computes activations again in place of keeping them; left out, the plan's size decides.
    #[arg(long, value_name = "BOOL")]
    pub gradient_checkpointing: Option<bool>,
    /// Activations of a LoRA step wait for the backward pass in half precision.
    #[arg(long)]
    pub fp16: bool,
    /// Leaves recording and compiling to the first request, as a measure of what warming up is worth.
    #[arg(long)]
    pub no_warm_up: bool,
    /// Rows and columns of the matmul (4096 on a GPU, 512 where a processor does the work).
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    pub matmul: Option<usize>,
    /// Prints only the JSON object, without the table.
    #[arg(long)]
    pub json: bool,
    /// Writes the JSON object to a file, too.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// What each kernel of a prefill, of a decoded token and of a LoRA step takes (on a GPU: needs timestamp queries).
    #[arg(long)]
    pub profile: bool,
    /// Writes a page that shows the same: dispatches over time, and what is in memory when. Implies --profile.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Measures a second setting of the kernels in turns with the first (that of --kernels, or what was measured): class=variant,… on top of it.
    #[arg(long, value_name = "LIST", conflicts_with_all = ["profile", "html", "no_warm_up"])]
    pub against: Option<String>,
    /// Compares two files that --out wrote, and measures nothing.
    #[arg(long, value_names = ["A", "B"], num_args = 2)]
    pub compare: Vec<PathBuf>,
}

/// A whole number that is large enough.
fn at_least<const N: usize>(s: &str) -> Result<usize, String> {
    s.parse().ok().filter(|n| *n >= N).ok_or_else(|| format!("expected a whole number from {N} on"))
}

#[derive(Args)]
pub struct LogitsArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Of an encoder: the segment of each of the --prompt-ids (0,0,1).
    #[arg(long, value_name = "IDS", value_delimiter = ',', requires = "prompt_ids")]
    pub token_type_ids: Option<Vec<u32>>,
    /// Of an encoder-decoder, whose encoder reads the prompt: what its decoder has read, from its first token on (the model's own where nothing is given).
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub decoder_ids: Option<Vec<u32>>,
    /// Prints one JSON object: {"last_logits": […]}; of an encoder {"logits": […]}, those of every token, or of its classifier.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("scored").required(true).multiple(true).args(["text", "data"])))]
pub struct ScoreArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// A text, as it stands (may be given several times).
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub text: Vec<String>,
    /// Rows as for `tune --method sft`; for a reward model also as for `tune --method reward`: then with the share of pairs that it orders rightly,
    /// and how true its probabilities are. "-" reads standard input.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Prints one JSON object per text or row: {"event": "score", "row", "tokens", "logprob", "perplexity"} or {…, "scores"}, and one at the end.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct QuantizeArgs {
    /// The GGUF to read (tensors that are in blocks already are copied), or a folder as Transformers writes it.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// What float matrices become: q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, iq4_xs, mxfp4, f16, bf16, each for all of them; or
    /// a mix of llama.cpp's with more bits where they matter most: q3_k_s, q3_k_m, q3_k_l, q4_k_s, q4_k_m, q5_k_s, q5_k_m. Norms, biases and
    /// positions stay floats, and rows that are no whole blocks take a type that fits.
    #[arg(long = "type", value_name = "TYPE", value_parser = Quantization::parse)]
    pub quantization: Quantization,
    /// The GGUF to write. Its metadata is that of the old one with another general.file_type; that of a folder is what llama.cpp's converter writes.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Prints one JSON object: {"out", "bytes", "tensors": {type: number}}
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct CombineArgs {
    /// A PEFT adapter folder and its weight; several of them.
    #[arg(long, value_name = "DIR:WEIGHT", required = true, value_parser = weighted)]
    pub adapter: Vec<(PathBuf, f64)>,
    /// linear: weighted sums of A and of B, of one rank; cat: exact, of the sum of the ranks; svd: exact, and then cut to a rank.
    #[arg(long = "type", value_name = "TYPE", default_value = "svd", value_parser = ["linear", "cat", "svd"])]
    pub kind: String,
    /// The rank of svd; without it, the largest of the adapters'.
    #[arg(long, value_name = "N")]
    pub rank: Option<usize>,
    /// Folder for the adapter (adapter_config.json, adapter_model.safetensors).
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Prints one JSON object: {"out", "modules", "r", "parameters"}
    #[arg(long)]
    pub json: bool,
}

/// A folder with a number behind the last colon.
fn weighted(text: &str) -> Result<(PathBuf, f64), String> {
    let (folder, weight) = text.rsplit_once(':').ok_or("expected DIR:WEIGHT")?;
    let weight = weight.parse::<f64>().ok().filter(|w| w.is_finite()).ok_or_else(|| format!("{weight:?} is no weight"))?;
    Ok((PathBuf::from(folder), weight))
}

#[derive(Args)]
pub struct MergeArgs {
    /// The GGUF that the adapter was trained on.
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// A PEFT adapter folder.
    #[arg(long, value_name = "DIR")]
    pub adapter: PathBuf,
    /// The GGUF to write. Quantized weights that the adapter changes become F16, everything else keeps its type.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Prints one JSON object: {"out", "bytes", "merged": [modules], "widened_to_f16"}
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(group(ArgGroup::new("from").required(true).args(["model", "tokenizer"])))]
#[command(group(ArgGroup::new("input").required(true).multiple(true).args(["text", "data", "decode"])))]
pub struct TokenizeArgs {
    /// A GGUF, or a folder as Transformers writes it.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// A tokenizer.json or a SentencePiece model by itself, or a folder with either, a vocab.txt or Marian's files, and the tokenizer_config.json.
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// A text (may be given several times).
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub text: Vec<String>,
    /// A second text that belongs to each: a passage to a question, say.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, requires = "text")]
    pub text_pair: Option<String>,
    /// JSON lines: objects with a text (and a text_pair), or plain strings. "-" reads standard input.
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Token ids to decode: 1,2,3 (may be given several times).
    #[arg(long, value_name = "IDS")]
    pub decode: Vec<String>,
    /// Adds the tokens that belong around every text, such as bos.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub add_special_tokens: bool,
    /// Leaves special tokens out of the decoded text.
    #[arg(long, value_name = "BOOL", default_value_t = false, action = clap::ArgAction::Set)]
    pub skip_special_tokens: bool,
    /// Prints one JSON object per text: {"text", "ids", "tokens", "offsets", "type_ids", "decoded"}; offsets count characters.
    #[arg(long)]
    pub json: bool,
}
