//! Long contexts end to end: prompts and rows of eight thousand tokens, on both executors. Every query of such a row still sees all of
//! it, though a software adapter's thread cannot walk over as many keys in one dispatch.

use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::generate::{Candidate, GenerateOptions, Generator};
use fledgling::graph::Exec;
use fledgling::models::{Config, Model};
use fledgling::nn::KvCacheDtype;
use fledgling::tensor::DType;
use fledgling::tune::Training;
use serde_json::json;

use crate::harness::devices;
use crate::opcase::Rng;

/// Half as many in a browser, where they take minutes: still more slots than a thread of its software adapter walks over.
const TOKENS: usize = if cfg!(target_arch = "wasm32") { 4096 } else { 8192 };

/// One layer with one head as wide as those of large models. Its weights are large enough for a query to look at some keys rather than at the
/// average of all of them, which would hide a missing one.
fn model(exec: &Exec, kv_cache_dtype: KvCacheDtype) -> Result<Rc<LoadedModel>> {
    let config = json!({
        "model_type": "llama", "vocab_size": 96, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1,
        "num_key_value_heads": 1, "head_dim": 128, "max_position_embeddings": TOKENS + 256, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "tie_word_embeddings": false,
    });
    let model = Model::allocate(exec, Config::from_json("config.json", &config.to_string())?, &|_| DType::F32, false)?;
    let mut rng = Rng(8);
    for path in model.params().paths() {
        let p = model.params().find(path).expect("listed");
        let matrix = p.shape.len() > 1;
        let values: Vec<f32> = (0..p.shape.iter().product()).map(|_| if matrix { 0.5 * rng.uniform() as f32 } else { 1.0 }).collect();
        model.params().set(path, &values)?;
    }
    Ok(Rc::new(LoadedModel::of(model, None, "noise").with_kv_cache_dtype(kv_cache_dtype)))
}

fn tokens(n: usize) -> Vec<u32> {
    let mut rng = Rng(4);
    (0..n).map(|_| (rng.next() % 96) as u32).collect()
}

fn furthest<'a>(a: impl IntoIterator<Item = &'a f32>, b: impl IntoIterator<Item = &'a f32>) -> f32 {
    a.into_iter().zip(b).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

fl_test!(
    /// The prompt in chunks and some tokens more, which see all of it.
    async fn long_prompts_are_read_and_answered() -> Result<()> {
        let (prompt, options) = (tokens(TOKENS), GenerateOptions { max_new_tokens: 6, ignore_eos: true, ..GenerateOptions::default() });
        let dtypes = [KvCacheDtype::F32, KvCacheDtype::F16].into_iter().take(if cfg!(target_arch = "wasm32") { 1 } else { 2 });
        for dtype in dtypes {
            let mut answers: Vec<(Candidate, Vec<f32>)> = Vec::new();
            for exec in devices().await {
                let mut g = Generator::new(model(&exec, dtype)?)?;
                let answer = g.run(&prompt, options.clone(), &mut |_| ()).await?.remove(0);
                assert_eq!(answer.token_ids.len(), 6);
                let nll = if dtype == KvCacheDtype::F32 { g.nll(&prompt, &AdapterChoice::Base).await? } else { Vec::new() };
                answers.push((answer, nll));
            }
            let [(gpu, gpu_nll), (cpu, cpu_nll)] = &answers[..] else { unreachable!("two executors") };
            assert_eq!(gpu.token_ids, cpu.token_ids);
            let (decoded, read) = (furthest(&gpu.logprobs, &cpu.logprobs), furthest(gpu_nll, cpu_nll));
            report!("{dtype:?}: GPU and processor differ by {decoded:.1e} behind {TOKENS} tokens, by {read:.1e} while reading them");
            assert!(decoded < 2e-4 && read < 2e-4, "{decoded} and {read}");
        }
        Ok(())
    }

    /// A LoRA step over one row: the same on both executors, and in memory that grows with the row, not with its square.
    async fn a_step_over_a_long_row() -> Result<()> {
        let args = json!({"max_steps": 1, "max_length": TOKENS, "per_device_train_batch_size": 1, "r": 2, "lora_alpha": 4});
        let mut steps = Vec::new();
        for exec in devices().await {
            let model = model(&exec, KvCacheDtype::F32)?;
            let trainer = async |n: usize| Training::new(&model, "sft", &args, &[json!({"input_ids": tokens(n)})], None).await;
            let half = trainer(TOKENS / 2).await?.planned_bytes(false)?;
            let mut t = trainer(TOKENS).await?;
            let whole = t.planned_bytes(false)?;
            assert!(whole * 10 <= half * 22, "{whole} bytes for {TOKENS} tokens, {half} for half as many");
            let m = t.step().await?.expect("a step");
            assert!(t.activation_bytes() <= whole, "{} bytes of activations, {whole} planned", t.activation_bytes());
            report!("{}: {whole} bytes of activations; loss {}, gradient {}", exec.info().name, m.metrics.loss(), m.grad_norm);
            steps.push((m.metrics.loss(), m.grad_norm));
        }
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-4 * b.abs();
        assert!(near(steps[0].0, steps[1].0) && near(steps[0].1, steps[1].1), "loss and gradient: {steps:?}");
        Ok(())
    }
);
