//! `--html`: one file that shows where time and memory go, without a network or a library.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::files;
use fledgling::Result;
use fledgling::graph::{Layout, Profile};

/// What is shown, in order.
#[derive(Default)]
pub struct Picture {
    profiles: Vec<(String, Profile)>,
}

/// Gives each name a number, in order of appearance.
#[derive(Default)]
struct Names<'a> {
    numbers: BTreeMap<&'a str, usize>,
    list: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn number(&mut self, name: &'a str) -> usize {
        *self.numbers.entry(name).or_insert_with(|| {
            self.list.push(name);
            self.list.len() - 1
        })
    }
}

impl Picture {
    /// Adds a replay.
    pub fn add(&mut self, title: &str, profile: Profile) {
        self.profiles.push((title.into(), profile));
    }

    /// Writes the page. `about`: the figures of the same run.
    pub fn write(&self, path: &Path, about: &Value) -> Result<()> {
        let profiles: Vec<Value> = self.profiles.iter().map(|(title, p)| one(title, p)).collect();
        let field = |key: &str| about[key].clone();
        let data = json!({
            "about": {"adapter": field("adapter"), "backend": field("backend"), "software": field("software"), "model": field("model"),
                "load_average": field("load_average"), "fma_gflops": field("fma_gflops"), "copy_gbps": field("copy_gbps")},
            "profiles": profiles,
        });
        // Inside a script element only this could end it.
        let data = data.to_string().replace("</", "<\\/");
        files::write(path, include_str!("picture.html").replace("\"DATA\"", &data).as_bytes())
    }
}

fn one(title: &str, p: &Profile) -> Value {
    let mut names = Names::default();
    let micro = |s: f64| (s * 1e8).round() / 100.0;
    // [op, kernel, begin µs, µs, flops, bytes]
    let dispatches: Vec<Value> = p
        .timed
        .iter()
        .map(|t| json!([names.number(t.op), names.number(&t.kernel), micro(t.begin), micro(t.seconds), t.cost.flops, t.cost.bytes]))
        .collect();
    let memory = memory(&p.layout, &mut names);
    json!({
        "title": title, "wall": micro(p.wall), "kernels": micro(p.kernels()), "dispatches": p.dispatches, "submits": p.submits,
        "allocations": p.allocations, "timed": dispatches, "memory": memory, "names": names.list,
    })
}

/// Slots, the largest first: [bytes, [[first node, last node, bytes, op], …]].
fn memory<'a>(layout: &Layout, names: &mut Names<'a>) -> Value {
    let mut slots: Vec<_> = layout.slots.iter().collect();
    slots.sort_by_key(|s| std::cmp::Reverse(s.0));
    let slots: Vec<Value> = slots
        .into_iter()
        .map(|(bytes, lives)| {
            let lives: Vec<Value> = lives.iter().map(|l| json!([l.first, l.last, l.bytes, names.number(l.op)])).collect();
            json!([bytes, lives])
        })
        .collect();
    json!({"nodes": layout.nodes, "bytes": layout.bytes(), "naive": layout.naive_bytes, "slots": slots})
}
