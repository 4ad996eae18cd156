//! What continues elsewhere: adapter, rows and settings of a training as files for TRL.

use serde_json::{Map, Value, json};

use super::checkpoint::Checkpoint;
use super::config::TrainingArguments;
use super::methods::by_name;
use super::methods::table::MethodInfo;
use super::start::own_fields;
use crate::data::{Fault, Row, RowKind, Sampler, write_jsonl};
use crate::formats::peft::{CONFIG_NAME, LoraAdapter, WEIGHTS_NAME};
use crate::{Error, Result};

/// What the script does behind its settings.
const BODY: &str = include_str!("train.py");

/// Trainers that TRL keeps under `trl.experimental`, and their modules.
const EXPERIMENTAL: &[(&str, &str)] = &[("CPOConfig", "cpo"), ("ORPOConfig", "orpo")];

/// Versions that the script has been tried with.
const REQUIREMENTS: &str =
    "torch==2.15.0\ntransformers==5.23.0\npeft==0.21.2\ntrl==1.16.0\nsafetensors==0.8.0\naccelerate\ndatasets\ngguf\n";

/// Fields that a script says differently, or that are not TRL's.
const OWN: &[&str] = &["reference", "warmup_ratio", "fp16"];

/// What a training is continued from.
#[derive(Clone, Copy, Debug)]
pub struct Onward<'a> {
    pub method: &'a str,
    /// TRL's and PEFT's fields, as for a training.
    pub args: &'a Value,
    pub rows: &'a [Value],
    pub adapter: &'a LoraAdapter,
    /// The adapter that training began from, where the method is measured against it.
    pub init: Option<&'a LoraAdapter>,
    /// `checkpoint.safetensors`: where rows and learning rate go on. Without it both begin.
    pub checkpoint: Option<&'a [u8]>,
    /// The base model, as the script finds it; without one it has to be told.
    pub model: Option<&'a str>,
}

