"""Tokenizers of encoders and encoder-decoders: WordPiece, Unigram, WordLevel, and the steps that go with them.

python tests/oracle/tokenizer_encoders.py                                        # writes tests/fixtures/tokenizer/encoders.json
python tests/oracle/tokenizer_encoders.py --check target/debug/fledgling [--count 10000] [--seed 1] [--only NAME …]

`--check` tries texts of every kind (code, Chinese, Arabic, emoji, control characters, …) and one long text without a space with the command line:
ids, tokens, offsets, segments and decoded texts of single texts and of pairs. Vocabularies are built here from the texts, not trained: the package's
trainers give other ones each time.

Needs: tokenizers.
"""

import argparse
import base64
import json
import random
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, processors
from tokenizers import normalizers as N
from tokenizers import pre_tokenizers as P

from unicode import charsmap

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "tokenizer" / "encoders.json"

WORDS = """the a of and to in is it you that he was for on are with as I his they be at one have this from or had by hot word but what some we can out
other were all there when up use your how said an each she which do their time if will way about many then them write would like so these her long make
thing see him two has look more day could go come did number sound no most people my over know water than call first who may down side been now find
don't it's you're Transformer attention encoder decoder tokenizer unaffable unbelievable running walked embeddings naïve café Straße déjà""".split()
PIECES = "ing ed er ly un re pre ##s tion able ness ment est al ' . , ! ? - ( ) : ; def return for in if else self import == != += -> {} [] //".split()
SCRIPTS = {
    "chinese": "中文字符和標點日本語我你他是不了在有人這這个说国",
    "kana": "のテキストカタカナひらがなーッ",
    "hangul": "한국어텍스트가각힣",
    "arabic": "مرحبا بالعالم السلام عليكم ةىؤئإأآ ًٌٍَُِّْ ـ",
    "hebrew": "שלום עולם",
    "devanagari": "नमस्ते दुनिया क्षत्रज्ञ",
    "thai": "ภาษาไทย สวัสดีชาวโลก ำเ",
    "greek": "ΑΒΓ αβγ Σς ΐΰ",
    "cyrillic": "Привет мир ёЙй",
}
EMOJI = ["😀", "👩‍👩‍👧‍👦", "🇩🇪", "❤️", "☃", "👍🏽", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "™", "©", "🈁", "㊗", "Ⓜ️", "🏳️‍🌈", "✨", "🤷🏾‍♂️"]
MARKS = "\u0301\u0308\u0323\u0302\u0327\u0345\u0651\u064b\u05b0\u093c\u0e33\u200d\u20dd\ufe0f\u0903\u09be\u0600\u070f"
CONTROL = [chr(c) for c in range(0x20)]
CONTROL += list("\x7f\x80\x85\x8f\x9f\xa0\xad\u0600\u061c\u180e\u200b\u200c\u200d\u200e\u2028\u2029\u202a\u2060\ufeff\ufffd\ufff9\ue000\u0378")
FANCY = "ﬁﬂ①②Ⅻ½²ªº™℃ǅſK\u212aẛÅ\u212bİıŒœßﷺ㍿ｆｕｌｌﾃｷｽﾄＡ１！…—‘’“”«»\u3000\u2009\u2581𝒳𝓎𐍈𝟘"
SPECIAL = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "<s>", "</s>", "<unk>", "<pad>", "<mask>", "<extra_id_0>", " <mask> ", "<0x41>", "▁", "##s", "<en>"]
CODE = ["def ", "f(x)", ":\n    ", "return ", "{", "}", "[i]", "==", "!=", "&&", "->", "::", "// ", "# TODO", "\t", "\n\n", '"str"', "'c'"]
CODE += ["x_1", "camelCase", "0x7f", "3.14e-5", ";", "<T>", "\\n"]


