"""The whole compiler beside a naive interpreter of the language, on random specs.

`pytest tests/test_differential.py --graphs 2000` compares so many; `--first-graph` says which.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from differential import Case, Outcome, built, check, compare, randomise
from named_axes import EVALUATED, SHIPPED
from random_graphs import RandomGraph, fields_of, random_graph

import composer
from composer.language.library import shipped_names
from composer.primitives import ops
from composer.primitives.activations import FUNCTIONS, OF_NUMBERS

BATCH = 25  # specs of one test
MOST_UNSTEADY = 3  # of them; more would hide what is wrong


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" in metafunc.fixturenames:
        count, first = (metafunc.config.getoption(name) for name in ("graphs", "first_graph"))
        starts = range(first, first + count, BATCH)
        batches = [range(start, min(start + BATCH, first + count)) for start in starts]
        metafunc.parametrize("seeds", batches, ids=[str(batch.start) for batch in batches])


def test_random_specs(seeds: range, tmp_path: Path) -> None:
    unsteady = []
    for seed in seeds:
        graph = random_graph(seed)
        found = check(graph, tmp_path)
        assert not found.wrong, f"seed {seed}: {found.wrong}\n{_shown(graph)}"
        assert found.compared
        unsteady += [seed] if found.unsteady else []
    assert len(unsteady) <= MOST_UNSTEADY, unsteady


def _shown(graph: RandomGraph) -> str:
    files = "".join(f"--- {name}\n{text}" for name, text in graph.files.items())
    told = f"sizes {graph.sizes}, layout {graph.layout}, size {graph.size}, params {graph.params}"
    return f"{graph.text}{files}--- {told}"


# ----------------------------------------------------------------------------- what is covered


def test_the_interpreter_knows_every_op() -> None:
    assert set(EVALUATED) == set(ops())


@functools.cache
def _drawn() -> Counter[tuple[str, ...]]:
    """Return how often each op, field and word is in the specs of the default run."""
    found: Counter[tuple[str, ...]] = Counter()
    for seed in range(300):
        graph = random_graph(seed)
        for text in (graph.text, *graph.files.values()):
            for op, field, value in fields_of(text):
                found[op, field] += 1
                if isinstance(value, str):
                    found[op, field, value] += 1
    return found


def test_every_op_is_drawn_with_every_field() -> None:
    drawn = _drawn()
    assert {op: drawn[op, "op"] for op in ops() if drawn[op, "op"] < 12} == {}
    fields = {(op, field) for op, primitive in ops().items() for field in primitive.model_fields}
    assert {field for field in fields if drawn[field] < 2} == set()
    of_norms = {
        (f"{op}.norm", field)
        for op in ("conv2d", "linear", "mlp")
        for field in ("fn", "momentum", "eps", "scale", "groups", "affine")
    }
    assert {field for field in of_norms if not drawn[field]} == set()


WORDS = {
    ("apply", "fn"): (*FUNCTIONS, *OF_NUMBERS),
    ("gate", "fn"): ("softmax",),
    ("pool", "reduce"): ("mean", "max", "sum", "min", "std", "var", "median", "power"),
    ("norm", "fn"): ("layer", "group", "instance", "rms", "l2"),
    ("attention", "position"): ("relative",),
}


def test_every_word_is_drawn() -> None:
    drawn = _drawn()
    wanted = [(*where, word) for where, words in WORDS.items() for word in words]
    assert [word for word in wanted if not drawn[word]] == []


def test_a_seed_is_one_spec() -> None:
    assert [random_graph(seed) for seed in range(20)] == [random_graph(s) for s in range(20)]


# ------------------------------------------------------------------------------ shipped specs

#: What a stand-in knows of the layer that it stands for.
LAYER = {
    "out": 16, "kernel": 3, "stride": 1, "padding": 1, "dilation": 1, "groups": 1, "bias": False,
}  # fmt: skip


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_specs(name: str) -> None:
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    spec = yaml.safe_load(text)
    axes, params = tuple(spec["input"]), LAYER if spec.get("stands_for") == "conv2d" else {}
    size = (8, 8) if "h" in axes else None
    module = composer.build(name, 16, size=size, params=params, dtype=torch.float64)
    randomise(module, 3)
    case = Case(text, SHIPPED, axes, params, module, axes)
    shape = [{"b": 2, "c": 16, "n": 10}.get(axis, 8) for axis in axes]
    for training in (False, True):
        found = compare(case, shape, training=training, last="h" in axes)
        assert not (found.wrong or found.unsteady)


# ----------------------------------------------------------------------------------- compiled


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_compiled(seed: int, tmp_path: Path) -> None:
    graph = random_graph(10_000 + seed)
    backend = "inductor" if seed % 3 == 0 else "aot_eager"
    case = built(graph, tmp_path)
    torch._dynamo.reset()
    compiled = torch.compile(case.module, fullgraph=True, backend=backend)
    shape = [graph.sizes[axis] for axis in graph.layout]
    for training in (False,) if graph.draws else (False, True):
        found = compare(case, shape, training=training, seed=seed, forward=compiled)
        assert not found.wrong, f"{backend}: {found.wrong}\n{_shown(graph)}"
