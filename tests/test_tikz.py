"""TikZ: a document that says what the diagram says, which LaTeX reads whatever the names are."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import diagrams
import pytest

from composer.drawing.diagram import Box, Diagram
from composer.drawing.frame import frame_of
from composer.drawing.latex import latex, told
from composer.drawing.mechanism import mechanism
from composer.drawing.theme import THEMES
from composer.drawing.tikz import tikz
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import analyse
from composer.graph.sizes import sizes_for

ENGINES = ("pdflatex", "lualatex", "xelatex")

PICTURES = {
    "one box": diagrams.ONE, "se": diagrams.SE, "all": diagrams.ALL, "cycle": diagrams.CYCLE,
    "woven": diagrams.WOVEN, "hostile": diagrams.hostile(), "large": diagrams.large(),
    "nothing": Diagram("nothing", (), (), ()),
}  # fmt: skip


def code(document: str) -> list[str]:
    """Return the lines that are no comments."""
    return [line for line in document.splitlines() if not line.lstrip().startswith("%")]


@pytest.mark.parametrize("name", PICTURES)
def test_each_box_link_and_group_is_there_once(name: str) -> None:
    diagram = PICTURES[name]
    text = "\n".join(code(tikz(diagram, THEMES["paper"])))
    assert text.isascii()
    boxes, groups = list(diagram.boxes), list(diagram.groups)
    nodes = re.findall(r"\\node\[(.*)\] \((\w\d+)\) at", text)
    assert sorted(n for _, n in nodes) == sorted(
        [*(f"b{n}" for n in range(len(boxes))), *(f"h{n}" for n in range(len(groups)))]
    )
    ids = {box.name: f"b{number}" for number, box in enumerate(boxes)}
    drawn = re.findall(r"\\draw\[composer ([a-z ]+)\] \(.*?(b\d+)\..*?(b\d+)\.[^.]*\);", text)
    kinds = {None: "link", "shared": "shared", "problem": "problem link"}
    assert sorted(drawn) == sorted(
        ("road" if k.road and not k.mark else kinds[k.mark], ids[k.source], ids[k.target])
        for k in diagram.links
    )
    fits = re.findall(r"fit=\{(?:\([\d.,-]+\) ){2}\((h\d+)\) ?(.*?)\}\] \((g\d+)\)", text)
    assert [(h, g) for h, _, g in fits] == [(f"h{n}", f"g{n}") for n in range(len(groups))]
    for group, (_, inside, _) in zip(groups, fits, strict=True):
        held = Diagram("", (), group.items, ()).boxes
        assert inside == " ".join(f"({ids[box.name]})" for box in held)


def test_the_colours_of_the_theme_are_at_the_top() -> None:
    for theme in THEMES.values():
        text = tikz(diagrams.SE, theme)
        defined = dict(re.findall(r"\\definecolor\{(\w+)\}\{HTML\}\{([0-9A-F]{6})\}", text))
        assert defined["composerReduce"] == theme.fills["reduce"].lstrip("#").upper()
        assert set(re.findall(r"(?:=|color\{)(composer[A-Z]\w*)", text)) <= set(defined)
        assert (r"\pagecolor" in text) == (theme.page != "#ffffff")


def test_title_caption_and_notes_are_comments() -> None:
    lines = tikz(diagrams.SE, THEMES["paper"]).splitlines()
    wanted = [diagrams.SE.title, *diagrams.SE.caption, *diagrams.SE.notes]
    assert [line[4:] for line in lines if line.startswith("% | ")] == wanted


WRITTEN = {
    "50 % of a_b & $x$ #1 {y}": r"50 \% of a\_b \& \$x\$ \#1 \{y\}",
    "\\end{document}": r"\textbackslash{}end\{document\}",
    "^^M~": r"\textasciicircum{}\textasciicircum{}M\textasciitilde{}",
    "a--b ''": "a-{}-b '{}'",
    "σ(x) Σ √d − x′": r"$\sigma$(x) $\Sigma$ $\surd$d $-$ x${}'$",
    "W₁ wᵀ xᵢ 2⁻": r"W${}_{1}$ w${}^{T}$ x${}_{i}$ 2${}^{-}$",
    "2×3 → ≤ ⊙": r"2$\times$3 $\rightarrow$ $\leq$ $\odot$",
    "é Ü ç ñ ï č": r"\'{e} \"{U} \c{c} \~{n} \"{\i} \v{c}",
    "😀": r"\texttt{<U+1F600>}",
    "ש": r"\texttt{<U+05E9>}",
    "\u202ex": r"\texttt{<U+202E>}x",
    "a\nb": "a b",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_text_in_latex(text: str) -> None:
    assert latex(text) == WRITTEN[text]


@pytest.mark.parametrize("text", diagrams.HOSTILE)
def test_a_text_cannot_break_out(text: str) -> None:
    written = latex(text)
    assert written.isascii() and written.isprintable()
    assert not re.search(r"(?<!\\)[%#&]|\\(end|input)\b|\^\^|--|``|''", written)
    depth = [0]
    for char in re.findall(r"\\[{}]|[{}]", written):
        depth.append(depth[-1] + {"{": 1, "}": -1}.get(char, 0))
    assert min(depth) == depth[-1] == 0
    assert latex(told(text)) == written


def test_every_letter_of_greek_and_latin_has_a_command_or_its_number() -> None:
    for number in (*range(0x20, 0x250), *range(0x370, 0x400), *range(0x2000, 0x2300)):
        assert latex(chr(number)).isascii()


def test_boxes_are_as_wide_as_what_latex_prints() -> None:
    box = Box("x", "plain", "😀" * 5)
    text = tikz(Diagram("", (), (box,), ()), THEMES["paper"])
    (width,) = re.findall(r"minimum width=([\d.]+)pt", text)
    assert float(width) > 2 * frame_of(box).width


# ---------------------------------------------------------------------------------------- LaTeX


def spec_picture(name: str) -> Diagram:
    spec = load_spec(name)
    graph = analyse(graph_of(spec, Settings(sizes_for(spec, 256, (14, 14)), {})))
    diagram = mechanism(graph)
    return diagram.opened(diagram.to_depth(9))


def compiled(folder: Path, document: str, engine: str) -> Path:
    """Return the PDF of a document; the test is skipped where LaTeX is missing."""
    if shutil.which(engine) is None:
        packages = "texlive-latex-extra texlive-pictures texlive-luatex texlive-xetex"
        pytest.skip(f"needs {engine}: apt-get install {packages}")
    (folder / "picture.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "picture.tex"],
        cwd=folder, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    assert "Missing character" not in (folder / "picture.log").read_text(errors="replace")
    return folder / "picture.pdf"


@pytest.mark.parametrize("name", ["se", "cbam", "transformer_layer"])
def test_latex_compiles_a_spec(name: str, tmp_path: Path) -> None:
    pdf = compiled(tmp_path, tikz(spec_picture(name), THEMES["paper"]), "pdflatex")
    assert b"%PDF" in pdf.read_bytes()[:8]


@pytest.mark.parametrize("engine", ENGINES)
def test_latex_compiles_hostile_names(engine: str, tmp_path: Path) -> None:
    compiled(tmp_path, tikz(diagrams.hostile(), THEMES["dark"]), engine)


@pytest.mark.parametrize("name", [n for n in PICTURES if n not in ("hostile", "large")])
def test_latex_compiles_a_picture_by_hand(name: str, tmp_path: Path) -> None:
    compiled(tmp_path, tikz(PICTURES[name], THEMES["paper"]), "pdflatex")


def test_the_picture_fits_into_a_paper(tmp_path: Path) -> None:
    """What the comments say: preamble and picture are copied, the rest is the paper's."""
    lines = tikz(diagrams.ALL, THEMES["paper"]).splitlines()
    begin = lines.index(r"\begin{document}")
    paper = [
        r"\documentclass{article}", r"\usepackage[T1]{fontenc}", r"\usepackage{lmodern}",
        *lines[1 : begin + 1], r"\begin{figure}", *lines[begin + 1 : -1], r"\end{figure}",
        lines[-1],
    ]  # fmt: skip
    compiled(tmp_path, "\n".join(paper), "pdflatex")


