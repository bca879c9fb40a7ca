"""Where a mechanism is made for one size: who says so, and what refuses another, in every form."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from probe import spec_text
from test_open_sizes import CHANNELS, SHAPES, input_at, refusal, said, scaled_by
from torch import fx

import composer
from composer.analysis.maps import MapShape
from composer.errors import ComposerError
from composer.graph.frontend import load_spec
from composer.graph.graph import Settings
from composer.lower.build import compiled, lower
from composer.surgery.make import Maker

NEEDY = {
    "a weight for each place": "filter: {op: parameter, axes: {c: c, h: h, w: w}, init: conv}\n"
    "out: {op: reweight, x: input, by: filter}",
    "a layer along a side": "out: {op: linear, over: h}",
    "a norm along a side": "out: {op: norm, over: w, fn: layer}",
    "a kernel of the map's size": "all: {op: conv2d, kernel: odd(h), out: {}, padding: odd(h) // 2}"
    "\nout: {op: reweight, x: input, by: all}",
    "a width by the area": "flat: {op: pool, over: [h, w]}\n"
    "mix: {op: mlp, over: c, hidden: h * w // 4}\nout: {op: reweight, x: input, by: mix}",
    "a number that moves": "t: {op: schedule, begin: h, end: 1, steps: 3}\n"
    "out: {op: mul, of: [input, t]}",
    "where a parameter begins": "t: {op: parameter, axes: {c: c}, init: 1 / h}\n"
    "out: {op: reweight, x: input, by: t}",
    "whether there is a bias": "out: {op: linear, over: c, bias: h > 3}",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("nodes", NEEDY.values(), ids=NEEDY)
def test_one_size_is_needed(nodes: str, shape: MapShape) -> None:
    spec = load_spec(spec_text(nodes))
    made = Maker(spec, {}, "paper").at(shape)
    assert made.needs_size == (6, 6)
    module = lower(made.graph).eval()
    x = input_at(shape, (6, 6))
    assert module(x).shape == x.shape
    assert said(module, input_at(shape, (9, 9))) == refusal("probe", (6, 6), (9, 9))
    with pytest.raises(ComposerError) as failure:
        composer.build(spec, CHANNELS)
    assert {d.code for d in failure.value.diagnostics} == {"open-size"}


def test_a_number_of_tokens_is_needed() -> None:
    text = spec_text(
        """place: {op: parameter, axes: {n: n, c: c}, init: 0.5}
        out: {op: add, of: [input, place]}""",
        "b, n, c",
    )
    made = Maker(load_spec(text), {}, "paper").at(SHAPES["tokens"])
    assert made.needs_size == (36,)
    assert said(lower(made.graph), torch.randn(2, 50, CHANNELS)) == (
        "probe here was built for 36 tokens, but here are 49; insert it into a model made for "
        "that size, or build it for that size"
    )
    as_map = Maker(load_spec(text), {}, "paper").at(SHAPES["a map"])
    assert as_map.needs_size == (6, 6)
    joined = Maker(load_spec(text), {}, "paper", "join").at(SHAPES["tokens"])
    assert joined.needs_size == (37,)


def test_all_tokens_joined_are_counted() -> None:
    text = spec_text(NEEDY["a width by the area"])
    made = Maker(load_spec(text), {}, "paper", "join").at(SHAPES["tokens"])
    assert made.needs_size == (37,)
    module = lower(made.graph).eval()
    assert module(torch.randn(2, 37, CHANNELS)).shape == (2, 37, CHANNELS)
    assert "was built for 37 tokens, but here are 50;" in said(module, torch.randn(2, 50, CHANNELS))


def test_what_is_wrong_at_a_size_is_refused_when_planning() -> None:
    maker = Maker(load_spec(scaled_by("4 / (h * w - 1)")), {}, "paper")
    maker.at(SHAPES["a map"])
    with pytest.raises(ComposerError) as failure:
        maker.at(replace(SHAPES["a map"], size=(1, 1)))
    assert [d.code for d in failure.value.diagnostics] == ["division-by-zero"]


def test_a_divisor_that_moves_by_the_size() -> None:
    """A schedule whose numbers are open is not taken for one that meets zero."""
    nodes = "t: {op: schedule, begin: h, end: 1, steps: 3}\nout: {op: div, of: [input, t]}"
    assert compiled(load_spec(spec_text(nodes)), Settings({"c": 4, "h": 6, "w": 6})).nodes


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("dynamic", [None, True, False])
def test_the_refusal_compiled(dynamic: bool | None) -> None:
    module = composer.build("ge_theta_plus", CHANNELS, size=(6, 6)).eval()
    torch.compiler.reset()
    whole = torch.compile(copy.deepcopy(module), fullgraph=True, backend="eager", dynamic=dynamic)
    for batch in (2, 3):
        x = torch.randn(batch, CHANNELS, 6, 6)
        torch.testing.assert_close(whole(x), module(x))
    other = torch.randn(2, CHANNELS, 9, 8)
    with pytest.raises(Exception, match="maps of 6×6, but this one is 9×8;"):
        whole(other)
    parts = torch.compile(copy.deepcopy(module), backend="eager", dynamic=dynamic)
    assert said(parts, other) == refusal("ge_theta_plus", (6, 6), (9, 8))


def test_the_refusal_copied_pickled_and_exported() -> None:
    module = composer.build("ge_theta_plus", CHANNELS, size=(6, 6)).eval()
    x, other = torch.randn(2, CHANNELS, 6, 6), torch.randn(2, CHANNELS, 9, 8)
    traced, unpickled = fx.symbolic_trace(module), pickle.loads(pickle.dumps(module))
    for one in (copy.deepcopy(module), unpickled, traced):
        torch.testing.assert_close(one(x), module(x))
        assert said(one, other) == refusal("ge_theta_plus", (6, 6), (9, 8))
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (x,), dynamic_shapes=shapes).module()
    x = torch.randn(3, CHANNELS, 6, 6)
    torch.testing.assert_close(program(x), module(x))
    with pytest.raises(Exception, match="6"):
        program(other)


@pytest.mark.parametrize("name", ["se", "cbam", "ge_theta_plus"])
def test_tokens_as_a_map_pickle(name: str) -> None:
    made = Maker(load_spec(name), {}, "paper").at(SHAPES["tokens"])
    module = lower(made.graph).eval()
    x = input_at(SHAPES["tokens"], (6, 6))
    torch.testing.assert_close(pickle.loads(pickle.dumps(module))(x), module(x))
