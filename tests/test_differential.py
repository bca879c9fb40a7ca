"""The whole compiler beside a naive interpreter of the language, on random specs.

`pytest tests/test_differential.py --graphs 2000` compares so many; `--first-graph` says which.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from differential import Case, built, check, compare, randomise
from named_axes import EVALUATED, SHIPPED
from random_graphs import RandomGraph, fields_of, random_graph
from shipped import EVERY as SHIPPED_CASES
from torch import Tensor, nn

import composer
from composer.certificate.claims import CLAIMS
from composer.language.expressions import Expr, constant
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


@pytest.mark.quick(1, then="long")
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


def test_torch_s_own_fault() -> None:
    """Where this fails, torch has mended it, and the comparison needs no allowance for it."""
    norm, shape = nn.BatchNorm2d(2).double().eval(), (3, 2, 1, 3)
    y = norm(torch.randn(shape, dtype=torch.float64))
    by = torch.randn(shape, dtype=torch.float64)
    lying = torch.empty_strided(shape, (6, 1, 1, 2), dtype=torch.float64).copy_(by)
    wrong, right = (
        torch.autograd.grad(y, norm.bias, one, retain_graph=True)[0] for one in (lying, by)
    )
    torch.testing.assert_close(right, by.sum((0, 2, 3)))
    assert not torch.allclose(wrong, right)


# ----------------------------------------------------------------------------- what is covered


def test_the_interpreter_knows_every_op() -> None:
    assert set(EVALUATED) == set(ops())


@functools.cache
def _drawn(specs: int) -> Counter[tuple[str, ...]]:
    """Return how often each op, field and word is in the first specs."""
    found: Counter[tuple[str, ...]] = Counter()
    for seed in range(specs):
        graph = random_graph(seed)
        for text in (graph.text, *graph.files.values()):
            for op, field, value in fields_of(text):
                found[op, field] += 1
                if isinstance(value, str):
                    found[op, field, value] += 1
    return found


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(("specs", "least"), [(300, 8), (2000, 80)])
def test_every_op_is_drawn(specs: int, least: int) -> None:
    drawn = _drawn(specs)
    assert {op: drawn[op, "op"] for op in ops() if drawn[op, "op"] < least} == {}


def test_every_field_is_drawn() -> None:
    """In the run of CI, of 2,000 specs."""
    drawn = _drawn(2000)
    fields = {(op, field) for op, primitive in ops().items() for field in primitive.model_fields}
    assert {field: drawn[field] for field in fields if drawn[field] < 10} == {}
    of_norms = {
        (f"{op}.norm", field)
        for op in ("conv2d", "linear", "mlp")
        for field in ("fn", "momentum", "eps", "scale", "groups", "affine")
    }
    assert {field: drawn[field] for field in of_norms if drawn[field] < 3} == {}


WORDS = {
    ("apply", "fn"): (*FUNCTIONS, *OF_NUMBERS),
    ("gate", "fn"): ("softmax",),
    ("pool", "reduce"): ("mean", "max", "sum", "min", "std", "var", "median", "length", "power"),
    ("norm", "fn"): ("layer", "group", "instance", "rms", "l2"),
    ("attention", "position"): ("relative",),
}


def test_every_word_is_drawn() -> None:
    drawn = _drawn(2000)
    wanted = [(*where, word) for where, words in WORDS.items() for word in words]
    assert {word: drawn[word] for word in wanted if drawn[word] < 5} == {}


def test_a_seed_is_one_spec() -> None:
    assert [random_graph(seed) for seed in range(20)] == [random_graph(s) for s in range(20)]


# ------------------------------------------------------------------------------ shipped specs

#: What a stand-in knows of the layer that it stands for, beside `out`.
LAYER = {"kernel": 3, "stride": 1, "padding": 1, "dilation": 1, "groups": 1, "bias": False}


@pytest.mark.quick(15, then="long")
@pytest.mark.parametrize("name", SHIPPED_CASES)
def test_shipped_specs(name: str) -> None:
    text = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    spec = yaml.safe_load(text)
    axes, width = tuple(spec["input"]), max(16, CLAIMS[name].cases[0].width)
    params = {"out": width, **LAYER} if spec.get("stands_for") == "conv2d" else {}
    size = (8, 8) if "h" in axes else (2, 5)
    module = composer.build(name, width, size=size, params=params, dtype=torch.float64)
    randomise(module, 3)
    case = Case(text, SHIPPED, axes, params, module, axes)
    shape = [{"b": 2, "c": width, "n": 10}.get(axis, 8) for axis in axes]
    for training in (False, True):
        found = compare(case, shape, training=training, last="h" in axes)
        assert not (found.wrong or found.unsteady)


# ----------------------------------------------------------------------------------- compiled


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_compiled(seed: int, tmp_path: Path) -> None:
    graph = random_graph(10_000 + seed)
    backend = "inductor" if seed % 6 == 0 else "aot_eager"
    case = built(graph, tmp_path)
    torch._dynamo.reset()
    compiled = torch.compile(case.module, fullgraph=True, backend=backend)
    shape = [graph.sizes[axis] for axis in graph.layout]
    for training in (False,) if graph.draws else (False, True):
        # eager torch has the gradient of hard_sigmoid in single precision, and inductor has not
        found = compare(case, shape, training=training, seed=seed, forward=compiled, close=1e-7)
        assert not found.wrong, f"{backend}: {found.wrong}\n{_shown(graph)}"


# --------------------------------------------------------------------------- it can go red


def _of(path: str) -> tuple[Any, str]:
    """Return what a dotted path leads to: the module or class, and the name of the attribute."""
    module, _, name = path.partition(":")
    owner: Any = importlib.import_module(f"composer.{module}")
    *inner, last = name.split(".")
    for one in inner:
        owner = getattr(owner, one)
    return owner, last


def least(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return x.amin(axes)


def weighed_alone(x: Tensor, by: Tensor) -> Tensor:
    return x * by.detach()


#: What is broken: where, the op that shows it, and what stands there instead, from what stood.
MUTATIONS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "flip-does-nothing": (
        "primitives.flip:Flip.lower", "flip", lambda old: lambda self, emit: emit.node(self.x)),
    "roll-goes-back": (
        "primitives.roll:for_each", "roll",
        lambda old: lambda by, *rest: tuple(_negative(one) for one in old(by, *rest))),
    "merge-in-another-order": (
        "primitives.merge:Merge.lower", "merge",
        lambda old: lambda self, emit: old(
            self.model_copy(update={"axes": self.axes[::-1]}), emit)),
    "a-larger-eps": (
        "primitives.norm:epsilon", "norm", lambda old: lambda eps, fn: 1.001 * old(eps, fn)),
    "another-momentum": (
        "primitives.norm:Normalize._statistics", "norm",
        lambda old: property(lambda self: replace(old.fget(self), momentum=0.2))),
    "padding-counts": (
        "primitives.pool:flag", "pool", lambda old: lambda value: not old(value)),
    "the-least-for-the-largest": (
        "kernels.largest:largest", "pool", lambda old: least),
    "shares-of-the-last-axis": (
        "primitives.pool:pooled_to", "pool",
        lambda old: lambda emit, ref, sizes, reduce: old(
            emit, ref, sizes, {"mean": "max", "max": "mean"}[reduce])),
    "steps-share-their-weights": (
        "primitives.repeat:Repeat.parts", "repeat",
        lambda old: lambda self, name: old(
            self.model_copy(update={"shared": constant(True)}), name)),
    "a-gradient-is-lost": (
        "kernels.weighed_sum:weighed", "reweight", lambda old: weighed_alone),
    "the-output-alone-is-right": (
        "primitives.scale:Scale.lower", "scale",
        lambda old: lambda self, emit: emit.method("detach", old(self, emit))),
    "attention-without-its-scale": (
        "primitives.attention:attended", "attention",
        lambda old: lambda emit, parts, scale, position: old(emit, parts, 1.0, position)),
    "no-bias-of-the-logits": (
        "primitives.attended:_masked", "attention", lambda old: lambda *rest: None),
    "products-sum-too-little": (
        "primitives.product:Product.lower", "product",
        lambda old: lambda self, emit: emit.method("mul", old(self, emit), 0.999999)),
    "windows-in-another-order": (
        "primitives.unfold:Unfold.lower", "unfold",
        lambda old: lambda self, emit: old(
            self.model_copy(update={"into": self.into[::-1]}), emit)),
    "zeros-before": (
        "primitives.pad:Pad.lower", "pad",
        lambda old: lambda self, emit: emit.method("flip", old(self, emit), (0, 1))),
    "a-chunk-too-far": (
        "primitives.chunk:Piece._number", "chunk", lambda old: property(lambda self: 0)),
    "a-table-from-one": (
        "lower.table:values", "constant",
        lambda old: lambda *rest, **more: old(*rest, **more) + 1),
    "in-single-precision": (
        "lower.table:values", "constant",
        lambda old: lambda *rest, **more: old(*rest, **more).float().double()),
    "a-softmax-of-each": (
        "primitives.gate:Gate._of_several", "gate",
        lambda old: lambda self, emit, x, axes, over: emit.method(
            "softmax", x, axes.index(over[0]))),
    "the-first-of-a-stack-twice": (
        "primitives.stack:Stack.lower", "stack",
        lambda old: lambda self, emit: old(
            self.model_copy(update={"of": (self.of[0],) * len(self.of)}), emit)),
    "another-activation": (
        "primitives.conv2d:activate", "conv2d",
        lambda old: lambda emit, fn, x, own: old(emit, fn if fn == "none" else "tanh", x, own)),
    "an-axis-in-another-place": (
        "primitives.rename:Rename.lower", "rename",
        lambda old: lambda self, emit: emit.node(self.x)),
    "a-schedule-that-stays": (
        "lower.schedule:Schedule._at", "schedule", lambda old: lambda self, step: self.begin),
}  # fmt: skip


def _negative(one: Any) -> Any:
    return Expr("negative", 0, (one,)) if not one.is_constant else constant(-one.value)


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", MUTATIONS)
def test_it_goes_red(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, op, broken = MUTATIONS[name]
    owner, attribute = _of(path)
    old = inspect.getattr_static(owner, attribute)
    monkeypatch.setattr(owner, attribute, broken(old))
    red = (_is_red(graph, tmp_path) for graph in _with_op(op, 250))
    assert any(red), f"no spec with {op!r} has seen it"


def _with_op(op: str, most: int) -> Iterator[RandomGraph]:
    graphs = (random_graph(seed) for seed in range(1500))
    having = (one for one in graphs if op in {found for found, _, _ in fields_of(one.text)})
    return itertools.islice(having, most)


def _is_red(graph: RandomGraph, folder: Path) -> bool:
    try:
        return bool(check(graph, folder).wrong)
    except (RuntimeError, TypeError, AssertionError, IndexError):
        return False  # broken in another way, which is not what is looked for
