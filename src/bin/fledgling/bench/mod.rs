//! `fledgling bench`: a table, then one line of JSON.

mod against;
mod answer;
mod compare;
mod cost;
mod learn;
mod machine;
mod matmul;
mod peaks;
mod picture;
mod profile;
mod report;
mod samples;
mod shapes;

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
    let learns = wanted(Part::Lora) || wanted(Part::Packing) || wanted(Part::Checkpointing) || wanted(Part::Cost);
    let (exec, model, seconds) = if !(answers || learns) {
        (load::device(cli).await?, None, 0.0)
    } else if let Some(shape) = a.random {
        let exec = load::device(cli).await?;
        let begin = clock::seconds();
        let model = shapes::model(&exec, shape)?.with_kv_cache_dtype(kv_cache_dtype);
        exec.done().await?;
        (exec, Some(model), clock::seconds() - begin)
    } else {
        let load::Loaded { model, exec, seconds } =
            load::model(cli, &a.model, LoadOptions { kv_cache_dtype, quantize: a.quantize, ..LoadOptions::default() }, true).await?;
        model.model.config().need_decoder("a benchmark")?;
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
        if wanted(Part::Packing) {
            learn::packing(t, model).await?;
        }
        if wanted(Part::Checkpointing) {
            learn::checkpointing(t, model).await?;
        }
        if a.only.contains(&Part::Cost) {
            cost::run(t, model, a).await?;
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
