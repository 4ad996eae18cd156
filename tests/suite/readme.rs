//! The Rust of README.md and of the crate's documentation compiles as it is written: it is the program below.

#[allow(dead_code)]
#[rustfmt::skip]
mod program {
    // README:
use std::rc::Rc;

use fledgling::prelude::*;

fn main() -> Result<()> {
    pollster::block_on(async {
        let exec = Exec::Gpu(Gpu::new().await?); // or Exec::Cpu(Cpu::new(CpuOptions::default()))
        let model = Rc::new(LoadedModel::load(&exec, "model.gguf", LoadOptions::default(), &mut |_, _| ()).await?);
        let ask = [serde_json::json!({"role": "user", "content": "Hello!"})];
        let prompt = model.tokenizer()?.encode_chat(&ask, true)?;
        let mut generator = Generator::new(model)?;
        let options = GenerateOptions { max_new_tokens: 64, ..GenerateOptions::default() };
        let answers = generator.run(&prompt, options, &mut |_| ()).await?;
        println!("{}", answers[0].text);
        Ok(())
    })
}
    // the end
}

#[test]
fn the_readmes_rust_is_what_is_compiled() {
    let between = |text: &str, from: &str, to: &str| -> String {
        let text = text.split_once(from).unwrap_or_else(|| panic!("no {from:?}")).1;
        text.split_once(to).unwrap_or_else(|| panic!("no {to:?}")).0.trim().to_string()
    };
    let compiled = between(include_str!("readme.rs"), "// README:\n", "// the end");
    assert_eq!(between(include_str!("../../README.md"), "```rust\n", "```"), compiled);
    let docs: Vec<&str> = include_str!("../../src/lib.rs").lines().filter_map(|l| l.strip_prefix("//!")).collect();
    let docs: Vec<&str> = docs.iter().map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
    assert_eq!(between(&docs.join("\n"), "```no_run\n", "```"), compiled);
}
