//! `adapter_config.json` of a LoRA adapter: PEFT's fields, PEFT's defaults, PEFT's way of choosing modules.
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::pattern::Pattern;
use super::start::{self, Start};
use crate::error::{Error, Result};
use crate::text::{not_json, without_bom};

/// One value or a list of them, as PEFT allows in several fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// Serializes whole numbers without a fraction: `lora_alpha` is an integer in PEFT.
fn number(v: f64) -> Json {
    if v.fract() == 0.0 && v.abs() < 1e15 { json!(v as i64) } else { json!(v) }
}

fn serialize_number<S: serde::Serializer>(v: &f64, s: S) -> Result<S::Ok, S::Error> {
    number(*v).serialize(s)
}

/// PEFT's LoraConfig. Fields this crate does not use are kept in `extra` and written back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoraConfig {
    pub peft_type: String,
    pub peft_version: Option<String>,
    pub task_type: Option<String>,
    pub base_model_name_or_path: Option<String>,
    pub revision: Option<String>,
    pub inference_mode: bool,
    /// Rank.
    pub r: usize,
    /// A list of names (a module matches if its path is one or ends in `.name`), or a string: `all-linear` or a
    /// regular expression for the whole path.
    pub target_modules: Option<OneOrMany<String>>,
    /// The same, for modules to leave out.
    pub exclude_modules: Option<OneOrMany<String>>,
    #[serde(serialize_with = "serialize_number")]
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    pub fan_in_fan_out: bool,
    pub bias: String,
    /// Scale = alpha / √r instead of alpha / r.
    pub use_rslora: bool,
    pub modules_to_save: Option<Vec<String>>,
    pub init_lora_weights: Json,
    pub layers_to_transform: Option<OneOrMany<usize>>,
    pub layers_pattern: Option<OneOrMany<String>>,
    /// Path or regular expression to rank; the first that fits the end of a path wins.
    pub rank_pattern: Option<Map<String, Json>>,
    /// The same for alpha.
    pub alpha_pattern: Option<Map<String, Json>>,
    pub use_dora: bool,
    #[serde(flatten)]
    pub extra: Map<String, Json>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        LoraConfig {
            peft_type: "LORA".into(),
            peft_version: None,
            task_type: None,
            base_model_name_or_path: None,
            revision: None,
            inference_mode: false,
            r: 8,
            target_modules: None,
            exclude_modules: None,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            fan_in_fan_out: false,
            bias: "none".into(),
            use_rslora: false,
            modules_to_save: None,
            init_lora_weights: Json::Bool(true),
            layers_to_transform: None,
            layers_pattern: None,
            rank_pattern: Some(Map::new()),
            alpha_pattern: Some(Map::new()),
            use_dora: false,
            extra: Map::new(),
        }
    }
}

/// PEFT's remaining fields with their defaults (`tests/fixtures/fields.json` has them from PEFT itself). Any other value asks for something that
/// is not implemented here and would change the numbers, so it is refused, except where the field only matters to other software.
fn other_fields() -> [(&'static str, Json); 20] {
    [
        ("alora_invocation_tokens", Json::Null),
        ("arrow_config", Json::Null),
        ("auto_mapping", Json::Null),
        ("corda_config", Json::Null),
        ("ensure_weight_tying", json!(false)),
        ("eva_config", Json::Null),
        ("kasa_config", Json::Null),
        ("layer_replication", Json::Null),
        ("loftq_config", json!({})),
        ("lora_bias", json!(false)),
        ("lora_ga_config", Json::Null),
        ("megatron_config", Json::Null),
        ("megatron_core", json!("megatron.core")),
        ("monteclora_config", Json::Null),
        ("qalora_group_size", json!(16)),
        ("target_parameters", Json::Null),
        ("trainable_token_indices", Json::Null),
        ("use_bdlora", Json::Null),
        ("use_qalora", json!(false)),
        ("velora_config", Json::Null),
    ]
}

/// Of those, what says nothing by itself: how an adapter was started, whose start is looked at, or what other software is to do with it.
const FREE: [&str; 8] =
    ["auto_mapping", "corda_config", "eva_config", "loftq_config", "lora_ga_config", "megatron_core", "qalora_group_size", "peft_version"];

/// A field of ours, which says with which mask an adapter was trained, and the values it may have.
pub(super) const MASK: &str = "mask";
pub(super) const CAUSAL: &str = "causal";
pub(super) const MASKS: [&str; 2] = [CAUSAL, "prefix"];

/// What `modules_to_save` may name: the score head of a sequence classifier, which PEFT looks for under both names.
pub const SAVED: [&str; 2] = ["score", "classifier"];

/// A field of a later PEFT that is not set asks for nothing.
pub(super) fn is_set(v: &Json) -> bool {
    match v {
        Json::Null | Json::Bool(false) => false,
        Json::String(s) => !s.is_empty(),
        Json::Array(a) => !a.is_empty(),
        Json::Object(o) => !o.is_empty(),
        _ => true,
    }
}

/// A value for a message.
pub(super) fn shown(v: &Json) -> String {
    v.to_string().chars().take(100).collect()
}

/// Whole numbers that somebody wrote with a fraction of 0.
fn whole(v: &mut Json) {
    match v {
        Json::Array(list) => list.iter_mut().for_each(whole),
        Json::Number(n) if !n.is_u64() => {
            if let Some(f) = n.as_f64().filter(|f| f.fract() == 0.0 && (0.0..9e15).contains(f)) {
                *v = json!(f as u64);
            }
        }
        _ => {}
    }
}

/// A module chosen by a config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// The module's path, such as `model.layers.0.self_attn.q_proj`.
    pub module: String,
    pub r: usize,
    pub alpha: f64,
    /// What B·A·x is multiplied with.
    pub scale: f64,
}

