"""The picture of a spec: what is in it, and that it is clean."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from importlib.resources import files

import pytest
from geometry import faults, font, shape_area
from shipped import EVERY

from composer.drawing.diagram import Box, Diagram, Group
from composer.drawing.formats import written
from composer.drawing.picture import Picture, drawn
from composer.graph.frontend import load_spec

HEAD = "name: probe\ninput: [b, c, h, w]\nnodes:\n"


def svg_of(picture: Picture, opened: frozenset[str] | None = None) -> str:
    chosen = picture.opened if opened is None else opened
    return written(picture.diagram, chosen, "svg").decode()


def box(diagram: Diagram, name: str) -> Box:
    return next(one for one in diagram.boxes if one.name == name)


def links(diagram: Diagram) -> set[tuple[str, str]]:
    return {(link.source, link.target) for link in diagram.links}


def road(diagram: Diagram) -> set[tuple[str, str]]:
    return {(link.source, link.target) for link in diagram.links if link.road}


# ----------------------------------------------------------------------------------- clean


@pytest.mark.parametrize("name", EVERY)
def test_nothing_overlaps_and_no_text_leaves_its_box(name):
    picture = drawn(name)
    everything = frozenset(group.name for group in picture.diagram.groups)
    for opened in {picture.opened, everything, frozenset()}:
        assert faults(svg_of(picture, opened)) == []


def moved(svg: str, tag: str, attribute: str, by: float) -> str:
    """Return a picture in which the first box's shape or text is somewhere else."""
    root = ET.fromstring(svg)
    group = next(g for g in root.iter() if g.get("class") == "box")
    one = next(e for e in group.iter() if e.tag.endswith(tag))
    one.set(attribute, str(float(one.get(attribute)) + by))
    return ET.tostring(root, encoding="unicode")


@pytest.mark.parametrize(
    ("tag", "attribute", "by", "said"),
    [
        ("text", "x", 60, "a text leaves the box input"),
        ("rect", "y", 60, "overlaps"),
        ("text", "font-size", 20, "a text leaves the box input"),
    ],
)
def test_the_measure_sees_what_is_not_clean(tag, attribute, by, said):
    svg = svg_of(drawn(HEAD + "  out: {op: gate}\n"))
    assert faults(svg) == []
    found = faults(moved(svg, tag, attribute, by))
    assert any(said in fault for fault in found)


def test_the_widths_are_those_of_the_font():
    path = files("composer.drawing").joinpath("fonts", "widths.json")
    for weight, widths in json.loads(path.read_text(encoding="utf-8")).items():
        glyphs, metrics = font(weight.capitalize())
        assert widths == {chr(c): metrics[g][0] for c, g in glyphs.items()}


# ------------------------------------------------------------------------------ what is in it


def test_se_is_its_paper():
    diagram = drawn("se").diagram
    assert diagram.title == "Squeeze-and-Excitation"
    assert diagram.caption == (
        "se · arXiv:1709.01507, equations 2 to 4",
        "c = 256, h = 14, w = 14",
        "8,464 parameters · 8.2 k multiply-adds",
    )
    assert [(b.name, b.kind) for b in diagram.boxes] == [
        ("input", "end"), ("squeeze", "reduce"), ("excite", "layer"), ("gate", "gate"),
        ("out", "reweight"), (".output", "end"),
    ]  # fmt: skip
    assert box(diagram, "excite").lines == ("mlp over c, hidden 16", "W2 relu(W1 x + b1) + b2")
    assert box(diagram, "excite").small == ("8,464 params · 8.2 k multiply-adds",)
    assert box(diagram, "gate").lines == ("sigmoid: σ(x)",)
    labels = {(link.source, link.target): link.label for link in diagram.links if link.label}
    assert labels == {
        ("input", "out"): ("b c h w", "256×14×14"),
        ("squeeze", "excite"): ("b c", "256"),
        ("excite", "gate"): ("b c", "256"),
        ("gate", "out"): ("b c", "256"),
        ("out", ".output"): ("b c h w", "256×14×14"),
    }


