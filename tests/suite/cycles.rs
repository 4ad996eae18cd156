//! No two files of `src/` need each other, however long the way round: their imports are read and followed through re-exports to the file that
//! defines what is named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A file as a module, with what its text says about others.
struct File {
    /// Below `src/`.
    name: String,
    /// Path of the module; the binary's modules begin with `bin`, the library's root is empty.
    module: Vec<String>,
    /// What it re-exports: name → path.
    exports: BTreeMap<String, Vec<String>>,
    /// Modules that it re-exports whole.
    globs: Vec<Vec<String>>,
    /// Paths that it names, re-exports of its own parts aside.
    named: BTreeSet<Vec<String>>,
    code: String,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text without comments and unit tests.
fn code(text: &str) -> String {
    let text = text.find("#[cfg(test)]\nmod ").map_or(text, |end| &text[..end]);
    text.lines().map(|l| l.split_once("//").map_or(l, |(code, _)| code)).collect::<Vec<_>>().join("\n")
}

/// `a::{b, c::{self, d as e}}` → (path, name it has here) of each leaf.
fn leaves(tree: &str, before: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let tree = tree.trim();
    if let Some((head, rest)) = tree.split_once('{') {
        let mut path = before.to_vec();
        path.extend(head.split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_string));
        let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
        let (mut depth, mut start) = (0, 0);
        for (i, c) in body.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    leaves(&body[start..i], &path, found);
                    start = i + 1;
                }
                _ => {}
            }
        }
        return leaves(&body[start..], &path, found);
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(p, a)| (p, Some(a.trim())));
    let mut all = before.to_vec();
    all.extend(path.split("::").map(|s| s.trim().to_string()).filter(|s| !s.is_empty()));
    if all.last().is_some_and(|l| l == "self") {
        all.pop();
    }
    if !tree.is_empty()
        && let Some(last) = all.last().cloned()
    {
        found.push((all, alias.map_or(last, str::to_string)));
    }
}

/// (is it public, tree) of every `use`, and the text without them.
fn uses(code: &str) -> (Vec<(bool, String)>, String) {
    let (mut found, mut rest, mut open): (Vec<(bool, String)>, String, bool) = (Vec::new(), String::new(), false);
    for line in code.lines() {
        let t = line.trim_start();
        let after = t.strip_prefix("pub").map(|t| t.strip_prefix('(').and_then(|t| t.split_once(')')).map_or(t, |(_, t)| t).trim_start());
        if open {
            found.last_mut().expect("opened").1.push_str(t);
            open = !t.contains(';');
        } else if let Some(tree) = after.unwrap_or(t).strip_prefix("use ") {
            found.push((after.is_some(), tree.to_string()));
            open = !t.contains(';');
        } else {
            rest.push_str(line);
            rest.push('\n');
        }
    }
    found.iter_mut().for_each(|(_, tree)| *tree = tree.split(';').next().unwrap_or_default().to_string());
    (found, rest)
}

/// Paths in a text that begin with `first`, as segments behind it.
fn paths(text: &str, first: &str) -> Vec<Vec<String>> {
    let start = format!("{first}::");
    let begins = text.match_indices(&start).filter(|(at, _)| !text[..*at].ends_with(|c: char| is_word(c) || c == ':' || c == '$'));
    begins
        .map(|(at, _)| {
            let rest = &text[at + start.len()..];
            let end = rest.find(|c: char| !is_word(c) && c != ':').unwrap_or(rest.len());
            rest[..end].split("::").filter(|s| !s.is_empty()).map(str::to_string).collect()
        })
        .collect()
}

