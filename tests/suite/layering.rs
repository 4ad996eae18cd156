//! The arrows of the design, checked against the sources: `web, bin → tune → generate → adapters → models → nn → ops →
//! graph → {gpu, cpu} → {formats, tokenizer, data} → tensor`. Also: which crates may be named where, and how long a
//! file may grow.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The modules of `src/` from the top: each may name those of the rows below its own.
const ORDER: &[&[&str]] = &[
    &["web", "bin", "prelude"],
    &["tune"],
    &["generate", "encode"],
    &["adapters"],
    &["models"],
    &["nn", "device"],
    &["ops"],
    &["graph"],
    &["gpu", "cpu"],
    &["formats", "tokenizer", "data"],
    &["tensor"],
    &["text"],
    &["error", "clock", "counters", "lru", "rng"],
];

/// Where more is forbidden: files, texts and data sets are no business of what computes, nor the GPU of what makes tensors' bytes.
const APART: &[(&[&str], &[&str])] = &[
    (&["nn", "device", "ops", "graph", "gpu", "cpu"], &["formats", "tokenizer", "data"]),
    (&["gpu", "tokenizer", "data"], &["tensor"]),
    (&["error", "clock", "counters", "lru", "rng"], &["tensor"]),
];

/// Crates and the modules that may name them: `graph` encodes the plan into command buffers, `clock` needs one function of the browser.
const CRATES: &[(&[&str], &[&str])] = &[
    (&["wgpu"], &["gpu", "graph"]),
    // gpu: for what browsers can do with a device and wgpu has no call for.
    (&["wasm_bindgen", "wasm_bindgen_futures", "js_sys"], &["web", "clock", "gpu"]),
    (&["web_sys", "serde_wasm_bindgen"], &["web", "clock"]),
];

/// Longer files want to be split (the aim is 600).
const MAX_LINES: usize = 650;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Longer lines want to be cut, in code and in prose. Not lists that a program reads: variants of a shader, rows of data.
const MAX_COLUMNS: usize = 160;

fn files(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["node_modules", "target", "dist", "pkg"].contains(&name) && !name.starts_with('.') {
                files(&path, extensions, found);
            }
        } else if extensions.iter().any(|e| name.ends_with(e)) {
            found.push(path);
        }
    }
}

/// The source without comments and without its unit tests, which may look wherever they like.
fn code(text: &str) -> String {
    let text = match text.find("#[cfg(test)]\nmod ") {
        Some(end) => &text[..end],
        None => text,
    };
    text.lines().map(|l| l.split_once("//").map_or(l, |(code, _)| code)).collect::<Vec<_>>().join("\n")
}

/// First path segments named after `crate::`, in both forms: `crate::x::…` and `crate::{x::…, y}`.
fn named_modules(code: &str) -> BTreeSet<String> {
    let ident = |s: &str| s.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` and `not_a_crate::` are other things; `$crate` counts as well, the macro being expanded anywhere.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut start) = (1, 0);
            for (i, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 || (depth == 1 && c == ',') {
                    found.insert(ident(&group[start..i]));
                    start = i + 1;
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.insert(ident(rest));
        }
    }
    found.remove("");
    found
}

fn module_of(path: &Path) -> String {
    let path = path.strip_prefix(root().join("src")).unwrap();
    // The modules of the crate for the processor stand in one row with those that use them.
    let first = path.strip_prefix("compute").unwrap_or(path).components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_string()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&root().join("src"), &[".rs"], &mut found);
    assert!(found.len() > 5, "no sources under {}", root().display());
    found
}

#[test]
fn arrows_point_one_way() {
    let rank = |module: &str| ORDER.iter().position(|row| row.contains(&module));
    let mut wrong = Vec::new();
    for path in sources() {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        let Some(own) = rank(&module) else {
            wrong.push(format!("{}: module `{module}` has no place in ORDER", path.display()));
            continue;
        };
        for named in named_modules(&code(&fs::read_to_string(&path).unwrap())) {
            // Names that are no module are what lib.rs re-exports or defines (`crate::Error`, macros).
            let Some(other) = rank(&named).filter(|_| named != module) else { continue };
            let apart = APART.iter().any(|(from, to)| from.contains(&module.as_str()) && to.contains(&named.as_str()));
            if other <= own || apart {
                wrong.push(format!("{}: `{module}` may not use `crate::{named}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point the wrong way:\n{}", wrong.join("\n"));
}

