"""Every command and snippet of docs/extending.md runs, and its tables are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch
from command import Command
from installed import install as install
from test_new_op import installed

import composer
from composer.language.op_starter import op_package
from composer.testing import LAWS, check_op, laws_of

TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SHELL, PYTHON, YAML, TOML = (
    [block for kind, block in BLOCKS if kind == wanted] for wanted in ("sh", "py", "yaml", "toml")
)
SHRINK = {"composer.primitives": {"shrink": "our_ops.shrink:Shrink"}}


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Command:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Command(capsys)


def commands(block: str, run: Command) -> list[str]:
    """Run the composer commands of a block, and return the others."""
    lines = block.splitlines()
    for line in lines:
        if line.startswith("composer ") and " --op" not in line:
            run.fine(*line.split()[1:])
    return [line for line in lines if not line.startswith("composer ")]


def test_all_blocks_are_met() -> None:
    found = [len(blocks) for blocks in (SHELL, PYTHON, YAML, TOML)]
    assert (found, len(BLOCKS)) == ([2, 3, 1, 1], 7)


@pytest.mark.long
def test_the_op_from_scratch(install, run) -> None:
    assert SHELL[0].startswith("composer new soften --op\n")
    installed(install, run, "soften")
    left = commands(SHELL[0], run)  # which other tests run: see test_new_op.py
    assert left == ["pip install --no-build-isolation -e soften", "pytest soften"]
    assert PYTHON[0] == op_package("soften")["composer_soften/soften.py"]


def test_the_op_with_weights_and_its_test(install) -> None:
    install("our-ops", SHRINK, {"our_ops/__init__.py": "", "our_ops/shrink.py": PYTHON[1]})
    names: dict[str, object] = {}
    exec(PYTHON[2], names)
    names["test_the_law"](laws_of(names["CASES"][0])[0])  # type: ignore[operator, index]
    quick = [law for law in LAWS if law not in ("compiled", "exported")]
    check_op("shrink", *names["CASES"], only=quick)  # type: ignore[misc]


@pytest.mark.long
def test_the_package_of_specs(install, run) -> None:
    project = tomllib.loads(TOML[0])["project"]
    files = {"our_attention/__init__.py": "", "our_attention/specs/our_gate.yaml": YAML[0]}
    install(project["name"], project["entry-points"], files, project["version"])
    assert commands(SHELL[1], run) == []
    assert run.fine("check", "our_gate").out == "our_gate (our-attention 1.0): ok\n"
    x = torch.randn(2, 8, 4, 4)
    assert composer.build("our_gate", channels=8)(x).shape == x.shape


def test_the_table_of_laws() -> None:
    rows = re.findall(r"^\| ([\w ]+) \| (.*) \|$", TEXT.split("| law |")[1].split("\n## ")[0], re.M)
    told = {name: says for name, says in rows if name != "---"}
    assert told == {name: (law.__doc__ or "").strip().splitlines()[0] for name, law in LAWS.items()}


def test_code_is_trusted_in_one_sentence() -> None:
    assert "An entry point is code from an installed package" in TEXT
