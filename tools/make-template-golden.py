#!/usr/bin/env python3
"""Writes tests/data/templates.json: small templates, a construct each, and what Jinja makes of them in transformers'
environment for chat templates, and conversations in tests/data/thinking.jinja, a whole one. Where Jinja fails, rrt has to fail too.

    tools/make-template-golden.py

Needs: pip install transformers jinja2.
"""
import json
import pathlib
import warnings

from transformers.utils.chat_template_utils import _compile_jinja_template

warnings.simplefilter("ignore")
VARIABLES = {
    "s": "Hello, World", "empty": "", "space": "  a b\t\n", "uni": "naïve Straße 👍🏽", "quote": "it's \"q\" \\ \n\t\x01\x7f",
    "html": "<a href='x'>&</a>", "lines": "one\ntwo\r\nthree\n", "n": 7, "zero": 0, "neg": -3, "f": 2.5, "tiny": 1e-7,
    "huge": 1e16, "whole": 3.0, "yes": True, "no": False, "nil": None, "xs": [3, 1, 2], "words": ["b", "A", "c", "a"],
    "none_list": [], "mixed": [1, "a", None, True, 2.5, [1], {"k": "v"}], "nested": {"a": {"b": [10, {"c": "deep"}]}},
    "d": {"b": 1, "a": 2, "C": 3}, "items": {"items": [1], "get": 5, "pop": 1}, "nothing": {},
    "people": [{"name": "Ann", "age": 30, "tags": ["x"]}, {"name": "bob", "age": 25}, {"name": "Cid", "age": 30, "boss": True}],
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " hi "},
                 {"role": "assistant", "content": "yo", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}],
}

