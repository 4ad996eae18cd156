//! "Did you mean …?"

/// Letters to change, add or leave out (or two neighbours to swap) to make one name of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            row[j] = (last[j - 1] + usize::from(a[i - 1] != b[j - 1])).min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// ` (did you mean x?)` for the nearest of the known names, nothing where none is near. Underscores and capitals do not count.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    // A name of any length may come from a file.
    let plain = |s: &str| s.chars().filter(|c| *c != '_' && *c != '-').flat_map(char::to_lowercase).take(64).collect::<String>();
    let asked = plain(name);
    let most = (asked.chars().count() / 4).clamp(1, 3);
    let near = known.map(|k| (distance(&asked, &plain(k)), k)).filter(|(d, _)| *d <= most).min();
    near.map_or_else(String::new, |(_, k)| format!(" (did you mean {k}?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found() {
        let known = || ["learning_rate", "beta", "max_length", "seed"].into_iter();
        for (asked, meant) in
            [("lerning_rate", "learning_rate"), ("learningRate", "learning_rate"), ("bata", "beta"), ("maxlenght", "max_length")]
        {
            assert_eq!(nearest(asked, known()), format!(" (did you mean {meant}?)"));
        }
        assert_eq!(nearest("optimizer", known()), "");
        assert_eq!(nearest(&"x".repeat(1 << 20), known()), "");
    }
}
