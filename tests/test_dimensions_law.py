"""The law of every primitive that serves maps of one and three dimensions: axes and numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probe import random, randomise, spec_text
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

import composer
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import analyse
from composer.language.expressions import evaluate
from composer.lower.build import lower, settings_for
from composer.testing.laws import values_of

Weights = Mapping[str, Tensor]
PLACES = {1: ("t",), 3: ("d", "h", "w")}


# ---------------------------------------------------------------- references in plain torch


def cells(x: Tensor, kernel: int, stride: int, fill: float, dilation: int = 1) -> Tensor:
    """Return [b, c, …, kernel ** n]: the window around every stride-th place of the map."""
    places = x.dim() - 2
    half = dilation * (kernel // 2)
    padded = F.pad(x, (half, half) * places, value=fill)
    offsets = itertools.product(range(0, dilation * kernel, dilation), repeat=places)
    shifted = []
    for offset in offsets:
        part = padded
        for axis, (start, length) in enumerate(zip(offset, x.shape[2:], strict=True), start=2):
            part = part.narrow(axis, start, length)
        shifted.append(part[(..., *(slice(None, None, stride) for _ in range(places)))])
    return torch.stack(shifted, -1)


def convolved(p: Weights, x: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    weight = p["probe.conv.weight"]
    around = cells(x, weight.shape[-1], stride, 0.0, dilation)
    y = torch.einsum("bi...k,oik->bo...k", around, weight.flatten(2)).sum(-1)
    return y + expanded(p["probe.conv.bias"], y)


def expanded(of_channels: Tensor, y: Tensor) -> Tensor:
    return of_channels.reshape(1, -1, *(1 for _ in y.shape[2:]))


def normed(p: Weights, x: Tensor) -> Tensor:
    over = (0, *range(2, x.dim()))
    mean, var = x.mean(over), x.var(over, unbiased=False)
    y = (x - expanded(mean, x)) / expanded((var + 1e-5).sqrt(), x)
    return y * expanded(p["probe.norm.weight"], x) + expanded(p["probe.norm.bias"], x)


def of_each_sample(p: Weights, x: Tensor, groups: int) -> Tensor:
    """Return x normalised over each group of channels with its map, with the norm's weights."""
    flat = x.reshape(x.shape[0], groups, -1)
    centred = flat - flat.mean(2, keepdim=True)
    y = (centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)
    return y * expanded(p["probe.norm.weight"], x) + expanded(p["probe.norm.bias"], x)


