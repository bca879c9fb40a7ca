"""The picture of a backbone: its road, repeats as ×N, and what was inserted where."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from geometry import faults
from torch import nn

import composer
from composer.drawing.diagram import Box, Diagram
from composer.drawing.formats import written
from composer.drawing.layout import lay_out
from composer.drawing.network import network
from composer.drawing.outline import DrawnPart, DrawnStage, Outline, Spent
from composer.drawing.outline_of import outline
from composer.drawing.picture import drawn
from composer.measure.cost import parameters


def svg_of(diagram: Diagram, opened: frozenset[str]) -> str:
    return written(diagram, opened, "svg").decode()


def boxes(diagram: Diagram) -> dict[str, Box]:
    return {one.name: one for one in diagram.boxes}


@pytest.fixture(scope="module")
def plain() -> nn.Module:
    return timm.create_model("resnet18")


@pytest.fixture(scope="module")
def composed(plain) -> nn.Module:
    return composer.insert(plain, "cbam")


# --------------------------------------------------------------------------------- the outline


@pytest.mark.long
def test_an_outline_counts_every_parameter_once(plain, composed):
    before, after = outline(plain, "resnet18"), outline(composed, "resnet18")
    for seen, model in ((before, plain), (after, composed)):
        assert sum(part.spent.parameters for part in seen.parts) == parameters(model)
        assert sum(part.spent.flops for part in seen.parts) == seen.spent.flops
    assert after.added.parameters == parameters(composed) - parameters(plain)
    assert after.added.flops == after.spent.flops - before.spent.flops


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("backbone", "spec"),
    [
        ("resnet18", "cbam"),
        ("resnet18", "bam"),
        pytest.param("resnext50_32x4d", "sk", marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", "cond_conv", marks=pytest.mark.slow),
        ("vit_tiny_patch16_224", "mhsa"),
    ],
)
def test_an_outline_without_its_insertions_is_that_of_the_backbone(backbone, spec):
    model = timm.create_model(backbone)
    original = outline(model, backbone)
    again = outline(composer.insert(model, spec, inplace=True), backbone).before
    assert again.spent == original.spent
    assert [part.spent for part in again.parts] == [part.spent for part in original.parts]
    assert [part.path for part in again.parts] == [part.path for part in original.parts]


def ways(diagram: Diagram) -> set[tuple[str, str]]:
    return {(link.source, link.target) for link in diagram.links}


@pytest.mark.long
def test_what_is_inserted_at_any_module_stands_on_the_road(plain):
    model = composer.insert(plain, "se", at="module", select=["bn1", "layer1.0.conv2"])
    seen = outline(model, "resnet18")
    where = {one.name: part.path for part in seen.parts for one in part.inserted}
    assert where == {"": "bn1.se", "conv2.se": "layer1.0"}
    assert [part.path for part in seen.parts][:5] == ["conv1", "bn1", "bn1.se", "act1", "maxpool"]
    picture = drawn(model, depth=3, expand="layer1.0.conv2.se")
    links = ways(picture.diagram.opened(picture.opened - {"bn1.se", "layer1.0.conv2.se"}))
    assert {("bn1", "bn1.se."), ("bn1.se.", "act1")} <= links
    inserted = "layer1.0.conv2.se."
    assert {("layer1.0.conv2", inserted), (inserted, "layer1.0.bn2")} <= links
    parts = [part.spent.parameters for part in seen.parts]
    assert sum(parts) == parameters(model)


@pytest.mark.long
@pytest.mark.parametrize("at", ["stem", "head"])
def test_what_stands_behind_the_stem_or_before_the_head_is_on_the_road(plain, at):
    model = composer.insert(plain, "se", at=at)
    diagram = network(outline(model, "resnet18"))
    links = ways(diagram.opened(diagram.to_depth(2)))
    (inserted,) = [g.closed.name for g in diagram.groups if g.inserted]
    assert [len([link for link in links if link[end] == inserted]) for end in (0, 1)] == [1, 1]


@pytest.mark.long
def test_what_a_block_shares_is_drawn_once():
    model = composer.insert(timm.create_model("efficientnet_b0"), "cond_conv", inplace=True)
    picture = drawn(model, expand="blocks.5.1.conv_dw")
    seen = picture.diagram.opened(picture.opened)
    inside = [b.name for b in seen.boxes if b.name.startswith("blocks.5.1.conv_dw/")]
    assert [name.partition("/")[2] for name in inside] == ["kernels", "kernel", "plain"]
    shared = "blocks.5.1.cond_conv."
    assert (shared, "blocks.5.1.conv_dw/kernel") in ways(seen)
    assert (shared, "blocks.5.1.conv_pw.") in ways(seen)
    (group,) = [g for g in picture.diagram.groups if g.name == "blocks.5.1"]
    (badge,) = group.closed.badges
    assert badge.startswith("cond_conv ×3, +")


@pytest.mark.long
def test_an_insertion_that_begins_at_identity_shows_how(plain):
    model = composer.insert(plain, "se", init="identity")
    (block, *_) = [g for g in network(outline(model, "resnet18")).groups if g.inserted]
    assert len(block.items) > 4
    small = [line for item in block.items for line in item.small]
    assert sum(int(line.partition(" ")[0].replace(",", "")) for line in small) == 581


@pytest.mark.long
def test_two_mechanisms_of_one_name_are_no_repeat(plain):
    text = (
        "name: g\ninput: [b, c, h, w]\nparams: {f: {default: one, choices: [one, two]}}\nnodes:\n"
        "  gate: {op: gate, fn: sigmoid if f == one else tanh}\n"
        "  out: {op: reweight, x: input, by: gate}\ninsert: {at: block}\n"
    )
    for value, titles in (("two", ["BasicBlock", "BasicBlock"]), ("one", ["BasicBlock ×2"])):
        model = composer.insert(plain, text, stages="1", blocks="1")
        model = composer.insert(model, text, stages="1", blocks="2", params={"f": value})
        diagram = network(outline(model, "resnet18"))
        (stage,) = [g for g in diagram.groups if g.name == ".stage 1"]
        assert [item.title for item in stage.items] == titles


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.input = Block()
        self.output = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = self.input(x)
        return self.output(x)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.n = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b = nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(self.n(self.a(torch.relu(self.n(self.a(x))))))


def test_a_module_that_runs_several_times_counts_each_time():
    seen = outline(Shared(), "net")
    assert sum(part.spent.flops for part in seen.parts) == seen.spent.flops
    assert sum(part.spent.parameters for part in seen.parts) == seen.spent.parameters
    block = next(part for part in seen.parts if part.path == "input")
    assert block.runs == 3
    picture = drawn(Shared(), depth=3)
    assert faults(svg_of(picture.diagram, picture.opened)) == []
    shown = picture.diagram.opened(picture.opened - {"input"})
    assert any("runs 3 times" in box.lines for box in shown.boxes)


def test_a_module_that_runs_twice_in_a_block_counts_its_parameters_once():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(Block(), Block()))
    (block, _) = [part for part in outline(model, "net").parts if part.is_block]
    assert sum((step.spent for step in block.steps), Spent()) == block.spent


def test_parameters_that_are_not_drawn_are_told():
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = Shared(), nn.Linear(4, 2)

        def forward(self, images: list[torch.Tensor], targets: object) -> None:
            raise TypeError("it wants targets")

    assert drawn(Detector()).diagram.notes == ("10 parameters are in no box: head (10)",)


@pytest.mark.long
def test_a_stand_in_gives_back_the_layer_and_what_went_with_it():
    plain = timm.create_model("resnet50d")
    original = outline(plain, "net")
    again = outline(composer.insert(plain, "split_attention", stages="1"), "net").before
    for one, other in zip(original.parts, again.parts, strict=True):
        said = [[(s.title, s.lines, s.spent) for s in part.steps] for part in (one, other)]
        assert said[0] == said[1]


# ------------------------------------------------------------------------------------- the road


def test_repeats_are_one_box_and_a_block_with_an_insertion_is_none_of_them(plain):
    diagram = network(outline(plain, "resnet18"))
    assert boxes(diagram.opened(diagram.to_depth(2)))["layer1.0."].title == "BasicBlock ×2"
    one = composer.insert(plain, "se", stages="1", blocks="1")
    seen = network(outline(one, "resnet18"))
    found = boxes(seen.opened(seen.to_depth(2)))
    assert found["layer1.0."].title == "BasicBlock"
    assert found["layer1.0."].badges == ("se_2 before the add, +580 params",)
    assert found["layer1.1."].title == "BasicBlock"
    assert found["layer1.1."].badges == ()


@pytest.mark.long
def test_a_pattern_of_blocks_is_drawn_once():
    model = composer.insert(timm.create_model("resnet34"), "se", stages="3", every=2)
    diagram = network(outline(model, "resnet34"))
    (pattern,) = [g for g in diagram.groups if g.title.startswith("×")]
    assert pattern.title == "×2"
    assert [item.name for item in pattern.items] == ["layer3.1", "layer3.2"]
    links = ways(diagram.opened(diagram.to_depth(2)))
    assert ("layer3.1.", "layer3.2.") in links
    assert ("layer3.2.", "layer3.1.") not in links  # ×2 tells that
    assert ("layer3.2.", "layer3.5.") in links


def test_a_stage_tells_what_it_costs_and_what_was_added(plain, composed):
    diagram = network(outline(composed, "resnet18"))
    stage = next(group for group in diagram.groups if group.name == ".stage 1")
    before = parameters(plain.layer1)
    after = parameters(composed.layer1)
    assert stage.small[0] == f"{after:,} params (+{after - before:,})"
    assert diagram.caption[0] == "11.7 M to 11.8 M (+0.8%) parameters"
    assert diagram.title == "resnet18 with cbam"


def test_the_road_leads_from_the_image_to_the_answer(plain):
    diagram = network(outline(plain, "resnet18"))
    seen = diagram.opened(diagram.to_depth(1))
    assert [(link.source, link.target, link.label) for link in seen.links] == [
        (".input", ".stem conv1.", ("3×224×224",)),
        (".stem conv1.", ".stage 1.", ("64×56×56",)),
        (".stage 1.", ".stage 2.", ("64×56×56",)),
        (".stage 2.", ".stage 3.", ("128×28×28",)),
        (".stage 3.", ".stage 4.", ("256×14×14",)),
        (".stage 4.", ".head global_pool.", ("512×7×7",)),
        (".head global_pool.", ".output", ("1000",)),
    ]


def test_a_block_shows_the_insertion_before_the_add(composed):
    diagram = network(outline(composed, "resnet18"))
    (block,) = [g for g in diagram.groups if g.name == "layer2.0"]
    assert [item.title for item in block.items] == [
        "conv1 · bn1 · act1", "conv2 · bn2", "cbam", "downsample", "+", "act2"
    ]  # fmt: skip
    closed = diagram.opened(frozenset({".stage 2", "layer2.0"}))
    named = {b.name: b.title for b in closed.boxes}
    links = {(named[link.source], named[link.target]) for link in closed.links}
    assert {("conv2 · bn2", "cbam"), ("cbam", "+"), ("downsample", "+"), ("+", "act2")} <= links


def test_an_insertion_opens_into_its_mechanism(composed):
    picture = drawn(composed, expand="layer1.0.cbam")
    assert {".stage 1", "layer1.0", "layer1.0.cbam", "layer1.0.cbam/channel"} <= picture.opened
    found = boxes(picture.diagram.opened(picture.opened))
    assert found["layer1.0.cbam/channel.excite"].small == ("580 params · 1.0 k multiply-adds",)


@pytest.mark.long
def test_a_repeat_is_expanded_where_it_is_drawn(composed):
    assert drawn(composed, expand="layer1.1").opened >= {".stage 1", "layer1.0"}
    assert drawn(composed, expand="layer1.1.cbam").opened >= {"layer1.0.cbam"}


def test_before_and_after_open_alike(composed):
    opened = drawn(composed, before_after=True, expand="layer1.0").opened
    assert {"before/layer1.0", "after/layer1.0"} <= opened
    assert drawn(composed, expand="stage 2", depth=1).opened == {".stage 2"}


def test_before_and_after_stand_side_by_side(composed):
    picture = drawn(composed, before_after=True)
    before, after = (g for g in picture.diagram.groups if g.name in ("before/", "after/"))
    assert (before.title, after.title) == ("before · resnet18", "after · resnet18 with cbam")
    inside = [box for box in picture.diagram.boxes if box.name.startswith("before/")]
    assert not any(box.badges or box.kind == "inserted" for box in inside)
    assert any("after/layer1.0.cbam" in g.name for g in picture.diagram.groups)


# ------------------------------------------------------------------------------------- clean

CASES = [
    ("resnet18", "cbam"), ("resnet18", "bam"), ("vit_tiny_patch16_224", "se"),
]  # fmt: skip
MORE = [
    ("efficientnet_b0", "cond_conv"), ("densenet121", "eca"), ("hrnet_w18_small", None),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("backbone", "spec"),
    [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)],
    ids=str,
)
def test_nothing_overlaps_at_any_depth(backbone, spec):
    model = timm.create_model(backbone)
    if spec:
        composer.insert(model, spec, inplace=True)
    diagram = drawn(model).diagram
    for depth in (1, 2, 3):
        assert faults(svg_of(diagram, diagram.to_depth(depth))) == []
    first = next((g for g in diagram.groups if g.inserted), None)
    if first is not None:
        picture = drawn(model, expand=first.name.partition("/")[0])
        assert faults(svg_of(picture.diagram, picture.opened)) == []


def block(number: int, parameters: int) -> DrawnPart:
    reads = (f"blocks.{number - 1}",) if number else ()
    return DrawnPart(f"blocks.{number}", "Block", "8×4×4", Spent(parameters, 10), True, reads=reads)


def of_blocks(parts: list[DrawnPart]) -> Outline:
    return Outline("net", (), (3, 32, 32), (DrawnStage(1, "blocks", tuple(parts)),), Spent(1, 1))


def test_a_thousand_blocks_are_one_box_where_they_are_equal():
    diagram = network(of_blocks([block(n, 7) for n in range(1000)]))
    seen = diagram.opened(diagram.to_depth(2))
    assert [b.title for b in seen.boxes] == ["input", "Block ×1000", "output"]
    assert len(lay_out([seen])) == 1


def test_a_thousand_blocks_that_differ_are_one_group():
    diagram = network(of_blocks([block(n, n) for n in range(1000)]))
    seen = diagram.opened(diagram.to_depth(2))
    assert [b.title for b in seen.boxes] == ["input", "Block ×1000", "output"]
    assert "of different sizes" in boxes(seen)[".alike blocks.0."].lines
    assert sum(1 for _ in diagram.boxes) == 1002


@pytest.mark.parametrize(
    ("pattern", "titles"),
    [
        ([1, 1, 1], ["Block ×3"]),
        ([1, 2, 1, 2], ["×2"]),
        ([3, 1, 2, 1, 2, 1], ["Block", "×2", "Block"]),
        ([1, 1, 2, 2], ["Block ×2", "Block ×2"]),
        ([1, 2], ["Block", "Block"]),
    ],
)
def test_runs(pattern, titles):
    diagram = network(of_blocks([block(n, size) for n, size in enumerate(pattern)]))
    stage = next(group for group in diagram.groups if group.name == ".stage 1")
    assert [item.title for item in stage.items] == titles


def test_a_forward_that_cannot_be_read_is_said():
    part = replace(block(0, 1), note="its forward can't be traced: it hangs on numbers")
    diagram = network(of_blocks([part]))
    facts = {fact.label: fact.text for fact in boxes(diagram)["blocks.0"].facts}
    assert facts["note"] == "its forward can't be traced: it hangs on numbers"
