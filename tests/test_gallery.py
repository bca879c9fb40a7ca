"""The pictures in the repository are those that Composer draws, and six of them were looked at.

A picture may come out a little wider with another version of Graphviz, so numbers have some play;
words, colours and what is in it have none.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import nbformat
import pytest
import timm
from nbclient import NotebookClient
from shipped import EVERY

import composer
from composer.errors import ComposerError
from composer.language.library import shipped_names

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).with_name("golden")
PLAY = 4.0  # points
NUMBER = re.compile(r"-?\d+\.\d+")

FAULTY = """\
name: gate
input: [b, c, h, w]
nodes:
  squeeze: {op: pool, over: [h, q]}
  excite:  {op: mlp, over: c, hiden: c}
  gate:    {op: gate, x: excit}
  out:     {op: reweight, x: input, by: gate}
"""


def same(one: str, other: str) -> bool:
    """Whether two pictures are the same but for a little play."""
    if NUMBER.sub("#", one) != NUMBER.sub("#", other):
        return False
    pairs = zip(map(float, NUMBER.findall(one)), map(float, NUMBER.findall(other)), strict=True)
    return all(abs(a - b) <= PLAY for a, b in pairs)


def test_sameness_sees_a_word_a_colour_and_a_place():
    svg = (ROOT / "specs" / "pictures" / "se.svg").read_text(encoding="utf-8")
    assert same(svg, svg)
    for changed in (
        svg.replace("excite", "excites", 1),
        svg.replace("#fdc082", "#fdc083"),
        svg.replace('y="', 'y="9', 3),
        re.sub(r'<g class="link".*?</g>\n', "", svg, count=1, flags=re.DOTALL),
    ):
        assert changed != svg
        assert not same(svg, changed)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("specs")
    runpy.run_path(str(ROOT / "examples" / "gallery.py"))["main"](folder)
    return folder


@pytest.mark.long
def test_the_gallery_lists_every_spec(made):
    page = (made / "README.md").read_text(encoding="utf-8")
    assert page == (ROOT / "specs" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\(pictures/(\w+)\.svg\)", page) == shipped_names()
    pictures = (ROOT / "specs" / "pictures").iterdir()
    assert sorted(path.name for path in pictures) == [f"{name}.svg" for name in shipped_names()]


@pytest.mark.parametrize("name", EVERY)
def test_a_picture_in_the_gallery_is_current(made, name):
    new, old = (
        (folder / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
        for folder in (made, ROOT / "specs")
    )
    assert same(new, old), "run: python examples/gallery.py"


def of_resnet18(spec: str, path: Path, **options: object) -> None:
    model = composer.insert(timm.create_model("resnet18"), spec)
    composer.render(model, path, **options)  # type: ignore[arg-type]


def faulty(path: Path) -> None:
    with pytest.raises(ComposerError):
        composer.render(FAULTY, path)


GOLDENS = {
    "cbam-dark": lambda path: composer.render("cbam", path, theme="dark"),
    "sk-closed": lambda path: composer.render("sk", path, depth=1, channels=64, size=(56, 28)),
    "faulty": faulty,
    "resnet18-cbam": lambda path: of_resnet18("cbam", path, expand="layer1.0"),
    "resnet18-bam": lambda path: of_resnet18("bam", path, before_after=True),
    "resnet18-se": lambda path: of_resnet18("se", path, depth=1, theme="light"),
}


@pytest.mark.quick(3, then="long")
@pytest.mark.parametrize("name", GOLDENS)
def test_a_golden_picture(tmp_path, name):
    GOLDENS[name](tmp_path / "new.svg")
    new = (tmp_path / "new.svg").read_text(encoding="utf-8")
    golden = GOLDEN / f"{name}.svg"
    assert same(new, golden.read_text(encoding="utf-8")), f"look at it, then write it to {golden}"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    notebook = nbformat.read(ROOT / "examples" / "pictures.ipynb", as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    html = [
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    assert [part.count("<svg ") for part in html[:3]] == [1, 1, 1]
    assert "Convolutional Block Attention Module" in html[0]
    assert "cbam at 8 sites" in html[1]
    assert "resnet18 with cbam" in html[2]
    assert {"faulty.svg", "resnet18-cbam.html", "cbam.pdf"} <= {p.name for p in tmp_path.iterdir()}
