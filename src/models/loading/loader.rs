//! From the bytes of a file to weights on the device, pushed in pieces of any size. Nothing larger than a few MiB is ever held on
//! the host: rows go to their buffers as they arrive.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use super::check::{check_packing, check_type, check_types, check_weights, fit, head_norms, is_gguf, path_of};
use super::loaded::{Loaded, info};
use super::parts::PartsInTurn;
use crate::data::Mask;
use crate::formats::{Container, Event, StreamReader, TensorInfo};
use crate::graph::Exec;
use crate::models::names::{Role, Rows};
use crate::models::quantize::{Quantization, Types};
use crate::models::tokenizer::{folder_tokenizer, gguf_tokenizer};
use crate::models::{Config, Model, Sentence};
use crate::nn::{KvCacheDtype, transpose};
use crate::tensor::{DType, dequantize, quantize};
use crate::text::without_bom;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Longest context to run with; the model's own if it is shorter (or this is `None`).
    pub context_length: Option<usize>,
    /// All weights as F32 in one buffer, for full training.
    pub trainable: bool,
    /// The model's name; from the file where it says one.
    pub name: Option<String>,
    /// Compute the SHA-256 of the (last) weight file.
    pub sha256: bool,
    /// What generators keep keys and values as.
    pub kv_cache_dtype: KvCacheDtype,
    /// Which keys a token sees.
    pub mask: Mask,
    /// What matrices become that the files have as floats; rows are quantized as they arrive.
    pub quantize: Option<Quantization>,
}

/// Where the bytes of a file's tensor go.
#[derive(Clone, Debug)]
enum Destination {
    Nowhere,
    /// Divisors of the rotary frequencies.
    RopeFactors,
    /// Checkpoint keys of the norms of heads, one for each row.
    HeadNorms(Vec<String>),
    /// A checkpoint key, whose rows are ordered so in the file; `group` of them come together. `offset` is in every value of the file.
    Key {
        path: String,
        order: Rows,
        group: usize,
        offset: f32,
    },
}

/// What is being filled.
struct Filling {
    model: Model,
    /// Rows (elements of a vector) of each checkpoint key that have come.
    filled: BTreeMap<String, usize>,
    rope_factors: Option<Vec<f32>>,
}

/// State that the events of a file change.
struct State {
    exec: Exec,
    options: LoadOptions,
    texts: HashMap<String, String>,
    filling: Option<Filling>,
    container: Option<Arc<Container>>,
    destinations: Vec<Destination>,
    /// Rows of a group whose rest has not come yet.
    carry: Vec<u8>,
    /// Bytes written since the last flush.
    unflushed: usize,
    /// Bytes of weights by type, to tell what most of a model is.
    types: BTreeMap<&'static str, u64>,
    file_bytes: u64,
    sha256: Option<String>,
    /// Metadata of a GGUF: tokenizer and name.
    gguf: Option<Arc<Container>>,
    parts: PartsInTurn,
}

/// Takes a model file (a GGUF; or side files and then one or more safetensors) in pieces.
pub struct ModelLoader {
    state: State,
    reader: Option<StreamReader>,
}

/// Written bytes wait in host memory until a submit.
const FLUSH_BYTES: usize = 8 << 20;

impl ModelLoader {
    pub fn new(exec: &Exec, options: LoadOptions) -> ModelLoader {
        let state = State {
            exec: exec.clone(),
            options,
            texts: HashMap::new(),
            filling: None,
            container: None,
            destinations: Vec::new(),
            carry: Vec::new(),
            unflushed: 0,
            types: BTreeMap::new(),
            file_bytes: 0,
            sha256: None,
            gguf: None,
            parts: PartsInTurn::default(),
        };
        ModelLoader { state, reader: None }
    }

    /// Side files of a Hugging Face folder: `config.json` (before any weights), `generation_config.json`, `tokenizer.json`,
    /// `tokenizer_config.json`, `chat_template.jinja`. Other names are kept and not used. A byte order mark is left out.
    pub fn add_text(&mut self, name: &str, text: impl Into<String>) {
        let text = text.into();
        self.state.texts.insert(name.to_string(), without_bom(&text).to_string());
    }

    /// Takes the beginning of a part of a split GGUF, piece by piece, until it returns true: then its header has come. Before the first part's
    /// weights can be placed, the types of all tensors must be known, and each part knows only its own.
    ///
    /// # Errors
    /// [`Error::BadFile`] for what is no part of the model whose other parts came before.
    pub fn header(&mut self, name: &str, total: Option<u64>, bytes: &[u8]) -> Result<bool> {
        self.state.parts.header(name, total, bytes)
    }

