"""What chat templates render to, asked of Transformers' own `render_jinja_template`.

Writes fixtures/tokenizer/rendered.json: `inputs` (named conversations with their variables), `templates` (those of whole families), and `cases`:
a name, a template (or `of`, one of the families'), the name of its inputs, and the text, or null where Transformers raises an error or where
the text is another one each time (an address, a random choice).
"""

import json
import re
import warnings

from common import FIXTURES
from template_families import CONVERSATIONS, FAMILIES
from transformers.utils.chat_template_utils import render_jinja_template

warnings.filterwarnings("ignore")

VARIABLES = {
    "s": "Hello, World",
    "u": "žlutý kůň 😀 ß",
    "lines": "one\ntwo\r\nthree\n\nfive",
    "spaced": " \t a  b \n",
    "n": 7,
    "f": 2.5,
    "big": 18446744073709551615,
    "xs": [3, 1, 2, 3],
    "names": ["bob", "Alice", "carol", "alice"],
    "mixed": [1, 2.5, "x", None, True, [1, "a"], {"k": "v"}],
    "d": {"b": 1, "a": "two", "C": None},
    "people": [
        {"name": "Ann", "age": 31, "tags": ["x", "y"], "home": {"city": "Brno"}},
        {"name": "bob", "age": 25, "tags": [], "home": {"city": "ostrava"}},
        {"name": "Cid", "age": 31, "tags": ["z"]},
    ],
    "html": "<b class=\"x\">a & 'b'</b>",
    "schema": {"type": "object", "properties": {"q": {"type": "string", "items": {"type": "integer"}}}, "required": ["q"], "items": 3},
    "empty": [],
    "nothing_here": None,
}

