//! Rounds as JSON lines, in the columns that replay them.

use serde_json::{Map, Value, json};

use super::round::{Rounds, Sample};

/// A round's rollouts: one object for each prompt. `prompt_ids`, `completion_ids` and `rewards` (with `rewards_per_func`) replay it; the others say what
/// was known of it: the prompt as it was asked, the completions' texts, ln p and entropies of their tokens under the policy that wrote them
/// (`logprobs`, `entropies`, at the training's temperature), ln p under the reference, advantages, the seed, the round and the dataset's row.
pub fn record(rounds: &Rounds) -> Vec<Value> {
    let Some(round) = rounds.round() else { return Vec::new() };
    let per = rounds.plan().generations;
    let groups = round.samples.chunks(per).zip(&round.prompts);
    let one = |(samples, place): (&[Sample], &u32)| {
        let prompt = &rounds.prompts()[*place as usize];
        let mut row = Map::new();
        let mut put = |name: &str, value: Value| {
            row.insert(name.to_string(), value);
        };
        put("prompt_ids", json!(prompt.ids));
        put("completion_ids", samples.iter().map(|s| json!(s.completion())).collect());
        put("rewards", samples.iter().map(|s| json!(s.reward)).collect());
        let by = |i: usize| samples.iter().map(|s| json!(s.scores[i])).collect::<Value>();
        put("rewards_per_func", Value::Object(round.judges.iter().enumerate().map(|(i, name)| (name.clone(), by(i))).collect()));
        if !prompt.asked.is_array() || prompt.asked.as_array().is_some_and(|l| l.iter().all(Value::is_object)) {
            put("prompt", prompt.asked.clone());
        }
        put("completions", samples.iter().map(|s| json!(s.text)).collect());
        let each = |of: fn(&Sample) -> &[f32]| samples.iter().map(|s| json!(of(s))).collect::<Value>();
        put("logprobs", each(|s| &s.old));
        put("entropies", each(|s| &s.entropies));
        if rounds.has_reference() {
            put("ref_logprobs", each(|s| &s.reference));
        }
        put("advantages", samples.iter().map(|s| json!(s.advantage)).collect());
        put("seed", json!(samples.first().and_then(|s| s.seed)));
        put("round", json!(round.number));
        put("row", json!(prompt.row));
        Value::Object(row)
    };
    groups.map(one).collect()
}
