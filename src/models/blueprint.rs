//! From a configuration to tensors and layers: which checkpoint keys there are, their shapes, and which share a tensor.

use super::config::{Config, NormKind, QkNorm};
use super::heads::Heads;
use super::names::Role;
use super::shape::{Scope, Shape};
use super::stack::Stack;
use crate::nn::{
    Attention, Block, CrossAttention, Embedding, Linear, Mlp, Norm, NormOp, ParamId, ParamSpec, Part, PartSpec, Projections, Up,
};
use crate::ops::norm::{LayerNorm, RmsNorm};
use crate::tensor::DType;
use crate::tensor::packing::fitting;

/// Everything that is known before memory is allocated.
#[derive(Clone, Debug)]
pub struct Blueprint {
    pub specs: Vec<ParamSpec>,
    pub(super) embed: Embedding,
    pub(super) positions: Option<Embedding>,
    /// Tables and norm of an encoder's embeddings.
    pub(super) types: Option<Embedding>,
    pub(super) embed_norm: Option<Norm>,
    pub(super) blocks: Vec<Block>,
    /// After the last block; none where that ends in one.
    pub(super) norm: Option<Norm>,
    /// The embedding itself where they are tied.
    pub(super) head: Linear,
    pub(super) heads: Heads,
    /// The encoder of an encoder-decoder.
    pub(super) source: Option<Stack>,
    /// Tables of sinusoidal positions, which are computed.
    pub(super) computed: Vec<ParamId>,
}

struct Builder<'a> {
    specs: Vec<ParamSpec>,
    dtype: &'a dyn Fn(&str) -> DType,
    transposed: bool,
    linears: usize,
    computed: Vec<ParamId>,
}

