//! A GGUF from a folder's texts and the headers of its weight files; the weights follow row by row.

use std::collections::{HashMap, HashSet};

use super::fields::Fields;
use crate::formats::gguf::{Layout, layout};
use crate::formats::{Container, Event, Metadata, StreamReader, Value};
use crate::models::config::Config;
use crate::models::loading::{check_packing, check_types};
use crate::models::names::{Role, Rows};
use crate::models::quantize::{Quantization, Types, packed};
use crate::models::reading::json::Json;
use crate::models::registry;
use crate::models::rope::Rope;
use crate::models::tokenizer::{folder_tokenizer, gguf_tokenizer};
use crate::tensor::{DType, dequantize};
use crate::tokenizer::{GgufValue, to_gguf};
use crate::{Error, Result};

/// A tensor that will be written.
#[derive(Clone, Debug)]
pub struct Planned {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// Numbers that come from the configuration.
    Values(Vec<f32>),
    Tensors {
        /// (file, tensor in it), one after the other.
        parts: Vec<(usize, usize)>,
        own: DType,
        order: Rows,
        /// Rows that are reordered among themselves.
        group: usize,
        /// Added to every value.
        offset: f32,
    },
}

impl Planned {
    /// The tensors that it is made of, as numbers of file and tensor; none where its bytes are known already ([`GgufExport::known`]).
    pub fn parts(&self) -> &[(usize, usize)] {
        match &self.source {
            Source::Values(_) => &[],
            Source::Tensors { parts, .. } => parts,
        }
    }

    /// Rows come in whole multiples of so many.
    pub fn group(&self) -> usize {
        match &self.source {
            Source::Values(_) => 1,
            Source::Tensors { group, .. } => *group,
        }
    }
}

/// Plans a GGUF from a Hugging Face folder.
pub struct GgufExport {
    layout: Layout,
    tensors: Vec<Planned>,
    head_dim: usize,
    /// What a reader of the new file should know.
    pub warnings: Vec<String>,
}

impl GgufExport {
    /// From the folder's texts (those of [`folder_tokenizer`], `config.json`, `generation_config.json`) and the headers of its safetensors files.
    /// `name` is the model's.
    ///
    /// # Errors
    /// [`Error::UnsupportedArchitecture`] for a family whose GGUFs are not written; [`Error::BadConfig`] with the field that a GGUF cannot say;
    /// [`Error::BadFile`] for a tensor that is missing or has another shape, and for a tokenizer that a GGUF cannot hold.
    pub fn new(texts: &HashMap<String, String>, files: &[Container], name: &str, wanted: Option<Quantization>) -> Result<GgufExport> {
        let text =
            texts.get("config.json").ok_or_else(|| Error::file(name, "has no config.json: it is no folder as Transformers writes it"))?;
        let mut config = Config::from_json("config.json", text)?;
        if let Some(text) = texts.get("generation_config.json") {
            config.add_generation_config("generation_config.json", text)?;
        }
        check_packing(&files.iter().collect::<Vec<_>>(), Some(text))?;
        files.iter().try_for_each(|c| check_types(c, &config))?;
        let value = registry::parse("config.json", text)?;
        let json = Json { map: &value };
        let family = registry::of_json("config.json", &json)?;
        let how = family.to_gguf.as_ref().ok_or_else(|| Error::UnsupportedArchitecture {
            found: config.model_type.clone(),
            supported: format!("as a GGUF: {}; {} is quantized while it is loaded (--quantize)", registry::written(), family.name),
        })?;
        let mut warnings = Vec::new();
        let mut fields = Fields { arch: how.arch, config: &config, json: &json, metadata: Metadata::new(name), tensors: Vec::new() };
        for (key, value) in [("general.architecture", how.arch), ("general.type", "model"), ("general.name", name)] {
            fields.metadata.insert(key, Value::String(value.into()));
        }
        fields.decoder()?;
        (how.own)(&mut fields)?;
        let Fields { mut metadata, tensors: extra, .. } = fields;
        let mut tensors: Vec<Planned> = extra
            .into_iter()
            .map(|(name, values)| Planned { name, dtype: DType::F32, shape: vec![values.len()], source: Source::Values(values) })
            .collect();
        let types = Types::new(wanted, config.num_hidden_layers, config.tie_word_embeddings);
        plan(&config, files, &types, &mut tensors)?;
        match wanted {
            Some(wanted) => wanted.mark(&mut metadata),
            None => _ = metadata.insert("general.file_type", Value::U32(file_type(&tensors))),
        }
        put_tokenizer(texts, &config, &mut metadata, &mut warnings)?;
        let described: Vec<_> = tensors.iter().map(|t| (t.name.clone(), t.dtype, t.shape.clone())).collect();
        let layout = layout(&metadata, &described)?;
        let read = read_again(name, &layout)?;
        same_config(&config, &read, &tensors)?;
        same_tokenizer(texts, &read, &mut warnings)?;
        Ok(GgufExport { layout, tensors, head_dim: config.head_dim, warnings })
    }