ROADS = [
    ("se", {("input", "out"), ("out", ".output")}),
    ("cbam", {("input", "channel.out"), ("channel.out", "spatial.out"),
              ("spatial.out", ".output")}),
    ("bam", {("input", "weighed"), ("weighed", "out"), ("input", "out"), ("out", ".output")}),
    ("sk", {("input", "split.0"), ("input", "split.1"), ("split.0", "split"), ("split.1", "split"),
            ("split", "out"), ("out", ".output")}),
    ("split_attention", {("input", "splits"), ("splits", "mixed"), ("mixed", "out"),
                         ("out", ".output")}),
    ("cond_conv", {("input", "plain"), ("plain", ".output")}),
    ("mhsa", {("input", "qkv"), ("qkv", "v"), ("v", "attend"), ("attend", "join"), ("join", "out"),
              ("out", ".output")}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), ROADS, ids=[name for name, _ in ROADS])
def test_what_is_reweighted_is_the_main_road(name, expected):
    assert road(drawn(name).diagram) == expected


@pytest.mark.parametrize("name", EVERY)
def test_every_node_that_is_reached_is_a_box_and_every_operand_a_link(name):
    spec, diagram = load_spec(name), drawn(name).diagram
    names = {one.name for one in diagram.boxes}
    told = " ".join(diagram.notes)
    for node in (one for written_ in spec.nodes for one in written_.split(", ")):
        drawn_ = node in names or any(b.startswith(f"{node}.") for b in names)
        assert drawn_ or node in told, node
    assert all({link.source, link.target} <= names for link in diagram.links)


def test_what_stands_for_several_nodes_is_a_group():
    diagram = drawn("cbam").diagram
    channel, spatial = diagram.groups
    assert (channel.name, channel.small) == (
        "channel", ("Channel attention of CBAM", "8,464 params · 16.4 k multiply-adds")
    )  # fmt: skip
    assert channel.closed.lines == ("Channel attention of CBAM",)
    closed = diagram.opened(frozenset({"spatial"}))
    assert [b.name for b in closed.boxes][:3] == ["input", "channel.", "spatial.max"]
    assert links(closed) >= {("input", "channel."), ("channel.", "spatial.max")}
    assert spatial.name == "spatial"


def test_branches_stand_side_by_side():
    diagram = drawn("sk").diagram
    (split,) = diagram.groups
    assert split.small[0] == "2 branches on k"
    titles = [item.title for item in split.items]
    assert titles == ["split 0", "split 1", "split"]
    assert box(diagram, "split.1").lines == ("conv2d 3×3, dilation 2", "relu(BN(W * x))")
    root = ET.fromstring(svg_of(drawn("sk")))
    areas = {g.get("data-name"): shape_area(g) for g in root.iter() if g.get("class") == "box"}
    one, other = areas["split.0"], areas["split.1"]
    assert one.y + one.height / 2 == pytest.approx(other.y + other.height / 2, abs=1)
    assert not one.meets(other)


def test_shared_weights_are_joined():
    text = (
        HEAD + "  row: {op: repeat, times: 3, shared: true, each: {op: conv2d, kernel: 3}}\n"
        "  out: {op: add, of: [input, row]}\n"
    )
    diagram = drawn(text).diagram
    shared = [(link.source, link.target, link.label) for link in diagram.links if link.mark]
    assert shared == [
        ("row.0", "row.1", ("shared weights",)), ("row.0", "row.2", ("shared weights",))
    ]  # fmt: skip
    assert box(diagram, "row.1").small[0] == "weights of row.0"
    assert box(diagram, "row.0").small == ("590,080 params · 115.6 M multiply-adds",)