impl Builder<'_> {
    fn add(&mut self, name: String, shape: Vec<usize>, dtype: DType, parts: Vec<PartSpec>) -> ParamId {
        self.specs.push(ParamSpec { name, shape, dtype, parts, constant: false });
        ParamId::new(self.specs.len() - 1)
    }

    fn vector(&mut self, path: String, len: usize) -> ParamId {
        let parts = vec![PartSpec { path: path.clone(), rows: len, transposed: false }];
        self.add(path, vec![len], DType::F32, parts)
    }

    fn matrix(&mut self, path: String, rows: usize, cols: usize) -> ParamId {
        let dtype = fitting((self.dtype)(&path), cols);
        let parts = vec![PartSpec { path: path.clone(), rows, transposed: false }];
        self.add(path, vec![rows, cols], dtype, parts)
    }

    fn norm(&mut self, config: &Config, path: &str, len: usize) -> Norm {
        let weight = self.vector(format!("{path}.weight"), len);
        let bias = (config.norm == NormKind::Layer { bias: true }).then(|| self.vector(format!("{path}.bias"), len));
        Norm { op: norm_op(config, 1), weight, bias }
    }

    /// Linears over the same input: one, where their types are equal (and `fuse`), else one each.
    fn linears(&mut self, modules: &[(String, usize)], inputs: usize, bias: bool, fuse: bool) -> Vec<Linear> {
        let dtypes: Vec<DType> = modules.iter().map(|(m, _)| fitting((self.dtype)(&format!("{m}.weight")), inputs)).collect();
        if !(fuse && dtypes.windows(2).all(|d| d[0] == d[1])) && modules.len() > 1 {
            return modules.iter().flat_map(|m| self.linears(std::slice::from_ref(m), inputs, bias, true)).collect();
        }
        let outputs = modules.iter().map(|m| m.1).sum();
        let keys = |end: &str, transposed: bool| -> Vec<PartSpec> {
            modules.iter().map(|(m, rows)| PartSpec { path: format!("{m}.{end}"), rows: *rows, transposed }).collect()
        };
        let name = |end: &str| modules.iter().map(|m| m.0.as_str()).collect::<Vec<_>>().join("+") + end;
        let weight = self.add(name(".weight"), vec![outputs, inputs], dtypes[0], keys("weight", self.transposed));
        let bias = bias.then(|| self.add(name(".bias"), vec![outputs], DType::F32, keys("bias", false)));
        let mut first = 0;
        let parts = modules
            .iter()
            .map(|(path, rows)| {
                first += rows;
                Part { path: path.clone(), first: first - rows, rows: *rows }
            })
            .collect();
        self.linears += 1;
        vec![Linear { index: self.linears - 1, weight, bias, parts, inputs, outputs }]
    }

    fn linear(&mut self, module: String, outputs: usize, inputs: usize, bias: bool) -> Linear {
        self.linears(&[(module, outputs)], inputs, bias, true).remove(0)
    }

    /// Block `i` by its family's recipe.
    fn block(&mut self, config: &Config, i: usize) -> Block {
        let (recipe, names, width) = (config.recipe, config.names, config.hidden_size);
        let norm = |b: &mut Self, wanted: bool, role: Role| wanted.then(|| b.norm(config, &names.module(i, role), width));
        let pre_attention = norm(self, recipe.pre_attention && !(recipe.first_is_normed && i == 0), Role::PreAttention);
        let attention = self.attention(config, i);
        let post_attention = norm(self, recipe.post_attention, Role::PostAttention);
        let pre_mlp = norm(self, recipe.pre_mlp, Role::PreMlp);
        let mlp = self.mlp(config, i);
        let post_mlp = norm(self, recipe.post_mlp, Role::PostMlp);
        let (parallel, residual_scale) = (recipe.parallel, config.residual_multiplier);
        let of_sum = recipe.of_sum;
        let cross = names.has(Role::CrossQ).then(|| self.cross(config, i));
        Block { pre_attention, attention, post_attention, cross, pre_mlp, mlp, post_mlp, parallel, residual_scale, of_sum }
    }

    fn attention(&mut self, config: &Config, i: usize) -> Attention {
        let (names, width) = (config.names, config.hidden_size);
        let (q, kv) = (config.q_width(), config.kv_width());
        let modules = match names.has(Role::Qkv) {
            true => vec![(names.module(i, Role::Qkv), q + 2 * kv)],
            false => [(Role::Q, q), (Role::K, kv), (Role::V, kv)].map(|(r, n)| (names.module(i, r), n)).to_vec(),
        };
        // Norms on q and k need them apart.
        let mut qkv = self.linears(&modules, width, config.attention_bias, config.qk_norm == QkNorm::None);
        let qkv = match qkv.len() {
            1 => Projections::Fused(qkv.remove(0)),
            _ => {
                let v = qkv.remove(2);
                let k = qkv.remove(1);
                Projections::Split(qkv.remove(0), k, v)
            }
        };
        let q_norm = self.head_norm(config, i, Role::QNorm, config.num_attention_heads);
        let k_norm = self.head_norm(config, i, Role::KNorm, config.num_key_value_heads);
        let out = self.linear(names.module(i, Role::Out), width, q, config.attention_out_bias);
        let at = |flags: &[bool]| flags.get(i).copied().unwrap_or(false);
        let windowed = at(&config.windowed);
        Attention {
            qkv,
            q_norm,
            k_norm,
            out,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            dim: config.head_dim,
            scale: config.attention_scale,
            cap: config.attn_logit_softcapping,
            windowed,
            rope: config.rope_of(at(&config.rotated), windowed),
            interleaved: config.interleaved,
            by_head: names.qkv_by_head,
        }
    }

    /// What block `i` of a decoder reads an encoder's states with.
    fn cross(&mut self, config: &Config, i: usize) -> CrossAttention {
        let (names, width, q) = (config.names, config.hidden_size, config.q_width());
        let norm = |b: &mut Self, role: Role| names.has(role).then(|| b.norm(config, &names.module(i, role), width));
        let pre = norm(self, Role::PreCross);
        let [q_proj, k, v] =
            [Role::CrossQ, Role::CrossK, Role::CrossV].map(|r| self.linear(names.module(i, r), q, width, config.attention_bias));
        let out = self.linear(names.module(i, Role::CrossOut), width, q, config.attention_out_bias);
        let post = norm(self, Role::PostCross);
        let (heads, dim, scale) = (config.num_attention_heads, config.head_dim, config.attention_scale);
        CrossAttention { pre, q: q_proj, k, v, out, post, heads, dim, scale }
    }

    /// Positions, norm of the embeddings, blocks and last norm of an encoder-decoder's encoder.
    fn stack(&mut self, config: &Config) -> Option<Stack> {
        let c = config.source()?;
        let (names, width) = (c.names, c.hidden_size);
        let positions = self.positions(config, &c);
        let embed_norm = names.has(Role::EmbedNorm).then(|| self.norm(&c, &names.end(Role::EmbedNorm), width));
        let blocks = (0..c.num_hidden_layers).map(|i| self.block(&c, i)).collect();
        let norm = names.has(Role::FinalNorm).then(|| self.norm(&c, &names.end(Role::FinalNorm), width));
        Some(Stack { positions, embed_norm, blocks, norm })
    }

    /// The table of positions of a stack of `whole`: learned or computed, none where positions turn.
    fn positions(&mut self, whole: &Config, stack: &Config) -> Option<Embedding> {
        if stack.rope.is_some() {
            return None;
        }
        let (names, width, count) = (stack.names, stack.hidden_size, stack.max_position_embeddings);
        let pair = whole.shape.encoder_decoder();
        let first = whole.shape.encoder().map(|e| e.first_position).or(pair.map(|p| p.first_position)).unwrap_or(0);
        if pair.is_some_and(|p| p.sinusoidal) {
            let weight = self.add(format!("{}positions", names.blocks), vec![count, width], DType::F32, Vec::new());
            self.constant(weight);
            self.computed.push(weight);
            return Some(Embedding { weight });
        }
        Some(Embedding { weight: self.matrix(format!("{}.weight", names.end(Role::Positions)), first + count, width) })
    }

    /// A parameter that does not learn.
    fn constant(&mut self, id: ParamId) {
        self.specs[id.index()].constant = true;
    }

    /// The norm of `heads` heads of q or k.
    fn head_norm(&mut self, config: &Config, i: usize, role: Role, heads: usize) -> Option<Norm> {
        if config.qk_norm == QkNorm::None {
            return None;
        }
        let (dim, path) = (config.head_dim, format!("{}.weight", config.names.module(i, role)));
        let (weight, parts) = match config.qk_norm {
            QkNorm::None | QkNorm::Head => (self.vector(path, dim), 1),
            QkNorm::Whole => (self.vector(path, heads * dim), 1),
            QkNorm::EachHead if config.names.split_head_norms => {
                let of = |h| PartSpec { path: config.names.head_norm(&path, h).unwrap_or_default(), rows: dim, transposed: false };
                let parts = (0..heads).map(of).collect();
                (self.add(path.clone(), vec![heads * dim], DType::F32, parts), heads)
            }
            QkNorm::EachHead => {
                let parts = vec![PartSpec { path: path.clone(), rows: heads, transposed: false }];
                (self.add(path, vec![heads, dim], DType::F32, parts), heads)
            }
        };
        Some(Norm { op: norm_op(config, parts), weight, bias: None })
    }

    fn mlp(&mut self, config: &Config, i: usize) -> Mlp {
        let (names, width, inner) = (config.names, config.hidden_size, config.intermediate_size);
        let gated = config.gated_mlp();
        let modules = match (names.has(Role::GateUp), gated) {
            (true, _) => vec![(names.module(i, Role::GateUp), 2 * inner)],
            (false, true) => [Role::Gate, Role::Up].map(|r| (names.module(i, r), inner)).to_vec(),
            (false, false) => vec![(names.module(i, Role::Up), inner)],
        };
        let mut up = self.linears(&modules, width, config.mlp_bias, true);
        let up = match (up.len(), gated) {
            (2, _) => {
                let u = up.remove(1);
                Up::Split(up.remove(0), u)
            }
            (_, true) => Up::Fused(up.remove(0)),
            (_, false) => Up::Plain(up.remove(0)),
        };
        let down = self.linear(names.module(i, Role::Down), width, inner, config.mlp_bias);
        Mlp { up, down, act: config.hidden_act }
    }
}

