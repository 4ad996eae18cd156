//! What checkpoints call things.

use super::Config;

/// Module paths of one block and of the model's ends, by family.
pub(super) struct Names {
    gpt2: bool,
}

impl Names {
    pub fn of(config: &Config) -> Names {
        Names { gpt2: config.model_type == "gpt2" }
    }

    fn pick(&self, llama: &str, gpt2: &str) -> String {
        if self.gpt2 { gpt2.to_string() } else { llama.to_string() }
    }

    fn block(&self, i: usize, llama: &str, gpt2: &str) -> String {
        if self.gpt2 { format!("transformer.h.{i}.{gpt2}") } else { format!("model.layers.{i}.{llama}") }
    }

    pub fn embed(&self) -> String {
        self.pick("model.embed_tokens", "transformer.wte")
    }

    pub fn positions(&self) -> String {
        "transformer.wpe".into()
    }

    pub fn norm(&self) -> String {
        self.pick("model.norm", "transformer.ln_f")
    }

    pub fn head(&self) -> String {
        "lm_head".into()
    }

    pub fn norm1(&self, i: usize) -> String {
        self.block(i, "input_layernorm", "ln_1")
    }

    pub fn norm2(&self, i: usize) -> String {
        self.block(i, "post_attention_layernorm", "ln_2")
    }

    /// q, k, v; one fused module in GPT-2.
    pub fn qkv(&self, i: usize) -> Vec<String> {
        if self.gpt2 {
            return vec![self.block(i, "", "attn.c_attn")];
        }
        ["q_proj", "k_proj", "v_proj"].iter().map(|n| self.block(i, &format!("self_attn.{n}"), "")).collect()
    }

    pub fn head_norm(&self, i: usize, which: &str) -> String {
        self.block(i, &format!("self_attn.{which}_norm"), "")
    }

    pub fn out(&self, i: usize) -> String {
        self.block(i, "self_attn.o_proj", "attn.c_proj")
    }

    /// Gate and up, or the one layer before the activation.
    pub fn up(&self, i: usize) -> Vec<String> {
        if self.gpt2 {
            return vec![self.block(i, "", "mlp.c_fc")];
        }
        ["gate_proj", "up_proj"].iter().map(|n| self.block(i, &format!("mlp.{n}"), "")).collect()
    }

    pub fn down(&self, i: usize) -> String {
        self.block(i, "mlp.down_proj", "mlp.c_proj")
    }
}

/// The checkpoint key that a GGUF's tensor name stands for.
pub(super) fn from_gguf(name: &str) -> Option<String> {
    let (stem, end) = name.rsplit_once('.')?;
    if end != "weight" && end != "bias" {
        return None;
    }
    let module = match stem {
        "token_embd" => "model.embed_tokens".to_string(),
        "output_norm" => "model.norm".to_string(),
        "output" => "lm_head".to_string(),
        _ => {
            let (i, part) = stem.strip_prefix("blk.")?.split_once('.')?;
            let part = match part {
                "attn_norm" => "input_layernorm",
                "ffn_norm" => "post_attention_layernorm",
                "attn_q" => "self_attn.q_proj",
                "attn_k" => "self_attn.k_proj",
                "attn_v" => "self_attn.v_proj",
                "attn_output" => "self_attn.o_proj",
                "attn_q_norm" => "self_attn.q_norm",
                "attn_k_norm" => "self_attn.k_norm",
                "ffn_gate" => "mlp.gate_proj",
                "ffn_up" => "mlp.up_proj",
                "ffn_down" => "mlp.down_proj",
                _ => return None,
            };
            i.parse::<usize>().ok()?;
            format!("model.layers.{i}.{part}")
        }
    };
    Some(format!("{module}.{end}"))
}

/// The key as this crate spells it: base-model checkpoints leave the first part out.
pub(super) fn from_safetensors(config: &Config, name: &str) -> String {
    let root = if config.model_type == "gpt2" { "transformer." } else { "model." };
    if name.starts_with(root) || name.starts_with("lm_head.") { name.to_string() } else { format!("{root}{name}") }
}

#[cfg(test)]
mod tests {
    use super::from_gguf;

    #[test]
    fn gguf_names() {
        assert_eq!(from_gguf("blk.11.attn_q.weight").as_deref(), Some("model.layers.11.self_attn.q_proj.weight"));
        assert_eq!(from_gguf("token_embd.weight").as_deref(), Some("model.embed_tokens.weight"));
        assert_eq!(from_gguf("blk.x.attn_q.weight"), None);
        assert_eq!(from_gguf("rope_freqs.weight"), None);
    }
}
