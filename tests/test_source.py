"""The text of a spec: places, scalars, and what is refused before anything is built from it."""

from __future__ import annotations

import math
import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from composer.errors import ComposerError, Diagnostic
from composer.graph.frontend import check_text
from composer.language.budget import MAX_PROBLEMS, MAX_VALUES
from composer.language.library import shipped_folder
from composer.language.source import parse, resolve_scalar
from composer.primitives import ops


def source_of(text: str):
    return parse(text, "spec.yaml")[1]


# ---------------------------------------------------------------------------------------- places

TEXT = """\
name: se
title: "Squeeze: excite"
größe: {é: ü x, k: '東京'}
nodes:
  a: {op: pool, over: [h, w]}
  b:
    op: mlp
    hidden:   c // 2   # half
    list:
      - one
      -   "two"
    last: [
      x,
      y]
anchor: &here value
again: *here
"""

#: path of a value, then its line, column and length
VALUES = [
    (("name",), 1, 7, 2),
    (("title",), 2, 8, 17),
    (("größe",), 3, 8, 17),
    (("größe", "é"), 3, 12, 3),
    (("größe", "k"), 3, 20, 4),
    (("nodes",), 5, 3, 1),
    (("nodes", "a"), 5, 6, 24),
    (("nodes", "a", "op"), 5, 11, 4),
    (("nodes", "a", "over"), 5, 23, 6),
    (("nodes", "a", "over", 0), 5, 24, 1),
    (("nodes", "a", "over", 1), 5, 27, 1),
    (("nodes", "b"), 7, 5, 1),
    (("nodes", "b", "hidden"), 8, 15, 6),
    (("nodes", "b", "list", 0), 10, 9, 3),
    (("nodes", "b", "list", 1), 11, 11, 5),
    (("nodes", "b", "last"), 12, 11, 1),
    (("nodes", "b", "last", 1), 14, 7, 1),
    (("again",), 15, 9, 11),
    (("nodes", "a", "missing"), 5, 6, 24),
    (("nowhere", "at", "all"), 1, 1, 1),
]

KEYS = [
    (("name",), 1, 1, 4),
    (("größe", "k"), 3, 17, 1),
    (("nodes", "a"), 5, 3, 1),
    (("nodes", "a", "over"), 5, 17, 4),
    (("nodes", "b", "hidden"), 8, 5, 6),
]


@pytest.mark.parametrize(("path", "line", "column", "length"), VALUES, ids=lambda v: str(v))
def test_a_value_keeps_its_place(path, line, column, length):
    where = source_of(TEXT).at(path)
    assert (where.line, where.column, where.length) == (line, column, length)
    assert where.text == TEXT.splitlines()[line - 1]


@pytest.mark.parametrize(("path", "line", "column", "length"), KEYS, ids=lambda v: str(v))
def test_a_key_keeps_its_place(path, line, column, length):
    where = source_of(TEXT).at_key(path)
    assert (where.line, where.column, where.length) == (line, column, length)
    assert where.text[column - 1 :].startswith(path[-1])


#: the value as written, the stretch asked for, and the text that the carets stand under
STRETCHES = [
    ("c // zero", 5, 4, "zero"),
    ('"c // zero"', 5, 4, "zero"),
    ("'c // zero'", 5, 4, "zero"),
    ("&here c // zero", 5, 4, "zero"),
    ("&c c", 0, 1, "c"),
    ("  ü // zero", 5, 4, "zero"),
    ("東 // zero", 5, 4, "zero"),
    ('"c \\u002F/ zero"', 5, 4, '"c \\u002F/ zero"'),  # an escape: the whole of it
    ("'c // ''zero'", 5, 4, "'c // ''zero'"),
]


@pytest.mark.parametrize(("written", "start", "length", "under"), STRETCHES)
def test_a_stretch_of_a_scalar(written, start, length, under):
    where = source_of(f"key: {written}\n").within(("key",), start, length)
    begin = where.column - 1
    assert where.text[begin : begin + where.length] == under


def test_an_anchor_is_not_the_text_behind_it():
    assert source_of("key: &c c\n").within(("key",), 0, 1).column == 9


@pytest.mark.parametrize("written", ["c //\n  zero", ">\n  c // zero", "|\n  c //\n  zero"])
def test_a_scalar_over_lines_is_shown_where_it_begins(written):
    where = source_of(f"key: {written}\n").within(("key",), 5, 4)
    assert (where.line, where.column, where.length) == (1, 6, 1)


@pytest.mark.parametrize("text", ["\ufeffname: se\n", "name: se\r\nx: 1\r\n", "name: se\rx: 1"])
def test_marks_and_line_ends_of_other_systems(text):
    data, source = parse(text, "spec.yaml")
    assert data["name"] == "se"
    assert source.at(("name",)).column == 7