PRINTED = """s n f whole tiny huge yes no nil xs mixed nested d empty uni quote words none_list nothing neg people""".split()
EXPRESSIONS = r"""
1 + 2 * 3|7 // 2|-7 // 2|7 % 3|-7 % 3|7 / 2|6 / 2|2 ** 10|2 ** -1|2 ** 3 ** 2|-2 ** 2|7.5 // 2|-7.5 % 2|1e3|1_000|0x1f|0b101|0o17
1.5e-5|100000000000000000000.0|0.1 + 0.2|1 / 3|1e100|123456789012345680.0|-0.0|+3|- 3 + 1|yes + 1|yes * 3|1 + yes|"ab" * 3|3 * "ab"|"ab" * -1
"a" + "b"|"a" "b"|"a" ~ 1 ~ none ~ true|1 ~ 2|s ~ n|"a" + 1|1 + "a"|nil + 1|xs + [4]|(1, 2) + (3,)|xs * 2|xs - 1|"a" - "b"
1 == 1.0|1 == true|"1" == 1|xs == [3, 1, 2]|xs == (3, 1, 2)|d == {"a": 2, "C": 3, "b": 1}|nil == none|undef == undef2|undef == none|1 != 2
1 < 2 < 3|3 > 2 > 2|"a" < "b"|"B" < "a"|"é" > "z"|[1, 2] < [1, 3]|(1,) < (1, 0)|1 < "a"|nil < 1|1 <= 1|2 >= 3|1 < 2 == true|undef < 1
1 in xs|5 not in xs|"lo" in s|"x" in empty|1 in s|"a" in d|"z" in d|1 in undef|nil in mixed|"a" in nil|not yes|not none_list|not undef
yes and "a"|no and "a"|empty or "b"|nil or no or 0|1 and 2 or 3|not yes or yes|"x" if yes|"x" if no|"x" if no else "y"|"a" if no else "b" if no else "c"
s[0]|s[-1]|s[100]|s[1:4]|s[:5]|s[-5:]|s[::-1]|s[::2]|s[5:1:-2]|s[10:2]|uni[2]|uni[::-1]|uni[-2:]|uni[3:9]|xs[0]|xs[-1]|xs[5]|xs[1:]|xs[::-1]|xs[:-1]|xs[::0]|(1, 2, 3)[1:]
d["a"]|d.a|d["z"]|d.z|d.z.y|d["z"]["y"]|nested.a.b[1].c|nested["a"]["b"].0|people[0].name|people.0.name|xs.0|xs.foo|n.foo|n["x"]|nil.x|undef.x|undef["x"]|undef|undef is defined|s.foo
items.items|items["items"]|items.get|items.pop|d.pop("a")|xs.append(4)|xs.append|d.update({})|d.setdefault("q", 1)|xs.clear()|xs.sort()
d.get("a")|d.get("z")|d.get("z", 5)|d.get("z", default=5)|d.items()|d.keys()|d.values()|d.keys() | list|d.items() | list|d.values() | sum|d | length|d | list|d.copy()|d.foo()|nothing or "e"
xs.index(1)|xs.index(9)|xs.count(3)|(1, 2, 1).count(1)|xs | length|s | length|uni | length|nil | length|n | length|undef | length|xs | count|none_list | length
space.strip()|space.lstrip()|space.rstrip()|"xxaxx".strip("x")|"abcab".strip("ba")|"xxa".lstrip("x")|"axx".rstrip("x")|space | trim|n | trim|nil | trim|"xax" | trim("x")|"\u00a0a\u3000".strip()
s.upper()|s.lower()|s.title()|s.capitalize()|"they're ok".title()|uni.title()|s | upper|s | lower|"foo-bar (baz) x" | title|"hELLO wORLD" | capitalize|n | upper|uni.lower()|"ǆ".title()|"éa".capitalize()
s.startswith("He")|s.startswith("x")|s.startswith(("x", "H"))|s.startswith("l", 2)|s.endswith("ld")|s.endswith(("x", "d"))|s.startswith(1)|s.startswith("")|s.endswith("lo", 0, 5)
"a,b,,c".split(",")|"a,b,c".split(",", 1)|" a  b c ".split()|" a  b c ".split(none, 1)|"a,b,c".rsplit(",", 1)|" a b  c ".rsplit(none, 1)|"abc".split("")|"a<x>b".split("<x>")|lines.splitlines()|lines.splitlines(true)|"".split()|"".split(",")|"a,b".split(sep=",")|"aXbXc".rsplit("X")
"a b".partition(" ")|"ab".partition(" ")|"a b c".rpartition(" ")|"ab".rpartition(" ")|"foobar".removeprefix("foo")|"foobar".removesuffix("bar")|"foo".removeprefix("x")
s.replace("l", "L")|s.replace("l", "L", 1)|"aaa".replace("aa", "b")|"ab".replace("", "-")|"ab".replace("", "-", 1)|s | replace("o", "0")|s | replace("o", "0", 1)|n | replace(7, 8)|s.replace("zz", "y")
s.find("o")|s.find("o", 5)|s.find("zz")|s.rfind("o")|uni.find("S")|s.index("W")|s.index("zz")|s.count("l")|s.count("")|"aaaa".count("aa")|s.find("H", -5)
", ".join(["a", "b"])|"".join(words)|"-".join("abc")|",".join([1, 2])|words | join|words | join(", ")|xs | join("-")|people | join(", ", attribute="name")|s | join("-")|[[1], "a", none] | join("|")|d | join
"12".isdigit()|"1a".isdigit()|"".isdigit()|"ab".isalpha()|"a1".isalnum()|" \t".isspace()|"é".isalpha()|"٣".isdigit()|"5".ljust(3, "0")|"5".rjust(3)|"ab".ljust(1)
"%s and %d" % ("a", 5)|"%s" % "x"|"%5.2f|%-5s|%05d|%x" % (3.14159, "ab", 42, 255)|"%s" % xs|"%(a)s" % d|"%d%%" % 5|"%s %s" % "a"|"%r" % "a"|"%s" % none|"%d" % "a"|"%s" % (1, 2)|"%+d" % 5|"%e" % 12345.678|"%s" | format("v")|"%s-%s" | format(1, 2)|"%.3s" % "abcdef"|"%5s" % "ab"
"{} {}".format(1, "a")|"{1} {0}".format("a", "b")|"{x}".format(x=5)|"{:.2f}".format(3.14159)|"{:>5}|{:<5}|{:^5}".format("a", "b", "c")|"{:05d}".format(42)|"{{}}".format()|"{}".format()|"{!r}".format("a")|"{:,}".format(1234567)|"{:*^7}".format("ab")|"{}".format(none)|"{}".format(xs)|"{:d}".format(5)|"{:x}".format(255)|"{:.1%}".format(0.256)|"{:+}".format(3)|"{:s}".format("a")|"{:d}".format("a")|"{:5}".format(3)|"{:5}".format(true)
undef | default("x")|empty | default("x")|empty | default("x", true)|nil | default("x")|nil | d("x", true)|d.z | default("q")|undef | default|zero | default(5, boolean=true)
xs | first|xs | last|none_list | first|s | first|s | last|d | first|xs | max|xs | min|words | min|words | max|none_list | max|people | max(attribute="age")|xs | sum|people | sum(attribute="age")|xs | sum(start=10)|words | sum|people | map(attribute="age") | sum
xs | sort|xs | sort(reverse=true)|words | sort|words | sort(case_sensitive=true)|people | sort(attribute="age") | map(attribute="name") | list|people | sort(attribute="age,name") | map(attribute="name") | list|[1, "a"] | sort|"hello" | sort|people | sort(attribute="age", reverse=true) | map(attribute="name") | join
xs | reverse | list|s | reverse|words | unique | list|words | unique(case_sensitive=true) | list|[1, 1.0, 2] | unique | list|xs | list|s | list|d | dictsort|d | dictsort(true)|d | dictsort(by="value")|d | dictsort(reverse=true)|d | items | list|undef | items | list|n | items | list
words | map("upper") | list|words | map("lower") | join|people | map(attribute="name") | list|people | map(attribute="boss", default="-") | list|nested | map("upper") | list|xs | map("string") | join("+")|nil | map("upper") | list|people | map(attribute="tags.0") | list|words | map("replace", "a", "z") | list|3 | map("upper") | list
mixed | select("string") | list|mixed | select("number") | list|xs | select("gt", 1) | list|xs | reject("odd") | list|mixed | select | list|people | selectattr("boss") | list|people | selectattr("age", "equalto", 30) | map(attribute="name") | list|people | rejectattr("boss") | map(attribute="name") | list|people | selectattr("tags", "defined") | list | length|people | selectattr("name", "in", ["Ann"]) | list|nil | selectattr("a") | list|messages | rejectattr("role", "==", "system") | map(attribute="content") | list|xs | select("odd")|length
"42" | int|"4.7" | int|"x" | int|"x" | int(5)|4.9 | int|-4.9 | int|nil | int|"0x1f" | int(0, 16)|" 8 " | int|"1_0" | int|"1.5" | float|"x" | float|"x" | float(1.0)|n | float|yes | int|"inf" | float|undef | int|"" | int
neg | abs|-2.5 | abs|s | abs|2.567 | round(2)|2.5 | round|3.5 | round|0.125 | round(2)|2.1 | round(0, "ceil")|2.9 | round(0, "floor")|7 | round|2.675 | round(2)|1e-9 | round(2)|2.5 | round | int
n | string|f | string|xs | string|nil | string|s | string|html | escape|html | e|html | safe|(html | safe) + "<"|"<" + (html | safe)|(html | safe) ~ "<"|(html | safe).upper()|(html | safe) | trim|(html | safe) | replace("<", ">")|"<" ~ (html | e)|(html | safe) * 2|(html | safe).replace("a", "<")|("," | safe).join(["<"])|html | e | e
lines | indent|lines | indent(2)|lines | indent(2, true)|lines | indent("> ")|"a\n\nb" | indent(2)|"a\n\nb" | indent(2, blank=true)|"" | indent|n | indent|"a\n" | indent(1, true)|"\n" | indent(2, true, true)
xs | tojson|d | tojson|mixed | tojson|quote | tojson|html | tojson|uni | tojson|uni | tojson(ensure_ascii=true)|nested | tojson(indent=2)|d | tojson(sort_keys=true)|d | tojson(separators=(",", ":"))|none_list | tojson(indent=4)|nothing | tojson(indent=2)|undef | tojson|f | tojson|huge | tojson|{1: "a", none: 2, true: 3, 2.5: 4} | tojson|nil | tojson|(1, 2) | tojson|xs | tojson(indent="\t")|d | tojson(indent=2, separators=(",", ": "))|{"z": {"y": 1, "x": 2}} | tojson(indent=1, sort_keys=true)|range(3) | tojson|d.keys() | tojson
s is string|n is string|n is number|yes is number|f is float|n is integer|yes is integer|yes is boolean|yes is true|n is true|no is false|nil is none|d is mapping|xs is mapping|xs is iterable|n is iterable|s is iterable|xs is sequence|d is sequence|n is sequence|undef is sequence|undef is iterable|s is sequence|d.items() is sequence|xs is callable|range is callable|undef is undefined|s is not none|s is not string
n is odd|n is even|n is divisibleby 7|n is divisibleby(2)|n is eq 7|n is equalto 8|n is ne 8|n is lt 8|n is gt(8)|n is ge 7|n is le 6|1 is in xs|9 is in([1])|n is sameas n|s is upper|"A" is upper|"a" is lower|"1" is lower|n is lessthan 9|n is greaterthan 1|s is odd|n is in [7] and yes|nil is none or no|n is == 7
range(3)|range(3) | list|range(1, 4) | list|range(5, 0, -2) | list|range(0)|range(1, 9, 3)|range(1000000)|range("a")|range(3)[1]|range(3) | length|range(3) is iterable|dict(a=1, b=2)|dict({"a": 1}, b=2)|dict([("a", 1)])|namespace(a=1).a|namespace(a=1).b|namespace(_a=1)|namespace({"a": 2}).a|namespace(a=1)
{"a": 1, "b": [1, 2]}|{"a": 1,}|[1, 2,]|(1,)|()|(1)|[]|{}|{1: 2}[1]|{"a": {"b": 1}}.a.b|[[1, 2], [3]][0][1]|{true: "t"}[1]|{(1, 2): 3}[(1, 2)]|{[1]: 2}|["a", 'b"', "c'"]
"\n\t\\"|'\''|"\x41\u00e9\U0001F600"|"\q"|"\101"|'a\
b'|"é"|"{{ x }}"|"{% x %}"|"#}"|'}}'|{"a": {"b": 1}}|"a\"b"
true|True|false|False|none|None|TRUE|raise_exception("bad")|foo()|s()|n(1)|cycler("a", "b").next()|joiner(",")()|undef()|xs | foo|xs is foo|lipsum()|"a" | upper | lower|-1 | abs|(-1) | abs|not 1 in xs|1 if 1 is odd else 2|xs[1] + xs[-1] * 2|(xs | length) - 1|xs | length - 1|"a" if xs|length > 2 else "b"
"""
TEMPLATES = [
    "a\nb\n", "a\n\n", "a\r\nb\rc", "", "\n", "{{ 1 }}\n{{ 2 }}\n", "{% if yes %}\na\n{% endif %}\nb", "  {% if yes %}  \n  a\n  {% endif %}  \nb",
    "a {%- if yes %} b {% endif -%}\n c", "a {%+ if yes %} b {%+ endif %} c", "a\n  {%+ if yes +%}\nb{% endif %}", "{{- 1 -}}\n\n x {{ 2 -}} y",
    "  {{ 1 }}  ", "a\n  {# c #}\nb", "a {#- c -#} b", "a\n{# c\n d #}\nb", "{# {{ x }} #}z", "{#+ c +#}\nz", "{##}a", "{#-#} a", "a{# {% if %} #}b",
    "{% raw %}{{ x }}{% endraw %}", "{% raw -%}\n {{ x }} {%- endraw %} b", "a\n  {% raw %}\n b\n  {% endraw %}\nc", "{%- raw -%} {% x %} {%- endraw -%} b",
    "\u00a0{%- if yes %}a{% endif %}", "a\u3000 {%- if yes -%}\u2003 b{% endif %}", "x\n\t {% if yes %}a{% endif %}", "{% if yes %}{% endif %}\n\nb", "{{ '\n' }}{% set a = 1 %}\n{{ a }}",
    "{% if no %}a{% elif yes %}b{% else %}c{% endif %}", "{% if no %}a{% elif no %}b{% elif 0 %}c{% else %}d{% endif %}", "{% if undef %}a{% endif %}b", "{% if xs and d %}a{% endif %}",
    "{% if undef is not defined %}{% set undef = 5 %}{% endif %}{{ undef }}", "{% if no %}{% set q = 5 %}{% endif %}{{ q }}|{{ q is defined }}", "{% if yes %}{% set s = 1 %}{% endif %}{{ s }}",
    "{% for x in xs %}{{ x }},{% endfor %}", "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}", "{% for x in xs %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in xs %}{{ loop.cycle('a', 'b') }}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}", "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}", "{% for x in none_list %}a{% else %}b{% endfor %}",
    "{% for x in undef %}a{% else %}b{% endfor %}", "{% for x in nil %}a{% endfor %}", "{% for x in n %}a{% endfor %}", "{% for x in s %}{{ x }}.{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d | items %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d | dictsort %}{{ k }}{{ v }}{% endfor %}", "{% for a, b in [[1, 2], (3, 4)] %}{{ a }}{{ b }}{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}", "{% for a, b in xs %}{{ a }}{% endfor %}", "{% for x in xs if x > 1 %}{{ x }}{{ loop.index }}{{ loop.length }} {% endfor %}", "{% for x in xs if x > 9 %}a{% else %}none{% endfor %}",
    "{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}e{% endfor %}", "{% break %}", "{% for x in xs %}{% for y in xs %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}",
    "{% for x in xs %}{% set q = x %}{% endfor %}{{ q }}", "{% set q = 0 %}{% for x in xs %}{% set q = q + x %}{{ q }} {% endfor %}{{ q }}", "{% set ns = namespace(q=0) %}{% for x in xs %}{% set ns.q = ns.q + x %}{% endfor %}{{ ns.q }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b }}|{{ ns.b is defined }}", "{% set d.a = 1 %}", "{% set ns = namespace() %}{% set ns._a = 1 %}", "{% set zz.a = 1 %}", "{% for x in xs %}{{ x }}{% endfor %}{{ x }}", "{% set x = 9 %}{% for x in xs %}{{ x }}{% endfor %}{{ x }}",
    "{% for x in xs %}{% for y in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}", "{% for x in xs %}{% set outer = loop %}{% for y in [1] %}{{ outer.index }}{% endfor %}{% endfor %}", "{% for x in xs | sort %}{{ x }}{% endfor %}", "{% for x in range(3) %}{{ x }}{% endfor %}",
    "{% for x in xs[::-1] %}{{ x }}{% endfor %}", "{% for x in 1, 2 %}{{ x }}{% endfor %}", "{% for x in (xs if yes else []) %}{{ x }}{% endfor %}", "{% for m in messages %}{{ m.role }}:{{ m['content'] | trim }}{{ m.tool_calls[0].function.name if m.tool_calls }};{% endfor %}", "{% for m in messages[1:] %}{{ loop.index0 }}{{ m.role }}{% endfor %}",
    "{% for x in xs %}{{ loop }}{% endfor %}", "{% for i in range(0, 3) %}{% for j in range(i) %}{{ i }}{{ j }} {% endfor %}{% endfor %}", "{% for x in d.values() | list %}{{ x }}{% endfor %}", "{% for c in 'ab' %}{{ loop.last }}{% endfor %}", "{{ loop }}|", "{% for x in xs %}{{ loop.foo }}{% endfor %}",
    "{% set a = 1 %}{% set b = a + 1 %}{{ b }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = xs %}", "{% set a = 1, 2 %}{{ a }}", "{% set a %}x{{ n }}y{% endset %}{{ a }}|{{ a | length }}", "{% set a | upper %}x{{ n }}{% endset %}{{ a }}", "{% set a %}{% set n = 3 %}{{ n }}{% endset %}{{ a }}{{ n }}",
    "{% set a | trim | replace('x', 'y') %}  x  {% endset %}[{{ a }}]", "{% set a = a %}{{ a }}|", "{% set s = s + '!' %}{{ s }}", "{% set true = 1 %}", "{% set a %}{% set b %}in{% endset %}[{{ b }}]{% endset %}{{ a }}{{ b }}",
    "{% macro m(a, b=2) %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(c=2) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
    "{% macro m(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ m() }}", "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(4) }}", "{% set v = 1 %}{% macro m() %}{{ v }}{% endmacro %}{% set v = 2 %}{{ m() }}", "{% macro m() %}{{ late }}{% endmacro %}{% set late = 5 %}{{ m() }}", "{% for x in xs %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro m() %}{{ x }}{% endmacro %}{% for x in xs %}{{ m() }}|{% endfor %}", "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}", "{% macro m() %}a{% set z = 1 %}{% endmacro %}{{ m() }}{{ z }}", "{% macro m() %}  a  {% endmacro %}[{{ m() | trim }}]{{ m() is string }}",
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in{{ n }}{% endcall %}", "{% macro m(xs) %}{% for x in xs %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(v) m(xs) %}[{{ v }}]{% endcall %}", "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}", "{% macro m(a) %}{{ a }}{{ caller() }}{% endmacro %}{% call m('x') %}y{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "{% macro m(x, y) %}{{ x }}{{ y }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'x': 3, 'y': 4}) }}", "{{ m() }}{% macro m() %}a{% endmacro %}", "{% macro m(d={}) %}{{ d }}{% endmacro %}{{ m() }}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m() %}{% for x in xs %}{{ x }}{% endfor %}{% endmacro %}{{ m() }}",
    "{% filter upper %}abc{{ s }}{% endfilter %}", "{% filter trim | upper %}  a {% set q = 1 %} {% endfilter %}{{ q }}", "{% filter indent(2) %}a\nb{% endfilter %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a }}", "{% with a = n, b = a %}{{ b }}{% endwith %}",
    "{% generation %}a{{ n }}{% endgeneration %}b", "{% for x in xs %}{% generation %}{{ x }}{{ loop.index }}{% endgeneration %}{% endfor %}", "{% generation %}{% set q = 1 %}{{ q }}{% endgeneration %}{{ q }}", "{%- generation -%} a {%- endgeneration -%} b",
    "{% if %}a{% endif %}", "{% if yes %}a", "{% endif %}", "{% foo %}", "{{ }}", "{{ 1 + }}", "{{ (1 }}", "{{ 1) }}", "{{ 'a }}", "{# a", "{% raw %}a", "{{ a b }}", "{% for in xs %}{% endfor %}", "{% for x of xs %}{% endfor %}", "{% set %}", "{% else %}", "{{ x | }}", "{{ 1 is }}", "{{ $ }}", "{% if yes }}a{% endif %}", "{{ [1, }}", "{{ {'a' 1} }}", "{{ f(a=1, 2) }}", "{% set x = %}", "{{ 1 %}",
    "{{ 'a' if yes }}{{ 'b' if no }}", "{{ raise_exception('no ' ~ n) }}", "{% if no %}{{ raise_exception('x') }}{% endif %}ok", "{{ undef.foo is defined }}", "{{ d.foo is defined }}{{ d.foo.bar is defined }}", "{{ (d.foo).bar }}", "{{ undef | upper }}|", "{{ undef ~ 'a' }}", "{{ undef + 'a' }}", "{{ 'a' in undef }}", "{{ undef | join }}|", "{{ undef | list }}", "{{ -undef }}", "{{ undef[1:] }}", "{{ undef == 1 }}",
    "{{ x }}{% set x = 1 %}{{ x }}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set _ = c.reset() %}{{ c.next() }}", "{% set j = joiner('|') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}", "{% set j = joiner() %}{{ j() }}a{{ j() }}b",
    "{{ [1, 2] | map('string') | join(',') }}", "{% set it = xs | map('string') %}{{ it | join }}{{ it | join }}|", "{% set it = xs | select %}{{ it | first }}{{ it | list }}", "{{ (xs | reverse)[0] }}", "{% set f = 'x'.upper %}{{ f() }}", "{% set g = d.get %}{{ g('a') }}", "{{ 'abc' | upper if yes else 'x' }}", "{{ s|replace('l','')|upper|lower|title }}",
    "{%- for m in messages -%}\n    {%- if m.role == 'system' -%}\n        S: {{ m.content }}\n    {%- else -%}\n        {{ '\\n' + m.role + ': ' + m.content }}\n    {%- endif -%}\n{%- endfor -%}", "{% for m in messages %}\n{{ m.role }}\n{% if loop.last %}\nend\n{% endif %}\n{% endfor %}\n",
    "{{ messages[0]['content'][:2] + '..' }}", "{{ messages | map(attribute='role') | list }}", "{{ messages[-1].tool_calls | tojson }}", "{{ (messages | selectattr('role', 'equalto', 'user') | list | last).content }}", "{% set loop_messages = messages[1:] if messages[0].role == 'system' else messages %}{{ loop_messages | length }}",
    "{% set x = {'a': 1} %}{% for k in x %}{{ x[k] }}{% endfor %}", "{{ strftime_now('%%') }}", "{{ strftime_now('') }}|", "{{ 1.0 }}{{ 1e20 }}{{ 1e-5 }}{{ 123456.789 }}{{ 1e15 }}{{ 12345678901234567 }}", "{{ 'a%sb' % n }}{{ '100%' }}", "{{ [n, f, nil, yes, 'x'] }}", "{{ {'k': [1, {'z': none}]} }}",
    "{{ 'x' * n }}{{ n * 'y' }}", "{% set n = n - 1 %}{{ n }}", "{{ 5 % 3 == 2 }}", "{{ 'ab' 'cd' ~ 'ef' }}", "{{ xs | join(', ') | upper }}", "{{ uni | upper | length > 1 }}", "{% for a in [1] %}{% for b in [2] %}{{ a }}{{ b }}{% endfor %}{{ b }}{% endfor %}", "{% if yes -%}   a   {%- endif %}", "{{ 1 }}{{- ' ' -}}{{ 2 }}", "{{ d | dictsort | map('first') | list }}", "{{ xs | batch(2) | list }}", "{{ xs | batch(2, 0) | list }}",
    "{% for x in range(3) %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}{% endfor %}", "{% for x in range(4, -1, -2) if x %}{{ x }}{{ loop.index }}{% endfor %}",
    "{{ range(5)[-1] }}{{ range(5) | last }}{{ range(2, 5) == range(2, 5) }}{{ 3 in range(3) }}{{ range(3).index(1) }}", "{% set r = range(3) %}{% for x in r %}{% for y in r %}{{ x }}{{ y }} {% endfor %}{% endfor %}",
    "{% for a in [1, 2] %}{% if a == 1 %}{% set q = 'x' %}{% endif %}{{ q }}|{% endfor %}", "{% for a in [1, 2] %}{% macro m() %}{{ a }}{% endmacro %}{% set b = a %}{{ m() }}{{ b }}{% endfor %}{{ b }}",
    "{% for a in [1, 2] %}{{ b }}{% set b = a %}{{ b }};{% endfor %}", "{% for i in range(3) %}{% for j in range(3) if j > i %}{{ i }}{{ j }} {% endfor %}{% endfor %}", "{{ range(9223372036854775806, 9223372036854775807) | list }}",
    "{{ 'ab' * 0 }}{{ 'ab' * 1 }}{{ 'ab' * 7 }}", "{{ 'é'.rjust(4, '👍') }}{{ 'abc'.ljust(-5) }}|", "{{ messages[1:][0].role }}{{ messages[0:2][-1].role }}{{ messages[5:] }}",
    "{% include 'a' %}", "{% import 'a' as b %}", "{% extends 'a' %}", "{% block a %}x{% endblock %}", "{% do x %}", "{{ self }}",
]

