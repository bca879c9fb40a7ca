"""How a picture looks: its direction, its width, what is omitted, and what lines up."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import diagrams
import pytest
import timm
import torch
from command import names
from geometry import SVG, faults
from torch import nn

import composer
from composer.drawing import engine
from composer.drawing.column import PAGE, narrowed, placed_in_column
from composer.drawing.diagram import Diagram, Group
from composer.drawing.formats import written
from composer.drawing.layout import Layout, lay_out
from composer.drawing.look import Look, points_of
from composer.drawing.picture import drawn
from composer.drawing.theme import THEMES
from composer.drawing.tikz import tikz
from composer.errors import ComposerError
from composer.language.library import shipped_names

COLUMN = 8.5 * 72 / 2.54
SPECS = ("se", "cbam", "bam", "sk", "mhsa", "transformer_layer", "triplet")


def svg_of(name: str, look: Look) -> str:
    picture = drawn(name)
    return written(picture.diagram, picture.opened, "svg", look=look).decode()


def texts(svg: str) -> Iterator[ET.Element]:
    return ET.fromstring(svg).iter(f"{SVG}text")


# ------------------------------------------------------------------------------------ direction


@pytest.mark.parametrize("name", SPECS)
def test_from_left_to_right_all_links_go_right_and_nothing_overlaps(name):
    assert faults(svg_of(name, Look("lr"))) == []
    picture = drawn(name)
    seen = picture.diagram.opened(picture.opened)
    (layout,) = lay_out([seen], "lr")
    for link in seen.links:
        source, target = layout.boxes[link.source], layout.boxes[link.target]
        assert source.x + source.width < target.x


def test_every_format_with_a_direction_takes_it(run):
    for suffix in ("svg", "png", "pdf", "tex", "dot", "mmd"):
        run.fine("render", "cbam", "-o", f"a.{suffix}", "--direction", "lr")
    root = ET.parse("a.svg").getroot()
    wide, high = (float(root.get(side)[:-2]) for side in ("width", "height"))
    assert wide > 3 * high
    assert "flowchart LR" in Path("a.mmd").read_text()
    assert "rankdir=LR" in Path("a.dot").read_text()


# ---------------------------------------------------------------------------------------- width


@pytest.mark.parametrize(
    ("text", "points"),
    [("8.5cm", COLUMN), ("85mm", COLUMN), ("85 mm", COLUMN), ("3in", 216), ("241pt", 241)],
)
def test_a_length(text, points):
    assert points_of(text) == pytest.approx(points)


@pytest.mark.parametrize(
    ("text", "said", "way_out"),
    [
        ("8.5", "the width '8.5' is not a length", "write 8.5cm, 85mm, 3.35in or 241pt"),
        ("wide", "the width 'wide' is not a length", "write 8.5cm, 85mm, 3.35in or 241pt"),
        ("-3cm", "the width '-3cm' is not a length", "write 8.5cm, 85mm, 3.35in or 241pt"),
        ("1cm", "the width '1cm' is not from 2 to 200 cm",
         "a column is about 8.5cm, a page 17.5cm"),
        ("9in9", "the width '9in9' is not a length", "write 8.5cm, 85mm, 3.35in or 241pt"),
    ],
)  # fmt: skip
def test_what_is_not_a_width(run, text, said, way_out):
    result = run("render", "se", f"--width={text}")
    assert (result.status, result.err) == (2, f"error[usage]: {said}\n  help: {way_out}\n")
    assert names(Path()) == []


@pytest.mark.quick(6, then="long")
@pytest.mark.parametrize("name", SPECS)
def test_in_a_column_no_letter_is_below_7_points_and_nothing_overlaps(name):
    svg = svg_of(name, Look(width=COLUMN))
    root = ET.fromstring(svg)
    assert root.get("width") == f"{COLUMN:.1f}pt"
    assert root.get("viewBox").split()[2] == f"{COLUMN:.1f}"  # so nothing is scaled
    assert min(float(text.get("font-size")) for text in texts(svg)) >= 7
    assert faults(svg) == []


def test_a_transformer_layer_fits_a_page():
    for width, look in (("8.5cm", "tb"), ("17.5cm", "tb")):
        root = ET.fromstring(svg_of("transformer_layer", Look(look, points_of(width))))
        assert float(root.get("height")[:-2]) < 24.7 * 72 / 2.54


def test_what_is_too_wide_for_a_column_is_refused_with_the_width_it_needs(run):
    result = run("render", "aft", "-o", "a.svg", "--width", "8.5cm")
    assert result.status == 1
    found = re.fullmatch(
        r"error\[too-narrow\]: this picture is at least ([\d.]+) cm wide, but 8.5 cm was requested"
        r"\n  help: ask for ([\d.]+)cm or more, or omit the sizes with --no-sizes\n",
        result.err,
    )
    assert found and found[1] == found[2] and "error[too-narrow]: " in result.err
    assert names(Path()) == []
    run.fine("render", "aft", "-o", "a.svg", "--width", f"{found[2]}cm")
    result = run("render", "cbam", "-o", "b.svg", "--width", "8.5cm", "--direction", "lr")
    assert result.err.endswith("or draw it from top to bottom with --direction tb\n")


def test_texts_are_folded_before_groups_are_closed():
    picture = drawn("transformer_layer")
    wide, _ = placed_in_column(picture.diagram, picture.opened, 17.5 * 72 / 2.54)
    assert [group.name for group in wide.groups] == []  # all of it is longer than a page
    sk = drawn("sk")
    seen, layout = placed_in_column(sk.diagram, sk.opened, 450)
    assert layout.height <= PAGE or not list(seen.groups)


def test_narrowed_texts_are_whole_but_for_their_lines():
    before = drawn("bam").diagram
    for after in (narrowed(before, 12), narrowed(before, 20, joined=True)):
        for one, other in zip(before.boxes, after.boxes, strict=True):
            words = [text.replace(" · ", " ") for text in (*one.lines, *one.small)]
            again = " ".join((*other.lines, *other.small)).replace(" · ", " ")
            assert " ".join(words) == again
        assert [" ".join(k.label) for k in before.links] == [
            " ".join(k.label).replace(" · ", " ") for k in after.links
        ]


def test_tikz_keeps_to_the_column(run):
    run.fine("render", "se", "-o", "se.tex", "--width", "8.5cm")
    xs = [float(x) for x in re.findall(r"\(([\d.]+),[\d.]+\)", Path("se.tex").read_text())]
    assert max(xs) <= COLUMN
    run.fine("render", "se", "-o", "wide.tex")


# ------------------------------------------------------------------------------- what is omitted


def test_title_sizes_and_legend_may_be_omitted(run):
    run.fine("render", "se", "-o", "whole.svg")
    run.fine("render", "se", "-o", "a.svg", "--no-title", "--no-sizes", "--no-legend")
    whole, less = (
        [text.text for text in texts(Path(f"{name}.svg").read_text())] for name in ("whole", "a")
    )
    omitted = [text for text in whole if text not in less]
    source = "se · arXiv:1709.01507, equations 2 to 4"
    assert sorted(omitted) == sorted([
        "Squeeze-and-Excitation", source, "c = 256, h = 14, w = 14",
        "8,464 parameters · 8.2 k multiply-adds", *["256"] * 3, *["256×14×14"] * 2, "pool",
        "learned", "reweight",
    ])  # fmt: skip
    assert "b c h w" in less
    assert faults(Path("a.svg").read_text()) == []


def test_the_same_in_python(tmp_path):
    options = {"direction": "lr", "width": "20cm", "title": False, "sizes": False,
               "legend": False}  # fmt: skip
    svg = composer.render("se", tmp_path / "a.svg", **options).read_text()
    assert "arXiv" not in [text.text for text in texts(svg)]
    assert 'width="566.9pt"' in svg
    with pytest.raises(ComposerError, match="unknown direction 'rl'"):
        composer.render("se", tmp_path / "b.svg", direction="rl")
    with pytest.raises(ComposerError, match=r"the width 8\.5 is not a length"):
        composer.render("se", tmp_path / "b.svg", width=8.5)
    with pytest.raises(ComposerError, match="do not apply to a picture on an image"):
        composer.render("se", tmp_path / "b.svg", input="cat.png", direction="lr")


@pytest.mark.parametrize(
    ("suffix", "options", "said"),
    [
        ("html", ["--direction", "lr"],
         "direction cannot be set for a picture in .html\n"
         "  help: write .svg, .png, .pdf, .dot, .mmd or .tex, or omit it\n"),
        ("html", ["--width", "8.5cm", "--no-title", "--no-legend"],
         "width, title and legend cannot be set for a picture in .html\n"
         "  help: write .svg, .png, .pdf or .tex, or omit them\n"),
        ("mmd", ["--width", "8.5cm"],
         "width cannot be set for a picture in .mmd\n"
         "  help: write .svg, .png, .pdf or .tex, or omit it\n"),
        ("dot", ["--width", "8.5cm"],
         "width cannot be set for a picture in .dot\n"
         "  help: write .svg, .png, .pdf or .tex, or omit it\n"),
    ],
)  # fmt: skip
def test_what_a_format_has_not_is_refused(run, suffix, options, said):
    result = run("render", "se", "-o", f"a.{suffix}", *options)
    assert (result.status, result.err) == (2, f"error[usage]: {said}")
    assert names(Path()) == []


def test_a_format_without_them_takes_what_is_omitted(run):
    for suffix in ("mmd", "dot", "tex", "html"):
        run.fine("render", "se", "-o", f"a.{suffix}", "--no-sizes")
        assert "256×14×14" not in Path(f"a.{suffix}").read_text()
    run.fine("render", "se", "-o", "b.mmd", "--no-title", "--no-legend")
    assert "title:" not in Path("b.mmd").read_text()
    run.fine("render", "se", "-o", "b.dot", "--no-title")
    assert "arXiv" not in engine.run(Path("b.dot").read_text(), "svg")


# ------------------------------------------------------------------------------ before and after


def starts(diagram: Diagram, layout: Layout, side: str, across: bool) -> dict[str, float]:
    found = {n: r for n, r in layout.boxes.items() if n.startswith(side)}
    groups = zip(diagram.groups, layout.groups, strict=True)
    found |= {group.name: rect for group, rect in groups if group.name.startswith(side)}
    return {n.removeprefix(side): r.x if across else r.y for n, r in found.items()}


@pytest.mark.long
@pytest.mark.parametrize("direction", ["tb", "lr"])
@pytest.mark.parametrize(("spec", "options"), [("bam", {}), ("se", {"expand": "layer1.0"})])
def test_before_and_after_line_up(spec, options, direction):
    model = composer.insert(timm.create_model("resnet18"), spec)
    picture = drawn(model, before_after=True, **options)
    seen = picture.diagram.opened(picture.opened)
    (layout,) = lay_out([seen], direction)
    across = direction == "lr"
    before, after = (starts(seen, layout, side, across) for side in ("before/", "after/"))
    common = before.keys() & after.keys()
    assert len(common) > 15
    assert {n: (before[n], after[n]) for n in common if abs(before[n] - after[n]) > 0.5} == {}
    svg = written(picture.diagram, picture.opened, "svg", look=Look(direction)).decode()
    assert faults(svg) == []
    ends = [g for g in seen.items if isinstance(g, Group)]
    first, second = (layout.boxes[f"{side}/.input"] for side in ("before", "after"))
    assert first.x < second.x if direction == "tb" else first.y < second.y
    rects = [r for g, r in zip(seen.groups, layout.groups, strict=True) if g in ends]
    assert len({round(r.x + r.width if direction == "lr" else r.y + r.height) for r in rects}) == 1


# --------------------------------------------------------------------------------- what is said


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("backbone", "badge"),
    [
        ("resnet18", "se_2 before the add, +580 params"),
        pytest.param("convnext_atto", "se ×2 before the add, +404 params",
                     marks=pytest.mark.slow),
        pytest.param("densenet121", "se ×6 at the end of the block, +972 params",
                     marks=pytest.mark.slow),
        pytest.param("vgg11", "se at the end of the block, +580 params", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_before_the_add_only_where_there_is_one_and_names_as_they_are(backbone, badge):
    diagram = drawn(composer.insert(timm.create_model(backbone), "se", inplace=True)).diagram
    found = [b for g in diagram.groups for b in g.closed.badges]
    found += [b for box in diagram.boxes for b in box.badges]
    assert badge in found


class NoAdd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.conv(x))


def test_a_block_without_an_add_has_nothing_before_one():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(NoAdd(), NoAdd(), NoAdd()))
    diagram = drawn(composer.insert(model, "eca", at="block")).diagram
    (badge,) = {b for g in diagram.groups if g.name.startswith("1.") for b in g.closed.badges}
    assert badge.startswith("eca at the end of the block, +")


def test_what_was_inserted_has_the_name_that_it_has():
    model = composer.insert(timm.create_model("resnet18"), "se")
    (first, *_) = [g for g in drawn(model).diagram.groups if g.inserted]
    assert (first.name, first.title) == ("layer1.0.se_2", "se_2")
    assert dict(model.named_modules())[first.name] is not None


def test_parameters_in_no_box_are_named():
    vit = drawn(timm.create_model("vit_tiny_patch16_224")).diagram
    assert vit.notes == ("38,016 parameters are in no box: cls_token (192) and pos_embed (37,824)",)


@pytest.mark.slow
def test_parameters_of_a_block_itself_are_named():
    convnext = drawn(timm.create_model("convnext_atto")).diagram
    group = next(g for g in convnext.groups if g.name == "stages.0.blocks.0")
    assert group.small[-1] == "gamma: 40 params"


def test_signs_are_in_svg_and_tikz():
    assert svg_of("se", Look()).count("<polygon") >= 3 + 6 + 3  # boxes, arrows, legend
    text = tikz(diagrams.SE, THEMES["paper"])
    assert len(re.findall(r"\\(?:fill|draw)\[composerText", text)) == 3


# ------------------------------------------------------------------------------- side by side


@pytest.mark.long
def test_two_models_stand_side_by_side_and_line_up(tmp_path):
    plain = timm.create_model("resnet18")
    one, other = (composer.insert(plain, spec) for spec in ("se", "cbam"))
    picture = drawn(one, beside=other)
    left, right = picture.diagram.items
    assert (left.title, right.title) == ("resnet18 with se", "resnet18 with cbam")
    assert picture.diagram.title == "resnet18 with se beside resnet18 with cbam"
    seen = picture.diagram.opened(picture.opened)
    (layout,) = lay_out([seen])
    before, after = (starts(seen, layout, side, False) for side in ("left/", "right/"))
    assert before.keys() == after.keys()
    assert max(abs(before[name] - after[name]) for name in before) < 0.5
    svg = written(picture.diagram, picture.opened, "svg").decode()
    assert faults(svg) == []
    assert drawn(one, beside=other, expand="layer1.0").opened >= {"left/layer1.0", "right/layer1.0"}
    page = composer.render(one, tmp_path / "two.html", beside=other).read_text()
    assert "resnet18 with cbam" in page and "resnet18 with se" in page


@pytest.mark.parametrize(
    ("what", "options", "said"),
    [
        ("se", {"beside": "cbam"}, "only models can be side by side, and this is a spec"),
        (nn.Conv2d(3, 8, 3), {"beside": "cbam"},
         "only models can be side by side, and this is a spec"),
    ],
    ids=str,
)  # fmt: skip
def test_only_models_stand_beside_one_another(tmp_path, what, options, said):
    with pytest.raises(ComposerError, match=said):
        composer.render(what, tmp_path / "a.svg", **options)
    assert list(tmp_path.iterdir()) == []


def test_before_after_and_beside_are_two_pictures(tmp_path):
    model = composer.insert(timm.create_model("resnet18"), "se")
    with pytest.raises(ComposerError, match="before_after and beside exclude each other"):
        composer.render(model, tmp_path / "a.svg", before_after=True, beside=model)


def test_a_model_beside_another_at_the_command_line(run):
    result = run("render", "se", "--beside", "cbam")
    assert (result.status, result.err) == (
        2,
        "error[usage]: only models can be side by side, and this is a spec\n"
        "  help: give two models, or folders written by insert\n",
    )


@pytest.mark.parametrize("name", shipped_names())
def test_what_is_drawn_as_learned_has_weights(name):
    for box in drawn(name).diagram.boxes:
        if box.kind == "layer":
            small = " ".join(box.small)
            assert re.search(r"[1-9][\d,]* params?|weights of", small), (box.name, small)
