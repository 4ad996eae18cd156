//! Files of rows, their columns, rankings and their pairs: what is read, what is refused and in which words.
use fledgling::Error;
use fledgling::data::{
    Answered, Example, Fault, ForTemplate, IGNORE, Message, PreferenceRow, Ranking, RankingRow, Row, RowFile, RowKind, RowOptions,
    RowReader, SftRow, Sides, TextOrMessages, TextSource, UnpairedRow, scan, write_jsonl,
};
use fledgling::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

const ALL: &[RowKind] = &[RowKind::Sft, RowKind::Preference, RowKind::Unpaired, RowKind::Ranking, RowKind::Reward];

fn text(s: &str) -> TextOrMessages {
    TextOrMessages::Text(s.into())
}

fn chat(turns: &[(&str, &str)]) -> TextOrMessages {
    TextOrMessages::Messages(turns.iter().map(|(r, c)| Message::new(r, *c)).collect())
}

fn pair(prompt: TextOrMessages, chosen: TextOrMessages, rejected: TextOrMessages, weight: Option<f64>) -> Row {
    Row::Preference(PreferenceRow { sides: Sides::Turns { prompt, chosen, rejected, with: ForTemplate::default() }, weight })
}

fn read(name: &str, lines: &str, kinds: &[RowKind]) -> Result<Vec<Row>, Error> {
    let file = RowFile::parse(name, lines)?;
    let rows = file.rows().iter().enumerate();
    rows.map(|(i, value)| Row::read(value, kinds).map_err(|fault| file.place(fault.of_row(i)))).collect()
}

/// A tokenizer and its template, without a model.
struct Words(Tokenizer);

impl TextSource for Words {
    fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.0.encode(text))
    }

    fn chat(&self, messages: &[Message], variables: &Map<String, Value>, open: bool) -> Result<Vec<u32>, Error> {
        self.0.encode_chat_with(messages, open, variables)
    }

    fn has_template(&self) -> bool {
        true
    }

    fn eos(&self) -> Option<u32> {
        self.0.eos_token_id()
    }

    fn vocab_size(&self) -> usize {
        1000
    }

    fn context(&self) -> usize {
        1 << 20
    }
}

fn refused(row: &Value, kinds: &[RowKind]) -> Fault {
    match Row::read(row, kinds) {
        Err(fault) => fault,
        Ok(row) => panic!("accepted: {row:?}"),
    }
}