# One template per line; a group's name and the line's number are the case's name.
SMALL = {
    "print": [
        "{{ true }} {{ false }} {{ none }} {{ True }} {{ False }} {{ None }}",
        "{{ mixed }}",
        "{{ d }} {{ people[0] }}",
        "{{ (1,) }} {{ () }} {{ (1, 'a') }} {{ [[], {}] }}",
        "{{ 'it\\'s' }} {{ ['it\\'s'] }} {{ ['\"'] }} {{ ['\\'\"'] }}",
        "{{ ['a\\nb\\t\\\\ \\x07 é \\u200b \\U0001f600 \\xad \\x7f'] }}",
        "{{ [1.0, 0.1, 1e3, 1e16, 1e-5, 0.0001, 123456789.125, 1e100, -0.0, 1.5e300] }}",
        "{{ 1.0 }} {{ 1e15 }} {{ 1e16 }} {{ 123456789012345680.0 }} {{ 0.1 + 0.2 }} {{ 1 / 3 }}",
        "{{ big }} {{ big + 1 }} {{ 2 ** 100 }}",
        "{{ d.keys() }} {{ d.values() }} {{ d.items() }}",
        "{{ range(5) }} {{ range(1, 5) }} {{ range(5, 1, -2) }} {{ range(9)[2:5] }}",
        "{{ namespace(a=1, b='x') }}",
        "{{ undefined_name }}[{{ [undefined_name] }}]{{ {'a': undefined_name} }}",
        "{{ 'x' ~ none ~ true ~ 1.0 ~ [1, 'a'] ~ undefined_name }}",
        "{{ range }}",
        "{{ xs | map('string') }}",
        "{{ d.items }}",
        "{{ loop }}{% for x in xs %}{{ loop }}{% endfor %}",
        "{{ u }}{{ [u] }}{{ '%r' % u }}",
        "{{ html }}{{ html | e }}{{ [html | e] }}",
        "{{ {1: 'a', 2.5: 'b', none: 'c', true: 'd', (1, 2): 'e'} }}",
        "{{ {1: 'a', true: 'b', 1.0: 'c'} }}",
    ],
    "literals": [
        "{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1_0.5_0 }} {{ 1E2 }} {{ 00 }}",
        "{{ 'a' 'b' \"c\" }}",
        "{{ '\\x41\\101\\u0042\\q\\'\\\"' }}",
        "{{ 'two\\\nlines' }}",
        "{{ '\\N{DASH}' }}",
        "{{ [1, 2,] }}{{ {'a': 1,} }}{{ (1, 2,) }}",
        "{{ 1.foo }}",
        "{{ '\\ud83d' }}",
        "{{ 'unterminated }}",
        "{{ 1__0 }}",
    ],
    "math": [
        "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 6 / 2 }}",
        "{{ 7.5 // 2 }} {{ -7.5 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ -0.0 % 3 }}",
        "{{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2.0 ** 0.5 }}",
        "{{ true + 1 }} {{ true * 3 }} {{ -true }} {{ +n }} {{ - n }}",
        "{{ 1 + 2 * 3 - 4 / 2 }} {{ (1 + 2) * 3 }} {{ 2 - 3 - 4 }}",
        "{{ 'a' * 3 }} {{ 3 * 'ab' }} {{ [1] * 3 }} {{ (1, 2) * 2 }} {{ 'a' * -1 }}",
        "{{ [1] + [2] }} {{ (1,) + (2,) }} {{ 'a' + 'b' }}",
        "{{ 'a' + 1 }}",
        "{{ 1 / 0 }}",
        "{{ undefined_name + 1 }}",
        "{{ 'a' ~ 1 + 2 }}",
        "{{ 1 ~ 2 * 3 }}",
        "{{ none + 1 }}",
        "{{ 'a' - 'b' }}",
        "{{ 10 ** 20 }} {{ (10 ** 18) * 9 }}",
        "{{ 3 - -2 }} {{ not 0 }} {{ 5 * -2 }}",
    ],
    "compare": [
        "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }} {{ 3 > 2 >= 2 != 1 }}",
        "{{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ [1, 2] < [1, 3] }} {{ (1,) < (1, 0) }}",
        "{{ 1 < 'a' }}",
        "{{ none == undefined_name }} {{ undefined_name == other_undefined }} {{ none == false }} {{ 0 == false }} {{ '' == none }}",
        "{{ [1, 'a'] == [1, 'a'] }} {{ d == {'a': 'two', 'b': 1, 'C': none} }} {{ (1,) == [1] }}",
        "{{ 'ell' in s }} {{ 'x' not in s }} {{ 2 in xs }} {{ 'b' in d }} {{ 1 in d.values() }} {{ ('b', 1) in d.items() }}",
        "{{ 1 in 'abc' }}",
        "{{ 'a' in none }}",
        "{{ 'a' in undefined_name }}",
        "{{ 3 in range(5) }} {{ 3 in range(0, 9, 2) }}",
        "{{ 1 and 'x' }} {{ 0 or 'y' }} {{ '' or none }} {{ not '' and not none }} {{ 1 or undefined_name.x }}",
        "{{ not 1 == 2 }} {{ 1 if 2 else 3 }} {{ 'a' if false }}|{{ 1 if 0 else 2 if 0 else 3 }}",
        "{{ none < 1 }}",
        "{{ undefined_name < 1 }}",
        "{{ big > 1.5 }} {{ 0.5 < true }} {{ 9007199254740993 == 9007199254740992.0 }}",
        "{{ [1] in [[1], [2]] }} {{ {'a': 1} in [{'a': 1.0}] }} {{ none in mixed }}",
    ],
    "access": [
        "{{ people[0].name }} {{ people[-1]['name'] }} {{ people[9] }}|{{ people[0].nope }}|{{ people[0]['nope'] }}",
        "{{ s[0] }} {{ s[-1] }} {{ s[99] }}| {{ u[0] }}{{ u[-1] }}",
        "{{ s[1:3] }} {{ s[:-2] }} {{ s[::2] }} {{ s[::-1] }} {{ s[-3:] }} {{ u[2:8] }} {{ s[5:2] }}|{{ s[100:] }}|{{ s[-100:2] }}",
        "{{ xs[1:] }} {{ xs[::-1] }} {{ xs[:none] }} {{ xs[3:0:-2] }} {{ (1, 2, 3)[1:] }} {{ xs[-2::-1] }}",
        "{{ xs[::0] }}",
        "{{ xs['a':] }}",
        "{{ xs.0 }} {{ people.0.name }} {{ d['b'] }} {{ d.get('b') }} {{ d.get('z') }} {{ d.get('z', 5) }}",
        "{{ d.z.y }}",
        "{{ undefined_name.x }}",
        "{{ undefined_name['x'] }}",
        "{{ undefined_name() }}",
        "{{ none.x }}|{{ n.x }}|{{ s.x }}",
        "{{ none.x.y }}",
        "{{ schema.items is defined }} {{ schema['items'] }} {{ 'y' if schema.properties.q.items else 'n' }} {{ schema.items is callable }}",
        "{{ schema.properties.q['items'].type }}",
        "{{ d.__class__ }}|{{ s.__len__ }}|{{ d._x }}|",
        "{{ d.__class__.x }}",
        "{{ d.pop('a') }}",
        "{{ xs.append(4) }}",
        "{% set x = xs.append %}{{ x }}|",
        "{{ xs[1.0] }}|{{ xs['1'] }}|{{ d[['a']] }}|",
        "{{ xs[true] }} {{ d[none] }}|{{ {none: 1}[none] }} {{ {1: 'x'}[1.0] }} {{ {(1, 2): 3}[1, 2] }}",
        "{{ s['upper']() }} {{ xs['index'](2) }}",
        "{{ n() }}",
        "{{ (1).real }}",
        "{{ range(3, 9, 2).stop }} {{ range(9)[3] }} {{ range(9)[-1] }}",
    ],
    "strings": [
        "{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ s.swapcase() }} {{ 'hELLO wORLD'.capitalize() }} {{ u.upper() }} {{ u.title() }}",
        "{{ \"they're bill's 3rd x1y\".title() }} {{ 'ǆ ﬁn'.title() }} {{ 'ΑΣ'.lower() }} {{ u.casefold() }}",
        "[{{ spaced.strip() }}][{{ spaced.lstrip() }}][{{ spaced.rstrip() }}]",
        "{{ 'xxaxbxx'.strip('x') }} {{ 'abcba'.lstrip('ab') }} {{ 'abcba'.rstrip('ab') }} {{ 'a'.strip(none) }}",
        "{{ 'a,b,,c'.split(',') }} {{ 'a,b,,c'.split(',', 1) }} {{ 'a,b,,c'.rsplit(',', 1) }} {{ spaced.split() }} {{ ''.split() }} {{ ''.split(',') }}",
        "{{ ' a b  c '.split(none, 1) }} {{ ' a b  c '.rsplit(none, 1) }} {{ ' a b  c '.split(maxsplit=1) }} {{ 'a b'.split(sep=' ') }}",
        "{{ 'a'.split('') }}",
        "{{ s.startswith('He') }} {{ s.startswith(('x', 'He')) }} {{ s.endswith('ld') }} {{ s.endswith(()) }} {{ s.startswith('e', 1) }} "
        "{{ s.startswith('o', 4, 4) }}",
        "{{ s.startswith(['He']) }}",
        "{{ s.find('o') }} {{ s.rfind('o') }} {{ s.find('zz') }} {{ s.index('o') }} {{ s.rindex('o') }} {{ u.find('k') }} "
        "{{ s.find('o', 5) }} {{ s.find('o', -3, -1) }}",
        "{{ s.index('zz') }}",
        "{{ s.count('l') }} {{ s.count('') }} {{ 'aaaa'.count('aa') }} {{ s.count('l', 4) }}",
        "{{ s.replace('l', 'L') }} {{ s.replace('l', 'L', 2) }} {{ 'abc'.replace('', '-') }} {{ 'abc'.replace('', '-', 2) }} "
        "{{ s.replace('l', 'L', -1) }}",
        "{{ lines.splitlines() }} {{ lines.splitlines(true) }} {{ ''.splitlines() }} {{ 'a\\x0bb\\u2028c\\x85'.splitlines() }}",
        "{{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.partition('-') }} {{ 'abc'.rpartition('-') }}",
        "{{ ', '.join(names) }} {{ '-'.join('abc') }} {{ ''.join([]) }} {{ ','.join(d) }}",
        "{{ ', '.join(xs) }}",
        "[{{ 'ab'.center(7) }}][{{ 'abc'.center(6, '*') }}][{{ 'ab'.ljust(5, '.') }}][{{ 'ab'.rjust(5) }}][{{ 'ab'.center(1) }}]",
        "{{ '42'.zfill(5) }} {{ '-42'.zfill(5) }} {{ '+4'.zfill(4) }} {{ 'abc'.zfill(2) }}",
        "{{ 'a\\tb'.expandtabs() }}|{{ 'a\\tb\\n\\tc'.expandtabs(4) }}",
        "{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.txt'.removesuffix('.txt') }} {{ 'x'.removesuffix('') }} {{ 'x'.removeprefix('y') }}",
        "{{ '123'.isdigit() }} {{ '12.3'.isdigit() }} {{ ''.isdigit() }} {{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '½'.isnumeric() }} "
        "{{ '٣'.isdecimal() }}",
        "{{ 'abc'.isalpha() }} {{ u.isalpha() }} {{ 'é'.isalpha() }} {{ 'a1'.isalnum() }} {{ 'a 1'.isalnum() }} {{ ' \\n'.isspace() }} "
        "{{ ''.isspace() }} {{ '中'.isalpha() }}",
        "{{ 'ABC'.isupper() }} {{ 'A1'.isupper() }} {{ '1'.isupper() }} {{ 'abc'.islower() }} {{ 'Abc Def'.istitle() }} "
        "{{ 'abc'.isascii() }} {{ u.isascii() }} {{ 'a_1'.isidentifier() }} {{ 'a\\n'.isprintable() }}",
        "{{ 'a'.encode() }}",
        "{{ 'a'.no_such() }}",
        "{{ s.upper(1) }}",
        "{{ 'x'.replace('x') }}",
        "{{ s.lower().upper().strip('H').split(',')[0] }}",
        "{{ 'ß'.upper() }} {{ 'ŉ'.upper() }} {{ 'İ'.lower() }} {{ 'ǅ'.istitle() }}",
    ],
    "format": [
        "{{ '%s %d %i %5d|%-5d|%05d %+d % d' % ('a', 3, 4.7, 42, 42, 42, 42, 42) }}",
        "{{ '%x %X %#x %o %c %c %%' % (255, 255, 255, 8, 65, 'z') }}",
        "{{ '%f %.2f %8.3f|%-8.1f|%08.2f %e %.3E %g %g %g %G' % (1.5, 2.675, 3.14159, 2.25, 3.14159, 12345.678, 0.00012, 100000, 1000000,"
        " 0.0001, 1e-10) }}",
        "{{ '%r %a %10s|%-10s|%.2s' % ('it\\'s', 'é', 'ab', 'ab', 'abcdef') }}",
        "{{ '%(name)s is %(age)d' % {'name': 'Ann', 'age': 3} }}",
        "{{ '%*d|%-*d|%.*f' % (5, 42, 5, 42, 2, 3.14159) }}",
        "{{ '%s' % [1, 'a'] }} {{ '%s' % none }} {{ '%s' % undefined_name }} {{ '%s %s' % (1, 2) }} {{ 'x' % {} }}",
        "{{ '%d' % 'x' }}",
        "{{ '%s' % (1, 2) }}",
        "{{ '%s %s' % 1 }}",
        "{{ '%z' % 1 }}",
        "{{ '{} {}'.format(1, 'b') }} {{ '{1} {0}'.format('a', 'b') }} {{ '{a} {b}'.format(a=1, b=2) }} {{ '{{}} {}'.format(1) }}",
        "{{ '{:>5}|{:<5}|{:^5}|{:*^7}|{:05d}|{:+d}|{: d}'.format('a', 'b', 'c', 'd', 42, 5, 6) }}",
        "{{ '{:.2f} {:8.3f} {:e} {:g} {:%} {:.1%} {:,} {:_} {:,.2f}'.format(2.675, 3.14159, 12345.678, 0.00001, 0.25, 0.256, 1234567,"
        " 1234567, 12345.678) }}",
        "{{ '{:x} {:X} {:#x} {:b} {:#b} {:o} {:c}'.format(255, 255, 255, 5, 5, 8, 65) }}",
        "{{ '{!r:>6} {!s} {!a}'.format('x', none, 'é') }} {{ '{:{}}|'.format('a', 5) }} {{ '{:{w}.{p}f}|'.format(3.14159, w=8, p=2) }}",
        "{{ '{0[name]} {0.age} {1[0]}'.format(people[0], xs) }} {{ '{0.nope}|'.format(d) }}",
        "{{ '{} {0}'.format(1) }}",
        "{{ '{}'.format() }}",
        "{{ '{'.format(1) }}",
        "{{ '{:d}'.format('x') }}",
        "{{ '{:5}|{:5}|{}'.format(true, 3, true) }}",
        "{{ '{}{}{}'.format(1.0, none, [1]) }} {{ '{:>10}'.format(1.5) }} {{ '{:010.2f}'.format(-3.14159) }} {{ '{:,}'.format(1234.5) }} "
        "{{ '{:010,}'.format(1234) }}",
        "{{ '{a}'.format_map({'a': 3}) }}",
        "{{ '{:.3}'.format('abcdef') }} {{ '{:=+6d}'.format(42) }} {{ '{:<06}'.format('ab') }}",
        "{{ '%5s|%-5s|%05.1f|%+.1e' | format('a', 'b', 2.25, 1234.5) }} {{ '%(x)s' | format(x=1) }}",
    ],
    "lists": [
        "{{ xs.index(2) }} {{ xs.count(3) }} {{ (1, 2).index(2) }} {{ range(9).index(3) }} {{ xs.copy() }} {{ d.copy() }}",
        "{{ xs.index(99) }}",
        "{{ xs.sort() }}",
        "{{ d.update({'x': 1}) }}",
        "{{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | list }} {{ d.items() | length }}",
        "{{ dict(a=1, b=2) }} {{ dict([('x', 1)]) }} {{ dict({'a': 1}, a=2) }} {{ dict() }} {{ dict.fromkeys(['a', 'b'], 0) }} {{ {}.fromkeys('ab') }}",
        "{{ (5).bit_length() }} {{ (2.0).is_integer() }} {{ (-5).bit_length() }}",
        "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d) = (b, a) %}{{ c }}{{ d }}",
        "{% set x, = [9] %}{{ x }}",
        "{% set a, b = 1, 2, 3 %}",
        "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in 'añ' %}[{{ c }}]{% endfor %}",
        "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
        "{% for a, b in [1] %}{% endfor %}",
        "{% for x in 5 %}{% endfor %}",
        "{% for x in none %}{% endfor %}",
        "{% for x in undefined_name %}x{% else %}e{% endfor %}",
    ],
    "filters": [
        "{{ -3 | abs }} {{ (-3) | abs }} {{ 2.5 | abs }}",
        "{{ 'a' | abs }}",
        "{{ d | attr('b') }}|{{ 'abc' | attr('upper') is callable }}|{{ people[0] | attr('name') }}|",
        "{{ xs | batch(3) | list }} {{ xs | batch(3, 0) | list }} {{ [] | batch(2) | list }}",
        "{{ 'hELLO' | capitalize }} {{ 5 | capitalize }} {{ none | capitalize }}",
        "[{{ 'ab' | center(7) }}][{{ 'ab' | center(width=4) }}]",
        "{{ xs | count }} {{ s | length }} {{ u | length }} {{ d | length }} {{ undefined_name | length }} {{ range(4) | length }} {{ {} | length }}",
        "{{ none | length }}",
        "{{ 5 | length }}",
        "{{ (xs | map('string')) | length }}",
        "{{ undefined_name | default('x') }} {{ none | default('x') }} {{ '' | default('x', true) }} {{ none | d('y', boolean=true) }} "
        "{{ 0 | d }} {{ undefined_name | d }}|",
        "{{ undefined_name.x | default('d') }}",
        "{{ d.x | default('d') }}",
        "{{ d | dictsort }} {{ {'b': 2, 'a': 3} | dictsort(by='value') }} {{ {'b': 1, 'A': 2, 'a': 0} | dictsort(true) }} "
        "{{ {'b': 1, 'a': 2} | dictsort(reverse=true) }}",
        "{{ d | dictsort(false, 'value') }}",
        "{{ html | e }} {{ html | escape }} {{ (html | e) | e }} {{ (html | e) | forceescape }} {{ 5 | e }}",
        "{{ ('<' | e) ~ '<' }} {{ ('<' | e) + '<' }} {{ '<' + ('<' | safe) }} {{ ('<b>' | safe) * 2 }} {{ ('<' | e).upper() }}",
        "{{ 1 | filesizeformat }} {{ 999 | filesizeformat }} {{ 1000 | filesizeformat }} {{ 123456789 | filesizeformat }} "
        "{{ 1024 | filesizeformat(true) }} {{ 1e30 | filesizeformat }}",
        "{{ xs | first }} {{ 'abc' | first }} {{ [] | first }}| {{ d | first }} {{ xs | last }} {{ 'abc' | last }} {{ [] | last }}| {{ d | last }}",
        "{{ '1.5' | float }} {{ 'x' | float }} {{ 'x' | float(2.5) }} {{ 3 | float }} {{ ' 1_0 ' | float }} {{ 'inf' | float }} "
        "{{ none | float }} {{ '1e3' | float }} {{ true | float }}",
        "{{ '42' | int }} {{ '4.7' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ 4.9 | int }} {{ -4.9 | int }} {{ 'ff' | int(base=16) }} "
        "{{ '0x1f' | int(0, 16) }} {{ ' 12 ' | int }} {{ none | int }} {{ true | int }} {{ '1_000' | int }}",
        "{{ undefined_name | int }}",
        "{% for g, l in people | groupby('age') %}{{ g }}:{{ l | map(attribute='name') | join(',') }};{% endfor %}"
        "{% for g in people | groupby('home.city', default='?') %}{{ g.grouper }}{{ g.list | length }};{% endfor %}",
        "{{ names | groupby(0) }} {{ ['a', 'A', 'b'] | groupby(0, case_sensitive=true) }} {{ [('x', 1), ('x', 2)] | groupby(0) }}",
        "{{ people | groupby('nope') }}",
        "{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ 'a\\n\\nb' | indent(2, blank=true) }}|"
        "{{ 'a\\nb' | indent('> ') }}|{{ 'a\\n' | indent }}|{{ '' | indent(first=true) }}|",
        "{{ 5 | indent }}",
        "{{ xs | join }} {{ xs | join(', ') }} {{ mixed | join('|') }} {{ people | join(', ', attribute='name') }} {{ 'abc' | join('-') }} "
        "{{ d | join(',') }} {{ [1, 2] | join(0) }}",
        "{{ none | join }}",
        "{{ 'abc' | list }} {{ d | list }} {{ range(3) | list }} {{ d | items | list }} {{ undefined_name | items | list }} {{ undefined_name | list }}",
        "{{ none | items | list }}",
        "{{ 'ABC' | lower }} {{ none | lower }} {{ undefined_name | upper }}| {{ u | upper }} {{ 5 | upper }} {{ true | upper }}",
        "{{ people | map(attribute='name') | list }} {{ people | map(attribute='home.city', default='-') | list }} "
        "{{ people | map(attribute='tags.0') | list }} {{ xs | map('string') | list }} {{ names | map('replace', 'a', 'A') | list }} "
        "{{ none | map('upper') | list }} {{ [[1, 2], [3]] | map('sum') | list }}",
        "{{ people | map(attribute='home.city') | list }}",
        "{{ people | map(attribute='home') | list }} {{ people | map(attribute='age') | sum }}",
        "{{ xs | map('no_such') | list }}",
        "{{ [1] | map | list }}",
        "{{ xs | max }} {{ xs | min }} {{ names | max }} {{ names | min }} {{ names | min(case_sensitive=true) }} "
        "{{ people | max(attribute='age') }} {{ [] | max }}| {{ 'hello' | max }}",
        "{{ mixed | max }}",
        "{{ {'b': 1, 'a': [1, {'z': 1, 'y': none}]} | pprint }} {{ 'x' | pprint }} {{ (1,) | pprint }}",
        "{{ xs | random }}",
        "{{ xs | select('odd') | list }} {{ xs | reject('odd') | list }} {{ mixed | select | list }} {{ xs | select('gt', 1) | list }} "
        "{{ xs | select('in', [1, 2]) | list }} {{ mixed | reject('none') | list }} {{ names | select('equalto', 'bob') | list }} "
        "{{ xs | select('>', 2) | list }}",
        "{{ people | selectattr('age', 'equalto', 31) | map(attribute='name') | list }} "
        "{{ people | rejectattr('tags') | map(attribute='name') | list }} {{ people | selectattr('home') | list | length }} "
        "{{ people | selectattr('home', 'undefined') | list | length }} {{ people | rejectattr('home', 'defined') | list | length }}",
        "{{ people | selectattr('home.city', 'eq', 'Brno') | list | length }}",
        "{{ people[:2] | selectattr('home.city', 'eq', 'Brno') | list | length }}",
        "{{ xs | select('no_such') | list }}",
        "{{ s | replace('l', 'L') }} {{ s | replace('l', 'L', 1) }} {{ 5 | replace(5, 6) }} {{ 'a' | replace('', '-') }}",
        "{{ s | reverse }} {{ xs | reverse | list }} {{ d | reverse | list }} {{ range(3) | reverse | list }} {{ (xs | map('string')) | reverse }}",
        "{{ 42.55 | round }} {{ 42.55 | round(1) }} {{ 42.45 | round(1, 'floor') }} {{ 42.41 | round(1, 'ceil') }} {{ 2.5 | round }} "
        "{{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 5 | round }} {{ 1234.5 | round(-2) }} {{ 1250 | round(-2) }} "
        "{{ 7.1 | round(method='ceil') }} {{ -2.5 | round }}",
        "{{ 'x' | round }}",
        "{{ html | safe }} {{ 5 | safe }} {{ (html | safe) | upper }}",
        "{{ xs | slice(2) | list }} {{ xs | slice(3, 'x') | list }} {{ [1] | slice(3) | list }}",
        "{{ xs | sort }} {{ xs | sort(true) }} {{ names | sort }} {{ names | sort(case_sensitive=true) }} "
        "{{ people | sort(attribute='age') | map(attribute='name') | list }} "
        "{{ people | sort(attribute='age,name', reverse=true) | map(attribute='name') | list }} {{ d | sort }} {{ 'bca' | sort }} "
        "{{ [none, none] | sort }} {{ [2.5, 1, true] | sort }}",
        "{{ mixed | sort }}",
        "{{ 5 | string }} {{ none | string }} {{ [1, 'a'] | string }} {{ 1.0 | string | length }}",
        "{{ '<p>a  <b>b</b>\\n &amp; c</p><!-- x -->' | striptags }}",
        "{{ xs | sum }} {{ [0.1, 0.2] | sum }} {{ people | sum(attribute='age') }} {{ [[1], [2]] | sum(start=[]) }} {{ [] | sum }} "
        "{{ xs | sum(start=10) }}",
        "{{ names | sum }}",
        "{{ \"hello wORLD (foo) [bar] x-y they're\" | title }} {{ 5 | title }} {{ 'ébc' | title }}",
        "[{{ spaced | trim }}][{{ 'xxaxx' | trim('x') }}][{{ 5 | trim }}][{{ undefined_name | trim }}][{{ none | trim }}]",
        "{{ 'foo bar baz qux' | truncate(9) }}|{{ 'foo bar baz qux' | truncate(9, true) }}|{{ 'foo bar baz qux' | truncate(11) }}|"
        "{{ 'foo bar baz qux' | truncate(11, false, '…', 0) }}|{{ 'short' | truncate }}",
        "{{ 'abc' | truncate(1) }}",
        "{{ names | unique | list }} {{ names | unique(true) | list }} "
        "{{ people | unique(attribute='age') | map(attribute='name') | list }} {{ 'abcab' | unique | join }} "
        "{{ [1, 1.0, true, 2] | unique | list }}",
        "{{ [[1]] | unique | list }}",
        "{{ 'a b/c?d=é&~' | urlencode }} {{ {'a b': 'c/d', 'e': 1} | urlencode }} {{ [('x', 'y z')] | urlencode }} {{ 5 | urlencode }}",
        "{{ 'see https://a.b' | urlize }}",
        "{{ 'a b, c-d_e é 1' | wordcount }} {{ '' | wordcount }}",
        "{{ 'The quick brown fox jumps over the lazy dog' | wordwrap(10) }}|{{ 'abcdefghijkl mn' | wordwrap(5) }}|"
        "{{ 'abcdefghijkl mn' | wordwrap(5, false) }}|{{ 'a b c d' | wordwrap(3, wrapstring='/') }}|{{ 'a\\n\\nb  c' | wordwrap(3) }}",
        "{{ 'well-known facts' | wordwrap(8) }}",
        "{{ {'class': 'a b', 'id': none, 'x': '<\"'} | xmlattr }}|{{ {'a': 1} | xmlattr(false) }}|{{ {} | xmlattr }}|",
        "{{ {'a b': 1} | xmlattr }}",
        "{{ s | no_such_filter }}",
        "{% if false %}{{ s | no_such_filter }}{% endif %}ok",
        "{{ s | upper | lower | replace('h', 'j') | trim('d') | length }}",
        "{{ s | upper() | replace(old='H', new='J') | default(default_value='x') }}",
        "{{ s | upper(1) }}",
        "{{ s | replace('a', 'b', 'c', 'd') }}",
        "{{ xs | join(sep=',') }}",
        "{{ xs | first | string ~ 'x' }}",
        "{{ -1 | abs }} {{ not xs | length == 4 }} {{ 1 + xs | length }}",
        "{{ range(3) | map('multiply') | list }}",
        "{{ ['a', 'b'] | map('upper') | first }}{{ xs | map(attribute='real') | list }}",
    ],
    "tojson": [
        "{{ d | tojson }} {{ mixed | tojson }} {{ u | tojson }} {{ 'a\"b\\\\c\\n\\x07\\x7f</' | tojson }}",
        "{{ people | tojson(indent=2) }}",
        "{{ {'b': 1, 'a': {'d': [], 'c': {}}} | tojson(indent=4, sort_keys=true) }}",
        "{{ d | tojson(separators=(',', ':')) }} {{ d | tojson(indent=1, separators=(', ', ' = ')) }}",
        "{{ u | tojson(ensure_ascii=true) }} {{ u | tojson(true) }} {{ u | tojson(2) }}",
        "{{ {1: 'a', none: 'b', true: 'c', 2.5: 'd'} | tojson }} {{ (1, 2) | tojson }} {{ [1.0, 1e20, 0.1, 1e-7] | tojson }}",
        "{{ 'inf' | float | tojson }} {{ big | tojson }} {{ -0.0 | tojson }}",
        "{{ {'a': 1} | tojson(indent='\\t') }} {{ [1] | tojson(indent=0) }} {{ [] | tojson(indent=2) }} {{ [[]] | tojson(indent=-1) }}",
        "{{ undefined_name | tojson }}",
        "{{ d.items() | tojson }}",
        "{{ {(1, 2): 3} | tojson }}",
        "{{ (html | e) | tojson }} {{ html | tojson }}",
        "{{ d | tojson(indent=none) }} {{ d | tojson(false, 3) }}",
        "{{ namespace(a=1) | tojson }}",
        "{{ d | tojson(indent=2) | indent(3) }}",
        "{{ {'b': 1, 2: 1} | tojson(sort_keys=true) }}",
    ],
    "tests": [
        "{{ n is odd }} {{ n is even }} {{ n is divisibleby 7 }} {{ n is divisibleby(2) }} {{ -3 is odd }} {{ 2.0 is even }}",
        "{{ n is defined }} {{ undefined_name is defined }} {{ undefined_name is undefined }} {{ d.x is defined }} {{ none is defined }} "
        "{{ n is not defined }}",
        "{{ undefined_name.x is defined }}",
        "{{ none is none }} {{ undefined_name is none }} {{ 0 is none }} {{ true is true }} {{ 1 is true }} {{ false is false }} "
        "{{ true is boolean }} {{ 1 is boolean }}",
        "{{ 1 is integer }} {{ true is integer }} {{ 1.0 is integer }} {{ 1.0 is float }} {{ 1 is float }} {{ 1 is number }} "
        "{{ true is number }} {{ '1' is number }} {{ none is number }}",
        "{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'Abc' is lower }} {{ 1 is lower }} {{ none is lower }} {{ true is upper }}",
        "{{ 'x' is string }} {{ 1 is string }} {{ ('x' | e) is string }} {{ undefined_name is string }}",
        "{{ d is mapping }} {{ xs is mapping }} {{ namespace() is mapping }} {{ d.items() is mapping }}",
        "{{ xs is sequence }} {{ 'x' is sequence }} {{ d is sequence }} {{ 5 is sequence }} {{ none is sequence }} "
        "{{ undefined_name is sequence }} {{ range(3) is sequence }} {{ d.keys() is sequence }} {{ (1,) is sequence }} "
        "{{ (xs | map('string')) is sequence }}",
        "{{ xs is iterable }} {{ 'x' is iterable }} {{ d is iterable }} {{ 5 is iterable }} {{ none is iterable }} "
        "{{ undefined_name is iterable }} {{ (xs | map('string')) is iterable }} {{ namespace() is iterable }} {{ d.values() is iterable }}",
        "{{ range is callable }} {{ s.upper is callable }} {{ xs is callable }} {{ undefined_name is callable }} {{ dict is callable }} "
        "{{ cycler(1) is callable }} {{ joiner() is callable }}",
        "{{ none is sameas none }} {{ true is sameas true }} {{ 1 is sameas true }} {{ xs is sameas xs }} {{ 'a' is sameas none }} "
        "{{ 5 is sameas 5 }} {{ 5 is sameas 6 }}",
        "{{ (html | e) is escaped }} {{ html is escaped }}",
        "{{ 2 is in xs }} {{ 'x' is in 'xyz' }} {{ 9 is not in xs }} {{ 'b' is in d }} {{ 2 is in([1, 2]) }}",
        "{{ 3 is eq 3 }} {{ 3 is equalto 3.0 }} {{ 3 is ne 4 }} {{ 3 is lt 4 }} {{ 3 is le 3 }} {{ 3 is gt 2 }} {{ 3 is ge 4 }} "
        "{{ 3 is lessthan 4 }} {{ 3 is greaterthan 2 }}",
        "{{ 3 is == 3 }}",
        "{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }} {{ 'nope' is test }} {{ 'tojson' is filter }}",
        "{{ n is no_such_test }}",
        "{{ 'x' if n is odd else 'y' }} {{ n is odd and n is not even }} {{ not n is odd }}",
        "{{ n is odd is odd }}",
        "{{ n is odd == true }} {{ xs | length is gt 3 }} {{ n is divisibleby n }} {{ s is string and s is not mapping }}",
        "{{ 'a' is odd }}",
        "{{ n is eq 3 + 4 }}",
    ],
    "globals": [
        "{{ range(3) | list }} {{ range(2, 5) | list }} {{ range(9, 0, -4) | list }} {{ range(0) | list }}",
        "{{ range(100001) }}",
        "{{ range(1, 2, 0) }}",
        "{{ range('a') }}",
        "{{ lipsum() }}",
        "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}",
        "{{ cycler() }}",
        "{% set j = joiner('; ') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}{% set k = joiner() %}{{ k() }}{{ k() }}",
        "{{ raise_exception('stop') }}",
        "{{ raise_exception() }}",
        "{{ strftime_now('%Y') | length }} {{ strftime_now('plain') }}",
        "{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{% set ns.b = 'x' %}{{ ns.a }}{{ ns.b }}{{ ns['a'] }}{{ ns.c }}|{{ ns.c is defined }}",
        "{% set ns = namespace({'x': 1}, y=2) %}{{ ns.x + ns.y }}",
        "{% set ns = namespace() %}{% set ns._x = 1 %}",
        "{% set d.x = 1 %}",
        "{{ namespace(_x=1) }}",
        "{% set ns = namespace(items=[], keys=1) %}{{ ns.items }}{{ ns.keys }}{% set ns.items = ns.items + [1] %}{{ ns.items }}",
        "{{ self }}",
        "{{ cycler }}",
        "{% macro m() %}{% endmacro %}{{ m.name }}{{ m.arguments }}",
        "{{ joiner }}{{ dict }}",
        "{{ namespace.x }}|{{ range.y }}|{{ dict.z }}|",
        "{% set ns = namespace(x=1) %}{% for i in range(3) %}{% set ns.x = ns.x * 2 %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns.me.me.me is defined }}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
        "{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ tools }}{{ documents }}",
        "{{ super() }}",
    ],
    "set": [
        "{% set x = 1 %}{{ x }}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
        "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}",
        "{% set x %}a{{ n }}b{% endset %}[{{ x }}]{% set y | upper | replace('A', 'z') %}abc{% endset %}{{ y }}",
        "{% set x = 1, 2 %}{{ x }}",
        "{% set x = 'a' if n > 3 else 'b' %}{{ x }}",
        "{% set true = 1 %}",
        "{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y }}|",
        "{% with a = 1, b = n %}{{ a }}{{ b }}{% set c = 5 %}{{ c }}{% endwith %}{{ a }}{{ c }}|",
        "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}",
        "{% with %}x{% endwith %}",
        "{% for x in xs %}{{ messages | length }}{% endfor %}{% set messages = [] %}{{ messages | length }}",
        "{% macro m() %}[{{ s }}]{% endmacro %}{{ m() }}{% set s = 'new' %}{{ m() }}",
        "{% macro m() %}[{{ s }}]{% endmacro %}{{ s }}{{ m() }}{% set s = 'new' %}{{ m() }}",
        "{% if false %}{% set s = 'x' %}{% endif %}{{ s }}",
        "{% if n > 100 %}{% set s = 'x' %}{% elif n > 200 %}{% set u = 1 %}{% else %}{% set lines = 2 %}{% endif %}{{ s }}{{ u }}{{ lines }}",
        "{% for i in [1] %}{% set s = 'in' %}{% endfor %}{{ s }}",
        "{% set range = 5 %}{{ range }}",
        "{% for i in range(2) %}{{ i }}{% endfor %}{% set range = 5 %}",
        "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t ~ m.role[0] %}{% endfor %}{{ ns.t }}",
        "{% set messages = messages[1:] %}{{ messages | length }}{% for m in messages %}{{ m.role }}{% endfor %}",
    ],
    "for": [
        "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}"
        "{{ loop.length }};{% endfor %}",
        "{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}",
        "{% for x in xs %}{% if loop.previtem is defined %},{% endif %}{{ loop.cycle('a', 'b') }}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
        "{% for x in [1, 1, 2, 2] %}{{ loop.changed(x) }}{% endfor %}{% for p in people %}{{ loop.changed(p.age, 1) }}{% endfor %}",
        "{% for x in xs if x > 1 %}{{ loop.index }}:{{ x }};{% else %}none{% endfor %}{% for x in xs if x > 9 %}{% else %}none{% endfor %}",
        "{% for x in [] %}a{% else %}b{% endfor %}",
        "{% for x in xs %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
        "{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
        "{% for x in [[1, [2, 3]], [4]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}",
        "{% for x in xs recursive %}{{ x }}{% else %}e{% endfor %}{% for x in [] recursive %}{% else %}e{% endfor %}",
        "{% for x in xs %}{{ loop(x) }}{% endfor %}",
        "{% for x in xs %}{% for y in [1, 2] %}{{ loop.index }}{{ x }}{% endfor %}{{ loop.index }}{% endfor %}",
        "{% for x in xs %}{% set outer = loop %}{% for y in [1, 2] %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
        "{% for x in xs %}{{ loop.nope }}|{% endfor %}",
        "{% for loop in xs %}{% endfor %}",
        "{% for x in xs %}{% set loop = 1 %}{% endfor %}",
        "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}",
        "{% for x in xs | sort %}{{ x }}{% endfor %}{% for x in xs[::-1] %}{{ x }}{% endfor %}{% for x in (xs | reverse) %}{{ x }}{% endfor %}",
        "{% for x in xs | map('string') %}{{ loop.length }}{{ loop.last }}{{ x }}{% endfor %}",
        "{% break %}",
        "{% for x in xs %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
        "{% for x in xs %}{{ x }}{% endfor %}{{ x }}|{{ loop }}|",
        "{% for m in messages %}{{ loop.index0 }}{{ m['role'] }}{% if not loop.last %},{% endif %}{% endfor %}",
        "{% set g = xs | map('string') %}{% for x in g %}{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}{{ g | list }}",
        "{% set g = xs | map('string') %}{{ g | first }}{{ g | list }}{{ g | list }}",
        "{% set ns = namespace(k=2) %}{% for x in xs if x < ns.k %}{{ x }}{% set ns.k = 9 %}{% endfor %}",
        "{% for x in xs: %}{{ x }}{% endfor %}",
        "{% for x in xs if loop.index > 1 %}{{ x }}{% endfor %}",
        "{% for i in range(3) %}{% for j in range(3) %}{% if j == 1 %}{% continue %}{% endif %}{% if i == 1 %}{% break %}{% endif %}{{ i }}"
        "{{ j }} {% endfor %}{% endfor %}",
    ],
    "if": [
        "{% if n == 7 %}a{% elif n == 8 %}b{% else %}c{% endif %}{% if n == 8 %}a{% elif n == 7 %}b{% else %}c{% endif %}{% if none %}a{% endif %}",
        "{% if xs %}1{% endif %}{% if [] %}2{% endif %}{% if '' %}3{% endif %}{% if {} %}4{% endif %}{% if 0.0 %}5{% endif %}"
        "{% if undefined_name %}6{% endif %}{% if range(0) %}7{% endif %}{% if namespace() %}8{% endif %}{% if [] | map('x') %}9{% endif %}",
        "{% if 1, 2 %}x{% endif %}",
        "{% if true %}{% if false %}a{% else %}b{% endif %}{% endif %}",
        "{% if true %}a{% endfor %}",
        "{% if true %}a",
        "{% else %}",
        "{% if %}{% endif %}",
        "{% if n == 7: %}x{% endif %}",
        "{% if not n %}a{% elif not none %}b{% endif %}",
    ],
    "macro": [
        "{% macro m(a, b='x') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}{{ m() }}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(c=2) }}",
        "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
        "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}",
        "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}",
        "{% macro box(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call box('b') %}x{{ n }}{% endcall %}",
        "{% macro each(l) %}{% for i in l %}{{ caller(i, loop.index) }}{% endfor %}{% endmacro %}{% call(x, i) each(xs) %}{{ i }}={{ x }};{% endcall %}",
        "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
        "{% macro f(k) %}{% if k > 0 %}{{ k }}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
        "{% macro m() %}x{% endmacro %}{% set y = m() %}{{ y | upper }}{{ y is string }}{{ m() ~ m() }}",
        "{% macro m(a=[1], b={}) %}{{ a }}{{ b }}{% endmacro %}{{ m() }}",
        "{% macro m() %}{% set s = 'in' %}{{ s }}{% endmacro %}{{ m() }}{{ s }}",
        "{% macro m(messages) %}{{ messages }}{% endmacro %}{{ m(1) }}{{ messages | length }}",
        "{% for x in xs %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
        "{% set ns = namespace() %}{% for x in xs %}{% macro m() %}{{ x }}{% endmacro %}{% set ns.m = m %}{% endfor %}{{ ns.m() }}",
        "{% macro m(*a) %}{% endmacro %}",
        "{% macro m(a=1, b) %}{% endmacro %}",
        "{% call m %}{% endcall %}",
        "{{ m() }}{% macro m() %}{% endmacro %}",
        "{% macro m(a, a) %}{% endmacro %}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(*[1]) }}{{ m(**{'x': 2}) }}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(*xs) }}",
        "{% macro m(x) -%}\n  {{ x }}\n{%- endmacro %}[{{ m(1) }}]",
        "{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}",
        "{% macro m(caller) %}{{ caller }}{% endmacro %}{{ m(1) }}",
        "{% call(x) [1] | join %}{% endcall %}",
        "{% macro m(v) %}{% if v is mapping %}{{ '{' }}{% for k in v %}{{ k }}:{{ m(v[k]) }},{% endfor %}{{ '}' }}{% else %}{{ v }}"
        "{% endif %}{% endmacro %}{{ m(schema) }}",
    ],
    "blocks": [
        "{% filter upper %}a{{ s }}{% endfilter %}{% filter replace('a', 'b') | upper %}banana{% endfilter %}",
        "{% filter indent(2) %}a\nb{% endfilter %}",
        "{% raw %}{{ x }}{% y %}{% endraw %}{% raw -%} \n a {%- endraw %}",
        "{% generation %}a{{ s }}{% endgeneration %}{% for m in messages %}{%- generation -%} {{ m.role }} {%- endgeneration -%}{% endfor %}",
        "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
        "{% for x in xs %}{% generation %}{{ loop.index }}{{ x }}{% endgeneration %}{% endfor %}",
        "{% print s, n %}{% print 'x' %}",
        "{% block a %}x{{ n }}{% endblock %}{% block b %}{% set n = 9 %}{{ n }}{% endblock b %}{{ n }}",
        "{% block a %}{% endblock %}{% block a %}{% endblock %}",
        "{% include 'x' %}",
        "{% if false %}{% include 'x' %}{% extends 'y' %}{% import 'z' as z %}{% from 'z' import a %}{% endif %}ok",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% autoescape true %}{{ html }}{% endautoescape %}",
        "{% do xs.append(1) %}",
        "{% trans %}x{% endtrans %}",
        "{% debug %}",
        "{% unknown %}",
        "{% endif %}",
        "{% for %}",
        "{# a comment {{ x }} #}x{#- y -#} z {#+ k #}",
        "{# open",
        "{% raw %}open",
    ],
    "space": [
        "A\n{% if true %}\nB\n{% endif %}\nC\n",
        "A\n  {% if true %}\n  B\n  {% endif %}\nC\n\n",
        "A\n  {%- if true -%}\n  B\n  {%- endif -%}\nC",
        "A\n  {%+ if true +%}\n  B\n  {%+ endif %}\nC",
        "  {{ n }}  \n  {{- n -}}  \n  {{ n }}\n",
        "A {% if true %} B {% endif %} C",
        "A\r\n{% if true %}\r\nB\r\n{% endif %}\r\nC\r\n",
        "A\r{% if true %}\rB{% endif %}\r\r",
        "\t{% set x = 1 %}\n\t{# c #}\n\t{{ x }}\n",
        "{% for x in xs %}\n  {{ x }},\n{% endfor %}\nend\n",
        "{{ 'a\\r\\nb' }}{{ 'a\r\nb' }}",
        "a{% if true %}\n\n b{% endif %}  \n c",
        "  {# c #}  \n  {#- d -#}  \n x",
        "\u00a0{%- if true %}x{% endif %}\u2003{%- if true %}y{% endif %}",
        "x {% raw %} y {% endraw %}\n z",
        "x\n   {% raw %}\n y \n   {% endraw %}\n z",
        "{{n}}{{ n}}{{n }}{%if n%}{{-n}}{{n-}}{%endif%}",
        "{ {n} } {{ '}}' }} {{ '%}' }} {{ {'a': {'b': 1}}['a']['b'] }} {{ {} }}",
        "{%if true%}\n{%endif%}\n{%if true%}x{%endif%}\n",
        "\n\n{{ n }}\n\n\n",
        "",
        "\n",
        "no tags at all { } {x} % } #",
    ],
    "messages": [
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
        "{% endif %}{{ m['content'] | trim }}{% endfor %}",
        "{{ messages[0] }}",
        "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(' / ') }}",
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}{% endfor %}"
        "{% endif %}{% endfor %}",
        "{% if tools is iterable and tools | length > 0 %}T{% endif %}{% if tools is not none %}N{% endif %}{% if tools %}Y{% endif %}",
        "{{ (messages | last).content }}{{ messages[::-1][0].role }}{{ messages[-1]['content'].split()[0] }}",
        "{% for m in messages %}{{ m.thinking }}{{ m.reasoning_content }}{{ m.get('tool_calls') }}{% endfor %}",
        "{% set ns = namespace(last=-1) %}{% for m in messages[::-1] %}{% set i = (messages | length - 1) - loop.index0 %}"
        "{% if ns.last < 0 and m.role == 'user' %}{% set ns.last = i %}{% endif %}{% endfor %}{{ ns.last }}",
        "{{ bos_token ~ (messages[0].content if messages[0].role == 'system' else 'none') ~ eos_token }}",
        "{{ messages | tojson }}",
        "{{ messages | map(attribute='role') | unique | list }}",
        "{{ nothing_here.x }}{{ nothing_here is none }}",
        "{{ messages == messages }} {{ messages[0] in messages }}",
        "{{ (documents or []) | length }}{{ tools or 'none' }}",
    ],
}