def test_only_weights_are_shared(tmp_path):
    text = HEAD + "  row: {op: repeat, times: 2, shared: true, each: {op: use, spec: se}}\n"
    diagram = drawn(text).diagram
    joined = [(link.source, link.target) for link in diagram.links if link.mark == "shared"]
    assert joined == [("row.0.excite", "row.1.excite")]
    titles = [g.small[0] for g in diagram.groups if g.name.startswith("row.")]
    assert titles == ["Squeeze-and-Excitation"] * 2


def test_a_spec_used_by_a_used_spec_has_its_title(tmp_path):
    (tmp_path / "outer.yaml").write_text(
        "name: outer\ninput: [b, c, h, w]\nnodes:\n  inner: {op: use, spec: cbam}\n"
    )
    found = {g.name: g.small[0] for g in drawn(tmp_path / "outer.yaml").diagram.groups}
    assert found["inner.channel"] == "Channel attention of CBAM"


def test_an_operand_may_have_any_name():
    for word in ("output", "gate_closed", "input_"):
        picture = drawn(HEAD + f"  gate: {{op: gate, x: {word}}}\n")
        assert faults(svg_of(picture)) == []


def test_a_group_tells_the_lines_of_its_own_node():
    channel, _ = drawn("cbam").diagram.groups
    lines = next(fact.text for fact in channel.closed.facts if fact.code)
    assert lines.startswith("channel: {op: use, spec: cbam_channel")


def test_a_node_that_nothing_reads_is_faint_and_what_params_switch_off_is_told():
    text = HEAD + "  lonely: {op: pool, over: [h, w]}\n  out: {op: gate, x: input}\n"
    picture = drawn(text)
    assert box(picture.diagram, "lonely").faint
    assert not box(picture.diagram, "out").faint
    assert "stroke-dasharray" in svg_of(picture)
    assert faults(svg_of(picture)) == []
    assert drawn("bam").diagram.notes == ("off under these params: either",)
    other = drawn("bam", params={"combine": "total"}).diagram
    assert other.notes == ("off under these params: both",)
    assert "combine = total" in other.caption[1]


def test_what_a_faulty_node_reads_is_not_off():
    nodes = """  steps: {op: repeat, times: log2(extent), index: i, each: {op: gate}}
  faulty: {default: 16}
  out: {op: mul, of: ["input if extent == 0 else steps", input]}
"""
    picture = drawn(HEAD.replace("nodes:", "params: {extent: {default: 0}}\nnodes:") + nodes)
    assert picture.problems
    assert box(picture.diagram, "steps") is not None
    assert picture.diagram.notes == ()
    assert faults(svg_of(picture)) == []


def test_a_spec_of_one_node():
    picture = drawn(HEAD + "  out: {op: gate}\n")
    assert [b.name for b in picture.diagram.boxes] == ["input", "out", ".output"]
    assert faults(svg_of(picture)) == []


def test_a_spec_of_500_nodes():
    lines = [f"  n{i}: {{op: gate, x: {f'n{i - 1}' if i else 'input'}}}\n" for i in range(499)]
    text = HEAD + "".join(lines) + "  out: {op: reweight, x: input, by: n498}\n"
    picture = drawn(text)
    assert sum(1 for _ in picture.diagram.boxes) == 502
    assert svg_of(picture).count('class="box"') == 502


def test_many_branches_are_closed_unless_told():
    text = (
        HEAD + "  many: {op: branch, axis: k, times: 40, each: {op: conv2d, kernel: 3}}\n"
        "  out: {op: pool, over: k, reduce: sum}\n"
    )
    picture = drawn(text)
    assert picture.opened == frozenset()
    closed = picture.diagram.opened(picture.opened)
    assert [b.name for b in closed.boxes] == ["input", "many.", "out", ".output"]
    assert box(closed, "many.").lines == ("40 branches on k",)
    assert drawn(text, expand="many").opened == {"many"}


def test_depth_and_expand_choose_what_is_open():
    assert drawn("transformer_layer", depth=1).opened == frozenset()
    assert drawn("transformer_layer", depth=2).opened == {"attend"}
    assert drawn("cbam", depth=1, expand=["spatial"]).opened == {"spatial"}


