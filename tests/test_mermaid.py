"""Mermaid: what its own parser understands of a chart is what the diagram says."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diagrams
import pytest

from composer.drawing.diagram import Box, Diagram
from composer.drawing.mermaid import escaped, mermaid
from composer.drawing.text import cut, shown
from composer.drawing.theme import THEMES

FOLDER = Path(__file__).parent / "mermaid"
MODULES = Path(os.environ.get("COMPOSER_NODE_MODULES", FOLDER / "node_modules"))

PICTURES = {
    "one box": diagrams.ONE, "se": diagrams.SE, "all": diagrams.ALL, "cycle": diagrams.CYCLE,
    "woven": diagrams.WOVEN, "hostile": diagrams.hostile(), "large": diagrams.large(300),
}  # fmt: skip


@pytest.fixture(scope="module")
def understood(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what Mermaid's parser makes of each picture; it starts once for all."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    if not (MODULES / "mermaid").is_dir():
        pytest.skip(f"needs Mermaid's parser: npm ci --prefix {FOLDER}")
    folder = tmp_path_factory.mktemp("charts")
    files = []
    for name, diagram in PICTURES.items():
        files.append(folder / f"{name}.mmd")
        files[-1].write_text(mermaid(diagram, THEMES["paper"]), encoding="utf-8")
    done = subprocess.run(
        ["node", str(FOLDER / "parse.mjs"), *map(str, files)],
        capture_output=True, text=True, check=False, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip(PICTURES, json.loads(done.stdout), strict=True))


def read(label: str) -> list[str]:
    """Return the lines that a label shows."""
    lines = re.split(r"<br ?/?>", label)
    return [html.unescape(re.sub(r"</?(b|small)>", "", line)).strip() for line in lines]


def said(text: str) -> str:
    return cut(shown(text), 64).strip()


@pytest.mark.parametrize("name", PICTURES)
def test_its_own_parser_reads_each_box_and_link_once(name: str, understood: dict[str, Any]) -> None:
    diagram, chart = PICTURES[name], understood[name]
    assert "error" not in chart, chart
    boxes = list(diagram.boxes)
    nodes = {node["id"]: node for node in chart["nodes"]}
    assert sorted(nodes) == sorted(f"b{n}" for n in range(len(boxes)))
    for number, box in enumerate(boxes):
        lines = read(nodes[f"b{number}"]["label"])
        title = (box.title,) if box.title else ()
        wanted = [said(text) for text in (*title, *box.lines, *box.small)]
        assert lines[: len(wanted)] == wanted
        assert {said(f"+ {badge}") for badge in box.badges} <= set(lines)
    ids = {box.name: f"b{number}" for number, box in enumerate(boxes)}
    links = [(link["source"], link["target"]) for link in chart["links"]]
    assert links == [(ids[link.source], ids[link.target]) for link in diagram.links]
    for link, drawn in zip(diagram.links, chart["links"], strict=True):
        stroke = "dotted" if link.mark else "thick" if link.road else "normal"
        assert (drawn["stroke"], drawn["arrow"] == "arrow_open") == (stroke, link.mark == "shared")
        assert read(drawn["label"]) == ([said(text) for text in link.label] or [""])


def expected_groups(diagram: Diagram) -> Iterator[tuple[str, str, set[str]]]:
    boxes = {box.name: f"b{number}" for number, box in enumerate(diagram.boxes)}
    groups = {id(group): f"g{number}" for number, group in enumerate(diagram.groups)}
    for group in diagram.groups:
        inside = {boxes[i.name] if isinstance(i, Box) else groups[id(i)] for i in group.items}
        yield groups[id(group)], said(group.title), inside


@pytest.mark.parametrize("name", PICTURES)
def test_its_own_parser_reads_the_groups(name: str, understood: dict[str, Any]) -> None:
    found = {
        (group["id"], read(group["label"])[0], frozenset(group["members"]))
        for group in understood[name]["groups"]
    }
    assert found == {(i, t, frozenset(m)) for i, t, m in expected_groups(PICTURES[name])}


def test_its_own_parser_reads_shapes_and_classes(understood: dict[str, Any]) -> None:
    nodes = {node["id"]: (node["shape"], *node["classes"]) for node in understood["all"]["nodes"]}
    by_title = {box.title: nodes[f"b{n}"] for n, box in enumerate(diagrams.ALL.boxes)}
    assert by_title["input"] == ("stadium", "endBox")
    assert by_title["+"] == ("circle", "combineBox")
    assert by_title["lost"] == ("square", "plainBox", "faintBox")
    assert by_title["bad"] == ("square", "problemBox")
    assert by_title["stage"] == ("square", "insertedBox")
    assert html.unescape(understood["se"]["about"]) == " ".join(diagrams.SE.caption)


@pytest.mark.parametrize("text", diagrams.HOSTILE)
def test_a_text_is_no_syntax(text: str) -> None:
    told = escaped(text)
    assert re.fullmatch(r"(?:[\w ,+/=×·.-]|#\d+;)*", told)
    assert not re.search(r"--|%%|^[.-]|_", told)
    assert re.sub(r"#(\d+);", lambda found: chr(int(found[1])), told) == shown(text)


def test_a_chart_in_full() -> None:
    diagram = Diagram(
        "small",
        ("below",),
        (Box("in", "end", "input"), diagrams.group("G", Box("x", "gate", "sigmoid"))),
        diagrams.chain("in", "x", road=True),
        ("a note",),
    )
    assert (
        mermaid(diagram, THEMES["dark"])
        == """\
---
title: "small"
---
flowchart TD
  accTitle: small
  accDescr: below
  %% below
  %% a note
  b0(["<b>input</b>"]):::endBox
  subgraph g0["<b>G</b>"]
    b1["<b>sigmoid</b>"]:::gateBox
  end
  b0 ==> b1
  classDef endBox fill:#0b0d10,stroke:#f6f6f6,color:#f2f4f8
  classDef gateBox fill:#614188,stroke:#ac84da,color:#f2f4f8
  style g0 fill:#171b21,stroke:#59636f,color:#f2f4f8
  linkStyle 0 stroke:#eceff4
"""
    )