# --------------------------------------------------------------------------------------- scalars

SCALARS = [
    ("1", 1), ("-17", -17), ("+3", 3), ("007", 7), ("0o17", 15), ("0x1f", 31), ("0xFF", 255),
    ("1e-3", 1e-3), ("1E5", 1e5), ("1.", 1.0), (".5", 0.5), ("-.5", -0.5), ("+1.5e+3", 1500.0),
    (".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf),
    ("true", True), ("True", True), ("FALSE", False), ("~", None), ("null", None), ("", None),
    ("on", "on"), ("off", "off"), ("yes", "yes"), ("No", "No"), ("y", "y"), ("tRue", "tRue"),
    ("1_000", "1_000"), ("0b11", "0b11"), ("-0x1f", "-0x1f"), ("0o18", "0o18"), ("1:30", "1:30"),
    ("e3", "e3"), (".", "."), ("-", "-"), ("inf", "inf"), ("2024-01-01", "2024-01-01"),
    ("'1'", "1"), ('"1e-3"', "1e-3"), ("'true'", "true"), ("''", ""), ('"~"', "~"),
    ("c // 2", "c // 2"), ("<<", "<<"), ("=", "="),
]  # fmt: skip


@pytest.mark.parametrize(("written", "value"), SCALARS, ids=lambda v: repr(v))
def test_scalars_follow_yaml_1_2(written, value):
    if written != "-":  # alone this one begins a list
        read = parse(f"key: {written}", "spec.yaml")[0]["key"]
        assert (type(read), read) == (type(value), value)
    if written[:1] not in ("'", '"'):
        read = resolve_scalar(written)
        assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize("written", [".nan", ".NaN", ".NAN"])
def test_not_a_number_is_a_number(written):
    assert math.isnan(resolve_scalar(written))


def test_keys_are_text():
    assert parse("{1: a, true: b, ~: c, 1e3: d}", "spec.yaml")[0] == {
        "1": "a", "true": "b", "~": "c", "1e3": "d",
    }  # fmt: skip


# --------------------------------------------------------------------------- refused and bounded


def test_every_duplicate_key_is_noted_and_the_first_stands():
    data, source = parse("a: 1\nb: {c: 2, c: 3}\na: 4\n", "spec.yaml")
    assert data == {"a": 1, "b": {"c": 2}}
    found = [(p.code, p.where.line, p.where.column, p.help) for p in source.problems]
    assert found == [
        ("duplicate-key", 2, 11, "the first one is at line 2; rename or remove one"),
        ("duplicate-key", 3, 1, "the first one is at line 1; rename or remove one"),
    ]


def test_an_alias_is_the_value_it_names():
    data, source = parse("a: &x [h, w]\nb: *x\n", "spec.yaml")
    assert data == {"a": ["h", "w"], "b": ["h", "w"]}
    assert source.at(("b", 1)) == source.at(("a", 1))


def test_a_fault_in_an_alias_is_told_once():
    _, problems = check_text("a: &x {k: 1, k: 2}\nb: *x\n", "spec.yaml")
    assert [p.code for p in problems].count("duplicate-key") == 1


@pytest.mark.parametrize("tag", ["!foo", "!!python/object:os.system", "!!int", "!!str", "!"])
@pytest.mark.parametrize("value", ["1", "[1]", "{a: 1}"])
def test_tags_are_refused(tag, value):
    found = parse(f"key: {tag} {value}", "spec.yaml")[1].problems
    assert [(p.code, p.where.column) for p in found] == [("unknown-tag", 6)]


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)
)

