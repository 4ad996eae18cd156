//! `fledgling translate`: what an encoder-decoder makes of a text.

use std::rc::Rc;

use super::args::{Cli, TranslateArgs};
use super::{generate, load, logits};
use fledgling::Result;
use fledgling::clock;
use fledgling::generate::Generator;
use fledgling::models::LoadOptions;

pub async fn run(cli: &Cli, a: &TranslateArgs) -> Result<()> {
    let options = a.search.add_to(a.sampling.options(usize::from(a.n))?)?;
    let mask = load::mask(&a.model.mask, a.model.adapter.iter())?;
    let how = LoadOptions { kv_cache_dtype: a.cache.kv_cache_dtype, quantize: a.model.quantize, mask, ..LoadOptions::default() };
    let loaded = load::model(cli, &a.model.model, how, a.json).await?;
    loaded.model.model.config().need_encoder_decoder("a translation")?;
    let adapter = load::activate(&loaded.model, a.model.adapter.as_deref())?;
    let source = logits::prompt_ids(&loaded.model, &a.prompt)?;
    let has_text = loaded.model.tokenizer.is_some();
    let begin = clock::seconds();
    let mut generator = Generator::new(Rc::new(loaded.model))?;
    generator.warm(Some(source.len()), &options).await?;
    let load = loaded.seconds + clock::seconds() - begin;
    let answers = generator.run(&source, options, &mut |_| {}).await?;
    if a.json {
        say!("{}", generate::report(&source, adapter.as_deref(), load, &answers));
        return Ok(());
    }
    for c in &answers {
        match has_text {
            true => say!("{}", c.text),
            false => say!("{}", c.token_ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
        }
    }
    Ok(())
}
