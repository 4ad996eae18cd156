//! Adapters that are live at once and chosen row by row; virtual tokens; keys in front of a sequence's own. Each compared with what it must equal.

use std::rc::Rc;

use fledgling::Result;
use fledgling::adapters::{AdapterSet, AdapterStack, LoadedModel};
use fledgling::formats::peft::LoraConfig;
use fledgling::graph::{Desc, Program, ProgramOptions, StepParams, Tape, Tensor, Val};
use fledgling::models::{CachedInputs, LoadOptions, Model, TrainInputs};
use fledgling::nn::{Adapter, KvCache, KvCacheDtype, LowRank, Prefix, Prompt};
use fledgling::ops::adapter::NO_ADAPTER;
use fledgling::ops::embedding::NO_ROW;
use fledgling::ops::linear::Low;

use crate::harness::devices;
use crate::models::load_named;
use crate::opcase::Rng;

/// Sequences of a batch and tokens of each.
const B: usize = 3;
const T: usize = 7;
/// Which adapter each sequence has.
const CHOICE: [u32; B] = [NO_ADAPTER, 0, 1];

/// Largest difference, relative to the largest expected value.
fn difference(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let top = want.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    got.iter().zip(want).fold(0f64, |m, (g, w)| m.max(f64::from((g - w).abs() / top)))
}

fn random(rng: &mut Rng, n: usize, scale: f64) -> Vec<f64> {
    (0..n).map(|_| f64::from((rng.uniform() * scale) as f32)).collect()
}

fn ids(seed: u64, n: usize) -> Vec<u32> {
    let mut rng = Rng(seed);
    (0..n).map(|_| (rng.next() % 96) as u32).collect()
}

/// An adapter that does something: A and B random.
fn adapter(model: &LoadedModel, config: &str, seed: u64) -> Result<Rc<AdapterSet>> {
    let set = model.adapters.fresh(&LoraConfig::parse("adapter_config.json", config)?, seed)?;
    set.params().set_f64(model.model.exec(), &random(&mut Rng(seed), set.params().desc().len(), 0.2));
    Ok(set)
}

/// Two of different rank, scale and modules; the second has one on the output layer as well.
fn adapters(model: &LoadedModel, dropout: f64) -> Result<Vec<Rc<AdapterSet>>> {
    let first = r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}"#;
    let second = format!(
        r#"{{"peft_type": "LORA", "r": 3, "lora_alpha": 12, "use_rslora": true, "lora_dropout": {dropout},
            "target_modules": ["q_proj", "k_proj", "gate_proj", "up_proj", "o_proj", "lm_head"], "rank_pattern": {{"k_proj": 5}}}}"#
    );
    Ok(vec![adapter(model, first, 5)?, adapter(model, &second, 6)?])
}

/// Virtual tokens, or keys and values, in front of the rows of a pass.
#[derive(Clone, Copy, Default)]
struct InFront<'a> {
    prompt: Option<(&'a Tensor, Val)>,
    prefix: Option<(&'a [(Tensor, Tensor)], Val)>,
}

impl Adapter for InFront<'_> {
    fn low(&self, _index: usize, _train: bool) -> Option<Low> {
        None
    }

    fn record(&self, _tape: &mut Tape, _index: usize, _x: Val, _train: bool) -> Result<LowRank> {
        unreachable!("it changes no linear")
    }

    fn prompt(&self, tape: &mut Tape) -> Option<Prompt> {
        self.prompt.map(|(table, rows)| Prompt { table: tape.tensor(table), rows })
    }

    fn prefix(&self, tape: &mut Tape, layer: usize) -> Option<Prefix> {
        let (layers, rows) = self.prefix?;
        let (keys, values) = &layers[layer];
        Some(Prefix { keys: tape.tensor(keys), values: tape.tensor(values), rows })
    }
}

