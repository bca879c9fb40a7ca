"""What functions of a library remember: nothing of a pass on fake tensors stays in it."""

from __future__ import annotations

import threading
from functools import cache, lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import composer


@lru_cache(maxsize=4)
def bounded(size: int) -> Tensor:
    return torch.linspace(0, 1, size)


@cache
def unbounded(size: int) -> Tensor:
    return torch.linspace(0, 1, size)


@lru_cache(maxsize=4)
def in_a_tuple(size: int) -> tuple[Tensor, int]:
    return torch.linspace(0, 1, size), size


@cache
def shared(name: str) -> Any:
    """Make what others may hold on to: it must stay what it is."""
    return threading.Lock(), name


class Encoded(nn.Module):
    """Adds what a function remembers, as the position encodings of BEiT and DINOv3 do."""

    def __init__(self, remembered: Any) -> None:
        super().__init__()
        self.remembered = remembered
        self.one, self.two = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        shared("lock")
        found = self.remembered(x.shape[-1])
        found = found if isinstance(found, Tensor) else found[0]
        return x + self.two(torch.relu(self.one(x + found)))


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize("remembered", [bounded, unbounded, in_a_tuple])
def test_no_fake_tensor_stays(remembered: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), Encoded(remembered), Encoded(remembered)).eval()
    lock = shared("lock")
    plan = composer.plan(model, "se", at="block", params={"min_width": 1})
    assert [site.position for site in plan.sites] == ["residual", "residual"]
    out = model(torch.randn(2, 3, *plan.input_shape[1:]))
    assert type(out) is Tensor
    assert shared("lock") is lock, "a cache without fake tensors was emptied"