impl Builder<'_> {
    /// What an encoder has behind its hidden states. Classifiers are no linears that an adapter is put on: it holds them whole.
    fn heads(&mut self, config: &Config) -> Heads {
        let (names, width) = (config.names, config.hidden_size);
        let Shape::Encoder(e) = &config.shape else { return Heads::default() };
        let mut heads = Heads::default();
        let shared = e.classifies && e.classifier_dense.is_none();
        if e.masked || shared {
            let dense = self.linear(names.end(Role::HeadDense), width, width, e.dense_bias);
            heads.masked = Some((dense, e.masked_act, self.norm(config, &names.end(Role::HeadNorm), width)));
        }
        if e.pooler {
            heads.pooler = Some(self.linear(names.end(Role::Pooler), width, width, true));
        }
        if e.classifies {
            let (scope, count) = (e.classifier.scope, e.classifier.labels.len());
            if let (Some((Role::ClassifierDense, _)), Scope::Sequence) = (e.classifier_dense, scope) {
                heads.classifier_dense = Some(self.pair(&names.end(Role::ClassifierDense), width, width));
            }
            let role = if scope == Scope::Sequence { Role::Classifier } else { Role::TokenClassifier };
            heads.classifier = Some(self.pair(&names.end(role), count, width));
        }
        heads
    }

    /// Weight and bias of a module.
    fn pair(&mut self, path: &str, rows: usize, cols: usize) -> (ParamId, ParamId) {
        (self.matrix(format!("{path}.weight"), rows, cols), self.vector(format!("{path}.bias"), rows))
    }
}

