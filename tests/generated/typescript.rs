//! The package's types and trainers, and the page's form and charts.

use std::fmt::Write;

use fledgling::data::RowKind;
use fledgling::models::Quantization;
use fledgling::tune::methods::field::{Default, Drawn, Field, Good, Group, Kind, Metric, Shown};
use fledgling::tune::methods::peft::every_peft_field;
use fledgling::tune::methods::table::MethodInfo;
use fledgling::tune::methods::{METHODS, shared};
use serde_json::json;

const HEAD: &str = "// Made from src/tune/methods by `UPDATE=1 cargo test --test generated`: change the table, not this file.\n";

/// `learning_rate` → `learningRate`.
fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut up = false;
    for c in name.chars() {
        match c {
            '_' => up = true,
            c if up => {
                out.extend(c.to_uppercase());
                up = false;
            }
            c => out.push(c),
        }
    }
    out
}

/// A text between single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn kind(f: &Field) -> String {
    let plain = match f.kind {
        Kind::Number { .. } | Kind::Whole { .. } => "number".to_string(),
        Kind::Switch => "boolean".into(),
        Kind::SwitchOr(list) => format!("boolean | {}", list.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(" | ")),
        Kind::Choice(list) => list.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(" | "),
        Kind::Choices(list) => {
            let one = list.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(" | ");
            format!("{one} | ({one})[]")
        }
        Kind::Numbers => "number[]".into(),
        Kind::Text => "string".into(),
        Kind::Names => "string | string[]".into(),
        Kind::Wholes => "number | number[]".into(),
        Kind::Patterns => "Record<string, number>".into(),
    };
    let null = if f.nullable { " | null" } else { "" };
    format!("{plain}{null} | undefined")
}

/// A default as JavaScript writes it.
fn literal(d: Default) -> String {
    match d {
        Default::Unset => "null".into(),
        Default::Text(t) => quoted(t),
        Default::Nothing => "{}".into(),
        Default::Number(n) => number(n),
        d => d.json().to_string(),
    }
}

fn number(n: f64) -> String {
    if n != 0.0 && (n.abs() < 1e-4 || n.abs() >= 1e9) { format!("{n:e}") } else { format!("{n}") }
}

fn property(out: &mut String, f: &Field, default: Default) {
    let help = f.help.en;
    match default {
        Default::Unset => writeln!(out, "  /** {help} */"),
        d => writeln!(out, "  /**\n   * {help}\n   * @default {}\n   */", literal(d)),
    }
    .unwrap();
    writeln!(out, "  {}?: {};", camel(f.name), kind(f)).unwrap();
}

/// The type of a method's rows, in types.ts.
fn row(m: &MethodInfo) -> &'static str {
    match m.rows {
        RowKind::Sft => "SFTRow",
        // Rankings are preferences: all their strict pairs.
        RowKind::Preference | RowKind::Ranking => "DPORow",
        RowKind::Unpaired => "UnpairedRow",
        RowKind::Reward => "RewardRow",
        RowKind::Rollout | RowKind::Prompt => "PromptRow",
    }
}

fn args(m: &MethodInfo) -> String {
    let lacks: Vec<String> = m.without.iter().map(|w| quoted(&camel(w.0))).collect();
    let base = if lacks.is_empty() { "TrainArgs".to_string() } else { format!("Omit<TrainArgs, {}>", lacks.join(" | ")) };
    let mut out = format!("/** TRL's {} in camelCase. {} */\n", m.config, m.what.en);
    writeln!(out, "export interface {}Args extends {base} {{", m.title).unwrap();
    m.fields.iter().for_each(|f| property(&mut out, f, f.default));
    for (name, default) in m.defaults {
        let f = shared::FIELDS.iter().find(|f| f.name == *name).expect("a shared field");
        property(&mut out, f, *default);
    }
    out + "}\n\n"
}

