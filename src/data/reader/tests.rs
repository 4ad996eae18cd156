use super::*;
use serde_json::json;

/// One token per character; a chat is `<` role letter, content, `>` per message.
struct Letters;

impl TextSource for Letters {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(text.chars().map(|c| c as u32).collect())
    }

    fn chat(&self, messages: &[Message], variables: &Map<String, Value>, add: bool) -> Result<Vec<u32>> {
        let mut s = variables.get("tools").map_or_else(String::new, |t| format!("<t{}>", t.as_array().map_or(0, Vec::len)));
        for m in messages {
            let (role, content) = (m.role(), m.text().unwrap_or("?"));
            if role == "wizard" {
                return Err(Error::Template("no wizards".into()));
            }
            s.push_str(&format!("<{}{content}>", &role[..1]));
        }
        if add {
            s.push_str("<a");
        }
        self.encode(&s)
    }

    fn has_template(&self) -> bool {
        true
    }

    fn eos(&self) -> Option<u32> {
        Some(1)
    }

    fn vocab_size(&self) -> usize {
        200
    }

    fn context(&self) -> usize {
        24
    }
}

fn sft(row: Value, options: &RowOptions) -> Result<Example> {
    Ok(RowReader::new(&Letters, *options).sft(&[json!({"text": "fine"}), row])?.remove(1))
}

fn learned(e: &Example) -> String {
    e.labels.iter().filter(|l| **l != IGNORE).map(|l| if *l == 1 { '$' } else { char::from_u32(*l).unwrap() }).collect()
}

#[test]
fn columns() {
    let c = RowOptions { max_length: Some(1024), ..RowOptions::default() };
    assert_eq!(learned(&sft(json!({"prompt": "ab", "completion": "cd"}), &c).unwrap()), "cd$");
    assert_eq!(learned(&sft(json!({"text": "abc"}), &c).unwrap()), "abc$");
    let all = RowOptions { completion_only: false, ..c };
    assert_eq!(learned(&sft(json!({"prompt": "ab", "completion": "cd"}), &all).unwrap()), "abcd$");
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let chat = json!({"messages": [turn("user", "hi"), turn("assistant", "yo"), turn("user", "m"), turn("assistant", "k")]});
    assert_eq!(learned(&sft(chat.clone(), &c).unwrap()), "<uhi><ayo><um><ak>");
    let only = RowOptions { assistant_only: true, ..c };
    assert_eq!(learned(&sft(chat, &only).unwrap()), "yo>k>");
    let mixed = json!({"prompt": [{"role": "user", "content": "hi"}], "completion": "yo"});
    assert_eq!(learned(&sft(mixed, &c).unwrap()), "yo>");
    let ids = sft(json!({"input_ids": [3, 4, 5], "labels": [-100, 4, -100]}), &c).unwrap();
    assert_eq!((ids.ids, ids.labels), (vec![3, 4, 5], vec![IGNORE, 4, IGNORE]));
    // Cut at the end, and the end token is not put back.
    let short = RowOptions { max_length: Some(3), ..RowOptions::default() };
    assert_eq!(learned(&sft(json!({"prompt": "ab", "completion": "cd"}), &short).unwrap()), "c");
}

/// The same for texts alone.
struct Plain;

impl TextSource for Plain {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Letters.encode(text)
    }

    fn chat(&self, _: &[Message], _: &Map<String, Value>, _: bool) -> Result<Vec<u32>> {
        Err(Error::Template("there is none".into()))
    }

    fn has_template(&self) -> bool {
        false
    }

    fn eos(&self) -> Option<u32> {
        Some(1)
    }

    fn vocab_size(&self) -> usize {
        200
    }

    fn context(&self) -> usize {
        1000
    }
}

#[test]
fn alpacas_rows_are_questions_and_answers() {
    let c = RowOptions::default();
    let text = |e: &Example| e.ids.iter().map(|c| char::from_u32(*c).unwrap_or('?')).collect::<String>();
    let e = sft(json!({"instruction": "ab", "input": "c", "output": "d"}), &c).unwrap();
    assert_eq!((text(&e).as_str(), learned(&e).as_str()), ("<uab\nc><ad>", "d>"));
    let e = sft(json!({"instruction": "ab", "input": "", "output": "d"}), &c).unwrap();
    assert_eq!(text(&e), "<uab><ad>");
    let plain = RowReader::new(&Plain, c);
    let e = plain.sft(&[json!({"instruction": "ab", "input": "c", "output": "d"})]).unwrap().remove(0);
    assert!(text(&e).starts_with("Below is an instruction that describes a task, paired with an input"));
    assert!(text(&e).contains("### Instruction:\nab\n\n### Input:\nc\n\n### Response:\nd") && learned(&e) == "d$");
    for (row, column) in [(json!({"instruction": "", "output": "d"}), "instruction"), (json!({"instruction": "a", "output": 3}), "output")]
    {
        assert!(plain.sft(&[row]).unwrap_err().to_string().contains(column));
    }
}

