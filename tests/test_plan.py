"""Which sites a plan takes, why it passes over others, and what it says where there are none."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm import create_model
from torch import nn

import composer
from composer.errors import ComposerError
from composer.surgery.plan import Plan

SCALE = """\
name: scale
input: [b, c, h, w]
nodes:
  factor: {op: parameter, axes: {}, init: 3}
  out: {op: mul, of: [input, factor]}
"""
ZERO = SCALE.replace("scale", "zero").replace("3", "0")
BLOCKS = (3, 4, 6, 3)
ALL = [(stage, block) for stage, count in enumerate(BLOCKS, 1) for block in range(1, count + 1)]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(64, 64, 3, 1, 1), nn.Conv2d(64, 64, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(self.conv1(x).relu())


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    with torch.device("meta"):
        return create_model("resnet50")


@pytest.fixture(scope="module")
def small() -> nn.Module:
    """Four stages of 3, 4, 6 and 3 blocks, as a ResNet-50 has, and quick to read."""
    layers = OrderedDict[str, nn.Module](stem=nn.Conv2d(3, 64, 4, 4))
    for number, count in enumerate(BLOCKS, 1):
        layers[f"layer{number}"] = nn.Sequential(*(Block() for _ in range(count)))
        layers[f"pool{number}"] = nn.MaxPool2d(2)
    return nn.Sequential(layers)


def taken(plan: Plan) -> list[tuple[int, int | None]]:
    return [(site.stage, site.block) for site in plan.sites]


def said(call: Callable[[], Any]) -> tuple[str, str, str | None]:
    """Return the code, the message and the way out of the one problem that a call has."""
    with pytest.raises(ComposerError) as caught:
        call()
    first = caught.value.diagnostics[0]
    return first.code, first.message, first.help


# --------------------------------------------------------------------------------- selection


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, ALL),
        ({"stages": "3"}, [(3, n) for n in range(1, 7)]),
        ({"stages": 3}, [(3, n) for n in range(1, 7)]),
        ({"stages": [1, 4]}, [(1, 1), (1, 2), (1, 3), (4, 1), (4, 2), (4, 3)]),
        ({"stages": "-1"}, [(4, 1), (4, 2), (4, 3)]),
        ({"stages": "1..-2", "blocks": 1}, [(1, 1), (2, 1), (3, 1)]),
        ({"blocks": "-1"}, [(1, 3), (2, 4), (3, 6), (4, 3)]),
        ({"blocks": "5..6"}, [(3, 5), (3, 6)]),
        ({"every": 5}, ALL[::5]),
        ({"stages": 3, "every": 2}, [(3, 1), (3, 3), (3, 5)]),
        ({"select": "layer2.*"}, [(2, n) for n in range(1, 5)]),
        ({"select": ["layer1.0", "layer4.?"]}, [(1, 1), (4, 1), (4, 2), (4, 3)]),
        ({"select": "*.0", "stages": "2,3"}, [(2, 1), (3, 1)]),
    ],
    ids=str,
)
def test_what_is_taken(
    small: nn.Module, choice: dict[str, Any], expected: list[tuple[int, int]]
) -> None:
    plan = composer.plan(small, "eca", **choice)
    assert taken(plan) == expected
    assert len(plan.sites) + len(plan.near_misses) == 16
    assert {s.path for s in plan.sites}.isdisjoint(m.path for m in plan.near_misses)


def _span(first: int, last: int, count: int) -> set[int]:
    ends = [n if n > 0 else count + 1 + n for n in (first, last)]
    return set(range(ends[0], ends[1] + 1)) & set(range(1, count + 1))


_POSITIONS = st.sampled_from([1, 2, 3, 4, -1, -2, -3, -4])
_PAIRS = st.tuples(_POSITIONS, _POSITIONS).filter(lambda p: p[0] * p[1] < 0 or p[0] <= p[1])
_RANGES = st.lists(_PAIRS, min_size=1, max_size=2)


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(stages=_RANGES, blocks=_RANGES, every=st.integers(1, 5))
def test_selections_meet(
    small: nn.Module,
    stages: list[tuple[int, int]],
    blocks: list[tuple[int, int]],
    every: int,
) -> None:
    expected = [
        (stage, block)
        for stage, block in ALL
        if any(stage in _span(*pair, 4) for pair in stages)
        and any(block in _span(*pair, BLOCKS[stage - 1]) for pair in blocks)
    ][::every]
    text = [",".join(f"{a}..{b}" for a, b in pairs) for pairs in (stages, blocks)]

    def plan() -> Plan:
        return composer.plan(small, "eca", stages=text[0], blocks=text[1], every=every)

    if expected:
        assert taken(plan()) == expected
    else:
        assert said(plan)[0] == "no-sites"


def test_where_the_spec_says(small: nn.Module) -> None:
    plan = composer.plan(small, "bam")
    assert (plan.at, plan.position) == ("stage", "output")
    assert [s.path for s in plan.sites] == ["layer1", "layer2", "layer3"]
    assert [s.path for s in composer.plan(small, "bam", stages="2..-1").sites] == [
        "layer2", "layer3", "layer4",
    ]  # fmt: skip
    plan = composer.plan(small, "bam", at="block")
    assert (plan.at, plan.position, len(plan.sites)) == ("block", "residual", 16)
    assert len(composer.plan(small, "se", at="stage").sites) == 4


@pytest.mark.long
def test_a_site_tells_all(resnet: nn.Module) -> None:
    site = composer.plan(resnet, "se", at="block").sites[3]
    assert (site.path, site.name, site.position, site.stage, site.block, site.spec) == (
        "layer2.0", "se_2", "residual", 2, 1, "se",
    )  # fmt: skip
    assert (site.layout, site.channels, site.size) == (("b", "c", "h", "w"), 512, (28, 28))
    assert (site.parameters, site.flops, site.note) == (33_312, 32_768, None)


def test_a_name_that_is_free() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 1)
            self.blocks = nn.Sequential(*(nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))
                                          for _ in range(2)))  # fmt: skip
            self.blocks[1].scale = None  # type: ignore[assignment]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks(self.stem(x))

    names = {s.name for s in composer.plan(Net(), SCALE, at="block").sites}
    assert names == {"scale_2"}
    taken_by_torch = SCALE.replace("name: scale", "name: train")
    assert {s.name for s in composer.plan(Net(), taken_by_torch).sites} == {"train_2"}


def test_as_text(small: nn.Module) -> None:
    lines = str(composer.plan(small, "bam")).splitlines()
    assert lines[0] == "bam at 3 sites"
    assert lines[1].startswith("  layer1.bam  output  64×56×56  +")
    assert lines[-1] == "  not layer4: it is in stage 4, and stages 1..-2 are chosen"


def test_every_passes_over_the_others(small: nn.Module) -> None:
    misses = composer.plan(small, "eca", stages=1, every=2).near_misses
    reasons = {miss.path: miss.reason for miss in misses}
    assert reasons["layer1.1"] == "every=2 skips it"
    assert reasons["layer2.0"] == "it is in stage 2, and stages 1 are chosen"


# ------------------------------------------------------------------------------------ errors

STRANGE = "name: t\ninput: [b, t, c]\nnodes:\n  out: {op: pool, over: t}\n"
STAGES = "there are stage 1 layer1 (3 blocks), stage 2 layer2 (4 blocks), stage 3 layer3 (6 blocks), stage 4 layer4 (3 blocks)"  # noqa: E501


@pytest.mark.parametrize(
    ("spec", "choice", "expected"),
    [
        ("eca", {"select": "nothing.*"}, (
            "no-sites",
            "none of the 16 blocks matches: its path does not match 'nothing.*'", STAGES)),
        ("eca", {"stages": 1, "blocks": 4}, ("no-sites", "none of the 16 blocks matches", STAGES)),
        ("eca", {"stages": 5}, ("no-such-position", "there is no stage 5", "there are 4 stages")),
        ("eca", {"stages": "-5"}, (
            "no-such-position", "there is no stage -5", "there are 4 stages")),
        ("eca", {"blocks": "2..7"}, (
            "no-such-position", "there is no block 7", "there are 6 blocks in the longest stage")),
        ("eca", {"expect": 15}, (
            "unexpected-count", "15 sites expected, and 16 found",
            "list them with --dry-run; choose others with --stages, --blocks or --select")),
        ("eca", {"at": "stage", "expect": 1}, (
            "unexpected-count", "1 site expected, and 4 found",
            "list them with --dry-run; choose others with --stages, --blocks or --select")),
        ("bam", {"blocks": 1}, (
            "invalid-value", "blocks is given, and the sites are stages", "use at='block'")),
        ("eca", {"at": "stage", "position": "residual"}, (
            "invalid-value", "a stage has no residual branch",
            "use at='block', or position='output'")),
        ("eca", {"at": "channel"}, (
            "invalid-value", "at is 'channel'",
            "use 'block', 'stage', 'stem', 'head', 'module', 'conv', 'attention', 'norm', "
            "'mlp' or 'pool'")),
        ("eca", {"at": "conv"}, (
            "not-a-stand-in",
            "'eca' does not stand for a convolution, so it can't replace one",
            "use at='block', or write 'stands_for: conv2d' in the spec")),
        ("eca", {"at": "attention"}, (
            "not-a-stand-in",
            "'eca' does not stand for an attention module, so it can't replace one",
            "use at='block', or write 'stands_for: attention' in the spec")),
        ("sk", {"at": "block"}, (
            "stand-in", "'sk' stands for a convolution, so it can't go to a block",
            "use at='conv'")),
        ("eca", {"match": {"kernel": 3}}, (
            "invalid-match", "match chooses convolutions, and the sites are blocks",
            "choose with stages, blocks or select")),
        ("eca", {"position": "before"}, (
            "invalid-value", "'before' is not a position; it may be residual, residual:BRANCH, "
            "input, output or after:NAME", None)),
        ("eca", {"at": "module"}, (
            "invalid-selection", "at='module' needs a choice of modules, and none is given",
            "select some: 'layer3.*.conv2', or 're:layer[34].*'")),
        ("eca", {"select": "re:layer["}, (
            "invalid-selection",
            "'re:layer[' is not a valid regular expression: unterminated character set "
            "at position 5",
            None)),
        ("eca", {"at": "stem", "position": "residual"}, (
            "invalid-value", "a stem has no residual branch",
            "use at='block', or position='output'")),
        ("eca", {"prefix_tokens": "drop"}, (
            "invalid-value", "prefix_tokens can't be 'drop'", "use 'pass' or 'join'")),
        ("eca", {"every": 0}, ("invalid-value", "every is 0", "use a number from 1")),
        ("eca", {"init": "zero"}, (
            "invalid-init", "'zero' is not an init", "use 'paper' or 'identity'")),
        *(("eca", {"stages": word}, (
            "invalid-selection",
            f"{shown!r} is not a number or a range; they count from 1: "
            "'1,3', '2..4', '1..-2' or '-1' for the last", None))
          for word, shown in [("0", "0"), ("one", "one"), ("1,,2", ""), ("2..", "2.."), ([], "")]),
        (STRANGE, {}, (
            "not-a-map", "'t' takes [b, t, c], and a feature map is [b, c, h, w]",
            "write 'input: [b, c, h, w]'")),
    ],
    ids=str,
)  # fmt: skip
def test_what_it_says(
    small: nn.Module, spec: str, choice: dict[str, Any], expected: tuple[str, str, str | None]
) -> None:
    assert said(lambda: composer.plan(small, spec, **choice)) == expected


def test_a_map_is_tokens_too(small: nn.Module) -> None:
    """What takes tokens goes to the pixels of a map."""
    plan = composer.plan(small, "transformer_layer", stages=4)
    assert (plan.at, plan.position, taken(plan)) == ("block", "output", [(4, 1), (4, 2), (4, 3)])
    assert plan.sites[0].layout == ("b", "c", "h", "w")
    plan = composer.plan(small, "mhsa", at="block", stages=4, blocks=1)
    assert plan.sites[0].position == "residual"
    composed = composer.insert(small, "mhsa", at="block", stages=4, init="identity")
    x = torch.randn(1, 3, 224, 224)
    assert torch.equal(composed(x), small(x))


@pytest.mark.long
def test_too_few_channels_names_the_place() -> None:
    with torch.device("meta"):
        model = create_model("regnety_002")
    with pytest.raises(ComposerError) as caught:
        composer.plan(model, "se", params={"reduction": 32})
    first, note = caught.value.diagnostics
    assert first.severity == "error" and first.render().startswith("se (shipped):13:40: ")
    assert note.severity == "note"
    assert note.message == "s1.b1 is the first such place; it outputs 24×56×56"
    plan = composer.plan(model, "se", params={"reduction": 32, "min_width": 1})
    assert len(plan.sites) == 13


def test_an_unknown_param_is_said_without_a_place(small: nn.Module) -> None:
    with pytest.raises(ComposerError) as caught:
        composer.plan(small, "se", params={"reductions": 4})
    assert [d.code for d in caught.value.diagnostics] == ["unknown-param"]


def test_the_only_block_does_not_match() -> None:
    model = nn.Sequential(nn.Conv2d(3, 64, 4, 4), Block())
    assert said(lambda: composer.plan(model, "eca", select="0")) == (
        "no-sites", "the only block does not match: its path does not match '0'",
        "there is stage 1 1 (1 block)",
    )  # fmt: skip


def test_a_model_without_blocks() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    code, message, _ = said(lambda: composer.plan(model, "eca"))
    assert code == "no-sites"
    assert message == "this backbone has no block that could be found; 0 stages seen"


def test_layers_in_a_row() -> None:
    """Of a network without blocks each layer is one, with the norm and activation behind it."""
    with torch.device("meta"):
        vgg = create_model("vgg11")
    assert len(composer.plan(vgg, "eca", at="stage").sites) == 5
    plan = composer.plan(vgg, "eca", at="block")
    assert [(site.stage, site.path) for site in plan.sites] == [
        (1, "features.1"), (2, "features.4"), (3, "features.7"), (3, "features.9"),
        (4, "features.12"), (4, "features.14"), (5, "features.17"), (5, "features.19"),
    ]  # fmt: skip
    row = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()
    )
    plan = composer.plan(row, "eca", at="block")
    assert [site.path for site in plan.sites] == ["2", "4"]
    assert [site.path for site in composer.plan(row, "eca", at="stage").sites] == ["4"]


def test_pretrained_is_for_a_name(small: nn.Module) -> None:
    code, message, _ = said(lambda: composer.insert(small, "eca", pretrained=True))
    assert code == "invalid-value" and message.startswith("pretrained is for a MODEL string")


@pytest.mark.long
def test_planning_is_quick(resnet: nn.Module) -> None:
    composer.plan(resnet, "se")
    start = time.process_time()
    composer.plan(resnet, "se")
    assert time.process_time() - start < 2  # 0.6 s on two quiet cores


@pytest.mark.parametrize(
    ("text", "way_out"), [("4..1", "1..4"), ("-1..-2", "-2..-1"), ("1,3-2", "2..3")]
)
def test_a_range_that_runs_backwards(small: nn.Module, text: str, way_out: str) -> None:
    code, message, _ = said(lambda: composer.plan(small, "eca", stages=text))
    item = text.split(",")[-1]
    assert code == "invalid-selection"
    assert message == f"{item!r} runs backwards, so it is empty; write {way_out!r}"


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("part", ["", "layer1"])
def test_a_model_with_compiled_parts_is_planned_as_any_other(part: str) -> None:
    model = create_model("resnet18")
    expected = [site.path for site in composer.plan(model, "se").sites]
    model.get_submodule(part).compile(fullgraph=True, backend="eager")
    assert [site.path for site in composer.plan(model, "se").sites] == expected


UNLIKE = {
    "axes": ("{op: pool, over: c}", "the output 'out' is [b, h, w], but the input is [b, c, h, w]"),
    "sizes": ("{op: conv2d, kernel: 1, out: 1}",
              "axis 'c' of the output 'out' is 1, but c in the input"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNLIKE)
def test_a_spec_without_insert_gives_what_it_takes(name: str) -> None:
    op, said = UNLIKE[name]
    spec = f"name: unlike\ninput: [b, c, h, w]\nnodes:\n  out: {op}\n"
    composer.build(spec, 8)  # alone, it may
    with pytest.raises(ComposerError) as caught:
        composer.plan("resnet18", spec)
    first, note = caught.value.diagnostics
    assert (first.code, first.message) == ("output-differs", said)
    assert note.message == "layer1.0 is the first such place; it outputs 64×56×56"


def test_a_choice_of_the_spec_is_said_to_be_so() -> None:
    model = nn.Sequential(*[nn.Sequential(nn.Conv2d(16 if n else 3, 16, 3, padding=1), nn.ReLU())
                            for n in range(3)])  # fmt: skip
    with pytest.raises(ComposerError) as caught:
        composer.plan(model, "bam")
    assert str(caught.value) == (
        "error[no-such-position]: the spec goes to stages 1..-2 (its insert says so), and there is "
        "1 stage\n  help: choose others, as with --stages 1 or, in Python, stages=1"
    )


def test_a_module_that_outputs_no_map_is_passed_over_with_its_size():
    with pytest.raises(ComposerError) as caught:
        composer.plan(create_model("test_resnet"), "se", at="module", select="fc")
    (problem,) = caught.value.diagnostics
    assert problem.message == (
        "none of the 70 modules matches; 1 passed over: it outputs 1×1000, which is not a map"
    )


def test_a_stage_that_is_a_sequence_keeps_its_class_and_gets_one_child_more():
    edited = composer.insert(create_model("test_resnet"), "se", at="stage", params={"reduction": 4})
    assert type(edited.layer1) is nn.Sequential
    assert [name for name, _ in edited.layer1.named_children()] == ["0", "se"]


class OfSeveral(nn.Module):
    """Gives a map, another if there are to be two, a vector and nothing."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.conv, self.maps = nn.Conv2d(16, 16, 3, padding=1), maps

    def forward(self, x):
        y = self.conv(x)
        return (*[y] * self.maps, y.mean((2, 3)), None)


class Heads(nn.Module):
    def __init__(self, maps: int) -> None:
        super().__init__()
        self.stem, self.several, self.head = nn.Conv2d(3, 16, 3), OfSeveral(maps), nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.several(self.stem(x))[0].mean((2, 3)))


@pytest.mark.parametrize(("maps", "note"), [(1, None), (2, "the first of 2 values")])
def test_of_several_values_those_that_are_maps_are_counted(maps, note):
    found = composer.plan(Heads(maps), "se", at="module", select="several", position="output")
    assert [site.note for site in found.sites] == [note]
