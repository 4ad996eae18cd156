//! Embeds every file of `shaders/` as a table of (path, text), so that the binary and the wasm carry their kernels.
use std::{env, fs, path::Path};

fn collect(dir: &Path, root: &Path, out: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(dir).expect("shaders/ is readable").flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, root, out);
        } else if path.extension().is_some_and(|e| e == "wgsl") {
            let name = path.strip_prefix(root).expect("inside root").to_string_lossy().replace('\\', "/");
            out.push((name, path.display().to_string()));
        }
    }
}

fn main() {
    println!("cargo:rerun-if-changed=shaders");
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("shaders");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    let mut text = String::from("pub static SHADERS: &[(&str, &str)] = &[\n");
    for (name, path) in files {
        text += &format!("    ({name:?}, include_str!({path:?})),\n");
    }
    text += "];\n";
    fs::write(Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("shaders.rs"), text).expect("OUT_DIR is writable");
}
