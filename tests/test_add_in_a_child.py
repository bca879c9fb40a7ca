"""Blocks whose residual add is made by a child that is given both: ``self.output(h, x)``."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sweep import Scale
from torch import Tensor, nn

import composer


class Added(nn.Module):
    """A projection that adds the shortcut it is given, as in a BERT-like transformer."""

    def __init__(self, width: int, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.dense, self.dropout = nn.Conv2d(width, width, 1), nn.Dropout(0.1)
        self.join = join

    def forward(self, hidden: Tensor, shortcut: Tensor) -> Tensor:
        hidden = self.dropout(self.dense(hidden))
        return self.join(hidden, shortcut)


class Block(nn.Module):
    def __init__(self, width: int, join: Callable[[Tensor, Tensor], Tensor], last: str) -> None:
        super().__init__()
        self.norm, self.inner = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1)
        self.output = Added(width, join)
        self.last = {"nothing": nn.Identity(), "dropout": nn.Dropout(0.1)}[last]

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.output(self.inner(self.norm(x)).relu(), x))


def added(hidden: Tensor, shortcut: Tensor) -> Tensor:
    return hidden + shortcut


def multiplied(hidden: Tensor, shortcut: Tensor) -> Tensor:
    return hidden * shortcut


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(("join", "last", "skips"), [
    (added, "nothing", True), (added, "dropout", True), (multiplied, "nothing", False),
])  # fmt: skip
def test_the_place_is_where_the_add_is(join: Callable, last: str, skips: bool) -> None:  # type: ignore[type-arg]
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 16, 3, padding=1)
    model = nn.Sequential(stem, *(Block(16, join, last) for _ in range(2))).eval()
    plan = composer.plan(model, "se", at="block", params={"min_width": 1})
    assert [site.path for site in plan.sites] == (["1.output", "2.output"] if skips else ["1", "2"])
    assert {site.note for site in plan.sites} == {
        "the residual add is in output"
        if skips
        else "no skip connection: the whole block is the branch"
    }
    composed = composer.insert(model, "se", at="block", params={"min_width": 1})
    composed.get_submodule(plan.sites[0].path)._modules["se"] = Scale(0.0)
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(composed[1](x), x if skips else torch.zeros_like(x))