def test_no_text_is_wider_than_its_box(tmp_path: Path) -> None:
    """TeX tells how wide each node became: as wide as was planned, or a text would stick out."""
    text = tikz(spec_picture("cbam"), THEMES["paper"])
    planned = re.findall(r"minimum width=([\d.]+)pt.*?\((b\d+)\)", text)
    ask = "".join(
        rf"\path let \p1=({name}.west), \p2=({name}.east), \n1={{\x2-\x1}} in "
        rf"[/utils/exec={{\typeout{{wide {name} \n1}}}}];" + "\n"
        for _, name in planned
    )
    text = text.replace(r"\end{tikzpicture}", ask + r"\end{tikzpicture}")
    text = text.replace("backgrounds, fit}", "backgrounds, fit, calc}")
    compiled(tmp_path, text, "pdflatex")
    log = (tmp_path / "picture.log").read_text(errors="replace")
    found = dict(re.findall(r"wide (b\d+) ([\d.]+)pt", log))
    assert len(found) == len(planned)
    for width, name in planned:
        assert float(found[name]) == pytest.approx(float(width), abs=1.0)


def test_each_rank_is_written_below_the_one_before() -> None:
    text = tikz(diagrams.SE, THEMES["paper"])
    heights = [float(y) for y in re.findall(r"\(b\d+\) at \([\d.]+,([\d.]+)\)", text)]
    assert all(a < b for a, b in pairwise(heights))
