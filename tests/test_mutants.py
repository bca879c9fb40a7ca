"""The mutants themselves: each is one fault, in code that runs."""

from __future__ import annotations

import ast

import pytest
from mutants import AREAS, ROOT, mutants

TEXT = '''
"""Not this."""
from x import y

LIMIT: int = 3


def f(a: int, b: bool = True) -> int | None:
    """Nor this."""
    if a < 3 and not b:
        raise ValueError(f"{a + 1}")
    for i in a:
        print(i)
        continue
    return a - 1 if b else None
'''
#: The line, what stands there, and what a mutant makes of it.
EXPECTED = [
    (5, "3", "4"), (5, "3", "2"),
    (8, "True", "False"),
    (10, "if a < 3 and (not b): raise ValueError(f'{a + 1}')",
     "if not (a < 3 and (not b)): raise ValueError(f'{a + 1}')"),
    (10, "a < 3 and (not b)", "a < 3 or not b"),
    (10, "a < 3", "a <= 3"), (10, "3", "4"), (10, "3", "2"), (10, "not b", "b"),
    (11, "raise ValueError(f'{a + 1}')", "pass"),
    (13, "print(i)", "pass"), (14, "continue", "break"),
    (15, "return a - 1 if b else None", "return None"),
    (15, "a - 1 if b else None", "None if b else a - 1"),
    (15, "a - 1", "a + 1"), (15, "1", "2"), (15, "1", "0"),
]  # fmt: skip


def test_each_kind_of_fault():
    found = [(m.line, m.before, m.after) for m in mutants("a.py", TEXT)]
    assert sorted(found) == sorted(EXPECTED)


def test_a_mutant_is_the_module_with_one_fault():
    plain = ast.unparse(ast.parse(TEXT)).splitlines()
    for mutant in mutants("a.py", TEXT):
        text = mutant.text.splitlines()
        differing = [i for i, (a, b) in enumerate(zip(plain, text, strict=False)) if a != b]
        assert len(plain) == len(text)
        assert len(differing) == 1
        compile(mutant.text, "a.py", "exec")


@pytest.mark.parametrize("area", AREAS)
def test_an_area_names_files_that_there_are(area):
    assert all((ROOT / "composer" / file).is_file() for file in AREAS[area].files)
    assert all((ROOT / "tests" / f"{name}.py").is_file() for name in AREAS[area].tests)