def one_text(rng, kind):
    """A text of one kind: the right characters most of the time."""

    def of(pool, n=8):
        return "".join(rng.choice(pool) for _ in range(rng.randint(1, n)))

    def word():
        w = rng.choice(WORDS)
        return w if rng.random() < 0.6 else w.upper() if rng.random() < 0.3 else w.capitalize() + rng.choice(["", "s", "ing", "xq", "’s", "'t", "é"])

    parts = {
        "words": lambda: word() + rng.choice([" ", " ", ", ", ". ", "! ", "  ", "-"]),
        "code": lambda: rng.choice([*CODE, word(), word() + " "]),
        "chinese": lambda: of(SCRIPTS["chinese"] + SCRIPTS["kana"] + SCRIPTS["hangul"] + "。，、！？") + rng.choice(["", "", " ", "a1"]),
        "arabic": lambda: of(SCRIPTS["arabic"] + SCRIPTS["hebrew"], 10) + rng.choice([" ", "", "، ", "؟", "٣٤"]),
        "scripts": lambda: of(SCRIPTS[rng.choice(list(SCRIPTS))], 10) + rng.choice([" ", "", of(MARKS, 2)]),
        "emoji": lambda: rng.choice(EMOJI) + rng.choice(["", "", " ", of(MARKS, 2), word()]),
        "control": lambda: rng.choice([of(CONTROL, 3), word(), " ", of(MARKS, 2)]),
        "marks": lambda: rng.choice([of(FANCY, 3), rng.choice("aeiouAEIOUnNsS"), of(MARKS, 3), " "]),
        "special": lambda: rng.choice([*SPECIAL, word(), word() + " ", of(FANCY, 2)]),
        "any": lambda: rng.choice([chr(rng.choice([rng.randint(1, 0x7FF), rng.randint(0x800, 0xD7FF), rng.randint(0xE000, 0x1FFFF)])), word(), " ", "a"]),
        "solid": lambda: rng.choice([word(), of(SCRIPTS["chinese"], 3), of("0123456789", 5)]),
    }[kind]
    return "".join(parts() for _ in range(rng.randint(1, 12)))


KINDS = ["words", "code", "chinese", "arabic", "scripts", "emoji", "control", "marks", "special", "any", "solid"]


def rules():
    """A small map in the manner of SentencePiece's NFKC: what the texts here need of it."""
    out = {}
    for c in {*FANCY, *"".join(SCRIPTS.values()), *"".join(EMOJI), *map(chr, range(0xA0, 0x180)), *map(chr, range(0xFF00, 0xFFEF))}:
        form = unicodedata.normalize("NFKC", c)
        if form != c:
            out[c] = form
    for base in "aeiouAEIOUnNcC":
        for mark in "\u0301\u0308\u0302\u0327":
            both = unicodedata.normalize("NFC", base + mark)
            if len(both) == 1:
                out[base + mark] = both
    # Some go, some become a space, as in nmt_nfkc; a longer key behind a shorter one.
    out |= {c: "" for c in "\x01\x02\x1e\x7f\u200b\u200c\u2060\ufeff"}
    out |= {c: " " for c in "\t\n\r\u00a0\u2028\u3000\u180e"}
    out |= {"\r\n": " ", "\u1100\u1161": "가", "ﬁ\u0301": "never", "…": "..."}
    return out


def wordpiece_vocab():
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    others = "abcdefghijklmnopqrstuvwxyz0123456789ABC" + SCRIPTS["chinese"][:12] + SCRIPTS["arabic"][:20] + "αβγσς한국"
    chars = sorted({c for w in WORDS + PIECES for c in w} | set(others))
    tokens += [c for c in chars if c.strip()] + ["##" + c for c in chars if c.strip() and (c.isalnum() or c in "'")]
    tokens += [w for w in WORDS + PIECES if len(w) > 1] + ["##" + p for p in PIECES if p.isalpha()] + ["##ing", "unaff", "##aff", "😀"]
    return {t: i for i, t in enumerate(dict.fromkeys(tokens))}


def unigram_pieces(first, bytes_too=False):
    """Pieces with scores: characters, words with and without a sign before them; several of one score, for ties."""
    rng = random.Random(5)
    found = {}
    for w in WORDS + [p for p in PIECES if "#" not in p]:
        for p in ["▁" + w, w, *(w[i:j] for i in range(len(w)) for j in range(i + 2, min(len(w), i + 4)) if rng.random() < 0.2)]:
            found.setdefault(p, -round(rng.uniform(4, 11), rng.choice([0, 1, 4])))
    for c in sorted({c for w in WORDS + PIECES for c in w} | set("0123456789中文字的한국αβγمرحبا😀▁é")):
        found.setdefault(c, -round(rng.uniform(9, 13), 2))
    pieces = [(t, 0.0) for t in first]
    if bytes_too:
        pieces += [(f"<0x{b:02X}>", 0.0) for b in range(256)]
    # As exact as SentencePiece's own files keep them.
    single = lambda s: struct.unpack("f", struct.pack("f", s))[0]
    return pieces + [(p, single(s)) for p, s in found.items() if p not in first]


