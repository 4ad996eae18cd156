//! LoRA on the real model: ten losses and the first gradients against PyTorch + PEFT, from the same initial adapter.
//!
//! The initial A is PEFT's own after `torch.manual_seed(42)`; the Mersenne Twister below draws the same numbers, so that 10 MB need not
//! be committed.

use fledgling::cpu::{Cpu, CpuOptions};
use fledgling::formats::Container;
use fledgling::formats::peft::{LoraAdapter, LoraConfig, LoraPair, Target};
use fledgling::graph::Exec;
use fledgling::tensor::dequantize;
use fledgling::tune::{ModelText, Target as TuneTarget, Trainer, prepare};
use serde_json::{Value, json};

use crate::load;

/// MT19937 (Matsumoto & Nishimura 1998), seeded as PyTorch seeds its CPU generator.
pub struct MersenneTwister {
    state: [u32; 624],
    at: usize,
}

impl MersenneTwister {
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; 624];
        for i in 1..624 {
            let last = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        MersenneTwister { state, at: 624 }
    }

    fn next(&mut self) -> u32 {
        if self.at == 624 {
            for k in 0..624 {
                let y = (self.state[k] & 0x8000_0000) | (self.state[(k + 1) % 624] & 0x7fff_ffff);
                self.state[k] = self.state[(k + 397) % 624] ^ (y >> 1) ^ if y & 1 == 1 { 0x9908_b0df } else { 0 };
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `torch.nn.init.kaiming_uniform_(a=√5)` of a weight with `fan_in` columns.
    pub fn kaiming(&mut self, n: usize, fan_in: usize) -> Vec<f32> {
        let bound = (3f64.sqrt() * ((2f64 / 6.0).sqrt() / (fan_in as f64).sqrt())) as f32;
        (0..n).map(|_| ((self.next() & 0x00ff_ffff) as f32 / 16_777_216.0).mul_add(bound - -bound, -bound)).collect()
    }
}

const LAYERS: usize = 30;
/// Module, inputs, outputs, in the order in which PEFT meets them.
const MODULES: [(&str, usize, usize); 7] = [
    ("self_attn.q_proj", 576, 576),
    ("self_attn.k_proj", 576, 192),
    ("self_attn.v_proj", 576, 192),
    ("self_attn.o_proj", 576, 576),
    ("mlp.gate_proj", 576, 1536),
    ("mlp.up_proj", 576, 1536),
    ("mlp.down_proj", 1536, 576),
];

/// The adapter at step 0: what `get_peft_model` draws after `torch.manual_seed(42)`, B zero.
pub fn initial(r: usize, alpha: f64) -> LoraAdapter {
    let mut random = MersenneTwister::new(42);
    let names: Vec<&str> = MODULES.iter().map(|m| m.0.rsplit('.').next().unwrap()).collect();
    let config = json!({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": r, "lora_alpha": alpha, "target_modules": names});
    let config = LoraConfig::parse("adapter_config.json", &config.to_string()).unwrap();
    let mut pairs = Vec::new();
    for layer in 0..LAYERS {
        for (module, input, output) in MODULES {
            // torch.nn.Linear initializes both of its weights first; PEFT then draws A again and zeroes B.
            random.kaiming(r * input, input);
            random.kaiming(r * output, r);
            let module = format!("model.layers.{layer}.{module}");
            let target = Target { module, r, alpha, scale: alpha / r as f64 };
            let a = random.kaiming(r * input, input);
            pairs.push(LoraPair { target, in_features: input, out_features: output, a, b: vec![0.0; output * r], magnitude: None });
        }
    }
    pairs.sort_by(|x, y| x.target.module.cmp(&y.target.module));
    LoraAdapter { config, pairs, saved: Vec::new() }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// First-step gradients of every B: every eighth row of each is committed (half precision, one scale for all); with FLEDGLING_ORACLE,
/// a folder that holds the whole `lora_grad_step0.safetensors`, all rows are compared.
fn compare_gradients(got: &LoraAdapter) -> f64 {
    let whole = std::env::var_os("FLEDGLING_ORACLE").map(|f| std::path::PathBuf::from(f).join("lora_grad_step0.safetensors"));
    let (file, stride) = match &whole {
        Some(path) => (std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())), 1),
        None => (include_bytes!("../fixtures/smollm2/lora_grad_step0.safetensors").to_vec(), 8),
    };
    let c = Container::parse("lora_grad_step0.safetensors", &file).unwrap();
    assert_eq!(c.tensors.len(), got.pairs.len(), "tensors in the fixture");
    let mut worst = 1.0f64;
    for p in &got.pairs {
        let name = format!("base_model.model.{}.lora_B.weight", p.target.module);
        let i = c.index_of(&name).unwrap_or_else(|| panic!("no {name}"));
        let want = dequantize(c.tensors[i].dtype, c.bytes(&file, i).unwrap());
        let have: Vec<f32> = p.b.chunks(p.target.r).step_by(stride).flatten().copied().collect();
        assert_eq!(want.len(), have.len(), "{name}");
        let cos = cosine(&have, &want);
        assert!(cos >= 0.9999, "{name}: cosine {cos}");
        worst = worst.min(cos);
    }
    worst
}

#[test]
fn ten_lora_steps() {
    pollster::block_on(async {
        for exec in super::devices().await.unwrap() {
            ten_steps(&exec, false).await;
        }
    });
}

/// On the processor, which takes a second where a software adapter takes a minute.
#[test]
fn ten_lora_steps_with_halves() {
    pollster::block_on(ten_steps(&Exec::Cpu(Cpu::new(CpuOptions::default())), true));
}

async fn ten_steps(exec: &Exec, fp16: bool) {
    let oracle: Value = serde_json::from_str(include_str!("../fixtures/smollm2/lora.json")).unwrap();
    let model = load(exec).await.unwrap();
    model.adapters.add("start", &initial(8, 16.0)).unwrap();
    let losses: Vec<f64> = oracle["losses"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let norms: Vec<f64> = oracle["grad_norms"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let config = json!({
        "learning_rate": oracle["lr"], "max_steps": losses.len(), "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 0.0,
        "per_device_train_batch_size": 1, "shuffle": false, "fp16": fp16,
    });
    let rows = [json!({"input_ids": oracle["ids"]})];
    let p = prepare("sft", &ModelText::of(&model), config.as_object().unwrap(), &rows).unwrap();
    let set = model.adapters.copy_of("start").unwrap();
    let target = TuneTarget::Adapter { set: set.clone(), name: "start".into() };
    let mut trainer = Trainer::new(model.model.clone(), target, None, p.args, p.method).unwrap();

    trainer.gradients().await.unwrap();
    let worst = compare_gradients(&set.lora_grads().await.unwrap());
    eprintln!("gradients of {} tensors: cosine at least {worst:.7}", LAYERS * MODULES.len());

    let mut largest = 0.0f64;
    for (i, want) in losses.iter().enumerate() {
        let m = trainer.step().await.unwrap().expect("ten steps");
        let error = (m.metrics.loss() - want).abs() / want;
        eprintln!(
            "step {}: loss {:.6} (PyTorch {want:.6}, relative error {error:.1e}), gradient norm {:.5} ({:.5}), {:.1} s",
            i + 1,
            m.metrics.loss(),
            m.grad_norm,
            norms[i],
            m.tokens_per_second.recip() * 128.0
        );
        assert!(error <= 1e-3, "step {}: loss {} instead of {want}", i + 1, m.metrics.loss());
        largest = largest.max(error);
    }
    eprintln!("ten losses: largest relative error {largest:.1e}");
}
