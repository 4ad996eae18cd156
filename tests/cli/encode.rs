//! `fledgling embed`, `fill-mask`, `classify`, and `logits` of encoders, by token ids.

use std::fs;

use serde_json::{Value, json};

use super::{expected, fails_with, fixture, ok, on_cpu, parse, temp};

fn ids(values: &[f64], n: usize) -> String {
    values[..n].iter().map(|v| v.to_string()).collect::<Vec<_>>().join(",")
}

/// A tensor of a fixture's expected values.
fn of(model: &str) -> impl Fn(&str) -> Vec<f64> {
    let file = format!("{model}/expected.safetensors");
    move |name: &str| expected(&file, name)
}

fn near(got: &Value, want: &[f64]) {
    let got: Vec<f64> = got.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert!(got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-4), "{got:?} for {want:?}");
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    let (model, e) = (fixture("models/minilm"), of("models/minilm"));
    let (ids0, types0) = (ids(&e("input_ids"), 12), ids(&e("token_type_ids"), 12));
    let (ids1, types1) = (ids(&e("input_ids")[12..], 9), ids(&e("token_type_ids")[12..], 9));
    let given = [
        "embed",
        "--model",
        &model,
        "--prompt-ids",
        &ids0,
        "--prompt-ids",
        &ids1,
        "--token-type-ids",
        &types0,
        "--token-type-ids",
        &types1,
    ];
    let out = ok(&[&given[..], &["--pooling", "mean", "--normalize", "true", "--json"]].concat());
    for (i, line) in out.lines().map(parse).enumerate() {
        near(&line["embedding"], &e("mean")[16 * i..][..16]);
        assert_eq!((&line["index"], &line["tokens"]), (&json!(i), &json!([12, 9][i])));
    }
    // A file of rows, and a vector without a name.
    let folder = temp("embed");
    let rows = folder.join("rows.jsonl");
    fs::write(&rows, json!({"input_ids": parse(&format!("[{ids0}]")), "token_type_ids": parse(&format!("[{types0}]"))}).to_string())
        .unwrap();
    let rows = rows.display().to_string();
    near(&parse(&ok(&["embed", "--model", &model, "--data", &rows, "--pooling", "cls"])), &e("hidden")[..16]);
    fails_with(&on_cpu(&["embed", "--model", &model, "--prompt", "a text"]), 2, "bad-config", "tokenizer");
    fails_with(&on_cpu(&["embed", "--model", &fixture("models/llama"), "--prompt-ids", "5"]), 2, "bad-config", "needs an encoder");
    fails_with(&on_cpu(&["generate", "--model", &model, "--prompt-ids", "5"]), 2, "bad-config", "needs a decoder");
    fails_with(
        &on_cpu(&["fill-mask", "--model", &model, "--prompt-ids", "5", "--mask-id", "5"]),
        2,
        "bad-config",
        "no head for masked tokens",
    );
    fails_with(&on_cpu(&["classify", "--model", &model, "--prompt-ids", "5"]), 2, "bad-config", "classifier");
}

#[test]
fn heads_say_what_transformers_says() {
    let (model, e) = (fixture("models/bert"), of("models/bert"));
    let (ids0, types0) = (ids(&e("input_ids"), 12), ids(&e("token_type_ids"), 12));
    let out = parse(&ok(&["logits", "--model", &model, "--prompt-ids", &ids0, "--token-type-ids", &types0, "--json"]));
    for (t, row) in out["logits"].as_array().unwrap().iter().enumerate() {
        near(row, &e("logits")[64 * t..][..64]);
    }
    // The last token as the masked one: its likeliest candidate is the largest logit there.
    let mask = ids0.rsplit(',').next().unwrap();
    let out = parse(&ok(&[
        "fill-mask",
        "--model",
        &model,
        "--prompt-ids",
        &ids0,
        "--token-type-ids",
        &types0,
        "--mask-id",
        mask,
        "--top-k",
        "2",
        "--json",
    ]));
    let last = out["masks"].as_array().unwrap().last().unwrap();
    let logits = &e("logits")[64 * 11..][..64].to_vec();
    let best = (0..64).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
    let sum: f64 = logits.iter().map(|v| (v - logits[best]).exp()).sum();
    assert_eq!((&last["position"], &last["candidates"][0]["id"]), (&json!(11), &json!(best)));
    assert!((last["candidates"][0]["score"].as_f64().unwrap() - 1.0 / sum).abs() < 1e-4, "{last}");
    fails_with(&on_cpu(&["fill-mask", "--model", &model, "--prompt-ids", "5,6", "--mask-id", "4"]), 2, "bad-config", "no masked token");

    let (model, e) = (fixture("models/bert_sequence"), of("models/bert_sequence"));
    let (ids0, types0) = (ids(&e("input_ids"), 12), ids(&e("token_type_ids"), 12));
    let out = parse(&ok(&["classify", "--model", &model, "--prompt-ids", &ids0, "--token-type-ids", &types0, "--json"]));
    near(&out["logits"], &e("logits")[..3]);
    let logits = e("logits");
    let best = (0..3).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
    assert_eq!(out["label"], json!(["no", "perhaps", "yes"][best]));
    let (model, e) = (fixture("models/roberta_sequence"), of("models/roberta_sequence"));
    let out = parse(&ok(&["classify", "--model", &model, "--prompt-ids", &ids(&e("input_ids"), 12), "--json"]));
    near(&json!([out["score"]]), &e("logits")[..1]);
    let (model, e) = (fixture("models/bert_tokens"), of("models/bert_tokens"));
    let (ids0, types0) = (ids(&e("input_ids"), 12), ids(&e("token_type_ids"), 12));
    let out = parse(&ok(&["classify", "--model", &model, "--prompt-ids", &ids0, "--token-type-ids", &types0, "--json"]));
    for (t, said) in out["tokens"].as_array().unwrap().iter().enumerate() {
        near(&said["logits"], &e("logits")[3 * t..][..3]);
    }
}