    /// Where everything comes to lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// In the order in which they are written.
    pub fn tensors(&self) -> &[Planned] {
        &self.tensors
    }

    /// The bytes of a tensor that comes from no file.
    pub fn known(&self, index: usize) -> Option<Vec<u8>> {
        match &self.tensors[index].source {
            Source::Values(values) => Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Source::Tensors { .. } => None,
        }
    }

    /// The new bytes of whole groups of rows, from those of the file.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the tensor.
    pub fn rows(&self, index: usize, old: &[u8]) -> Result<Vec<u8>> {
        let t = &self.tensors[index];
        let Source::Tensors { own, order, group, offset, .. } = &t.source else { return Ok(Vec::new()) };
        let mut values = dequantize(*own, old);
        values.iter_mut().for_each(|v| *v += offset);
        let cols: usize = if t.shape.len() == 2 { t.shape[1] } else { 1 };
        if *order != Rows::Same {
            let mut out = vec![0.0; values.len()];
            for (from, to) in values.chunks_exact(group * cols).zip(out.chunks_exact_mut(group * cols)) {
                for (r, row) in from.chunks_exact(cols).enumerate() {
                    let at = order.in_file(r, *group, self.head_dim) * cols;
                    to[at..at + cols].copy_from_slice(row);
                }
            }
            values = out;
        }
        packed(&t.name, t.dtype, &values)
    }
}

/// The tensors of the folder under a GGUF's names, in the order of the files.
fn plan(config: &Config, files: &[Container], types: &Types, out: &mut Vec<Planned>) -> Result<()> {
    let names = config.names;
    let mut found: HashSet<String> = HashSet::new();
    let mut heads: HashMap<String, Vec<Option<(usize, usize)>>> = HashMap::new();
    for (f, c) in files.iter().enumerate() {
        for (i, t) in c.tensors.iter().enumerate() {
            let path = names.key_of_safetensors(&t.name);
            let role = names.role(&path);
            if role == Some(Role::Head) && config.tie_word_embeddings {
                continue;
            }
            if names.split_head_norms
                && let Some((module, head)) = path.strip_suffix(".weight").and_then(|p| p.rsplit_once(".norms."))
                && let Ok(head) = head.parse::<usize>()
                && head < config.num_attention_heads
            {
                let all = heads.entry(format!("{module}.weight")).or_default();
                all.resize(all.len().max(head + 1), None);
                all[head] = Some((f, i));
                continue;
            }
            let Some(name) = names.gguf_of_key(&path) else {
                // Buffers that some files keep, and what the engine never reads.
                continue;
            };
            if !matches!(t.dtype, DType::F32 | DType::F16 | DType::BF16) {
                return Err(Error::file(&c.file, format!("tensor {:?} has type {}, expected F32, F16 or BF16", t.name, t.dtype.name())));
            }
            if !found.insert(name.clone()) {
                return Err(Error::file(&c.file, format!("tensor {:?} is there twice, under two names", t.name)));
            }
            let dtype = match t.shape[..] {
                [_, cols] => types.fitting(&name, t.dtype, cols),
                _ => DType::F32,
            };
            let order = names.rows_in_gguf(&path);
            let group = order.group(t.shape[0], config.head_dim);
            let offset = if role.is_some_and(Role::is_norm) { names.gguf_norm_offset } else { 0.0 };
            let source = Source::Tensors { parts: vec![(f, i)], own: t.dtype, order, group, offset };
            out.push(Planned { name, dtype, shape: t.shape.clone(), source });
        }
    }
    for (path, parts) in heads {
        let Some(name) = names.gguf_of_key(&path) else { continue };
        let parts: Option<Vec<(usize, usize)>> = parts.into_iter().collect();
        let parts = parts.ok_or_else(|| Error::file("model", format!("tensors of {path:?} are missing")))?;
        let first = &files[parts[0].0].tensors[parts[0].1];
        let source = Source::Tensors { own: first.dtype, order: Rows::Same, group: 1, offset: 0.0, parts: parts.clone() };
        out.push(Planned { name, dtype: DType::F32, shape: vec![parts.len(), first.shape.iter().product()], source });
    }
    // Readers expect no order, people do.
    out.sort_by(|a, b| key(&a.name).cmp(&key(&b.name)));
    Ok(())
}

