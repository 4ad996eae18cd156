//! From the bytes of files to a model on a device.

mod check;
mod loaded;
mod loader;
mod parts;
#[cfg(not(target_arch = "wasm32"))]
mod path;

pub(super) use check::check_types;
pub use check::{check_packing, check_weights, fit};
pub use loaded::{Loaded, ModelInfo};
pub use loader::{LoadOptions, ModelLoader};
#[cfg(not(target_arch = "wasm32"))]
pub use parts::gguf_files;
#[cfg(not(target_arch = "wasm32"))]
pub use path::{folder_files, load_path};
