"""No pass costs more than n log n: counted in calls of functions, for a clock would need luck."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

TOOL = runpy.run_path(str(Path(__file__).parent / "benchmarks" / "tool.py"))
SHAPES: dict[str, tuple[bool, Callable[[int], str]]] = TOOL["SHAPES"]

SIZES = 200, 400, 800
#: Twice the nodes take twice the calls, and a little for the logarithm; a square takes four times.
MOST = 2.2


def calls(step: Callable[[], Any]) -> int:
    """Return how often a step calls a function, be it Python's own."""
    count = 0

    def note(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        step()
    finally:
        sys.setprofile(before)
    return count


def counted(text: str, sound: bool) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, step in TOOL["steps"](text, sound):
        found[name] = found.get(name, 0) + calls(step)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_twice_the_nodes_take_twice_the_calls(shape: str) -> None:
    sound, write = SHAPES[shape]
    counted(write(20), sound)  # what is imported and made once does not count
    small, middle, large = (counted(write(size), sound) for size in SIZES)
    assert large.keys() == small.keys()
    grown = {name: (middle[name] / small[name], large[name] / middle[name]) for name in small}
    assert {name: pair for name, pair in grown.items() if max(pair) > MOST} == {}


def test_a_square_is_seen() -> None:
    def squared(size: int) -> Callable[[], object]:
        return lambda: [len(str(a + b)) for a in range(size) for b in range(size)]

    assert calls(squared(40)) / calls(squared(20)) > MOST