/// What a norm of the family computes, over `heads` parts with weights of their own.
fn norm_op(config: &Config, heads: usize) -> NormOp {
    let eps = config.norm_eps;
    match config.norm {
        NormKind::Rms { offset } => NormOp::Rms(RmsNorm { eps, offset }),
        NormKind::Layer { .. } => NormOp::Layer(LayerNorm { eps, heads }),
    }
}

impl Blueprint {
    /// `dtype` gives the type a matrix is kept in on the device, by checkpoint key; vectors are F32.
    pub fn new(config: &Config, dtype: &dyn Fn(&str) -> DType) -> Blueprint {
        let names = config.names;
        let mut b = Builder { specs: Vec::new(), dtype, transposed: names.transposed, linears: 0, computed: Vec::new() };
        let width = config.hidden_size;
        let embed = Embedding { weight: b.matrix(format!("{}.weight", names.end(Role::Embed)), config.vocab_size, width) };
        let source = b.stack(config);
        let positions = b.positions(config, config);
        let kinds = config.shape.encoder().map_or(0, |e| e.type_vocab_size);
        let types = (kinds > 0).then(|| Embedding { weight: b.matrix(format!("{}.weight", names.end(Role::TokenTypes)), kinds, width) });
        let embed_norm = names.has(Role::EmbedNorm).then(|| b.norm(config, &names.end(Role::EmbedNorm), width));
        let blocks = (0..config.num_hidden_layers).map(|i| b.block(config, i)).collect();
        let norm = names.has(Role::FinalNorm).then(|| b.norm(config, &names.end(Role::FinalNorm), width));
        let heads = b.heads(config);
        let (path, outputs) = (names.end(Role::Head), config.vocab_size);
        // An encoder without that head has no weights of it.
        let has_head = config.shape.encoder().is_none_or(|e| e.masked);
        let weight = match config.tie_word_embeddings || !has_head {
            true => embed.weight,
            false => b.matrix(format!("{path}.weight"), outputs, width),
        };
        let mut bias = (has_head && names.has(Role::HeadBias)).then(|| b.vector(format!("{}.bias", names.end(Role::HeadBias)), outputs));
        if names.has(Role::LogitsBias) {
            let key = names.end(Role::LogitsBias);
            let parts = vec![PartSpec { path: key.clone(), rows: 1, transposed: false }];
            let id = b.add(key, vec![1, outputs], DType::F32, parts);
            b.constant(id);
            bias = Some(id);
        }
        let parts = vec![Part { path, first: 0, rows: outputs }];
        let head = Linear { index: b.linears, weight, bias, parts, inputs: width, outputs };
        Blueprint { specs: b.specs, embed, positions, types, embed_norm, blocks, norm, head, heads, source, computed: b.computed }
    }
}
