//! Every kernel in every variant that its header declares (`declared.rs` says how), validated by naga without a GPU.

use std::collections::BTreeSet;

use fledgling::gpu::preprocess::{Binding, Defines, expand, source};

use crate::declared::{kernels, variants};

/// The default limit of WebGPU.
const MAX_STORAGE_BUFFERS: usize = 8;

/// Names that `#if` and its kin ask about, in a file and all it includes, less those that the text itself defines.
fn asked(text: &str, seen: &mut BTreeSet<String>, asked_for: &mut BTreeSet<String>, defined: &mut BTreeSet<String>) {
    for line in text.lines().map(str::trim_start) {
        let line = line.split("//").next().unwrap_or("");
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "#include" => {
                let path = rest.trim().trim_matches('"').to_string();
                if seen.insert(path.clone()) {
                    asked(source(&path).unwrap_or_else(|| panic!("no shaders/{path}")), seen, asked_for, defined);
                }
            }
            "#define" => drop(defined.insert(rest.split_whitespace().next().unwrap_or("").to_string())),
            "#if" | "#elif" | "#ifdef" | "#ifndef" => {
                for term in rest.replace("&&", "||").split("||") {
                    // `NAME == VALUE`: the name is on the left.
                    let term = term.trim().trim_start_matches(['!', '(', ' ']);
                    let name = term.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
                    if name.starts_with(|c: char| c.is_alphabetic()) {
                        asked_for.insert(name.to_string());
                    }
                }
            }
            _ => {}
        }
    }
}

fn validate(name: &str, defines: &Defines) -> Result<(), String> {
    let expanded = expand(name, defines);
    let storage = expanded.bindings.iter().filter(|b| matches!(b, Binding::Read | Binding::Write)).count();
    if storage > MAX_STORAGE_BUFFERS {
        return Err(format!("{storage} storage buffers, WebGPU promises {MAX_STORAGE_BUFFERS}"));
    }
    compile(&expanded.text)
}

fn compile(text: &str) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))?;
    if !module.entry_points.iter().any(|e| e.name == "main" && e.stage == naga::ShaderStage::Compute) {
        return Err("no compute entry point `main`".into());
    }
    let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all());
    validator.validate(&module).map(drop).map_err(|e| e.emit_to_string(text))
}

#[test]
fn every_declared_variant_is_valid() {
    let (mut count, mut files, mut wrong) = (0, 0, Vec::new());
    for (name, text) in kernels() {
        files += 1;
        for defines in variants(name, text) {
            count += 1;
            if let Err(e) = validate(name, &defines) {
                wrong.push(format!("{name} {defines:?}: {e}"));
            }
        }
    }
    eprintln!("{count} variants of {files} kernels");
    assert!(count > 0 && wrong.is_empty(), "{} invalid:\n{}", wrong.len(), wrong.join("\n"));
}

/// What `ops::attention` takes for granted when it chooses the size of a workgroup.
#[test]
fn the_memory_of_an_attention_query_fits() {
    let (name, text) = kernels().find(|(n, _)| *n == "attention_query").expect("a kernel");
    for defines in variants(name, text) {
        let module = naga::front::wgsl::parse_str(&expand(name, &defines).text).expect("valid");
        let shared = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()).next_multiple_of(16)).sum();
        let room = if defines["WG"] == "512" { 24 << 10 } else { 16 << 10 };
        assert!(bytes > 0 && bytes <= room, "{defines:?}: {bytes} bytes of {room}");
    }
}

#[test]
fn every_branch_has_a_variant() {
    let mut missing = Vec::new();
    // A kernel need not have every form of what it includes, but some kernel must.
    let anywhere: BTreeSet<String> = kernels().flat_map(|(name, text)| variants(name, text)).flat_map(Defines::into_keys).collect();
    for (name, text) in kernels() {
        let (mut asked_for, mut defined) = Default::default();
        asked(text, &mut BTreeSet::new(), &mut asked_for, &mut defined);
        let declared: BTreeSet<String> = variants(name, text).into_iter().flat_map(Defines::into_keys).collect();
        for flag in asked_for.difference(&defined) {
            let own = text.lines().any(|l| l.trim_start().starts_with('#') && l.contains(flag.as_str()));
            if !declared.contains(flag) && (own || !anywhere.contains(flag)) {
                missing.push(format!("shaders/{name}.wgsl asks for {flag}, and no declared variant defines it"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_grammar_of_variants() {
    let all = variants("x", "// Variants: {A=1|B} {|C,D=2} E\n// Variants: {}");
    let text: Vec<_> = all.iter().map(|d| d.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")).collect();
    assert_eq!(text, ["", "A=1,C=1,D=2,E=1", "A=1,E=1", "B=1,C=1,D=2,E=1", "B=1,E=1"]);
}

#[test]
fn a_broken_shader_is_seen() {
    let body = |sum: &str| {
        format!("@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn main() {{ y[0] = {sum}; }}")
    };
    assert_eq!(compile(&body("1.0 + 2.0")), Ok(()));
    for wrong in ["1u", "missing", "vec2<f32>(1.0)", "workgroupBarrier()"] {
        assert!(compile(&body(wrong)).is_err(), "{wrong} was accepted");
    }
    assert!(compile("fn main() {}").is_err());
}
