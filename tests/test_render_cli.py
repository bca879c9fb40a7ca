"""`composer render` and `composer.render`: every format, every refusal, and no file lost."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import pypdfium2
import pytest
import timm
import torch
from command import NET, Command, names
from geometry import SVG, faults
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from torch import nn

import composer
from composer.drawing import engine
from composer.errors import ComposerError, MissingPartError

TINY = "net.py:tiny"
BAD_SPEC = "name: bad\ninput: [b, c, h, w]\nnodes:\n  gate: {op: gate, x: inputt}\n"
HOSTILE = '</script><script>alert(1)</script> "quotes" & \u202eright-to-left \U0001f600 מילה'


@pytest.fixture
def run(capsys, tmp_path, monkeypatch) -> Command:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    Path("bad.yaml").write_text(BAD_SPEC)
    title = json.dumps(HOSTILE, ensure_ascii=False)
    Path("hostile.yaml").write_text(
        f"name: hostile\ntitle: {title}\nsource: {title}\n"
        "input: [b, c, h, w]\nnodes:\n  out: {op: gate}\n"
    )
    return Command(capsys)


def text_of_pdf(content: bytes) -> str:
    page = pypdfium2.PdfDocument(content)[0]
    return page.get_textpage().get_text_bounded()


# ------------------------------------------------------------------------------------- formats


def test_svg(run):
    assert run.fine("render", "se", "-o", "se.svg").out == "written to se.svg\n"
    root = ET.parse("se.svg").getroot()
    assert root.find(f"{SVG}title").text == "Squeeze-and-Excitation"
    texts = {t.text for t in root.iter(f"{SVG}text")}
    spent = "8,464 params · 8.2 k multiply-adds"
    assert {"excite", "mlp over c, hidden 16", "256×14×14", spent} <= texts
    assert "Helvetica" in root.get("font-family")


def test_png_is_sharp_and_of_the_size_asked_for(run):
    run.fine("render", "se", "-o", "se.png", "--dpi", 144)
    run.fine("render", "se", "-o", "se.svg")
    wide, high = (
        float(ET.parse("se.svg").getroot().get(side)[:-2]) for side in ("width", "height")
    )
    image = Image.open("se.png")
    assert image.size == (pytest.approx(2 * wide, abs=2), pytest.approx(2 * high, abs=2))
    assert image.info["dpi"] == (pytest.approx(144, abs=1),) * 2
    colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert {(255, 255, 255), (0x9A, 0xD2, 0xFE)} <= colours


def test_the_text_of_a_pdf_is_text_in_a_font_that_is_inside(run):
    run.fine("render", "cbam", "-o", "cbam.pdf")
    content = Path("cbam.pdf").read_bytes()
    found = text_of_pdf(content)
    for text in ("Convolutional Block Attention Module", "excite", "sigmoid: σ(x)", "256×14×14"):
        assert text in found
    assert b"Arimo" in content
    assert re.search(rb"/FontFile2", content)
    run.fine("render", "cbam", "-o", "again.pdf")
    assert Path("again.pdf").read_bytes() == content


def test_dot_is_drawn_by_graphviz_itself(run):
    run.fine("render", "cbam", "-o", "cbam.dot")
    drawn = engine.run(Path("cbam.dot").read_text(), "svg")
    for text in ("excite", "Channel attention of CBAM", "Convolutional Block Attention Module"):
        assert text in drawn
    assert drawn.count('class="node"') == 15


@pytest.mark.parametrize(
    ("suffix", "begins"), [("mmd", "---"), ("tex", "\\documentclass"), ("html", "<!")]
)
def test_other_formats_are_written(run, suffix, begins):
    run.fine("render", "se", "-o", f"se.{suffix}")
    assert Path(f"se.{suffix}").read_text().lower().startswith(begins)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_theme_changes_colours_and_nothing_else(run, theme):
    run.fine("render", "se", "-o", "paper.svg")
    run.fine("render", "se", "-o", "other.svg", "--theme", theme)
    paper, other = (Path(f"{name}.svg").read_text() for name in ("paper", "other"))
    colour = re.compile("#[0-9a-f]{6}")
    assert paper != other
    assert colour.sub("", paper) == colour.sub("", other)


def contrast(a: str, b: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_text_can_be_read_on_what_is_below_it():
    from composer.drawing.theme import THEMES

    for theme in THEMES.values():
        for ground in (theme.page, theme.inside, *theme.fills.values()):
            assert contrast(theme.text, ground) >= 7
            assert contrast(theme.faint, ground) >= 4.5
        assert contrast(theme.edges["problem"], theme.fills["problem"]) >= 4


# ------------------------------------------------------------------------------------- backbones


@pytest.mark.long
def test_a_model_and_what_was_inserted(run):
    run.fine("render", TINY, "-o", "plain.svg")
    assert faults(Path("plain.svg").read_text()) == []
    run.fine("insert", "--spec", "se", "--into", TINY, "-o", "net-se")
    run.fine("render", "net-se", "-o", "se.svg", "--trust-code")
    told = Path("se.svg").read_text()
    assert "net.py:tiny with se" in told
    assert told.count("se before the add, +") == 2
    run.fine("render", "net-se", "-o", "both.svg", "--before-after", "--depth", 3, "--trust-code")
    assert "before · net.py:tiny" in Path("both.svg").read_text()
    result = run("render", "net-se", "-o", "x.svg", "--expand", "stage1.0.see", "--trust-code")
    assert (result.status, names(Path())) == (2, names(Path()))
    assert result.err.startswith(
        "error[usage]: 'stage1.0.see' is not a group\n  help: did you mean 'stage1.0.se'"
    )


def test_the_name_of_the_picture_is_that_of_the_thing(run):
    run.fine("render", "se.yaml")
    run.fine("render", TINY)
    Path("mine.yaml").write_text("name: mine\ninput: [b, c]\nnodes: {out: {op: gate}}\n")
    assert run.fine("render", "mine.yaml", "--json").json == {
        "version": 1, "source": "mine.yaml", "output": "mine.svg", "format": "svg"
    }  # fmt: skip
    assert {"se.svg", "tiny.svg", "mine.svg"} <= set(names(Path()))


def test_params_and_sizes_of_a_spec(run):
    run.fine("render", "se", "-o", "a.svg", "--channels", 64, "--size", "7x9", "--set",
             "reduction=4")  # fmt: skip
    told = Path("a.svg").read_text()
    assert "c = 64, h = 7, w = 9, reduction = 4" in told
    assert "mlp over c, hidden 16" in told


# -------------------------------------------------------------------------------------- refusals

BAD = [
    (
        ("render", "se", "-o", "se.jpg"), 2,
        "se.jpg: error[unknown-format]: '.jpg' is not a picture format\n"
        "  help: end the name in .svg, .png, .pdf, .dot, .mmd, .tex or .html\n",
    ),
    (
        ("render", "se", "-o", "se"), 2,
        "se: error[unknown-format]: the file has no suffix\n"
        "  help: end the name in .svg, .png, .pdf, .dot, .mmd, .tex or .html\n",
    ),
    (
        ("render", "se", "-o", "bad.yaml/x.svg"), 1,
        "bad.yaml/x.svg: error[output]: 'bad.yaml' is a file, not a folder\n"
        "  help: choose another file\n",
    ),
    (
        ("render", "se", "--before-after"), 2,
        "error[usage]: before_after needs a backbone, and this is a spec\n",
    ),
    (
        ("render", TINY, "--before-after"), 2,
        "error[usage]: nothing was inserted into net.py:tiny\n"
        "  help: give a folder written by insert\n",
    ),
    (
        ("render", "cbam", "--expand", "chanel"), 2,
        "error[usage]: 'chanel' is not a group\n"
        "  help: did you mean 'channel'? Groups: channel, spatial\n",
    ),
    (
        ("render", "se", "--set", "reduction"), 2,
        "error[usage]: --set 'reduction' is not K=V\n  help: write --set reduction=8\n",
    ),
    (
        ("render", "se", "--set", "ratio=2"), 1,
        "error[unknown-param]: the spec 'se' has no param 'ratio'\n"
        "  help: Params of se: reduction, min_width, bias\n",
    ),
    (
        ("render", "no.yaml"), 1,
        "error[unknown-spec]: no file and no shipped spec named 'no.yaml'\n",
    ),
    (
        ("render", "torchvision:resnet19"), 1,
        "error[unknown-backbone]: torchvision has no model 'resnet19'\n",
    ),
    (
        ("render", TINY, "--channels", 8), 2,
        "error[usage]: channels, size and params are for a spec, and net.py:tiny is a model\n",
    ),
    (
        ("render", TINY, "--set", "reduction=8"), 2,
        "error[usage]: channels, size and params are for a spec, and net.py:tiny is a model\n",
    ),
    (
        ("render", "se", "-o", "x" * 300 + ".svg"), 1,
        "x" * 300 + ".svg: error[output]: cannot be written: File name too long\n",
    ),
    (("render", "sse50"), 1, "error[unknown-name]: 'sse50' is neither a spec nor a model\n"),
    (("render", "se", "--theme", "blue"), 2, "error[usage]: invalid value for '--theme'"),
    (("render", "se", "--depth", "0"), 2, "error[usage]: invalid value for '--depth'"),
]  # fmt: skip


def said_short(row: tuple[tuple[object, ...], int, str]) -> str:
    return " ".join(map(str, row[0]))[:60]


@pytest.mark.parametrize(("args", "status", "said"), BAD, ids=map(said_short, BAD))
def test_what_is_refused(run, args, status, said):
    before = names(Path())
    result = run(*args)
    assert (result.status, result.out) == (status, "")
    assert result.err.startswith(said)
    assert names(Path()) == before


def test_a_file_is_never_written_over_unless_told(run):
    Path("se.svg").write_text("mine")
    result = run("render", "se")
    assert (result.status, result.err) == (
        1,
        "se.svg: error[output]: exists already\n"
        "  help: replace it with --force, or choose another with -o\n",
    )
    assert Path("se.svg").read_text() == "mine"
    run.fine("render", "se", "--force")
    assert Path("se.svg").read_text() != "mine"


def test_a_file_beside_it_is_never_touched(run):
    for name in (".se.svg.tmp", ".composer.tmp"):
        Path(name).write_text("mine")
    run.fine("render", "se")
    assert all(Path(name).read_text() == "mine" for name in (".se.svg.tmp", ".composer.tmp"))
    run.fine("render", "se", "-o", f"{83 * '漢'}.svg")


@pytest.mark.parametrize("step", ["pathlib.Path.write_bytes", "composer.files.putting.exchange"])
def test_a_full_disk_leaves_the_old_file(run, monkeypatch, step):
    Path("se.svg").write_text("mine")

    def full(path: Path, content: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, full)
    result = run("render", "se", "--force")
    assert (result.status, result.err) == (
        1,
        "se.svg: error[output]: cannot be written: No space left on device\n"
        "  help: choose another with -o\n",
    )
    assert Path("se.svg").read_text() == "mine"
    assert names(Path()) == ["bad.yaml", "hostile.yaml", "net.py", "se.svg"]


def test_a_png_too_large_to_show_is_refused_with_a_way_out(run):
    nodes = "".join(f"  n{i}: {{op: gate}}\n" for i in range(150))
    Path("long.yaml").write_text(f"name: long\ninput: [b, c, h, w]\nnodes:\n{nodes}")
    result = run("render", "long.yaml", "-o", "long.png", "--dpi", 2400)
    assert result.status == 1
    assert "error[too-large]: at 2400 dpi this picture has " in result.err
    dpi = re.search(r"use --dpi (\d+) or less", result.err)[1]
    assert int(dpi) < 2400


@pytest.mark.parametrize(
    ("suffix", "said"),
    [
        ("mmd", " letters are more than Mermaid draws (499 and 50,000)\n"
         "  help: show less of it with --depth, or write .svg or .html"),
        ("tex", " links are more than one picture lays out (400 and 800)\n"
         "  help: write .dot, which is not laid out here"),
    ],
)  # fmt: skip
def test_what_other_programs_cannot_draw_is_refused(run, suffix, said):
    nodes = "".join(f"  n{i}: {{op: gate}}\n" for i in range(500))
    Path("long.yaml").write_text(f"name: long\ninput: [b, c, h, w]\nnodes:\n{nodes}")
    result = run("render", "long.yaml", "-o", f"long.{suffix}")
    assert result.status == 1
    assert said in result.err


def test_a_blank_title_is_the_name(run):
    text = 'name: blank\ntitle: "  "\ninput: [b, c, h, w]\nnodes: {out: {op: gate}}\n'
    Path("blank.yaml").write_text(text)
    run.fine("render", "blank.yaml", "-o", "blank.dot")
    assert ">blank<" in engine.run(Path("blank.dot").read_text(), "svg")


def test_a_spec_with_an_error_is_drawn_and_the_status_is_1(run):
    result = run("render", "bad.yaml", "-o", "bad.svg")
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        "bad.yaml:4:22: error[unknown-node]: no node named 'inputt'\n"
        "    4 |   gate: {op: gate, x: inputt}\n"
        "      |                       ^^^^^^\n"
        "  help: did you mean 'input'? Defined so far: input\n"
        "note[drawn]: bad.svg shows where\n"
    ).replace("4:22", "4:23")
    assert Path("bad.svg").read_text().count("no node named") == 2


# -------------------------------------------------------------------------------- the engine


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setattr(engine.shutil, "which", lambda name, path=None: None)


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "tex", "html"])
def test_without_an_engine_the_way_out_is_told(run, no_engine, suffix):
    result = run("render", "se", "-o", f"se.{suffix}")
    assert (result.status, result.err) == (
        3,
        "error[no-engine]: Graphviz, which does the layout, is not installed\n"
        "  help: pip install 'graphviz-pure>=0.2.2,<0.3', or install your system's Graphviz; "
        ".dot and .mmd don't need it\n",
    )
    assert f"se.{suffix}" not in names(Path())


@pytest.mark.parametrize("suffix", ["dot", "mmd"])
def test_some_formats_need_no_engine(run, no_engine, suffix):
    run.fine("render", "cbam", "-o", f"cbam.{suffix}")


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o755)
    return path


def test_an_engine_that_fails_gives_way_to_the_systems(run, monkeypatch, tmp_path):
    real = next(engine.engines())
    broken = script(tmp_path / "broken", "import sys; sys.exit('it is young')")
    monkeypatch.setattr(engine, "engines", lambda: iter([broken, real]))
    run.fine("render", "se", "-o", "se.svg")
    monkeypatch.setattr(engine, "engines", lambda: iter([broken]))
    result = run("render", "se", "-o", "other.svg")
    assert (result.status, result.err) == (
        1,
        "error[engine-failed]: Graphviz cannot lay out this picture (broken: it is young)\n"
        "  help: show less of it with --depth, or write .dot or .mmd, which need no Graphviz\n",
    )


def test_the_systems_dot_is_found_where_the_wheel_is_missing(monkeypatch, tmp_path):
    dot = script(tmp_path / "dot", "")
    monkeypatch.setattr(
        engine.shutil, "which", lambda name, path=None: str(dot) if name == "dot" else None
    )
    assert list(engine.engines()) == [dot]


# ------------------------------------------------------------------------------------ hostile


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "dot", "mmd", "tex", "html"])
def test_hostile_names_are_text_in_every_format(run, suffix):
    run.fine("render", "hostile.yaml", "-o", f"out.{suffix}")
    content = Path(f"out.{suffix}").read_bytes()
    if suffix == "svg":
        title = ET.fromstring(content).find(f"{SVG}title").text
        assert title == HOSTILE.replace("\u202e", "<U+202E>")
    if suffix == "pdf":
        found = text_of_pdf(content)
        assert "</script><script>alert(1)</script>" in found.replace("\r\n", "")
        assert "<U+1F600>" in found.replace("\r\n", "")
    if suffix == "dot":
        assert "alert(1)" in engine.run(content.decode(), "svg")
    if suffix in ("svg", "html"):
        assert b"<script>alert" not in content
    if suffix == "tex":
        assert b"alert(1)" in content
        assert "\u202e" not in content.decode()
    if suffix == "mmd":
        assert "\u202e" not in content.decode()
    if suffix == "png":
        Image.open(io.BytesIO(content)).verify()


def test_hostile_module_names_are_text(tmp_path):
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3)
            for nth in range(2):
                self.add_module(f'</g>"{nth}"&\U0001f600', _Block())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for child in self.children():
                x = child(x)
            return x

    file = composer.render(Net(), tmp_path / "net.svg", depth=3)
    assert faults(file.read_text()) == []
    composer.render(Net(), tmp_path / "net.pdf", depth=3)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(self.a(x))


# ------------------------------------------------------------------------------------- in Python


@pytest.mark.long
def test_render_takes_what_the_other_calls_take(tmp_path):
    spec = composer.load_spec("se")
    assert composer.render(spec, tmp_path / "a.svg") == tmp_path / "a.svg"
    model = composer.insert(timm.create_model("resnet18"), spec)
    composer.render(model, tmp_path / "b.svg")
    assert "resnet18 with se" in (tmp_path / "b.svg").read_text()
    graph = composer.plan(model, "eca").sites[0].graph
    composer.render(graph, str(tmp_path / "c.png"), dpi=72)
    with pytest.raises(ComposerError, match="a int can't be drawn"):
        composer.render(3, tmp_path / "d.svg")
    with pytest.raises(ComposerError, match="exists already"):
        composer.render(spec, tmp_path / "a.svg")
    with pytest.raises(ComposerError, match="unknown theme 'blue'"):
        composer.render(spec, tmp_path / "d.svg", theme="blue")


@pytest.mark.parametrize("options", [{"depth": 0}, {"depth": 1.5}, {"dpi": 5}, {"dpi": True}])
def test_options_are_checked_in_python_too(tmp_path, options):
    with pytest.raises(ComposerError, match="is not an integer"):
        composer.render("se", tmp_path / "a.svg", **options)


@pytest.fixture
def jupyter():
    """Return what Jupyter shows of a value as HTML, once composer is its extension."""
    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    composer.load_ipython_extension(shell)
    return shell.display_formatter.formatters["text/html"]


@pytest.mark.long
def test_jupyter_shows_specs_graphs_plans_and_composed_models(jupyter):
    spec = composer.load_spec("se")
    plain = timm.create_model("resnet18")
    plan = composer.plan(plain, spec)
    model = composer.insert(plain, spec)
    for value in (spec, plan.sites[0].graph, plan, model):
        assert jupyter(value).startswith('<div style="overflow-x: auto"><svg ')
    assert "se at 8 sites" in jupyter(plan)
    assert "resnet18 with se" in jupyter(model)
    assert jupyter(plain) is None
    assert jupyter(composer.eject(model)) is None
    assert "layer1.0.se" in str(model.state_dict().keys())


def test_jupyter_is_told_why_there_is_no_picture(no_engine, jupyter):
    shown = jupyter(composer.load_spec("se"))
    assert shown.startswith("<pre>error[no-engine]: Graphviz, which does the layout")


def test_a_missing_engine_is_the_error_of_a_missing_part(no_engine, tmp_path):
    with pytest.raises(MissingPartError):
        composer.render("se", tmp_path / "a.svg")


def test_a_spec_is_drawn_without_torch(tmp_path):
    code = (
        "import sys, composer; composer.render('cbam', 'a.pdf'); composer.render('cbam', 'a.svg');"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_png_can_be_read_back(tmp_path):
    content = composer.render("eca", tmp_path / "eca.png").read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