/// What is outside the blocks, then block after block.
fn key(name: &str) -> (Option<usize>, &str) {
    let block = name.strip_prefix("blk.").and_then(|n| n.split_once('.'));
    (block.and_then(|b| b.0.parse().ok()), name)
}

/// `general.file_type` of a file of floats, by what most of it is.
fn file_type(tensors: &[Planned]) -> u32 {
    let mut sizes: HashMap<DType, usize> = HashMap::new();
    tensors.iter().for_each(|t| *sizes.entry(t.dtype).or_default() += t.shape.iter().product::<usize>());
    sizes.into_iter().max_by_key(|s| s.1).and_then(|s| s.0.stored().file_type).unwrap_or(0)
}

fn put_tokenizer(texts: &HashMap<String, String>, config: &Config, metadata: &mut Metadata, warnings: &mut Vec<String>) -> Result<()> {
    if !texts.contains_key("tokenizer.json") {
        warnings.push("the folder has no tokenizer.json: the GGUF answers token ids only".into());
        return Ok(());
    }
    let read = |name: &str| texts.get(name).map(String::as_str);
    let tokens = to_gguf(read("tokenizer.json").unwrap_or_default(), read("tokenizer_config.json"), config.vocab_size)?;
    warnings.extend(tokens.warnings);
    for (key, value) in tokens.values {
        metadata.insert(key, value_of(value));
    }
    let ids = |m: &mut Metadata, key: &str, id: Option<u32>| {
        if let Some(id) = id {
            m.insert(format!("tokenizer.ggml.{key}_token_id"), Value::U32(id));
        }
    };
    ids(metadata, "bos", config.bos_token_id.or(tokens.bos));
    ids(metadata, "padding", tokens.pad);
    // A file has room for three: of the sequence, of a turn, of a call.
    for (key, id) in ["eos", "eot", "eom"].into_iter().zip(&config.eos_token_ids) {
        ids(metadata, key, Some(*id));
    }
    if config.eos_token_ids.is_empty() {
        ids(metadata, "eos", tokens.eos);
    }
    if let Some(more) = config.eos_token_ids.get(3..).filter(|m| !m.is_empty()) {
        warnings.push(format!("a GGUF names three ids that end an answer; {more:?} are left out"));
    }
    if let Some(template) = texts.get("chat_template.jinja").cloned().or(tokens.chat_template) {
        metadata.insert("tokenizer.chat_template", Value::String(template));
    }
    Ok(())
}

fn value_of(v: GgufValue) -> Value {
    use crate::formats::Array;
    match v {
        GgufValue::Text(s) => Value::String(s),
        GgufValue::Flag(b) => Value::Bool(b),
        GgufValue::Id(id) => Value::U32(id),
        GgufValue::Texts(list) => Value::Array(Array::String(list.into_iter().collect())),
        GgufValue::Types(list) => Value::Array(Array::I32(list)),
        GgufValue::Scores(list) => Value::Array(Array::F32(list)),
    }
}

/// The header as a reader finds it.
fn read_again(name: &str, layout: &Layout) -> Result<Container> {
    let mut reader = StreamReader::new(name, Some(layout.total_bytes));
    let mut found = None;
    reader.push(&layout.header, &mut |event| {
        if let Event::Header(c) = event {
            found = Some(c.as_ref().clone());
        }
        Ok(())
    })?;
    found.ok_or_else(|| Error::file(name, "the header that was written cannot be read"))
}