fl_test! {
    async fn a_ranking_becomes_all_its_strict_pairs() {
        // The page counts pairs by the same table.
        let cases: Vec<Value> = serde_json::from_str(include_str!("../fixtures/data/rankings.json")).unwrap();
        assert!(cases.len() > 10);
        for case in cases {
            let row = json!({"prompt": "q", "answers": case["answers"], "ranks": case["ranks"], "weight": 0.5});
            let Row::Ranking(ranking) = Row::read(&row, ALL).unwrap() else { panic!("{row}") };
            let wanted: Vec<(usize, usize)> = serde_json::from_value(case["pairs"].clone()).unwrap();
            let answer = |i: usize| text(case["answers"][i].as_str().unwrap());
            match ranking.pairs() {
                Ok(rows) => {
                    let wanted: Vec<Row> = wanted.iter().map(|(a, b)| pair(text("q"), answer(*a), answer(*b), Some(0.5))).collect();
                    assert_eq!(rows.into_iter().map(Row::Preference).collect::<Vec<_>>(), wanted, "{row}");
                }
                Err(e) => assert!(wanted.is_empty() && e.code() == "no-pairs", "{row}: {e}"),
            }
        }
    }

    async fn answers_to_a_chat_are_messages() {
        let prompt = chat(&[("user", "q")]);
        let answers = vec![text("bad"), chat(&[("assistant", "good")])];
        let row = RankingRow { prompt: prompt.clone(), answers, ranks: vec![None; 2], weight: None, with: ForTemplate::default() };
        assert_eq!(row.pairs().unwrap_err().code(), "no-pairs");
        let row = RankingRow { ranks: vec![Some(2), Some(1)], ..row };
        let rows: Vec<Row> = row.pairs().unwrap().into_iter().map(Row::Preference).collect();
        assert_eq!(rows, [pair(prompt, chat(&[("assistant", "good")]), chat(&[("assistant", "bad")]), None)]);
    }

    async fn rankings_are_told_with_their_signs() {
        let ranking = Ranking::new(&[4, 3, 1, 2, 4].map(Some));
        assert_eq!((ranking.ranks(), ranking.to_string().as_str()), ([4, 3, 1, 2, 4].map(Some).as_slice(), "③ > ④ > ② > ① = ⑤"));
        let partial = Ranking::from_numbers(&[None, Some(5.5), None, Some(-2.0)]);
        assert_eq!((partial.ranks(), partial.to_string().as_str()), ([None, Some(2), None, Some(1)].as_slice(), "④ > ②"));
        assert_eq!(Ranking::new(&[None]).to_string(), "no answer has a place");
        let long = Ranking::new(&(0..53).map(Some).collect::<Vec<_>>()).to_string();
        assert!(long.ends_with("㊿ > 51 > 52 > 53"), "{long}");
    }

    async fn rows_of_supervised_tuning() {
        let lines = concat!(
            "\u{feff}{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\"}]}\r\n",
            "\n",
            "{\"prompt\":\"p\",\"completion\":\"c\"}\n",
            "{\"prompt\":[{\"role\":\"user\",\"content\":\"q\"}],\"completion\":[{\"role\":\"assistant\",\"content\":\"a\"}],\"tools\":null}\n",
            "{\"text\":\"t\"}\n",
            "{\"input_ids\":[1,2,3]}\n",
            "{\"inputIds\":[1,2,3],\"labels\":[-100,-100,3],\"prefixLength\":2,\"text\":null}",
        );
        let rows = read("f", lines, &[RowKind::Sft]).unwrap();
        let messages = vec![Message::new("user", "q"), Message::new("assistant", "a")];
        let wanted = [
            SftRow::Messages { messages, with: ForTemplate::default() },
            SftRow::PromptCompletion { prompt: text("p"), completion: text("c"), with: ForTemplate::default() },
            SftRow::PromptCompletion { prompt: chat(&[("user", "q")]), completion: chat(&[("assistant", "a")]), with: ForTemplate::default() },
            SftRow::Text { text: "t".into() },
            SftRow::Ids { input_ids: vec![1, 2, 3], labels: None, prefix_length: None, token_type_ids: None },
            SftRow::Ids { input_ids: vec![1, 2, 3], labels: Some(vec![-100, -100, 3]), prefix_length: Some(2), token_type_ids: None },
        ];
        assert_eq!(rows, wanted.map(Row::Sft));
        assert_eq!(read("f", &write_jsonl(&rows), ALL).unwrap(), rows);
    }

    async fn rows_of_preference_tuning() {
        let lines = concat!(
            "{\"prompt\":\"p\",\"chosen\":\"good\",\"rejected\":\"bad\",\"weight\":0.5}\n",
            "{\"chosen\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"good\"}],",
            "\"rejected\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"bad\"}]}\n",
            "{\"chosen\":\"The sky is blue.\",\"rejected\":\"The sky is green.\"}\n",
            "{\"chosen\":\"é1\",\"rejected\":\"é\\u00e9\"}\n",
            "{\"promptIds\":[1],\"chosen_ids\":[2],\"rejected_ids\":[3,4]}\n",
        );
        let rows = read("f", lines, &[RowKind::Preference, RowKind::Ranking]).unwrap();
        let ids = Sides::Ids { prompt_ids: vec![1], chosen_ids: vec![2], rejected_ids: vec![3, 4] };
        assert_eq!(rows, [
            pair(text("p"), text("good"), text("bad"), Some(0.5)),
            pair(chat(&[("user", "q")]), chat(&[("assistant", "good")]), chat(&[("assistant", "bad")]), None),
            pair(text("The sky is"), text(" blue."), text(" green."), None),
            pair(text("é"), text("1"), text("é"), None),
            Row::Preference(PreferenceRow { sides: ids, weight: None }),
        ]);
        assert_eq!(read("f", &write_jsonl(&rows), ALL).unwrap(), rows);
        assert!(write_jsonl(&rows).starts_with(lines.split_inclusive('\n').next().unwrap()));
        let ranking = "{\"prompt\":\"p\",\"answers\":[\"a\",\"b\",\"c\"],\"ranks\":[-1,null,2.5],\"weight\":2}\n";
        assert_eq!(write_jsonl(&read("f", ranking, ALL).unwrap()), ranking.replace("-1,null,2.5", "1,null,2"));
    }

    async fn whole_conversations_beside_their_prompt_are_answers() {
        let whole = |system: bool, answer: &str| {
            let m = |role: &str, content: &str| json!({"role": role, "content": content});
            let mut all = vec![m("user", "q"), m("assistant", answer)];
            if system {
                all.insert(0, m("system", "s"));
            }
            all
        };
        let q = chat(&[("user", "q")]);
        let wanted = pair(q.clone(), chat(&[("assistant", "good")]), chat(&[("assistant", "bad")]), None);
        for prompt in [json!("q"), json!(" q\n"), json!([{"role": "user", "content": "q"}])] {
            let row = json!({"prompt": prompt, "chosen": whole(false, "good"), "rejected": whole(false, "bad")});
            assert_eq!(Row::read(&row, ALL).unwrap(), wanted, "{row}");
        }
        let row = json!({"prompt": "q", "chosen": whole(true, "good"), "rejected": whole(true, "bad")});
        let with_system = chat(&[("system", "s"), ("user", "q")]);
        assert_eq!(Row::read(&row, ALL).unwrap(), pair(with_system, chat(&[("assistant", "good")]), chat(&[("assistant", "bad")]), None));
        // One of them whole, the other an answer.
        let row = json!({"prompt": "q", "chosen": whole(false, "good"), "rejected": "bad"});
        assert_eq!(Row::read(&row, ALL).unwrap(), wanted);
        let row = json!({"prompt": "q", "completion": whole(false, "good"), "label": true});
        let answered = Answered::Turns { prompt: q, completion: chat(&[("assistant", "good")]), with: ForTemplate::default() };
        assert_eq!(Row::read(&row, ALL).unwrap(), Row::Unpaired(UnpairedRow { answered, label: true }));
        for (row, column) in [
            (json!({"prompt": "other", "chosen": whole(false, "a"), "rejected": whole(false, "b")}), "chosen[0].role"),
            (json!({"prompt": [{"role": "user", "content": "other"}], "chosen": "a", "rejected": whole(false, "b")}), "rejected[0].role"),
            (json!({"prompt": "q", "chosen": whole(true, "a"), "rejected": whole(false, "b")}), "rejected"),
            (json!({"prompt": "q", "chosen": [whole(false, "a")[0]], "rejected": whole(false, "b")}), "chosen"),
        ] {
            assert_eq!(refused(&row, ALL).column.as_deref(), Some(column), "{row}");
        }
    }

    async fn what_messages_hold_is_kept_whole() {
        let talk = json!([
            {"role": "user", "content": [{"type": "text", "text": "q"}], "name": null, "weight": 1.5},
            {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, {"b": null}]}}}]},
            {"role": "tool", "content": "r", "tool_call_id": "x"},
            {"role": "assistant", "content": "a", "reasoning_content": "because"},
        ]);
        let row = json!({"messages": talk, "tools": [{"name": "f"}], "documents": [{"title": "d"}], "chat_template_kwargs": {"thinking": false}});
        let read_row = Row::read(&row, ALL).unwrap();
        assert_eq!(serde_json::to_value(&read_row).unwrap(), row);
        let Row::Sft(SftRow::Messages { with, .. }) = &read_row else { panic!("{read_row:?}") };
        assert_eq!(Value::Object(with.variables()), json!({"tools": [{"name": "f"}], "documents": [{"title": "d"}], "thinking": false}));
        // Tables hold lists of objects as their JSON.
        let table = json!({"messages": talk, "tools": "[{\"name\": \"f\"}]"});
        assert_eq!(serde_json::to_value(Row::read(&table, ALL).unwrap()).unwrap()["tools"], json!([{"name": "f"}]));
        let shared = json!({"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a", "x": 1}]});
        let messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"x": 1, "role": "assistant", "content": "a"}]);
        assert_eq!(serde_json::to_value(Row::read(&shared, ALL).unwrap()).unwrap(), json!({ "messages": messages }));
        // An answer that is a call, and a ranking of whole conversations.
        let calls = |name: &str| json!([{"role": "assistant", "tool_calls": [{"function": {"name": name}}]}]);
        let pair = json!({"prompt": [{"role": "user", "content": "q"}], "chosen": calls("f"), "rejected": calls("g"), "tools": []});
        assert_eq!(serde_json::to_value(Row::read(&pair, ALL).unwrap()).unwrap(), pair);
        let whole = |a: &str| json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": a}]);
        let row = json!({"prompt": "q", "answers": [whole("x"), whole("y")], "ranks": [2, 1]});
        let Row::Ranking(ranking) = Row::read(&row, ALL).unwrap() else { panic!("{row}") };
        assert_eq!((&ranking.prompt, &ranking.answers[1]), (&chat(&[("user", "q")]), &chat(&[("assistant", "y")])));
        let row = json!({"prompt": "q", "completion": whole("x")});
        let wanted = SftRow::PromptCompletion { prompt: chat(&[("user", "q")]), completion: chat(&[("assistant", "x")]), with: ForTemplate::default() };
        assert_eq!(Row::read(&row, &[RowKind::Sft]).unwrap(), Row::Sft(wanted));
    }

    async fn rows_become_the_tokens_of_trl() {
        let file: Value = serde_json::from_str(include_str!("../fixtures/data/rows.json")).unwrap();
        let config = json!({"chat_template": file["template"], "eos_token": file["eos"]}).to_string();
        let text = Words(Tokenizer::from_json("tokenizer.json", &file["tokenizer"].to_string(), Some(&config)).unwrap());
        let ids = |v: &Value| v.as_array().unwrap().iter().map(|n| n.as_i64().unwrap().try_into().unwrap_or(IGNORE)).collect::<Vec<u32>>();
        let joined = |case: &Value, answer: &str| {
            let prompt = ids(&case["prompt_ids"]);
            Example::from_parts([&prompt[..], &ids(&case[answer])].concat(), prompt.len())
        };
        for case in file["cases"].as_array().unwrap() {
            let max_length = case["max_length"].as_u64().unwrap() as usize;
            let reader = RowReader::new(&text, RowOptions { max_length: Some(max_length), ..RowOptions::default() });
            let stays = json!({"prompt": "a", "completion": "b", "label": true, "chosen": "c", "rejected": "d"});
            let of = |names: &[&str]| Value::Object(names.iter().map(|n| (n.to_string(), stays[*n].clone())).collect());
            let rows = |other: Value| [case["row"].clone(), other];
            let left = |n: usize| if case["dropped"] == true { 1 } else { n };
            match case["method"].as_str().unwrap() {
                "sft" => {
                    let found = reader.sft(&rows(of(&["prompt", "completion"]))).unwrap();
                    assert_eq!(found.len(), left(2), "{case}");
                    if found.len() == 2 {
                        assert_eq!((&found[0].ids, &found[0].labels), (&ids(&case["input_ids"]), &ids(&case["labels"])), "{case}");
                    }
                }
                "dpo" => {
                    let found = reader.preferences(&rows(of(&["prompt", "chosen", "rejected"]))).unwrap();
                    assert_eq!(found.len(), left(2), "{case}");
                    if found.len() == 2 {
                        assert_eq!((&found[0].chosen, &found[0].rejected), (&joined(case, "chosen_ids"), &joined(case, "rejected_ids")), "{case}");
                    }
                }
                _ => {
                    let found = reader.unpaired(&rows(of(&["prompt", "completion", "label"]))).unwrap();
                    assert_eq!(found.len(), left(2), "{case}");
                    if found.len() == 2 {
                        assert_eq!(found[0].example(), joined(case, "completion_ids"), "{case}");
                    }
                }
            }
            let notes = reader.notes().join("\n");
            assert_eq!(notes.contains("left out for its length: row 0"), case["dropped"] == true, "{case}: {notes}");
        }
    }

    async fn unpaired_rows() {
        let row = |answered, label| Row::Unpaired(UnpairedRow { answered, label });
        let good = json!({"prompt": "p", "completion": "c", "label": true});
        let turns = Answered::Turns { prompt: text("p"), completion: text("c"), with: ForTemplate::default() };
        assert_eq!(Row::read(&good, ALL).unwrap(), row(turns, true));
        let ids = json!({"prompt_ids": [1, 2], "completionIds": [3], "label": false});
        assert_eq!(Row::read(&ids, ALL).unwrap(), row(Answered::Ids { prompt_ids: vec![1, 2], completion_ids: vec![3] }, false));
        let e = refused(&json!({"prompt": "p", "completion": "c", "label": 1}), ALL);
        assert_eq!(e.to_string(), "label is 1, expected true or false");
    }

    async fn bad_rows_are_named() {
        let sft = &[RowKind::Sft][..];
        let talk = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
        for (row, words) in [
            (json!({}), "has no columns, expected messages · prompt, completion · instruction, output, (input) · text · input_ids, (labels)"),
            (json!({"text": null}), "has no columns"),
            (json!(7), "is 7, expected an object"),
            (json!({"question": "q"}), "column \"question\" is not known; expected messages"),
            (json!({"prompt": "p", "complation": "c"}), "column \"complation\" is not known (did you mean completion?)"),
            (json!({"text": "t", "Text": "t"}), "column \"Text\" is not known (did you mean text?)"),
            (json!({"input_ids": [1, 2], "inputIds": [1, 2]}), "input_ids is there twice, once as inputIds"),
            (json!({"text": "t", "tools": []}), "tools does not go with text"),
            (json!({"prompt": "t", "completion": "c", "tools": []}), "tools has no effect on texts"),
            (json!({"text": "t", "images": []}), "column \"images\" is not supported"),
            (json!({"text": "t", "prompt": "p", "completion": "c"}), "text does not go with prompt, completion"),
            (json!({"prompt": "p", "chosen": "a", "rejected": "b"}), "is a preference (prompt, chosen, rejected), expected messages"),
            (json!({"prompt": "p", "completion": "a", "label": true}), "is an unpaired judgement (prompt, completion, label)"),
            (json!({"text": ""}), "text is an empty text"),
            (json!({"text": 3}), "text is 3"),
            (json!({"messages": []}), "messages is an empty list"),
            (json!({"messages": "x"}), "messages is a text, expected a list"),
            (json!({"messages": [7]}), "messages[0] is 7, expected a message"),
            (json!({"messages": [{"role": "user", "content": "q"}]}), "messages has no answer"),
            (json!({"messages": [{"role": "user"}]}), "messages[0].content is nothing"),
            (json!({"messages": [{"content": "q"}]}), "messages[0].role is nothing"),
            (json!({"messages": [{"role": "user", "contant": "q"}]}), "messages[0].contant is not known (did you mean content?)"),
            (json!({"messages": [{"Role": "user", "content": "q"}]}), "messages[0].Role is not known (did you mean role?)"),
            (json!({"conversations": [{"from": "human"}]}), "messages[0].content is nothing"),
            (json!({"conversations": [{"from": "human", "value": "q"}]}), "messages has no answer"),
            (json!({"messages": [{"role": "assistant", "content": null}]}), "messages[0].content is null, and there are no tool_calls"),
            (json!({"messages": [{"role": "user", "content": null, "tool_calls": [1]}]}), "messages[0].content is null, expected a text or a list"),
            (json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}), "messages[0].content[0] is a part of type \"image\""),
            (json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "messages[0].content[0] is a text part without its text"),
            (json!({"messages": [{"role": "user", "content": 7}]}), "messages[0].content is 7"),
            (json!({"messages": talk, "tools": "x"}), "tools is a text, expected a list of tools"),
            (json!({"messages": talk, "tools": [1]}), "tools is a list, expected a list of tools, each an object"),
            (json!({"messages": talk, "documents": 1}), "documents is 1, expected a list"),
            (json!({"messages": talk, "chat_template_kwargs": []}), "chat_template_kwargs is an empty list, expected an object"),
            (json!({"messages": talk, "chat_template_kwargs": {"add_generation_prompt": true}}), "chat_template_kwargs.add_generation_prompt is not"),
            (json!({"prompt": "p"}), "completion is missing beside prompt"),
            (json!({"completion": "c"}), "prompt is missing beside completion"),
            (json!({"labels": [1]}), "input_ids is missing beside labels"),
            (json!({"prompt": "p", "completion": ""}), "completion has no words: the row has no answer"),
            (json!({"prompt": "p", "completion": " \n"}), "completion has no words"),
            (json!({"input_ids": []}), "input_ids is an empty list"),
            (json!({"input_ids": [-1]}), "input_ids[0] is -1, expected a token id"),
            (json!({"input_ids": [1.5]}), "input_ids[0] is 1.5"),
            (json!({"input_ids": [99_999_999_999_u64]}), "input_ids[0]"),
            (json!({"input_ids": [1, 2], "labels": [1, -7]}), "labels[1] is -7, expected a token id or -100"),
        ] {
            let e = refused(&row, sft);
            assert!(e.to_string().starts_with(words), "{row}: {e}");
        }
        let preferences = &[RowKind::Preference, RowKind::Ranking][..];
        for (row, words) in [
            (json!({"prompt": "p", "chosed": "a", "rejected": "b"}), "column \"chosed\" is not known (did you mean chosen?)"),
            (json!({"prompt": "p", "chosen": "a"}), "rejected is missing beside prompt, chosen"),
            (json!({"prompt": "p", "chosen": "", "rejected": "b"}), "chosen has no words"),
            (json!({"chosen": "a", "rejected": "b"}), "prompt is missing, and chosen and rejected do not begin with the same one"),
            (json!({"chosen": "a", "rejected": [{"role": "user", "content": "q"}]}), "prompt is missing"),
            (json!({"prompt": "p", "chosen": "a", "rejected": "b", "weight": -1}), "weight is -1, expected a number from 0 to 1000000"),
            (json!({"prompt": "p", "chosen": "a", "rejected": "b", "stars": 1}), "column \"stars\" is not known; expected"),
            (json!({"prompt_ids": [1], "chosen_ids": [2]}), "rejected_ids is missing beside prompt_ids, chosen_ids"),
            (json!({"text": "t"}), "is an example of supervised fine-tuning (text), expected chosen, rejected, (prompt), (weight)"),
            (json!({"prompt": "p", "answers": ["a"], "ranks": [1, 2]}), "ranks has 2 numbers for 1 answers"),
            (json!({"prompt": "p", "answers": ["a"], "ranks": ["1"]}), "ranks[0] is a text, expected a number"),
            (json!({"prompt": "p", "answers": [1], "ranks": [1]}), "answers[0] is 1, expected a text"),
            (json!({"prompt": "p", "answers": "a", "ranks": [1]}), "answers is a text, expected a list"),
        ] {
            let e = refused(&row, preferences);
            assert!(e.to_string().starts_with(words), "{row}: {e}");
        }
        let many = json!({"prompt": "p", "answers": vec!["a"; 1001], "ranks": vec![1; 1001]});
        assert!(refused(&many, ALL).to_string().contains("at most 1000"), "{}", refused(&many, ALL));
    }

    async fn errors_name_row_line_and_file() {
        let of = |text: &str| read("f.jsonl", text, &[RowKind::Sft]).unwrap_err().to_string();
        let good = "{\"text\":\"t\"}\n\n";
        for (line, words) in [
            ("[1]", "row 1: line 3 of f.jsonl: is a list, expected a JSON object"),
            ("{", "row 1: line 3 of f.jsonl: is not JSON"),
            ("{\"text\":\"t\"} {\"text\":\"t\"}", "row 1: line 3 of f.jsonl: is not JSON: trailing characters"),
            ("{\"text\":\"t\"},", "row 1: line 3 of f.jsonl: ends with a comma"),
            ("{\"texts\":\"t\"}", "row 1: line 3 of f.jsonl: column \"texts\" is not known (did you mean text?)"),
            ("{\"text\":\"\\ud83d\"}", "row 1: line 3 of f.jsonl: is not JSON"),
        ] {
            let e = of(&format!("{good}{line}\n"));
            assert!(e.starts_with(words), "{line}: {e}");
        }
        for empty in ["", "\n \n", "\u{feff}", "[]", " \u{feff}"] {
            let code = RowFile::parse("f", empty).map(|f| f.rows().len()).map_err(|e| e.code());
            assert!(code == Err("empty-dataset") || (empty == " \u{feff}" && code == Err("bad-row")), "{empty:?}: {code:?}");
        }
        let deep = format!("{{\"text\":{}", "[".repeat(200_000));
        assert!(of(&deep).contains("is not JSON"));
        let deep = "[".repeat(200_000);
        assert!(of(&deep).contains("is not a JSON array"));
        let long = format!("{{\"text\":\"{}\"}}", "x".repeat(9 << 20));
        assert!(of(&long).contains("bytes"));
        // What is no row's error stays as it is.
        let file = RowFile::parse("f", "{}").unwrap();
        assert_eq!(file.place(Fault::row("x").of_row(9)).to_string(), "row 9: x");
        assert_eq!(file.place(Error::LongRow { row: 0, message: "x".into() }).to_string(), "row 0: line 1 of f: x");
        assert_eq!(file.place(Error::Aborted).code(), "aborted");
    }

    async fn an_array_of_rows_is_a_file_too() {
        let text = "\u{feff}\n[\n  {\"text\": \"a\"},\n\n  {\n    \"text\": \"b\"\n  }, {\"text\": \"c\"}\n]\n";
        let lines: Vec<usize> = scan(text, 1).iter().map(|f| f.line).collect();
        assert_eq!(lines, [3, 5, 7]);
        assert_eq!(RowFile::parse("f", text).unwrap().rows().len(), 3);
        let e = read("f.json", "[\n{\"text\": \"a\"},\n7]", ALL).unwrap_err();
        assert_eq!(e.to_string(), "row 1: line 3 of f.json: is 7, expected a JSON object");
        let e = read("f.json", "[\n{\"text\": \"a\"}\n{\"text\": \"b\"}]", ALL).unwrap_err();
        assert!(e.to_string().starts_with("row 0: line 3 of f.json: is not a JSON array"), "{e}");
        // Lines of a file that is read in pieces keep their numbers.
        assert_eq!(scan("{}\n\n{}", 10).iter().map(|f| f.line).collect::<Vec<_>>(), [10, 12]);
    }

    async fn cut_or_flipped_datasets_never_panic() {
        let lines = "{\"prompt\":[{\"role\":\"user\",\"content\":\"Ünï\"}],\"chosen\":\"a b\",\"rejected\":\"a c\",\"weight\":1}\n";
        let ranking = "[{\"prompt\":\"p\",\"answers\":[\"a\",\"b\"],\"ranks\":[1,2e0]}]";
        for lines in [lines, ranking] {
            for end in (0..lines.len()).filter(|&n| lines.is_char_boundary(n)) {
                let _ = read("f", &lines[..end], ALL);
            }
            let bytes = lines.as_bytes();
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                match read("f", &String::from_utf8_lossy(&changed), ALL) {
                    Ok(rows) => rows.iter().for_each(|r| if let Row::Ranking(r) = r { let _ = r.pairs(); }),
                    Err(e) => assert!(matches!(e.code(), "bad-row" | "empty-dataset"), "{e}"),
                }
            }
        }
    }
}