def nearest(x: Tensor, size: Sequence[int]) -> Tensor:
    for axis, length in enumerate(size, start=2):
        where = [i * x.shape[axis] // length for i in range(length)]
        x = x.index_select(axis, torch.tensor(where))
    return x


def attended(x: Tensor) -> Tensor:
    q = x.flatten(2)
    return ((q.mT @ q / q.shape[1] ** 0.5).softmax(-1) @ q.mT).mT.unflatten(2, x.shape[2:])


def by_sample(p: Weights, x: Tensor) -> Tensor:
    """Return each sample's convolution by 2 kernels weighted by its own channels."""
    kernels = p["kernels"].reshape(2, 3, 4, *(3 for _ in x.shape[2:])).flatten(3)
    mixed = torch.einsum("bn,noik->boik", x.flatten(2).mean(2)[:, :2], kernels)
    return torch.einsum("bi...k,boik->bo...k", cells(x, 3, 2, 0.0), mixed).sum(-1)


@dataclass(frozen=True)
class Row:
    """Nodes, the last of which is probed; its axes, where ``*`` is all places; what it is."""

    nodes: str
    out: str
    reference: Callable[[Weights, Tensor], Tensor]

    def __str__(self) -> str:
        return self.nodes.strip().splitlines()[-1].split(": ", 1)[1].strip("{}")


ROWS = [
    Row("probe: {op: pool, over: [h, w]}", "b c", lambda p, x: x.flatten(2).mean(2)),
    Row("probe: {op: pool, over: [h, c, w], reduce: sum}", "b", lambda p, x: x.flatten(1).sum(1)),
    Row("probe: {op: pool, over: [w, h], reduce: max}", "b c", lambda p, x: x.flatten(2).amax(2)),
    Row("probe: {op: pool, over: c}", "b *", lambda p, x: x.mean(1)),
    Row("probe: {op: pool, over: [h, w], kernel: 3, stride: 2}", "b c /2",
        lambda p, x: cells(x, 3, 2, torch.nan).nanmean(-1)),
    Row("probe: {op: pool, over: [h, w], kernel: 3, stride: 2, count_padding: true}", "b c /2",
        lambda p, x: cells(x, 3, 2, 0.0).mean(-1)),
    Row("probe: {op: pool, over: [h, w], kernel: 3, stride: 1, reduce: max}", "b c *",
        lambda p, x: cells(x, 3, 1, -torch.inf).amax(-1)),
    Row("probe: {op: conv2d, kernel: 3, out: 5}", "b 5 *", lambda p, x: convolved(p, x)),
    Row("probe: {op: conv2d, kernel: 3, stride: 2, dilation: 2}", "b c /2",
        lambda p, x: convolved(p, x, 2, 2)),
    Row("probe: {op: conv2d, kernel: 1, out: {}}", "b *",
        lambda p, x: convolved(p, x).squeeze(1)),
    Row("""kernels: {op: parameter, init: conv, axes: {n: 2, o: 3, i: c, kh: 3, kw: 3}}
        mean: {op: pool, x: input, over: [h, w]}
        some: {op: split, axis: c, into: {m: c / 2, n: 2}}
        first: {op: pick, axis: m, index: 0}
        kernel: {op: reweight, x: kernels, by: first, sum: n}
        probe: {op: conv2d, x: input, weight: kernel, stride: 2}""", "b 3 /2", by_sample),
    Row("probe: {op: norm, over: c}", "b c *", normed),
    Row("""near: {op: pool, over: [h, w], kernel: 3, stride: 2}
        probe: {op: resize, over: [h, w], like: input}""", "b c *",
        lambda p, x: nearest(cells(x, 3, 2, torch.nan).nanmean(-1), x.shape[2:])),
    Row("probe: {op: attention, q: input, k: input, v: input, over: [h, w], along: c}", "b c *",
        lambda p, x: attended(x)),
    Row("probe: {op: merge, axes: [h, w], into: n}", "b prod c", lambda p, x: x.flatten(2).mT),
    Row("probe: {op: merge, axes: [w, h], into: n}", "b prod c",
        lambda p, x: x.permute(0, 1, *reversed(range(2, x.dim()))).flatten(2).mT),
    Row("""flat: {op: merge, axes: [h, w], into: n}
        probe: {op: split, axis: n, into: {h: h, w: w}}""", "b c *", lambda p, x: x),
    Row("""each: {op: parameter, axes: {c: c, h: h, w: w}, init: conv}
        probe: {op: reweight, x: input, by: each, sum: [h, w]}""", "b c",
        lambda p, x: (x * p["each"].reshape(x.shape[1:])).flatten(2).sum(2)),
    Row("""all: {op: pool, over: [h, w], reduce: sum}
        probe: {op: scale, by: 1 / (2 * h * w)}""", "b c", lambda p, x: x.flatten(2).mean(2) / 2),
    Row("""probe: {op: repeat, times: 2, each: {op: pool, over: [h, w], kernel: 3, stride: 1}}""",
        "b c *",
        lambda p, x: cells(cells(x, 3, 1, torch.nan).nanmean(-1), 3, 1, torch.nan).nanmean(-1)),
    Row("probe: {op: concat, of: [input, input], axis: c}", "b 8 *",
        lambda p, x: x.repeat(1, 2, *(1 for _ in x.shape[2:]))),
    Row("probe: {op: flip, over: [h, w]}", "b c *",
        lambda p, x: x[(..., *(slice(None) for _ in x.shape[2:]))].flip(
            tuple(range(2, x.dim())))),
    Row("probe: {op: roll, over: [w, h], by: 2}", "b c *",
        lambda p, x: x.roll([2] * (x.dim() - 2), tuple(range(2, x.dim())))),
    Row("""near: {op: unfold, over: [h, w], kernel: 3, stride: 2, into: [kh, kw]}
        probe: {op: pool, over: [kh, kw], reduce: max}""", "b c /2",
        lambda p, x: cells(x, 3, 2, 0.0).amax(-1)),
    Row("""near: {op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}
        probe: {op: fold, axes: [kh, kw], over: [h, w], like: input}""", "b c *",
        lambda p, x: x * cells(torch.ones_like(x), 3, 1, 0.0).sum(-1)),
    Row("""more: {op: pad, to: {h: 4 * ceil(h / 4), w: 4 * ceil(w / 4)}}
        probe: {op: crop, to: {h: h, w: w}}""", "b c *", lambda p, x: x),
    Row("probe: {op: gate, fn: softmax, over: c}", "b c *", lambda p, x: x.softmax(1)),
    Row("probe: {op: gate, fn: softmax, over: [w, h]}", "b c *",
        lambda p, x: x.flatten(2).softmax(2).reshape(x.shape)),
    Row("probe: {op: norm, over: [c, h, w], fn: group, groups: 1}", "b c *",
        lambda p, x: of_each_sample(p, x, 1)),
    Row("probe: {op: norm, over: [h, w], fn: layer, affine: c}", "b c *",
        lambda p, x: of_each_sample(p, x, x.shape[1])),
    Row("probe: {op: norm, over: [h, c, w], fn: l2}", "b c *",
        lambda p, x: (x.flatten(1) / x.flatten(1).norm(dim=1, keepdim=True)).reshape(x.shape)),
    Row("probe: {op: conv2d, kernel: 3, norm: {fn: group, groups: 1}, bias: true}", "b c *",
        lambda p, x: of_each_sample(p, convolved(p, x), 1)),
    Row("probe: {op: linear, over: c}", "b c *",
        lambda p, x: torch.einsum("bi...,oi->bo...", x, p["probe.linear.weight"])
        + expanded(p["probe.linear.bias"], x)),
]  # fmt: skip


def axes_out(row: Row, dimensions: int, sizes: Mapping[str, int]) -> list[int]:
    lengths = [sizes[place] for place in PLACES[dimensions]]
    found: list[int] = []
    for word in row.out.split():
        if word in ("*", "/2"):
            found += [(n - 1) // 2 + 1 if word == "/2" else n for n in lengths]
        elif word == "prod":
            found.append(int(torch.tensor(lengths).prod()))
        else:
            found.append(sizes[word] if word.isalpha() else int(word))
    return found


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize("row", ROWS, ids=str)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck),
          derandomize=True, database=None)  # fmt: skip
