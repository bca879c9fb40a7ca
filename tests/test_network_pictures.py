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
from composer.drawing.outline import Outline, Part, Spent, Stage
from composer.measure.cost import parameters
from composer.picture import drawn
from composer.rewrite.outline import outline

torch.set_num_threads(1)


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


def test_an_outline_counts_every_parameter_once(plain, composed):
    before, after = outline(plain, "resnet18"), outline(composed, "resnet18")
    for seen, model in ((before, plain), (after, composed)):
        assert sum(part.spent.parameters for part in seen.parts) == parameters(model)
        assert sum(part.spent.flops for part in seen.parts) == seen.spent.flops
    assert after.added.parameters == parameters(composed) - parameters(plain)
    assert after.added.flops == after.spent.flops - before.spent.flops


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


def test_what_is_inserted_by_hand_at_any_module_has_a_place(plain):
    model = composer.insert(plain, "se", at="module", select=["bn1", "layer1.0.conv2"])
    seen = outline(model, "resnet18")
    where = {one.name: part.path for part in seen.parts for one in part.inserted}
    assert where == {"": "bn1.se", "conv2.se": "layer1.0"}


# ------------------------------------------------------------------------------------- the road


def test_repeats_are_one_box_and_a_block_with_an_insertion_is_none_of_them(plain):
    diagram = network(outline(plain, "resnet18"))
    assert boxes(diagram.opened(diagram.to_depth(2)))["layer1.0 closed"].title == "BasicBlock ×2"
    one = composer.insert(plain, "se", stages="1", blocks="1")
    seen = network(outline(one, "resnet18"))
    found = boxes(seen.opened(seen.to_depth(2)))
    assert found["layer1.0 closed"].title == "BasicBlock"
    assert found["layer1.0 closed"].badges == ("se before the add, +580 params",)
    assert found["layer1.1 closed"].title == "BasicBlock"
    assert found["layer1.1 closed"].badges == ()


def test_a_pattern_of_blocks_is_drawn_once():
    model = composer.insert(timm.create_model("resnet34"), "se", stages="3", every=2)
    diagram = network(outline(model, "resnet34"))
    (pattern,) = [g for g in diagram.groups if g.title.startswith("×")]
    assert pattern.title == "×2"
    assert [item.name for item in pattern.items] == ["layer3.1", "layer3.2"]


def test_a_stage_tells_what_it_costs_and_what_was_added(plain, composed):
    diagram = network(outline(composed, "resnet18"))
    stage = next(group for group in diagram.groups if group.name == "stage 1")
    before = parameters(plain.layer1)
    after = parameters(composed.layer1)
    assert stage.small[0] == f"{after:,} params (+{after - before:,})"
    assert diagram.caption[0] == "11.7 M to 11.8 M (+0.8%) parameters"
    assert diagram.title == "resnet18 with cbam"


def test_the_road_leads_from_the_image_to_the_answer(plain):
    diagram = network(outline(plain, "resnet18"))
    seen = diagram.opened(diagram.to_depth(1))
    assert [(link.source, link.target, link.label) for link in seen.links] == [
        ("input", "stem conv1 closed", ("3×224×224",)),
        ("stem conv1 closed", "stage 1 closed", ("64×56×56",)),
        ("stage 1 closed", "stage 2 closed", ("64×56×56",)),
        ("stage 2 closed", "stage 3 closed", ("128×28×28",)),
        ("stage 3 closed", "stage 4 closed", ("256×14×14",)),
        ("stage 4 closed", "head global_pool closed", ("512×7×7",)),
        ("head global_pool closed", "output", ("1000",)),
    ]


def test_a_block_shows_the_insertion_before_the_add(composed):
    diagram = network(outline(composed, "resnet18"))
    (block,) = [g for g in diagram.groups if g.name == "layer2.0"]
    assert [item.title for item in block.items] == [
        "conv1 · bn1 · act1", "conv2 · bn2", "cbam", "downsample", "+", "act2"
    ]  # fmt: skip
    closed = diagram.opened(frozenset({"stage 2", "layer2.0"}))
    named = {b.name: b.title for b in closed.boxes}
    links = {(named[link.source], named[link.target]) for link in closed.links}
    assert {("conv2 · bn2", "cbam"), ("cbam", "+"), ("downsample", "+"), ("+", "act2")} <= links


def test_an_insertion_opens_into_its_mechanism(composed):
    picture = drawn(composed, expand="layer1.0.cbam")
    assert {"stage 1", "layer1.0", "layer1.0.cbam", "layer1.0.cbam/channel"} <= picture.opened
    found = boxes(picture.diagram.opened(picture.opened))
    assert found["layer1.0.cbam/channel.excite"].small == ("580 params · 1.0 k MAdds",)


def test_a_repeat_is_expanded_where_it_is_drawn(composed):
    assert drawn(composed, expand="layer1.1").opened >= {"stage 1", "layer1.0"}
    assert drawn(composed, expand="layer1.1.cbam").opened >= {"layer1.0.cbam"}


def test_before_and_after_stand_side_by_side(composed):
    picture = drawn(composed, before_after=True)
    before, after = (g for g in picture.diagram.groups if g.name in ("before/all", "after/all"))
    assert (before.title, after.title) == ("before · resnet18", "after · resnet18 with cbam")
    inside = [box for box in picture.diagram.boxes if box.name.startswith("before/")]
    assert not any(box.badges or box.kind == "inserted" for box in inside)
    assert any("after/layer1.0.cbam" in g.name for g in picture.diagram.groups)


# ------------------------------------------------------------------------------------- clean

CASES = [
    ("resnet18", "cbam"), ("resnet18", "bam"), ("vit_tiny_patch16_224", "se"),
]  # fmt: skip
MORE = [
    ("resnext50_32x4d", "sk"), ("efficientnet_b0", "cond_conv"), ("densenet121", "eca"),
    ("swin_tiny_patch4_window7_224", "se"), ("hrnet_w18_small", None), ("convnext_tiny", "eca"),
]  # fmt: skip


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


def block(number: int, parameters: int) -> Part:
    reads = (f"blocks.{number - 1}",) if number else ()
    return Part(f"blocks.{number}", "Block", "8×4×4", Spent(parameters, 10), True, reads=reads)


def of_blocks(parts: list[Part]) -> Outline:
    return Outline("net", (), (3, 32, 32), (Stage(1, "blocks", tuple(parts)),), Spent(1, 1))


def test_a_thousand_blocks_are_one_box_where_they_are_equal():
    diagram = network(of_blocks([block(n, 7) for n in range(1000)]))
    seen = diagram.opened(diagram.to_depth(2))
    assert [b.title for b in seen.boxes] == ["input", "Block ×1000", "output"]
    assert len(lay_out([seen])) == 1


def test_a_thousand_blocks_that_differ_are_one_group():
    diagram = network(of_blocks([block(n, n) for n in range(1000)]))
    seen = diagram.opened(diagram.to_depth(2))
    assert [b.title for b in seen.boxes] == ["input", "Block ×1000", "output"]
    assert "of different sizes" in boxes(seen)["blocks.0 … closed"].lines
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
    stage = next(group for group in diagram.groups if group.name == "stage 1")
    assert [item.title for item in stage.items] == titles


def test_a_forward_that_cannot_be_read_is_said():
    part = replace(block(0, 1), note="its forward can't be traced: it hangs on numbers")
    diagram = network(of_blocks([part]))
    facts = {fact.label: fact.text for fact in boxes(diagram)["blocks.0"].facts}
    assert facts["note"] == "its forward can't be traced: it hangs on numbers"