#[test]
fn rows_that_cannot_be_used_are_named() {
    let cut = RowOptions { max_length: Some(4), ..RowOptions::default() };
    for row in [
        json!(3),
        json!({}),
        json!({"prompt": "a"}),
        json!({"completion": "a"}),
        json!({"prompt": "a", "completion": ""}),
        json!({"messages": []}),
        json!({"messages": [{"role": "user", "content": "a"}]}),
        json!({"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]}),
        json!({"messages": [{"role": "wizard", "content": "a"}, {"role": "assistant", "content": "b"}]}),
        json!({"input_ids": [1, 200]}),
        json!({"input_ids": [1, -1]}),
        json!({"input_ids": [1]}),
        json!({"input_ids": [1, 2], "labels": [1]}),
        json!({"input_ids": [1, 2], "labels": [1, -100]}),
        json!({"text": ""}),
        json!({"text": 4}),
    ] {
        match sft(row.clone(), &cut) {
            Err(Error::BadRow { row: 1, .. }) => {}
            other => panic!("{row}: {other:?}"),
        }
    }
    assert_eq!(RowReader::new(&Letters, cut).sft(&[]).unwrap_err().code(), "empty-dataset");
}

#[test]
fn preferences() {
    let c = RowOptions { max_length: Some(1024), ..RowOptions::default() };
    let one = |row: Value| RowReader::new(&Letters, c).preferences(&[row]).map(|mut p| p.remove(0));
    let p = one(json!({"prompt": "ab", "chosen": "c", "rejected": "dd", "weight": 0.5})).unwrap();
    assert_eq!((learned(&p.chosen), learned(&p.rejected), p.weight), ("c$".into(), "dd$".into(), 0.5));
    let p = one(json!({"prompt": [{"role": "user", "content": "q"}], "chosen": "c", "rejected": [{"role": "assistant", "content": "d"}]}))
        .unwrap();
    assert_eq!((learned(&p.chosen), learned(&p.rejected)), ("c>".into(), "d>".into()));
    let side = |answer: &str| json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]);
    let p = one(json!({"chosen": side("c"), "rejected": side("d")})).unwrap();
    assert_eq!((learned(&p.chosen), p.chosen.ids.len()), ("c>".into(), 8));
    let p = one(json!({"prompt_ids": [3, 4], "chosen_ids": [5], "rejected_ids": [6, 7]})).unwrap();
    assert_eq!((p.chosen.ids, p.rejected.labels), (vec![3, 4, 5], vec![IGNORE, IGNORE, 6, 7]));
    for row in [
        json!({"prompt": "a", "chosen": "b"}),
        json!({"prompt": "a", "rejected": "b"}),
        json!({"chosen": "a", "rejected": "b"}),
        json!({"prompt": "a", "chosen": "", "rejected": "b"}),
        json!({"prompt": "a", "chosen": "c", "rejected": "b", "weight": -1}),
        json!({"prompt_ids": [1], "chosen_ids": [2]}),
    ] {
        assert_eq!(one(row.clone()).unwrap_err().code(), "bad-row", "{row}");
    }
}

/// `ab` and `cd` side by side are one token each, over the boundary of prompt and answer too.
struct Merging;

impl TextSource for Merging {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let merged = text.replace("ab", "\u{64}").replace("cd", "\u{65}");
        Ok(merged.chars().map(|c| c as u32).collect())
    }

    fn chat(&self, _: &[Message], _: &Map<String, Value>, _: bool) -> Result<Vec<u32>> {
        Err(Error::Template("there is none".into()))
    }

    fn has_template(&self) -> bool {
        false
    }

    fn eos(&self) -> Option<u32> {
        None
    }

    fn vocab_size(&self) -> usize {
        200
    }

    fn context(&self) -> usize {
        24
    }
}

