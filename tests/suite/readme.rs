//! The ten lines of Rust in README.md compile: they are the ones below.

use fledgling::Result;

#[allow(dead_code)]
#[rustfmt::skip]
async fn ten_lines() -> Result<()> {
    // README:
use std::rc::Rc;
use fledgling::prelude::*;

let exec = Exec::Gpu(Gpu::new().await?);
let model = Rc::new(LoadedModel::load(&exec, "model.gguf", LoadOptions::default(), &mut |_, _| ()).await?);
let prompt = model.tokenizer()?.encode_chat(&[serde_json::json!({"role": "user", "content": "Hello!"})], true)?;
let mut generator = Generator::new(model)?;
let options = GenerateOptions { max_new_tokens: 64, ..GenerateOptions::default() };
let answers = generator.run(&prompt, options, &mut |_| ()).await?;
println!("{}", answers[0].text);
    // the end
    Ok(())
}

#[test]
fn the_readmes_rust_is_what_is_compiled() {
    let between = |text: &str, from: &str, to: &str| -> String {
        let text = text.split_once(from).unwrap_or_else(|| panic!("no {from:?}")).1;
        text.split_once(to).unwrap_or_else(|| panic!("no {to:?}")).0.trim().to_string()
    };
    let readme = between(include_str!("../../README.md"), "```rust\n", "```");
    let compiled = between(include_str!("readme.rs"), "// README:\n", "// the end");
    assert_eq!(readme, compiled);
}