    /// Begins a weight file; `total` is its size where known. Of a split GGUF the [headers](ModelLoader::header) of all parts come first.
    ///
    /// # Errors
    /// [`Error::Busy`] while another is open.
    pub fn begin_file(&mut self, name: &str, total: Option<u64>) -> Result<()> {
        if self.reader.is_some() {
            return Err(Error::Busy(format!("{name}: the file before it has not ended")));
        }
        let reader = StreamReader::new(name, total);
        self.reader = Some(if self.state.options.sha256 { reader.with_sha256() } else { reader });
        self.state.carry.clear();
        Ok(())
    }

    /// The next bytes of the file. After an error the loader is of no more use.
    ///
    /// # Errors
    /// [`Error::BadFile`], [`Error::UnsupportedArchitecture`], [`Error::BadConfig`], [`Error::NotFinite`], [`Error::OutOfMemory`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let mut reader = self.reader.take().ok_or_else(|| Error::Busy("push without begin_file".into()))?;
        let state = &mut self.state;
        reader.push(bytes, &mut |event| match event {
            Event::Header(c) => state.header(c),
            Event::Chunk { tensor, offset, bytes } => state.chunk(tensor, offset, bytes),
        })?;
        self.reader = Some(reader);
        Ok(())
    }

    /// The file has ended.
    ///
    /// # Errors
    /// [`Error::BadFile`] when something of it has not come.
    pub fn end_file(&mut self) -> Result<()> {
        let reader = self.reader.take().ok_or_else(|| Error::Busy("end_file without begin_file".into()))?;
        let summary = reader.finish()?;
        self.state.file_bytes += summary.bytes;
        self.state.sha256 = summary.sha256.or(self.state.sha256.take());
        Ok(())
    }

    /// Checks that everything has come and builds the tokenizer.
    ///
    /// # Errors
    /// [`Error::BadFile`] with what is missing; what the device reported while weights were written.
    pub async fn finish(self) -> Result<Loaded> {
        if self.reader.is_some() {
            return Err(Error::Busy("the last file has not ended".into()));
        }
        let state = self.state;
        let Some(Filling { model, filled, rope_factors }) = state.filling else {
            return Err(Error::file("model", "no weight file was given"));
        };
        let file = state.container.as_ref().map_or("model", |c| c.file.as_str()).to_string();
        state.parts.finish(&file)?;
        for path in model.params().paths() {
            let (have, want) = (filled.get(path).copied().unwrap_or(0), model.params().find(path).map_or(0, |p| p.shape[0]));
            if have == 0 {
                return Err(Error::file(&file, format!("tensor {path:?} is missing")));
            }
            if have != want {
                return Err(Error::file(&file, format!("tensor {path:?} has {have} of {want} rows")));
            }
        }
        if let Some(factors) = rope_factors {
            model.set_rope_factors(&file, &factors)?;
        }
        state.exec.flush();
        state.exec.done().await?;
        // A model with a tokenizer of another kind still answers token ids: the error waits for who asks for text.
        let (tokenizer, tokenizer_error) = match tokenizer(&state.texts, state.gguf.as_deref()) {
            Ok(t) => (t, None),
            Err(Error::BadFile { file, message } | Error::BadConfig { field: file, message }) => (None, Some((file, message))),
            Err(e) => return Err(e),
        };
        if let Some(t) = &tokenizer
            && t.vocab_size() > model.config().vocab_size
        {
            // Tokens that were added and never trained. Who uses one is told then.
            log::warn!("{file}: the tokenizer has {} tokens, the embedding {}", t.vocab_size(), model.config().vocab_size);
        }
        let own = model.config().max_position_embeddings;
        let context = state.options.context_length.unwrap_or(own).clamp(1, own);
        let named = state.gguf.as_ref().and_then(|c| c.metadata.opt_str("general.name").ok().flatten().map(str::to_string));
        let stem = file.rsplit(['/', '\\']).next().unwrap_or(&file).to_string();
        let name = state.options.name.or(named).unwrap_or(stem);
        let most = state.types.iter().max_by_key(|t| t.1).map_or("F32", |t| t.0).to_string();
        if state.options.mask != Mask::Causal {
            model.config().need_decoder("the mask prefix")?;
        }
        model.set_mask(state.options.mask);
        let model = Rc::new(model);
        let info = info(&model, name, context, state.file_bytes, state.sha256, most);
        let kv_cache_dtype = state.options.kv_cache_dtype;
        // As of a tokenizer: who wants a vector is told what cannot be used.
        let (sentence, sentence_error) = match model.config().shape.encoder().map(|_| Sentence::read(&state.texts)) {
            None => (None, None),
            Some(Ok(s)) => (s, None),
            Some(Err(Error::BadFile { file, message } | Error::BadConfig { field: file, message })) => (None, Some((file, message))),
            Some(Err(e)) => return Err(e),
        };
        Ok(Loaded { tokenizer: tokenizer.map(Rc::new), tokenizer_error, sentence, sentence_error, kv_cache_dtype, info, model })
    }
}

