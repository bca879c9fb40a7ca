"""What is found once, or by a short way, is what the long way finds."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Mapping

import networkx as nx
import pytest
from shipped import SHIPPED

import composer.graph.order as order
from composer.graph import reach
from composer.graph.from_spec import graph_of
from composer.graph.frontend import load_spec
from composer.graph.graph import Settings
from composer.graph.passes import analyse
from composer.language.expressions import ExpressionError, constant, name, parse
from composer.measure.inside import Inside
from composer.primitives.base import Primitive, _looked_through, replaced
from composer.primitives.found import find_op


def op_of(word: str, **fields: object) -> Primitive:
    found = find_op(word)
    assert found is not None
    return found.model_validate({"op": word, **fields})


def looked_through(op: Primitive) -> list[object]:
    return [(path, kind.name, str(expr)) for path, kind, expr in _looked_through(op)]


def kept(op: Primitive) -> list[object]:
    return [(path, kind.name, str(expr)) for path, kind, expr in op.every_expression()]


OPS = {
    "a field": op_of("gate", x="a"),
    "a list": op_of("add", of=["a", 2, "b"]),
    "a mapping": op_of("linear", over="c", out={"k": 3, "c": "c // 2"}),
    "an op inside": op_of("repeat", times=2, each={"op": "mlp", "over": "c", "hidden": "c // 4"}),
    "a model inside": op_of("conv2d", kernel=3, norm="batch", act="relu"),
}


@pytest.mark.parametrize("case", OPS)
def test_expressions_are_those_of_the_fields(case: str) -> None:
    op = OPS[case]
    assert kept(op) == looked_through(op)
    if "x" in type(op).model_fields:
        changed = op.model_copy(update={"x": name("other")})
        assert kept(changed) == looked_through(changed) != kept(op)
    every = {path: constant(7) for path, *_ in op.every_expression()}
    new = replaced(op, every)
    assert kept(new) == looked_through(new)
    assert {text for *_, text in kept(new)} == {"7"}  # type: ignore[misc]
    assert kept(op) == looked_through(op)


@pytest.mark.parametrize("case", OPS)
def test_a_copy_is_pydantics(case: str) -> None:
    op = OPS[case]
    op.every_expression()
    for twin in (op.model_copy(), copy.copy(op), copy.deepcopy(op), pickle.loads(pickle.dumps(op))):
        assert (twin, twin.model_fields_set) == (op, op.model_fields_set)
        assert kept(twin) == kept(op)
    changed = op.model_copy(update={"op": "other"})
    assert (changed.op, changed.model_fields_set) == ("other", op.model_fields_set | {"op"})


@pytest.mark.parametrize(
    "text",
    ["a", "n12", "_x", "true", "false", "pi", "if", "None", "True", "lambda", "é", "a b", ""],
)
def test_a_name_is_read_as_the_parser_reads_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> object:
        try:
            found = parse(text)
        except ExpressionError as failure:
            return failure.code, failure.message
        return found, found.start, found.length

    short = read()
    monkeypatch.setattr("composer.language.expressions._is_one_name", lambda text: False)
    assert short == read()


def random_reads(seed: int) -> dict[str, list[str]]:
    draw = random.Random(seed)
    names = [f"n{i}" for i in range(draw.randint(1, 7))]
    back = draw.choice([0, 0, 1])  # whether a node may read one below
    return {
        node: [
            draw.choice(["input", *(names if back else names[:place])])
            for _ in range(draw.randint(0, 2))
        ]
        for place, node in enumerate(names)
    }


@pytest.mark.parametrize("seed", range(60))
def test_nodes_that_stand_in_order_run_so(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = random_reads(seed)

    def found(reads: Mapping[str, list[str]]) -> object:
        return order.in_order(reads), order.cycles(reads)

    short = found(reads)
    stand = order._stand_in_order(reads)
    acyclic = nx.is_directed_acyclic_graph(order._digraph(reads))
    assert acyclic or not stand
    monkeypatch.setattr(order, "_stand_in_order", lambda reads: False)
    assert short == found(reads)


@pytest.mark.parametrize("spec", SHIPPED)
def test_nodes_are_reached_as_the_long_way_says(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short = analyse(graph_of(load_spec(spec), Settings()))
    monkeypatch.setattr(reach, "_same_under_any", lambda graph, written: False)
    assert short == analyse(graph_of(load_spec(spec), Settings()))


def test_the_nodes_of_a_spec_are_made_once() -> None:
    spec = load_spec("cbam")
    first, second = (graph_of(spec, Settings({"c": size})) for size in (8, 16))
    assert all(a is b for a, b in zip(first.nodes, second.nodes, strict=True))
    assert first.input_axes != second.input_axes


PATHS = ["", "a", "a.b", "a.b.c", "a-b", "a.bc", "ab", "b.a", "a/b", "a.10", "a.2"]


@pytest.mark.parametrize("path", [*PATHS, "c", "a.b.c.d"])
def test_what_is_inside_a_module(path: str) -> None:
    inside = [p for p in PATHS if p != path and (not path or p.startswith(f"{path}."))]
    assert Inside(PATHS).of(path) == inside
