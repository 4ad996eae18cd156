"""Fixtures of the tokenizer and of chat templates, from the `tokenizers` and `jinja2` packages.

python tests/oracle/tokenizer.py                 # writes tests/fixtures/tokenizer/*.json
python tests/oracle/tokenizer.py --model F.gguf  # also smollm2.json, from the vocabulary in that file

Needs: tokenizers, jinja2.
"""

import argparse
import json
import random
import struct
from datetime import datetime
from pathlib import Path

from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizer_shapes import shapes

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "tokenizer"

WORDS = "'s|'t|'re|'ve|'m|'ll|'d"
LLAMA3 = rf"(?i:{WORDS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}%s| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def regex_split(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


PRE = {
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "llama-bpe": lambda: regex_split(LLAMA3 % "{1,3}"),
    "qwen2": lambda: regex_split(LLAMA3 % ""),
}

TEXTS = [
    "",
    " ",
    "Hello, world!",
    "  two spaces, a\ttab,\n\n\ntwo empty lines\r\nand Windows'  ",
    "I'll say it's what we've got; they'd DON'T 'S 'LL 'Re '\u017f 'x ''s",
    "Numbers: 1 12 123 1234 12345, 3.14159, 1,000,000, 0x7fff, ½ ² Ⅻ ١٢٣ 四",
    "def f(x):\n    return {k: v for k, v in x.items() if v != 0}  # comment\n\n\n\tif (a && b) { i++; }\n",
    "Ünïcödé: naïve café, Straße, ΑΒΓ αβγ, Привет мир, שלום, مرحبا بالعالم, नमस्ते दुनिया, ภาษาไทย",
    "中文字符和標點。日本語のテキスト、カタカナ。한국어 텍스트.",
    "Emoji: 😀 👩‍👩‍👧‍👦 🇩🇪 ❤️ ☃ and combining e\u0301 a\u0308\u0323, ZWJ \u200d, NBSP\u00a0here, thin\u2009space, \u3000wide",
    "https://example.org/a?b=c&d=%20#e user@example.com $100 50% #tag @name ~/path C:\\dir",
    "…—–“quotes”‘single’«guillemets» ¿qué? ¡sí! ©®™ 10€ £5 ¥7",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa          bbbbbbbbbbbbbbbbbbbbbb\n\n\n\n\n\n\n\n",
    "the the  the   the\nthe\n the \n  the\r\rthe \r\n the",
    "\u2028line\u2029paragraph\u0085next\x0bvertical\x0cform\x1cfile\x00nul\x7fdel\ufeffbom",
    "ⓐⓑ 🄰 ʰʲ ᵃ ª º ǅ \u0345 \u093e\u0940 \u1d2c ℵ ℓ ꙮ 𝒳𝓎 𐍈 \U00020000",
    "A<|special|>B <|special|> C<|spec<|special|>ial|> <tool_call>x</tool_call>  <|strip|>  y",
    "mixed123abc 12ab34 a1b2 v1.2.3-rc4 2026-11-23T10:20:30Z",
]


def random_texts(n, seed):
    rng = random.Random(seed)
    pools = [
        "abc THE the ing 's 'll '",
        " \t\n\r  \u00a0\u3000\u2003",
        "0123456789٣½Ⅷ四",
        "!?.,;:-_()[]{}<>|\\/\"'`~@#$%^&*+=",
        "äéñßøΩжשمनไ中あ한ʼ\u0301\u0940\u20dd😀🇩🇪\u200d",
    ]
    texts = []
    for _ in range(n):
        text = "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(1, 40)))
        texts.append(text)
    return texts


