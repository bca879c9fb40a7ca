"""The benchmark of the tool runs, and says what it measured; the numbers are for people to read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parent / "benchmarks" / "tool.py"


def run(*args: str) -> str:
    command = [sys.executable, str(TOOL), *args]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout


@pytest.mark.slow
def test_every_command_and_pass_has_a_row(tmp_path: Path) -> None:
    file = tmp_path / "tool.json"
    args = ("--rounds", "1", "--backbone", "test_resnet", "--sizes", "9", "30")
    printed = run(*args, "--json", str(file))
    said = json.loads(file.read_text())
    assert said["version"] == 1 and {"name", "date"} <= said["machine"].keys()
    commands = [row["command"] for row in said["commands"]]
    assert commands == [
        "composer --help",
        "timm's test_resnet",
        "composer check cbam",
        "composer insert --spec cbam --into test_resnet --dry-run",
        "composer insert --spec cbam --into test_resnet",
    ]
    assert said["commands"][1]["ratio"] == 1
    assert all(row["seconds"] > 0 and row["MiB"] > 1 for row in said["commands"])
    assert [row["nodes"] for row in said["passes"]] == [9, 30]
    for name in (*commands, *said["passes"][0]["seconds"], said["machine"]["date"]):
        assert name in printed
    assert {"check", "bind", "infer_axes", "merge_repeated"} <= said["passes"][0]["seconds"].keys()


@pytest.mark.slow
def test_without_commands() -> None:
    printed = run("--rounds", "0", "--sizes", "9")
    assert "composer --help" not in printed and "infer_axes" in printed
