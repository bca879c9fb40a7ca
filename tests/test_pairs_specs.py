"""Every place beside every other: beside timm, and what the certificates count worked out again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import timm
import torch
from probe import random
from timm.layers.non_local_attn import NonLocalAttn
from torch import nn

from composer.certificate.claims import CLAIMS
from composer.certificate.claims.keys import BIASED, NORM, renamed
from composer.certificate.draw import randomise
from composer.drawing.mechanism import mechanism
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import analyse
from composer.lower.build import build


def with_more(*more: int) -> int:
    return sum(p.numel() for p in timm.create_model("resnet50").parameters()) + sum(more)


def layer(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def three_layers(c: int) -> int:
    """Queries, keys and values, and the factor."""
    return 2 * layer(c, c // 8) + layer(c, c) + 1


def double(c: int) -> int:
    return 3 * layer(c, c // 4) + layer(c // 4, c)


#: Counts of whole networks, worked out again from the plain network.
CLOSED: Mapping[str, Callable[[], int]] = {
    "non_local": lambda: with_more(3 * layer(1024, 512), layer(512, 1024), 2 * 1024),
    "danet_position": lambda: with_more(three_layers(2048)),
    "danet_channel": lambda: with_more(1),
    "double_attention": lambda: with_more(2 * double(512), 3 * double(1024)),
    "external_attention": lambda: with_more(layer(2048, 2048), 2 * 64 * 2048, 2048**2, 2 * 2048),
    "criss_cross": lambda: with_more(three_layers(2048)),
    "rcca": lambda: with_more(three_layers(2048)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_counts_follow_from_the_plain_network(name: str) -> None:
    with torch.device("meta"):
        expected = CLOSED[name]()
    assert f"{expected:,}" in [count.shown for count in CLAIMS[name].parameters]


NON_LOCAL = {
    **renamed({"theta.linear": "t", "phi.linear": "p", "g.linear": "g", "z.linear": "z"}, BIASED),
    **renamed({"z.norm": "norm"}, NORM),
}


def test_a_picture_counts_what_runs() -> None:
    """The pairs of the dot product are off by default, and cost nothing then."""
    graph = analyse(graph_of(load_spec("non_local"), Settings({"c": 256, "h": 14, "w": 14})))
    assert mechanism(graph).caption[-1] == "132,224 parameters · 35.6 M multiply-adds"


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("scaled", [True, False])
def test_the_non_local_block_is_timms(scaled: bool, mode: str) -> None:
    scale = 48**-0.5 if scaled else 1  # timm takes the channels, and not the width
    ours = build("non_local", 48, params={"width": 16, "scale": scale}).double()
    theirs: nn.Module = NonLocalAttn(48, use_scale=scaled, rd_channels=16).double()
    randomise(ours)
    state, shapes = ours.state_dict(), {k: v.shape for k, v in theirs.state_dict().items()}
    assert set(state) == set(NON_LOCAL)
    theirs.load_state_dict({b: state[a].reshape(shapes[b]) for a, b in NON_LOCAL.items()})
    for module in (ours, theirs):
        module.train(mode == "train")
    x = random(3, 48, 6, 8)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "name", ["non_local", "danet_position", "danet_channel", "criss_cross", "rcca"]
)
def test_what_is_learned_begins_silent(name: str) -> None:
    x = random(2, 16, 5, 4)
    assert torch.equal(build(name, 16).double()(x), x)


def test_a_place_is_not_in_its_column_again() -> None:
    """With all logits at zero, each of the h + w - 1 places of the cross weighs the same."""
    module = build("criss_cross", 8).double()
    for key, weight in module.named_parameters():
        nn.init.constant_(weight, 1 if key == "gamma" else 0)
    nn.init.eye_(module.get_parameter("value.linear.weight"))
    x = random(1, 8, 3, 4)
    cross = x.sum(2, keepdim=True) + x.sum(3, keepdim=True) - x
    torch.testing.assert_close(module(x), x + cross / (3 + 4 - 1), rtol=1e-12, atol=1e-12)


def test_two_crosses_have_seen_every_place() -> None:
    """One cross gives a gradient at a row and a column alone, two at the whole map."""
    seen = {}
    for times in (1, 2):
        module = build("rcca", 8, params={"recurrence": times}).double()
        randomise(module)
        x = random(1, 8, 5, 6).requires_grad_()
        module(x)[0, :, 1, 2].sum().backward()
        assert x.grad is not None
        seen[times] = int((x.grad.abs().amax(1) > 0).sum())
    assert seen == {1: 5 + 6 - 1, 2: 5 * 6}
