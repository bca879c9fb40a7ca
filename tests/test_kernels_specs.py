"""Kernels and windows: timm's modules and networks, closed counts, gradients, how they begin."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from backbones import enlivened
from probe import random, randomise
from timm.layers import MixedConv2d
from timm.layers.grn import GlobalResponseNorm
from timm.models.volo import OutlookAttention
from torch import Tensor, nn

import composer
from composer.certificate.claim import Conv
from composer.certificate.claims import CLAIMS
from composer.certificate.claims.keys import BIASED, WEIGHTS, renamed

MIXED = {f"conv{2 * k + 3}.conv": str(k) for k in range(4)}
OUTLOOK = {
    "values.linear.weight": "v.weight",
    **renamed({"logits.linear": "attn", "out.linear": "proj"}, BIASED),
}


class Last(nn.Module):
    """A module whose maps have their channels last, on one that has them first."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.movedim(1, -1)).movedim(-1, 1)
        return out


def mixed(channels: int, stride: int) -> nn.Module:
    return MixedConv2d(channels, channels, [3, 5, 7, 9], stride, depthwise=True)


#: A spec, timm's module, its key for each of ours, params, the convolution, the channels.
KNOWN: dict[str, tuple[str, Callable[[], nn.Module], dict[str, str], dict[str, Any], Any, int]] = {
    "grn": ("grn", lambda: GlobalResponseNorm(48, channels_last=False),
            {"gamma": "weight", "beta": "bias"}, {}, None, 48),
    "mix_conv": ("mix_conv", lambda: mixed(48, 1), renamed(MIXED, WEIGHTS), {}, Conv(groups=0), 48),
    "mix_conv of a width that four does not divide": (
        "mix_conv", lambda: mixed(50, 2), renamed(MIXED, WEIGHTS), {},
        Conv(stride=2, groups=0), 50),
    "outlook": ("outlook", lambda: Last(OutlookAttention(48, 6, stride=2)),
                {a: f"inner.{b}" for a, b in OUTLOOK.items()}, {"heads": 6}, None, 48),
    "outlook at each place": (
        "outlook", lambda: Last(OutlookAttention(48, 3, qkv_bias=True)),
        {"values.linear.bias": "inner.v.bias", **{a: f"inner.{b}" for a, b in OUTLOOK.items()}},
        {"heads": 3, "stride": 1, "bias": True}, None, 48),
}  # fmt: skip


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("size", [(8, 6), (7, 9)], ids=str)
def test_timm_s_modules_give_the_same_numbers(known: str, size: tuple[int, int]) -> None:
    spec, make, keys, params, conv, channels = KNOWN[known]
    like = None if conv is None else conv.layer(channels)
    ours = composer.build(spec, None if like else channels, like=like, params=params).double()
    theirs, state = make().double(), randomise(ours).state_dict()
    assert set(state) == set(keys)
    theirs.load_state_dict({keys[key]: value for key, value in state.items()})
    x, y = (random(3, channels, *size).requires_grad_() for _ in range(2))
    weights = random(*ours(x).shape, seed=2)
    for module, given in ((ours, x), (theirs, y)):
        (module(given) * weights).sum().backward()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.long
def test_volo_is_the_same_with_outlook_attention_by_a_spec() -> None:
    theirs = randomise(timm.create_model("volo_d1_224", img_size=64)).double().eval()
    ours = copy.deepcopy(theirs)
    for number in range(4):
        path = f"network.0.{number}.attn"
        state = ours.get_submodule(path).state_dict()
        made = composer.build("outlook", 192, layout=("b", "h", "w", "c")).double()
        made.load_state_dict({key: state[theirs_key] for key, theirs_key in OUTLOOK.items()})
        ours.set_submodule(path, made.eval())
    x = random(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-9, atol=1e-9)


def plain(name: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in timm.create_model(name).parameters())


def convolutions(name: str) -> list[nn.Conv2d]:
    """The 3×3 convolutions of a network after its stem."""
    with torch.device("meta"):
        model = timm.create_model(name)
    found = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    return [conv for conv in found[1:] if conv.kernel_size == (3, 3)]


def instead(of: Callable[[int], int]) -> int:
    """ResNet-50 with so many parameters, by the width, for each 3×3."""
    width = (conv.in_channels for conv in convolutions("resnet50"))
    return plain("resnet50") + sum(of(c) - 9 * c * c for c in width)


