//! The variants that the headers of `shaders/` declare, and whether a browser's compiler takes them all.
//!
//! A header declares its variants as products of alternatives, one product per line:
//! ```text
//! // Variants: {WT=F32|WT=Q4|WT=Q8} {|BIAS} TM=4,TN=8
//! ```
//! is 3 × 2 × 1 variants. An empty alternative defines nothing; commas join defines; a bare name is defined as 1. A kernel with a single
//! form says `// Variants: {}`.

use std::collections::BTreeSet;

use fledgling::gpu::preprocess::{Defines, SHADERS};

/// Name and text of every kernel.
pub fn kernels() -> impl Iterator<Item = (&'static str, &'static str)> {
    SHADERS.iter().filter(|(path, _)| !path.contains('/')).map(|(path, text)| (path.trim_end_matches(".wgsl"), *text))
}

/// The factors of one line: `{a|b} c` → [[a, b], [c]].
fn factors(line: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('{') {
            let (alternatives, after) = inner.split_once('}').unwrap_or_else(|| panic!("unclosed brace in {line:?}"));
            found.push(alternatives.split('|').collect());
            rest = after.trim_start();
        } else {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            found.push(vec![word]);
            rest = after.trim_start();
        }
    }
    found
}

/// What a kernel's header declares.
pub fn variants(name: &str, text: &str) -> Vec<Defines> {
    let lines: Vec<_> = text.lines().filter_map(|l| l.strip_prefix("// Variants:")).collect();
    assert!(
        !lines.is_empty(),
        "shaders/{name}.wgsl declares no variants: add `// Variants: {{|DEFINE}} …` to its header (see tests/suite/declared.rs)"
    );
    let mut all = BTreeSet::new();
    for line in lines {
        let mut product = vec![Defines::new()];
        for alternatives in factors(line) {
            product = product
                .iter()
                .flat_map(|base| {
                    alternatives.iter().map(|alternative| {
                        let mut defines = base.clone();
                        for define in alternative.split(',').map(str::trim).filter(|d| !d.is_empty()) {
                            let (key, value) = define.split_once('=').unwrap_or((define, "1"));
                            defines.insert(key.into(), value.into());
                        }
                        defines
                    })
                })
                .collect();
        }
        all.extend(product);
    }
    all.into_iter().collect()
}

#[cfg(target_arch = "wasm32")]
fl_test!(
    /// naga, which checks them natively, is another compiler than a browser's, and does not ask whether a subgroup's threads are together where
    /// they share something. Pipelines are left to the op cases: a software adapter takes seconds for each.
    async fn the_browser_takes_every_declared_variant() {
        let gpu = crate::harness::gpu_with(&fledgling::gpu::GpuOptions::default()).await;
        let caps = gpu.caps();
        let (mut count, mut left_out, mut wrong) = (0, 0, Vec::new());
        for (name, text) in kernels() {
            for defines in variants(name, text) {
                if defines.contains_key("SUBGROUPS") && !caps.subgroups {
                    left_out += 1;
                    continue;
                }
                count += 1;
                let key = defines.iter().fold(fledgling::gpu::KernelKey::new(name), |key, (k, v)| key.def(k, v));
                let kernel = gpu.kernel(&key);
                let source = wgpu::ShaderSource::Wgsl(kernel.text().into());
                let module = gpu.device().create_shader_module(wgpu::ShaderModuleDescriptor { label: Some(kernel.label()), source });
                for message in module.get_compilation_info().await.messages {
                    if message.message_type == wgpu::CompilationMessageType::Error {
                        wrong.push(format!("{}: {}", kernel.label(), message.message));
                    }
                }
            }
        }
        gpu.done().await.expect("nothing refused");
        if caps.subgroups {
            let apart = "enable subgroups;\n@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n\
                @compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) { if (i > 1u) { y[i] = quadBroadcast(y[i], 1u); } }";
            let desc = wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(apart.into()) };
            let messages = gpu.device().create_shader_module(desc).get_compilation_info().await.messages;
            assert!(
                messages.iter().any(|m| m.message_type == wgpu::CompilationMessageType::Error),
                "threads apart may share: {messages:?}"
            );
        }
        report!("{count} variants compiled, {left_out} left out, which the adapter has no feature for");
        assert!(count > 0 && wrong.is_empty(), "{} refused:\n{}", wrong.len(), wrong.join("\n"));
    }
);
