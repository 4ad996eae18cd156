//! Chat templates against Transformers' own rendering (`tests/oracle/templates.py`): the same text, or an error.

use fledgling::tokenizer::ChatTemplate;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

static RENDERED: &str = include_str!("../fixtures/tokenizer/rendered.json");

/// What Transformers renders and we refuse: the case, its template or a part of it, and why.
const REFUSED: [(&str, &str, &str); 9] = [
    ("strings_24", ".encode()", "bytes are no value of ours"),
    ("filters_65", "| urlize", "pages are made of it, chats are not"),
    ("filters_68", "well-known", "wordwrap with breaks at hyphens: Python's rules for them are a regular expression of their own"),
    ("globals_17", "{{ self }}", "prints an inner object"),
    ("globals_18", "{{ cycler }}", "prints an inner object"),
    ("globals_19", "m.name", "attributes of macros"),
    ("globals_24", "{{ ns }}", "a namespace that holds itself, printed"),
    ("macro_17", "ns.m()", "a macro that outlives the loop it was made in: Jinja prints \"missing\" for the loop's variables"),
    ("blocks_13", "{% autoescape true %}", "pages are escaped, chats are not"),
];

#[derive(Deserialize)]
struct Rendered {
    inputs: Map<String, Json>,
    templates: Map<String, Json>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    template: Option<String>,
    of: Option<String>,
    inputs: String,
    text: Option<String>,
}

fn render(source: &str, inputs: &Json) -> fledgling::Result<String> {
    let mut variables = inputs.as_object().unwrap().clone();
    let messages = variables.shift_remove("messages").unwrap();
    let prompt = variables.shift_remove("add_generation_prompt").unwrap().as_bool().unwrap();
    ChatTemplate::new(source, Some("<s>"), Some("</s>"))?.render(messages.as_array().unwrap(), prompt, &variables)
}

fl_test! {
    async fn templates_render_as_in_transformers() {
        let all: Rendered = serde_json::from_str(RENDERED).unwrap();
        assert!(all.cases.len() >= 600 && all.templates.len() >= 12);
        let mut refused: Vec<&str> = Vec::new();
        for case in &all.cases {
            let source = case.template.as_deref().or_else(|| all.templates[case.of.as_ref().unwrap()].as_str()).unwrap();
            match (render(source, &all.inputs[&case.inputs]), &case.text) {
                (Ok(found), Some(text)) => assert_eq!(&found, text, "{}", case.name),
                (Err(e), None) => assert_eq!(e.code(), "bad-template", "{}", case.name),
                (Ok(found), None) => panic!("{}: rendered {found:?}, Transformers raises an error", case.name),
                (Err(e), Some(text)) => {
                    let known = REFUSED.iter().find(|r| r.0 == case.name && source.contains(r.1));
                    assert!(known.is_some(), "{}: {e}, expected {text:?}", case.name);
                    refused.push(&case.name);
                }
            }
        }
        assert_eq!(refused, REFUSED.map(|r| r.0), "what is refused");
    }

    /// An error says what is not supported, and where.
    async fn refusals_name_the_filter_and_the_line() {
        for (source, words) in [
            ("a\n{{ 'x' | urlize }}", "the filter urlize: is not supported (line 2)"),
            ("\n\n{{ 'x' | no_such }}", "No filter named 'no_such' (line 3)"),
            ("{% if true %}\n{{ 1 is no_such }}{% endif %}", "the test no_such: No test named 'no_such' (line 2)"),
            ("\n{{ tools | length }}", "the filter length: object of type 'NoneType' has no len() (line 2)"),
            ("\n{{ x.y.z }}", "'x' is undefined (line 2)"),
            ("{{ messages[0].x.y }}", "'dict object' has no attribute 'x' (line 1)"),
            ("\n{{ 'a'.upper(1) }}", "str.upper(): 1 arguments are too many, at most 0 are taken (line 2)"),
            ("\n{% for x in 5 %}{% endfor %}", "'int' object is not iterable (line 2)"),
            ("{% unknown %}", "Encountered unknown tag 'unknown' (line 1)"),
            ("{% for x in y %}", "unexpected end of template, expected endfor or else (line 1)"),
            ("{{ lipsum() }}", "it gives another text each time (line 1)"),
            ("{{ raise_exception('as it was said') }}", "chat template: as it was said"),
        ] {
            let inputs = json!({"messages": [{"role": "user", "content": "x"}], "add_generation_prompt": true});
            let e = render(source, &inputs).unwrap_err();
            assert!(e.to_string().ends_with(words), "{source}: {e}");
        }
    }
}