def tiny_model():
    """A BPE model of 700 tokens with every byte, trained on the texts above."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = PRE["gpt-2"]()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        min_frequency=1,
        special_tokens=[],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return json.loads(tokenizer.to_str())["model"]


def build(model, pre, ignore_merges=False):
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = PRE[pre]()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|special|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>", normalized=False)])
    tokenizer.add_special_tokens([AddedToken("<|strip|>", lstrip=True, rstrip=True, normalized=False)])
    return tokenizer


def cases(tokenizer, texts):
    out = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        out.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    return out


def tiny():
    model = tiny_model()
    out = {"model": model, "tokenizers": {}}
    texts = TEXTS + random_texts(60, 1)
    for pre in PRE:
        tokenizer = build(model, pre)
        file = json.loads(tokenizer.to_str())
        file["model"] = None  # the shared one above
        out["tokenizers"][pre] = {"file": file, "cases": [[c["text"], c["ids"]] for c in cases(tokenizer, texts)]}
    # A bos token, and whole pieces before merges.
    tokenizer = build(model, "llama-bpe", ignore_merges=True)
    bos = tokenizer.token_to_id("<|special|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|special|> $A", pair="<|special|> $A <|special|> $B", special_tokens=[("<|special|>", bos)]
    )
    file = json.loads(tokenizer.to_str())
    file["model"] = None
    with_bos = [[t, tokenizer.encode(t).ids] for t in texts]
    out["tokenizers"]["with_bos"] = {"file": file, "ignore_merges": True, "cases": with_bos}
    return out


# SentencePiece's kind: ▁ for a space, by a normalizer (Llama 2) or by a pre-tokenizer (Mistral, newer conversions).
SPM = {
    "llama": (lambda: normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), lambda: None),
    "metaspace_first": (lambda: None, lambda: pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)),
    "metaspace_never": (lambda: None, lambda: pre_tokenizers.Metaspace("▁", prepend_scheme="never", split=False)),
    "metaspace_words": (lambda: None, lambda: pre_tokenizers.Metaspace("▁", prepend_scheme="always", split=True)),
}


def spm_model():
    """Pieces in the order of Llama 2: three control tokens, 256 bytes, then what merging learns, the earliest with the highest score.

    As Transformers converts such models: every split of a piece into two pieces is a merge, those of high scores first.
    """
    learner = Tokenizer(models.BPE())
    learner.normalizer = SPM["llama"][0]()
    learner.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="never", split=True)  # pieces begin with ▁ or have none
    common = sorted(set("".join(TEXTS[:7])) - {" "})
    trainer = trainers.BpeTrainer(vocab_size=420, min_frequency=2, initial_alphabet=common, show_progress=False)
    learner.train_from_iterator(TEXTS[:7] * 3, trainer)
    learned = sorted(json.loads(learner.to_str())["model"]["vocab"].items(), key=lambda t: t[1])
    merged = ["▁▁", "▁▁▁▁"] + [t for t, _ in learned if len(t) > 1]  # and runs of spaces, as Llama 2 has them
    single = [t for t, _ in learned if len(t) == 1]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + merged + single
    vocab = {t: i for i, t in enumerate(tokens)}
    pieces = set(merged) | set(single)
    merges = []
    for piece in merged:
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        merges += sorted([s for s in splits if set(s) <= pieces], key=lambda s: (vocab[s[0]], vocab[s[1]]))
    return tokens, merges


def spm():
    tokens, merges = spm_model()
    vocab = {t: i for i, t in enumerate(tokens)}
    out = {"tokens": tokens, "merges": merges, "tokenizers": {}}
    texts = TEXTS + ["<s>user</s> hi<s> there</s>", " ▁ literal▁sign"] + random_texts(40, 3)
    for name, (normalizer, pre) in SPM.items():
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        if normalizer() is not None:
            tokenizer.normalizer = normalizer()
        if pre() is not None:
            tokenizer.pre_tokenizer = pre()
        strip = [] if name == "metaspace_never" else [decoders.Strip(" ", 1, 0)]
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
        tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in tokens[:3]])
        file = json.loads(tokenizer.to_str())
        file["model"] |= {"vocab": None, "merges": None}  # shared, above
        out["tokenizers"][name] = {"file": file, "cases": [[c["text"], c["ids"], c["decoded"]] for c in cases(tokenizer, texts)]}
    return out


def read_gguf(path):
    """The metadata of a GGUF."""
    plain = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    with open(path, "rb") as f:

        def number(fmt):
            return struct.unpack("<" + fmt, f.read(struct.calcsize(fmt)))[0]

        def text():
            return f.read(number("Q")).decode()

        def value(kind):
            if kind == 8:
                return text()
            if kind == 9:
                element, n = number("I"), number("Q")
                return [value(element) for _ in range(n)]
            return number(plain[kind])

        assert f.read(4) == b"GGUF"
        number("I"), number("Q")
        return {text(): value(number("I")) for _ in range(number("Q"))}


def smollm2(path):
    """Ids of the texts and of some chats with the vocabulary and the template of SmolLM2."""
    meta = read_gguf(path)
    tokens = meta["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = PRE[meta["tokenizer.ggml.pre"]]()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([t for t, kind in zip(tokens, meta["tokenizer.ggml.token_type"]) if kind == 3])
    texts = TEXTS + ["<|im_start|>user\nHi 42<|im_end|>\n<|endoftext|>"] + random_texts(40, 2)
    chats = []
    template = environment().from_string(meta["tokenizer.chat_template"])
    for chat in CHATS[:4]:
        text = template.render(messages=chat, add_generation_prompt=True)
        chats.append({"messages": chat, "text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids})
    return {"cases": [[c["text"], c["ids"]] for c in cases(tokenizer, texts)], "chats": chats}


CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ALTERNATING = """{{ bos_token }}
{%- if messages[0].role == 'system' %}
    {%- set system = messages[0].content | trim %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set system = none %}
    {%- set rest = messages %}
{%- endif %}
{%- for m in rest %}
    {%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate: user, assistant, user, …') }}
    {%- endif %}
    {%- if m.role == 'user' %}
        {{- '[INST] ' ~ (system ~ '\n\n' if loop.first and system is not none else '') ~ m.content.strip() ~ ' [/INST]' }}
    {%- elif m['role'] == 'assistant' %}
        {{- ' ' + m['content'] | trim + eos_token }}
    {%- else %}
        {{- raise_exception("No role " + m.role | upper) }}
    {%- endif %}
{%- endfor %}
"""
TOOLS = """{%- macro block(role, text, sep='\n') -%}
<|{{ role }}|>{{ sep }}{{ text }}<|end|>
{% endmacro -%}
{% set ns = namespace(last=-1, n=0) %}
{% for m in messages %}
{% if m.role == "user" and not (m.content.startswith('<tool>') and m.content.endswith(('</tool>', '?'))) %}
{% set ns.last = loop.index0 %}
{% endif %}
{% set ns.n = ns.n + 1 %}
{% endfor %}
{% if tools %}
{{ block('tools', tools | tojson) }}{{ tools | tojson(indent=2) }}
{% for t in tools if t.name is defined %}
- {{ t['name'] }}: {{ t.get('about', 'no words') | default('-', true) | replace("'", '"') | capitalize }} {{ t.keys() | list | join('/') }}
{% for k, v in t.items() %}{{ k }}={{ v if v is string else v | tojson }};{% endfor %}

{% endfor %}
{% endif %}
{%- for m in messages %}
  {%- if m.role == 'skip' %}{% continue %}{% endif %}
  {%- if m.content is string %}
    {%- set parts = m.content.split('</think>') %}
    {%- if loop.index0 > ns.last or loop.last %}
      {{- block(m.role, m.content) }}
    {%- else %}
      {{- block(m.role, parts[-1].lstrip('\n'), sep=': ') }}
    {%- endif %}
  {%- elif m.content is iterable %}
    {%- for part in m.content if part.type == 'text' %}{{ part.text }}{% if not loop.last %}, {% endif %}{% endfor %}
  {%- endif %}
  {%- if m.role == 'stop' %}{% break %}{% endif %}
{%- endfor %}
{{ messages | length }} {{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list | length }} {{ ns.n }} \
{{ true }} {{ none }} {{ undefined_thing }}|{{ 7 // 2 }} {{ 2 ** 3 }} {{ 'ab' * 2 }} {{ messages[::-1][0].role }}
{%- generation %}{{ 'x' in ['x', 'y'] }}{% endgeneration %}
{{- range(3) | join('') }} {{ strftime_now('%d') | length }}
"""

CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "system", "content": " Short answers. "}, {"role": "user", "content": " Hi\n"}],
    [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "<tool>1</tool>"},
        {"role": "assistant", "content": "<think>hm</think>\n\nYes, \"quoted\" <b> & 'x' ü"},
        {"role": "user", "content": "And now?"},
    ],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
    [{"role": "assistant", "content": "starts wrongly"}],
    [{"role": "user", "content": "a"}, {"role": "skip", "content": "never"}, {"role": "stop", "content": "z"}, {"role": "user", "content": "late"}],
    [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "image"}, {"type": "text", "text": "two"}]}],
]
TOOL_LIST = [{"name": "add", "about": "adds 'numbers'", "arguments": {"b": [1, 2.5, None, True], "a": "ü<&>"}}, {"other": {}}, {"name": "sub"}]


def environment():
    """As Transformers sets it up."""

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise ValueError(message)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.now().strftime(f)
    return env


def templates():
    env = environment()
    out = []
    for name, source in [("chatml", CHATML), ("alternating", ALTERNATING), ("tools", TOOLS)]:
        # Transformers' own extension, which renders its body.
        compiled = env.from_string(source.replace("{%- generation %}", "{%- if true %}").replace("{% endgeneration %}", "{% endif %}"))
        for chat in CHATS:
            for prompt in [False, True]:
                for tools in [None, TOOL_LIST] if name == "tools" else [None]:
                    case = {"template": name, "messages": chat, "add_generation_prompt": prompt, "tools": tools}
                    try:
                        case["text"] = compiled.render(
                            messages=chat, add_generation_prompt=prompt, tools=tools, bos_token="<s>", eos_token="</s>"
                        )
                    except ValueError as e:
                        case["error"] = str(e)
                    except Exception:
                        case["error"] = ""
                    out.append(case)
    return {"templates": {"chatml": CHATML, "alternating": ALTERNATING, "tools": TOOLS}, "cases": out}


def write(name, value):
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(OUT / name, (OUT / name).stat().st_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="the GGUF of SmolLM2")
    args = parser.parse_args()
    write("tiny.json", tiny())
    write("spm.json", spm())
    write("shapes.json", shapes(tiny_model(), *spm_model()))
    write("templates.json", templates())
    if args.model:
        write("smollm2.json", smollm2(args.model))


if __name__ == "__main__":
    main()
