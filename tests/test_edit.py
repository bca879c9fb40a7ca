"""Edits of blocks that are written in unusual ways."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import composer

SPEC = """
name: halved
input: [b, c, h, w]
nodes:
  factor: {op: parameter, axes: {}, init: 0.5}
  out:  {op: mul, of: [factor, input]}
insert: {at: block}
"""


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def branch(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a(x)))


class CallsItselfThis(Plain):
    def forward(this, x):  # noqa: N805
        return F.relu(x + this.branch(x))


class TakesStars(Plain):
    def forward(*args, **kwargs):
        self, x = args
        return F.relu(x + self.branch(x))


class TakesOptions(Plain):
    def forward(self, x, scale=1.0, *, bias=0.0):
        return F.relu(x + self.branch(x)) * scale + bias


class TakesPositionsOnly(Plain):
    def forward(self, x, /, scale=1.0):
        return F.relu(x + self.branch(x)) * scale


class Net(nn.Module):
    def __init__(self, block: type[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.blocks = nn.Sequential(block(), block(), block())

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x)).mean((2, 3))


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("block", [CallsItselfThis, TakesStars, TakesOptions, TakesPositionsOnly])
@pytest.mark.parametrize("position", ["residual", "output"])
def test_a_forward_written_in_any_way_is_edited(block: Any, position: Any) -> None:
    model = Net(block).eval()
    composed = composer.insert(model, SPEC, position=position, expect=3)
    x = torch.randn(2, 3, 32, 32)
    y = model.stem(x)
    where = {site.position for site in composer.plan(model, SPEC, position=position).sites}
    for part in model.blocks:
        if where == {"residual"}:
            y = F.relu(y + part.branch(y) * 0.5)
        else:
            y = F.relu(y + part.branch(y)) * 0.5
    assert where in ({"residual"}, {"output"})
    assert position != "output" or where == {"output"}
    torch.testing.assert_close(composed(x), y.mean((2, 3)))
    again = composer.insert(composed, SPEC, position=position)
    assert again(x).shape == composed(x).shape
    assert torch.equal(composer.eject(again)(x), model(x))