/// Every file of `src/`, by its module.
fn read(src: &Path) -> BTreeMap<Vec<String>, File> {
    fn walk(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("readable").path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(src, &mut found);
    let mut files = BTreeMap::new();
    for path in found.iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let name = path.strip_prefix(src).expect("inside").to_string_lossy().replace('\\', "/");
        let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_string).collect();
        if module[0] == "bin" {
            module.remove(1);
        }
        // The crate for the processor: fledgling re-exports its modules under their names.
        if module[0] == "compute" {
            module.remove(0);
            if module == ["lib"] {
                continue;
            }
        }
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let code = code(&fs::read_to_string(path).expect("UTF-8"));
        let file = File { name, module: module.clone(), exports: BTreeMap::new(), globs: Vec::new(), named: BTreeSet::new(), code };
        files.insert(module, file);
    }
    files
}

/// A path as it is written in `module` → from the crate's root. `None` for other crates.
fn absolute(module: &[String], path: &[String], children: &BTreeSet<String>) -> Option<Vec<String>> {
    let root = |module: &[String]| module.iter().take(1).filter(|m| *m == "bin").cloned().collect::<Vec<_>>();
    let (first, rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" => root(module),
        "fledgling" if module.first().is_some_and(|m| m == "bin") => Vec::new(),
        "self" => module.to_vec(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        child if children.contains(child) => module.iter().chain([first]).cloned().collect(),
        _ => return None,
    };
    for segment in rest {
        if segment == "super" { drop(base.pop()) } else { base.push(segment.clone()) }
    }
    Some(base)
}

/// Fills in what each file names and re-exports.
fn link(files: &mut BTreeMap<Vec<String>, File>) {
    let modules: BTreeSet<Vec<String>> = files.keys().cloned().collect();
    for file in files.values_mut() {
        let own = file.module.clone();
        let children: BTreeSet<String> =
            modules.iter().filter(|m| m.len() == own.len() + 1 && m.starts_with(&own)).filter_map(|m| m.last().cloned()).collect();
        let (trees, rest) = uses(&file.code);
        // Modules that have a name here: what stands behind that name is named, too.
        let mut local: Vec<(String, Vec<String>)> = Vec::new();
        for (public, tree) in trees {
            let mut found = Vec::new();
            leaves(&tree, &[], &mut found);
            for (path, name) in found {
                let Some(path) = absolute(&own, &path, &children) else { continue };
                if name == "*" {
                    let of = path[..path.len() - 1].to_vec();
                    if public {
                        file.globs.push(of)
                    } else {
                        _ = file.named.insert(of)
                    }
                    continue;
                }
                if public {
                    file.exports.insert(name.clone(), path.clone());
                }
                // What it re-exports of its own folder is no need of its own.
                if !public || !path.starts_with(&own) {
                    file.named.insert(path.clone());
                }
                if modules.contains(&path) {
                    local.push((name, path));
                }
            }
        }
        for first in ["crate", "super", "self", "fledgling"] {
            for path in paths(&rest, first) {
                let whole: Vec<String> = std::iter::once(first.to_string()).chain(path).collect();
                file.named.extend(absolute(&own, &whole, &children));
            }
        }
        for child in &children {
            local.push((child.clone(), own.iter().chain([child]).cloned().collect()));
        }
        for (name, module) in local {
            file.named.extend(paths(&rest, &name).into_iter().map(|path| module.iter().cloned().chain(path).collect::<Vec<_>>()));
        }
    }
}

/// True when the file defines `name` itself.
fn defines(file: &File, name: &str) -> bool {
    ["struct", "enum", "fn", "trait", "type", "const", "static", "union"].iter().any(|kind| {
        let item = format!("{kind} {name}");
        file.code.match_indices(&item).any(|(at, _)| !file.code[at + item.len()..].starts_with(is_word))
    })
}

/// The module of the file that defines what a path names.
fn definer(files: &BTreeMap<Vec<String>, File>, path: &[String], depth: usize) -> Option<Vec<String>> {
    let known = (0..=path.len()).rev().find(|n| files.contains_key(&path[..*n]))?;
    let file = &files[&path[..known]];
    let Some(name) = path.get(known).filter(|_| depth < 12) else { return Some(file.module.clone()) };
    if let Some(target) = file.exports.get(name) {
        let whole: Vec<String> = target.iter().chain(&path[known + 1..]).cloned().collect();
        return definer(files, &whole, depth + 1);
    }
    for of in &file.globs {
        if files.get(of).is_some_and(|f| defines(f, name) || f.exports.contains_key(name)) {
            let whole: Vec<String> = of.iter().chain(&path[known..]).cloned().collect();
            return definer(files, &whole, depth + 1);
        }
    }
    Some(file.module.clone())
}

/// What each file needs: module → modules.
fn needs(files: &BTreeMap<Vec<String>, File>) -> BTreeMap<&[String], BTreeSet<Vec<String>>> {
    let of = |f: &File| f.named.iter().filter_map(|p| definer(files, p, 0)).filter(|m| *m != f.module).collect();
    files.values().map(|f| (f.module.as_slice(), of(f))).collect()
}

/// The shortest way from a module back to itself.
fn way_round(needs: &BTreeMap<&[String], BTreeSet<Vec<String>>>, from: &[String]) -> Option<Vec<Vec<String>>> {
    let mut came: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([from.to_vec()]);
    while let Some(at) = queue.pop_front() {
        for next in &needs[at.as_slice()] {
            if next == from {
                let mut way = vec![at.clone()];
                while way.last().is_some_and(|m| m != from) {
                    way.push(came[way.last().expect("not empty")].clone());
                }
                way.reverse();
                return Some(way);
            }
            if !came.contains_key(next) {
                came.insert(next.clone(), at.clone());
                queue.push_back(next.clone());
            }
        }
    }
    None
}

#[test]
fn no_file_needs_itself_by_way_of_others() {
    let mut files = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    link(&mut files);
    let needs = needs(&files);
    let edges: usize = needs.values().map(BTreeSet::len).sum();
    assert!(files.len() > 100 && edges > 400, "{} files and {edges} imports: has the way they are written changed?", files.len());
    let mut found = BTreeSet::new();
    for module in files.keys() {
        if let Some(mut way) = way_round(&needs, module) {
            let least = way.iter().enumerate().min_by_key(|(_, m)| (*m).clone()).map_or(0, |(i, _)| i);
            way.rotate_left(least);
            found.insert(way.iter().map(|m| files[m].name.as_str()).collect::<Vec<_>>().join(" → "));
        }
    }
    assert!(found.is_empty(), "files that need each other:\n{}", found.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn imports_are_followed_to_where_things_are_defined() {
    let file = |name: &str, text: &str| {
        let module: Vec<String> = name.trim_end_matches(".rs").split('/').filter(|s| *s != "mod").map(str::to_string).collect();
        let (exports, globs, named) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        (module.clone(), File { name: name.into(), module, exports, globs, named, code: code(text) })
    };
    let mut files = BTreeMap::from([
        file("a/mod.rs", "mod b;\nmod c;\npub use b::{One, Two as Three};\npub(crate) use c::*;\npub fn here() {}"),
        file("a/b.rs", "use super::here;\npub struct One; // crate::d\npub struct Two;"),
        file("a/c.rs", "pub fn four() {}"),
        file("d.rs", "use crate::a::{self, Three};\nfn f() { a::four(); crate::a::here(); }\n#[cfg(test)]\nmod tests { use crate::e::X; }"),
        file("e.rs", "use crate::{\n    a::One,\n    d,\n};\nfn f() { d::f() }"),
    ]);
    link(&mut files);
    let needs = needs(&files);
    let of = |name: &str| {
        let key: Vec<String> = name.split('/').map(str::to_string).collect();
        needs[key.as_slice()].iter().map(|m| m.join("/")).collect::<Vec<_>>()
    };
    assert_eq!((of("a"), of("a/b"), of("a/c")), (vec![], vec!["a".to_string()], vec![]));
    assert_eq!((of("d"), of("e")), (vec!["a".into(), "a/b".into(), "a/c".into()], vec!["a/b".into(), "d".into()]));
    assert!(way_round(&needs, &["e".to_string()]).is_none());
}