# ------------------------------------------------------------------------------------- faulty

FAULTY = [
    (  # an operand that is not there
        "  gate: {op: gate, x: excit}\n  out: {op: reweight, x: input, by: gate}\n",
        {"gate": ("no node named 'excit'",), ".missing excit": ("no node named 'excit'",)},
    ),
    (  # an axis that is not there
        "  squeeze: {op: pool, over: [h, q]}\n  out: {op: gate}\n",
        {"squeeze": ("'input' has no axis 'q'",)},
    ),
    (  # fields
        "  excite: {op: mlp, over: c, hiden: c}\n  out: {op: gate}\n",
        {"excite": ("the op 'mlp' needs the field 'hidden'", "the op 'mlp' has no field 'hiden'")},
    ),
    (  # an op that is none, whose operand is told
        "  a: {op: gate}\n  b: {op: nope, x: input}\n  out: {op: add, of: [a, b]}\n",
        {"b": ("no op named 'nope'",)},
    ),
    (  # another number of values than of axes
        "  a: {op: unfold, over: [h, w], kernel: [1, 3, 3], into: [y, x]}\n"
        "  b: {op: roll, x: input, over: [h, w], by: [1, 2, 3]}\n"
        "  c: {op: conv2d, x: input, kernel: [1, 3, 3]}\n  out: {op: add, of: [a, b, c]}\n",
        {
            "a": ("'kernel' has 3 values, and 'over' names 2 axes",),
            "b": ("'by' has 3 values, and 'over' names 2 axes",),
            "c": ("'kernel' has 3 values, and 'over' names 2 axes",),
        },
    ),
    (  # a circle
        "  a: {op: add, of: [input, b]}\n  b: {op: gate, x: a}\n",
        {"a": ("these nodes read each other in a cycle: a -> b -> a",)},
    ),
]


@pytest.mark.parametrize(("nodes", "expected"), FAULTY)
def test_a_faulty_spec_is_drawn_with_its_problems(nodes, expected):
    picture = drawn(HEAD + nodes)
    assert picture.problems
    found = {b.name: b.problems for b in picture.diagram.boxes if b.problems}
    assert found == expected
    svg = svg_of(picture)
    assert faults(svg) == []
    assert svg.count("#f87d7d") == len(expected) + 1  # the legend has one


def test_what_is_known_of_a_faulty_node_is_drawn():
    text = "  a: {op: gate}\n  b: {op: nope, x: input}\n  out: {op: add, of: [a, b]}\n"
    diagram = drawn(HEAD + text).diagram
    assert box(diagram, "b").lines == ("nope",)
    assert links(diagram) >= {("input", "b"), ("a", "out"), ("b", "out")}
    diagram = drawn(HEAD + "  gate: {op: gate, x: excit}\n").diagram
    marks = {(link.source, link.target): link.mark for link in diagram.links}
    assert marks[".missing excit", "gate"] == "problem"


def test_a_problem_outside_the_nodes_is_a_note():
    diagram = drawn("name: probe\ninput: [b, c, h, w]\nnodes: {out: {op: gate}}\noutput: nope\n")
    assert diagram.diagram.notes == ("error: no node named 'nope'",)


def test_a_spec_that_does_not_suit_its_sizes_shows_where():
    picture = drawn("mhsa", params={"heads": 7})
    assert [p.code for p in picture.problems] == ["does-not-divide"]
    assert box(picture.diagram, "qkv").problems == ("heads = 7 does not divide c = 256",)


def test_a_group_in_a_group_is_reached_by_its_whole_name():
    groups = [g.name for g in drawn("transformer_layer").diagram.groups]
    assert groups == ["attend"]
    (attend,) = drawn("transformer_layer").diagram.groups
    assert isinstance(attend, Group)
    assert [item.name for item in attend.items] == [
        "attend.qkv", "attend.q", "attend.k", "attend.v", "attend.attend", "attend.join",
        "attend.out",
    ]  # fmt: skip