impl State {
    fn header(&mut self, c: &Arc<Container>) -> Result<()> {
        let gguf = is_gguf(c);
        let whole = if c.split.is_some() { self.parts.begin(c)? } else { c.clone() };
        if let Some(Filling { model, .. }) = &self.filling {
            check_types(c, model.config())?;
        } else {
            check_packing(&[&*whole], self.texts.get("config.json").map(String::as_str))?;
        }
        if self.filling.is_none() {
            let mut config = if gguf {
                Config::from_gguf(&whole)?
            } else {
                let text =
                    self.texts.get("config.json").ok_or_else(|| Error::file(&c.file, "needs its config.json, which was not given"))?;
                Config::from_json("config.json", text)?
            };
            if let Some(text) = self.texts.get("generation_config.json") {
                config.add_generation_config("generation_config.json", text)?;
            }
            fit(&[&whole], self.texts.get("model.safetensors.index.json").map(String::as_str), &mut config)?;
            let types = Types::new(self.options.quantize, config.num_hidden_layers, config.tie_word_embeddings);
            let dtypes: HashMap<String, DType> =
                whole.tensors.iter().filter_map(|t| Some((path_of(c, &config, &t.name)?, t.dtype))).collect();
            // Of keys that are in another shard only this is known: models have one type.
            let mut sizes: HashMap<DType, u64> = HashMap::new();
            whole.tensors.iter().filter(|t| t.shape.len() == 2).for_each(|t| *sizes.entry(t.dtype).or_default() += t.bytes);
            let most = sizes.into_iter().max_by_key(|s| s.1).map_or(DType::F32, |s| s.0);
            let names = config.names;
            let dtype = |path: &str| {
                let own = dtypes.get(path).copied().unwrap_or(most);
                names.gguf_of_key(path).map_or(own, |name| types.of(&name, own))
            };
            check_weights(&[&whole], &config, self.texts.contains_key("model.safetensors.index.json"))?;
            let model = Model::allocate(&self.exec, config, &dtype, self.options.trainable)?;
            self.exec.check()?;
            self.filling = Some(Filling { model, filled: BTreeMap::new(), rope_factors: None });
        } else if gguf && c.split.is_none() {
            return Err(Error::file(&c.file, "is a whole model, and another file came before it"));
        }
        if gguf {
            self.gguf = Some(whole);
        }
        self.container = Some(c.clone());
        self.destinations = c.tensors.iter().map(|t| self.destination(c, t)).collect::<Result<_>>()?;
        for t in &c.tensors {
            *self.types.entry(t.dtype.name()).or_default() += t.bytes;
        }
        Ok(())
    }

    fn destination(&self, c: &Container, t: &TensorInfo) -> Result<Destination> {
        let model = &self.filling.as_ref().expect("made by header()").model;
        if matches!(t.name.as_str(), "rope_freqs.weight" | "rope_factors_short.weight") {
            return Ok(if t.elements() <= 4096 { Destination::RopeFactors } else { Destination::Nowhere });
        }
        let Some(path) = path_of(c, model.config(), &t.name) else { return Ok(Destination::Nowhere) };
        if is_gguf(c) && model.config().names.head_norm(&path, 0).is_some_and(|p| model.params().find(&p).is_some()) {
            return Ok(Destination::HeadNorms(head_norms(model.config(), &path, t)));
        }
        let Some(p) = model.params().find(&path) else { return Ok(Destination::Nowhere) };
        if t.shape != p.shape {
            return Err(Error::file(&c.file, format!("tensor {:?} has shape {:?}, expected {:?}", t.name, t.shape, p.shape)));
        }
        check_type(c, t)?;
        let (config, gguf) = (model.config(), is_gguf(c));
        let order = if gguf { config.names.rows_in_gguf(&path) } else { Rows::Same };
        let group = if p.transposed { t.shape[0] } else { order.group(t.shape[0], config.head_dim) };
        let norm = gguf && config.names.role(&path).is_some_and(Role::is_norm);
        Ok(Destination::Key { path, order, group, offset: if norm { config.names.gguf_norm_offset } else { 0.0 } })
    }

