"""The gates that know where, beside timm, and what their certificates count worked out again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from probe import random
from timm.layers.coord_attn import CoordAttn
from torch import Tensor, nn

from composer.certificate import oracles
from composer.certificate.claims import CLAIMS
from composer.certificate.claims.keys import NORM, WEIGHTS, renamed
from composer.certificate.draw import randomise
from composer.lower.build import build

STAGES = (256, 512, 1024, 2048)
MIDDLE = (64, 128, 256, 512)
DEPTHS = (3, 4, 6, 3)


def plain(name: str) -> int:
    return sum(p.numel() for p in timm.create_model(name).parameters())


def coordinate_mobilenet() -> int:
    """Three layers and a norm after the depthwise convolution of each block that expands."""
    model = timm.create_model("mobilenetv2_100")
    more = 0
    for block in (block for stage in model.blocks[1:] for block in stage):
        width = block.conv_dw.out_channels
        hidden = max(8, width // 32)
        more += width * hidden + 3 * hidden + 2 * (hidden + 1) * width
    return plain("mobilenetv2_100") + more


Ints = tuple[int, ...]


def in_stages(of_width: Callable[[int], int], widths: Ints, times: Ints = (1, 1, 1, 1)) -> int:
    more = sum(n * of_width(width) for width, n in zip(widths, times, strict=True))
    return plain("resnet50") + more


def gam(c: int) -> int:
    hidden = c // 4
    convolutions = 2 * 49 * c * hidden + hidden + c
    return convolutions + 2 * c * hidden + hidden + c + 2 * (hidden + c)


def polarised(c: int) -> int:
    """The query and the value of both gates, without what leads up."""
    return c + 3 * c * (c // 2)


def sequential(c: int) -> int:
    half, hidden = c // 2, c // 8
    return polarised(c) + (half + 1) * hidden + 2 * hidden + (hidden + 1) * c


#: Counts of whole networks, worked out again from the plain network.
CLOSED = {
    "coordinate": coordinate_mobilenet,
    "triplet": lambda: plain("resnet50") + 16 * 3 * (2 * 49 + 2),
    "strip_pooling": lambda: in_stages(lambda c: 6 * c * c + 4 * c + (c + 1) * c, MIDDLE),
    "gam": lambda: in_stages(gam, STAGES),
    "parnet": lambda: in_stages(lambda c: (9 + 1 + 1) * c * c + 3 * 2 * c, STAGES),
    "polarised_parallel": lambda: in_stages(lambda c: polarised(c) + c * c // 2, MIDDLE, DEPTHS),
    "polarised_sequential": lambda: in_stages(sequential, MIDDLE, DEPTHS),
}


@pytest.mark.parametrize("name", CLOSED)
def test_counts_follow_from_the_plain_network(name: str) -> None:
    with torch.device("meta"):
        expected = CLOSED[name]()
    assert f"{expected:,}" in [count.shown for count in CLAIMS[name].parameters]


COORDINATE = {
    **renamed({"mix.linear": "conv1", "g_h.linear": "conv_h", "g_w.linear": "conv_w"}, WEIGHTS),
    **renamed({"mix.norm": "bn1"}, NORM),
}


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_coordinate_attention_is_timms(mode: str) -> None:
    ours = build("coordinate", 48, params={"reduction": 6, "bias": False}).double()
    theirs = CoordAttn(48, rd_channels=8).double()
    randomise(ours)
    state, shapes = ours.state_dict(), {k: v.shape for k, v in theirs.state_dict().items()}
    assert set(state) == set(COORDINATE)
    theirs.load_state_dict({b: state[a].reshape(shapes[b]) for a, b in COORDINATE.items()})
    for module in (ours, theirs):
        module.train(mode == "train")
    x = random(3, 48, 6, 8)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


CSRA = """\
name: csra
title: Class-specific residual attention
source: arXiv:2108.02456, section 3
params: {classes: 20, strength: 0.1, temperature: 1}
input: [b, c, h, w]
nodes:
  classifier: {op: parameter, axes: {k: classes, c: c}, init: conv}
  head:       {op: norm, fn: l2, over: c}
  score:      {op: product, of: [input, head], sum: c}
  mean:       {op: pool, over: [h, w]}
  heated:     {op: scale, x: score, by: temperature}
  share:      {op: gate, fn: softmax, over: [h, w]}
  attended:   {op: reweight, x: score, by: share, sum: [h, w]}
  residual:   {op: scale, by: strength}
  out:        {op: add, of: [mean, residual]}
"""


@pytest.mark.parametrize("params", [{}, {"classes": 7, "strength": 0.4, "temperature": 3}], ids=str)
def test_csra_is_a_spec_of_classes(params: dict[str, float]) -> None:
    ours = build(CSRA, 48, params=params).double()
    theirs = oracles.CSRA(48, **{"classes": 20, **params}).double()  # type: ignore[arg-type]
    randomise(ours)
    weight = ours.get_parameter("classifier")
    theirs.head.weight.data = weight.data[:, :, None, None].clone()
    x = random(3, 48, 6, 8)
    logits, expected = ours(x), theirs(x)
    assert logits.shape == (3, theirs.head.out_channels)
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)
    loss: Callable[[Tensor], Tensor] = nn.Softplus()
    loss(logits).sum().backward()
    loss(expected).sum().backward()
    assert weight.grad is not None and theirs.head.weight.grad is not None
    gradient = theirs.head.weight.grad[:, :, 0, 0]
    torch.testing.assert_close(weight.grad, gradient, rtol=1e-10, atol=1e-12)
