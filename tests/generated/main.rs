//! What is made from the table of methods: the package's types, the page's form and charts, docs/methods.md. `cargo test --test generated` fails
//! where a file is not what the table gives; `UPDATE=1 cargo test --test generated` writes them.

mod markdown;
mod typescript;

use std::fs;
use std::path::Path;

#[test]
fn generated_files_are_what_the_table_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut stale = Vec::new();
    for (path, text) in [
        ("www/src/lib/generated/methods.ts", typescript::methods()),
        ("www/src/lib/generated/trainers.ts", typescript::trainers()),
        ("www/src/lib/generated/stored.ts", typescript::stored()),
        ("www/src/page/generated/form.ts", typescript::form()),
        ("docs/methods.md", markdown::methods()),
    ] {
        let file = root.join(path);
        if fs::read_to_string(&file).is_ok_and(|t| t == text) {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(file.parent().expect("a folder")).expect("writable");
            fs::write(&file, text).expect("writable");
        } else {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "not what src/tune/methods gives, run UPDATE=1 cargo test --test generated: {}", stale.join(", "));
}