#[test]
fn both_answers_count_from_where_either_leaves_the_prompt() {
    let options = RowOptions::default();
    let reader = RowReader::new(&Merging, options);
    let row = |prompt: &str, chosen: &str, rejected: &str| json!({"prompt": prompt, "chosen": chosen, "rejected": rejected});
    let plain = row("xa", "y", "z");
    for (merging, chosen, rejected) in [(row("xa", "b", "z"), 1, 2), (row("xa", "z", "b"), 2, 1)] {
        let pairs = reader.preferences(&[plain.clone(), merging]).unwrap();
        assert_eq!((pairs[0].chosen.counted(), pairs[0].rejected.counted()), (1, 1));
        assert_eq!((pairs[1].chosen.counted(), pairs[1].rejected.counted()), (chosen, rejected));
        let notes = reader.notes();
        assert!(notes.len() == 1 && notes[0].contains("merges") && notes[0].contains("row 1"), "{notes:?}");
    }
    let unpaired = reader.unpaired(&[json!({"prompt": "xa", "completion": "b", "label": true})]).unwrap().remove(0);
    assert_eq!((unpaired.prompt.len(), unpaired.completion.len()), (1, 1));
    reader.preferences(&[plain]).unwrap();
    assert!(reader.notes().is_empty());
}

#[test]
fn unpaired_judgements() {
    let reader = RowReader::new(&Letters, RowOptions { max_length: Some(4), ..RowOptions::default() });
    let rows =
        [json!({"prompt": "ab", "completion": "cde", "label": false}), json!({"prompt_ids": [3, 4], "completion_ids": [5], "label": true})];
    let read = reader.unpaired(&rows).unwrap();
    // Cut at the end, as a sequence, not each of its parts.
    assert_eq!((read[0].completion.len(), learned(&read[0].example()).as_str(), read[0].label), (4, "cd", false));
    assert_eq!((read[1].example().ids, read[1].label), (vec![3, 4, 5], true));
    assert_eq!(read[1].with_completion(&read[0].completion).ids.len(), 4);
    let notes = reader.notes();
    assert!(notes.iter().any(|n| n.contains("max_length 4: row 0")) && notes.iter().any(|n| n.contains("template")), "{notes:?}");
    let long = json!({"prompt": "abcd", "completion": "e", "label": true});
    assert_eq!(reader.unpaired(&[long]).unwrap_err().code(), "bad-row");
    assert_eq!(reader.unpaired(&[]).unwrap_err().code(), "empty-dataset");
    assert_eq!(reader.unpaired(&[json!({"prompt": "a", "completion": "b"})]).unwrap_err().code(), "bad-row");
}

#[test]
fn rankings_train_as_their_pairs() {
    let reader = RowReader::new(&Letters, RowOptions::default());
    let ranking = |ranks: [i32; 3]| json!({"prompt": "q", "answers": ["x", "y", "z"], "ranks": ranks});
    let pairs = reader.preferences(&[ranking([1, 1, 1]), ranking([2, 1, 2])]).unwrap();
    let words: Vec<_> = pairs.iter().map(|p| (learned(&p.chosen), learned(&p.rejected))).collect();
    assert_eq!(words, [("y$".into(), "x$".into()), ("y$".into(), "z$".into())] as [(String, String); 2]);
    assert_eq!(reader.preferences(&[ranking([1, 1, 1])]).unwrap_err().code(), "no-pairs");
    // As a whole each answer is there once.
    let whole = reader.preferred(&[ranking([1, 1, 1]), ranking([3, 1, 2])]).unwrap().remove(0);
    let words: Vec<_> = whole.answers.iter().map(learned).collect();
    assert_eq!((words, whole.pairs.clone()), (["y$", "z$", "x$"].map(String::from).to_vec(), vec![[0, 1], [0, 2], [1, 2]]));
    let apart: Vec<_> = whole.apart().map(|p| [learned(&p.answers[0]), learned(&p.answers[1])].concat()).collect();
    assert_eq!(apart, ["y$z$", "y$x$", "z$x$"]);
}

#[test]
fn what_cannot_teach_is_told() {
    let reader = RowReader::new(&Letters, RowOptions::default());
    let row = |chosen: &str, weight: f64| json!({"prompt": "q", "chosen": chosen, "rejected": "b", "weight": weight});
    for rows in [vec![row("b", 1.0), row("b", 1.0)], vec![row("a", 0.0)]] {
        assert_eq!(reader.preferences(&rows).unwrap_err().code(), "no-pairs");
    }
    assert_eq!(reader.preferences(&[row("b", 1.0), row("a", 1.0)]).unwrap().len(), 2);
}

