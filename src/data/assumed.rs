//! Rows where there are none yet, as long as rows can be: for those who ask what a training will take before they have its data.

use serde_json::{Value, json};

use super::columns::RowKind;

impl RowKind {
    /// `n` rows of token ids whose sequences have `length` tokens each, of which all but the first are judged. What is sampled is replayed.
    pub fn assumed(self, n: usize, length: usize) -> Vec<Value> {
        let ids = |last: u32| (1..length.saturating_sub(1)).map(|_| 0).chain([last]).collect::<Vec<u32>>();
        let whole = |last: u32| [vec![0], ids(last)].concat();
        let row = |i: usize| match self {
            RowKind::Sft => json!({"input_ids": vec![0; length]}),
            RowKind::Preference | RowKind::Ranking => json!({"prompt_ids": [0], "chosen_ids": ids(0), "rejected_ids": ids(1)}),
            RowKind::Reward => json!({"chosen_ids": whole(0), "rejected_ids": whole(1)}),
            RowKind::Rollout | RowKind::Prompt => json!({"prompt_ids": [0], "completion_ids": [ids(0), ids(1)], "rewards": [0.0, 1.0]}),
            RowKind::Unpaired => json!({"prompt_ids": [0], "completion_ids": ids(0), "label": i.is_multiple_of(2)}),
        };
        (0..n).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Row;

    #[test]
    fn they_are_rows() {
        for kind in [RowKind::Sft, RowKind::Preference, RowKind::Unpaired, RowKind::Ranking, RowKind::Reward] {
            for row in kind.assumed(3, 7) {
                assert!(Row::read(&row, kind.taught_by()).is_ok(), "{row}");
                let lengths: usize = row.as_object().unwrap().values().filter_map(Value::as_array).map(Vec::len).sum();
                assert!([7, 13, 14].contains(&lengths), "{row}");
            }
        }
    }
}
