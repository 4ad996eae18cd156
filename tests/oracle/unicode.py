"""The Unicode tables of the tokenizer, as the `tokenizers` package sees them.

python tests/oracle/unicode.py        # writes src/tokenizer/unicode/tables.bin (about a minute)

General categories are those of the regular expressions that the package splits by, decompositions those of its normalizers: asking it keeps
the ids the same where Unicode's versions differ. Only the combining classes are Python's, and each is checked against the package.

The file is six lists of variable-length integers (seven bits a byte, the lowest first), each behind the number of its entries:
runs of one category (length, category), runs of one combining class (length, class), canonical and compatible decompositions (difference to the
code point before, number of characters, the characters as zigzag differences to the first). Hangul syllables are computed, not listed.
Behind them: runs of characters that BERT's steps and the splitting into graphemes see otherwise than the categories say (length, bits: `odd`),
and runs of one script (length, a number for it, 0 for none).

Needs: tokenizers.
"""

import base64
import json
import struct
import unicodedata
from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers

OUT = Path(__file__).resolve().parents[2] / "src" / "tokenizer" / "unicode" / "tables.bin"
CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def number(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def zigzag(n):
    return number(2 * n if n >= 0 else -2 * n - 1)


def runs(value_of):
    found = []
    for c in range(0x110000):
        value = value_of(c)
        if found and found[-1][1] == value:
            found[-1][0] += 1
        else:
            found.append([1, value])
    return number(len(found)) + b"".join(number(n) + number(v) for n, v in found)


def categories():
    text = "".join(map(chr, POINTS))
    found = {}
    for i, name in enumerate(CATEGORIES[1:], 1):
        split = pre_tokenizers.Split(Regex(rf"\p{{{name}}}"), behavior="removed", invert=True)
        for piece, _ in split.pre_tokenize_str(text):
            found.update((ord(c), i) for c in piece)
    return runs(lambda c: found.get(c, 0))


def classes():
    nfd = normalizers.NFD()

    def value(c):
        found = unicodedata.combining(chr(c)) if not 0xD800 <= c < 0xE000 else 0
        # U+0334 has class 1: it goes before whatever has a higher one.
        if found > 1 and len(chr(c)) == 1 and nfd.normalize_str("a" + chr(c) + "\u0334")[1] != "\u0334":
            return 0
        return found

    return runs(value)


def decompositions(normalizer, but):
    found = []
    for c in POINTS:
        text = normalizer.normalize_str(chr(c))
        if text != chr(c) and not 0xAC00 <= c < 0xD7A4 and text != but.get(c):
            found.append((c, text))
    out, last = number(len(found)), 0
    for c, text in found:
        out += number(c - last) + number(len(text)) + zigzag(ord(text[0]) - c)
        out += b"".join(zigzag(ord(x) - ord(text[0])) for x in text[1:])
        last = c
    return out, dict(found)


def compositions(canonical):
    """Pairs are not stored: a canonical decomposition composes unless NFC leaves it alone."""
    nfc = normalizers.NFC()
    excluded = [c for c in canonical if nfc.normalize_str(chr(c)) != chr(c)]
    out, last = number(len(excluded)), 0
    for c in excluded:
        out += number(c - last)
        last = c
    return out


def charsmap(rules):
    """SentencePiece's precompiled map: a double array trie (darts-clone) of the keys, then the texts."""
    texts, places = b"", {}
    root = {}
    for key, value in sorted(rules.items()):
        if value not in places:
            places[value] = len(texts)
            texts += value.encode() + b"\0"
        node = root
        for b in key.encode():
            node = node.setdefault(b, {})
        node[0] = places[value]
    units = {0: 0}
    free = 1

    def place(node, at):
        # Children stand at `base ^ label`; a unit holds the difference of its own place to the base.
        nonlocal free
        labels = sorted(node)
        base = free
        while any((base ^ b) in units for b in labels) or base == 0 or (at ^ base) >= 1 << 21:
            base += 1
        while free in units:
            free += 1
        units[at] = units.get(at, 0) | ((at ^ base) << 10) | (0x100 if 0 in node else 0)
        for b in labels:
            units[base ^ b] = (node[b] | 1 << 31) if b == 0 else b
        for b in labels:
            if b:
                place(node[b], base ^ b)

    place(root, 0)
    size = (max(units) | 255) + 1
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return struct.pack("<I", len(trie)) + trie + texts


def precompiled(rules):
    state = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(rules)).decode()}
    file = {"version": "1.0", "model": {"type": "WordLevel", "vocab": {}, "unk_token": "x"}, "added_tokens": []}
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(file | {"normalizer": state})).normalizer


