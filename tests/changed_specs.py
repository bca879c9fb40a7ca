"""Specs that nobody would write: shipped ones and random graphs, changed here and there.

A token becomes another, a line is gone, twice, or deeper; two names change places; two specs are
spliced; a letter of another script comes in; a number is one that no size has.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache

from hypothesis import strategies as st
from random_graphs import random_graph

from composer.language.library import shipped_folder, shipped_names

Change = Callable[[random.Random, str], str]

_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d+)?|[^\w\s]")
_NAME = re.compile(r"[A-Za-z_]\w*")
_NUMBER = re.compile(r"\b\d+(?:\.\d+)?\b")

#: Of no use as a size: too small, too large, too fine, not one, or written oddly.
NUMBERS = (
    "0", "-1", "1", "2", "3", "1.5", "0.0", "-0.0", "1e-9", "1e15", "1e16", "1e999", "-1e999", "64",
    "65536", "2147483648", "9223372036854775808", "9" * 40, ".inf", ".nan", "0x10", "0o7", "1_000",
    "1e3", "007", "~", "true", "''", "[1]", "{}", "c", "c // 0", "2 ** 64", "(c - c)", "h * w",
)  # fmt: skip
#: A control, a mark without a letter, letters that look like others, what turns the direction.
SIGNS = (
    "\0", "\a", "\x1b[31m", "\x85", "\u00a0", "\u0301", "\u0430", "\u200b", "\u2028", "\u202e",
    "\u2066", "\ufeff", "\uff11", "\uffff", "\U0001f600", "\ud800", "é", "ß", "İ", "𝐜", "%", "&",
    "*a", "!!python/object:os.system", "!x", "<<", "? ", "- ", ": ", "#", "\t", "'", '"', "`", "\\",
    "${x}", "{{x}}", "</script>",
)  # fmt: skip


def _token(rng: random.Random, text: str) -> str:
    """Put a token of any shipped spec in the place of one."""
    return _at_one(rng, text, _TOKEN, lambda _: rng.choice(_vocabulary()))


def _extreme(rng: random.Random, text: str) -> str:
    return _at_one(rng, text, _NUMBER, lambda _: rng.choice(NUMBERS))


def _value(rng: random.Random, text: str) -> str:
    """Put a number in the place of any token."""
    return _at_one(rng, text, _TOKEN, lambda _: rng.choice(NUMBERS))


def _at_one(
    rng: random.Random, text: str, where: re.Pattern[str], what: Callable[[str], str]
) -> str:
    found = list(where.finditer(text))
    if not found:
        return text
    one = rng.choice(found)
    return text[: one.start()] + what(one[0]) + text[one.end() :]


def _swapped(rng: random.Random, text: str) -> str:
    """Let two names change places, wherever they stand."""
    names = sorted(set(_NAME.findall(text)))
    if len(names) < 2:
        return text
    one, other = rng.sample(names, 2)
    return _NAME.sub(lambda word: {one: other, other: one}.get(word[0], word[0]), text)


def _lines(change: Callable[[random.Random, list[str], int], None]) -> Change:
    def changed(rng: random.Random, text: str) -> str:
        lines = text.split("\n")
        change(rng, lines, rng.randrange(len(lines)))
        return "\n".join(lines)

    return changed


def _drop(rng: random.Random, lines: list[str], at: int) -> None:
    del lines[at]


def _double(rng: random.Random, lines: list[str], at: int) -> None:
    lines.insert(rng.randrange(len(lines) + 1), lines[at])


def _move(rng: random.Random, lines: list[str], at: int) -> None:
    line = lines.pop(at)
    lines.insert(rng.randrange(len(lines) + 1), line)


def _indent(rng: random.Random, lines: list[str], at: int) -> None:
    lines[at] = " " * rng.randrange(5) + lines[at].lstrip()


def _spliced(rng: random.Random, text: str) -> str:
    """Go on as another spec does."""
    lines, others = text.split("\n"), rng.choice(_shipped()).split("\n")
    return "\n".join(lines[: rng.randrange(len(lines) + 1)] + others[rng.randrange(len(others)) :])


def _signed(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(SIGNS) + text[at:]


def _cut(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


CHANGES: tuple[Change, ...] = (
    _token, _token, _token, _extreme, _extreme, _value, _swapped, _lines(_drop), _lines(_double),
    _lines(_move), _lines(_indent), _spliced, _signed, _cut,
)  # fmt: skip


@cache
def _shipped() -> tuple[str, ...]:
    folder = shipped_folder()
    return tuple((folder / f"{name}.yaml").read_text(encoding="utf-8") for name in shipped_names())


@cache
def _vocabulary() -> tuple[str, ...]:
    return tuple(sorted({token for text in _shipped() for token in _TOKEN.findall(text)}))


def changed(rng: random.Random, most: int = 4) -> str:
    """Return a shipped spec or a random graph after some changes."""
    text = rng.choice(_shipped()) if rng.random() < 0.7 else random_graph(rng.randrange(10**6)).text
    for _ in range(rng.randint(1, most)):
        text = rng.choice(CHANGES)(rng, text) or "{}"
    return text


def changed_specs() -> st.SearchStrategy[str]:
    """Return the texts as a strategy of hypothesis, which makes what fails smaller."""
    return st.randoms(use_true_random=False).map(changed)
