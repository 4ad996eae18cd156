//! Rankings and datasets: every strict pair and no other, rows in TRL's columns, errors that name the row.
use fledgling::data::{
    Candidate, Criteria, DpoRow, Feedback, Message, Ranking, Row, SftRow, StrictPair, TextOrMessages, ideal_rows, overall, parse_dpo,
    parse_jsonl, parse_sft, preference_rows, read_feedback, write_feedback, write_jsonl,
};

fn text(s: &str) -> TextOrMessages {
    TextOrMessages::Text(s.into())
}

fn chat(turns: &[(&str, &str)]) -> TextOrMessages {
    TextOrMessages::Messages(turns.iter().map(|(r, c)| Message::new(r, *c)).collect())
}

fl_test! {
    async fn a_ranking_becomes_all_its_strict_pairs() {
        let ranking = Ranking::parse("③ > ④ > ② > ① = ⑤").unwrap();
        assert_eq!(ranking.ranks(), [4, 3, 1, 2, 4]);
        assert_eq!(ranking.to_string(), "③ > ④ > ② > ① = ⑤");
        let pairs: Vec<(usize, usize)> = ranking.pairs().unwrap().iter().map(|p| (p.chosen + 1, p.rejected + 1)).collect();
        assert_eq!(pairs, [(3, 4), (3, 2), (3, 1), (3, 5), (4, 2), (4, 1), (4, 5), (2, 1), (2, 5)]);
        assert_eq!(Ranking::from_ranks(&[2, 1]).unwrap().pairs().unwrap(), [StrictPair { chosen: 1, rejected: 0 }]);
        // Gaps are closed; answers without a place are not ranked.
        assert_eq!(Ranking::from_ranks(&[10, 0, 10, 7]).unwrap().ranks(), [3, 1, 3, 2]);
        let partial = Ranking::from_places(&[None, Some(5), None, Some(2)]).unwrap();
        assert_eq!((partial.to_string().as_str(), partial.ranks()), ("④ > ②", [0, 2, 0, 1].as_slice()));
        assert_eq!(partial.pairs().unwrap(), [StrictPair { chosen: 3, rejected: 1 }]);
    }

    async fn answers_without_a_place_teach_nothing() {
        // One answer put at "3" is no better than those that nobody has placed.
        for places in [vec![None, Some(3), None], vec![None; 3], vec![Some(1), None, Some(1)]] {
            let e = Ranking::from_places(&places).unwrap().pairs().unwrap_err();
            assert_eq!(e.code(), "no-pairs", "{places:?}: {e}");
        }
        let text = |t: &str| Candidate { text: t.into(), adapter: None };
        let mut record = Feedback {
            messages: vec![Message::new("user", "q")],
            candidates: vec![text("a"), text("bad"), text("c")],
            ranks: vec![None, Some(3), None],
            ..Feedback::default()
        };
        assert_eq!(record.preference_rows(&Criteria::EQUAL).unwrap_err().code(), "no-pairs");
        record.ranks = vec![None, Some(3), Some(1)];
        let rows = record.preference_rows(&Criteria::EQUAL).unwrap();
        assert_eq!(rows.len(), 1);
        // Nor is one that was rated better than those that were not.
        record.ranks = vec![];
        record.ratings.helpful = vec![None, Some(1.0)];
        assert_eq!(record.preference_rows(&Criteria::EQUAL).unwrap_err().code(), "no-pairs");
        record.ratings.helpful = vec![Some(4.0), Some(1.0)];
        assert_eq!(record.preference_rows(&Criteria::EQUAL).unwrap().len(), 1);
    }

    async fn rankings_are_read_as_they_are_written() {
        for n in [1usize, 2, 3, 7, 20, 21, 36, 50, 53] {
            let ranks: Vec<u32> = (0..n).map(|i| (i * 7 % 5) as u32).collect();
            let ranking = Ranking::from_ranks(&ranks).unwrap();
            assert_eq!(Ranking::parse(&ranking.to_string()).unwrap(), ranking, "{ranking}");
            for a in 0..n {
                for b in 0..n {
                    assert_eq!(ranking.ranks()[a] < ranking.ranks()[b], ranks[a] < ranks[b]);
                }
            }
        }
        assert_eq!(Ranking::parse(" 2>1=3 ").unwrap().ranks(), [2, 1, 2]);
        assert_eq!(Ranking::parse("②＞①＝③").unwrap().ranks(), [2, 1, 2]);
        for bad in ["", ">", "① >", "① > ①", "① ② ", "① < ②", "① > ③", "0 > 1", "9999999999999999999999", "1001", "a > b", "①②"] {
            let e = Ranking::parse(bad).unwrap_err();
            assert!(e.code() == "bad-config" && e.to_string().contains("ranking"), "{bad}: {e}");
        }
        assert_eq!(Ranking::from_ranks(&[]).unwrap_err().code(), "bad-config");
    }

    async fn ties_teach_nothing() {
        for ranking in ["①", "① = ②", "① = ② = ③"] {
            let e = Ranking::parse(ranking).unwrap().pairs().unwrap_err();
            assert!(e.code() == "no-pairs" && e.to_string().contains(ranking), "{e}");
        }
    }

    async fn criteria_are_weighed() {
        let ratings = Criteria {
            helpful: vec![Some(5.0), Some(1.0), Some(3.0), None],
            accurate: vec![Some(1.0), Some(5.0), Some(3.0), None],
            harmless: vec![],
        };
        let order = |helpful: f64, accurate: f64| {
            overall(&ratings, &Criteria { helpful, accurate, harmless: 1.0 }, 4).unwrap().to_string()
        };
        assert_eq!(order(2.0, 1.0), "① > ③ > ②");
        assert_eq!(order(0.0, 1.0), "② > ③ > ①");
        assert_eq!(order(1.0, 1.0), "① = ② = ③");
        // Nothing counts: nothing is ranked.
        assert_eq!(order(0.0, 0.0), "");
        let e = overall(&ratings, &Criteria { helpful: -1.0, ..Criteria::EQUAL }, 4).unwrap_err();
        assert!(e.code() == "bad-config" && e.to_string().contains("weights.helpful"), "{e}");
        assert!(overall(&ratings, &Criteria { accurate: f64::NAN, ..Criteria::EQUAL }, 4).is_err());
        assert!(overall(&ratings, &Criteria::EQUAL, 2).is_err());
    }

    async fn rows_of_supervised_tuning() {
        let lines = concat!(
            "\u{feff}{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\"}]}\r\n",
            "\n",
            "{\"prompt\":\"p\",\"completion\":\"c\"}\n",
            "{\"prompt\":[{\"role\":\"user\",\"content\":\"q\"}],\"completion\":[{\"role\":\"assistant\",\"content\":\"a\"}],\"x\":1}\n",
            "{\"text\":\"t\"}\n",
            "{\"input_ids\":[1,2,3]}\n",
            "{\"input_ids\":[1,2,3],\"labels\":[-100,-100,3],\"text\":null}",
        );
        let rows = parse_sft("f", lines).unwrap();
        let messages = vec![Message::new("user", "q"), Message::new("assistant", "a")];
        assert_eq!(rows, [
            SftRow::Messages { messages },
            SftRow::PromptCompletion { prompt: text("p"), completion: text("c") },
            SftRow::PromptCompletion { prompt: chat(&[("user", "q")]), completion: chat(&[("assistant", "a")]) },
            SftRow::Text { text: "t".into() },
            SftRow::Ids { input_ids: vec![1, 2, 3], labels: None },
            SftRow::Ids { input_ids: vec![1, 2, 3], labels: Some(vec![-100, -100, 3]) },
        ]);
        assert_eq!(parse_sft("f", &write_jsonl(&rows)).unwrap(), rows);
    }

    async fn rows_of_preference_tuning() {
        let lines = concat!(
            "{\"prompt\":\"p\",\"chosen\":\"good\",\"rejected\":\"bad\",\"weight\":0.5}\n",
            "{\"chosen\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"good\"}],",
            "\"rejected\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"bad\"}]}\n",
            "{\"chosen\":\"The sky is blue.\",\"rejected\":\"The sky is green.\"}\n",
            "{\"chosen\":\"é1\",\"rejected\":\"é\\u00e9\"}\n",
        );
        let rows = parse_dpo("f", lines).unwrap();
        let row = |prompt, chosen, rejected, weight| DpoRow { prompt, chosen, rejected, weight };
        assert_eq!(rows, [
            row(text("p"), text("good"), text("bad"), Some(0.5)),
            row(chat(&[("user", "q")]), chat(&[("assistant", "good")]), chat(&[("assistant", "bad")]), None),
            row(text("The sky is"), text(" blue."), text(" green."), None),
            row(text("é"), text("1"), text("é"), None),
        ]);
        assert_eq!(parse_dpo("f", &write_jsonl(&rows)).unwrap(), rows);
        let either: Vec<Row> =
            parse_jsonl("f", lines).unwrap().iter().enumerate().map(|(i, v)| Row::from_columns(i, v.as_object().unwrap()).unwrap()).collect();
        assert_eq!(either, rows.into_iter().map(Row::Dpo).collect::<Vec<_>>());
    }

    async fn bad_rows_are_named() {
        let good = "{\"text\":\"t\"}\n\n";
        for (line, words) in [
            ("[1]", "line 3 of f is a list"),
            ("{", "line 3 of f is not JSON"),
            ("{}", "columns none"),
            ("{\"question\":\"q\"}", "columns question"),
            ("{\"text\":\"\"}", "an empty text"),
            ("{\"text\":3}", "text is 3"),
            ("{\"messages\":[]}", "an empty list"),
            ("{\"messages\":\"x\"}", "a text, expected a list"),
            ("{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}", "no answer"),
            ("{\"messages\":[{\"role\":\"user\"}]}", "messages[0].content is nothing"),
            ("{\"messages\":[{\"content\":\"q\"}]}", "messages[0].role"),
            ("{\"prompt\":\"p\"}", "completion is nothing"),
            ("{\"prompt\":\"p\",\"completion\":\"\"}", "no answer"),
            ("{\"completion\":\"c\"}", "prompt is nothing"),
            ("{\"input_ids\":[]}", "an empty list"),
            ("{\"input_ids\":[-1]}", "input_ids[0] is -1"),
            ("{\"input_ids\":[1.5]}", "input_ids[0] is 1.5"),
            ("{\"input_ids\":[99999999999]}", "input_ids[0]"),
            ("{\"input_ids\":[1,2],\"labels\":[1]}", "1 labels for 2"),
            ("{\"input_ids\":[1,2],\"labels\":[1,-7]}", "labels[1] is -7"),
            ("{\"input_ids\":[1,2],\"labels\":[1,-100]}", "nothing to learn"),
        ] {
            let e = parse_sft("f", &format!("{good}{line}\n")).unwrap_err();
            assert!(e.code() == "bad-row" && e.to_string().starts_with("row 1: ") && e.to_string().contains(words), "{line}: {e}");
        }
        for (line, words) in [
            ("{\"prompt\":\"p\",\"chosen\":\"a\"}", "rejected is nothing"),
            ("{\"prompt\":\"p\",\"chosen\":\"\",\"rejected\":\"b\"}", "no answer"),
            ("{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"a\"}", "the same"),
            ("{\"chosen\":\"a\",\"rejected\":\"b\"}", "no prompt"),
            ("{\"chosen\":\"a\",\"rejected\":[{\"role\":\"user\",\"content\":\"q\"}]}", "no prompt"),
            ("{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\",\"weight\":-1}", "weight is -1"),
            ("{\"text\":\"t\"}", "expected prompt, chosen, rejected"),
        ] {
            let e = parse_dpo("f", line).unwrap_err();
            assert!(e.code() == "bad-row" && e.to_string().starts_with("row 0: ") && e.to_string().contains(words), "{line}: {e}");
        }
        for empty in ["", "\n \n", "\u{feff}"] {
            assert_eq!(parse_sft("f", empty).unwrap_err().code(), "empty-dataset");
        }
        let deep = format!("{{\"text\":{}", "[".repeat(200_000));
        assert_eq!(parse_sft("f", &deep).unwrap_err().code(), "bad-row");
        let long = format!("{{\"text\":\"{}\"}}", "x".repeat(9 << 20));
        assert!(parse_sft("f", &long).unwrap_err().to_string().contains("bytes"));
    }

    async fn cut_or_flipped_datasets_never_panic() {
        let lines = "{\"prompt\":[{\"role\":\"user\",\"content\":\"Ünï\"}],\"chosen\":\"a b\",\"rejected\":\"a c\",\"weight\":1}\n";
        for end in (0..lines.len()).filter(|&n| lines.is_char_boundary(n)) {
            let _ = parse_dpo("f", &lines[..end]);
        }
        let bytes = lines.as_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = String::from_utf8_lossy(&changed);
            for e in [parse_dpo("f", &changed).err(), parse_sft("f", &changed).err()].into_iter().flatten() {
                assert!(matches!(e.code(), "bad-row" | "empty-dataset"), "{e}");
            }
        }
    }

    async fn feedback_becomes_training_rows() {
        let candidate = |t: &str| Candidate { text: t.into(), adapter: None };
        let record = Feedback {
            id: "1".into(),
            time: 1.5,
            messages: vec![Message::new("user", "q")],
            candidates: vec![candidate("worst"), candidate("best"), candidate("best")],
            ratings: Criteria { helpful: vec![Some(1.0), Some(5.0), None], ..Criteria::default() },
            ranks: vec![],
            ideal: Some("ideal".into()),
        };
        let tied = Feedback { id: "2".into(), ranks: vec![Some(1); 3], ratings: Criteria::default(), ideal: None, ..record.clone() };
        let all = [record.clone(), tied.clone()];
        assert_eq!(read_feedback("f", &write_feedback(&all)).unwrap(), all);
        // ② > ①; nobody has rated ③.
        let rows = preference_rows(&all, &Criteria::EQUAL).unwrap();
        let pair = |chosen: &str, rejected: &str| DpoRow {
            prompt: chat(&[("user", "q")]),
            chosen: chat(&[("assistant", chosen)]),
            rejected: chat(&[("assistant", rejected)]),
            weight: None,
        };
        assert_eq!(rows, [pair("best", "worst")]);
        // An order set by hand counts before the ratings.
        let by_hand = Feedback { ranks: vec![Some(3), Some(1), Some(2)], ..record.clone() };
        // The pair of two equal texts teaches nothing.
        assert_eq!(preference_rows(&[by_hand], &Criteria::EQUAL).unwrap(), [pair("best", "worst"), pair("best", "worst")]);
        let examples = ideal_rows(&all).unwrap();
        let expected = SftRow::PromptCompletion { prompt: chat(&[("user", "q")]), completion: chat(&[("assistant", "ideal")]) };
        assert_eq!(examples, [expected]);
        assert_eq!(parse_sft("f", &write_jsonl(&examples)).unwrap(), examples);

        let e = preference_rows(std::slice::from_ref(&tied), &Criteria::EQUAL).unwrap_err();
        assert_eq!(e.code(), "no-pairs", "{e}");
        let same = Feedback { candidates: vec![candidate("x"), candidate("x")], ranks: vec![Some(1), Some(2)], ..tied.clone() };
        assert_eq!(same.preference_rows(&Criteria::EQUAL).unwrap_err().code(), "no-pairs");
        assert_eq!(preference_rows(&[], &Criteria::EQUAL).unwrap_err().code(), "empty-dataset");
        assert_eq!(ideal_rows(&[tied]).unwrap_err().code(), "empty-dataset");

        for (line, words) in [
            ("{\"id\":\"1\"}", "messages"),
            ("{\"id\":\"1\",\"messages\":[]}", "no question"),
            ("{\"id\":\"1\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"ranks\":[1]}", "1 ranks for 0"),
            (
                "{\"id\":\"1\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"ratings\":{\"harmless\":[1]}}",
                "ratings of harmless",
            ),
        ] {
            let e = read_feedback("f", line).unwrap_err();
            assert!(e.code() == "bad-row" && e.to_string().contains(words), "{line}: {e}");
        }
    }
}
