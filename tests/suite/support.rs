//! What runs on what, tried and written down in docs/support.md. The run writes target/support.md; with `UPDATE=1` the page of the docs. A page
//! whose rows are others than what was found fails; its speeds are those of the machine that wrote it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::AdapterChoice;
use fledgling::clock;
use fledgling::data::RowKind;
use fledgling::generate::Generator;
use fledgling::graph::{Desc, Exec, Program, ProgramOptions, StepParams, Tape, Tensor};
use fledgling::models::LoadOptions;
use fledgling::ops::linear::Linear;
use fledgling::tensor::packing::{STORED, noise};
use fledgling::tune::Training;
use fledgling::tune::methods::METHODS;
use serde_json::{Value, json};

use crate::families::{Fixture, fixtures};
use crate::harness::{cpu, devices};
use crate::models::load;

const INTRODUCTION: &str = "\
# What runs on what

Written by the test run (`UPDATE=1 cargo test --test suite support::`); a row that is no longer true fails it.

Every family is held to Transformers by a tiny checkpoint: logits, all gradients, ten steps, greedy tokens, a cache against none, one format
against the other (`tests/suite/families.rs`; Llama, Qwen 2, Qwen 3 and GPT-2 in `tests/suite/models.rs`). The methods take three steps on each here; their
curves are held to TRL on Llama. An adapter goes into a GGUF's weights and gives there what it gave beside them.

";

const TYPES: &str = "
Every stored type is unpacked in registers, in the product with a row (answers) and in its gradient (training). Unpacking is bit for bit the
reference's; products and gradients are compared with f64 (`tests/suite/stored.rs`). Speeds are 10⁹ bytes of weights a second for one row and a
matrix of 1024 × 1024, in the tests' half-optimized build, which unpacks most types on a processor far more slowly than the engine does:
[performance.md](performance.md) has its own, and the ratios between types (*Stored types*).

";

/// Two rows of token ids in the columns of a kind.
fn rows(method: &str, kind: RowKind) -> Vec<Value> {
    let ids = |first: u32| (0..5).map(|i| (first + 3 * i) % 60 + 4).collect::<Vec<u32>>();
    match kind {
        RowKind::Sft => vec![json!({"input_ids": ids(1)}), json!({"input_ids": ids(20)})],
        RowKind::Unpaired => vec![
            json!({"prompt_ids": ids(1), "completion_ids": ids(9), "label": true}),
            json!({"prompt_ids": ids(2), "completion_ids": ids(30), "label": false}),
        ],
        RowKind::Rollout if method == "ppo" => vec![
            json!({"query_ids": ids(1), "response_ids": ids(9), "score": 1.0}),
            json!({"query_ids": ids(2), "response_ids": ids(31), "score": -1.0}),
        ],
        RowKind::Rollout => vec![
            json!({"prompt_ids": ids(1), "completion_ids": [ids(9), ids(17)], "rewards": [1.0, 0.0]}),
            json!({"prompt_ids": ids(2), "completion_ids": [ids(31), ids(40)], "rewards": [0.0, 2.0]}),
        ],
        _ => vec![
            json!({"prompt_ids": ids(1), "chosen_ids": ids(9), "rejected_ids": ids(17)}),
            json!({"prompt_ids": ids(2), "chosen_ids": ids(31), "rejected_ids": ids(40)}),
        ],
    }
}

/// Three updates of an adapter by a method: every number is one, and the model answers otherwise than before.
async fn learns(f: &Fixture, method: &str, kind: RowKind) -> Result<()> {
    let loaded = Rc::new(load(&cpu(), Some(f.config), f.weights, 1 << 20, LoadOptions::default()).await?);
    let args = json!({"max_steps": 3, "learning_rate": 1e-2, "r": 2, "per_device_train_batch_size": 2});
    let mut training = Training::new(&loaded, method, &args, &rows(method, kind), None).await?;
    let mut steps = 0;
    while let Some(m) = training.step().await? {
        assert!(m.metrics.iter().all(|(_, v)| v.is_finite()) && m.grad_norm > 0.0, "{}, {method}: {m:?}", f.name);
        steps += 1;
    }
    assert_eq!(steps, 3, "{}, {method}", f.name);
    let mut g = Generator::new(loaded)?;
    let ids: Vec<u32> = (4..12).collect();
    if kind == RowKind::Reward {
        // It writes nothing; its gradient above has gone through all of the model.
        return Ok(());
    }
    let base = g.logits_at(&ids, &[7], &AdapterChoice::Base).await?.remove(0);
    let tuned = g.logits_at(&ids, &[7], &AdapterChoice::Active).await?.remove(0);
    assert!(base.iter().zip(&tuned).any(|(a, b)| (a - b).abs() > 1e-4), "{}, {method}: nothing was learnt", f.name);
    Ok(())
}

