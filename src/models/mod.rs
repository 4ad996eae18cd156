//! Models: families and their configurations, parameter layout, what is recorded, loading.

mod blueprint;
mod config;
mod encoder;
mod families;
mod family;
mod heads;
mod loading;
mod merge;
mod model;
mod names;
mod packed;
mod quantize;
mod random;
mod reading;
mod registry;
mod rope;
mod sentence;
mod shape;
mod source;
mod stack;
mod tokenizer;
mod writing;

pub use blueprint::Blueprint;
pub use config::{Config, NormKind, QkNorm, Recipe};
pub use families::gpt2::Gpt2Config;
pub use family::Family;
pub use loading::{LoadOptions, Loaded, ModelInfo, ModelLoader, check_packing, check_weights, fit};
#[cfg(not(target_arch = "wasm32"))]
pub use loading::{folder_files, gguf_files, load_path};
pub use merge::GgufMerge;
pub use model::{CachedInputs, Judge, Judged, Model, TrainInputs};
pub use quantize::{GgufQuantize, Quantization};
pub use registry::{FAMILIES, supported};
pub use rope::{Rope, RopeScaling};
pub use sentence::{Pooling, SENTENCE_FILES, Sentence};
pub use shape::{Classifier, Encoder, EncoderDecoder, Problem, Rules, Scope, Shape, Squash, Start};
pub use stack::SourceInputs;
pub use tokenizer::{TOKENIZER_FILES, folder_tokenizer, gguf_tokenizer};
pub use writing::{FolderExport, GgufExport, Planned};