#[test]
fn encoder_decoders_give_the_logits_of_transformers() {
    let (model, e) = (fixture("models/marian"), of("models/marian"));
    let (source, read) = (ids(&e("input_ids"), 12), e("decoder_input_ids"));
    let wide = 48;
    let of_prompt = ["logits", "--model", &model, "--prompt-ids", &source, "--json"];
    near(&parse(&ok(&of_prompt))["last_logits"], &e("logits")[..wide]);
    let four = ids(&read, 4);
    let with = [&of_prompt[..], &["--decoder-ids", &four]].concat();
    near(&parse(&ok(&with))["last_logits"], &e("logits")[3 * wide..4 * wide]);
    let decoder = fixture("models/llama");
    let wrong = ["logits", "--model", &decoder, "--prompt-ids", "4,5", "--decoder-ids", "4"];
    fails_with(&on_cpu(&wrong), 2, "bad-config", "decoder_ids needs an encoder-decoder");
}

#[test]
fn encoder_decoders_translate() {
    let (model, e) = (fixture("models/marian"), of("models/marian"));
    let source = ids(&e("input_ids"), 12);
    for (beams, more) in [(1, &[][..]), (3, &["--num-beams", "3"])] {
        let want = ids(&e(&format!("beams{beams}/0")), e(&format!("beams{beams}/0")).len());
        let given = [&["--model", &model, "--prompt-ids", &source, "--max-new-tokens", "12"], more].concat();
        // Without a tokenizer ids are all there is.
        assert_eq!(ok(&[&["translate"], &given[..]].concat()).trim_end(), want);
        let said = parse(&ok(&[&["translate"], &given[..], &["--json"]].concat()));
        assert_eq!((&said["token_ids"], &said["prompt_ids"]), (&parse(&format!("[{want}]")), &parse(&format!("[{source}]"))));
        let same = parse(&ok(&[&["generate"], &given[..], &["--json"]].concat()));
        assert_eq!((&same["candidates"], &same["score"]), (&said["candidates"], &said["score"]));
    }
    let said = parse(&ok(&[
        "translate",
        "--model",
        &model,
        "--prompt-ids",
        "4,5",
        "--forced-bos-token-id",
        "9",
        "--max-new-tokens",
        "2",
        "--json",
    ]));
    assert_eq!(said["token_ids"][0], 9);
    let llama = fixture("models/llama");
    for (args, part) in [
        (["translate", "--model", &llama, "--prompt-ids", "4", "--n", "1"], "needs an encoder-decoder"),
        (
            ["generate", "--model", &llama, "--prompt-ids", "4", "--forced-bos-token-id", "5"],
            "forced_bos_token_id needs an encoder-decoder",
        ),
        (["generate", "--model", &model, "--prompt-ids", "4", "--forced-bos-token-id", "99"], "outside the vocabulary"),
        (["generate", "--model", &model, "--prompt-ids", "4", "--prompt-lookup-num-tokens", "3"], "prompt_lookup_num_tokens"),
        (["translate", "--model", &model, "--prompt", "a", "--n", "1"], "tokenizer"),
    ] {
        fails_with(&on_cpu(&args), 2, "bad-config", part);
    }
    fails_with(&on_cpu(&["generate", "--model", &model, "--prompt", "a", "--chat"]), 2, "bad-config", "a chat needs a decoder");
    fails_with(&on_cpu(&["chat", "--model", &model]), 2, "bad-config", "a chat needs a decoder");
}
