//! docs/methods.md.

use std::fmt::Write;

use fledgling::tune::methods::field::{Default, Field, Good, Metric};
use fledgling::tune::methods::peft::{KINDS, PEFT_TYPE};
use fledgling::tune::methods::table::MethodInfo;
use fledgling::tune::methods::{METHODS, shared};
use fledgling::tune::rewards::RULES;

const INTRO: &str = "\
# Methods

Made from `src/tune/methods` by `UPDATE=1 cargo test --test generated`; change the table there, not this page.

A method is chosen by `--method` on the command line, by the trainer's class in the package (`new KTOTrainer(model,
args)`), and in the Learn view of the page. All three take the same fields with the same defaults from one table.
Names are TRL's and PEFT's: snake_case in files and in Rust, `--kebab-case` on the command line, camelCase in
JavaScript. A field that is not in the table is refused, with the nearest name that is; so is a column of a row.

## Defaults, and where they are not TRL's

TRL's and PEFT's defaults are for training all weights of large models over large datasets. Here a small adapter of a
small model learns from few rows, often tens:

- `learning_rate` 2e-4 (SFT) and 1e-4 (the others), not 2e-5 and 1e-6: an adapter wants some ten times the rate of
  full training and more, and with 1e-6 nothing that a person can see happens in a few dozen updates.
- `per_device_train_batch_size` 1, not 8: ten rankings then are ten updates an epoch, not two, and memory is that of
  one row. KTO: 4, since its KL is a mean over a batch.
- `lora_alpha` 16, not 8: twice the rank, as is usual.
- `gradient_checkpointing` follows the memory there is, where TRL always turns it on.
- `shuffle` (not in TRL) is on; KTO takes rows as they come, as TRL's sampler does for it.

What is left is TRL's. The fields that TRL has and that are not in the tables below are taken at TRL's default, so
that a configuration TRL wrote can be used, and refused by name at any other value that would change a number.
";

fn default(d: Default) -> String {
    match d {
        Default::Unset => "not set".into(),
        Default::Text(t) => format!("`{t}`"),
        Default::Nothing => "`{}`".into(),
        Default::Number(n) if n != 0.0 && n.abs() < 1e-3 => format!("{n:e}"),
        Default::Number(n) => format!("{n}"),
        d => d.json().to_string(),
    }
}

/// A text in lines of at most 120 columns; those behind the first are indented.
fn wrapped(text: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > 120 {
            out += &format!("\n{indent}");
            column = indent.len();
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += len;
    }
    out + "\n"
}

fn fields<'a>(out: &mut String, fields: impl Iterator<Item = &'a Field>) {
    for f in fields {
        let null = if f.nullable && f.default != Default::Unset { " or null" } else { "" };
        *out += &wrapped(&format!("- `{}`: {}{null}; default {}. {}", f.name, f.takes(), default(f.default), f.help.en), "  ");
    }
    *out += "\n";
}

fn metrics<'a>(out: &mut String, metrics: impl Iterator<Item = &'a Metric>) {
    for m in metrics {
        let unit = if m.unit.is_empty() { String::new() } else { format!(", {}", m.unit) };
        let good = match m.good {
            Good::Up => ", up is good",
            Good::Down => ", down is good",
            Good::Neither => "",
        };
        *out += &wrapped(&format!("- `{}`{unit}{good}: {}", m.name, m.help.en), "  ");
    }
    *out += "\n";
}

fn method(out: &mut String, m: &MethodInfo) {
    write!(out, "## {}\n\n{}\n", m.title, wrapped(m.what.en, "")).unwrap();
    m.notes.iter().for_each(|n| *out += &wrapped(&format!("- {n}"), "  "));
    *out += "\nRows:\n\n";
    for (required, optional) in m.rows.taught_by().iter().flat_map(|k| k.forms()) {
        let may = optional.iter().map(|c| format!("(`{c}`)"));
        *out += &wrapped(&format!("- {}", required.iter().map(|c| format!("`{c}`")).chain(may).collect::<Vec<_>>().join(", ")), "  ");
    }
    *out += "\nFields of its own:\n\n";
    fields(out, m.fields.iter());
    if !m.defaults.is_empty() {
        let all: Vec<String> = m.defaults.iter().map(|(name, d)| format!("`{name}` {}", default(*d))).collect();
        write!(out, "Other defaults of shared fields: {}.\n\n", all.join(", ")).unwrap();
    }
    for (name, why) in m.without {
        write!(out, "There is no `{name}`: {why}.\n\n").unwrap();
    }
    *out += "Metrics:\n\n";
    metrics(out, m.own_metrics());
}

/// The rules that rewards can be made of.
fn rewards(out: &mut String) {
    *out += "## Rewards\n\n";
    *out += &wrapped(
        "GRPO, RLOO and online DPO learn from rewards of completions. Rows that bring completions and rewards are replayed; the completions of others are \
         sampled, and judges reward them: rules (`--reward`, `rewards` of the package's `train`), programs (`--reward-command`: one line of JSON in, one \
         line of numbers out) or functions of JavaScript. A rule is `name:parameter=value,parameter=value`, a comma in a value `\\,`. What is sampled is \
         recorded (`--rollouts`, `onRollouts`) in the columns that replay it.",
        "",
    );
    *out += "\n";
    for rule in RULES {
        *out += &wrapped(&format!("- `{}`: {}", rule.name, rule.help), "  ");
        rule.parameters.iter().for_each(|p| *out += &format!("  - `{}`: {}\n", p.name, p.help));
    }
    *out += "\n";
}

/// The page.
pub fn methods() -> String {
    let mut out = INTRO.to_string() + "\n| method | trainer | TRL's configuration |\n|---|---|---|\n";
    for m in METHODS {
        writeln!(out, "| [`{}`](#{}) | `{}Trainer` | `{}` |", m.name, m.name, m.title, m.config).unwrap();
    }
    out += "\n";
    METHODS.iter().for_each(|m| method(&mut out, m));
    rewards(&mut out);
    out += "## Shared fields\n\n";
    fields(&mut out, shared::FIELDS.iter());
    out += "## Adapters\n\nUnder `peft_config`, or beside the others. An adapter that exists is continued as it is.\n\n";
    fields(&mut out, [PEFT_TYPE].iter());
    for kind in KINDS {
        write!(out, "### {}: `{}`\n\n{}\n\n", kind.title, kind.peft_type, kind.what).unwrap();
        fields(&mut out, kind.all_fields());
    }
    out += "## Metrics of every method\n\n";
    metrics(&mut out, shared::METRICS.iter());
    out.truncate(out.trim_end().len());
    out + "\n"
}
