"""What the tests of the command line share: a run of it in this process, and a tiny backbone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from composer.cli import main

#: Two stages of two residual blocks, at 56×56 and 28×28 for an image of 224.
NET = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(torch.relu(self.norm(self.conv1(x))))


class Net(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, stride=4)
        self.stage1 = nn.Sequential(Block(width), Block(width))
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.stage2 = nn.Sequential(Block(2 * width), Block(2 * width))
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x):
        x = self.stage2(self.down(self.stage1(self.stem(x))))
        return self.head(x.mean((2, 3)))


def tiny(width=16, classes=5):
    return Net(width, classes)
"""


@dataclass(frozen=True)
class Result:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object that was printed."""
        return json.loads(self.out)


class Command:
    """Runs `composer` in this process, or in one of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *args: object) -> Result:
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(arg) for arg in args])
        printed = self.capsys.readouterr()
        assert "Traceback" not in printed.err
        return Result(int(left.value.code or 0), printed.out, printed.err)

    def fine(self, *args: object) -> Result:
        """Run what must end with status 0."""
        result = self(*args)
        assert result.status == 0, result.err
        return result


def process(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `composer` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "composer", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )


def files(folder: Path) -> list[str]:
    """Return the name of every file below, hidden ones too, but for Python's cache."""
    found = (p for p in folder.rglob("*") if p.is_file() and p.parent.name != "__pycache__")
    return sorted(str(p.relative_to(folder)) for p in found)


def names(folder: Path) -> list[str]:
    """Return the names in a folder, but for Python's cache."""
    return sorted(p.name for p in folder.iterdir() if p.name != "__pycache__")
