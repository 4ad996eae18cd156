//! Rotary frequencies from `config.json` and from a GGUF's keys, against Transformers' `ROPE_INIT_FUNCTIONS`.

use fledgling::formats::{Container, Value};
use fledgling::models::Config;
use serde_json::{Value as Json, json};

use crate::fixture::{self, Case};

/// A llama whose rotation is that of a fixture.
fn config(case: &Case) -> Json {
    json!({
        "model_type": "llama", "vocab_size": 96, "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": case.usize_param("head_dim"),
        "max_position_embeddings": case.usize_param("max_position_embeddings"), "rope_parameters": case.params["rope_scaling"],
    })
}

fn is_table(case: &Case, what: &str, config: &Config) {
    let (got, factor) = config.rope.as_ref().expect("rotary").table().expect("a table");
    let want = case.data("inv_freq");
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        // Transformers computes powers in f32.
        assert!((f64::from(*g) - w).abs() <= 2e-6 * w, "{what} {}: frequency {i} is {g}, expected {w}", case.case);
    }
    let want = case.f32_param("attention_factor");
    assert!((factor - want).abs() < 1e-6, "{what} {}: attention factor {factor}, expected {want}", case.case);
}

/// The header of the tiny GGUF with its rotation replaced.
fn gguf(changes: &[(&str, Value)]) -> Container {
    let mut container = Container::parse("tiny.gguf", crate::models::GGUF).expect("a fixture");
    for (k, v) in changes {
        let key = format!("llama.{k}");
        container.metadata.remove(&key);
        container.metadata.insert(key, v.clone());
    }
    container
}

fl_test!(
    async fn rope_tables_are_transformers() {
        for case in fixture::cases("rope_table") {
            let new = config(&case);
            is_table(&case, "rope_parameters", &Config::from_json("config.json", &new.to_string()).expect("supported"));
            // The older shape: theta beside rope_scaling, and `type` for `rope_type`.
            let mut old = new;
            let map = old.as_object_mut().unwrap();
            let mut scaling = map.remove("rope_parameters").unwrap();
            let scaling_map = scaling.as_object_mut().unwrap();
            let theta = scaling_map.remove("rope_theta").unwrap();
            let kind = scaling_map.remove("rope_type").unwrap();
            scaling_map.insert("type".into(), kind);
            map.insert("rope_theta".into(), theta);
            map.insert("rope_scaling".into(), scaling);
            is_table(&case, "rope_scaling", &Config::from_json("config.json", &old.to_string()).expect("supported"));
        }
    }

    /// GGUF has keys for linear and yarn; llama3's factors are a tensor (see models.rs).
    async fn rope_tables_of_a_gguf() {
        let mut seen = 0;
        for case in fixture::cases("rope_table") {
            let p = &case.params["rope_scaling"];
            let number = |name: &str| p[name].as_f64().map(|v| Value::F32(v as f32));
            let kind = case.params["rope_scaling"]["rope_type"].as_str().unwrap().to_string();
            // An attention factor that is given outright has no key.
            if !["linear", "yarn", "default"].contains(&kind.as_str()) || !p["mscale"].is_null() {
                continue;
            }
            let mut changes = vec![
                ("attention.key_length", Value::U32(case.usize_param("head_dim") as u32)),
                ("rope.dimension_count", Value::U32(case.usize_param("head_dim") as u32)),
                ("context_length", Value::U32(case.usize_param("max_position_embeddings") as u32)),
                ("rope.freq_base", number("rope_theta").unwrap()),
                ("rope.scaling.type", Value::String(if kind == "default" { "none".into() } else { kind })),
            ];
            let named = [
                ("rope.scaling.factor", number("factor")),
                ("rope.scaling.yarn_beta_fast", number("beta_fast")),
                ("rope.scaling.yarn_beta_slow", number("beta_slow")),
                ("rope.scaling.original_context_length", p["original_max_position_embeddings"].as_u64().map(|v| Value::U32(v as u32))),
            ];
            changes.extend(named.into_iter().filter_map(|(k, v)| Some((k, v?))));
            if let Some(a) = p["attention_factor"].as_f64() {
                // GGUF's factor multiplies what yarn recommends.
                let recommended = 0.1 * p["factor"].as_f64().unwrap().ln() + 1.0;
                changes.push(("rope.scaling.attn_factor", Value::F32((a / recommended) as f32)));
            }
            is_table(&case, "GGUF", &Config::from_gguf(&gguf(&changes)).expect("supported"));
            seen += 1;
        }
        assert_eq!(seen, 4);
    }

    async fn rope_scaling_that_depends_on_the_length_ends_with_it() {
        let of = |name: &str| {
            let case = fixture::cases("rope_table").into_iter().find(|c| c.case == name).expect("a case");
            Config::from_json("config.json", &config(&case).to_string()).expect("supported").max_position_embeddings
        };
        // longrope is run with its short factors only: up to original_max_position_embeddings.
        assert_eq!((of("dynamic"), of("longrope")), (256, 64));
    }

    async fn rope_scaling_that_cannot_be() {
        let with = |rope: Json| {
            let case = &fixture::cases("rope_table")[0];
            let mut c = config(case);
            c["rope_parameters"] = rope;
            Config::from_json("config.json", &c.to_string()).expect_err("impossible")
        };
        for (rope, field) in [
            (json!({"rope_type": "longrope", "original_max_position_embeddings": 64}), "short_factor"),
            (json!({"rope_type": "longrope", "original_max_position_embeddings": 64, "short_factor": [1.0, 2.0]}), "short_factor"),
            (json!({"rope_type": "longrope", "original_max_position_embeddings": 64, "short_factor": vec![0.0; 16]}), "short_factor"),
            (json!({"rope_type": "linear", "factor": 0.5}), "factor"),
            (json!({"rope_type": "spiral"}), "rope_scaling"),
        ] {
            let e = with(rope);
            assert_eq!(e.code(), "bad-config", "{e}");
            assert!(e.to_string().contains(field), "{e}");
        }
        let e =
            Config::from_gguf(&gguf(&[("rope.scaling.type", Value::String("linear".into())), ("rope.scaling.factor", Value::F32(-2.0))]));
        assert_eq!(e.expect_err("a factor of -2").code(), "bad-config");
    }
);
