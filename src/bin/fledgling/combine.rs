//! `fledgling combine`: one adapter out of several.

use serde_json::json;

use super::args::CombineArgs;
use super::{files, load};
use fledgling::Result;
use fledgling::formats::peft::{CONFIG_NAME, Combination, PeftAdapter, WEIGHTS_NAME, combine};

pub fn run(a: &CombineArgs) -> Result<()> {
    let adapters = a.adapter.iter().map(|(folder, weight)| Ok((load::read_adapter(folder)?, *weight))).collect::<Result<Vec<_>>>()?;
    let all: Vec<(&PeftAdapter, f64)> = adapters.iter().map(|(adapter, weight)| (adapter, *weight)).collect();
    let both = combine(&all, Combination::named(&a.kind)?, a.rank)?;
    files::make_folder(&a.out)?;
    let (config, weights) = both.write()?;
    files::write(&a.out.join(WEIGHTS_NAME), &weights)?;
    files::write(&a.out.join(CONFIG_NAME), config.as_bytes())?;
    let (modules, r, parameters) = (both.pairs.len(), both.config.r, both.parameters());
    if a.json {
        say!("{}", json!({"out": a.out, "modules": modules, "r": r, "parameters": parameters}));
    } else {
        note!("{modules} modules of rank {r} in {}", a.out.display());
    }
    Ok(())
}
