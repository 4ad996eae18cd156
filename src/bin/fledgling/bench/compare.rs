//! `--compare A B`: the figures of two runs side by side.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::files;
use fledgling::{Error, Result};

/// What was asked for, not measured.
const SETTINGS: [&str; 9] = [
    "cores",
    "prompt_length",
    "new_tokens",
    "lora_batch",
    "lora_length",
    "checkpointing_length",
    "checkpointing_rounds",
    "matmul_n",
    "gpt_parameters_millions",
];

/// Figures of which more is better; of all others less is.
const MORE: [&str; 5] = ["_per_second", "_gflops", "_gbps", "_fraction", "_rate"];

/// Of which neither is: how long a run was. (Nor is it of ratios inside one, `b_over_a`.)
const TOLD: [&str; 1] = ["frames_while_training"];

fn read(path: &Path) -> Result<Value> {
    let text = files::read_text(path)?;
    // Also the output of a run as it was printed: its last line is the object.
    let last = text.trim_end().lines().last().unwrap_or("");
    let value = serde_json::from_str(&text).or_else(|_| serde_json::from_str(last));
    match value {
        Ok(v @ Value::Object(_)) => Ok(v),
        _ => Err(Error::file(path.display().to_string(), "is not what `fledgling bench --out` writes")),
    }
}

/// Every number, the ones inside objects under `outer.inner`; of the kernels of a profile the milliseconds, under the kernel's name.
fn numbers(prefix: &str, value: &Value, out: &mut Vec<(String, f64)>) {
    match value {
        Value::Object(map) => {
            for (key, v) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                numbers(&name, v, out);
            }
        }
        Value::Array(items) => {
            for v in items {
                if let (Some(kernel), Some(ms)) = (v["kernel"].as_str(), v["ms"].as_f64()) {
                    out.push((format!("{prefix}.{kernel}"), ms));
                }
            }
        }
        Value::Number(n) => out.extend(n.as_f64().map(|n| (prefix.to_string(), n))),
        _ => {}
    }
}

/// The runs inside an object, each under its path: itself, or what `make bench` and `make bench-gpu` put together. A run names its adapter.
fn runs<'a>(path: &str, value: &'a Value, out: &mut Vec<(String, &'a Value)>) {
    if value["adapter"].is_string() {
        out.push((path.to_string(), value));
        return;
    }
    for (key, v) in value.as_object().into_iter().flatten() {
        runs(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, v, out);
    }
}

/// What is in no run: figures made of several (`lora_ours_over_torch`), and those of other programs.
fn outside(path: &str, value: &Value, out: &mut Map<String, Value>) {
    if value["adapter"].is_string() {
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, v) in map {
                outside(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, v, out);
            }
        }
        Value::Null => {}
        v => {
            out.insert(path.to_string(), v.clone());
        }
    }
}

/// Prints a table for each run that both files have, and one for what is in no run.
pub fn run(a: &Path, b: &Path) -> Result<()> {
    let (left, right) = (read(a)?, read(b)?);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    runs("", &left, &mut before);
    runs("", &right, &mut after);
    let (mut x, mut y) = (Map::new(), Map::new());
    outside("", &left, &mut x);
    outside("", &right, &mut y);
    let lacks = |list: &[(String, &Value)], path: &str| list.iter().all(|r| r.0 != path);
    if before.iter().all(|(path, _)| lacks(&after, path)) && x.keys().all(|k| !y.contains_key(k)) {
        return Err(Error::file(b.display().to_string(), format!("has no run that is in {}, too", a.display())));
    }
    for (path, x) in &before {
        let Some((_, y)) = after.iter().find(|r| r.0 == *path) else {
            say!("\n{path}: only in A");
            continue;
        };
        if !path.is_empty() {
            say!("\n== {path}");
        }
        table(x, y);
    }
    for (path, _) in after.iter().filter(|r| lacks(&before, &r.0)) {
        say!("\n{path}: only in B");
    }
    if !(x.is_empty() && y.is_empty()) {
        say!("\n== outside the runs");
        let named: Vec<&str> =
            x.iter().chain(&y).filter(|e| !e.1.is_number()).map(|e| e.0.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
        figures(&Value::Object(x.clone()), &Value::Object(y.clone()));
        if !named.is_empty() {
            say!("not compared, no numbers: {}", named.join(", "));
        }
    }
    Ok(())
}

/// One run beside another: whose they are, then every figure that both have.
fn table(left: &Value, right: &Value) {
    for (name, v) in [("A", left), ("B", right)] {
        let field = |key: &str| v[key].as_str().unwrap_or("?").to_string();
        say!("{name}: {}, {}, load average {}", field("adapter"), v["model"].as_str().unwrap_or("no model"), v["load_average"]);
    }
    if left["adapter"] != right["adapter"] {
        say!("   ! two adapters: the ratios compare machines, not versions");
    }
    if left["model"] != right["model"] || left["quantization"] != right["quantization"] {
        say!("   ! two models: the ratios compare those, not versions");
    }
    figures(left, right);
}

/// Every figure that both have, and the names of those that only one has.
fn figures(left: &Value, right: &Value) {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    numbers("", left, &mut old);
    numbers("", right, &mut new);
    say!("\n{:<44}{:>14}{:>14}{:>9}", "", "A", "B", "B / A");
    for (key, x) in &old {
        let Some((_, y)) = new.iter().find(|n| n.0 == *key) else { continue };
        let ratio = y / x;
        let verdict = if SETTINGS.contains(&key.as_str()) {
            if x == y { "" } else { "not the same work" }
        } else if TOLD.contains(&key.as_str()) || key.contains("b_over_a") || !ratio.is_finite() || (ratio - 1.0).abs() < 0.03 {
            ""
        } else if (ratio > 1.0) == MORE.iter().any(|m| key.ends_with(m)) {
            "better"
        } else {
            "worse"
        };
        let ratio = if ratio.is_finite() { format!("{ratio:.3}") } else { "–".into() };
        say!("{key:<44}{:>14}{:>14}{ratio:>9}  {verdict}", short(*x), short(*y));
    }
    for (name, some, others) in [("A", &old, &new), ("B", &new, &old)] {
        let alone: Vec<&str> = some.iter().filter(|f| others.iter().all(|o| o.0 != f.0)).map(|f| f.0.as_str()).collect();
        if !alone.is_empty() {
            say!("not compared, only in {name}: {}", alone.join(", "));
        }
    }
}

/// Four digits that mean something.
fn short(v: f64) -> String {
    match v.abs() {
        a if a >= 1e6 => format!("{v:.4e}"),
        a if a >= 1000.0 || v.fract() == 0.0 => format!("{v:.0}"),
        a if a >= 10.0 => format!("{v:.2}"),
        _ => format!("{v:.4}"),
    }
}
