"""Models that hold a block by two names, as MONAI's DynUNet does: its keys come twice."""

from __future__ import annotations

from pathlib import Path

import torch

import composer

NETWORK = """
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = (nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))

    def forward(self, x):
        return x + self.two(self.one(x).relu())


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3)
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.last = self.blocks[-1]
        self.inside = nn.ModuleDict({"again": self.blocks[0]})

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.last(x)
"""


def test_a_block_with_two_names_is_composed_saved_and_ejected(tmp_path: Path) -> None:
    file = tmp_path / "two_names.py"
    file.write_text(NETWORK)
    torch.manual_seed(0)
    composed = composer.insert(f"{file}:Network", "se", at="block", params={"min_width": 1}).eval()
    keys = composed.state_dict()
    assert sum("se." in key for key in keys) == 5 * sum(
        key.startswith("blocks.1.se.") for key in keys
    )
    back = composer.load(composer.save(composed, tmp_path / "saved"), trust_code=True).eval()
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(back(x), composed(x))
    assert not any("se." in key for key in composer.eject(back).state_dict())
