"""Specs of height and width on maps of one and three dimensions: the law, papers, refusals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch
from command import Command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probe import random, randomise, spec_text
from test_primitives import values_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import composer
from composer.errors import ComposerError
from composer.graph.costs import node_costs
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import analyse, compile_graph
from composer.language.expressions import evaluate
from composer.lower.build import lower, settings_for
from composer.measure.cost import flops, parameters
from composer.primitives.cost import Cost

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
    Row("probe: {op: gate, fn: softmax, over: c}", "b c *", lambda p, x: x.softmax(1)),
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
    values = values_of(module, x)
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


# --------------------------------------------------------------------- mechanisms of papers

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class SE(nn.Module):
    def __init__(self, channels: int, n: int) -> None:
        super().__init__()
        self.down = CONV[n](channels, channels // 16, 1)
        self.up = CONV[n](channels // 16, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(tuple(range(2, x.dim())), keepdim=True)
        return x * self.up(self.down(pooled).relu()).sigmoid()


class ECA(nn.Module):
    def __init__(self, channels: int, n: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(tuple(range(2, x.dim())))
        return x * expanded_each(self.conv(pooled.unsqueeze(1)).squeeze(1).sigmoid(), x)


class CBAM(nn.Module):
    def __init__(self, channels: int, n: int) -> None:
        super().__init__()
        self.down = CONV[n](channels, channels // 16, 1)
        self.up = CONV[n](channels // 16, channels, 1)
        self.conv, self.norm = CONV[n](2, 1, 7, padding=3, bias=False), NORM[n](1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        places = tuple(range(2, x.dim()))
        pooled = (x.mean(places, keepdim=True), x.amax(places, keepdim=True))
        x = x * sum(self.up(self.down(one).relu()) for one in pooled).sigmoid()
        maps = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * self.norm(self.conv(maps)).sigmoid()


class GEThetaMinus(nn.Module):
    def __init__(self, channels: int, n: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        gathered = cells(x, 3, 2, torch.nan).nanmean(-1)
        return x * nearest(gathered, x.shape[2:]).sigmoid()


def expanded_each(gates: Tensor, x: Tensor) -> Tensor:
    return gates.reshape(*gates.shape, *(1 for _ in x.shape[2:]))


PAPERS: list[tuple[str, dict[str, int], type[nn.Module], dict[str, str]]] = [
    ("se", {}, SE, {"excite.fc1": "down", "excite.fc2": "up"}),
    ("eca", {"kernel": 3}, ECA, {"interact.conv": "conv"}),
    ("cbam", {}, CBAM, {"channel.excite.fc1": "down", "channel.excite.fc2": "up",
                        "spatial.locate.conv": "conv", "spatial.locate.norm": "norm"}),
    ("ge_theta_minus", {"extent": 2}, GEThetaMinus, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params", "oracle", "keys"), PAPERS, ids=lambda v: str(v))
@pytest.mark.parametrize("size", [(4, 6, 5), (17,)], ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_a_paper_on_maps_of_other_dimensions(
    name: str, params: dict[str, int], oracle: type[nn.Module], keys: dict[str, str],
    size: tuple[int, ...], training: bool,
) -> None:  # fmt: skip
    module = randomise(composer.build(name, 32, size=size, params=params)).train(training)
    plain = oracle(32, len(size)).train(training)
    state = plain.state_dict()
    for key, tensor in module.state_dict().items():
        layer = next(ours for ours in keys if key.startswith(f"{ours}."))
        mine = state[key.replace(layer, keys[layer])]
        mine.copy_(tensor.reshape(mine.shape))
    for sizes in (size, tuple(n + 3 for n in size)):  # which stay open
        x = torch.randn(3, 32, *sizes, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(module(x), plain(x), rtol=1e-6, atol=1e-6)
    planned = settings_for(load_spec(name), 32, size=size, params=params)
    keys_in_2d = composer.build(name, 32, size=(6, 5), params=params).state_dict().keys()
    assert module.state_dict().keys() == keys_in_2d
    graph = compile_graph(graph_of(load_spec(name), planned))
    cost = sum(node_costs(graph).values(), Cost())
    assert cost == Cost(parameters(module), flops(module.eval(), (1, 32, *size)))


# ----------------------------------------------------------------- stand-ins for convolutions


@pytest.mark.parametrize("like", [nn.Conv3d(16, 32, 3, 2, 1), nn.Conv1d(16, 32, 5, 1, 2)], ids=str)
@pytest.mark.parametrize("name", ["cond_conv", "dynamic_conv"])
def test_a_stand_in_begins_as_its_convolution(name: str, like: nn.Module) -> None:
    module = composer.build(name, like=like, init="identity").eval()
    x = torch.randn(3, 16, *(7 for _ in like.weight.shape[2:]))
    torch.testing.assert_close(module(x), like(x), rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------ names that are taken


def test_names_that_a_spec_has_given_to_something_else() -> None:
    nodes = """apart: {op: split, axis: c, into: {d: t, e: c / t}}
        means: {op: pool, over: [h, w]}
        joined: {op: merge, axes: [d, e], into: c}
        gate: {op: gate, fn: sigmoid}
        out: {op: reweight, x: input, by: gate}"""
    text = spec_text(nodes, params="{t: 2}")
    for size in ((3, 4, 5), (7,)):
        x = random(2, 4, *size)
        module = composer.build(text, 4, size=size).double()
        assert torch.equal(module(x), x * expanded_each(x.flatten(2).mean(2).sigmoid(), x))


@pytest.mark.parametrize("size", [(3, 4, 5), (7,)], ids=str)
def test_a_spec_that_names_the_places_itself_is_taken_as_written(size: tuple[int, ...]) -> None:
    places = ", ".join(PLACES[len(size)])
    nodes = f"mean: {{op: pool, over: [{places}]}}\nout: {{op: reweight, x: input, by: mean}}"
    x = random(2, 4, *size)
    module = composer.build(spec_text(nodes, f"b, c, {places}"), 4, size=size).double()
    torch.testing.assert_close(module(x), x * expanded_each(x.flatten(2).mean(2), x))


def test_height_and_width_alone_of_a_spec_for_volumes() -> None:
    nodes = "probe: {op: conv2d, kernel: 3, bias: false}"
    module = composer.build(spec_text(nodes, "b, c, d, h, w"), 4, size=(3, 4, 5)).double()
    (weight,) = module.parameters()
    assert weight.shape == (4, 4, 3, 3)
    x = random(2, 4, 3, 4, 5)
    each = [F.conv2d(one, weight, padding=1) for one in x.unbind(2)]
    torch.testing.assert_close(module(x), torch.stack(each, 2))


# --------------------------------------------------------------------------------- refusals

OF_ITS_OWN = (
    "name h and w together where all places of the map are meant, or write a spec for such maps: "
)
VOLUME, SIGNAL = "'input: [b, c, d, h, w]'", "'input: [b, c, t]'"
FLAT = [
    ("probe: {op: pool, over: h}", "'probe' names 'h' alone"),
    ("probe: {op: pool, over: [c, w]}", "'probe' names 'w' alone"),
    ("probe: {op: conv1d, along: w, kernel: 3}", "'probe' names 'w' alone"),
    ("probe: {op: linear, over: h}", "'probe' names 'h' alone"),
    ("probe: {op: scale, by: 1 / w}", "'probe' names 'w' alone"),
    ("probe: {op: conv2d, kernel: odd(h / 2)}", "'probe' names 'h' alone"),
    ("probe: {op: conv2d, kernel: side}", "the param 'side' depends on 'h' alone"),
    ("each: {op: parameter, axes: {h: h, w: h}, init: 0}\nprobe: {op: pool, over: [h, w]}",
     "'each' does not treat 'h' and 'w' alike"),
    ("probe: {op: merge, axes: [h, c, w], into: n}", "'probe' does not treat 'h' and 'w' alike"),
    ("probe: {op: branch, axis: k, times: 2, each: {op: pool, over: h}}",
     "'probe' names 'h' alone"),
    ("probe: {op: attention, q: input, k: input, v: input, over: [h, w], along: c, "
     "position: relative}", "'probe' knows the position down and across"),
]  # fmt: skip


@pytest.mark.parametrize(("size", "meets", "way_out"), [
    ((3, 4, 5), "[d, h, w]", VOLUME), ((7,), "[t]", SIGNAL),
])  # fmt: skip
@pytest.mark.parametrize(("nodes", "said"), FLAT)
def test_what_is_for_two_dimensions(
    nodes: str, said: str, size: tuple[int, ...], meets: str, way_out: str
) -> None:
    params = "{side: odd(h / 2)}" if "side" in nodes else "{}"
    text = spec_text(nodes, params=params)
    composer.build(text, 4, size=(4, 5))
    with pytest.raises(ComposerError) as failure:
        composer.build(text, 4, size=size)
    first = failure.value.diagnostics[0]
    assert first.code == "two-dimensional"
    assert first.message == f"{said}, so 'probe' is for maps [h, w], and this one is {meets}"
    assert first.help == OF_ITS_OWN + way_out
    assert first.where is not None or "param" in said
    assert len(failure.value.diagnostics) == 1


def test_a_node_that_these_params_do_not_reach_is_not_refused() -> None:
    nodes = """rows: {op: pool, over: h}
        means: {op: pool, x: input, over: [h, w]}
        out: {op: reweight, x: input, by: rows if flat else means}"""
    text = spec_text(nodes, params="{flat: false}")
    x = random(2, 4, 3, 4, 5)
    module = composer.build(text, 4, size=(3, 4, 5)).double()
    torch.testing.assert_close(module(x), x * expanded_each(x.flatten(2).mean(2), x))
    with pytest.raises(ComposerError, match="'rows' names 'h' alone"):
        composer.build(text, 4, size=(3, 4, 5), params={"flat": True})


@pytest.mark.parametrize(("spec", "size", "said"), [
    ("se", (1, 2, 3, 4), "the size (1, 2, 3, 4) is not a height and a width"),
    ("se", (3, 0, 4), "the size of 'h' is 0, not a whole number from 1"),
    ("sa", (7,), "the size (7,) is not a height and a width"),
    (spec_text("probe: {op: pool, over: t}", "b, c, t"), (3, 4),
     "the size (3, 4) is not that of a map [t]"),
    (spec_text("probe: {op: pool, over: d}", "b, c, d, h, w"), (3, 4),
     "the size (3, 4) is not that of a map [d, h, w]"),
])  # fmt: skip
def test_a_size_that_does_not_fit(spec: str, size: tuple[int, ...], said: str) -> None:
    with pytest.raises(ComposerError) as failure:
        composer.build(spec, 4, size=size)
    assert failure.value.diagnostics[0].message == said


@pytest.mark.parametrize(("size", "other", "said"), [
    ((3, 4, 5), (3, 4, 6), "maps of 3×4×5, and this one is 3×4×6"),
    ((7,), (9,), "7 places, and here are 9"),
])  # fmt: skip
def test_what_is_built_for_one_size_names_both(
    size: tuple[int, ...], other: tuple[int, ...], said: str
) -> None:
    module = composer.build("ge_theta", 4, size=size).eval()
    assert module(torch.randn(2, 4, *size)).shape == (2, 4, *size)
    with pytest.raises(ValueError) as failure:
        module(torch.randn(2, 4, *other))
    assert str(failure.value).startswith(f"ge_theta here was built for {said}; insert it into")


# ---------------------------------------------------------------------------- the command line


@pytest.mark.parametrize(("size", "axes", "lengths", "label", "weights"), [
    ("8x14x14", "b c d h w", [8, 14, 14], "conv3d 7×7×7", 2 * 7**3 + 2),
    ("t=100", "b c t", [100], "conv1d 7", 2 * 7 + 2),
    ("14x7", "b c h w", [14, 7], "conv2d 7×7", 2 * 7**2 + 2),
    ("14", "b c h w", [14, 14], "conv2d 7×7", 2 * 7**2 + 2),
])  # fmt: skip
def test_what_show_says(
    capsys: pytest.CaptureFixture[str],
    size: str,
    axes: str,
    lengths: list[int],
    label: str,
    weights: int,
) -> None:
    given = ("--channels", "64", "--size", size, "--json")
    shown = Command(capsys).fine("show", "cbam_spatial", *given).json
    nodes = {node["node"]: node for node in shown["nodes"]}
    assert shown["size"] == lengths
    assert nodes["input"]["axes"] == axes.split()
    assert nodes["input"]["sizes"] == ["b", 64, *lengths]
    locate = nodes["locate"]
    assert (locate["label"], locate["parameters"]) == (label, weights)


@pytest.mark.parametrize("name", ["ge_theta", "cbam", "cond_conv"])
def test_the_memory_format_of_volumes(name: str) -> None:
    module = composer.build(name, 16, size=(2, 3, 4)).eval()
    x = torch.randn(2, 16, 2, 3, 4)
    want = module(x)
    module.to(memory_format=torch.channels_last_3d)
    got = module(x.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(got, want)