def beside(of: Callable[[int], int]) -> int:
    """ResNet-50 and so many parameters, by the width, at the end of each block."""
    stages = ((256, 3), (512, 4), (1024, 6), (2048, 3))
    return plain("resnet50") + sum(times * of(width) for width, times in stages)


def pyramid(c: int) -> int:
    quarter = c // 4
    kernels = sum(k * k * c // groups * quarter for k, groups in ((3, 1), (5, 4), (7, 8), (9, 16)))
    hidden = quarter // 16
    return kernels + 2 * quarter * hidden + hidden + quarter


def involuted(c: int) -> int:
    return c * c // 4 + 2 * (c // 4) + (c // 4 + 1) * 49 * (c // 16)


def contextual(c: int) -> int:
    keys, values = 9 * c * c // 4 + 2 * c, c * c + 2 * c
    hidden, matrices = c // 2, 9 * c // 8
    attention = 2 * c * hidden + 2 * hidden + hidden * matrices + matrices + 2 * matrices
    fused = c * hidden + 3 * hidden + hidden * 2 * c + 2 * c
    return keys + values + attention + 2 * c + fused


def mixed_mobilenet() -> int:
    more = {3: 0, 5: 16, 7: 40, 9: 72}
    widths = [conv.in_channels for conv in convolutions("mobilenetv2_100")]
    return plain("mobilenetv2_100") + sum(c // 4 * extra for c in widths for extra in more.values())


#: Counts of whole networks that are no paper's, worked out again from the plain network.
CLOSED: dict[str, Callable[[], int]] = {
    "lka": lambda: beside(lambda c: (25 + 1 + 49 + 1) * c + c * c + c),
    "lsk": lambda: beside(
        lambda c: (26 + 50) * c + 2 * (c + 1) * (c // 2) + (c // 2 + 1) * c + 2 * 2 * 49 + 2
    ),
    "epsa": lambda: instead(pyramid),
    "involution": lambda: instead(involuted),
    "cot": lambda: instead(contextual) - 2 * sum(  # its norm goes with the 3×3
        conv.out_channels for conv in convolutions("resnet50")
    ),
    "mix_conv": mixed_mobilenet,
    "grn": lambda: plain("convnextv2_tiny") + 3 * 96 + 3 * 192 + 9 * 384 + 3 * 768,
    "outlook": lambda: plain("volo_d1_224"),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_counts_of_no_paper_follow_from_the_plain_network(name: str) -> None:
    assert f"{CLOSED[name]():,}" in [count.shown for count in CLAIMS[name].parameters]


def test_a_channel_that_is_zero_has_a_gradient_through_grn() -> None:
    module = randomise(composer.build("grn", 8))
    x = torch.randn(2, 8, 5, 5)
    x[:, 3] = 0
    x.requires_grad_()
    module(x).sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())


def test_grn_begins_as_its_input_and_learns() -> None:
    module = composer.build("grn", 8, init="identity").double()
    x = random(2, 8, 5, 5)
    assert torch.equal(module(x), x)
    (module(x) * random(2, 8, 5, 5, seed=2)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().min() > 0 for p in module.parameters())


@pytest.mark.long
@pytest.mark.parametrize(("backbone", "experts", "stage", "sites"), [
    ("resnet18", 4, 1, 4), ("mobilenetv2_050", 1, 1, 2),  # 3×3; 1×1 and depthwise
])  # fmt: skip
def test_od_conv_may_begin_as_the_convolution(
    backbone: str, experts: int, stage: int, sites: int
) -> None:
    model = enlivened(timm.create_model(backbone)).double().eval()
    how = {"params": {"experts": experts}, "stages": stage, "expect": sites}
    made = composer.insert(model, "od_conv", init="identity", **how).eval()
    x = random(2, 3, 64, 64)
    with torch.no_grad():
        wanted, found = model(x), made(x)
    assert wanted.std() > 0.1  # else anything would agree
    within = 1e-9 if experts == 1 else 1e-5  # experts begin a little apart
    torch.testing.assert_close(found, wanted, rtol=within, atol=within)


def test_a_temperature_goes_through_all_gates_of_od_conv() -> None:
    module = randomise(composer.build("od_conv", like=nn.Conv2d(16, 16, 3, padding=1))).eval()
    x = torch.randn(2, 16, 5, 5)
    hot = module(x)
    composer.advance(module, 10)
    assert module.get_buffer("heat.value").item() == 1
    assert not torch.allclose(module(x), hot)
