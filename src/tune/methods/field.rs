//! Fields of configurations and metrics of updates, as the table of methods holds them.

use serde_json::{Value as Json, json};

/// A sentence for people.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    pub en: &'static str,
    /// Empty until somebody has translated it.
    pub zh: &'static str,
}

/// A sentence that exists in English only.
pub const fn en(en: &'static str) -> Text {
    Text { en, zh: "" }
}

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Number {
        low: f64,
        high: f64,
        /// Of the page's input.
        step: f64,
    },
    Whole {
        low: i64,
        high: i64,
    },
    Switch,
    /// True, false, or a word such as these; others are refused, with their reasons, by who reads it.
    SwitchOr(&'static [&'static str]),
    Choice(&'static [&'static str]),
    /// One of them, or a list of several.
    Choices(&'static [&'static str]),
    Text,
    /// A name, or a list of names.
    Names,
    /// A number, or a list of numbers.
    Wholes,
    /// A list of numbers.
    Numbers,
    /// Names or regular expressions to numbers.
    Patterns,
}

/// What a field is where nobody says anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// Not set: null in JSON, `undefined` in JavaScript.
    Unset,
    Number(f64),
    Whole(i64),
    Switch(bool),
    Text(&'static str),
    /// `{}`
    Nothing,
}

impl Default {
    /// As it stands in a configuration.
    pub fn json(self) -> Json {
        match self {
            Default::Unset => Json::Null,
            Default::Number(n) => json!(n),
            Default::Whole(n) => json!(n),
            Default::Switch(b) => json!(b),
            Default::Text(t) => json!(t),
            Default::Nothing => json!({}),
        }
    }
}

/// Where a field stands in a form and in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The method's own.
    Method,
    Training,
    Optimizer,
    Lora,
    Virtual,
    Memory,
}

impl Group {
    pub const ALL: [Group; 6] = [Group::Method, Group::Training, Group::Optimizer, Group::Lora, Group::Virtual, Group::Memory];

    /// Its heading; `method` is what the method's own fields stand under.
    pub fn title(self, method: &'static str) -> &'static str {
        match self {
            Group::Method => method,
            Group::Training => "Training",
            Group::Optimizer => "Optimizer",
            Group::Lora => "LoRA",
            Group::Virtual => "Virtual tokens",
            Group::Memory => "Memory",
        }
    }
}

/// How prominent a field is on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Always,
    /// Among the advanced ones.
    Advanced,
    /// In files, on the command line and in the package only.
    Never,
}

/// A field of a configuration: TRL's or PEFT's name, in snake_case.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub group: Group,
    pub kind: Kind,
    pub default: Default,
    /// Null is allowed and means "not set".
    pub nullable: bool,
    pub shown: Shown,
    pub help: Text,
}

impl Field {
    /// A field of the page's advanced ones that always has a value.
    pub const fn new(name: &'static str, group: Group, kind: Kind, default: Default, help: &'static str) -> Field {
        Field { name, group, kind, default, nullable: matches!(default, Default::Unset), shown: Shown::Advanced, help: en(help) }
    }

    pub const fn shown(self, shown: Shown) -> Field {
        Field { shown, ..self }
    }

    pub const fn or_null(self) -> Field {
        Field { nullable: true, ..self }
    }

    /// What it takes, in words.
    pub fn takes(&self) -> String {
        match self.kind {
            Kind::Number { low, high, .. } => format!("a number from {low} to {high}"),
            Kind::Whole { low, high } => format!("a whole number from {low} to {high}"),
            Kind::Switch => "true or false".into(),
            Kind::SwitchOr(list) => format!("true, false or one of {}", list.join(", ")),
            Kind::Choice(list) => format!("one of {}", list.join(", ")),
            Kind::Choices(list) => format!("one or several of {}", list.join(", ")),
            Kind::Numbers => "a list of numbers".into(),
            Kind::Text => "a text".into(),
            Kind::Names => "a text or a list of texts".into(),
            Kind::Wholes => "a whole number or a list of them".into(),
            Kind::Patterns => "an object of numbers".into(),
        }
    }
}

/// Which direction of a metric is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Good {
    Up,
    Down,
    /// It is watched, and says nothing by itself.
    Neither,
}

/// How a metric is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    Alone,
    /// Together with others under this title.
    With(&'static str),
    /// In the table of numbers only.
    Never,
}

/// A value that every update reports.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// TRL's name.
    pub name: &'static str,
    /// Empty for a plain number.
    pub unit: &'static str,
    pub good: Good,
    /// Limits of its chart, the upper one perhaps infinite; without them the values decide.
    pub range: Option<(f64, f64)>,
    pub drawn: Drawn,
    pub help: Text,
}

impl Metric {
    pub const fn new(name: &'static str, unit: &'static str, good: Good, drawn: Drawn, help: &'static str) -> Metric {
        Metric { name, unit, good, range: None, drawn, help: en(help) }
    }

    pub const fn within(self, low: f64, high: f64) -> Metric {
        Metric { range: Some((low, high)), ..self }
    }
}