/// A pass over B sequences of `t` tokens, of which `front` keys come from elsewhere.
fn inputs(tape: &mut Tape, t: usize) -> TrainInputs {
    TrainInputs {
        batch: B,
        ids: tape.input("ids", Desc::u32(&[B * t])),
        positions: tape.input("positions", Desc::u32(&[B * t])),
        spans: tape.input("spans", Desc::u32(&[B * t, 2])),
        window_spans: None,
        types: None,
        source: None,
    }
}

/// Writes the inputs: causal, `front[b]` positions in front of sequence b, whose keys begin at `begin[b]` and are `width` in all.
fn write(p: &Program, ids: &[u32], t: usize, front: [usize; B], begin: [usize; B], width: usize) {
    p.write("ids", ids);
    p.write("positions", &(0..B * t).map(|i| (front[i / t] + i % t) as u32).collect::<Vec<_>>());
    p.write("spans", &(0..B * t).flat_map(|i| [begin[i / t] as u32, (width + i % t + 1) as u32]).collect::<Vec<_>>());
}

fn by_row(choice: [u32; B], t: usize) -> Vec<u32> {
    choice.into_iter().flat_map(|c| vec![c; t]).collect()
}

/// Logits of a plain pass (B·t, V).
async fn plain(model: &Model, ids: &[u32], t: usize, adapter: Option<&dyn Adapter>) -> Result<Vec<f32>> {
    let mut tape = Tape::new();
    let inputs = inputs(&mut tape, t);
    let hidden = model.record_hidden(&mut tape, &inputs, adapter, false)?;
    let logits = model.record_logits(&mut tape, hidden, adapter)?;
    tape.output("logits", logits);
    let p = Program::build(model.exec(), &tape, ProgramOptions::default())?;
    write(&p, ids, t, [0; B], [0; B], 0);
    p.run_f32(&StepParams::default(), "logits").await
}

/// What the sequences must be: each from the pass of its own adapter.
async fn expected(model: &Model, sets: &[Rc<AdapterSet>], ids: &[u32], t: usize) -> Result<Vec<f32>> {
    let mut out = Vec::new();
    for (b, choice) in CHOICE.iter().enumerate() {
        let set = sets.get(*choice as usize).and_then(|s| Some(s.lora()? as &dyn Adapter));
        let all = plain(model, ids, t, set).await?;
        let each = all.len() / B;
        out.extend_from_slice(&all[b * each..(b + 1) * each]);
    }
    Ok(out)
}

/// Runs a training pass in which sequence b counts `weights[b]`; `record` gives the log-probabilities. Gradients go to who has some.
async fn train(
    model: &Model,
    ids: &[u32],
    weights: [f64; B],
    checkpoint: bool,
    record: impl Fn(&mut Tape, &TrainInputs) -> Result<Val>,
) -> Result<()> {
    let exec = model.exec();
    let mut tape = Tape::new();
    let inputs = inputs(&mut tape, T);
    let logp = record(&mut tape, &inputs)?;
    let seed: Vec<f64> = (0..B * T).map(|i| weights[i / T] * (1.0 + i as f64 / 10.0)).collect();
    let seed = Tensor::from_f64(exec, "seed", &[B * T], &seed)?;
    let seed = tape.tensor(&seed);
    tape.backward(&[(logp, seed)], checkpoint)?;
    let p = Program::build(exec, &tape, ProgramOptions::default())?;
    write(&p, ids, T, [0; B], [0; B], 0);
    p.write("targets", &ids.iter().rev().copied().collect::<Vec<_>>());
    if p.has_input("rows") {
        p.write("rows", &by_row(CHOICE, T));
    }
    p.submit(&StepParams::default());
    exec.done().await
}

