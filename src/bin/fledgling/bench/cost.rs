//! What post-training costs beside its parts, as ratios of one run: a DPO step and an SFT step over the same tokens, answers from one prefill and
//! one by one.

use std::rc::Rc;

use serde_json::{Value, json};

use super::answer::{once, options};
use super::report::Report;
use super::samples::{Samples, ids};
use crate::args::BenchArgs;
use fledgling::adapters::LoadedModel;
use fledgling::generate::{GenerateOptions, Generator};
use fledgling::tune::Training;
use fledgling::{Result, clock};

/// Pairs of which each is an update: the first records and compiles, the others are new to the reference once.
const PAIRS: usize = 5;

/// Answers to one prompt.
const ANSWERS: usize = 8;

/// Rows of the same tokens for both methods: pairs, and their sequences one by one.
fn rows(vocab: usize, length: usize) -> (Vec<Value>, Vec<Value>) {
    let prompt = (length / 4).max(1);
    let part = |n: usize, salt: usize| ids(vocab, n, salt);
    let (mut pairs, mut texts) = (Vec::new(), Vec::new());
    for i in 0..PAIRS {
        let own = part(prompt, 100 * i);
        let sides = [1, 2].map(|side| part(length - prompt, 100 * i + side));
        pairs.push(json!({"prompt_ids": own, "chosen_ids": sides[0], "rejected_ids": sides[1]}));
        texts.extend(sides.iter().map(|side| {
            let labels: Vec<i64> = own.iter().map(|_| -100).chain(side.iter().map(|t| i64::from(*t))).collect();
            let whole = [&own[..], &side[..]].concat();
            json!({"input_ids": whole, "labels": labels})
        }));
    }
    (pairs, texts)
}

/// Both parts.
pub async fn run(t: &mut Report, model: &Rc<LoadedModel>, a: &BenchArgs) -> Result<()> {
    steps(t, model, a).await?;
    answers(t, model, a).await
}

/// The distance to the base is not asked for: it is a pass of its own, in either method.
async fn steps(t: &mut Report, model: &LoadedModel, a: &BenchArgs) -> Result<()> {
    let (pairs, texts) = rows(model.model.config().vocab_size, a.lora_length);
    let args = |name: &str, batch: usize| {
        json!({
            "learning_rate": 1e-5, "num_train_epochs": 1000, "adapter_name": name, "per_device_train_batch_size": batch, "shuffle": false,
            "report_kl": false, "max_length": a.lora_length, "peft_config": {"r": 8, "lora_alpha": 16},
        })
    };
    let mut sft = Training::new(model, "sft", &args("cost-sft", 2), &texts, None).await?;
    let mut dpo = Training::new(model, "dpo", &args("cost-dpo", 1), &pairs, None).await?;
    let (mut plain, mut fresh, mut known) = (Samples::default(), Samples::default(), Samples::default());
    let mut update = 0;
    // In turns, so that both meet the same machine.
    while update < 2 * PAIRS || known.wanted() {
        for is_dpo in [false, true] {
            let trainer = if is_dpo { &mut dpo } else { &mut sft };
            let begin = clock::seconds();
            trainer.step().await?;
            let seconds = clock::seconds() - begin;
            match (is_dpo, update) {
                (_, 0) => {}
                (false, _) => plain.push(seconds),
                (true, n) if n < PAIRS => fresh.push(seconds),
                (true, _) => known.push(seconds),
            }
        }
        update += 1;
    }
    let [plain, fresh, known] = [plain, fresh, known].map(|s| s.median());
    t.put("cost_length", json!(a.lora_length));
    t.millis("cost_sft_step_ms", &format!("SFT step, 2 × {}", a.lora_length), plain * 1e3);
    t.millis("cost_dpo_step_ms", "DPO step over the same tokens", fresh * 1e3);
    t.line("cost_dpo_over_sft", "  DPO / SFT (bar: 2.3)", fresh / plain, "", 2);
    t.millis("cost_dpo_known_step_ms", "DPO step, reference known", known * 1e3);
    t.line("cost_dpo_known_over_sft", "  DPO / SFT (bar: 1.6)", known / plain, "", 2);
    drop((sft, dpo));
    for name in ["cost-sft", "cost-dpo"] {
        model.adapters.remove(name);
    }
    Ok(())
}

async fn answers(t: &mut Report, model: &Rc<LoadedModel>, a: &BenchArgs) -> Result<()> {
    let mut g = Generator::new(model.clone())?;
    let of = |n: usize, seed: u32| GenerateOptions { temperature: 0.8, seed, ..options(n, a.new_tokens) };
    // Records and compiles.
    for n in [1, ANSWERS] {
        once(&mut g, a, GenerateOptions { max_new_tokens: 3.min(a.new_tokens), ..of(n, 0) }, 0).await?;
    }
    let (mut together, mut apart) = (Samples::default(), Samples::default());
    while together.wanted() {
        let salt = 1 + together.len();
        let begin = clock::seconds();
        once(&mut g, a, of(ANSWERS, 1), salt).await?;
        let middle = clock::seconds();
        for seed in 0..ANSWERS {
            once(&mut g, a, of(1, seed as u32), salt).await?;
        }
        together.push(middle - begin);
        apart.push(clock::seconds() - middle);
    }
    let [together, apart] = [together, apart].map(|s| s.median());
    t.put("cost_answers", json!(ANSWERS));
    t.millis(
        "cost_answers_together_ms",
        &format!("{ANSWERS} × {} tokens from one prefill of {}", a.new_tokens, a.prompt_length),
        together * 1e3,
    );
    t.millis("cost_answers_apart_ms", "  one by one", apart * 1e3);
    t.line("cost_apart_over_together", "  one by one / from one (bar: 3)", apart / together, "", 2);
    Ok(())
}
