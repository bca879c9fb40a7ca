"""The benchmarks run, and print a row for each case; what they measure is for people to read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_depth() -> None:
    readme = ROOT.joinpath("README.md").read_text()
    command = re.search(r"^python (tests/benchmarks/depth.py) --depths 50 200$", readme, re.M)
    assert command is not None
    run = [sys.executable, str(ROOT / command[1]), "--depths", "4", "9"]
    printed = subprocess.run(run, check=True, capture_output=True, text=True, timeout=200).stdout
    heading, *rows = (line.split() for line in printed.splitlines())
    assert heading == ["blocks", "seconds", "ms/block", "MiB", "KiB/block"]
    assert [row[0] for row in rows] == ["4", "9"]
    assert all(float(row[1]) > 0 for row in rows)
