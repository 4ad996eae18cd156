"""The Unicode tables of the tokenizer, as the `tokenizers` package sees them.

python tests/oracle/unicode.py        # writes src/tokenizer/unicode/tables.bin (about a minute)

General categories are those of the regular expressions that the package splits by, decompositions those of its normalizers: asking it keeps
the ids the same where Unicode's versions differ. Only the combining classes are Python's, and each is checked against the package.

The file is four lists of variable-length integers (seven bits a byte, the lowest first), each behind the number of its entries:
runs of one category (length, category), runs of one combining class (length, class), canonical and compatible decompositions (difference to the
code point before, number of characters, the characters as zigzag differences to the first). Hangul syllables are computed, not listed.

Needs: tokenizers.
"""

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


def main():
    canonical, found = decompositions(normalizers.NFD(), {})
    compatible, _ = decompositions(normalizers.NFKD(), found)
    data = categories() + classes() + canonical + compositions(found) + compatible
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(data)
    print(OUT, len(data))


if __name__ == "__main__":
    main()