fn sorted(value: Json) -> Json {
    match value {
        Json::Object(map) => {
            let mut entries: Vec<(String, Json)> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(entries.into_iter().collect())
        }
        other => other,
    }
}

impl LoraConfig {
    /// Parses an `adapter_config.json`; `file` is its name for messages.
    ///
    /// # Errors
    /// [`Error::BadFile`] where it is not JSON; [`Error::BadConfig`] that names a field, and all others that are wrong behind it.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut map = match serde_json::from_str(without_bom(text)) {
            Ok(Json::Object(map)) => map,
            Ok(_) => return Err(Error::file(file, "is not a LoRA config: expected an object")),
            Err(e) => return Err(Error::file(file, not_json(text, || format!("is not a LoRA config: {e}")))),
        };
        let Ok(Json::Object(own)) = serde_json::to_value(LoraConfig::default()) else { unreachable!("a struct is an object") };
        // What is not set is at its default.
        map.retain(|k, v| !v.is_null() || !own.contains_key(k));
        for name in ["r", "layers_to_transform"] {
            map.get_mut(name).into_iter().for_each(whole);
        }
        let config: LoraConfig = serde_json::from_value(Json::Object(map.clone())).map_err(|e| {
            let alone = |(k, v): (&String, &Json)| {
                let one = Json::Object(Map::from_iter([(k.clone(), v.clone())]));
                serde_json::from_value::<LoraConfig>(one)
                    .is_err()
                    .then(|| Error::config(k.clone(), format!("is {}, which it cannot be", shown(v))))
            };
            map.iter().find_map(alone).unwrap_or_else(|| Error::file(file, format!("is not a LoRA config: {e}")))
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The file's text: keys sorted, indented by two, every field PEFT knows.
    pub fn to_json(&self) -> String {
        let Ok(Json::Object(mut map)) = serde_json::to_value(self) else { unreachable!("a struct is an object") };
        for (key, default) in other_fields() {
            map.entry(key).or_insert(default);
        }
        if let Some(Json::Array(names)) = map.get_mut("target_modules") {
            names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
        serde_json::to_string_pretty(&sorted(Json::Object(map))).expect("plain JSON")
    }

    /// Refuses impossible values and whatever is not implemented, by field.
    ///
    /// # Errors
    /// [`Error::BadConfig`] that names the first field, and the others behind it.
    pub fn validate(&self) -> Result<()> {
        let mut wrong: Vec<(&str, String)> = Vec::new();
        let mut require = |ok: bool, field: &'static str, message: String| {
            if !ok {
                wrong.push((field, message));
            }
        };
        require(self.peft_type == "LORA", "peft_type", format!("is {:?}, expected \"LORA\"", self.peft_type));
        require((1..=4096).contains(&self.r), "r", format!("is {}, expected 1 to 4096", self.r));
        require(self.lora_alpha.is_finite(), "lora_alpha", format!("is {}", self.lora_alpha));
        require((0.0..1.0).contains(&self.lora_dropout), "lora_dropout", format!("is {}, expected 0 to below 1", self.lora_dropout));
        require(self.bias == "none", "bias", format!("is {:?}, only \"none\" is supported", self.bias));
        let other = self.modules_to_save.iter().flatten().find(|m| !SAVED.contains(&m.as_str()));
        require(other.is_none(), "modules_to_save", format!("names {}, only {} can be saved", json!(other), SAVED.join(", ")));
        let by_regex = matches!(self.target_modules, Some(OneOrMany::One(_)));
        let string = || "cannot be used when target_modules is a string".to_string();
        require(!by_regex || self.layers_to_transform.is_none(), "layers_to_transform", string());
        require(!by_regex || self.layers_pattern.is_none(), "layers_pattern", string());
        let alone = self.layers_to_transform.is_none() && !self.layers_patterns().is_empty();
        require(!alone, "layers_pattern", "needs layers_to_transform".into());
        if let Err(start::Wrong::OtherBase(message)) = start::start(&self.init_lora_weights) {
            require(false, "init_lora_weights", message);
        }
        let known = other_fields();
        for (name, found) in self.extra.iter().filter(|(name, v)| is_set(v) && !FREE.contains(&name.as_str())) {
            match known.iter().find(|k| k.0 == name) {
                None if name == MASK && found.as_str().is_some_and(|m| MASKS.contains(&m)) => {}
                Some((_, default)) if found == default => {}
                Some(_) => wrong.push((name, format!("is {}, which is not supported", shown(found)))),
                None => {
                    wrong.push((name, format!("is {}; this field is not known, and may change what the adapter computes", shown(found))))
                }
            }
        }
        let mut wrong = wrong.into_iter();
        let Some((field, mut message)) = wrong.next() else { return self.matcher().map(|_| ()) };
        for (other, more) in wrong {
            message += &format!("; {other}: {more}");
        }
        Err(Error::config(field, message))
    }

    /// How a new adapter begins.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for a start that is not supported.
    pub fn start(&self) -> Result<Start> {
        start::start(&self.init_lora_weights).map_err(|wrong| {
            let (start::Wrong::OtherBase(message) | start::Wrong::NotMade(message)) = wrong;
            Error::config("init_lora_weights", message)
        })
    }

    /// True of an adapter that classifies or scores whole sequences.
    pub fn scores(&self) -> bool {
        self.task_type.as_deref() == Some("SEQ_CLS")
    }

    /// True if the module is one that `modules_to_save` names.
    pub fn saves(&self, module: &str) -> bool {
        self.modules_to_save.as_deref().is_some_and(|names| named(names, module))
    }

    fn layers_patterns(&self) -> &[String] {
        match &self.layers_pattern {
            None => &[],
            Some(OneOrMany::One(p)) => std::slice::from_ref(p),
            Some(OneOrMany::Many(p)) => p,
        }
    }

    /// True for `target_modules: "all-linear"`.
    pub fn all_linear(&self) -> bool {
        matches!(&self.target_modules, Some(OneOrMany::One(s)) if s.eq_ignore_ascii_case("all-linear"))
    }

    /// Compiles the patterns.
    pub fn matcher(&self) -> Result<Matcher<'_>> {
        let regex = |field: &str, m: &Option<OneOrMany<String>>| match m {
            Some(OneOrMany::One(p)) => Pattern::new(field, p).map(Some),
            _ => Ok(None),
        };
        let ends = |field: &str, map: &Option<Map<String, Json>>, ok: &dyn Fn(f64) -> bool| {
            map.iter()
                .flatten()
                .map(|(key, v)| {
                    let value = v.as_f64().filter(|v| v.is_finite() && ok(*v));
                    let value = value.ok_or_else(|| Error::config(field, format!("{key:?} is {v}")))?;
                    Pattern::new(field, &format!("(.*\\.)?({key})")).map(|p| (p, value))
                })
                .collect::<Result<Vec<_>>>()
        };
        let layers = self.layers_patterns().iter().map(|p| Pattern::new("layers_pattern", &format!("(?:.*\\.)?{p}")));
        Ok(Matcher {
            config: self,
            target: if self.all_linear() { None } else { regex("target_modules", &self.target_modules)? },
            exclude: regex("exclude_modules", &self.exclude_modules)?,
            ranks: ends("rank_pattern", &self.rank_pattern, &|v| v.fract() == 0.0 && (1.0..=4096.0).contains(&v))?,
            alphas: ends("alpha_pattern", &self.alpha_pattern, &|_| true)?,
            layers: layers.collect::<Result<_>>()?,
        })
    }

    /// The modules this config chooses among `linears` (paths of all linear modules). `all-linear` leaves out
    /// `head`, the output layer. Choosing none is an error.
    pub fn targets<'a>(&self, linears: impl IntoIterator<Item = &'a str>, head: Option<&str>) -> Result<Vec<Target>> {
        let matcher = self.matcher()?;
        let linears: Vec<&str> = linears.into_iter().collect();
        let chosen: Vec<Target> =
            linears.iter().filter(|m| !(self.all_linear() && Some(**m) == head) && matcher.matches(m)).map(|m| matcher.target(m)).collect();
        if chosen.is_empty() {
            let asked = serde_json::to_string(&self.target_modules).unwrap_or_default();
            let mut ends: Vec<&str> = linears.iter().map(|m| m.rsplit('.').next().unwrap_or(m)).collect();
            ends.sort_unstable();
            ends.dedup();
            let message = format!("{asked} chooses no module; the model's linear modules end in {}", ends.join(", "));
            return Err(Error::config("target_modules", message));
        }
        Ok(chosen)
    }

    /// This config with `target_modules` as PEFT writes it: the chosen modules by the last parts of their paths where
    /// those choose exactly the same, by their whole paths otherwise.
    pub fn resolved<'a>(&self, linears: impl IntoIterator<Item = &'a str>, head: Option<&str>) -> Result<Self> {
        let linears: Vec<&str> = linears.into_iter().collect();
        let chosen = self.targets(linears.iter().copied(), head)?;
        if !self.all_linear() {
            return Ok(self.clone());
        }
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names.dedup();
            Some(OneOrMany::Many(names))
        };
        let last = |t: &Target| t.module.rsplit('.').next().unwrap_or(&t.module).to_string();
        let short = LoraConfig { target_modules: sorted(chosen.iter().map(last).collect()), ..self.clone() };
        if short.targets(linears, head)? == chosen {
            return Ok(short);
        }
        let whole = sorted(chosen.into_iter().map(|t| t.module).collect());
        Ok(LoraConfig { target_modules: whole, ..self.clone() })
    }
}

