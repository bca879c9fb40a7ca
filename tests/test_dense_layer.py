"""Dense layers that give their input with what they make of it: ``cat([x, new])``."""

from __future__ import annotations

import pytest
import torch
from sweep import Scale
from torch import Tensor, nn

import composer


class Dense(nn.Module):
    """MONAI's dense layer; `first` says which of the two comes first."""

    def __init__(self, width: int, first: str, drop: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 16, 1), nn.Conv2d(16, 8, 3, padding=1),
        )  # fmt: skip
        self.drop, self.first = nn.Dropout(drop), first

    def forward(self, x: Tensor) -> Tensor:
        new = self.drop(self.layers(x))
        return torch.cat([x, new] if self.first == "x" else [new, x], 1)


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("first", ["x", "new"])
@pytest.mark.parametrize("drop", [0.0, 0.1])
def test_what_is_new_is_weighted_alone(first: str, drop: float) -> None:
    torch.manual_seed(0)
    layers = (Dense(16 + 8 * n, first, drop) for n in range(3))
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Sequential(*layers)).eval()
    plan = composer.plan(model, "se", at="block", params={"min_width": 1})
    assert [(s.path, s.position, s.channels) for s in plan.sites] == [
        (f"1.{n}", "residual", 8) for n in range(3)
    ]
    assert {site.note for site in plan.sites} == {
        "its output includes its input, which goes past the insertion"
    }
    composed = composer.insert(model, "se", at="block", params={"min_width": 1})
    composed[1][0]._modules["se"] = Scale(0.0)
    x = torch.randn(2, 16, 8, 8)
    nothing = torch.zeros(2, 8, 8, 8)
    wanted = [x, nothing] if first == "x" else [nothing, x]
    assert torch.equal(composed[1][0](x), torch.cat(wanted, 1))
