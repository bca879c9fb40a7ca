"""Models that ran with gradients before: a tensor that a pass left in them changes no plan."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import composer


class Remembering(nn.Module):
    """Keeps in evaluation what it makes of its weights, as LeViT keeps its attention biases."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        self.bias = nn.Parameter(torch.randn(16, 1, 1))
        self.kept: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            bias = self.bias * 2
        else:
            if "cpu" not in self.kept:
                self.kept["cpu"] = self.bias * 2
            bias = self.kept["cpu"]
        return x + self.two((self.one(x) + bias).relu())

    def train(self, mode: bool = True) -> Remembering:
        self.kept.clear()
        return super().train(mode)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), Remembering(), Remembering()).eval()


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("position", ["residual", "output", "input"])
def test_a_pass_with_gradients_before_changes_no_plan(position: str) -> None:
    fresh, ran = network(), network()
    ran(torch.randn(2, 3, 16, 16))
    assert any(t.grad_fn is not None for t in ran[1].kept.values())
    plans = [
        composer.plan(model, "se", at="block", position=position, params={"min_width": 1})
        for model in (fresh, ran)
    ]
    assert str(plans[0]) == str(plans[1])
    assert [site.position for site in plans[1].sites] == [position, position]


def test_a_seed_that_waits_for_a_gpu_stays():
    model = network()
    torch.manual_seed(7)  # what the user's GPU will draw from, once it is in use
    waiting = torch.cuda._lazy_seed_tracker.get_calls()
    composer.insert(model, "se")
    assert torch.cuda._lazy_seed_tracker.get_calls() == waiting
