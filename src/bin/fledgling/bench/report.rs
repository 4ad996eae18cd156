//! The table that a person reads, line by line as figures come in, and the JSON object with the same figures.

use serde_json::{Value, json};

use crate::bench::machine;
use crate::files::mib;
use fledgling::graph::Exec;

/// See the module.
pub struct Report {
    quiet: bool,
    json: Value,
}

impl Report {
    /// `quiet`: JSON alone.
    pub fn new(exec: &Exec, quiet: bool) -> Report {
        let on = exec.info();
        let mut r = Report { quiet, json: json!({}) };
        let (cpu, cores) = machine::processor();
        for (key, value) in [
            ("where", json!("native")),
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("adapter", json!(on.name)),
            ("backend", json!(on.backend)),
            ("software", json!(on.is_software)),
            ("device", json!(on.device)),
            ("features", json!(on.features)),
            ("cpu", cpu),
            ("cores", json!(cores)),
            ("load_average", json!([machine::load_average()])),
        ] {
            r.put(key, value);
        }
        let load = machine::load_average().map_or(String::new(), |l| format!(", load average {l}"));
        r.say(&format!("{}{} ({}){load}", on.name, if on.is_software { ", software" } else { "" }, on.backend));
        r
    }

    /// A line of text for whoever reads along.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            say!("{text}");
        }
    }

    /// A figure in both.
    pub fn line(&mut self, key: &str, name: &str, value: f64, unit: &str, digits: usize) {
        self.put(key, json!(value));
        self.say(&format!("{name:<46}{value:>14.digits$} {unit}"));
    }

    /// Milliseconds, with as many digits as mean something.
    pub fn millis(&mut self, key: &str, name: &str, value: f64) {
        self.line(key, name, value, "ms", if value < 100.0 { 2 } else { 0 });
    }

    /// Bytes of device memory.
    pub fn bytes(&mut self, key: &str, name: &str, bytes: u64) {
        self.put(key, json!(bytes));
        self.say(&format!("{name:<46}{:>18}", mib(bytes)));
    }

    /// A figure of the JSON object alone.
    pub fn put(&mut self, key: &str, value: Value) {
        self.json[key] = value;
    }

    /// A figure that was put before.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.json[key].as_f64()
    }

    /// The object so far.
    pub fn so_far(&self) -> &Value {
        &self.json
    }

    /// The object, with how busy the machine was at the end.
    pub fn finish(mut self) -> Value {
        if let Value::Array(load) = &mut self.json["load_average"] {
            load.push(json!(machine::load_average()));
        }
        self.json
    }
}