/// A pass over M tokens with a cache that gives the logits of all of them.
fn cached<A: Adapter>(
    model: &Model,
    cache: &KvCache,
    m: usize,
    apart: bool,
    adapter: impl FnOnce(&mut Tape) -> Option<A>,
) -> Result<Program> {
    let mut tape = Tape::new();
    let inputs = CachedInputs {
        ids: tape.input("ids", Desc::u32(&[m])),
        positions: tape.input("positions", Desc::u32(&[m])),
        slots: tape.input("slots", Desc::u32(&[m])),
        spans: tape.input("spans", Desc::u32(&[m, 4])),
        window_spans: None,
        apart,
        cross: None,
    };
    let adapter = adapter(&mut tape);
    let adapter = adapter.as_ref().map(|a| a as &dyn Adapter);
    let x = model.record_cached(&mut tape, &inputs, cache, adapter)?;
    let logits = model.record_next(&mut tape, x, adapter)?;
    tape.output("logits", logits);
    Program::build(model.exec(), &tape, ProgramOptions::default())
}

/// The inputs of [`cached`] for `t` tokens behind `from` others, each in the slot of its position.
fn causal(p: &Program, t: usize, from: usize) {
    let at: Vec<u32> = (from..from + t).map(|i| i as u32).collect();
    p.write("positions", &at);
    p.write("slots", &at);
    p.write("spans", &at.iter().flat_map(|i| [u32::MAX, 0, 0, i + 1]).collect::<Vec<_>>());
}

