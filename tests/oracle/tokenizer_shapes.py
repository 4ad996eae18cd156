"""Tokenizers of every shape that is read: each normalizer, pre-tokenizer, post-processor and decoder at least once.

`tokenizer.py` writes tests/fixtures/tokenizer/shapes.json from them. Besides, random texts can be compared with a command line that is built:

python tests/oracle/tokenizer_shapes.py --compare target/debug/fledgling [--seed 1] [--only NAME …]

Needs: tokenizers.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, processors
from tokenizers import normalizers as N
from tokenizers import pre_tokenizers as P

# Short and hard: emoji and joiners, scripts, marks, line ends, digits, contractions, spaces, special tokens, look-alikes of byte tokens.
HARD = [
    "",
    " Hello  world ",
    "I'LL say it'\u017f WE'VE\r\n\r\n\tend ",
    "12345678 1,234 ½Ⅻ٣ v1.2",
    "e\u0301 cafe\u0301 Vie\u0323\u0302t \u1112\u1161\u11ab ﬁ① Å\u212b İ ΑΣ",
    "中文、日本 ไทย مرحبا 👩\u200d👩 🇩🇪❤️",
    "A<|special|>B <|strip|> key keys\u00a0ABC  rr \n mid x",
    "<s>user</s> <0x41> ▁ a\u3000b\u2028c",
    "def f(x):\n    return {k: v} # ok;;;   \n\n\n",
    "aaaaaaaaaaaaaaab",
]

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
CAPITAL, SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def cased(suffix):
    start = r"[^\r\n\p{L}\p{N}]?"
    return f"{start}{CAPITAL}*{SMALL}+{suffix}|{start}{CAPITAL}+{SMALL}*{suffix}"


GPT4O = cased(CONTRACTIONS + "?") + r"|\p{N}{1,3}|" + SIGNS
TEKKEN = cased("") + r"|\p{N}|" + SIGNS
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN35 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]
POSSESSIVE = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
# Shapes that GGUF names as well: the same ids are expected from `tokenizer.ggml.pre`.
NAMED = {
    "llama3": "llama-bpe",
    "gpt4o": "gpt-4o",
    "tekken": "tekken",
    "qwen35": "qwen35",
    "deepseek": "deepseek-v3",
    "digits": "smollm",
    "tiny_aya": "tiny_aya",
    "superbpe": "superbpe",
    "possessive": "bailingmoe",
    "bloom": "bloom",
    "byte_level": "gpt-2",
    "default": "default",
    "falcon": "falcon",
    "deepseek_coder": "deepseek-coder",
}


class Shapes:
    """`model`: a byte-level BPE model; `tokens`, `merges`: one of characters."""

    def __init__(self, model, tokens, merges):
        self.model, self.tokens, self.merges = model, tokens, merges

    def bytes(self, pre=None, normalizer=None, post=None, added=(), **fields):
        merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in self.model["merges"]]
        t = Tokenizer(models.BPE(vocab=self.model["vocab"], merges=merges, **fields))
        if normalizer:
            t.normalizer = normalizer
        t.pre_tokenizer = pre or P.ByteLevel(add_prefix_space=False)
        if post:
            t.post_processor = post
        t.decoder = decoders.ByteLevel()
        t.add_special_tokens(["<|special|>"])
        t.add_tokens(list(added))
        t.add_special_tokens([AddedToken("<|strip|>", lstrip=True, rstrip=True, normalized=False)])
        return t

    def chars(self, normalizer, pre, decoder, **fields):
        fields = {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"} | fields
        t = Tokenizer(models.BPE(vocab={x: i for i, x in enumerate(self.tokens)}, merges=self.merges, **fields))
        if normalizer:
            t.normalizer = normalizer
        if pre:
            t.pre_tokenizer = pre
        if decoder:
            t.decoder = decoder
        t.add_special_tokens([AddedToken(x, normalized=False) for x in self.tokens[:3]])
        return t

    def all(self):
        end = P.ByteLevel(add_prefix_space=False, use_regex=False)
        then = lambda *steps: P.Sequence([*steps, end])
        split = lambda *patterns: then(*[P.Split(Regex(p), behavior="isolated") for p in patterns])
        vocab = self.model["vocab"]
        added = [
            AddedToken("key", single_word=True, normalized=False),
            AddedToken("café", normalized=True),
            AddedToken("ABC", normalized=True, lstrip=True),
            AddedToken(" mid ", normalized=False),
            AddedToken("rr", rstrip=True, normalized=False),
        ]
        gpt2 = P.ByteLevel(add_prefix_space=False)
        own = P.ByteLevel(add_prefix_space=False, use_regex=True)
        out = {
            "byte_level": self.bytes(),
            "prefix_space": self.bytes(P.ByteLevel(add_prefix_space=True)),
            "trim_offsets": self.bytes(post=processors.ByteLevel(trim_offsets=True)),
            "trim_prefix": self.bytes(P.ByteLevel(add_prefix_space=True), post=processors.ByteLevel(trim_offsets=True, add_prefix_space=True)),
            "trim_no_prefix": self.bytes(P.ByteLevel(add_prefix_space=True), post=processors.ByteLevel(trim_offsets=True, add_prefix_space=False)),
            "roberta": self.bytes(post=processors.RobertaProcessing(("a", vocab["a"]), ("b", vocab["b"]))),
            "bert": self.bytes(post=processors.BertProcessing(("a", vocab["a"]), ("b", vocab["b"]))),
            "template": self.bytes(
                post=processors.Sequence(
                    [
                        processors.ByteLevel(trim_offsets=False),
                        processors.TemplateProcessing(single="a $A b", pair="$A $B", special_tokens=[("a", vocab["a"]), ("b", vocab["b"])]),
                    ]
                )
            ),
            "added": self.bytes(added=added),
            "added_lowercase": self.bytes(normalizer=N.Lowercase(), added=added),
            "added_nfd": self.bytes(normalizer=N.NFD(), added=added),
            "llama3": self.bytes(split(LLAMA3), ignore_merges=True),
            "gpt4o": self.bytes(split(GPT4O)),
            "tekken": self.bytes(split(TEKKEN), ignore_merges=True),
            "qwen35": self.bytes(split(QWEN35)),
            "deepseek": self.bytes(split(*DEEPSEEK)),
            "deepseek_coder": self.bytes(split(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}")),
            "digits": self.bytes(P.Sequence([P.Digits(individual_digits=True), own])),
            "digit_runs": self.bytes(P.Sequence([P.Digits(individual_digits=False), own])),
            "tiny_aya": self.bytes(split(r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O)),
            "superbpe": self.bytes(split(r"\p{N}+", r"(?=(\d{3})+(?!\d))")),
            "possessive": self.bytes(split(POSSESSIVE)),
            "bloom": self.bytes(split(r" ?[^(\s|.,!?…。，、।۔،)]+")),
            "default": self.bytes(P.Sequence([P.Split(Regex(r"[\p{P}\$\+<=>\^~\|]+"), "isolated"), own_split(), digit_triples(), end])),
            "falcon": self.bytes(
                P.Sequence([P.Split(Regex(r"[\p{P}\$\+<=>\^~\|`]+"), "isolated"), own_split(), P.Split(Regex("[0-9][0-9][0-9]"), "isolated"), end])
            ),
            "whitespace": self.bytes(then(P.Whitespace())),
            "whitespace_split": self.bytes(P.Sequence([P.WhitespaceSplit(), P.ByteLevel(add_prefix_space=True, use_regex=False)])),
            "punctuation": self.bytes(then(P.Punctuation())),
            "bert_pre": self.bytes(then(P.BertPreTokenizer())),
            "delimiter": self.bytes(then(P.CharDelimiterSplit("e"))),
            "fixed_length": self.bytes(then(P.FixedLength(3))),
            "byte_level_normalizer": self.bytes(P.Split(Regex("Ġ"), behavior="merged_with_next"), normalizer=N.ByteLevel()),
            "strip": self.bytes(gpt2, normalizer=N.Strip()),
            "no_accents": self.bytes(normalizer=N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase()])),
            "replace": self.bytes(normalizer=N.Sequence([N.Replace("a", "bb"), N.Replace(Regex(r"\s+"), " "), N.Replace(Regex("[0-9]"), "")])),
            "prepend": self.bytes(normalizer=N.Sequence([N.Prepend("xyz"), N.NFKC(), N.Replace("e", "")])),
            "many": self.bytes(
                normalizer=N.Sequence([N.NFKD(), N.StripAccents(), N.NFC(), N.Strip()]),
                added=added,
                post=processors.ByteLevel(trim_offsets=True),
            ),
        }
        for form in ["NFC", "NFD", "NFKC", "NFKD"]:
            out[form.lower()] = self.bytes(normalizer=getattr(N, form)())
        for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
            for invert in [False, True]:
                pre = then(P.Split(Regex(r"\s+|[a-c]"), behavior=behavior, invert=invert))
                out[behavior + ("_inverted" if invert else "")] = self.bytes(pre)
        decode = lambda *more: decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *more])
        meta = lambda scheme, split: P.Metaspace("▁", prepend_scheme=scheme, split=split)
        signs = lambda: N.Replace(" ", "▁")
        out |= {
            "llama2": self.chars(N.Sequence([N.Prepend("▁"), signs()]), None, decode(decoders.Strip(" ", 1, 0))),
            "gemma": self.chars(signs(), P.Split(" ", "merged_with_previous"), decode()),
            "metaspace_first": self.chars(None, meta("first", True), decoders.Metaspace("▁", prepend_scheme="first")),
            "metaspace_always": self.chars(None, meta("always", True), decoders.Metaspace()),
            "metaspace_never": self.chars(None, meta("never", False), decoders.Metaspace("▁", prepend_scheme="never")),
            "metaspace_digits": self.chars(None, P.Sequence([P.Digits(True), meta("first", True)]), decode()),
            "unknown_fused": self.chars(signs(), None, decode(), byte_fallback=False),
            "unknown_single": self.chars(signs(), None, decode(), byte_fallback=False, fuse_unk=False),
            "unknown_dropped": self.chars(signs(), None, decode(), byte_fallback=False, unk_token=None),
            "no_decoder": self.chars(signs(), None, None),
            "strip_each": self.chars(signs(), None, decoders.Sequence([decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)])),
            "strip_fused": self.chars(signs(), None, decode(decoders.Strip(" ", 2, 0), decoders.Replace("in", "OUT"))),
            "suffix": suffix(),
            "subword_prefix": subword_prefix(),
        }
        return out


def own_split():
    """GPT-2's pattern alone."""
    return P.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"), behavior="isolated")


