"""Whatever comes, there is a result or a message: specs changed at random, by the hundred.

In CI for a bounded number of inputs, the same ones each time; ``pytest -m slow`` tries more, and
``--hypothesis-seed`` others. `tests/fuzz` has what runs by hand, led by the lines that it reaches.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from changed_specs import CHANGES, changed, changed_specs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from composer.errors import ComposerError
from composer.graph.frontend import check_text
from composer.language.expressions import (
    MAX_LENGTH,
    ExpressionError,
    bind,
    difference,
    evaluate,
    is_whole,
)
from composer.language.expressions import parse as parse_expression
from composer.visible import visible

FILE = "changed.yaml"


def of(count: int) -> settings:
    """Return how many inputs are tried; they are the same each time."""
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


# --------------------------------------------------------------------------------------- the spec


def checks(text: str) -> None:
    """Check a text; what is found has a code, words, and a place in the text."""
    spec, problems = check_text(text, FILE)
    assert (spec is None) == any(p.severity == "error" for p in problems)
    lines = text.splitlines() or [""]
    for problem in problems:
        assert problem.code and problem.message.strip()
        if problem.where is not None and problem.where.file == FILE:
            assert 1 <= problem.where.line <= len(lines) + 1
    shown = str(ComposerError(problems)) if problems else ""
    assert visible(shown) == shown, "a character of the spec goes to the terminal raw"


#: What fuzzing found: the text, and the message of it that is first.
FOUND = [
    (
        "r:]\nt: u",
        """\
changed.yaml:2:2: error[not-yaml]: a ':' is not allowed here
    2 | t: u
      |  ^
  help: put a text that contains ': ' in quotes; otherwise check the indentation of this line""",
    ),
]


@pytest.mark.parametrize(("text", "message"), FOUND)
def test_what_was_found_has_a_message(text, message):
    checks(text)
    assert str(ComposerError(check_text(text, FILE)[1])) == message


def builds(text: str) -> None:
    """Build what the check accepts, without memory; and draw it."""
    import composer

    spec, _ = check_text(text, FILE)
    if spec is None:
        return
    try:
        composer.build(spec, channels=64, size=(14, 14), device="meta")
    except ComposerError as failure:
        assert failure.diagnostics


def expressions(text: str) -> None:
    """Read an expression, bind it, compare it, show it."""
    try:
        read = parse_expression(text)
        if len(str(read)) <= MAX_LENGTH and not any(isinstance(e.value, str) and not e.names
                                                    for e in read.walk()):  # fmt: skip
            assert parse_expression(str(read)) == read  # words are shown without their quotes
        is_whole(read)
        evaluate(read, {"c": 64, "h": 14})
        difference(read, bind(read, {}))
    except ExpressionError as failure:
        assert failure.code and failure.message
        assert failure.start >= 0 and failure.length >= 0


EXPRESSIONS = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from((
            "c", "h", "1", "0", "2.5", "1e15", "64", "(", ")", ",", "+", "-", "*", "/", "//", "%",
            "**", "<", "==", "if", "else", "max(", "log2(", "odd(", "sqrt(", "'w'", "pi", "true",
            " ", ".", "not", "1if", "\\", "é", "in", "0x", "j", "_", "lambda:", "[", "]",
        )),
        max_size=16,
    ).map(" ".join),
)  # fmt: skip
CASES: tuple[tuple[str, Callable[[str], None], st.SearchStrategy[str], int], ...] = (
    ("check", checks, changed_specs(), 100),
    ("build", builds, changed_specs(), 40),
    ("expression", expressions, EXPRESSIONS, 150),
)


def tried(one: Callable[[str], None], texts: st.SearchStrategy[str], count: int) -> None:
    @of(count)
    @given(texts)
    def each(text: str) -> None:
        one(text)

    each()


@pytest.mark.parametrize(("what", "one", "texts", "count"), CASES, ids=[c[0] for c in CASES])
def test_whatever_comes_there_is_a_result_or_a_message(what, one, texts, count):
    tried(one, texts, count)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "one", "texts", "count"), CASES, ids=[c[0] for c in CASES])
def test_of_many_more_too(what, one, texts, count):
    tried(one, texts, 20 * count)


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_each_change_changes_a_spec(change):
    texts = {CHANGES[change](random.Random(seed), "name: a\ninput: [b, c]\nk: 3") for seed in
             range(20)}  # fmt: skip
    assert len(texts) > 1


def test_the_changes_leave_specs_that_check_and_specs_that_do_not():
    sound = [check_text(changed(random.Random(seed)), FILE)[0] is not None for seed in range(60)]
    assert 3 < sum(sound) < 57