/// Fields with what the engine calls them and what they take, one a line.
fn table<'a>(fields: impl Iterator<Item = &'a Field>, indent: &str) -> String {
    let line = |f: &Field| {
        let takes = match f.kind {
            Kind::Number { low, high, .. } => format!("kind: 'number', low: {}, high: {}", number(low), number(high)),
            Kind::Whole { low, high } => format!("kind: 'whole', low: {}, high: {}", number(low as f64), number(high as f64)),
            Kind::Switch => "kind: 'switch'".into(),
            Kind::SwitchOr(list) => {
                format!("kind: 'switchOr', choices: [{}]", list.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", "))
            }
            Kind::Choice(list) => format!("kind: 'choice', choices: [{}]", list.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", ")),
            Kind::Choices(list) => format!("kind: 'choices', choices: [{}]", list.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", ")),
            Kind::Numbers => "kind: 'numbers'".into(),
            Kind::Text => "kind: 'text'".into(),
            Kind::Names => "kind: 'names'".into(),
            Kind::Wholes => "kind: 'wholes'".into(),
            Kind::Patterns => "kind: 'patterns'".into(),
        };
        let null = if f.nullable { ", nullable: true" } else { "" };
        format!("{indent}{}: {{ name: {}, {takes}{null} }},\n", camel(f.name), quoted(f.name))
    };
    fields.map(line).collect()
}

/// The tables by which the package checks arguments.
fn tables() -> String {
    let mut out = "/** What the engine calls an argument, and what it takes. */
export interface Arg {
  name: string;
  kind: 'number' | 'whole' | 'switch' | 'switchOr' | 'choice' | 'choices' | 'text' | 'names' | 'wholes' | 'numbers' | 'patterns';
  low?: number;
  high?: number;
  choices?: readonly string[];
  nullable?: boolean;
}

/** Arguments of all trainers, but for those that a method is without. */
export const SHARED: Readonly<Record<string, Arg>> = {
"
    .to_string();
    out += &table(shared::FIELDS.iter(), "  ");
    out += "};\n\n/** Each method's own arguments, and the shared ones that it does not have, with the reason. */\n";
    out += "export const ARGS: Record<MethodName, { own: Readonly<Record<string, Arg>>; without: Readonly<Record<string, string>> }> = {\n";
    for m in METHODS {
        let own = table(m.fields.iter(), "      ");
        let without: String = m.without.iter().map(|w| format!("      {}: {},\n", camel(w.0), quoted(w.1))).collect();
        let block = |text: String| if text.is_empty() { "{}".to_string() } else { format!("{{\n{text}    }}") };
        writeln!(out, "  {}: {{\n    own: {},\n    without: {},\n  }},", m.name, block(own), block(without)).unwrap();
    }
    out += "};\n\n/** Fields of `peftConfig`. */\nexport const PEFT: Readonly<Record<string, Arg>> = {\n";
    out += &table(every_peft_field().iter(), "  ");
    out + "};\n"
}

/// `www/src/lib/generated/methods.ts`
pub fn methods() -> String {
    let mut out = format!("{HEAD}\n");
    let all: Vec<String> = METHODS.iter().map(|m| quoted(m.name)).collect();
    write!(out, "export type MethodName = {};\n\n", all.join(" | ")).unwrap();
    out += "/** PEFT's configuration of an adapter in camelCase; `peftType` says which fields are its own. */\nexport interface PeftConfig {\n";
    every_peft_field().iter().for_each(|f| property(&mut out, f, f.default));
    out += "}\n\n/** TRL's TrainingArguments in camelCase: what all trainers share. */\nexport interface TrainArgs {\n";
    for f in shared::FIELDS {
        // Methods have their own defaults: those stand with the methods.
        let own = METHODS.iter().any(|m| m.defaults.iter().any(|d| d.0 == f.name));
        property(&mut out, f, if own { Default::Unset } else { f.default });
    }
    out += "  peftConfig?: PeftConfig | undefined;\n";
    out += "  /**\n   * Adapter to train: continued where it exists, created from `peftConfig` where it does not.\n   * @default 'default'\n   */\n";
    out += "  adapterName?: string | undefined;\n  /** Bytes of an earlier `saveCheckpoint()`. */\n  resumeFrom?: Uint8Array | undefined;\n}\n\n";
    for m in METHODS {
        // Where a shared field has no default of the method's own, it is the table's.
        let mut text = args(m);
        for f in shared::FIELDS {
            let somebody = METHODS.iter().any(|m| m.defaults.iter().any(|d| d.0 == f.name));
            let mine = m.defaults.iter().any(|d| d.0 == f.name) || m.without.iter().any(|w| w.0 == f.name);
            if somebody && !mine {
                text.truncate(text.len() - "}\n\n".len());
                property(&mut text, f, f.default);
                text += "}\n\n";
            }
        }
        out += &text;
    }
    out += "/** One update. Names as TRL logs them; which a method has stands in docs/methods.md. */\nexport interface StepMetrics {\n";
    let mut seen: Vec<(&Metric, usize)> = Vec::new();
    for metric in METHODS.iter().flat_map(|m| m.own_metrics()) {
        match seen.iter_mut().find(|s| s.0.name == metric.name) {
            Some(s) => s.1 += 1,
            None => seen.push((metric, 1)),
        }
    }
    for m in shared::METRICS {
        let name = if m.name == "total_steps" { "totalSteps" } else { m.name };
        writeln!(out, "  /** {} */\n  {name}: number;", m.help.en).unwrap();
    }
    for (m, methods) in seen {
        let name = if m.name.contains('/') { quoted(m.name) } else { m.name.to_string() };
        let optional = if m.name == "loss" { "" } else { "?" };
        let what = if methods == 1 { format!("  /** {} */\n", m.help.en) } else { String::new() };
        writeln!(out, "{what}  {name}{optional}: number;").unwrap();
    }
    out += "}\n\n";
    out + &tables()
}

/// `www/src/lib/generated/trainers.ts`
pub fn trainers() -> String {
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names.dedup();
        names.join(", ")
    };
    let args = sorted(METHODS.iter().map(|m| format!("{}Args", m.title)).collect());
    let rows = sorted(METHODS.iter().map(|m| row(m).to_string()).collect());
    let mut out = format!(
        "{HEAD}import type {{ Model }} from '../model.ts';\nimport {{ Trainer }} from '../trainer.ts';\n\
         import type {{ {rows} }} from '../types.ts';\nimport type {{ {args} }} from './methods.ts';\n"
    );
    for m in METHODS {
        let (t, row, name) = (m.title, row(m), quoted(m.name));
        write!(
            out,
            "\n/** {} */\nexport class {t}Trainer extends Trainer<{row}, {t}Args> {{\n  constructor(model: Model, args: {t}Args = {{}}) {{\n    \
             super(model, {name}, args);\n  }}\n}}\n",
            m.what.en
        )
        .unwrap();
    }
    out += "\n/** The trainer of each method. */\nexport const TRAINERS = {\n";
    METHODS.iter().for_each(|m| writeln!(out, "  {}: {}Trainer,", m.name, m.title).unwrap());
    out + "} as const;\n"
}

