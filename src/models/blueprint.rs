//! From a configuration to tensors and layers: which checkpoint keys there are, their shapes, and which share a tensor.

use super::Config;
use super::names::Names;
use crate::graph::Desc;
use crate::nn::{Attention, Embedding, KvCacheDtype, Linear, Mlp, Norm, ParamId, ParamSpec, Part, PartSpec, Projections, Up};
use crate::tensor::DType;

/// One Transformer block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub norm1: Norm,
    pub attention: Attention,
    pub norm2: Norm,
    pub mlp: Mlp,
}

/// Everything that is known before memory is allocated.
#[derive(Clone, Debug)]
pub struct Blueprint {
    pub specs: Vec<ParamSpec>,
    pub(super) embed: Embedding,
    pub(super) positions: Option<Embedding>,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: Norm,
    /// The embedding itself where they are tied.
    pub(super) head: ParamId,
}

/// What a model will need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Footprint {
    pub parameters: u64,
    pub weight_bytes: u64,
    /// With a cache of f32.
    pub kv_bytes_per_token: u64,
}

struct Builder<'a> {
    specs: Vec<ParamSpec>,
    dtype: &'a dyn Fn(&str) -> DType,
    transposed: bool,
    linears: usize,
}

impl Builder<'_> {
    fn add(&mut self, name: String, shape: Vec<usize>, dtype: DType, parts: Vec<PartSpec>) -> ParamId {
        self.specs.push(ParamSpec { name, shape, dtype, parts });
        ParamId::new(self.specs.len() - 1)
    }

    fn vector(&mut self, path: String, len: usize) -> ParamId {
        let parts = vec![PartSpec { path: path.clone(), rows: len, transposed: false }];
        self.add(path, vec![len], DType::F32, parts)
    }

    fn matrix(&mut self, path: String, rows: usize, cols: usize) -> ParamId {
        let dtype = fit((self.dtype)(&path), cols);
        let parts = vec![PartSpec { path: path.clone(), rows, transposed: false }];
        self.add(path, vec![rows, cols], dtype, parts)
    }

    fn norm(&mut self, config: &Config, path: &str, len: usize) -> Norm {
        let weight = self.vector(format!("{path}.weight"), len);
        let bias = (!config.rms_norm).then(|| self.vector(format!("{path}.bias"), len));
        Norm { weight, bias, eps: config.norm_eps }
    }

    /// Linears over the same input: one, where their types are equal (and `fuse`), else one each.
    fn linears(&mut self, modules: &[(String, usize)], inputs: usize, bias: bool, fuse: bool) -> Vec<Linear> {
        let dtypes: Vec<DType> = modules.iter().map(|(m, _)| fit((self.dtype)(&format!("{m}.weight")), inputs)).collect();
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
}

/// Kernels read packed rows in groups of eight: other 16-bit rows are kept as F32.
fn fit(dtype: DType, cols: usize) -> DType {
    if dtype != DType::F32 && !dtype.is_quantized() && !cols.is_multiple_of(8) { DType::F32 } else { dtype }
}

impl Blueprint {
    /// `dtype` gives the type a matrix is kept in on the device, by checkpoint key; vectors are F32.
    pub fn new(config: &Config, dtype: &dyn Fn(&str) -> DType) -> Blueprint {
        let names = Names::of(config);
        let gpt2 = config.model_type == "gpt2";
        let mut b = Builder { specs: Vec::new(), dtype, transposed: gpt2, linears: 0 };
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let embed = Embedding { weight: b.matrix(format!("{}.weight", names.embed()), config.vocab_size, width) };
        let positions = config
            .rope
            .is_none()
            .then(|| Embedding { weight: b.matrix(format!("{}.weight", names.positions()), config.max_position_embeddings, width) });
        let mut blocks = Vec::with_capacity(config.num_hidden_layers);
        for i in 0..config.num_hidden_layers {
            let norm1 = b.norm(config, &names.norm1(i), width);
            let (q, kv) = (config.q_width(), config.kv_width());
            let modules: Vec<_> = match names.qkv(i) {
                one if one.len() == 1 => vec![(one[0].clone(), q + 2 * kv)],
                three => three.into_iter().zip([q, kv, kv]).collect(),
            };
            // Norms on q and k need them apart.
            let mut qkv = b.linears(&modules, width, config.attention_bias, !config.qk_norm);
            let qkv = match qkv.len() {
                1 => Projections::Fused(qkv.remove(0)),
                _ => {
                    let v = qkv.remove(2);
                    let k = qkv.remove(1);
                    Projections::Split(qkv.remove(0), k, v)
                }
            };
            let mut head_norm = |which: &str| {
                config.qk_norm.then(|| Norm {
                    weight: b.vector(format!("{}.weight", names.head_norm(i, which)), config.head_dim),
                    bias: None,
                    eps: config.norm_eps,
                })
            };
            let (q_norm, k_norm) = (head_norm("q"), head_norm("k"));
            let out = b.linear(names.out(i), width, q, config.attention_out_bias);
            let attention = Attention {
                qkv,
                q_norm,
                k_norm,
                out,
                heads: config.num_attention_heads,
                kv_heads: config.num_key_value_heads,
                dim: config.head_dim,
                windowed: config.windowed.get(i).copied().unwrap_or(false),
            };
            let norm2 = b.norm(config, &names.norm2(i), width);
            let modules: Vec<_> = names.up(i).into_iter().map(|m| (m, inner)).collect();
            let mut up = b.linears(&modules, width, config.mlp_bias, true);
            let up = match (up.len(), config.gated_mlp) {
                (2, _) => {
                    let u = up.remove(1);
                    Up::Split(up.remove(0), u)
                }
                (_, true) => Up::Fused(up.remove(0)),
                (_, false) => Up::Plain(up.remove(0)),
            };
            let down = b.linear(names.down(i), width, inner, config.mlp_bias);
            blocks.push(Block { norm1, attention, norm2, mlp: Mlp { up, down, act: config.hidden_act } });
        }
        let norm = b.norm(config, &names.norm(), width);
        let head =
            if config.tie_word_embeddings { embed.weight } else { b.matrix(format!("{}.weight", names.head()), config.vocab_size, width) };
        Blueprint { specs: b.specs, embed, positions, blocks, norm, head }
    }

    /// What it will need on the device.
    pub fn footprint(&self, config: &Config) -> Footprint {
        let desc = |s: &ParamSpec| Desc { shape: s.shape.clone(), dtype: s.dtype };
        Footprint {
            parameters: self.specs.iter().map(|s| desc(s).len() as u64).sum(),
            weight_bytes: self.specs.iter().map(|s| desc(s).gpu_bytes()).sum(),
            kv_bytes_per_token: config.kv_bytes_per_token(KvCacheDtype::F32),
        }
    }
}