def special(t, tokens, **flags):
    t.add_special_tokens([AddedToken(x, normalized=False, **flags) for x in tokens])
    return t


def bert(lowercase=True, accents=None, chinese=True, clean=True, post=None, cleanup=True, **model):
    vocab = wordpiece_vocab()
    t = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", **model))
    t.normalizer = N.BertNormalizer(clean_text=clean, handle_chinese_chars=chinese, strip_accents=accents, lowercase=lowercase)
    t.pre_tokenizer = P.BertPreTokenizer()
    t.decoder = decoders.WordPiece(prefix="##", cleanup=cleanup)
    ids = [("[CLS]", 2), ("[SEP]", 3)]
    t.post_processor = post or processors.TemplateProcessing(single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ids)
    return special(t, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])


def unigram(first, normalizer, pre, decoder, post, unk, bytes_too=False, added=()):
    pieces = unigram_pieces(first, bytes_too)
    t = Tokenizer(models.Unigram(pieces, unk_id=first.index(unk) if unk else None, byte_fallback=bytes_too))
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    if decoder:
        t.decoder = decoder
    if post:
        single, pair = post
        names = {x.split(":")[0] for x in (single + " " + pair).split() if not x.startswith("$")}
        ids = [(x, first.index(x)) for x in sorted(names)]
        t.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    special(t, [x for x in first if x != "<mask>"])
    if "<mask>" in first:
        special(t, ["<mask>"], lstrip=True)
    return special(t, added)


def precompiled():
    state = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(rules())).decode()}
    empty = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {}, "unk_token": "x"}, "added_tokens": []}
    return Tokenizer.from_str(json.dumps(empty | {"normalizer": state})).normalizer


def shapes():
    meta = lambda scheme="always", split=True: P.Metaspace("▁", prepend_scheme=scheme, split=split)
    back = lambda scheme="always": decoders.Metaspace("▁", prepend_scheme=scheme)
    t5 = ["<pad>", "</s>", "<unk>", "<extra_id_1>", "<extra_id_0>"]
    xlmr = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    words = P.Sequence([P.WhitespaceSplit(), meta()])
    level = Tokenizer(models.WordLevel({t: i for i, t in enumerate(["<unk>", "<s>", *WORDS, *EMOJI[:4], *"。，、()中文"])}, unk_token="<unk>"))
    level.pre_tokenizer = P.Sequence([P.UnicodeScripts(), P.Whitespace()])
    level.normalizer = N.Sequence([N.Nmt(), N.NFKC()])
    ctc = Tokenizer(models.WordLevel({t: i for i, t in enumerate(["<pad>", "<unk>", "|", " ", *"abcdefghijklmnopqrstuvwxyz'."])}, unk_token="<unk>"))
    ctc.pre_tokenizer = P.FixedLength(1)
    ctc.decoder = decoders.CTC(pad_token="<pad>", word_delimiter_token="|", cleanup=True)
    return {
        "bert": bert(),
        "bert_cased": bert(lowercase=False, post=processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))),
        "bert_accents": bert(lowercase=True, accents=False, chinese=False, clean=False, cleanup=False),
        "bert_short_words": bert(lowercase=False, accents=True, max_input_chars_per_word=7, post=processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))),
        "bert_no_prefix": bert(continuing_subword_prefix=""),
        "t5": unigram(t5, precompiled(), words, back(), ("$A </s>", "$A </s> $B </s>"), "<unk>"),
        "xlmr": unigram(xlmr, precompiled(), words, back(), ("<s> $A </s>", "<s> $A </s> </s> $B </s>"), "<unk>"),
        "converted": unigram(
            ["<s>", "<pad>", "</s>", "<unk>", "<en>"],
            N.Sequence([precompiled(), N.Strip(left=False, right=True), N.Replace(Regex(" {2,}"), "▁")]),
            meta(),
            back(),
            ("<en> $A </s>", "<en> $A $B </s>"),
            "<unk>",
        ),
        "whole": unigram(t5, N.Sequence([N.Nmt(), N.NFKC(), N.Lowercase()]), meta("first", False), back("first"), None, "<unk>"),
        "bytes": unigram(
            ["<unk>", "<s>", "</s>"],
            None,
            meta("never", False),
            decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
            ("<s> $A", "<s> $A <s>:1 $B:1"),
            "<unk>",
            bytes_too=True,
        ),
        "charsmap_alone": unigram(t5, precompiled(), P.Sequence([P.Punctuation("contiguous"), meta("first", True)]), back("never"), None, "<unk>"),
        "no_accents": unigram(t5, N.Sequence([N.NFKD(), N.StripAccents()]), P.UnicodeScripts(), None, None, "<unk>"),
        "level": level,
        "ctc": ctc,
    }