#: what, its code
REFUSED = {
    "a list in itself": ("a: &a [*a]", "too-large"),
    "a mapping in itself": ("a: &a {b: *a}", "too-large"),
    "a billion laughs": (LAUGHS, "over-budget"),
    "open brackets": ("[" * 100_000, "too-deep"),
    "open braces": ("{" * 100_000, "too-deep"),
    "braces with keys": ("{a: " * 100_000, "too-deep"),
    "closed brackets": ("[" * 5_000 + "]" * 5_000, "too-deep"),
    "dashes": ("- " * 100_000, "too-deep"),
    "question marks": ("? " * 100_000, "too-deep"),
    "block mappings": ("\n".join(" " * i + "a:" for i in range(1_500)), "too-deep"),
    "block lists": ("\n".join(" " * i + "-" for i in range(1_500)), "too-deep"),
    "megabytes": ("a: " + "b" * 5_000_000, "file-too-large"),
    "many values": (f"a: [{'1,' * (MAX_VALUES + 1)}]", "over-budget"),
    "a null character": ("a: \0", "not-yaml"),
    "half a character": ("a: \ud800", "not-yaml"),
    "many brackets in a comment": ("# " + "[" * 1_000, "empty-file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_once(name):
    text, code = REFUSED[name]
    begin = time.process_time()
    spec, problems = check_text(text, "spec.yaml")
    assert time.process_time() - begin < 5
    assert spec is None
    assert [p.code for p in problems] == [code]
    assert all(len(line) < 200 for p in problems for line in p.render().splitlines())


def test_brackets_in_a_text_are_no_nesting():
    assert parse(f"help: '{'[' * 100}'", "spec.yaml")[0] == {"help": "[" * 100}


def test_many_problems_of_a_long_file_take_no_long_time():
    text = "a: 1\n" * 10_000
    begin = time.process_time()
    assert len(check_text(text, "spec.yaml")[1]) == MAX_PROBLEMS + 1
    assert time.process_time() - begin < 5


def test_what_stands_behind_the_end_is_shown_at_the_end():
    with pytest.raises(ComposerError) as caught:
        parse("a: [1,\n 2\n", "spec.yaml")
    where = caught.value.diagnostics[0].where
    assert (where.line, where.column, where.text) == (2, 3, " 2")


# ---------------------------------------------------------------------- anything at all is answered


def sound(text: str) -> None:
    """Check that a text is answered by a spec or by problems whose places lie inside it."""
    spec, problems = check_text(text, "spec.yaml")
    assert spec is not None or any(p.severity == "error" for p in problems)
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text.removeprefix("\ufeff"))
    for problem in problems:
        assert isinstance(problem, Diagnostic)
        assert problem.render()
        assert problem.code
        if (where := problem.where) is None:
            assert problem.file == "spec.yaml"
            continue
        assert 1 <= where.line <= len(lines)
        assert len(where.text) <= len(lines[where.line - 1])
        assert 1 <= where.column <= len(where.text) + 1
    places = [(p.where.line, p.where.column) for p in problems if p.where]
    assert places == sorted(places)


SHIPPED = [path.read_text(encoding="utf-8") for path in sorted(shipped_folder().glob("*.yaml"))]
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
PIECES = st.sampled_from(
    ["\n", "  ", "- ", "? ", ": ", "{", "}", "[", "]", ",", "'", '"', "#", "&a ", "*a", "!x", "|",
     ">", "%", "@", "`", "\t", "\\", "~", "0", "-1", "1e3", ".inf", ".nan", "name", "nodes",
     "input", "op",
     "over", "c", "c // 0", "é", "\x85", "\u2028", "<<", "---", "...", "true"]
)  # fmt: skip
FIELDS = sorted({f for p in ops().values() for f in p.model_fields} | {"default", "at", "a"})
WORDS = st.sampled_from(
    [*FIELDS, *ops(), "input", "c", "h", "w", "b", "k", "sigmoid", "softmax", "a", "c // 2",
     "c // 0",
     "1 if c > 2 else h", "a if c else b", "block", "residual", "log2(c - 64)", "9 ** 99", "'é'"]
)  # fmt: skip
PLAIN = st.one_of(st.integers(-3, 9), st.floats(), st.booleans(), st.none(), st.text(max_size=9))
LEAF = st.one_of(WORDS, PLAIN)
VALUE = st.recursive(
    LEAF,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)
NODE = st.fixed_dictionaries(
    {"op": st.sampled_from([*ops(), "nope"])},
    optional={field: VALUE for field in FIELDS if field != "op"},
)


@QUICK
@given(st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join)))
def test_any_text_is_answered(text):
    sound(text)


@QUICK
@given(st.sampled_from(SHIPPED), st.data())
def test_any_change_of_a_spec_is_answered(text, data):
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = min(len(text), begin + data.draw(st.integers(0, 12)))
        text = text[:begin] + data.draw(st.one_of(PIECES, WORDS, st.text(max_size=4))) + text[end:]
    sound(text)


@pytest.mark.long
@QUICK
@given(
    st.fixed_dictionaries(
        {"name": st.just("x"), "nodes": st.dictionaries(WORDS, NODE, min_size=1, max_size=4)},
        optional={
            "input": st.one_of(st.just(["b", "c", "h", "w"]), VALUE),
            "params": st.one_of(st.dictionaries(WORDS, VALUE, max_size=3), VALUE),
            "insert": VALUE,
            "output": LEAF,
            "deviations": VALUE,
            "a": VALUE,
        },
    )
)
def test_any_values_are_answered(data):
    import yaml

    sound(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
