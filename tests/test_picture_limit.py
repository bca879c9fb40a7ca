"""A picture of very many boxes or links is refused before Graphviz is started."""

from __future__ import annotations

from pathlib import Path

import pytest

import composer
from composer.drawing import engine, limit
from composer.drawing.limit import MOST_BOXES

HEAD = "name: it\ninput: [b, c, h, w]\nnodes:\n"


def chain(count: int) -> str:
    return HEAD + "".join(f"  n{i}: {{op: gate}}\n" for i in range(count))


def all_read_all(count: int) -> str:
    of = (f"[{', '.join(['input', *(f'n{j}' for j in range(i))])}]" for i in range(count))
    return HEAD + "".join(f"  n{i}: {{op: add, of: {read}}}\n" for i, read in enumerate(of))


REPEATED = f"{HEAD}  z: {{op: repeat, times: 1400, each: {{op: conv2d, kernel: 3}}}}\n"

#: A text, a file, a depth, and what is said of it.
REFUSED = [
    (chain(MOST_BOXES), "it.svg", None,
     "402 boxes and 401 links are more than one picture lays out (400 and 800)",
     "write .dot, which is not laid out here"),
    (all_read_all(50), "it.pdf", None,
     "52 boxes and 1,276 links are more than one picture lays out (400 and 800)",
     "write .dot, which is not laid out here"),
    (REPEATED, "it.svg", 9,
     "1,402 boxes and 1,401 links are more than one picture lays out (400 and 800)",
     "show less of it with --depth, or write .dot, which is not laid out here"),
    (chain(100), "it.html", None,
     "102 boxes and 101 links are more than one page lays out (100 and 200)",
     "write .dot, which is not laid out here"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "file", "depth", "message", "way_out"), REFUSED, ids=["chain", "links", "open", "page"]
)
def test_the_words(
    text: str, file: str, depth: int | None, message: str, way_out: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def started(*_: object) -> str:
        raise AssertionError("Graphviz was started")

    monkeypatch.setattr(engine, "run", started)
    monkeypatch.setattr(limit, "MOST_OF_A_PAGE", 100)
    (tmp_path / "it.yaml").write_text(text)
    with pytest.raises(composer.ComposerError) as told:
        composer.render(tmp_path / "it.yaml", tmp_path / file, depth=depth)
    (problem,) = told.value.diagnostics
    assert (problem.code, problem.message, problem.help) == ("too-large", message, way_out)
    assert not (tmp_path / file).exists()


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize(
    ("text", "file"),
    [(REPEATED, "it.svg"), (chain(500), "it.dot"), (chain(390), "it.svg")],
    ids=["closed", "without layout", "as much as there may be"],
)
def test_what_is_drawn(text: str, file: str, tmp_path: Path) -> None:
    (tmp_path / "it.yaml").write_text(text)
    assert composer.render(tmp_path / "it.yaml", tmp_path / file).stat().st_size