/// The page but for its speeds.
fn rows_of(page: &str) -> Vec<String> {
    let figure = |cell: &str| cell.trim().parse::<f64>().is_ok();
    page.lines().filter(|l| l.starts_with('|')).map(|l| l.split('|').filter(|c| !figure(c)).collect::<Vec<_>>().join("|")).collect()
}

#[test]
fn what_runs_on_what() {
    pollster::block_on(async { written().await.unwrap_or_else(|e| panic!("{e}")) });
}

async fn written() -> Result<()> {
    let mut page = String::from(INTRODUCTION);
    let titles: Vec<String> = METHODS.iter().map(|m| m.title.to_string()).collect();
    let _ = writeln!(page, "| family | files | answers | {} | merged into a GGUF |", titles.join(" | "));
    let _ = writeln!(page, "|---|---|---|{}---|", "---|".repeat(METHODS.len()));
    for f in fixtures() {
        for m in METHODS {
            learns(&f, m.name, m.rows).await.map_err(|e| {
                report!("{}, {}: {e}", f.name, m.name);
                e
            })?;
        }
        let files = if f.gguf.is_some() { "safetensors, GGUF" } else { "safetensors" };
        let merged = if f.gguf.is_some() { "yes" } else { "as Llama" };
        let _ = writeln!(page, "| {} | {files} | yes | {}{merged} |", f.name, "yes | ".repeat(METHODS.len()));
    }
    let devices = devices().await;
    let names: Vec<&str> = devices.iter().map(|d| if matches!(d, Exec::Cpu(_)) { "processor" } else { "GPU" }).collect();
    page += TYPES;
    let columns: Vec<String> = names.iter().flat_map(|n| [format!("{n}: forward"), format!("{n}: forward and backward")]).collect();
    let _ = writeln!(page, "| type | bits | {} | made from floats |", columns.join(" | "));
    let _ = writeln!(page, "|---|---|{}---|", "---|".repeat(columns.len()));
    for stored in STORED.iter().filter(|s| s.blocks().is_some()) {
        let (n, k) = (1024, 1024);
        let bytes = noise(stored.dtype, n * k / stored.block_len, 7, 0.05);
        let mut cells = String::new();
        for exec in &devices {
            let w = Tensor::zeros(exec, stored.name, Desc { shape: vec![n, k], dtype: stored.dtype })?;
            w.write_rows(exec, 0, &bytes)?;
            for (times, backward) in [(1.0, false), (2.0, true)] {
                let _ = write!(cells, " {:.3} |", times * bytes.len() as f64 / seconds(exec, &w, backward).await? / 1e9);
            }
        }
        let made = if stored.quantize.is_some() { "yes" } else { "no" };
        let _ = writeln!(page, "| {} | {:.2} b |{cells} {made} |", stored.name, stored.bits());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let there = root.join("docs/support.md");
    let put = |path: &Path| fs::write(path, &page).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    put(&root.join("target/support.md"));
    if std::env::var_os("UPDATE").is_some() {
        put(&there);
    }
    let committed = fs::read_to_string(&there).unwrap_or_default();
    assert_eq!(rows_of(&committed), rows_of(&page), "docs/support.md is stale: UPDATE=1 cargo test --test suite support::");
    Ok(())
}

/// Seconds of a product of one row, the best of a few runs; with its gradient, of both products.
async fn seconds(exec: &Exec, w: &Tensor, backward: bool) -> Result<f64> {
    let (n, k) = (w.desc().rows(), w.desc().cols());
    let x = Tensor::from_f64(exec, "x", &[1, k], &vec![0.01; k])?;
    if backward {
        x.set_grad(Some(Tensor::zeros(exec, "dx", Desc::f32(&[1, k]))?));
    }
    let mut tape = Tape::new();
    let (xv, wv) = (tape.tensor(&x), tape.tensor(w));
    let y = tape.push1(Linear::plain(), &[xv, wv])?;
    tape.output("y", y);
    if backward {
        let seed = Tensor::from_f64(exec, "dy", &[1, n], &vec![0.01; n])?;
        let seed = tape.tensor(&seed);
        tape.backward(&[(y, seed)], false)?;
    }
    let program = Program::build(exec, &tape, ProgramOptions::default())?;
    program.compile().await?;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        exec.done().await?;
        let begin = clock::seconds();
        program.submit(&StepParams::default());
        exec.done().await?;
        program.check()?;
        best = best.min(clock::seconds() - begin);
    }
    let y = program.run(&StepParams::default(), &["y"]).await?;
    assert!(y[0].iter().all(|v| f32::from_bits(*v).is_finite()), "{} gives no numbers", w.name());
    // The clock of a browser is coarse.
    Ok(best.max(1e-6))
}
