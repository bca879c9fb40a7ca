"""Each shipped spec against the paper, as plain torch, and against timm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import oracles
import pytest
import torch
from probe import random, randomise
from timm.layers import EcaModule, EffectiveSEModule, SEModule
from timm.layers.cbam import CbamModule
from torch import Tensor, nn

from composer.lower.build import build
from composer.spec.library import shipped_names


@dataclass(frozen=True)
class Row:
    """A spec, its oracle, our key of each tensor beside the oracle's, the paper's count."""

    spec: str
    oracle: Callable[[int], nn.Module]
    keys: Mapping[str, str]
    count: Callable[[int], int]
    params: Mapping[str, Any] = field(default_factory=dict)
    width: int = 64
    atol: float = 1e-10

    def __str__(self) -> str:
        return "-".join([self.spec, *(f"{k}={v}" for k, v in self.params.items())])


def renamed(pairs: Mapping[str, str], *suffixes: str) -> dict[str, str]:
    """Return the keys of layers, each with every suffix."""
    return {f"{a}.{s}": f"{b}.{s}" for a, b in pairs.items() for s in suffixes}


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
MLP = renamed({"excite.fc1": "w1", "excite.fc2": "w2"}, "weight", "bias")
CBAM_KEYS = {
    **renamed({"excite.fc1": "mlp.0", "excite.fc2": "mlp.2"}, "weight", "bias"),
    "locate.conv.weight": "conv.weight",
    **renamed({"locate.norm": "bn"}, *NORM),
}
BAM_KEYS = {
    **renamed(
        {
            "channel.fc1": "mc.0", "channel.fc2": "mc.3", "reduce.conv": "ms.0",
            "context1.conv": "ms.3", "context2.conv": "ms.6", "spatial.conv": "ms.9",
        },
        "weight", "bias",
    ),
    **renamed(
        {
            "channel.norm": "mc.1", "reduce.norm": "ms.1", "context1.norm": "ms.4",
            "context2.norm": "ms.7",
        },
        *NORM,
    ),
}  # fmt: skip


def _mlp(c: int, reduction: int = 16, bias: bool = True, least: int = 0) -> int:
    h = max(c // reduction, least)
    return 2 * c * h + (h + c if bias else 0)


def _bam(c: int, least: int = 0) -> int:
    h = max(c // 16, least)
    channel = _mlp(c, least=least) + 2 * h
    spatial = (c * h + h) + 2 * (9 * h * h + h) + 3 * 2 * h + (h + 1)
    return channel + spatial


ROWS = [
    Row("se", oracles.SE, MLP, _mlp),
    Row("se", lambda c: oracles.SE(c, reduction=4, bias=False),
        renamed({"excite.fc1": "w1", "excite.fc2": "w2"}, "weight"),
        lambda c: _mlp(c, 4, False), {"reduction": 4, "bias": False}),
    Row("se_var1", oracles.SEVar1, {}, lambda c: 0),
    Row("se_var2", oracles.SEVar2, {"weight": "w"}, lambda c: c),
    Row("se_var3", oracles.SEVar3, {"excite.linear.weight": "w"}, lambda c: c * c),
    Row("ese", oracles.ESE, renamed({"excite.linear": "fc"}, "weight", "bias"),
        lambda c: c * c + c, atol=1e-6),  # torch's hardsigmoid has a float32 1/6 in its gradient
    Row("eca", oracles.ECA, {"interact.conv.weight": "w"}, oracles.eca_kernel, width=128),
    Row("cbam", oracles.CBAM, CBAM_KEYS, lambda c: _mlp(c) + 2 * 49 + 2),
    Row("cbam", lambda c: oracles.CBAM(c, norm=False),
        {a: b for a, b in CBAM_KEYS.items() if "norm" not in a},
        lambda c: _mlp(c) + 2 * 49, {"spatial_norm": "none"}),
    Row("bam", oracles.BAM, BAM_KEYS, _bam),
    Row("bam", lambda c: oracles.BAM(c, total=True), BAM_KEYS, _bam, {"combine": "total"}),
    # fewer channels than the reduction, with a floor under the bottleneck
    Row("se", lambda c: oracles.SE(c, least=5), MLP, lambda c: _mlp(c, least=5), {"min_width": 5},
        width=8),
    Row("cbam", lambda c: oracles.CBAM(c, least=5), CBAM_KEYS,
        lambda c: _mlp(c, least=5) + 2 * 49 + 2, {"min_width": 5}, width=8),
    Row("bam", lambda c: oracles.BAM(c, least=5), BAM_KEYS, lambda c: _bam(c, 5), {"min_width": 5},
        width=8),
]  # fmt: skip
SHAPES = [(3, 7, 9), (1, 5, 3), (3, 1, 1), (1, 1, 1)]


def test_every_shipped_spec_has_an_oracle() -> None:
    assert {row.spec for row in ROWS} == set(shipped_names())


def pair(row: Row) -> tuple[nn.Module, nn.Module]:
    """Return our module and the oracle with equal, random weights, in float64."""
    ours = randomise(build(row.spec, row.width, params=row.params).double())
    theirs = row.oracle(row.width).double()
    state = ours.state_dict()
    assert set(state) == set(row.keys)
    shapes = {k: v.shape for k, v in theirs.state_dict().items()}
    theirs.load_state_dict({b: state[a].reshape(shapes[b]) for a, b in row.keys.items()})
    return ours, theirs


def close(ours: Tensor | None, theirs: Tensor | None, what: str, atol: float = 1e-10) -> None:
    assert ours is not None and theirs is not None, what
    torch.testing.assert_close(
        ours, theirs.reshape(ours.shape), rtol=atol, atol=atol, msg=lambda m: f"{what}: {m}"
    )


def agree(row: Row, ours: nn.Module, theirs: nn.Module, shape: Sequence[int]) -> None:
    """Assert equal outputs, statistics and gradients of the input and of every parameter."""
    x, cotangent = random(*shape), random(*shape, seed=2)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = ours(inputs[0]), theirs(inputs[1])
    close(*outputs, "the output")
    for output in outputs:
        (output * cotangent).sum().backward()
    close(inputs[0].grad, inputs[1].grad, "the gradient of the input", row.atol)
    parameters = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        theirs_here = parameters[row.keys[key]].grad
        close(parameter.grad, theirs_here, f"the gradient of {key}", row.atol)
        assert tuple(shape[2:]) == (1, 1) or parameter.grad.abs().max() > 0, key
    buffers = dict(theirs.named_buffers())
    for key, buffer in ours.named_buffers():
        close(buffer.double(), buffers[row.keys[key]].double(), key)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_eval_agrees_with_the_paper(row: Row, shape: tuple[int, int, int]) -> None:
    ours, theirs = pair(row)
    b, h, w = shape
    agree(row, ours.eval(), theirs.eval(), (b, row.width, h, w))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_train_agrees_with_the_paper(row: Row, shape: tuple[int, int, int]) -> None:
    ours, theirs = pair(row)
    b, h, w = shape
    needs_more = "channel.norm.weight" in row.keys or shape == (1, 1, 1)
    if b == 1 and needs_more and any("running" in key for key in row.keys):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            ours.train()(random(b, row.width, h, w))
        return
    agree(row, ours.train(), theirs.train(), (b, row.width, h, w))


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_another_layout_gives_the_same_numbers(row: Row, mode: str) -> None:
    ours = pair(row)[0].train(mode == "train")
    other = build(row.spec, row.width, params=row.params, layout=("b", "h", "w", "c")).double()
    other.load_state_dict(ours.state_dict())
    other.train(ours.training)
    x = random(2, row.width, 5, 3)
    close(other(x.permute(0, 2, 3, 1)), ours(x).permute(0, 2, 3, 1), "the output")


@pytest.mark.parametrize("width", [64, 256, 512, 2048])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_parameters_follow_the_paper(row: Row, width: int) -> None:
    with torch.device("meta"):
        module = build(row.spec, width, params=row.params)
    assert sum(p.numel() for p in module.parameters()) == row.count(width)


@pytest.mark.parametrize(
    ("mechanism", "sites", "total"),
    [
        ("se", {256: 3, 512: 4, 1024: 6, 2048: 3}, 28_088_024),
        ("se-no-bias", {256: 3, 512: 4, 1024: 6, 2048: 3}, 28_071_976),
        ("eca", {256: 3, 512: 4, 1024: 6, 2048: 3}, 25_557_118),
        ("cbam", {256: 3, 512: 4, 1024: 6, 2048: 3}, 28_089_624),
        ("bam", {256: 1, 512: 1, 1024: 1}, 25_915_099),
    ],
)
def test_totals_in_resnet50(mechanism: str, sites: dict[int, int], total: int) -> None:
    params = {"bias": False} if mechanism == "se-no-bias" else {}
    added = 0
    for width, times in sites.items():
        with torch.device("meta"):
            module = build(mechanism.split("-")[0], width, params=params)
        added += times * sum(p.numel() for p in module.parameters())
    assert 25_557_032 + added == total


@pytest.mark.parametrize("channels", [16, 24, 40, 64, 96, 100, 128, 255, 256, 512, 960, 2048, 4096])
def test_eca_kernel(channels: int) -> None:
    weight = build("eca", channels).get_submodule("interact.conv").weight
    assert weight.shape == (1, 1, oracles.eca_kernel(channels))


#  c: the kernel, worked out by hand from the formula
@pytest.mark.parametrize(
    ("channels", "kernel"),
    [(16, 3), (31, 3), (32, 3), (127, 3), (128, 5), (256, 5), (512, 5), (2048, 7), (4096, 7)],
)
def test_eca_kernel_by_hand(channels: int, kernel: int) -> None:
    assert oracles.eca_kernel(channels) == kernel
    module = build("eca", channels)
    assert module.get_submodule("interact.conv").kernel_size == (kernel,)


def test_cbam_begins_as_the_authors_do() -> None:
    norm = build("cbam", 32).get_submodule("locate.norm")
    assert norm.weight.item() == 0 and norm.bias.item() == 0
    assert (norm.momentum, norm.eps) == (0.01, 1e-5)


def test_bam_context_layers_do_not_share_weights() -> None:
    module = build("bam", 32)
    assert module.get_parameter("context1.conv.weight") is not module.get_parameter(
        "context2.conv.weight"
    )
    assert module.get_submodule("context1.conv").dilation == (4, 4)


TIMM = {
    "se": (lambda: SEModule(48, rd_channels=3), {}, renamed(
        {"excite.fc1": "fc1", "excite.fc2": "fc2"}, "weight", "bias")),
    "eca": (lambda: EcaModule(48), {}, {"interact.conv.weight": "conv.weight"}),
    "ese": (lambda: EffectiveSEModule(48), {}, renamed({"excite.linear": "fc"}, "weight", "bias")),
    "cbam": (lambda: CbamModule(48), {"bias": False}, {
        "excite.fc1.weight": "channel.fc1.weight", "excite.fc2.weight": "channel.fc2.weight",
        "locate.conv.weight": "spatial.conv.conv.weight",
        **renamed({"locate.norm": "spatial.conv.bn"}, *NORM)}),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", TIMM)
def test_timm_gives_the_same_numbers(name: str, mode: str) -> None:
    make, params, keys = TIMM[name]
    ours = randomise(build(name, 48, params=params).double())
    theirs, state = make().double(), ours.state_dict()
    assert set(state) == set(keys)
    shapes = {k: v.shape for k, v in theirs.state_dict().items()}
    theirs.load_state_dict({b: state[a].reshape(shapes[b]) for a, b in keys.items()})
    if name == "cbam":  # timm stacks [mean, max]
        weight = theirs.get_parameter("spatial.conv.conv.weight")
        weight.data = weight.data.flip(1)
        momentum = theirs.get_submodule("spatial.conv.bn")
        momentum.momentum = 0.01
    for module in (ours, theirs):
        module.train(mode == "train")
    x = random(3, 48, 7, 9)
    close(ours(x), theirs(x), "the output")
