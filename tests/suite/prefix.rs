//! Decoders with the mask `prefix`: logits, curves and answers against Transformers, what may see what, caches, what is saved and what is refused.

use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::data::{Batch, Example, IGNORE, Mask, Sight};
use fledgling::formats::Container;
use fledgling::generate::{GenerateOptions, Generator};
use fledgling::graph::{Desc, Program, ProgramOptions, StepParams, Tape};
use fledgling::models::TrainInputs;
use fledgling::nn::KvCacheDtype;
use fledgling::tensor::dequantize;
use fledgling::tune::{Training, check_config};
use fledgling::{Error, Result};
use serde_json::{Value, json};
use std::rc::Rc;

use crate::generate::{logp, long_context_on, prompt};
use crate::harness::{cpu, devices};
use crate::training::{acting, curve, distance, follow_on, tiny_on, trainer};

const LOGITS: &[u8] = include_bytes!("../fixtures/prefix/logits.safetensors");

/// Integers of a fixture are I32, which the reader does not deliver.
fn ids(name: &str) -> Vec<u32> {
    let size = u64::from_le_bytes(LOGITS[..8].try_into().expect("eight")) as usize;
    let header: Value = serde_json::from_slice(&LOGITS[8..8 + size]).expect("JSON");
    let at = |i: usize| 8 + size + header[name]["data_offsets"][i].as_u64().expect("an offset") as usize;
    bytemuck::pod_collect_to_vec(&LOGITS[at(0)..at(1)])
}

/// Logits of every token of a sequence from one pass without a cache, its first `prefix` tokens seeing one another.
async fn logits(model: &LoadedModel, ids: &[u32], prefix: usize) -> Result<Vec<Vec<f32>>> {
    let m = &model.model;
    let mut example = Example { ids: ids.to_vec(), labels: vec![IGNORE; ids.len()], ..Example::default() };
    example.set_prefix(prefix);
    let batch = Batch::new(&[&example], Sight::Causal, m.window());
    let rows = batch.shape.len;
    let mut tape = Tape::new();
    let inputs = TrainInputs {
        batch: 1,
        ids: tape.input("ids", Desc::u32(&[rows])),
        positions: tape.input("positions", Desc::u32(&[rows])),
        spans: tape.input("spans", Desc::u32(&[rows, 2])),
        window_spans: m.window().map(|_| tape.input("window_spans", Desc::u32(&[rows, 2]))),
        types: None,
        source: None,
    };
    let hidden = m.record_hidden(&mut tape, &inputs, None, false)?;
    let all = m.record_logits(&mut tape, hidden, None)?;
    tape.output("logits", all);
    let program = Program::build(m.exec(), &tape, ProgramOptions::default())?;
    program.write("ids", &batch.ids);
    program.write("positions", &batch.positions);
    program.write("spans", &batch.spans);
    if m.window().is_some() {
        program.write("window_spans", &batch.window_spans);
    }
    let all = program.run_f32(&StepParams::default(), "logits").await?;
    Ok(all.chunks(m.config().vocab_size).take(ids.len()).map(<[f32]>::to_vec).collect())
}

