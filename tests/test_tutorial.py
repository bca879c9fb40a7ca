"""The tutorial, followed word by word."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from composer.cli import main
from composer.graph.frontend import check_text

DOCS = Path(__file__).resolve().parents[1] / "docs"
TEXT = (DOCS / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(.*?)^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STEPS = [(before, kind, block) for before, kind, block in BLOCK.findall(TEXT)]


def specs() -> dict[str, str]:
    """The specs by the name that the text says to save them under."""
    found = {}
    for before, kind, block in STEPS:
        if kind == "yaml":
            found[re.findall(r"`(\w+\.yaml)`", before)[-1]] = block
    return found


def run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    status = 0
    try:
        main(shlex.split(command)[1:])
    except SystemExit as left:
        status = int(left.code or 0)
    printed = capsys.readouterr()
    assert status == 0, f"{command}\n{printed.err}"
    return printed.out


@pytest.mark.slow
def test_the_tutorial_word_by_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = []
    for before, kind, block in STEPS:
        if kind == "yaml":
            name = re.findall(r"`(\w+\.yaml)`", before)[-1]
            (tmp_path / name).write_text(block, encoding="utf-8")
        elif kind == "python":
            torch.manual_seed(0)
            exec(compile(block, "tutorial.md", "exec"), {})
        elif kind == "sh":
            commands = [line for line in block.splitlines() if not line.startswith("pip ")]
            printed += [run(command, capsys) for command in commands]
    said = "".join(printed)
    assert "convnext_atto on 3×224×224: 8 sites" in said
    assert "largest difference from the original's output, on random numbers: 0" in said
    for name in ("contrast.svg", "convnext.svg"):
        drawn = (tmp_path / name).read_text(encoding="utf-8")
        assert drawn == (DOCS / "pictures" / name).read_text(encoding="utf-8"), name
    assert (tmp_path / "trained" / "model.safetensors").is_file()


def test_what_the_tutorial_says_of_the_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (said,) = re.findall(r"here `(.*?)` parameters", TEXT)
    file = tmp_path / "contrast.yaml"
    file.write_text(specs()[file.name], encoding="utf-8")
    printed = run(f"composer show {file} --channels 64 --size 28", capsys)
    assert f"parameters    = {said} " in printed


def test_the_message_of_the_tutorial_is_what_is_printed() -> None:
    (shown,) = [block for _, kind, block in STEPS if kind == "text"]
    wrong = specs()["contrast.yaml"].replace("by: place}", "by: plce}")
    _, problems = check_text(wrong, "contrast.yaml")
    assert "\n".join(p.render() for p in problems) + "\n" == shown


def test_every_picture_of_the_tutorial_is_there() -> None:
    names = re.findall(r"!\[.*?\]\((.*?)\)", TEXT)
    assert names and all((DOCS / name).is_file() for name in names)