def render(template, inputs):
    extra = {k: v for k, v in inputs.items() if k not in ("messages", "tools", "documents", "add_generation_prompt")}
    try:
        text = render_jinja_template(
            conversations=[inputs["messages"]],
            chat_template=template,
            tools=inputs.get("tools"),
            documents=inputs.get("documents"),
            add_generation_prompt=inputs["add_generation_prompt"],
            bos_token="<s>",
            eos_token="</s>",
            **extra,
        )[0][0]
        text.encode()
    except Exception:
        return None
    return None if re.search(r" at 0x[0-9a-f]+>", text) else text


def main():
    small = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a <colour>, é?"}]
    inputs = {"small": {"messages": small, "add_generation_prompt": True, **VARIABLES}, **CONVERSATIONS}
    cases = []
    for group, list_ in SMALL.items():
        for i, template in enumerate(list_):
            cases.append({"name": f"{group}_{i:02}", "template": template, "inputs": "small", "text": render(template, inputs["small"])})
    for name, template in FAMILIES.items():
        for conversation in CONVERSATIONS:
            text = render(template, inputs[conversation])
            cases.append({"name": f"{name}_{conversation}", "of": name, "inputs": conversation, "text": text})
    random = ("{{ xs | random }}", "{{ lipsum() }}")
    for case in cases:
        if case.get("template") in random:
            case["text"] = None
    # Which year it is, and the like, must not be in here.
    path = FIXTURES / "tokenizer" / "rendered.json"
    head = {"inputs": inputs, "templates": FAMILIES}
    rows = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    path.write_text(json.dumps(head, ensure_ascii=False)[:-1] + ', "cases": [\n' + rows + "\n]}\n")
    print(len(cases), "cases,", sum(c["text"] is None for c in cases), "refused,", path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