/// The configuration that a reader makes of the new file must be the folder's.
fn same_config(a: &Config, file: &Container, tensors: &[Planned]) -> Result<()> {
    let b = Config::from_gguf(file)?;
    let lost = |field: &str, a: String, b: String| Err(Error::config(field, format!("is {a}, and a GGUF of this family can only say {b}")));
    macro_rules! same {
        ($($field:ident),*) => {
            $(if a.$field != b.$field {
                return lost(stringify!($field), format!("{:?}", a.$field), format!("{:?}", b.$field));
            })*
        };
    }
    same!(recipe, vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim);
    same!(max_position_embeddings, norm, interleaved, rotated, hidden_act, tie_word_embeddings, attention_bias, attention_out_bias);
    same!(mlp_bias, qk_norm, attn_logit_softcapping, final_logit_softcapping, multiplies_prompts, windowed);
    if a.has_windows() {
        same!(sliding_window);
    }
    let close = |x: f32, y: f32| (x - y).abs() <= 1e-6 * x.abs().max(y.abs());
    for (field, x, y) in [
        ("rms_norm_eps", a.norm_eps, b.norm_eps),
        ("attention scale", a.attention_scale, b.attention_scale),
        ("embedding_multiplier", a.embedding_multiplier, b.embedding_multiplier),
        ("residual_multiplier", a.residual_multiplier, b.residual_multiplier),
        ("logit_scale", a.logit_scale, b.logit_scale),
    ] {
        if !close(x, y) {
            return lost(field, x.to_string(), y.to_string());
        }
    }
    let factors = tensors.iter().find_map(|t| match &t.source {
        Source::Values(v) if matches!(t.name.as_str(), "rope_freqs.weight" | "rope_factors_short.weight") => Some(v),
        _ => None,
    });
    for (field, x, y) in [("rope_theta", &a.rope, &b.rope), ("rope_local_base_freq", &a.local_rope, &b.local_rope)] {
        let table = |r: &Option<Rope>| r.as_ref().map(Rope::table).transpose();
        let same = match (table(x)?, table(y)?) {
            (Some((x, a)), Some((mut y, b))) => {
                if let Some(factors) = factors.filter(|f| field == "rope_theta" && f.len() == y.len()) {
                    y.iter_mut().zip(factors).for_each(|(y, f)| *y /= f);
                }
                close(a, b) && x.len() == y.len() && x.iter().zip(&y).all(|(x, y)| (x - y).abs() <= 1e-5 * x.abs())
            }
            (None, None) => true,
            _ => false,
        };
        if !same {
            return lost(field, format!("{x:?}"), format!("{y:?}"));
        }
    }
    Ok(())
}

/// Texts that tell tokenizers apart: words, numbers, signs, white space, scripts. Composed, as people type.
const SAMPLES: [&str; 8] = [
    "Hello, world! It's 1234567 o'clock; they'll've gone, WE'RE here.",
    "    def f(x):\n\treturn x**2  # twice\r\n\r\n\n  done\n",
    "Größe, naïve, Ελλάδα, Привет мир, ÉTÉ; the CamelCaseWord and snake_case_word",
    "中文的句子，没有空格。日本語のテキスト、カタカナ。한국어 문장입니다.",
    "emoji 😀👩‍👩‍👧 and ٣٤٥ १२३ ½ ² 〇; a\u{a0}b\u{2003}c",
    "https://example.org/a?b=c&d=%20#e \"quoted\" 'single' `code` <tag/> {x: [1, 2]} 3.14e-10",
    " leading and trailing ",
    "\n\n\n   \n x",
];

/// The tokenizer that a reader makes of the new file must give the folder's ids, and its texts back.
fn same_tokenizer(texts: &HashMap<String, String>, file: &Container, warnings: &mut Vec<String>) -> Result<()> {
    let (Some(a), Some(b)) = (folder_tokenizer(texts)?, gguf_tokenizer(file)?) else { return Ok(()) };
    for sample in SAMPLES {
        let (x, y) = (a.encode(sample), b.encode(sample));
        if x != y && sample.starts_with(' ') {
            // Metaspace puts its sign before a text only where there is no space; a GGUF, always.
            warnings
                .push("a text that begins with a space gets other ids from a GGUF, which cannot say how this one is to be taken".into());
            continue;
        }
        if x != y {
            let at = x.iter().zip(&y).position(|(x, y)| x != y).unwrap_or(x.len().min(y.len()));
            let piece = a.decode(&x[at.min(x.len())..(at + 3).min(x.len())], false);
            let why = format!("a GGUF cannot hold it: {sample:?} would become other ids from {piece:?} on");
            return Err(Error::file("tokenizer.json", why));
        }
        let (x, y) = (a.decode(&x, false), b.decode(&y, false));
        if x != y {
            return Err(Error::file("tokenizer.json", format!("a GGUF cannot hold it: the ids of {x:?} would be read as {y:?}")));
        }
    }
    Ok(())
}
