"""What large specs and deep models cost grows in a straight line, in calls of functions.

A clock would need luck; `tests/benchmarks/scale.py` has the seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.scale import GATE, HEAD, blocks, large_spec
from counted_calls import calls

import composer
from composer.graph.from_spec import graph_of
from composer.graph.frontend import check_text, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import analyse, compile_graph
from composer.primitives.conv2d import Conv2d

CONV = "op: conv2d, kernel: 3"
#: Of twice as much: 2 in a straight line, 4 in a square; little of each is the same for all.
TWICE = 2.2


def repeated(times: int) -> str:
    return f"{HEAD}  z: {{op: repeat, times: {times}, each: {{{CONV}}}}}\n"


SPECS: dict[str, Callable[[str, Path], object]] = {
    "check": lambda text, _: check_text(text, "it.yaml"),
    "compile": lambda text, _: compile_graph(graph_of(load_spec(text), Settings({"c": 8}))),
    "build": lambda text, _: composer.build(text, channels=8, size=(4, 4)),
    "render": lambda text, at: composer.render(text, at / "it.dot", force=True),
}


@pytest.mark.quick(4, then="long")
@pytest.mark.parametrize("kind", ["written", "repeated"])
@pytest.mark.parametrize("what", SPECS)
def test_nodes(what: str, kind: str, tmp_path: Path) -> None:
    def run(count: int) -> object:
        text = large_spec(count, CONV) if kind == "written" else repeated(count)
        return SPECS[what](text, tmp_path)

    run(2)
    assert calls(lambda: run(120)) < TWICE * calls(lambda: run(60))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["sites", "plan", "insert"])
@pytest.mark.filterwarnings("ignore::composer.errors.UnknownOriginWarning")
def test_blocks(what: str) -> None:
    def run(count: int) -> object:
        if what == "sites":
            return composer.sites(blocks(count))
        return getattr(composer, what)(blocks(count), GATE, at="block")

    run(2)
    assert calls(lambda: run(16)) < TWICE * calls(lambda: run(8))


@pytest.mark.parametrize("text", [repeated(200), large_spec(200, CONV)], ids=["repeat", "written"])
def test_of_nodes_that_are_alike_one_is_asked(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    infer = Conv2d.infer

    def counted(self: Conv2d, *args: object) -> object:
        nonlocal asked
        asked += 1
        return infer(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Conv2d, "infer", counted)
    _, problems = check_text(text, "it.yaml")
    assert (asked, problems) == (1, ())


def test_sizes_that_grow_long_in_a_chain_end_in_a_message() -> None:
    """A size of hundreds of parts is hashed and compared without recursion."""
    _, problems = check_text(large_spec(300, f"{CONV}, stride: 2"), "it.yaml")
    assert {problem.code for problem in problems} == {"value-too-large"}


def test_nodes_that_differ_are_asked_each() -> None:
    """What is alike but for one field, or for what it reads, has axes of its own."""
    nodes = "".join(f"  n{i}: {{op: conv2d, kernel: 1, out: {i + 1}}}\n" for i in range(5))
    graph = compile_graph(graph_of(load_spec(HEAD + nodes), Settings({"c": 8})))
    assert [str(node.axes["c"]) for node in graph.nodes if node.axes] == list("12345")
    each = "{op: conv2d, kernel: 2 * k + 1}"
    text = f"{HEAD}  z: {{op: branch, axis: k, times: 3, each: {each}}}\n"
    graph = analyse(graph_of(load_spec(text), Settings({"c": 8})))
    kernels = []
    for node in graph.nodes:
        if isinstance(node.op, Conv2d):
            kernel = node.op.kernel
            kernels.append(str(kernel[0] if isinstance(kernel, tuple) else kernel))
    assert kernels == ["1", "3", "5"]
