//! What checkpoints call things: the keys of a Hugging Face checkpoint and the names in a GGUF, by what a parameter is for.

/// What a module is for. Those of a block come once per layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Embed,
    /// A learned table of positions.
    Positions,
    /// A learned table of segments.
    TokenTypes,
    /// Of what the tables sum up to.
    EmbedNorm,
    FinalNorm,
    Head,
    /// Before the head of an encoder: a dense layer, an activation, a norm; and the head's bias.
    HeadDense,
    HeadNorm,
    HeadBias,
    /// Added to the logits; a constant.
    LogitsBias,
    /// A dense layer over the first token's state.
    Pooler,
    /// Before a classifier of sequences.
    ClassifierDense,
    Classifier,
    TokenClassifier,
    PreAttention,
    PostAttention,
    PreMlp,
    PostMlp,
    /// Of what reads the encoder's states, in a block of an encoder-decoder.
    PreCross,
    PostCross,
    CrossQ,
    CrossK,
    CrossV,
    CrossOut,
    Q,
    K,
    V,
    /// q, k and v in one module.
    Qkv,
    QNorm,
    KNorm,
    Out,
    Gate,
    Up,
    /// Gate rows, then up rows, in one module.
    GateUp,
    Down,
}

impl Role {
    /// Is it a norm of the residual stream, of q or of k?
    pub fn is_norm(self) -> bool {
        use Role::{EmbedNorm, FinalNorm, HeadNorm, KNorm, PostAttention, PostCross, PostMlp, PreAttention, PreCross, PreMlp, QNorm};
        matches!(
            self,
            PreCross | PostCross | EmbedNorm | HeadNorm | FinalNorm | PreAttention | PostAttention | PreMlp | PostMlp | QNorm | KNorm
        )
    }

    /// Is it behind the hidden states?
    pub fn is_head(self) -> bool {
        use Role::{Classifier, ClassifierDense, Head, HeadBias, HeadDense, HeadNorm, Pooler, TokenClassifier};
        matches!(self, Head | HeadDense | HeadNorm | HeadBias | Pooler | ClassifierDense | Classifier | TokenClassifier)
    }

    /// Does it end in the residual stream?
    pub fn ends_branch(self) -> bool {
        matches!(self, Role::Out | Role::CrossOut | Role::Down)
    }
}

/// (what it is for, module of the checkpoint, name in a GGUF); inside a block without what comes before.
pub type Entry = (Role, &'static str, &'static str);

/// Order of a tensor's rows in a GGUF, where it is not the checkpoint's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    Same,
    /// Rows 2i and 2i + 1 of a head are the checkpoint's i and i + D/2 (llama.cpp turns neighbours).
    Paired,
    /// All of q, then k, then v, where the checkpoint has q, k and v of one head after the other.
    ByHead,
}

impl Rows {
    /// Row of the file that is row `row` of `rows` in the checkpoint, for heads of `dim` rows.
    pub fn in_file(self, row: usize, rows: usize, dim: usize) -> usize {
        match self {
            Rows::Same => row,
            Rows::Paired => {
                let (head, r, half) = (row / dim * dim, row % dim, dim / 2);
                head + if r < half { 2 * r } else { 2 * (r - half) + 1 }
            }
            Rows::ByHead => {
                let (head, part, c) = (row / (3 * dim), row / dim % 3, row % dim);
                part * (rows / 3) + head * dim + c
            }
        }
    }

    /// Rows that are reordered among themselves.
    pub fn group(self, rows: usize, dim: usize) -> usize {
        match self {
            Rows::Same => 1,
            Rows::Paired => dim,
            Rows::ByHead => rows,
        }
    }
}

/// The names of one family.
#[derive(Debug, PartialEq)]
pub struct Names {
    /// What every key but the heads' begins with; checkpoints of the base model leave it out.
    pub root: &'static str,
    /// Outside the blocks.
    pub ends: &'static [Entry],
    /// What keys of block i begin with, without "i.".
    pub blocks: &'static str,
    pub block: &'static [Entry],
    /// Orders of rows in a GGUF.
    pub gguf_rows: &'static [(Role, Rows)],
    /// Added to the weights of norms in a GGUF (Gemma's are 1 + w there).
    pub gguf_norm_offset: f32,
    /// Matrices of the blocks are (in, out) in the checkpoint: GPT-2's Conv1D.
    pub transposed: bool,
    /// Norms of q and k are one module for each head, `<module>.norms.<head>`; a GGUF has them as one tensor (StableLM).
    pub split_head_norms: bool,
    /// Rows of the fused projection are q, k and v of one head after the other (GPT-NeoX).
    pub qkv_by_head: bool,
    /// What the encoder of an encoder-decoder has of its own.
    pub source: Option<&'static Names>,
}

