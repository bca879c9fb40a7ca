"""Channels that a spec takes apart, once a pruner has left fewer of them."""

from __future__ import annotations

import re

import pytest
import torch
from probe import random, spec_text

from composer.lower.build import build

BACK = "mean: {op: pool, over: %s}\nweighed: {op: reweight, x: parts, by: mean}\n"
MERGED = BACK + "out: {op: merge, axes: [%s], into: c}"
#: Nodes that take 64 channels apart, and how any number of them comes apart.
PARTS = {
    "groups first": ("parts: {op: split, axis: c, into: {g: 4, d: c / 4}}\n"
                     + MERGED % ("g", "g, d"), (4, -1)),
    "groups last": ("parts: {op: split, axis: c, into: {d: c / 4, g: 4}}\n"
                    + MERGED % ("g", "d, g"), (-1, 4)),
    "in the middle": ("parts: {op: split, axis: c, into: {a: 2, d: c / 8, g: 4}}\n"
                      + MERGED % ("g", "a, d, g"), (2, -1, 4)),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "sizes"), PARTS.values(), ids=PARTS)
def test_fewer_channels_come_apart_as_they_were_meant_to(
    nodes: str, sizes: tuple[int, ...]
) -> None:
    """The number of groups stays, wherever it is written."""
    module = build(spec_text(nodes), 64)
    x = random(2, 32, 3, 5)
    small = build(spec_text(nodes), 32)
    torch.testing.assert_close(module(x), small(x))
    assert f"unflatten(1, {sizes})" in module.code


@pytest.mark.parametrize(
    ("op", "sizes"),
    [
        ("linear, over: c, out: {k: 2, c: c}", (2, -1)),
        ("linear, over: c, out: {d: c, k: 2}", (-1, 2)),
        ("mlp, over: c, hidden: 4, out: {part: 3, d: c // 2, head: 2}", (3, -1, 2)),
        ("linear, over: c, out: {k: 2, d: 8}", (2, 8)),
        ("linear, over: c, out: {k: c // 4, d: c}", (16, 64)),
        ("conv2d, kernel: 1, out: {c: c, k: 2}", (-1, 2)),
    ],
)
def test_what_a_layer_gives_comes_apart(op: str, sizes: tuple[int, ...]) -> None:
    code = build(spec_text(f"out: {{op: {op}}}"), 64).code
    found = re.findall(r"unflatten\(\d, (\([-\d, ]+\))\)", code)
    assert str(sizes) in found
