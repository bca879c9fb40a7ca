"""Every command and every line of code in the README runs, and prints what the README says."""

from __future__ import annotations

import re
import shlex
import statistics
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from composer.cli import main
from composer.graph.frontend import check_text, load_spec

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([\w-]+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
SET_UP = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()
          if line.startswith("python3 -m venv")]  # fmt: skip


def blocks(kind: str) -> list[str]:
    return [block for k, block in BLOCKS if k == kind]


def commands() -> list[str]:
    """The README's `composer` commands in order, that of the main job first."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    found = re.findall(r"(composer insert .*)", SET_UP[0])
    return found + [line for line in lines if line.startswith("composer ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the example writes: weights for the backbone, and a photograph."""
    import skimage.data
    from PIL import Image

    path = tmp_path_factory.mktemp("readme")
    model = timm.create_model("tf_efficientnet_lite0")
    save_file(model.state_dict(), path / "lite0.safetensors")
    Image.fromarray(skimage.data.chelsea()).save(path / "cat.png")
    return path


def test_two_commands_do_all_the_set_up() -> None:
    assert len(SET_UP) == 2
    assert SET_UP[0].endswith("composer insert --spec cbam --into resnet50")
    assert SET_UP[1].endswith(".venv/bin/pytest")


@pytest.mark.slow
def test_commands_and_python_run_in_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    for command in commands():
        status = 0
        try:
            main(shlex.split(command)[1:])
        except SystemExit as exit_:
            status = exit_.code
        printed = capsys.readouterr()
        fine = (0, 1, None) if command.startswith("composer diff") else (0, None)
        assert status in fine, f"{command}\n{printed.err}"
        assert printed.out, command
    assert (folder / "resnet50-cbam" / "model.safetensors").is_file()
    for block in blocks("python"):
        torch.manual_seed(0)
        exec(compile(block, "README.md", "exec"), {})


def test_the_spec_of_the_readme_is_the_shipped_one() -> None:
    text, variant = blocks("yaml")
    assert load_spec(variant).extends == "se"
    readme, shipped = load_spec(text), load_spec("se")
    assert list(readme.nodes) == list(shipped.nodes)
    assert readme.insert == shipped.insert


def test_the_message_of_the_readme_is_what_is_printed() -> None:
    (shown,) = blocks("text")
    text = (
        "name: gate\ninput: [b, c, h, w]\nnodes:\n  squeeze: {op: pool, over: [h, w]}\n"
        "  excite:  {op: mlp, over: c, hidden: c}\n  gate:    {op: gate, x: excit}\n"
        "  out:     {op: reweight, x: input, by: gate}\n"
    )
    _, problems = check_text(text, "gate.yaml")
    assert "\n".join(p.render() for p in problems) + "\n" == shown


def test_what_the_readme_says_of_an_op_of_another_library(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (shown,) = blocks("sh-session")
    command, _, printed = shown.partition("\n")
    with pytest.raises(SystemExit):
        main(shlex.split(command.removeprefix("$ composer")))
    assert capsys.readouterr().err == printed


def test_the_specs_named_are_those_shipped() -> None:
    from composer.language.library import shipped_names

    start = TEXT.index("Seventy specs ship")
    named = re.findall(r"`(\w+)`", TEXT[start : TEXT.index("```sh", start)])
    assert sorted(named) == shipped_names()
    assert len(named) == 70
    nodes = [len(load_spec(name).nodes) for name in named]
    assert statistics.median(nodes) == 8


def test_a_spec_is_a_page() -> None:
    from composer.language.library import shipped_folder

    for file in shipped_folder().glob("*.yaml"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 40, file.name
