//! Refuses templates that nest too deeply, before they are parsed: the parser and compiler of expressions are
//! recursive, and the end of the stack is the end of a wasm instance.

/// Brackets inside each other in one tag.
const MAX_BRACKETS: usize = 40;
/// Operators in one tag: every one may be a level of the syntax tree.
const MAX_OPERATORS: usize = 250;
/// Blocks inside each other, each `elif` counted as one.
const MAX_BLOCKS: usize = 60;

/// The reason why `source` is refused, if it is.
pub(super) fn too_deep(source: &str) -> Option<String> {
    let bytes = source.as_bytes();
    // Levels that each open block stands for: one, and one for each of its `elif`s.
    let mut blocks: Vec<usize> = Vec::new();
    let mut at = 0;
    while let Some(start) = source[at..].find('{').map(|i| at + i) {
        at = start + 1;
        match bytes.get(at) {
            Some(b'#') => at = source[at..].find("#}").map_or(source.len(), |end| at + end + 2),
            Some(b'{' | b'%') => {
                let statement = bytes[at] == b'%';
                let (end, brackets, operators) = measure(bytes, at + 1);
                let line = source[..start].matches('\n').count() + 1;
                if brackets > MAX_BRACKETS || operators > MAX_OPERATORS {
                    return Some(format!("the tag in line {line} is nested too deeply"));
                }
                if statement && word_of(&source[at + 1..end]) == "raw" {
                    at = end + after_raw(&source[end..]);
                    continue;
                }
                if statement {
                    count_blocks(&source[at + 1..end], &mut blocks);
                    if blocks.iter().sum::<usize>() > MAX_BLOCKS {
                        return Some(format!("blocks are nested deeper than {MAX_BLOCKS} in line {line}"));
                    }
                }
                at = end;
            }
            _ => {}
        }
    }
    None
}

/// The first word of a statement.
fn word_of(statement: &str) -> &str {
    let inside = statement.trim_start_matches(['-', '+', ' ', '\t', '\r', '\n']);
    inside.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Bytes up to the tag that ends a raw block: nothing before it is a tag, whatever it looks like.
fn after_raw(source: &str) -> usize {
    source.match_indices("{%").find(|(i, _)| word_of(&source[i + 2..]) == "endraw").map_or(source.len(), |(i, _)| i)
}

/// Follows one statement's opening or closing of blocks.
fn count_blocks(statement: &str, blocks: &mut Vec<usize>) {
    match word_of(statement) {
        "elif" | "else" => blocks.last_mut().into_iter().for_each(|levels| *levels += 1),
        "if" | "for" | "macro" | "call" | "filter" | "with" | "block" | "autoescape" | "generation" => blocks.push(1),
        // `set` opens a block unless it assigns.
        "set" if !statement.contains('=') => blocks.push(1),
        end if end.starts_with("end") && end != "endraw" => {
            blocks.pop();
        }
        _ => {}
    }
}

/// The end of a tag, how deep its brackets go and how many operators it has. Strings count for nothing.
fn measure(bytes: &[u8], mut at: usize) -> (usize, usize, usize) {
    let (mut depth, mut deepest, mut operators) = (0usize, 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'\'' | b'"') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
            }
            b'%' | b'}' if bytes.get(at + 1) == Some(&b'}') && depth == 0 => break,
            b'(' | b'[' | b'{' => {
                depth += 1;
                operators += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'+' | b'-' | b'*' | b'/' | b'%' | b'~' | b'|' | b'.' | b'<' | b'>' | b'=' | b'!' => operators += 1,
            b if b.is_ascii_alphabetic() => {
                let end = bytes[at..].iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'_').map_or(bytes.len(), |n| at + n);
                operators += usize::from(matches!(&bytes[at..end], b"not" | b"and" | b"or" | b"in" | b"is" | b"if" | b"else"));
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    (at.min(bytes.len()), deepest, operators)
}

#[cfg(test)]
mod tests {
    use super::too_deep;

    #[test]
    fn nesting_is_measured() {
        let fine = ["{{ ((1)) }}", "{% if a %}{% else %}{% endif %}{{ '((((' * 2 }}", "{# {{ (((( #}", "no tag { (", "{{ '\\'((' }}"];
        for source in fine {
            assert_eq!(too_deep(&source.repeat(300)), None, "{source}");
        }
        for part in ["(", "[", "-", "not ", "x.", "x|f|", "a if b else ", "+1"] {
            assert!(too_deep(&format!("{{{{ {} }}}}", part.repeat(300))).is_some(), "{part}");
        }
        for part in ["{% if a %}", "{% if a %}{% set x %}", "{%- for a in b -%}{% elif c %}"] {
            assert!(too_deep(&part.repeat(61)).is_some(), "{part}");
        }
        assert!(too_deep(&format!("{{% if a %}}{}", "{% elif b %}".repeat(60))).is_some());
        assert!(too_deep(&format!("{{% raw %}}endraw {{{{ ' {{% endraw %}}{{{{ {}", "(".repeat(99))).is_some());
        assert_eq!(too_deep(&"{% raw %}{{ (((' {% if %}{% endraw %}".repeat(99)), None);
        assert_eq!(too_deep(&"{% if a %}{% elif b %}{% set x = 1 %}{% endif %}".repeat(500)), None);
        assert_eq!(too_deep(&format!("{{{{ [{}] }}}}", "1, ".repeat(5000))), None);
    }
}
