//! The options of `tune` that the table of methods gives: one for every field, over the configuration file.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use fledgling::tune::methods::field::{Default, Field, Group, Kind};
use fledgling::tune::methods::peft::KINDS;
use fledgling::tune::methods::{METHODS, by_name, every_field};
use serde_json::{Map, Value, json};

/// A method's name, as the table has it.
///
/// # Errors
/// The names there are.
pub fn method(name: &str) -> std::result::Result<&'static str, String> {
    by_name(name).map(|m| m.name).map_err(|_| format!("expected {}", METHODS.iter().map(|m| m.name).collect::<Vec<_>>().join(", ")))
}

/// The help of `--method`.
pub fn methods() -> String {
    format!("How to learn (docs/methods.md): {}", METHODS.iter().map(|m| m.name).collect::<Vec<_>>().join(", "))
}

/// A column of rows and its name in a file.
///
/// # Errors
/// What was expected.
pub fn column(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((own, named)) if !own.is_empty() && !named.is_empty() => Ok((own.to_string(), named.to_string())),
        _ => Err("expected COLUMN=NAME, such as prompt=question".into()),
    }
}

/// PEFT's name of a kind of adapter.
///
/// # Errors
/// The names there are.
pub fn adapter_kind(name: &str) -> std::result::Result<&'static str, String> {
    let found = KINDS.iter().map(|k| k.peft_type).find(|k| k.eq_ignore_ascii_case(name));
    found.ok_or_else(|| format!("expected {}", KINDS.iter().map(|k| k.peft_type.to_ascii_lowercase()).collect::<Vec<_>>().join(", ")))
}

/// What was given of the fields.
#[derive(Clone, std::default::Default)]
pub struct Fields(pub Map<String, Value>);

/// A value as it is written behind an option. What it may be is asked by the table when the configuration is read.
fn value(kind: Kind, text: &str) -> Value {
    let parsed = || serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    match kind {
        Kind::Choice(_) | Kind::Text => json!(text),
        Kind::Choices(_) if text.contains(',') && !text.starts_with('[') => json!(text.split(',').collect::<Vec<_>>()),
        Kind::Choices(_) if !text.starts_with('[') => json!(text),
        // A regular expression may hold commas: a list is one only of plain names.
        Kind::Names if text.starts_with('[') => parsed(),
        Kind::Names if text.contains(',') && text.chars().all(|c| c.is_alphanumeric() || "_.,".contains(c)) => {
            json!(text.split(',').filter(|t| !t.is_empty()).collect::<Vec<_>>())
        }
        Kind::Names => json!(text),
        Kind::Wholes | Kind::Numbers if text.contains(',') && !text.starts_with('[') => {
            json!(text.split(',').map(|t| serde_json::from_str(t).unwrap_or_else(|_| json!(t))).collect::<Vec<Value>>())
        }
        Kind::Number { .. }
        | Kind::Whole { .. }
        | Kind::Switch
        | Kind::SwitchOr(_)
        | Kind::Wholes
        | Kind::Numbers
        | Kind::Choices(_)
        | Kind::Patterns => parsed(),
    }
}

fn shown(d: Default) -> String {
    match d {
        Default::Unset => "not set".into(),
        Default::Text(t) => t.into(),
        d => d.json().to_string(),
    }
}

/// A field's sentence, its default, and those of the methods that have another one.
fn help(f: &Field, defaults: &[(&str, Default)]) -> String {
    let mut said = f.help.en.to_string();
    if let Kind::Choice(list) | Kind::Choices(list) = f.kind {
        said += &format!(" {}.", list.join(", "));
    }
    let others: Vec<String> = defaults.iter().filter(|d| d.1 != f.default).map(|(m, d)| format!("{m}: {}", shown(*d))).collect();
    let whose =
        if f.group == Group::Method { format!("{}; ", defaults.iter().map(|d| d.0).collect::<Vec<_>>().join(", ")) } else { String::new() };
    said + &format!(" [{whose}default: {}{}]", shown(f.default), others.iter().map(|o| format!("; {o}")).collect::<String>())
}

impl Args for Fields {
    fn augment_args(mut cmd: Command) -> Command {
        for (f, defaults) in every_field() {
            let value_name = match f.kind {
                Kind::Switch => "true|false",
                Kind::Number { .. } | Kind::Whole { .. } => "N",
                Kind::Patterns => "JSON",
                _ => "VALUE",
            };
            let arg = Arg::new(f.name)
                .long(&*f.name.replace('_', "-").leak())
                .value_name(value_name)
                .help(help(&f, &defaults))
                .help_heading(f.group.title("Methods"))
                .allow_hyphen_values(true);
            cmd =
                cmd.arg(if f.kind == Kind::Switch { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg });
        }
        cmd
    }

    fn augment_args_for_update(cmd: Command) -> Command {
        Self::augment_args(cmd)
    }
}

impl FromArgMatches for Fields {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Fields, clap::Error> {
        let mut fields = Fields::default();
        fields.update_from_arg_matches(matches)?;
        Ok(fields)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (f, _) in every_field() {
            if let Some(text) = matches.get_one::<String>(f.name) {
                self.0.insert(f.name.into(), value(f.kind, text));
            }
        }
        Ok(())
    }
}