def expected(t, text, pair=None):
    e = t.encode(text, pair)
    decoded = t.decode(e.ids, skip_special_tokens=False)
    return {"ids": e.ids, "tokens": e.tokens, "offsets": [list(o) for o in e.offsets], "type_ids": e.type_ids, "decoded": decoded}


def fixture():
    rng = random.Random(7)
    texts = ["", " ", "Hello, World! I'm unaffable.", "e\u0301a\u0300 ﬁ™\x1eg \r\n x\u3000y", "[CLS] a [MASK] <mask>b </s>", "ab" * 60]
    texts += [one_text(rng, kind)[:60] for kind in KINDS for _ in range(3)]
    pairs = [(1, 2), (2, 0), (3, 4), (8, 12), (20, 30)]
    out = {"texts": texts, "pairs": pairs, "shapes": {}}
    maps = {}
    for name, t in shapes().items():
        file = json.loads(t.to_str())
        for key in ["version", "truncation", "padding"]:
            del file[key]
        cases = []
        for text, other in [(x, None) for x in texts] + [(texts[a], texts[b]) for a, b in pairs]:
            e = expected(t, text, other)
            cases.append([e["ids"], [x for o in e["offsets"] for x in o], e["type_ids"] if other is not None else [], e["decoded"]])
        # What many share stands once.
        shared = {"vocab": file["model"].pop("vocab")}

        def share(v):
            if isinstance(v, dict) and "precompiled_charsmap" in v:
                shared["charsmap"] = v.pop("precompiled_charsmap")
            for x in v.values() if isinstance(v, dict) else v if isinstance(v, list) else []:
                share(x)

        share(file["normalizer"])
        names = {}
        for key, value in shared.items():
            if value not in maps.values():
                maps[f"{key}_{name}"] = value
            names[key] = next(n for n, v in maps.items() if v == value)
        out["shapes"][name] = {"file": file, "shared": names, "cases": cases}
    out["shared"] = maps
    OUT.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")))
    print(OUT, OUT.stat().st_size)


def run(binary, folder, rows):
    (folder / "texts.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    args = ["tokenize", "--tokenizer", folder / "tokenizer.json", "--data", folder / "texts.jsonl", "--json"]
    done = subprocess.run([binary, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def check(binary, seed, count, only):
    folder = Path(tempfile.mkdtemp())
    wrong = tried = 0
    for name, t in shapes().items():
        if only and name not in only:
            continue
        t.save(str(folder / "tokenizer.json"))
        for kind in KINDS:
            rng = random.Random(f"{seed} {name} {kind}")
            rows = []
            for _ in range(count):
                row = {"text": one_text(rng, kind)}
                if rng.random() < 0.2:
                    row["text_pair"] = one_text(rng, rng.choice(KINDS))
                rows.append(row)
            found = run(binary, folder, rows)
            assert len(found) == len(rows)
            bad = 0
            for row, got in zip(rows, found):
                want = expected(t, row["text"], row.get("text_pair"))
                differs = [k for k in want if got.get(k) != want[k]]
                if differs:
                    bad += 1
                    if bad <= 2:
                        print(f"{name} {kind}: {differs} of {row}")
                        for k in differs:
                            print(f"   {k}\n     {got.get(k)}\n     {want[k]}")
            tried, wrong = tried + len(rows), wrong + bad
            if bad:
                print(f"{name} {kind}: {bad} of {len(rows)} otherwise")
        for text in ["a" * 1_000_000, "中文" * 170_000, "the" * 330_000]:
            began = time.time()
            (got,) = run(binary, folder, [{"text": text}])
            took = time.time() - began
            if got["ids"] != t.encode(text).ids:
                wrong += 1
                print(f"{name}: otherwise for {text[:3]!r} times {len(text)}")
            print(f"{name}: {len(text)} characters without a space in {took:.1f} s")
    print(f"{tried} texts, {wrong} otherwise")
    return wrong == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", help="the command line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--only", nargs="*")
    args = parser.parse_args()
    if args.check:
        sys.exit(0 if check(args.check, args.seed, args.count, args.only) else 1)
    fixture()


if __name__ == "__main__":
    main()