def digit_triples():
    return P.Sequence([P.Split(Regex(r"\p{N}+"), "isolated"), P.Split(Regex("[0-9][0-9][0-9]"), "isolated")])


def suffix():
    vocab = {}
    for c in "abcdefghilnoprstuvw ":
        for x in [c, c + "</w>"]:
            vocab[x] = len(vocab)
    merges = [("i", "n</w>"), ("c", "a"), ("ca", "f"), ("a", "a"), ("aa", "aa")]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    vocab["<unk>"] = len(vocab)
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", end_of_word_suffix="</w>"))
    t.pre_tokenizer, t.decoder = P.WhitespaceSplit(), decoders.BPEDecoder("</w>")
    return t


def subword_prefix():
    vocab = {}
    for c in "abcdefghilnoprstuvw":
        for x in [c, "##" + c]:
            vocab[x] = len(vocab)
    merges = [("c", "##a"), ("ca", "##f"), ("##a", "##a"), ("e", "##n")]
    for a, b in merges:
        vocab[a + b[2:]] = len(vocab)
    vocab["<unk>"] = len(vocab)
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", continuing_subword_prefix="##"))
    t.pre_tokenizer = P.Whitespace()
    return t


def shapes(model, tokens, merges):
    """The fixture: files without their models, and ids, offsets and decoded texts."""
    out = {"texts": HARD, "shapes": {}}
    for name, t in Shapes(model, tokens, merges).all().items():
        file = json.loads(t.to_str())
        for key in ["version", "truncation", "padding"]:
            del file[key]
        if len(file["model"]["vocab"]) > 200:
            for key in ["vocab", "merges"]:
                del file["model"][key]
        cases = []
        for text in HARD:
            e = t.encode(text)
            decoded = t.decode(e.ids, skip_special_tokens=False)
            cases.append([e.ids, [x for o in e.offsets for x in o], None if decoded == text else decoded])
        out["shapes"][name] = {"gguf": NAMED.get(name), "file": file, "cases": cases}
    return out


