//! Chat templates that would hang, fill the memory or overflow the stack: each ends within two seconds in a typed error, or in a text of a
//! bounded length, on a stack as small as that of a wasm instance.

use fledgling::clock;
use fledgling::tokenizer::ChatTemplate;
use serde_json::{Map, Value as Json, json};

/// What is refused however it is looked at.
fn refused() -> Vec<(&'static str, String)> {
    let fixed = |name: &'static str, source: &str| (name, source.to_string());
    let around = |name: &'static str, open: &str, middle: &str, close: &str, n: usize| {
        (name, format!("{}{middle}{}", open.repeat(n), close.repeat(n)))
    };
    let doubled = |name: &'static str, what: &str| {
        (
            name,
            format!(
                "{{% set ns = namespace(s='ab', l=[1], d={{}}) %}}\
             {{% for i in range(60) %}}{what}{{% endfor %}}{{{{ ns.s }}}}"
            ),
        )
    };
    let nested = |name: &'static str, what: &str, then: &str| {
        (name, format!("{{% set ns = namespace(x=1) %}}{{% for i in range(100000) %}}{{% set ns.x = {what} %}}{{% endfor %}}{then}"))
    };
    let big = "{% set ns = namespace(s='ab c<') %}{% for i in range(22) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    let often = |name: &'static str, what: &str| {
        let source = format!("{big}{{% for i in range(100000) %}}{{% set ns.t = {what} %}}{{% endfor %}}");
        (name, source)
    };
    vec![
        fixed("a namespace that holds itself, printed", "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}"),
        fixed(
            "two namespaces that hold each other, printed",
            "{% set a = namespace() %}{% set b = namespace(a=[a]) %}{% set a.b = b %}{{ a }}",
        ),
        fixed("a namespace that holds itself as text", "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns | string | length }}"),
        fixed("a namespace that holds itself in a format", "{% set ns = namespace() %}{% set ns.x = ns %}{{ '%s' % [ns] }}"),
        fixed(
            "a loop that holds itself",
            "{% for x in [1] %}{% if loop.changed(loop) %}{% endif %}{{ [loop.changed(loop)] | tojson }}\
             {{ loop | tojson }}{% endfor %}",
        ),
        doubled("a text doubled sixty times", "{% set ns.s = ns.s ~ ns.s %}"),
        doubled("a sum doubled sixty times", "{% set ns.s = ns.s + ns.s %}"),
        doubled("a product doubled sixty times", "{% set ns.s = ns.s * 2 %}"),
        doubled("a list doubled sixty times", "{% set ns.l = ns.l + ns.l %}"),
        doubled("a text replaced by more of it", "{% set ns.s = ns.s | replace('a', 'aaaa') %}"),
        doubled("a text replaced by a method", "{% set ns.s = ns.s.replace('b', 'bbbb') %}"),
        doubled("a text joined with itself", "{% set ns.s = ns.s.join([ns.s, ns.s, ns.s]) %}"),
        doubled("a text joined by a filter", "{% set ns.s = [ns.s, ns.s] | join(ns.s) %}"),
        doubled("a text captured twice", "{% set t %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = t %}"),
        doubled("a text formatted twice", "{% set ns.s = '%s%s' % (ns.s, ns.s) %}"),
        doubled("a text formatted by a method", "{% set ns.s = '{0}{0}'.format(ns.s) %}"),
        doubled("a text escaped again and again", "{% set ns.s = (ns.s ~ '&&&&' | e | string ~ '') | forceescape ~ ns.s %}"),
        doubled("a list in itself, printed", "{% set ns.l = [ns.l, ns.l] %}{% if loop.last %}{{ ns.l }}{% endif %}"),
        doubled("a list in itself, as JSON", "{% set ns.l = [ns.l, ns.l] %}{% if loop.last %}{{ ns.l | tojson }}{% endif %}"),
        doubled(
            "a list in itself, compared",
            "{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% if loop.last %}\
             {{ ns.l == ns.m }}{{ ns.l }}{% endif %}",
        ),
        doubled("an object in itself, printed", "{% set ns.d = {'a': ns.d, 'b': ns.d} %}{% if loop.last %}{{ ns.d }}{% endif %}"),
        fixed("a text times a lot", "{{ 'a' * 999999999999 }}"),
        fixed("a list times a lot", "{{ [1] * 999999999999 }}"),
        fixed("a format of a huge width", "{{ '%999999999d' % 1 }}"),
        fixed("a format of a huge precision", "{{ '%.999999999f' % 1.5 }}"),
        fixed("a format of a huge given width", "{{ '%*d' % (99999999999, 1) }}"),
        fixed("a method's format of a huge width", "{{ '{:999999999}'.format(1) }}"),
        fixed("a centre of a huge width", "{{ 'a'.center(99999999999) }}{{ 'a' | center(99999999999) }}"),
        fixed("zeros of a huge width", "{{ 'a'.zfill(99999999999) }}"),
        fixed("tabs of a huge width", "{{ ('\\t' * 99).expandtabs(9999999) }}"),
        fixed("a huge range", "{{ range(10 ** 12) | list }}"),
        fixed("a huge indent", "{{ 'a\\nb' | indent(99999999999) }}{{ [1] | tojson(indent=99999999999) }}"),
        fixed("huge batches", "{{ [1] | batch(99999999999, 0) | list }}"),
        fixed("huge slices", "{{ [1] | slice(99999999999) | list }}"),
        fixed("a huge power", "{{ 10 ** 10 ** 10 }}{{ 7 ** 999999999 }}"),
        fixed(
            "nested loops",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        ),
        fixed("a macro that calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
        fixed(
            "macros that call each other",
            "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{% if true %}{{ a() | trim }}{% endif %}\
             {% endmacro %}{{ a() }}",
        ),
        fixed(
            "a macro that calls itself twice",
            "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        ),
        fixed("a macro of a macro's text", "{% macro m(s, n) %}{{ m(s ~ s, n - 1) if n else s }}{% endmacro %}{{ m('ab', 60) }}"),
        fixed("a caller that calls", "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{% call m() %}{% endcall %}"),
        fixed("a default that calls its macro", "{% macro m(a=m()) %}{% endmacro %}{{ m() }}"),
        fixed("a recursive loop without an end", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
        fixed("a recursive loop that doubles", "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}"),
        fixed("an include", "{% include 'chat' %}"),
        fixed("an import", "{% import 'chat' as c %}{{ c }}"),
        fixed("an extends", "{% extends 'chat' %}"),
        nested("a list nested 100,000 deep, printed", "[ns.x]", "{{ ns.x }}"),
        nested("a list nested 100,000 deep, dropped", "[ns.x]", ""),
        nested("a tuple nested 100,000 deep", "(ns.x, 1)", ""),
        nested("an object nested 100,000 deep", "{'x': ns.x}", ""),
        nested("keys nested 100,000 deep", "{(ns.x, 1): 1} | list | first", ""),
        nested("iterators nested 100,000 deep", "[ns.x] | map('list')", "{{ ns.x | list }}"),
        nested("groups nested 100,000 deep", "[{'a': 1, 'x': ns.x}] | groupby('a')", ""),
        nested("batches nested 100,000 deep", "[ns.x] | batch(1) | list", ""),
        nested("methods nested 100,000 deep", "[ns.x].index", "{{ ns.x.y.z }}"),
        nested("cyclers nested 100,000 deep", "cycler(ns.x)", "{{ ns.x.current.current | tojson }}"),
        often("a long text replaced often", "ns.s | replace('a', 'b')"),
        often("a long text made upper often", "ns.s | upper"),
        often("a long text split often", "ns.s.split() | length"),
        often("a long text searched often", "ns.s.find('zz')"),
        often("a long text counted often", "ns.s | length"),
        often("a long text as JSON often", "ns.s | tojson"),
        often("a long text's words counted often", "ns.s | wordcount"),
        often("a long text wrapped often", "ns.s | wordwrap(10)"),
        often("a long text escaped often", "ns.s | e"),
        often("a long text turned often", "ns.s | reverse"),
        often("a long text's letters often", "ns.s | list | length"),
        often("a long text's slice often", "ns.s[::2]"),
        often("a long text's last letter often", "ns.s[-1] ~ ns.s[1000000]"),
        often("a long text compared often", "ns.s == ns.s ~ ''"),
        often("a long text looked for often", "'zz' in ns.s"),
        often("a long text stripped often", "ns.s.strip('ab c')"),
        often("a long text encoded often", "ns.s | urlencode"),
        often("a long text's tags often", "ns.s | striptags"),
        often("a long text's kinds often", "ns.s.isalpha() or ns.s.istitle()"),
        fixed(
            "a long list sorted by an attribute often",
            "{% set l = range(100000) | list %}{% for i in range(1000) %}\
             {% set x = l | sort(attribute='real') %}{% endfor %}",
        ),
        fixed("what is unique in a long list", "{{ range(100000) | unique | list | length }}"),
        fixed("a long list grouped often", "{% for i in range(1000) %}{% set x = range(100000) | list | groupby('real') %}{% endfor %}"),
        fixed("a long list joined often", "{% for i in range(1000) %}{% set x = range(100000) | join('-') %}{% endfor %}"),
        fixed(
            "a long list of long lists",
            "{% set l = range(100000) | list %}{% set ns = namespace(l=[]) %}{% for i in range(1000) %}\
             {% set ns.l = ns.l + [l + l] %}{% endfor %}",
        ),
        fixed("lists looked through often", "{% set l = range(100000) | list %}{% for i in l %}{% if -1 in l %}{% endif %}{% endfor %}"),
        fixed(
            "many keys",
            "{% set ns = namespace(d={}) %}{% for i in range(100000) %}{% set ns.d = dict(ns.d, **{i | string: i}) %}{% endfor %}",
        ),
        fixed(
            "many fields of a namespace",
            "{% set ns = namespace(**dict(range(100000) | map('string') | batch(2, 'x'))) %}\
             {% for i in range(100000) %}{% set ns.zz = i %}{% endfor %}",
        ),
        fixed(
            "many chains of namespaces",
            "{% set ns = namespace() %}{% for i in range(100000) %}{% set ns.x = namespace(x=ns.x) %}\
             {% endfor %}{{ ns }}",
        ),
        fixed(
            "many loops that remember each other",
            "{% set ns = namespace(l=0) %}{% for i in range(100000) %}{% for j in [1] %}\
             {% if loop.changed(ns.l) %}{% endif %}{% set ns.l = loop %}{% endfor %}{% endfor %}{{ ns.l | tojson }}",
        ),
        fixed(
            "a long output",
            "{% for i in range(100000) %}{% for j in range(1000) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        ),
        ("brackets in the source", format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000))),
        ("lists in the source", format!("{{{{ {}1{} }}}}", "[".repeat(50_000), "]".repeat(50_000))),
        ("objects in the source", format!("{{{{ {}1{} }}}}", "{'a':".repeat(50_000), "}".repeat(50_000))),
        ("calls in the source", format!("{{{{ {}1{} }}}}", "f(".repeat(50_000), ")".repeat(50_000))),
        ("indices in the source", format!("{{{{ {}1{} }}}}", "x[".repeat(50_000), "]".repeat(50_000))),
        ("nots in the source", format!("{{{{ {}1 }}}}", "not ".repeat(50_000))),
        ("minuses in the source", format!("{{{{ {}1 }}}}", "-".repeat(50_000).replace("--", "- -"))),
        ("dots in the source", format!("{{{{ x{} }}}}", ".y".repeat(50_000))),
        ("filters in the source", format!("{{{{ x{} }}}}", "|trim".repeat(50_000))),
        ("tests in the source", format!("{{{{ x{} }}}}", " is defined".repeat(50_000))),
        ("conditions in the source", format!("{{{{ {}1 }}}}", "1 if x else ".repeat(50_000))),
        ("conditions behind each other", format!("{{{{ 1{} }}}}", " if x".repeat(50_000))),
        ("powers in the source", format!("{{{{ 2{} }}}}", " ** 2".repeat(50_000))),
        ("targets in the source", format!("{{% set {}x{} = 1 %}}", "(".repeat(50_000), ")".repeat(50_000))),
        around("ifs in the source", "{% if x %}", "", "{% endif %}", 20_000),
        around("loops in the source", "{% for x in y %}", "", "{% endfor %}", 20_000),
        around("macros in the source", "{% macro m() %}", "", "{% endmacro %}", 20_000),
        around("sets in the source", "{% set x %}", "", "{% endset %}", 20_000),
        around("filters of blocks in the source", "{% filter trim %}", "", "{% endfilter %}", 20_000),
        around("calls of blocks in the source", "{% call m() %}", "", "{% endcall %}", 20_000),
        around("generations in the source", "{% generation %}", "", "{% endgeneration %}", 20_000),
        ("open brackets", format!("{{{{ {}", "(".repeat(100_000))),
        ("a long source", "x".repeat(2 << 20)),
        ("many parts", "{{x}}".repeat(100_000)),
        ("a huge number", format!("{{{{ {} }}}}", "9".repeat(100_000))),
        ("a text without an end", format!("{{{{ '{}", "x".repeat(500_000))),
        ("a comment without an end", format!("{{# {}", "x".repeat(500_000))),
    ]
}

/// What may end either way, and does end.
fn bounded() -> Vec<(&'static str, String)> {
    vec![
        ("many branches", format!("{{% if x %}}{}{{% endif %}}", "{% elif x %}a".repeat(20_000))),
        ("a long sum", format!("{{{{ 1{} }}}}", " + 1".repeat(50_000))),
        ("a long comparison", format!("{{{{ 1{} }}}}", " < 1".repeat(50_000))),
        ("a long concatenation", format!("{{{{ 1{} }}}}", " ~ 1".repeat(50_000))),
        ("a long or", format!("{{{{ 0{} }}}}", " or 0".repeat(50_000))),
        ("a long list", format!("{{{{ [{}] | length }}}}", "1, ".repeat(50_000))),
        ("a long object", format!("{{{{ {{{}}} | length }}}}", (0..20_000).map(|i| format!("'{i}': 1, ")).collect::<String>())),
        ("many arguments", format!("{{% macro m() %}}{{{{ varargs | length }}}}{{% endmacro %}}{{{{ m({}1) }}}}", "1, ".repeat(50_000))),
        ("many keywords", {
            let all: String = (0..9_000).map(|i| format!("a{i}=1, ")).collect();
            format!("{{{{ dict({all}) | length }}}}")
        }),
        ("many open tags of raw", "{% raw %}".repeat(50_000)),
        ("many texts behind each other", format!("{{{{ {} | length }}}}", "'x' ".repeat(50_000))),
        ("a chain of namespaces that is only dropped", {
            "{% set ns = namespace() %}{% for i in range(90000) %}{% set ns.x = namespace(x=ns.x) %}{% endfor %}done".into()
        }),
        (
            "many macros kept",
            "{% set ns = namespace(l=[]) %}{% for i in range(90000) %}{% macro m() %}{% endmacro %}{% set ns.m = m %}\
             {% endfor %}done"
                .into(),
        ),
        ("a namespace that is only held by itself", "{% set ns = namespace() %}{% set ns.x = [ns, {'a': ns}] %}done".into()),
    ]
}

/// On a stack of 1 MiB where there are threads; a wasm instance has no more.
#[cfg(not(target_arch = "wasm32"))]
fn small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap()
}