#[test]
fn rows_that_are_too_long_are_left_out_and_told() {
    let text = |n: usize| json!({"prompt": "a".repeat(n), "completion": "b"});
    let rows = [text(3), text(30), text(1), text(31)];
    for (max_length, left, first) in
        [(Some(3), vec![1], "nothing to learn is left of its 5 tokens, cut to max_length 3"), (None, vec![3, 1], "")]
    {
        let reader = RowReader::new(&Letters, RowOptions { max_length, ..RowOptions::default() });
        let found: Vec<usize> = reader.sft(&rows).unwrap().iter().map(|e| e.ids.len() - 2).collect();
        assert_eq!(found, left);
        let notes = reader.notes();
        assert!(notes[0].starts_with("left out for its length: ") && notes[0].contains(first), "{notes:?}");
    }
    let pair = |prompt: usize| json!({"prompt": "a".repeat(prompt), "chosen": "b", "rejected": "c"});
    let reader = RowReader::new(&Letters, RowOptions { max_length: Some(3), ..RowOptions::default() });
    assert_eq!(reader.preferences(&[pair(3), pair(2), pair(4)]).unwrap().len(), 1);
    assert!(
        reader.notes()[0].starts_with("left out for its length: 2 of 3 rows (0, 2). Row 0: the chosen answer: nothing"),
        "{:?}",
        reader.notes()
    );
    // Where none is left, all are told.
    let of =
        |max_length| RowReader::new(&Letters, RowOptions { max_length, ..RowOptions::default() }).sft(&[text(30), text(31)]).unwrap_err();
    let (cut, whole) = (of(Some(4)), of(None));
    assert_eq!((cut.code(), whole.code()), ("bad-row", "context-overflow"));
    assert!(cut.to_string().starts_with("row 0: ") && cut.to_string().ends_with("so it is with 2 of 2 rows: 0, 1"), "{cut}");
    assert!(whole.to_string().starts_with("row 0: the row takes 32 tokens") && whole.to_string().ends_with("2 of 2 rows: 0, 1"), "{whole}");
}

#[test]
fn pairs_that_teach_nothing_are_told() {
    let reader = RowReader::new(&Letters, RowOptions { max_length: Some(4), ..RowOptions::default() });
    let row = |prompt: &str, chosen: &str, rejected: &str| json!({"prompt": prompt, "chosen": chosen, "rejected": rejected});
    let rows = [row("q", "a", "b"), row("q", "a", "a"), row("q", "abcd", "abce"), row("q", "qx", "qy")];
    assert_eq!(reader.preferences(&rows).unwrap().len(), 4);
    let notes = reader.notes().join("\n");
    for part in [
        "are the same, which teaches nothing: row 1",
        "only behind max_length 4, which teaches nothing: row 2",
        "stands there twice: row 3",
    ] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    let e = reader.preferences(&rows[2..3]).unwrap_err();
    assert!(e.code() == "no-pairs" && e.to_string().contains("cut to max_length 4"), "{e}");
    let tools = json!({"prompt": [{"role": "user", "content": "q"}], "chosen": "a", "rejected": "b", "tools": [{}, {}]});
    let reader = RowReader::new(&Letters, RowOptions::default());
    let ids = reader.preferences(&[tools]).unwrap().remove(0).chosen.ids;
    assert_eq!(ids.iter().filter_map(|c| char::from_u32(*c)).collect::<String>(), "<t2><uq><aa>");
}

#[test]
fn labels_are_as_many_as_tokens_and_ask_for_something() {
    let c = RowOptions { max_length: Some(1024), ..RowOptions::default() };
    for (labels, words) in [(vec![1], "labels has 1 numbers for 2 input_ids"), (vec![1, -100], "labels is -100 everywhere")] {
        let row = json!({"input_ids": [1, 2], "labels": labels});
        let fault = Row::read(&row, &[RowKind::Sft]).unwrap().of_one_sequence().unwrap_err();
        assert!(fault.to_string().contains(words), "{fault}");
        let e = sft(row, &c).unwrap_err();
        assert!(e.to_string().contains(words), "{e}");
    }
}