def odd():
    """Bits where the package differs from the categories: marks without a width, accents, punctuation, control; what joins the character before
    it, what joins the one behind, what nothing joins."""
    text = "".join(map(chr, POINTS))

    def in_category(rx):
        split = pre_tokenizers.Split(Regex(rx), behavior="removed", invert=True)
        return {c for piece, _ in split.pre_tokenize_str(text) for c in piece}

    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    gone = lambda normalizer: {c for c in map(chr, POINTS) if normalizer.normalize_str("a" + c + "b") == "ab"}
    bert = pre_tokenizers.BertPreTokenizer()
    alone = {c for c in map(chr, POINTS) if [p for p, _ in bert.pre_tokenize_str("a" + c + "b")] == ["a", c, "b"]}
    # Only the first character of a grapheme of up to five bytes is looked for: what joins it is gone.
    joins = precompiled({"a": "q"})
    joins = {c for c in map(chr, POINTS) if joins.normalize_str("a" + c) == "q"}
    others = sorted(in_category(r"[\p{C}\p{Z}]") & set(map(chr, range(0xE1000))) - set(map(chr, range(0xD800, 0xF900))))
    others = [c for c in others if unicodedata.category(c) != "Cn" or 0x2060 <= ord(c) <= 0x206F or 0xFFF0 <= ord(c) <= 0xFFF8 or ord(c) >= 0xE0000]
    single = {"\0"}
    for c in others:
        # With four bytes and a mark of two it is no short grapheme, whatever it is.
        if c != "\0" and len(c.encode()) < 4 and precompiled({c: "q"}).normalize_str(c + "\u0301") != "q":
            single.add(c)
    before = [c for c in map(chr, POINTS) if unicodedata.category(c) == "Cf" or 0xD00 <= ord(c) < 0xE00 or 0x11000 <= ord(c) < 0x12000]
    prepends = {c for c in before if precompiled({c: "q"}).normalize_str(c + "b") == "q"}
    want = [
        (in_category(r"\p{Mn}"), gone(normalizers.BertNormalizer(**(off | {"strip_accents": True})))),
        (in_category(r"\p{M}"), gone(normalizers.StripAccents())),
        (in_category(r"[\p{P}!-/:-@\[-`{-~]"), alone),
        (in_category(r"[\p{Cc}\p{Cf}\p{Co}]") - set("\t\n\r"), gone(normalizers.BertNormalizer(**(off | {"clean_text": True}))) - {"\ufffd"}),
        (in_category(r"\p{M}"), joins),
        (set(), prepends),
        ({c for c in in_category(r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]") if len(c.encode()) < 4}, single),
    ]
    wrong = [a ^ b for a, b in want]
    print([len(w) for w in wrong])
    return runs(lambda c: sum(1 << i for i, w in enumerate(wrong) if not 0xD800 <= c < 0xE000 and chr(c) in w))


def scripts():
    """Numbers of scripts as `UnicodeScripts` tells them apart; 0 goes with whatever is beside it."""
    split = pre_tokenizers.UnicodeScripts()
    pieces = lambda text: len(split.pre_tokenize_str(text))
    known, last = [], None

    def number_of(c):
        if pieces("a" + c) == 1 and pieces("\u4e2d" + c) == 1:
            return 0
        for i, k in enumerate(known):
            if pieces(k + c) == 1:
                return i + 1
        known.append(c)
        return len(known)

    found = {}
    for c in map(chr, POINTS):
        if last is not None and found[last] and pieces(last + c) == 1 and pieces("a" + c) + pieces("\u4e2d" + c) > 2:
            found[c] = found[last]
        else:
            found[c] = number_of(c)
        last = c
    assert len(known) < 256
    return runs(lambda c: 0 if 0xD800 <= c < 0xE000 else found[chr(c)])


def main():
    canonical, found = decompositions(normalizers.NFD(), {})
    compatible, _ = decompositions(normalizers.NFKD(), found)
    data = categories() + classes() + canonical + compositions(found) + compatible + odd() + scripts()
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(data)
    print(OUT, len(data))


if __name__ == "__main__":
    main()