/// A config with its patterns compiled.
pub struct Matcher<'a> {
    config: &'a LoraConfig,
    target: Option<Pattern>,
    exclude: Option<Pattern>,
    ranks: Vec<(Pattern, f64)>,
    alphas: Vec<(Pattern, f64)>,
    layers: Vec<Pattern>,
}

fn named(names: &[String], module: &str) -> bool {
    names.iter().any(|n| module.strip_suffix(n.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

impl Matcher<'_> {
    /// True if the config chooses this module.
    pub fn matches(&self, module: &str) -> bool {
        let excluded = match (&self.exclude, &self.config.exclude_modules) {
            (Some(p), _) => p.full_match(module),
            (None, Some(OneOrMany::Many(names))) => named(names, module),
            _ => false,
        };
        if excluded {
            return false;
        }
        match (&self.target, &self.config.target_modules) {
            (Some(p), _) => p.full_match(module),
            (None, Some(OneOrMany::One(_))) => true,
            (None, None) => false,
            // A whole path in the list is chosen whatever its layer.
            (None, Some(OneOrMany::Many(names))) if names.iter().any(|n| n == module) => true,
            (None, Some(OneOrMany::Many(names))) => named(names, module) && self.layer_chosen(module),
        }
    }

    /// The layer index is the first numeric part of the path that is not the last part, after a part that fits
    /// `layers_pattern` (any, without one).
    fn layer_chosen(&self, module: &str) -> bool {
        let chosen: &[usize] = match &self.config.layers_to_transform {
            None => return true,
            Some(OneOrMany::One(i)) => std::slice::from_ref(i),
            Some(OneOrMany::Many(all)) if all.is_empty() => return true,
            Some(OneOrMany::Many(all)) => all,
        };
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let parts: Vec<&str> = module.split('.').collect();
        let index_after = |fits: &dyn Fn(&str, usize) -> bool| {
            (1..parts.len().saturating_sub(1)).find(|&i| digits(parts[i]) && fits(&parts[..i].join("."), i)).map(|i| parts[i])
        };
        let found = if self.layers.is_empty() {
            index_after(&|_, i| i >= 2)
        } else {
            self.layers.iter().find_map(|p| index_after(&|before, _| p.full_match(before)))
        };
        found.and_then(|i| i.parse::<usize>().ok()).is_some_and(|i| chosen.contains(&i))
    }

    /// Rank, alpha and scale of a module.
    pub fn target(&self, module: &str) -> Target {
        let first = |all: &[(Pattern, f64)]| all.iter().find(|(p, _)| p.full_match(module)).map(|(_, v)| *v);
        let r = first(&self.ranks).map_or(self.config.r, |r| r as usize);
        let alpha = first(&self.alphas).unwrap_or(self.config.lora_alpha);
        let scale = alpha / if self.config.use_rslora { (r as f64).sqrt() } else { r as f64 };
        Target { module: module.to_string(), r, alpha, scale }
    }
}