def random_texts(seed, n):
    rng = random.Random(seed)
    pools = [
        "abc THE the ing 's 'll 're 'S",
        "  \t\n\r\u00a0\u3000\u2003",
        "0123456789٣½Ⅷ四",
        "!?.,;:-_()[]{}<>|\\/\"'`~@#$%^&*+=",
        "äéñßøΩжשمनไ中あ한ʼ\u0301\u0323\u0302\u0940\u20dd😀🇩🇪\u200d",
        "ﬁ①ǅſK\u212aẛ̣각\u1100\u1161\u11a8Å\u212b",
        "İIıÏ\u0345\u0300\u0316ΑΣς",
    ]
    special = ["<|special|>", " <|strip|> ", "key", " key ", "café", "cafe\u0301", "  ABC", " mid ", "rr  ", "<s>", "</s>", "<0x41>", "▁", "<unk>", "in"]
    piece = lambda: rng.choice(special) if rng.random() < 0.12 else rng.choice(rng.choice(pools))
    return ["".join(piece() for _ in range(rng.randint(1, 40))) for _ in range(n)]


def compare(binary, seed, only, shapes):
    """Ids, tokens, offsets and decoded texts of the command line against the package's. True if all are the same."""
    texts = HARD + random_texts(seed, 150)
    folder = Path(tempfile.mkdtemp())
    (folder / "texts.jsonl").write_text("".join(json.dumps(t) + "\n" for t in texts))
    wrong = 0
    for name, t in shapes.items():
        if only and name not in only:
            continue
        t.save(str(folder / "tokenizer.json"))
        args = ["tokenize", "--tokenizer", folder / "tokenizer.json", "--data", folder / "texts.jsonl", "--json"]
        run = subprocess.run([binary, *map(str, args)], capture_output=True, text=True)
        lines = run.stdout.split("\n")
        for text, line in zip(texts, lines if run.returncode == 0 else [run.stderr] * len(texts)):
            e = t.encode(text)
            want = {"ids": e.ids, "tokens": e.tokens, "offsets": [list(o) for o in e.offsets], "decoded": t.decode(e.ids, skip_special_tokens=False)}
            got = json.loads(line) if run.returncode == 0 else {"error": line}
            differs = [k for k in want if got.get(k) != want[k]]
            if differs:
                wrong += 1
                print(f"{name}: {differs} of {text!r}\n   {got}\n   {want}")
                break
    print(f"{len(shapes)} shapes, {wrong} of them otherwise")
    return wrong == 0


def main():
    from tokenizer import spm_model, tiny_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", required=True, help="the command line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    args = parser.parse_args()
    found = Shapes(tiny_model(), *spm_model()).all()
    sys.exit(0 if compare(args.compare, args.seed, args.only, found) else 1)


if __name__ == "__main__":
    main()
