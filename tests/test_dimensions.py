"""Specs of height and width on maps of one and three dimensions: papers, refusals, names."""

from __future__ import annotations

import pytest
import torch
from command import Command
from probe import random, randomise, spec_text
from test_dimensions_law import PLACES, cells, nearest
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import composer
from composer.errors import ComposerError
from composer.graph.costs import node_costs
from composer.graph.frontend import graph_of, load_spec
from composer.graph.passes import compile_graph
from composer.lower.build import settings_for
from composer.measure.cost import flops, parameters
from composer.primitives.cost import Cost

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


@pytest.mark.quick(12, then="long")
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

OF_ITS_OWN = "name h and w together to mean all spatial axes, or write a spec for such maps: "
VOLUME, SIGNAL = "'input: [b, c, d, h, w]'", "'input: [b, c, t]'"
FLAT = [
    ("probe: {op: pool, over: h}", "'probe' names only 'h'"),
    ("probe: {op: pool, over: [c, w]}", "'probe' names only 'w'"),
    ("probe: {op: conv1d, along: w, kernel: 3}", "'probe' names only 'w'"),
    ("probe: {op: linear, over: h}", "'probe' names only 'h'"),
    ("probe: {op: scale, by: 1 / w}", "'probe' names only 'w'"),
    ("probe: {op: conv2d, kernel: odd(h / 2)}", "'probe' names only 'h'"),
    ("probe: {op: conv2d, kernel: side}", "the param 'side' depends only on 'h'"),
    ("each: {op: parameter, axes: {h: h, w: h}, init: 0}\nprobe: {op: pool, over: [h, w]}",
     "'each' does not treat 'h' and 'w' alike"),
    ("probe: {op: merge, axes: [h, c, w], into: n}", "'probe' does not treat 'h' and 'w' alike"),
    ("probe: {op: roll, over: [h, w], by: [1, 2]}", "'probe' gives 'by' for height and width"),
    ("probe: {op: unfold, over: [h, w], kernel: [3, 1], into: [kh, kw]}",
     "'probe' gives 'kernel' for height and width"),
    ("near: {op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}\n"
     "probe: {op: fold, axes: [kh, kw], over: [h, w], like: input, dilation: [1, 1]}",
     "'probe' gives 'dilation' for height and width"),
    ("probe: {op: rename, axes: {h: y, w: x}}", "'probe' names only 'h'"),
    ("probe: {op: pad, to: {h: h + 1, w: w + 2}}", "'probe' does not treat 'h' and 'w' alike"),
    ("probe: {op: branch, axis: k, times: 2, each: {op: pool, over: h}}",
     "'probe' names only 'h'"),
    ("probe: {op: attention, q: input, k: input, v: input, over: [h, w], along: c, "
     "position: relative}", "'probe' uses positions along height and width"),
    ("probe: {op: conv2d, kernel: [1, 3]}", "'probe' gives 'kernel' for height and width"),
    ("probe: {op: pool, over: [h, w], kernel: [1, 3]}",
     "'probe' gives 'kernel' for height and width"),
    ("probe: {op: conv2d, kernel: 3, dilation: [1, 2]}",
     "'probe' gives 'dilation' for height and width"),
    ("probe: {op: norm, over: [c, h], fn: rms}", "'probe' names only 'h'"),
    ("probe: {op: norm, over: [h, w], fn: layer, affine: w}", "'probe' names only 'w'"),
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
    assert first.message == f"{said}, so 'probe' is for maps [h, w], but this one is {meets}"
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
    with pytest.raises(ComposerError, match="'rows' names only 'h'"):
        composer.build(text, 4, size=(3, 4, 5), params={"flat": True})


@pytest.mark.parametrize(("spec", "size", "said"), [
    ("se", (1, 2, 3, 4), "the size (1, 2, 3, 4) is not a height and a width"),
    ("se", (3, 0, 4), "the size of 'h' must be a whole number from 1, not 0"),
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
    ((3, 4, 5), (3, 4, 6), "maps of 3×4×5, but this one is 3×4×6"),
    ((7,), (9,), "7 places, but here are 9"),
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


@pytest.mark.parametrize("name", ["se", "cbam", "bam", "ge_theta_minus", "ge_theta"])
@pytest.mark.parametrize("size", [(2, 4, 6), (9,)], ids=str)
def test_tokens_of_other_maps_behind_a_class_token(name: str, size: tuple[int, ...]) -> None:
    params = {"extent": 2} if name == "ge_theta_minus" else {}
    plain = randomise(composer.build(name, 32, size=size, params=params)).eval()
    tokens = composer.build(
        name, 32, size=size, layout=("b", "n", "c"), prefix=1, params=params
    ).eval()
    tokens.load_state_dict(plain.state_dict())
    for sizes in (size,) if name == "ge_theta" else (size, tuple(n // 2 for n in size)):
        x, before = torch.randn(2, 32, *sizes), torch.randn(2, 1, 32)
        y = tokens(torch.cat([before, x.flatten(2).mT], 1))
        assert torch.equal(y[:, :1], before)
        torch.testing.assert_close(y[:, 1:].mT.unflatten(2, sizes), plain(x))
    if name == "se" or len(size) == 1:  # no shape matters
        return
    with pytest.raises(
        ValueError, match=r"do not form a grid of the aspect ratio 2×4×6|built for maps of"
    ):
        tokens(torch.randn(2, 8, 32))
