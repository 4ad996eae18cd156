//! What a figure depends on besides the code: the machine, how busy it is, and what its maker promises.

use serde_json::{Value, json};

/// f32 without tensor cores in TFLOP/s and memory in TB/s, from the makers' data sheets. The first name found in the adapter's counts.
const CARDS: &[(&str, f64, f64)] = &[
    ("H100 PCIe", 51.2, 2.0),
    ("H100", 66.9, 3.35),
    ("H200", 66.9, 4.8),
    ("A100", 19.5, 1.94),
    ("L40S", 91.6, 0.864),
    ("L4", 30.3, 0.3),
    ("T4", 8.1, 0.32),
    ("RTX 4090", 82.6, 1.01),
    ("RTX 3090", 35.6, 0.936),
];

/// What a maker promises of a card.
#[derive(Clone, Copy)]
pub struct Card {
    pub name: &'static str,
    pub flops: f64,
    pub bytes: f64,
}

/// The data sheet of an adapter, where it is known here.
pub fn card(adapter: &str) -> Option<Card> {
    CARDS.iter().find(|c| adapter.contains(c.0)).map(|c| Card { name: c.0, flops: c.1 * 1e12, bytes: c.2 * 1e12 })
}

/// Load average of the last minute; only Linux gives it this way.
pub fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Name and number of the processors.
pub fn processor() -> (Value, usize) {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split_once(": ")).map_or(Value::Null, |l| json!(l.1));
    (name, std::thread::available_parallelism().map_or(1, usize::from))
}
