//! Trainings that cannot change anything: who starts one should be told before it has run for hours.

use super::config::TrainingArguments;
use super::methods::table::MethodInfo;
use super::values::Values;

/// Updates whose rates are looked at.
const LOOKED_AT: u64 = 10_000;

/// Sentences, none where something can be learned. `lora_alpha` is the adapter's.
pub(super) fn notes(info: &MethodInfo, values: &Values, args: &TrainingArguments, total_steps: u64, lora_alpha: f64) -> Vec<String> {
    let mut said = Vec::new();
    if total_steps == 0 {
        said.push("no update is made, and the adapter stays as it is: num_train_epochs is 0".to_string());
    } else if args.learning_rate == 0.0 {
        said.push("learning_rate is 0: the adapter stays as it is".into());
    } else {
        let schedule = args.schedule(total_steps);
        if (0..total_steps.min(LOOKED_AT)).all(|step| schedule.at(step) == 0.0) {
            said.push(format!(
                "the learning rate is 0 in all {total_steps} updates, which are within the warm-up: the adapter stays as it is"
            ));
        }
    }
    if lora_alpha == 0.0 {
        said.push("lora_alpha is 0: what the adapter learns is multiplied by 0".into());
    }
    said.extend((info.idle)(values));
    said
}

/// What a label_smoothing of half leaves of preferences.
pub(super) fn smoothed_away(values: &Values) -> Option<String> {
    (values.number("label_smoothing") == 0.5)
        .then(|| "label_smoothing is 0.5: half of the rankings are taken to be mistaken, and no answer is preferred".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::methods::{METHODS, by_name};
    use serde_json::json;

    #[test]
    fn what_cannot_change_anything_is_told() {
        let of = |method: &str, config: serde_json::Value, rows: usize| {
            let info = by_name(method).unwrap();
            let values = info.read(config.as_object().unwrap()).unwrap();
            let args = TrainingArguments::of(&values);
            notes(info, &values, &args, args.total_steps(rows), 16.0).join("; ")
        };
        for method in METHODS.iter().map(|m| m.name) {
            assert_eq!(of(method, json!({}), 5), "");
            assert!(of(method, json!({"learning_rate": 0}), 5).contains("learning_rate is 0"));
            assert!(of(method, json!({"num_train_epochs": 0}), 5).contains("no update is made"));
            assert!(of(method, json!({"max_steps": 1, "warmup_steps": 1}), 5).contains("in all 1 updates"));
            assert_eq!(of(method, json!({"max_steps": 2, "warmup_steps": 1}), 5), "");
        }
        assert!(of("dpo", json!({"beta": 0}), 5).contains("beta is 0") && of("kto", json!({"beta": 0}), 5).contains("nothing is learned"));
        assert!(of("orpo", json!({"beta": 0}), 5).contains("rejected") && of("cpo", json!({"beta": 0}), 5).contains("rejected"));
        assert!(of("cpo", json!({"beta": 0, "cpo_alpha": 0}), 5).contains("nothing is learned"));
        assert!(of("dpo", json!({"label_smoothing": 0.5}), 5).contains("label_smoothing has no effect"));
        assert!(of("dpo", json!({"label_smoothing": 0.5, "loss_type": ["sigmoid", "aot"]}), 5).contains("no answer is preferred"));
        assert_eq!(of("dpo", json!({"label_smoothing": 0.1, "loss_type": "robust"}), 5), "");
        assert!(of("kto", json!({"desirable_weight": 0, "undesirable_weight": 0}), 5).contains("weight"));
        assert_eq!(of("kto", json!({"desirable_weight": 0}), 5), "");
    }
}