impl Names {
    fn entry(&self, role: Role) -> Option<&'static Entry> {
        self.ends.iter().chain(self.block).find(|e| e.0 == role)
    }

    /// Has the family such a module?
    pub fn has(&self, role: Role) -> bool {
        self.entry(role).is_some()
    }

    /// Name in a GGUF, without what comes before it in a block.
    pub fn in_gguf(&self, role: Role) -> Option<&'static str> {
        self.entry(role).map(|e| e.2)
    }

    /// Module path of what comes once.
    ///
    /// # Panics
    /// Where the family has none: its recipe asks only for what it names.
    pub fn end(&self, role: Role) -> String {
        self.entry(role).unwrap_or_else(|| panic!("the family names no {role:?}")).1.to_string()
    }

    /// Module path of a part of block `i`.
    ///
    /// # Panics
    /// As [`Names::end`].
    pub fn module(&self, i: usize, role: Role) -> String {
        format!("{}{i}.{}", self.blocks, self.end(role))
    }

    /// What a checkpoint key is for.
    pub fn role(&self, path: &str) -> Option<Role> {
        let module = path.rsplit_once('.').filter(|(_, end)| matches!(*end, "weight" | "bias")).map_or(path, |(m, _)| m);
        if let Some(e) = self.ends.iter().find(|e| e.1 == module) {
            return Some(e.0);
        }
        let part = module.strip_prefix(self.blocks).and_then(|rest| rest.split_once('.')).filter(|(i, _)| i.parse::<usize>().is_ok());
        let own = part.and_then(|(_, part)| self.block.iter().find(|e| e.1 == part)).map(|e| e.0);
        own.or_else(|| self.source?.role(path))
    }

    /// The checkpoint key that a GGUF's tensor name stands for.
    pub fn key_of_gguf(&self, name: &str) -> Option<String> {
        let (stem, end) = name.rsplit_once('.')?;
        if end != "weight" && end != "bias" {
            return None;
        }
        if let Some(e) = self.ends.iter().find(|e| e.2 == stem) {
            return Some(format!("{}.{end}", e.1));
        }
        let (i, part) = stem.strip_prefix("blk.")?.split_once('.')?;
        let i: usize = i.parse().ok()?;
        let e = self.block.iter().find(|e| e.2 == part)?;
        Some(format!("{}{i}.{}.{end}", self.blocks, e.1))
    }

    /// The name in a GGUF of a checkpoint key: the inverse of [`Names::key_of_gguf`]. What an encoder-decoder's encoder has of its own goes by the
    /// names of its decoder.
    pub fn gguf_of_key(&self, key: &str) -> Option<String> {
        self.own_gguf_of_key(key).or_else(|| self.source?.gguf_of_key(key))
    }

    fn own_gguf_of_key(&self, key: &str) -> Option<String> {
        let (module, end) = key.rsplit_once('.')?;
        if end != "weight" && end != "bias" {
            return None;
        }
        if let Some(e) = self.ends.iter().find(|e| e.1 == module) {
            return Some(format!("{}.{end}", e.2));
        }
        let (i, part) = module.strip_prefix(self.blocks)?.split_once('.')?;
        let i: usize = i.parse().ok()?;
        let e = self.block.iter().find(|e| e.1 == part)?;
        Some(format!("blk.{i}.{}.{end}", e.2))
    }

    /// The key as this crate spells it: base-model checkpoints leave the first part out.
    pub fn key_of_safetensors(&self, name: &str) -> String {
        let head = |e: &Entry| !e.1.starts_with(self.root) && name.strip_prefix(e.1).is_some_and(|r| r.is_empty() || r.starts_with('.'));
        let whole = name.starts_with(self.root) || self.ends.iter().any(head);
        let key = if whole { name.to_string() } else { format!("{}{name}", self.root) };
        // BERT's first files call a norm's weight and bias so.
        for (old, new) in [(".gamma", ".weight"), (".beta", ".bias")] {
            if let Some(stem) = key.strip_suffix(old)
                && self.role(&format!("{stem}.weight")).is_some_and(Role::is_norm)
            {
                return format!("{stem}{new}");
            }
        }
        key
    }

    /// Keys of the norms of heads that a GGUF has in one tensor, if `path` stands for such: that of head `head`.
    pub fn head_norm(&self, path: &str, head: usize) -> Option<String> {
        let split = self.split_head_norms && matches!(self.role(path), Some(Role::QNorm | Role::KNorm));
        let module = path.strip_suffix(".weight").filter(|_| split)?;
        Some(format!("{module}.norms.{head}.weight"))
    }

    /// Order of the rows of a checkpoint key in a GGUF.
    pub fn rows_in_gguf(&self, path: &str) -> Rows {
        let role = self.role(path);
        self.gguf_rows.iter().find(|r| Some(r.0) == role).map_or(Rows::Same, |r| r.1)
    }
}