    fn chunk(&mut self, tensor: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let c = self.container.clone().expect("a header came before");
        let t = &c.tensors[tensor];
        let destination = self.destinations[tensor].clone();
        let last = offset + bytes.len() as u64 == t.bytes;
        let Destination::Key { path, order, group, offset } = destination else {
            if matches!(destination, Destination::Nowhere) {
                return Ok(());
            }
            // Small ones: taken when they are whole.
            self.carry.extend_from_slice(bytes);
            if last {
                let values = dequantize(t.dtype, &std::mem::take(&mut self.carry));
                check_values(&t.name, &values)?;
                let filling = self.filling.as_mut().expect("made by header()");
                if let Destination::HeadNorms(keys) = destination {
                    for (key, row) in keys.into_iter().zip(values.chunks_exact(t.shape[1].max(1))) {
                        filling.model.params().set(&key, row)?;
                        filling.filled.insert(key, row.len());
                    }
                } else {
                    filling.rope_factors = Some(values);
                }
            }
            return Ok(());
        };
        let rows = t.shape[0].max(1);
        let row_bytes = (t.bytes / rows as u64) as usize;
        let unit = row_bytes * group;
        // Whole groups straight from the chunk, the rest is kept.
        let mut rest = bytes;
        if !self.carry.is_empty() {
            let n = (unit - self.carry.len()).min(rest.len());
            self.carry.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            if self.carry.len() == unit {
                let carry = std::mem::take(&mut self.carry);
                self.rows(t, &path, (order, group), offset, &carry)?;
                self.carry = carry;
                self.carry.clear();
            }
        }
        let whole = rest.len() / unit * unit;
        if whole > 0 {
            self.rows(t, &path, (order, group), offset, &rest[..whole])?;
        }
        self.carry.extend_from_slice(&rest[whole..]);
        if last && !self.carry.is_empty() {
            return Err(Error::file(&c.file, format!("tensor {:?} has {rows} rows, expected whole heads of {group}", t.name)));
        }
        Ok(())
    }

    /// Whole groups of rows of a checkpoint key.
    fn rows(&mut self, t: &TensorInfo, path: &str, (order, group): (Rows, usize), offset: f32, bytes: &[u8]) -> Result<()> {
        let filling = self.filling.as_mut().expect("made by header()");
        let store = filling.model.params();
        let p = store.find(path).expect("looked up by destination()").clone();
        let row_bytes = (t.bytes / t.shape[0].max(1) as u64) as usize;
        let first = filling.filled.get(path).copied().unwrap_or(0);
        let count = bytes.len() / row_bytes.max(1);
        let reordered;
        let mut bytes = bytes;
        if order != Rows::Same {
            let dim = filling.model.config().head_dim;
            let mut out = Vec::with_capacity(bytes.len());
            for rows in bytes.chunks_exact(group * row_bytes) {
                for r in 0..group {
                    let from = order.in_file(r, group, dim);
                    out.extend_from_slice(&rows[from * row_bytes..(from + 1) * row_bytes]);
                }
            }
            reordered = out;
            bytes = &reordered;
        }
        check_finite(&t.name, t.dtype, bytes)?;
        let dtype = store.tensor(p.id).desc().dtype;
        if p.transposed {
            let values = transpose(&dequantize(t.dtype, bytes), t.shape[0], t.shape[1]);
            check_values(&t.name, &values)?;
            store.write_rows(&p, 0, &quantize(dtype, &values))?;
        } else if t.dtype == dtype && offset == 0.0 {
            store.write_rows(&p, first, bytes)?;
        } else {
            let mut values = dequantize(t.dtype, bytes);
            values.iter_mut().for_each(|v| *v -= offset);
            check_values(&t.name, &values)?;
            store.write_rows(&p, first, &quantize(dtype, &values))?;
        }
        filling.filled.insert(path.to_string(), first + count);
        self.unflushed += bytes.len();
        if self.unflushed >= FLUSH_BYTES {
            self.unflushed = 0;
            self.exec.flush();
            self.exec.check()?;
        }
        Ok(())
    }
}

/// Plain weights must be numbers. Scales of quantized blocks are checked where blocks are written.
fn check_finite(name: &str, dtype: DType, bytes: &[u8]) -> Result<()> {
    if !dtype.is_quantized() && !dtype.stored().finite(bytes) {
        return Err(Error::NotFinite(format!("a weight of tensor {name:?}")));
    }
    Ok(())
}

fn check_values(name: &str, values: &[f32]) -> Result<()> {
    if values.iter().all(|v| v.is_finite()) { Ok(()) } else { Err(Error::NotFinite(format!("a weight of tensor {name:?}"))) }
}

/// The tokenizer of `tokenizer.json` or of a GGUF's metadata.
fn tokenizer(texts: &HashMap<String, String>, gguf: Option<&Container>) -> Result<Option<Tokenizer>> {
    match (folder_tokenizer(texts)?, gguf) {
        (None, Some(c)) => gguf_tokenizer(c),
        (found, _) => Ok(found),
    }
}