#[test]
fn crates_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for path in sources() {
        let module = module_of(&path);
        let text = code(&fs::read_to_string(&path).unwrap());
        for (names, places) in CRATES {
            if places.contains(&module.as_str()) {
                continue;
            }
            for name in *names {
                let named = text
                    .match_indices(&format!("{name}::"))
                    .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
                if named {
                    wrong.push(format!("{}: `{name}` belongs in {}", path.display(), places.join(", ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "crates named outside their place:\n{}", wrong.join("\n"));
}

/// Who uses the crate sees no wgpu, whose next version may be another.
#[test]
fn no_handle_of_wgpu_is_public() {
    let mut wrong = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let mut hidden = false;
        for line in code(&text).lines().map(str::trim) {
            if line.starts_with("pub ") && line.contains("wgpu::") && !hidden && (!line.ends_with(");") || line.contains("(pub ")) {
                wrong.push(format!("{}: {line}", path.display()));
            }
            hidden = line == "#[doc(hidden)]";
        }
    }
    assert!(wrong.is_empty(), "public handles of wgpu:\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_short() {
    let mut found = Vec::new();
    for (folder, extensions) in [
        ("src", &[".rs"] as &[&str]),
        ("tests", &[".rs"]),
        ("shaders", &[".wgsl"]),
        ("www/src", &[".ts", ".tsx", ".vue", ".svelte", ".css"]),
    ] {
        files(&root().join(folder), extensions, &mut found);
    }
    // What is made from a table is as long as the table.
    found.retain(|p| !p.components().any(|c| c.as_os_str() == "generated") || p.extension().is_some_and(|e| e == "rs"));
    let long: Vec<_> = found
        .iter()
        .map(|p| (fs::read_to_string(p).unwrap().lines().count(), p))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, p)| format!("{}: {lines} lines", p.display()))
        .collect();
    assert!(long.is_empty(), "files over {MAX_LINES} lines, to be split:\n{}", long.join("\n"));
}

#[test]
fn lines_stay_short() {
    let mut found: Vec<PathBuf> = Vec::new();
    let kinds = [".rs", ".wgsl", ".md", ".toml", ".sh", ".py", ".ts", ".tsx", ".js", ".mjs", ".css", ".html", ".yml"];
    for folder in ["src", "shaders", "docs", "scripts", "tests", "www"] {
        files(&root().join(folder), &kinds, &mut found);
    }
    found.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Cargo.toml", "build.rs"].iter().map(|f| root().join(f)));
    assert!(found.len() > 300, "found only {} files", found.len());
    let long: Vec<String> = found
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let at = path.strip_prefix(root()).unwrap().display().to_string();
            // Nobody reads or writes by hand what is made from a table.
            let made = at.contains("/generated/") && at.ends_with(".ts");
            let lines = text.lines().enumerate();
            let lines = lines.filter(|(_, l)| !made && l.chars().count() > MAX_COLUMNS && !l.starts_with("// Variants:"));
            lines.map(|(i, l)| format!("{at}:{}: {} columns", i + 1, l.chars().count())).collect::<Vec<_>>()
        })
        .collect();
    assert!(long.is_empty(), "lines of more than {MAX_COLUMNS} columns:\n{}", long.join("\n"));
}

#[test]
fn the_reader_of_use_lines_reads_both_forms() {
    let text = code(
        "use crate::{error::Result, gpu::{Gpu, x}, ops};\nlet a = crate::nn::Linear; // crate::web::y\nuse $crate::tune;\n\
         #[cfg(test)]\nmod tests { use crate::bin; }",
    );
    let named: Vec<_> = named_modules(&text).into_iter().collect();
    assert_eq!(named, ["error", "gpu", "nn", "ops", "tune"]);
}