fl_test!(
    /// One pass over three sequences, of the base model and of two adapters, gives what three passes give.
    async fn adapters_by_row_are_their_single_runs() -> Result<()> {
        for exec in devices().await {
            let loaded = load_named(&exec, "llama", LoadOptions::default()).await?;
            let (model, ids) = (&loaded.model, ids(1, B * T));
            let sets = adapters(&loaded, 0.0)?;
            let want = expected(model, &sets, &ids, T).await?;
            for stack in [AdapterStack::new(&exec, sets.clone())?, AdapterStack::kept(&exec, sets.clone())?] {
                for train in [false, true] {
                    let mut tape = Tape::new();
                    let inputs = inputs(&mut tape, T);
                    let rows = tape.input("rows", Desc::u32(&[B * T]));
                    let chosen = stack.choose(rows);
                    let hidden = model.record_hidden(&mut tape, &inputs, Some(&chosen), train)?;
                    let logits = model.record_logits(&mut tape, hidden, Some(&chosen))?;
                    tape.output("logits", logits);
                    let p = Program::build(&exec, &tape, ProgramOptions::default())?;
                    write(&p, &ids, T, [0; B], [0; B], 0);
                    p.write("rows", &by_row(CHOICE, T));
                    let got = p.run_f32(&StepParams::default(), "logits").await?;
                    let d = difference(&got, &want);
                    assert!(d <= 1e-5, "on the {}: differ by {d} (train {train})", exec.info().device);
                    // Values that change afterwards: a stack that keeps them is told.
                    if !train {
                        continue;
                    }
                    sets[0].params().set_f64(&exec, &random(&mut Rng(77), sets[0].params().desc().len(), 0.2));
                    stack.refresh();
                    let d = difference(&p.run_f32(&StepParams::default(), "logits").await?, &expected(model, &sets, &ids, T).await?);
                    assert!(d <= 1e-5, "after a change: differ by {d}");
                    sets[0].params().set_f64(&exec, &random(&mut Rng(5), sets[0].params().desc().len(), 0.2));
                    stack.refresh();
                }
            }
        }
        Ok(())
    }

    /// Each adapter has the gradient of its own rows, and a frozen one none.
    async fn gradients_reach_the_chosen_adapter() -> Result<()> {
        for exec in devices().await {
            let loaded = load_named(&exec, "llama", LoadOptions::default()).await?;
            let (model, ids) = (&loaded.model, ids(2, B * T));
            for frozen in [false, true] {
                let sets = adapters(&loaded, 0.0)?;
                let mut grads = [None, Some(sets[1].train(&exec)?)];
                if !frozen {
                    grads[0] = Some(sets[0].train(&exec)?);
                }
                let stack = AdapterStack::new(&exec, sets.clone())?;
                train(model, &ids, [1.0; B], !frozen, |tape, inputs| {
                    let (rows, targets) = (tape.input("rows", Desc::u32(&[B * T])), tape.input("targets", Desc::u32(&[B * T])));
                    let chosen = stack.choose(rows);
                    let hidden = model.record_hidden(tape, inputs, Some(&chosen), true)?;
                    model.record_logps(tape, hidden, targets, Some(&chosen), true, true)
                })
                .await?;
                for (i, (set, got)) in sets.iter().zip(&grads).enumerate() {
                    let Some(got) = got else { continue };
                    let got = got.to_f64(&exec).await?;
                    set.freeze();
                    let want = set.train(&exec)?;
                    let only = CHOICE.map(|c| f64::from(u8::from(c == i as u32)));
                    train(model, &ids, only, false, |tape, inputs| {
                        let targets = tape.input("targets", Desc::u32(&[B * T]));
                        let hidden = model.record_hidden(tape, inputs, set.lora().map(|l| l as &dyn Adapter), true)?;
                        model.record_logps(tape, hidden, targets, set.lora().map(|l| l as &dyn Adapter), true, true)
                    })
                    .await?;
                    let want = want.to_f64(&exec).await?;
                    let top = want.iter().fold(0f64, |m, v| m.max(v.abs()));
                    let d = got.iter().zip(&want).fold(0f64, |m, (g, w)| m.max((g - w).abs())) / top;
                    assert!(top > 1e-2 && d <= 2e-5, "adapter {i} on the {}: differs by {d} of {top}", exec.info().device);
                }
            }
        }
        Ok(())
    }

    /// A training drops only what the row's own adapter drops.
    async fn dropout_is_each_adapters_own() -> Result<()> {
        for exec in devices().await {
            let loaded = load_named(&exec, "llama", LoadOptions::default()).await?;
            let (model, ids) = (&loaded.model, ids(3, B * T));
            let sets = adapters(&loaded, 0.5)?;
            let want = expected(model, &sets, &ids, T).await?;
            let stack = AdapterStack::new(&exec, sets)?;
            let mut tape = Tape::new();
            let inputs = inputs(&mut tape, T);
            let rows = tape.input("rows", Desc::u32(&[B * T]));
            let hidden = model.record_hidden(&mut tape, &inputs, Some(&stack.choose(rows)), true)?;
            let logits = model.record_logits(&mut tape, hidden, Some(&stack.choose(rows)))?;
            tape.output("logits", logits);
            let p = Program::build(&exec, &tape, ProgramOptions::default())?;
            write(&p, &ids, T, [0; B], [0; B], 0);
            p.write("rows", &by_row(CHOICE, T));
            let got = p.run_f32(&StepParams { seed: 3, counter: 1, ..StepParams::default() }, "logits").await?;
            let each = got.len() / B;
            for (b, dropped) in [false, false, true].into_iter().enumerate() {
                let d = difference(&got[b * each..(b + 1) * each], &want[b * each..(b + 1) * each]);
                assert_eq!(dropped, d > 1e-3, "sequence {b}: differs by {d}");
                assert!(dropped || d <= 1e-5, "sequence {b}: differs by {d}");
            }
        }
        Ok(())
    }

    /// A prompt of each sequence and then one more token of each, from one cache.
    async fn adapters_by_row_over_a_cache() -> Result<()> {
        for exec in devices().await {
            let loaded = load_named(&exec, "llama", LoadOptions::default()).await?;
            let (model, ids) = (&loaded.model, ids(4, B * (T + 1)));
            let sets = adapters(&loaded, 0.0)?;
            let want = expected(model, &sets, &ids, T + 1).await?;
            let v = want.len() / (B * (T + 1));
            loaded.adapters.put("first", &sets[0])?;
            loaded.adapters.put("second", &sets[1])?;
            for stack in [AdapterStack::new(&exec, sets.clone())?, loaded.adapters.together(&["first", "second"])?] {
                let cache = model.cache(32, KvCacheDtype::F32)?;
                // Sequence b has slots b·T…, its last token slot B·T + b.
                for last in [false, true] {
                    let t = if last { 1 } else { T };
                    let at = |i: usize| if last { T } else { i % T };
                    let m = B * t;
                    let p = cached(model, &cache, m, last, |tape| Some(stack.choose(tape.input("rows", Desc::u32(&[m])))))?;
                    p.write("ids", &(0..m).map(|i| ids[i / t * (T + 1) + at(i)]).collect::<Vec<_>>());
                    p.write("positions", &(0..m).map(|i| at(i) as u32).collect::<Vec<_>>());
                    p.write("slots", &(0..m).map(|i| if last { B * T + i } else { i } as u32).collect::<Vec<_>>());
                    let span = |i: usize| {
                        let b = i / t;
                        [(b + 1) * T, B * T + b, b * T, b * T + at(i) + 1].map(|w| w as u32)
                    };
                    p.write("spans", &(0..m).flat_map(span).collect::<Vec<_>>());
                    p.write("rows", &by_row(CHOICE, t));
                    let got = p.run_f32(&StepParams::default(), "logits").await?;
                    for i in 0..m {
                        let from = (i / t * (T + 1) + at(i)) * v;
                        let d = difference(&got[i * v..(i + 1) * v], &want[from..from + v]);
                        assert!(d <= 1e-5, "row {i} on the {}: differs by {d} (last {last})", exec.info().device);
                    }
                }
            }
        }
        Ok(())
    }

    /// Embeddings of tokens in a prompt's table give what the tokens give, in a batch and over a cache, and the table the gradient that the
    /// embedding has.
    async fn virtual_tokens_are_as_tokens() -> Result<()> {
        const N: usize = 2;
        for (exec, name) in devices().await.into_iter().flat_map(|e| [(e.clone(), "llama"), (e, "gpt2")]) {
            let options = LoadOptions { trainable: true, ..LoadOptions::default() };
            let loaded = load_named(&exec, name, options).await?;
            let model = &loaded.model;
            // The prompts of the three sequences are six tokens that stand nowhere else.
            let plain_ids: Vec<u32> =
                (0..B * T).map(|i| if i % T < N { (90 + i / T * N + i % T) as u32 } else { (i * 7 % 80) as u32 }).collect();
            let virtual_at = |i: usize| (i % T < N).then_some((i / T * N + i % T) as u32);
            let embedding = |p: &&str| p.ends_with("embed_tokens.weight") || p.ends_with("wte.weight");
            let path = model.params().paths().find(embedding).expect("an embedding").to_string();
            let width = model.config().hidden_size;
            let values = model.params().read(&path).await?;
            let rows: Vec<f64> = values[90 * width..(90 + B * N) * width].iter().map(|v| f64::from(*v)).collect();
            let table = Tensor::from_f64(&exec, "prompt", &[B * N, width], &rows)?;
            table.set_grad(Some(Tensor::zeros(&exec, "dprompt", table.desc().clone())?));
            model.params().train()?;

            let mut seen = Vec::new();
            for own in [false, true] {
                let mut tape = Tape::new();
                let inputs = inputs(&mut tape, T);
                let rows = tape.input("rows", Desc::u32(&[B * T]));
                let chosen = InFront { prompt: Some((&table, rows)), ..InFront::default() };
                let adapter: Option<&dyn Adapter> = if own { Some(&chosen) } else { None };
                let hidden = model.record_hidden(&mut tape, &inputs, adapter, true)?;
                tape.output("hidden", hidden);
                let seed = random(&mut Rng(9), B * T * width, 1.0);
                let seed = Tensor::from_f64(&exec, "seed", &[B * T, width], &seed)?;
                let seed = tape.tensor(&seed);
                tape.backward(&[(hidden, seed)], own)?;
                let p = Program::build(&exec, &tape, ProgramOptions::default())?;
                let id = |i: usize| virtual_at(i).filter(|_| own).map_or(plain_ids[i], |_| NO_ROW);
                write(&p, &(0..B * T).map(id).collect::<Vec<_>>(), T, [0; B], [0; B], 0);
                p.write("rows", &(0..B * T).map(|i| virtual_at(i).unwrap_or(NO_ROW)).collect::<Vec<_>>());
                seen.push(p.run_f32(&StepParams::default(), "hidden").await?);
                if !own {
                    let want = model.params().read_grad(&path).await?;
                    seen.push(want[90 * width..(90 + B * N) * width].to_vec());
                }
            }
            let d = difference(&seen[2], &seen[0]);
            assert!(d <= 1e-6, "{name} on the {}: differ by {d}", exec.info().device);
            let got: Vec<f32> = table.grad().expect("set above").to_f64(&exec).await?.iter().map(|v| *v as f32).collect();
            let d = difference(&got, &seen[1]);
            assert!(d <= 1e-5, "{name} on the {}: gradients differ by {d}", exec.info().device);

            // The first sequence over a cache.
            let want = plain(model, &plain_ids, T, None).await?;
            let v = want.len() / (B * T);
            let cache = model.cache(16, KvCacheDtype::F32)?;
            let p = cached(model, &cache, T, false, |tape| {
                Some(InFront { prompt: Some((&table, tape.input("rows", Desc::u32(&[T])))), ..InFront::default() })
            })?;
            p.write("ids", &(0..T).map(|i| virtual_at(i).map_or(plain_ids[i], |_| NO_ROW)).collect::<Vec<_>>());
            p.write("rows", &(0..T).map(|i| virtual_at(i).unwrap_or(NO_ROW)).collect::<Vec<_>>());
            causal(&p, T, 0);
            let d = difference(&p.run_f32(&StepParams::default(), "logits").await?, &want[..T * v]);
            assert!(d <= 1e-5, "{name} on the {}, cached: differ by {d}", exec.info().device);
        }
        Ok(())
    }

    /// Keys and values that a cache has of a beginning give, in front of what follows, what the whole gives; the gradient is that of central
    /// differences. The third sequence has nothing in front.
    async fn keys_in_front_are_as_a_beginning() -> Result<()> {
        const N: usize = 3;
        for exec in devices().await {
            let loaded = load_named(&exec, "llama", LoadOptions::default()).await?;
            let (model, all) = (&loaded.model, ids(8, B * (N + T)));
            let all: Vec<u32> = (0..all.len()).map(|i| if i % (N + T) < N { all[i % (N + T)] } else { all[i] }).collect();
            let want = plain(model, &all, N + T, None).await?;
            let v = want.len() / (B * (N + T));
            let own: Vec<u32> = (0..B * T).map(|i| all[i / T * (N + T) + N + i % T]).collect();
            let alone = plain(model, &own, T, None).await?;

            // What a cache has of the beginning.
            let cache = model.cache(16, KvCacheDtype::F32)?;
            let p = cached(model, &cache, N, false, |_| None::<InFront<'_>>)?;
            p.write("ids", &all[..N]);
            causal(&p, N, 0);
            p.submit(&StepParams::default());
            exec.done().await?;
            let table = || Tensor::zeros(&exec, "prefix", Desc::f32(&[N, model.config().kv_width()]));
            let tables = (0..cache.layers.len()).map(|_| Ok((table()?, table()?))).collect::<Result<Vec<_>>>()?;
            for ((keys, values), layer) in tables.iter().zip(&cache.layers) {
                for (to, first) in [(keys, 0), (values, cache.capacity())] {
                    let from: Vec<f64> = layer.read_rows(&exec, first, N).await?.into_iter().map(f64::from).collect();
                    to.set_f64(&exec, &from);
                    to.set_grad(Some(Tensor::zeros(&exec, "dprefix", to.desc().clone())?));
                }
            }

            let mut tape = Tape::new();
            let inputs = inputs(&mut tape, T);
            let rows = tape.input("rows", Desc::u32(&[B * N]));
            let chosen = InFront { prefix: Some((&tables, rows)), ..InFront::default() };
            let hidden = model.record_hidden(&mut tape, &inputs, Some(&chosen), true)?;
            let logits = model.record_logits(&mut tape, hidden, Some(&chosen))?;
            tape.output("logits", logits);
            let seeds = random(&mut Rng(10), B * T * v, 1.0);
            let seed = Tensor::from_f64(&exec, "seed", &[B * T, v], &seeds)?;
            let seed = tape.tensor(&seed);
            tape.backward(&[(logits, seed)], true)?;
            let p = Program::build(&exec, &tape, ProgramOptions::default())?;
            write(&p, &own, T, [N, N, 0], [0, 0, N], N);
            p.write("rows", &(0..B * N).map(|i| if i / N < 2 { (i % N) as u32 } else { NO_ROW }).collect::<Vec<_>>());
            let got = p.run_f32(&StepParams::default(), "logits").await?;
            for i in 0..B * T {
                let from = (i / T * (N + T) + N + i % T) * v;
                let want = if i / T < 2 { &want[from..from + v] } else { &alone[i * v..(i + 1) * v] };
                let d = difference(&got[i * v..(i + 1) * v], want);
                assert!(d <= 1e-5, "row {i} on the {}: differs by {d}", exec.info().device);
            }

            // Gradients: a few elements of either layer.
            let loss = |logits: &[f32]| logits.iter().zip(&seeds).map(|(l, s)| f64::from(*l) * s).sum::<f64>();
            let mut seen = Vec::new();
            for t in tables.iter().flat_map(|(keys, values)| [keys, values]) {
                // Every run adds to the gradients: they are read before the next one.
                seen.push((t, t.grad().expect("set above").to_f64(&exec).await?, t.to_f64(&exec).await?));
            }
            for (t, grads, at) in seen {
                let top = grads.iter().fold(0f64, |m, g| m.max(g.abs()));
                for i in [0, at.len() / 2 + 1, at.len() - 1] {
                    let (h, mut sums) = (0.02, [0.0; 2]);
                    for (side, sum) in [h, -h].into_iter().zip(&mut sums) {
                        let mut moved = at.clone();
                        moved[i] += side;
                        t.set_f64(&exec, &moved);
                        *sum = loss(&p.run_f32(&StepParams::default(), "logits").await?);
                    }
                    t.set_f64(&exec, &at);
                    let (got, slope) = (grads[i], (sums[0] - sums[1]) / (2.0 * h));
                    assert!((slope - got).abs() <= 5e-3 * top, "{}: gradient {got}, central differences {slope} of {top}", t.name());
                }
            }

            // Over a cache into which it is written.
            for (dtype, tolerance) in [(KvCacheDtype::F32, 1e-5), (KvCacheDtype::F16, 5e-3)] {
                let cache = model.cache(16, dtype)?;
                for (layer, (keys, values)) in tables.iter().enumerate() {
                    let (k, v) = (keys.read_rows(&exec, 0, N).await?, values.read_rows(&exec, 0, N).await?);
                    cache.write(&exec, layer, 0, &k, &v)?;
                    assert_eq!(cache.write(&exec, layer, 14, &k, &v).err().map(|e| e.code()), Some("bad-shape"));
                }
                let p = cached(model, &cache, T, false, |_| None::<InFront<'_>>)?;
                p.write("ids", &own[..T]);
                causal(&p, T, N);
                let d = difference(&p.run_f32(&StepParams::default(), "logits").await?, &want[N * v..(N + T) * v]);
                assert!(d <= tolerance, "cached on the {}: differ by {d}", exec.info().device);
            }
        }
        Ok(())
    }
);