CALLS = [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 3, "units": ["C", None], "deep": {"a": True}}}},
         {"type": "function", "function": {"name": "now", "arguments": {}}}]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": " What the weather will be. ", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "where"}, "days": {"type": "integer"},
                                     "units": {"type": ["array", "null"], "enum": ["C", "F"]}}, "required": ["city"]}}},
         {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is <think> for?"}]
CONVERSATIONS = [
    [], [{"role": "user", "content": "hi"}], ASKED, ASKED + [{"role": "assistant", "content": "<think>\nhm,\nwell\n</think>\n\nFor thoughts."}],
    ASKED + [{"role": "assistant", "content": "<think>\nhm\n</think>\n\nFor thoughts."}, {"role": "user", "content": "Sure?"}],
    ASKED + [{"role": "assistant", "content": "\n\nYes.", "reasoning_content": "\nI know.\n"}, {"role": "user", "content": "Sure?"},
             {"role": "assistant", "content": "no</think>\n\n</think>\nYes!", "reasoning_content": None}],
    ASKED + [{"role": "assistant", "content": "", "reasoning_content": "a tool", "tool_calls": CALLS}, {"role": "tool", "content": "sun"},
             {"role": "tool", "content": [{"type": "text", "text": "12"}, {"type": "text", "text": ":00"}]}],
    ASKED + [{"role": "assistant", "content": "Let me see.", "tool_calls": CALLS[1:]}, {"role": "tool", "content": "12:00"},
             {"role": "assistant", "content": "<think>noon</think>Noon."}, {"role": "system", "content": "Louder."}],
    [{"role": "assistant", "content": "x", "tool_calls": [{"name": "f", "arguments": '{"a": 1}'}]}, {"role": "user", "content": "<tool_response>1</tool_response>"},
     {"role": "assistant", "content": "y</think>z"}],
    [{"role": "user", "content": [{"type": "image"}]}], [{"role": "critic", "content": "bad"}], [{"role": "user", "content": None}],
]


def conversations():
    """The whole template, with and without thinking, tools and a prompt."""
    template = (pathlib.Path(__file__).resolve().parent.parent / "tests/data/thinking.jinja").read_text(encoding="utf-8")
    settings = [{"add_generation_prompt": True}, {"add_generation_prompt": True, "enable_thinking": True}, {"add_generation_prompt": True, "enable_thinking": False},
                {"add_generation_prompt": False, "enable_thinking": True, "tools": TOOLS}, {"add_generation_prompt": True, "tools": TOOLS}]
    for messages in CONVERSATIONS:
        for setting in settings:
            variables = {"messages": messages} | setting
            yield {"variables": variables, **render(template, variables)}


def render(template, variables={}):
    try:
        return {"text": _compile_jinja_template(template).render(**VARIABLES | variables)}
    except Exception as failure:
        return {"fails": f"{type(failure).__name__}: {failure}"[:120]}


def expressions():
    for line in EXPRESSIONS.replace("\\\n", "\\\\\n").strip("\n").split("\n"):
        depth, start, quote, skip = 0, 0, None, False
        for i, c in enumerate(line + "|"):
            if skip:
                skip = False
            elif c == "\\":
                skip = True
            elif quote:
                quote = None if c == quote else quote
            elif c in "'\"":
                quote = c
            elif c in "([{":
                depth += 1
            elif c in ")]}":
                depth -= 1
            # A filter's | has a space before it, or stands in brackets.
            elif c == "|" and not depth and line[i - 1:i] != " " and line[i + 1:i + 7] != "length":
                yield "{{ " + line[start:i] + " }}"
                start = i + 1


def main():
    cases = [{"template": t, **render(t)} for t in
             ["{{ " + name + " }}" for name in PRINTED] + list(expressions()) + TEMPLATES]
    here = pathlib.Path(__file__).resolve().parent.parent / "tests/data/templates.json"
    with open(here, "w", encoding="utf-8") as file:
        file.write('{"variables": ' + json.dumps(VARIABLES, ensure_ascii=False) + ',\n"cases": [\n')
        file.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n],\n\"thinking\": [\n")
        file.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in conversations()) + "\n]}\n")
    print(f"{len(cases)} templates, {sum('fails' in c for c in cases)} of which fail")


main()