fn form_field(f: &Field, method: &'static str, indent: &str) -> String {
    let (kind, limits) = match f.kind {
        Kind::Number { low, high, step } => ("number", format!(", min: {}, max: {}, step: {}", number(low), number(high), number(step))),
        Kind::Whole { low, high } => ("whole", format!(", min: {low}, max: {high}, step: 1")),
        Kind::Switch => ("switch", String::new()),
        Kind::Choice(list) => ("choice", format!(", choices: [{}]", list.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", "))),
        Kind::Text | Kind::Names => ("text", String::new()),
        Kind::SwitchOr(_) | Kind::Choices(_) | Kind::Numbers | Kind::Wholes | Kind::Patterns => panic!("{} has no form", f.name),
    };
    let basic = f.shown == Shown::Always;
    let (key, name, group) = (quoted(&camel(f.name)), quoted(f.name), quoted(f.group.title(method)));
    let (default, help) = (literal(f.default), text(f.help.en, f.help.zh));
    format!(
        "{indent}{{\n{indent}  key: {key}, name: {name}, group: {group}, kind: '{kind}'{limits},\n\
         {indent}  default: {default}, basic: {basic},\n{indent}  help: {help},\n{indent}}},\n",
    )
}

/// A sentence in all languages.
fn text(en: &str, zh: &str) -> String {
    format!("{{ en: {}, zh: {} }}", quoted(en), quoted(zh))
}