#[cfg(target_arch = "wasm32")]
fn small_stack<T>(run: impl FnOnce() -> T) -> T {
    run()
}

/// What became of a template, and in how many seconds.
fn tried(source: &str) -> (fledgling::Result<String>, f64) {
    let messages: [Json; 1] = [json!({"role": "user", "content": "a<b"})];
    let start = clock::seconds();
    let found = ChatTemplate::new(source, None, None).and_then(|t| t.render(&messages, true, &Map::new()));
    (found, clock::seconds() - start)
}

/// A debug build on a busy machine is many times slower than what people have.
const SECONDS: f64 = if cfg!(debug_assertions) { 12.0 } else { 2.0 };

fl_test! {
    async fn hostile_templates_end_in_an_error() {
        let done = small_stack(|| refused().into_iter().map(|(name, source)| (name, tried(&source))).collect::<Vec<_>>());
        assert!(done.len() >= 100);
        for (name, (found, seconds)) in done {
            report!("{seconds:.3} s: {name}");
            match found {
                Ok(text) => panic!("{name}: rendered {} bytes", text.len()),
                Err(e) => assert!(e.code() == "bad-template" && e.to_string().len() < 10_000, "{name}: {e}"),
            }
            assert!(seconds < SECONDS, "{name}: {seconds} s");
        }
    }

    async fn large_templates_end() {
        for (name, (found, seconds)) in small_stack(|| bounded().into_iter().map(|(name, source)| (name, tried(&source))).collect::<Vec<_>>()) {
            report!("{seconds:.3} s: {name}: {:?}", found.as_ref().map_or_else(|e| e.to_string(), |t| format!("{} bytes", t.len())));
            assert!(seconds < SECONDS, "{name}: {seconds} s");
        }
    }

    /// Long conversations are no attack.
    async fn long_conversations_are_rendered() {
        let template = "{% set ns = namespace(all='') %}{% for m in messages %}\
             {% set ns.all = ns.all ~ '<' ~ m.role ~ '>' ~ m.content | trim | replace('a', 'b') ~ '\\n' %}{% endfor %}{{ ns.all }}";
        let messages: Vec<Json> = (0..2000).map(|i| json!({"role": "user", "content": format!("{i} {}", "abc ".repeat(50))})).collect();
        let template = ChatTemplate::new(template, None, None).unwrap();
        let text = template.render(&messages, true, &Map::new()).unwrap();
        assert!(text.len() > 400_000, "{}", text.len());
        // What a stranger's template left behind does not count against the next.
        for _ in 0..20 {
            let hostile = ChatTemplate::new("{% set ns = namespace(s='abcdefgh') %}{% for i in range(30) %}{% set ns.s = ns.s ~ ns.s %}\
             {% endfor %}", None, None);
            assert!(hostile.unwrap().render(&messages, true, &Map::new()).is_err());
            assert_eq!(template.render(&messages, true, &Map::new()).unwrap().len(), text.len());
        }
        let long = [json!({"role": "user", "content": "x".repeat(5 << 20)})];
        assert_eq!(ChatTemplate::new("{{ messages[0].content | trim }}", None, None).unwrap().render(&long, true, &Map::new()).unwrap().len(), 5 << 20);
    }
}