fn off(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

fn greedy(n: usize) -> GenerateOptions {
    GenerateOptions { max_new_tokens: n, ignore_eos: true, ..GenerateOptions::default() }
}

fl_test!(
    /// Logits and greedy tokens are Transformers' under the same mask.
    async fn prefix_logits_and_answers() -> Result<()> {
        let file = Container::parse("fixture", LOGITS)?;
        let at = file.index_of("logits").expect("logits");
        let want = dequantize(file.tensors[at].dtype, file.bytes(LOGITS, at)?);
        for exec in devices().await {
            let model = tiny_on(exec).await?;
            model.model.set_mask(Mask::Prefix);
            let all = ids("ids");
            let got = logits(&model, &all, 21).await?.concat();
            assert!(off(&got, &want) < 1e-4, "logits are off by {}", off(&got, &want));
            let mut g = Generator::new(Rc::new(model))?;
            let answer = g.run(&all[..21], greedy(9), &mut |_| ()).await?.remove(0);
            assert_eq!(answer.token_ids, ids("greedy"));
            let last = g.logits_at(&all, &[20], &AdapterChoice::Base).await?.remove(0);
            assert!(off(&last, &want[20 * last.len()..21 * last.len()]) < 1e-4);
        }
        Ok(())
    }

    /// The prompt does not see the answer, the answer nothing that stands behind it, and the prompt's first token its last.
    async fn prefix_tokens_see_what_they_may() -> Result<()> {
        for exec in devices().await {
            let model = tiny_on(exec).await?;
            let (all, prefix) = (prompt(24), 11);
            let before = logits(&model, &all, prefix).await?;
            for changed in [3, 10, 11, 17, 23] {
                let mut other = all.clone();
                other[changed] = 3 + (other[changed] + 40) % 90;
                let after = logits(&model, &other, prefix).await?;
                for (t, (a, b)) in before.iter().zip(&after).enumerate() {
                    let sees = changed <= t || (changed < prefix && t < prefix);
                    assert_eq!(off(a, b) > 1e-4, sees, "token {t}, of which number {changed} was changed");
                    assert!(sees || off(a, b) < 1e-6);
                }
            }
        }
        Ok(())
    }

    /// Answers over the cache are those of whole passes: prompts longer than any chunk, windows, several candidates, a chat that goes on.
    async fn prefix_caches_are_whole_passes() -> Result<()> {
        for (exec, window, n) in [(cpu(), None, 300), (cpu(), Some(20), 75), (devices().await[0].clone(), Some(7), 40)] {
            let model = long_context_on(&exec, window, KvCacheDtype::F32).await?;
            model.model.set_mask(Mask::Prefix);
            let mut g = Generator::new(model.clone())?;
            let check = async |g: &mut Generator, prompt: &[u32], n: usize| -> Result<Vec<u32>> {
                let options = GenerateOptions { n, temperature: 1.0, seed: 5, ..greedy(5) };
                let answers = g.run(prompt, options, &mut |_| ()).await?;
                for c in &answers {
                    let all = [prompt, &c.token_ids].concat();
                    let want = logits(&model, &all, prompt.len()).await?;
                    for (i, (id, lp)) in c.token_ids.iter().zip(&c.logprobs).enumerate() {
                        let want = logp(&want[prompt.len() + i - 1], *id);
                        assert!((f64::from(*lp) - want).abs() < 1e-4, "{window:?}, token {i}: {lp}, expected {want}");
                    }
                }
                Ok(answers[0].token_ids.clone())
            };
            let first = prompt(n);
            let answer = check(&mut g, &first, 2).await?;
            // The prompt has grown: what was read of it saw less.
            let next = [&first[..], &answer, &[5, 6, 7]].concat();
            check(&mut g, &next, 1).await?;
            // The same one again: all but its last token is kept.
            g.start(&next, greedy(1))?;
            assert_eq!(g.cached_tokens(), next.len() - 1);
            g.finish().await?;
            check(&mut g, &next, 1).await?;
            // A causal cache is none of a prefix decoder's.
            model.model.set_mask(Mask::Causal);
            let causal = g.run(&next, greedy(1), &mut |_| ()).await?.remove(0).logprobs[0];
            model.model.set_mask(Mask::Prefix);
            check(&mut g, &next, 1).await?;
            let own = g.run(&next, greedy(1), &mut |_| ()).await?.remove(0).logprobs[0];
            assert!((causal - own).abs() > 1e-4, "{causal} {own}");
        }
        Ok(())
    }

    /// Curves of DPO and SFT, and the gradients that they begin with, are PyTorch's under the mask.
    async fn prefix_curves() -> Result<()> {
        let curves: [(&str, &[u8], &[u8]); 2] = [
            ("dpo", include_bytes!("../fixtures/prefix/dpo.json"), include_bytes!("../fixtures/prefix/dpo_grad_step0.safetensors")),
            ("sft", include_bytes!("../fixtures/prefix/sft.json"), include_bytes!("../fixtures/prefix/sft_grad_step0.safetensors")),
        ];
        for exec in devices().await {
            let model = tiny_on(exec).await?;
            model.model.set_mask(Mask::Prefix);
            for (method, bytes, gradients) in &curves {
                follow_on(&model, method, &format!("prefix {method}"), bytes, 2e-3).await?;
                let (config, rows, _) = curve(bytes);
                let set = acting(&model)?;
                let mut t = trainer(method, &model, &set, &config, &rows)?;
                t.gradients().await?;
                let own: Vec<_> = set.export_grads().await?.into_iter().filter(|g| g.name.contains("layers.1")).collect();
                let off = distance(&own, gradients, "grad/");
                assert!(off < 1e-3, "{method}: gradients are off by {off}");
                report!("gradients of {method} with prefixes: {off:.1e}");
            }
        }
        Ok(())
    }

    /// An adapter says what it was trained with, and wants it; what makes no sense is refused by name.
    async fn prefix_adapters_and_refusals() -> Result<()> {
        let exec = cpu();
        let model = tiny_on(exec.clone()).await?;
        model.model.set_mask(Mask::Prefix);
        let config = json!({"r": 2, "target_modules": ["q_proj"], "max_steps": 2, "report_kl": false});
        let row = json!({"input_ids": [4, 5, 6, 7, 8], "labels": [-100, -100, -100, 7, 8]});
        let mut t = Training::new(&model, "sft", &config, std::slice::from_ref(&row), None).await?;
        t.step().await?;
        let checkpoint = t.checkpoint().await?;
        for kind in ["LORA", "PROMPT_TUNING"] {
            let config = match kind {
                "LORA" => config.clone(),
                _ => json!({"peft_type": kind, "num_virtual_tokens": 3, "max_steps": 1, "adapter_name": kind}),
            };
            let mut t = Training::new(&model, "sft", &config, std::slice::from_ref(&row), None).await?;
            while t.step().await?.is_some() {}
            let info = model.adapters.list().into_iter().find(|a| a.name == t.adapter_name()).expect("published");
            assert_eq!(info.mask, Mask::Prefix);
            let (text, weights) = model.adapters.save(&info.name).await?;
            assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["mask"], "prefix");
            let adapter = fledgling::formats::peft::PeftAdapter::read(&text, &weights)?;
            let other = tiny_on(exec.clone()).await?;
            let refused = other.adapters.add("a", &adapter).unwrap_err().to_string();
            assert!(refused.contains("mask prefix"), "{refused}");
            other.model.set_mask(Mask::Prefix);
            assert_eq!(other.adapters.add("a", &adapter)?.mask, Mask::Prefix);
        }
        let field = |e: Result<Training>| match e.err() {
            Some(Error::BadConfig { field, message }) => format!("{field} {message}"),
            other => panic!("{other:?}"),
        };
        let text = json!({"input_ids": [4, 5, 6, 7]});
        let wrapped = json!({"packing": true, "packing_strategy": "wrapped", "max_length": 8});
        assert!(field(Training::new(&model, "sft", &config, &[text], None).await).starts_with("mask is prefix"));
        assert!(check_config("sft", &wrapped).is_ok());
        assert!(field(Training::new(&model, "sft", &wrapped, std::slice::from_ref(&row), None).await).starts_with("packing_strategy"));
        let causal = tiny_on(exec.clone()).await?;
        let continued = Training::new(&causal, "sft", &config, &[row], Some(&checkpoint)).await;
        assert!(field(continued).contains("mask"));
        for (row, said) in [
            (json!({"input_ids": [4, 5, 6], "labels": [-100, 5, 6], "prefix_length": 2}), "labels[1]"),
            (json!({"input_ids": [4, 5, 6], "prefix_length": 3}), "prefix_length"),
            (json!({"input_ids": [4, 5, 6], "prefix_length": -1}), "prefix_length"),
        ] {
            let e = Training::new(&model, "sft", &config, &[row], None).await.err().expect("refused").to_string();
            assert!(e.contains(said), "{e}");
        }
        Ok(())
    }
);