@given(lengths=st.lists(st.integers(1, 6), min_size=3, max_size=3), batch=st.integers(2, 3))
def test_the_law(row: Row, dimensions: int, lengths: list[int], batch: int) -> None:
    places = PLACES[dimensions]
    sizes = {"b": batch, "c": 4, **dict(zip(places, lengths, strict=False))}
    spec = load_spec(spec_text(row.nodes))
    chosen = settings_for(spec, 4, size=tuple(sizes[place] for place in places))
    graph = analyse(graph_of(spec, chosen)).sound()
    module = randomise(lower(graph).double())
    x = random(batch, 4, *(sizes[place] for place in places))
    values = values_of(module, x, "probe")
    assert list(values["probe"].shape) == axes_out(row, dimensions, sizes)
    opened = analyse(graph_of(spec, chosen.opened)).sound()
    for inferred in (graph, opened):
        for node, value in values.items():
            axes = inferred.axes_of(node)
            assert axes is not None
            assert [evaluate(size, sizes) for _, size in axes.sizes] == list(value.shape), node
    want = row.reference(module.state_dict(keep_vars=True), x)
    torch.testing.assert_close(values["probe"], want.contiguous(), rtol=1e-9, atol=1e-9)
    last = ("b", *places, "c")
    moved = composer.build(spec, 4, size=chosen_size(chosen), layout=last).double()
    moved.load_state_dict(module.state_dict())
    if row.out.split()[-1] in ("*", "/2") and row.out.split()[0] == "b":
        back = moved(x.movedim(1, -1))
        back = back.movedim(-1, 1) if len(row.out.split()) == 3 else back
        torch.testing.assert_close(back, values["probe"], rtol=1e-9, atol=1e-9)


def chosen_size(chosen: Settings) -> tuple[int, ...]:
    return tuple(chosen.sizes[place] for place in chosen.places)