/// The charts of a method: one for each metric or title, in order.
fn charts(m: &MethodInfo) -> String {
    let mut plots: Vec<(&str, Vec<&Metric>)> = Vec::new();
    for metric in m.all_metrics() {
        let title = match metric.drawn {
            Drawn::Never => continue,
            Drawn::Alone => metric.name,
            Drawn::With(title) => title,
        };
        match plots.iter_mut().find(|p| p.0 == title) {
            Some(p) => p.1.push(metric),
            None => plots.push((title, vec![metric])),
        }
    }
    let mut out = String::new();
    for (title, metrics) in plots {
        let good = match metrics[0].good {
            Good::Up => "up",
            Good::Down => "down",
            Good::Neither => "",
        };
        let range = metrics[0].range.map_or_else(String::new, |(low, high)| {
            format!(", range: [{}, {}]", number(low), if high.is_finite() { number(high) } else { "null".into() })
        });
        let keys: Vec<String> = metrics.iter().map(|m| quoted(m.name)).collect();
        writeln!(
            out,
            "      {{\n        title: {}, keys: [{}], unit: {}, good: '{good}'{range},\n        help: {},\n      }},",
            quoted(title),
            keys.join(", "),
            quoted(metrics[0].unit),
            text(metrics[0].help.en, metrics[0].help.zh),
        )
        .unwrap();
    }
    out
}

/// `www/src/page/generated/form.ts`
pub fn form() -> String {
    let mut out = format!(
        "{HEAD}import type {{ MethodName }} from '../../lib/generated/methods.ts';

/** A sentence in the languages there are; empty where nobody has translated it yet. */
export interface Sentence {{
  en: string;
  zh: string;
}}

/** An argument that a person can set. */
export interface FormField {{
  /** As the package calls it. */
  key: string;
  /** Name in TRL's or PEFT's configuration. */
  name: string;
  group: string;
  kind: 'number' | 'whole' | 'choice' | 'switch' | 'text';
  min?: number;
  max?: number;
  step?: number;
  choices?: string[];
  default: number | boolean | string | null;
  /** Shown at once, not among the advanced ones. */
  basic: boolean;
  help: Sentence;
}}

/** A chart of one metric, or of several under one title. */
export interface ChartOf {{
  title: string;
  keys: string[];
  unit: string;
  /** Which direction is good; empty where that says nothing. */
  good: 'up' | 'down' | '';
  /** Limits of its axis; `null`: the values decide. */
  range?: [low: number, high: number | null];
  help: Sentence;
}}

export interface MethodForm {{
  name: MethodName;
  title: string;
  /** What it learns from, as the choice of a method says it. */
  learns: Sentence;
  what: Sentence;
  rows: 'sft' | 'preference' | 'unpaired';
  /** Is a ranking one row of a batch? Else each of its pairs is. */
  whole: boolean;
  /** Groups of fields, in order; the method's own first. */
  groups: string[];
  fields: FormField[];
  charts: ChartOf[];
}}

export const METHODS: MethodForm[] = [
"
    );
    // The page has no judges, and asks whatever it has trained: it offers what a person's own rows teach an adapter that answers.
    for m in METHODS.iter().filter(|m| ![RowKind::Rollout, RowKind::Reward].contains(&m.rows)) {
        let rows = json!(m.rows);
        let whole = (m.whole)(&m.read(&serde_json::Map::new()).unwrap());
        let rows = quoted(rows.as_str().unwrap());
        writeln!(out, "  {{\n    name: {}, title: {}, rows: {rows}, whole: {whole},", quoted(m.name), quoted(m.title)).unwrap();
        writeln!(out, "    learns: {},\n    what: {},", text(m.learns.en, m.learns.zh), text(m.what.en, m.what.zh)).unwrap();
        let shown: Vec<Field> = m.all_fields().into_iter().chain(every_peft_field()).filter(|f| f.shown != Shown::Never).collect();
        let groups: Vec<String> =
            Group::ALL.iter().filter(|g| shown.iter().any(|f| f.group == **g)).map(|g| quoted(g.title(m.title))).collect();
        writeln!(out, "    groups: [{}],\n    fields: [", groups.join(", ")).unwrap();
        shown.iter().for_each(|f| out += &form_field(f, m.title, "      "));
        write!(out, "    ],\n    charts: [\n{}    ],\n  }},\n", charts(m)).unwrap();
    }
    out + "];\n"
}

/// `www/src/lib/generated/stored.ts`
pub fn stored() -> String {
    let names: Vec<String> = Quantization::names().iter().map(|n| format!("  {},\n", quoted(n))).collect();
    format!(
        "// Made from the table of stored types: UPDATE=1 cargo test --test generated\n\n\
         /** What float weights can be made into: a type, or a mix of llama.cpp's. */\n\
         export const STORED_TYPES = [\n{}] as const;\n\nexport type StoredType = (typeof STORED_TYPES)[number];\n",
        names.concat()
    )
}
