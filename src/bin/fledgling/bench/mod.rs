//! `fledgling bench`: a table, then one line of JSON.

mod against;
mod answer;
mod compare;
mod learn;
mod machine;
mod matmul;
mod peaks;
mod picture;
mod profile;
mod report;
mod shapes;

use std::ops::Sub;
use std::rc::Rc;

use serde_json::json;

use super::args::{BenchArgs, Cli, Part};
use super::{files, load};
use fledgling::adapters::LoadedModel;
use fledgling::graph::Exec;
use fledgling::models::LoadOptions;
use fledgling::{Result, clock};
use picture::Picture;
use report::Report;

pub async fn run(cli: &Cli, a: &BenchArgs) -> Result<()> {
    if let [before, after] = &a.compare[..] {
        return compare::run(before, after);
    }
    against::check(a)?;
    let wanted = |part: Part| a.only.is_empty() || a.only.contains(&part);
    let kv_cache_dtype = a.cache.kv_cache_dtype;
    let answers = wanted(Part::Prefill) || wanted(Part::Decode);
    let (exec, model, seconds) = if !(answers || wanted(Part::Lora) || wanted(Part::Checkpointing)) {
        (load::device(cli).await?, None, 0.0)
    } else if let Some(shape) = a.random {
        let exec = load::device(cli).await?;
        let begin = clock::seconds();
        let model = shapes::model(&exec, shape)?.with_kv_cache_dtype(kv_cache_dtype);
        exec.done().await?;
        (exec, Some(model), clock::seconds() - begin)
    } else {
        let load::Loaded { model, exec, seconds } =
            load::model(cli, &a.model, LoadOptions { kv_cache_dtype, ..LoadOptions::default() }, true).await?;
        (exec, Some(model), seconds)
    };
    let mut t = Report::new(&exec, a.json);
    if wanted(Part::Peaks) && a.against.is_none() {
        peaks::run(&mut t, &exec).await?;
    }
    let model = model.map(Rc::new);
    if let Some(model) = &model {
        t.put("model", json!(model.info.name));
        t.put("quantization", json!(model.info.quantization));
        t.put("kv_cache_dtype", json!(kv_cache_dtype.dtype().name()));
        t.say(&format!("{}, {}, {} of weights", model.info.name, model.info.quantization, files::mib(model.info.gpu_bytes)));
        t.line("load_seconds", if a.random.is_some() { "filled with noise" } else { "load" }, seconds, "s", 2);
    }
    if let Some(list) = &a.against {
        against::run(&mut t, &exec, model.as_ref(), a, list, wanted).await?;
    } else {
        measure(&mut t, &exec, model.as_ref(), a, wanted).await?;
    }
    let all = t.finish();
    if let Some(out) = &a.out {
        files::write(out, format!("{all}\n").as_bytes())?;
    }
    say!("{all}");
    Ok(())
}

/// Every part but the peaks.
async fn measure(t: &mut Report, exec: &Exec, model: Option<&Rc<LoadedModel>>, a: &BenchArgs, wanted: impl Fn(Part) -> bool) -> Result<()> {
    if let Some(model) = model {
        if wanted(Part::Prefill) || wanted(Part::Decode) {
            answer::run(t, exec, model.clone(), a, &wanted).await?;
        }
        if wanted(Part::Lora) {
            learn::lora(t, exec, model, a).await?;
        }
        if wanted(Part::Checkpointing) {
            learn::checkpointing(t, model).await?;
        }
    }
    if wanted(Part::Gpt) {
        learn::gpt(t, exec).await?;
    }
    if wanted(Part::Matmul) {
        matmul::run(t, exec, a.matmul).await?;
    }
    if a.profile || a.html.is_some() {
        let mut picture = Picture::default();
        profile::run(t, exec, model, a, wanted, &mut picture).await?;
        if let Some(html) = &a.html {
            picture.write(html, t.so_far())?;
        }
    }
    Ok(())
}

/// Ids that mean nothing and begin differently for each `salt`, so that no cache can help.
fn ids(vocab: usize, n: usize, salt: usize) -> Vec<u32> {
    (0..n).map(|i| (100 + (i * 7919 + salt * 31) % vocab.saturating_sub(200).max(1)) as u32 % vocab as u32).collect()
}

/// Repeated measurements: at least three, more while they are short.
#[derive(Default)]
struct Samples(Vec<f64>);

impl Samples {
    const LEAST: usize = 3;
    const MOST: usize = 20;
    /// Seconds that are enough.
    const ENOUGH: f64 = 1.5;

    fn push(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// True while another one would tell more.
    fn wanted(&self) -> bool {
        self.len() < Self::LEAST || (self.len() < Self::MOST && self.0.iter().sum::<f64>() < Self::ENOUGH)
    }

    fn median(&self) -> f64 {
        let mut v = self.0.clone();
        v.sort_by(f64::total_cmp);
        v.get(v.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// What a device has done.
#[derive(Clone, Copy, Default)]
struct Counts {
    dispatches: u64,
    submits: u64,
    allocations: u64,
}

impl Counts {
    /// Since it was opened.
    fn of(exec: &Exec) -> Counts {
        let c = exec.counters();
        Counts { dispatches: c.dispatches.get(), submits: c.submits.get(), allocations: c.allocations.get() }
    }
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, o: Counts) -> Counts {
        let less = u64::saturating_sub;
        Counts {
            dispatches: less(self.dispatches, o.dispatches),
            submits: less(self.submits, o.submits),
            allocations: less(self.allocations, o.allocations),
        }
    }
}