/// As Python writes it.
fn python(v: &Value) -> String {
    match v {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Array(list) => format!("[{}]", list.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(k, v)| format!("{}: {}", json!(k), python(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        // JSON's escapes are Python's.
        other => other.to_string(),
    }
}

/// The rows in TRL's columns, of rankings all pairs: what is one row here stands together.
fn rows_of(info: &MethodInfo, rows: &[Value], whole: bool) -> Result<Vec<Vec<Row>>> {
    let mut out = Vec::new();
    for (i, value) in rows.iter().enumerate() {
        let weight = |w: Option<f64>| match w {
            Some(w) if w != 1.0 => Err(Fault::at("weight", format!("is {w}, and TRL has no weights of rows")).of_row(i)),
            _ => Ok(()),
        };
        match Row::read(value, info.rows.taught_by()).map_err(|fault| fault.of_row(i))? {
            Row::Ranking(r) => {
                weight(r.weight)?;
                // A ranking of nothing but ties teaches nothing, in a training neither.
                let pairs = r.pairs().unwrap_or_default();
                let pairs = pairs.into_iter().map(|p| Row::Preference(crate::data::PreferenceRow { weight: None, ..p }));
                match whole {
                    true => out.push(pairs.collect()),
                    false => out.extend(pairs.map(|p| vec![p])),
                }
            }
            Row::Preference(p) => {
                weight(p.weight)?;
                out.push(vec![Row::Preference(crate::data::PreferenceRow { weight: None, ..p })]);
            }
            row => out.push(vec![row]),
        }
    }
    out.retain(|row: &Vec<Row>| !row.is_empty());
    if out.is_empty() {
        return Err(Error::EmptyDataset("there are no rows to go on with".into()));
    }
    Ok(out)
}

/// A method's fields as arguments of TRL's configuration: all of them, since defaults differ.
fn arguments(info: &MethodInfo, args: &TrainingArguments, fields: &Map<String, Value>) -> Result<Map<String, Value>> {
    let values = info.read(fields)?;
    let mut out = Map::new();
    for f in info.all_fields() {
        let v = &values.map[f.name];
        let ours = OWN.contains(&f.name) || f.help.en.contains("Not in TRL");
        if !ours && (!v.is_null() || f.name == "max_length") {
            out.insert(f.name.into(), v.clone());
        }
    }
    if args.warmup_steps == 0.0 && args.warmup_ratio > 0.0 {
        out.insert("warmup_steps".into(), json!(args.warmup_ratio));
    }
    // All arithmetic was f32, unless somebody asks for less.
    out.insert("bf16".into(), json!(fields.get("bf16").is_some_and(|v| v == true)));
    out.insert("fp16".into(), json!(false));
    out.insert("gradient_checkpointing".into(), json!(args.gradient_checkpointing == Some(true)));
    out.entry("disable_dropout").or_insert(json!(false));
    // Rows lie in the order in which they come next.
    out.insert("train_sampling_strategy".into(), json!("sequential"));
    Ok(out)
}

/// The files of a folder that continues a training with TRL: name and bytes of each. `adapter/` is a PEFT folder; `data.jsonl` has the rows in TRL's
/// columns and in the order in which they would have come next; `train.py` runs by itself or under `accelerate launch`.
///
/// # Errors
/// [`Error::BadConfig`] for a method whose rows are made while it learns, and for fields that cannot be said; [`Error::BadRow`] for a weight;
/// [`Error::EmptyDataset`]; [`Error::BadFile`] for a checkpoint of other rows.
pub fn files(from: &Onward<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let info = by_name(from.method)?;
    let trainable = [RowKind::Sft, RowKind::Preference, RowKind::Unpaired].contains(&info.rows);
    if !trainable {
        return Err(Error::config("method", format!("{} is not exported: its rows are made while it learns", info.name)));
    }
    from.adapter.need_causal("a training with TRL")?;
    for (i, row) in from.rows.iter().enumerate() {
        if let Some(column) = ["prefix_length", "token_type_ids"].into_iter().find(|c| row.get(c).is_some_and(|v| !v.is_null())) {
            return Err(Fault::at(column, "is not TRL's: such rows are not exported").of_row(i));
        }
    }
    let fields = own_fields(from.args)?;
    let values = info.read(&fields)?;
    let args = TrainingArguments::of(&values);
    let rows = rows_of(info, from.rows, (info.whole)(&values))?;
    let checkpoint = from.checkpoint.map(Checkpoint::parse).transpose()?;
    let (mut sampler, mut done) = (Sampler::new(rows.len(), args.shuffle, args.data_seed.unwrap_or(args.seed)), 0);
    if let Some(Checkpoint { state, .. }) = &checkpoint {
        if (state.method.as_str(), state.rows) != (info.name, rows.len()) {
            let (m, n) = (&state.method, state.rows);
            return Err(Error::file(
                "checkpoint.safetensors",
                format!("was taken of {m} over {n} rows, here {} rows for {}", rows.len(), info.name),
            ));
        }
        sampler = Sampler::at(rows.len(), state.shuffle, state.data_seed, state.epoch, state.rows_taken);
        done = state.step;
    }
    let (_, taken) = sampler.position();
    // What is left of the epoch; behind it what has been seen.
    let mut order = if taken < rows.len() { sampler.take(rows.len()) } else { Vec::new() };
    let left: Vec<u32> = (0..rows.len() as u32).filter(|r| !order.contains(r)).collect();
    if order.is_empty() {
        order = sampler.take(rows.len());
    } else {
        order.extend(left);
    }
    let reference = fields.get("reference").and_then(Value::as_str);
    let init = match (reference, from.init) {
        (Some("init"), None) => return Err(Error::config("reference", "is init: --init-adapter says which adapter training began from")),
        (Some("base"), _) => None,
        (_, init) => init,
    };
    let mut own = arguments(info, &args, &fields)?;
    let total = args.total_steps(rows.len());
    if done > 0 {
        own.insert("max_steps".into(), json!(total.saturating_sub(done)));
    }
    // TRL's rows are pairs: as many as the rankings of a batch have, of rankings of one size.
    let pairs: usize = rows.iter().map(Vec::len).sum();
    let batch = (args.per_device_train_batch_size as f64 * pairs as f64 / rows.len() as f64).round().max(1.0) as usize;
    own.insert("per_device_train_batch_size".into(), json!(batch));
    let uneven = rows.iter().any(|r| r.len() != rows[0].len());
    let trainer = info.config.replace("Config", "Trainer");
    let module = EXPERIMENTAL.iter().find(|e| e.0 == info.config).map_or_else(|| "trl".into(), |e| format!("trl.experimental.{}", e.1));
    let mut script = format!(
        "\"\"\"Continues a training of fledgling's ({}) with TRL, behind update {done} of {total}.\n\n  python train.py --model MODEL\n  accelerate \
         launch train.py --model MODEL\n\"\"\"\n\nfrom {module} import {} as CONFIG\nfrom {module} import {trainer} as TRAINER\n\nMODEL = {}\n\
         DONE = {done}  # updates that were made before\nARGS = {{\n",
        info.name,
        info.config,
        python(&json!(from.model)),
    );
    own.iter().for_each(|(name, v)| script += &format!("    {}: {},\n", json!(name), python(v)));
    script += "}\n";
    script += BODY;
    let eight = own.get("optim").and_then(Value::as_str).is_some_and(|o| o.ends_with("8bit"));
    let requirements = format!("{REQUIREMENTS}{}", if eight { "bitsandbytes\n" } else { "" });
    let rows: Vec<&Row> = order.iter().flat_map(|i| &rows[*i as usize]).collect();
    let uneven = if !uneven {
        ""
    } else {
        "Rankings of several sizes became their pairs, which TRL takes by equal numbers: its updates are cut elsewhere than here.\n"
    };
    let readme = format!(
        "# {} behind update {done} of {total}\n\n    pip install -r requirements.txt\n    python train.py --model MODEL\n\n`MODEL` is the model that the \
         adapter belongs to: a folder, a name of the hub, or the GGUF itself.\n`data.jsonl` has the rows in the order in which they would have come; TRL \
         takes them so in every epoch.\nThe first loss is the next one here. AdamW's moments begin anew. What is learned is written to `out`, a PEFT \
         folder that loads back.\n{uneven}",
        info.title
    );
    let mut out = vec![
        ("train.py".to_string(), script.into_bytes()),
        ("requirements.txt".into(), requirements.into_bytes()),
        ("README.md".into(), readme.into_bytes()),
        ("data.jsonl".into(), write_jsonl(&rows).into_bytes()),
    ];
    for (folder, adapter) in [("adapter", Some(from.adapter)), ("reference", init)] {
        if let Some(adapter) = adapter {
            let (config, weights) = adapter.write()?;
            out.push((format!("{folder}/{CONFIG_NAME}"), config.into_bytes()));
            out.push((format!("{folder}/{WEIGHTS_NAME}"), weights));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_reads_it() {
        let v = json!({"a": [true, null, 1e-8], "b": "x\"y"});
        assert_eq!(python(&v), "{\"a\": [True, None, 1e-08], \"b\": \"x\\\"y\"}".replace("1e-08", "1e-8"));
    }
}
