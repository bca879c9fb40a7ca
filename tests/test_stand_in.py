"""A spec in a layer's own place: which layers, what goes with them, what several share."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import enlivened
from command import NET, Command
from safetensors.torch import load_file, save_file
from timm import create_model
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models import VisionTransformer

import composer
from composer.analysis.edited import is_inserted, is_stand_in
from composer.errors import ComposerError
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.surgery import insert as insert_file

_CONV = (
    "{op: conv2d, kernel: kernel, out: out, stride: stride, padding: padding, "
    "dilation: dilation, groups: groups, bias: "
)
#: A convolution in place of a convolution: what it computes shows whether the edit is right.
PLAIN = f"""\
name: plain
stands_for: conv2d
input: [b, c, h, w]
nodes:
  out: {_CONV}bias}}
insert: {{at: conv}}
identity: {{nodes: {{out: {{copies: kernel}}}}}}
"""
WHOLE = f"""\
name: whole
stands_for: conv2d
input: [b, c, h, w]
nodes:
  out: {_CONV}false, norm: batch, act: relu}}
insert: {{at: conv, match: {{kernel: 3}}, absorb: [norm, act]}}
identity: {{nodes: {{out: {{copies: kernel}}}}}}
"""
NORMED = WHOLE.replace(", act: relu", "").replace("norm, act]", "norm]").replace("whole", "normed")


class Cell(nn.Module):
    """A bottleneck, each of whose layers is a module of its own."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act1 = nn.Conv2d(c, 4, 1), nn.BatchNorm2d(4), nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.drop, self.act2 = nn.Dropout(0.0), nn.ReLU(inplace=True)
        self.conv3, self.bn3 = nn.Conv2d(4, c, 1), nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.act2(self.drop(self.bn2(self.conv2(y))))
        return x + self.bn3(self.conv3(y))


class Net(nn.Module):
    """A stem, two stages of two cells with a strided convolution between, a head."""

    def __init__(self, cell: Callable[[], nn.Module] = Cell) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.stage1 = nn.Sequential(cell(), cell())
        self.down = nn.Conv2d(8, 8, 3, 2, 1)
        self.stage2 = nn.Sequential(cell(), cell())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stage2(self.down(self.stage1(self.stem(x)))).mean((2, 3)))


def net(cell: Callable[[], nn.Module] = Cell) -> nn.Module:
    torch.manual_seed(0)
    return enlivened(Net(cell)).eval()


def images(size: int = 32, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def run(model: nn.Module, x: Tensor) -> Tensor:
    torch.manual_seed(2)
    with torch.no_grad():
        out: Tensor = model(x)
    return out


def paths(found: Any) -> list[str]:
    return [site.path for site in found.sites]


def reasons(found: Any) -> dict[str, str]:
    return {miss.path: miss.reason for miss in found.near_misses}


def said(call: Callable[[], Any]) -> tuple[str, str, str | None]:
    with pytest.raises(ComposerError) as caught:
        call()
    first = caught.value.diagnostics[0]
    return first.code, first.message, first.help


def same_bits(one: nn.Module, other: nn.Module) -> None:
    """Assert equal classes, attributes, keys, tensors and modes."""
    first, second = one.state_dict(), other.state_dict()
    assert list(first) == list(second)
    for key, tensor in first.items():
        assert tensor.dtype == second[key].dtype and torch.equal(tensor, second[key]), key
        assert tensor.stride() == second[key].stride(), key
    for ours, theirs in zip(one.modules(), other.modules(), strict=True):
        assert type(ours) is type(theirs)
        assert list(vars(ours)) == list(vars(theirs))
        assert list(ours._modules) == list(theirs._modules)
        assert ours.training is theirs.training


# ------------------------------------------------------------------------------------ matching

CELLS = ("stage1.0", "stage1.1", "stage2.0", "stage2.1")
ALL = ["stem", *(f"{c}.conv{n}" for c in CELLS[:2] for n in (1, 2, 3)), "down",
       *(f"{c}.conv{n}" for c in CELLS[2:] for n in (1, 2, 3))]  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, ALL),
        ({"match": {"kernel": 3}}, ["stem", "stage1.0.conv2", "stage1.1.conv2", "down",
                                    "stage2.0.conv2", "stage2.1.conv2"]),
        ({"match": {"kernel": 3, "stride": 1}}, [f"{cell}.conv2" for cell in CELLS]),
        ({"match": {"stride": 2}}, ["stem", "down"]),
        ({"match": {"channels": 3}}, ["stem"]),
        ({"match": {"out": 4, "kernel": 1}}, [f"{cell}.conv1" for cell in CELLS]),
        ({"match": {"position": "2..-1"}}, ALL[1:]),
        ({"match": {"position": -1}}, ALL[-1:]),
        ({"match": {"kernel": 1, "position": [1, 2]}}, ["stage1.0.conv1"]),  # counted over all
        ({"match": {"name": "conv[13]"}}, [p for p in ALL if p[-1] in "13"]),
        ({"match": {"dilation": 1, "groups": 1, "depthwise": False}}, ALL),
        ({"stages": 2}, ALL[8:]),
        ({"stages": "1..-1", "blocks": 1}, ALL[1:4] + ALL[8:11]),
        ({"select": "*.conv3"}, [f"{cell}.conv3" for cell in CELLS]),
        ({"select": ["stem", "down"]}, ["stem", "down"]),
        ({"every": 5}, ALL[::5]),
        ({"match": {"name": "conv2"}, "every": 2}, ["stage1.0.conv2", "stage2.0.conv2"]),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_taken(choice: dict[str, Any], expected: list[str]) -> None:
    found = composer.plan(net(), PLAIN, **choice)
    assert paths(found) == expected
    assert (found.at, found.position) == ("conv", "replace")
    assert sorted([*paths(found), *reasons(found)]) == sorted(ALL)
    assert all(miss.by_choice for miss in found.near_misses)


def test_the_spec_matches_and_the_caller_over_it() -> None:
    choosy = PLAIN.replace("{at: conv}", "{at: conv, match: {kernel: 3, stride: 1}}")
    model = net()
    assert len(composer.plan(model, choosy).sites) == 4
    assert paths(composer.plan(model, choosy, match={"stride": 2})) == ["stem", "down"]
    assert len(composer.plan(model, choosy, match={"kernel": None, "stride": None}).sites) == 14


def test_a_site_tells_all() -> None:
    site = composer.plan(net(), PLAIN).sites[7]
    assert (site.path, site.module, site.name) == ("down", "down", None)
    assert (site.position, site.stage, site.block, site.spec) == ("replace", None, None, "plain")
    assert (site.layout, site.channels, site.size) == (("b", "c", "h", "w"), 8, (56, 56))
    assert (site.parameters, site.replaced) == (584, 584)
    assert site.flops == 8 * 8 * 9 * 56 * 56
    inner = composer.plan(net(), PLAIN).sites[9]
    assert (inner.path, inner.stage, inner.block) == ("stage2.0.conv2", 2, 1)


@pytest.mark.long
def test_why_others_are_passed_over() -> None:
    model = net()
    assert reasons(composer.plan(model, PLAIN, match={"kernel": 3}))["stage1.0.conv1"] == (
        "its kernel is 1, not 3"
    )
    for choice, path, reason in [
        ({"match": {"groups": 4}, "select": "*"}, None, None),
        ({"match": {"out": 4}}, "stem", "its number of channels out is 8, not 4"),
        ({"match": {"position": "2..-1"}}, "stem", "it is number 1 of 14, not 2..-1"),
        ({"match": {"name": "conv*"}}, "stem", "its name is 'stem', not 'conv*'"),
        ({"stages": 2}, "stem", "it is in no stage, and stages 2 are chosen"),
        ({"stages": 2}, "stage1.0.conv1", "it is in stage 1, and stages 2 are chosen"),
        ({"blocks": 1}, "down", "it is in no block, and blocks 1 are chosen"),
        ({"blocks": 1}, "stage1.1.conv1",
         "it is block 2 of its stage, and blocks 1 are chosen"),
        ({"select": "*.conv1"}, "down", "its path does not match '*.conv1'"),
        ({"every": 2}, "stage1.0.conv1", "every=2 skips it"),
    ]:  # fmt: skip
        if path is None:
            assert said(lambda c=choice: composer.plan(model, PLAIN, **c))[0] == "no-sites"
        else:
            assert reasons(composer.plan(model, PLAIN, **choice))[path] == reason


class Same(nn.Conv2d):
    """A convolution that pads by the size of its input, as some libraries have."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 1, 1, 1)))


class Odd(Cell):
    """One of each kind that nothing can stand in for."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(8, 8, (1, 3), padding=(0, 1))
        self.uneven = nn.Conv2d(8, 8, 3, (1, 2), 1)
        self.word = nn.Conv2d(8, 8, 3, padding="same")
        self.mirror = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.own = Same(8, 8, 3)
        self.twice = nn.Conv2d(8, 8, 1)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.squeeze = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.mirror(self.word(self.wide(x))) + self.twice(self.twice(self.own(x)))
        y = y + F.pad(self.uneven(x), (0, x.shape[3] // 2))
        y = self.depth(y) * self.squeeze(x.mean((2, 3), keepdim=True)).sigmoid()
        return super().forward(y)


def test_what_cannot_be_replaced() -> None:
    found = composer.plan(net(Odd), PLAIN, stages=1, blocks=1)
    assert paths(found) == [f"stage1.0.{n}" for n in ("depth", "conv1", "conv2", "conv3")]
    refused = {m.path: m.reason for m in found.near_misses if not m.by_choice}
    assert refused == {
        "stage1.0.wide": "its kernel is 1×3, not square",
        "stage1.0.uneven": "its stride is 1×2, not square",
        "stage1.0.word": "its padding is 'same', not a number",
        "stage1.0.mirror": "its padding mode is 'reflect', not zeros",
        "stage1.0.own": "Same overrides forward",
        "stage1.0.twice": "it runs 2 times in one pass",
        "stage1.0.squeeze": "it works on pooled values",
    }
    only = composer.plan(net(Odd), PLAIN, match={"depthwise": True})
    assert paths(only) == [f"{cell}.depth" for cell in CELLS]
    assert reasons(only)["stage1.0.conv1"] == "it is not depthwise"
    without = composer.plan(net(Odd), PLAIN, match={"depthwise": False}, stages=1)
    assert reasons(without)["stage1.0.depth"] == "it is depthwise"


class ReadsWeights(Cell):
    """A forward that asks its layers for more than what they give, as some of timm's do."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.conv1.weight.dtype) * self.conv3.stride[0]
        return super().forward(x)


def test_what_others_read_stays() -> None:
    model = net(ReadsWeights)
    classes = [type(m) for m in model.modules()]
    found = composer.plan(model, PLAIN, stages="1..-1")
    assert paths(found) == [f"{cell}.conv2" for cell in CELLS]
    refused = {m.path: m.reason for m in found.near_misses if m.path.startswith("stage1.0")}
    assert refused == {
        "stage1.0.conv1": "its weight is read by other modules",
        "stage1.0.conv3": "its stride is read by other modules",
    }
    assert [type(m) for m in model.modules()] == classes
    assert composer.insert(model, PLAIN, stages="1..-1")(images()).shape == (2, 5)


THERE = "there are 2 of kernel 3, stride 2; 8 of kernel 1; 4 of kernel 3"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"match": {"kernel": 5}}, ("no-sites", "none of the 14 convolutions matches", THERE)),
        ({"match": {"depthwise": True}}, (
            "no-sites", "none of the 14 convolutions matches: it is not depthwise", THERE)),
        ({"match": {"position": 15}}, (
            "no-such-position", "there is no convolution 15", "there are 14 convolutions")),
        ({"stages": 3}, ("no-such-position", "there is no stage 3", "there are 2 stages")),
        ({"match": {"kernal": 3}}, (
            "invalid-match", "unknown match key 'kernal'",
            "did you mean 'kernel'? Keys: kernel, stride, dilation, groups, channels, out, "
            "depthwise, position, name")),
        ({"match": {"kernel": "3"}}, (
            "invalid-match", "kernel can't match '3'",
            "give a whole number from 1, or null for any")),
        ({"match": {"depthwise": 7}}, (
            "invalid-match", "depthwise can't match 7",
            "give true or false, or null for any")),
        ({"match": {"position": "first"}}, (
            "invalid-match", "position can't match 'first'",
            "give positions such as 1, 3..5 or 2..-1, or null for any")),
        ({"match": {"name": 3}}, (
            "invalid-match", "name can't match 3",
            "give a glob such as conv_*, or null for any")),
        ({"position": "output"}, (
            "invalid-value", "position is 'output', and a replaced convolution has none",
            "omit the position")),
        ({"expect": 3}, (
            "unexpected-count", "3 sites expected, and 14 found",
            "list them with --dry-run; choose others with --stages, --blocks or --select")),
        ({"at": "attention"}, (
            "not-a-stand-in",
            "'plain' does not stand for an attention module, so it can't replace one",
            "use at='conv', or write 'stands_for: attention' in the spec")),
        ({"at": "block"}, (
            "stand-in", "'plain' stands for a convolution, so it can't go to a block",
            "use at='conv'")),
    ],
    ids=str,
)  # fmt: skip
def test_what_it_says(choice: dict[str, Any], expected: tuple[str, str, str | None]) -> None:
    model = net()
    assert said(lambda: composer.plan(model, PLAIN, **choice)) == expected


def test_a_network_without_convolutions() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    assert said(lambda: composer.plan(model, PLAIN)) == (
        "no-sites", "this backbone has no convolution that could be found; 0 blocks seen",
        "plain replaces one, so choose another backbone",
    )  # fmt: skip


HALVES = PLAIN.replace("groups: groups", "groups: 8")


def test_what_does_not_suit_is_passed_over_or_told() -> None:
    """A spec that suits some of the layers stands in for those; if for none, it says why."""
    found = composer.plan(net(), HALVES)
    assert paths(found) == ["down"]
    assert reasons(found)["stem"] == "8 groups do not divide 3 channels in"
    with pytest.raises(ComposerError) as caught:
        composer.plan(net(), HALVES, stages="1..-1")
    first, note = caught.value.diagnostics
    assert first.code == "groups-do-not-divide" and first.where is not None
    assert note.severity == "note"
    assert note.message == "stage1.0.conv1 is the first such place; it is kernel 1"
    with pytest.raises(ComposerError) as caught:
        composer.plan(net(), PLAIN, params={"width": 3})
    assert [d.code for d in caught.value.diagnostics] == ["unknown-param"]


# ------------------------------------------------------------------------------------ the edit


def test_it_has_the_path_of_the_layer() -> None:
    model = net()
    edited = composer.insert(model, PLAIN)
    assert [path for path, m in edited.named_modules() if is_stand_in(m)] == [
        path for path, m in model.named_modules() if isinstance(m, nn.Conv2d)
    ]
    keys = [key for key in edited.state_dict() if ".out.conv." in key]
    assert keys[:3] == ["stem.out.conv.weight", "stem.out.conv.bias",
                        "stage1.0.conv1.out.conv.weight"]  # fmt: skip
    kept = [key for key in model.state_dict() if key in edited.state_dict()]
    assert not any("conv" in key or "stem" in key for key in kept)
    assert len(keys) + len(kept) == len(model.state_dict()) == len(edited.state_dict())
    assert type(edited.stage1[0]) is Cell  # a forward that needs no edit has none


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("spec", [PLAIN, WHOLE], ids=["plain", "whole"])
def test_the_rest_of_the_model_is_as_it_was(spec: str) -> None:
    """With the weights of what it replaces, an equal stand-in gives equal bits in both modes."""
    model = net()
    edited = composer.insert(model, spec, init="identity")
    x = images()
    for mode in (False, True):
        expected = run(copy.deepcopy(model).train(mode), x)
        assert torch.equal(run(copy.deepcopy(edited).train(mode), x), expected)
    other = composer.insert(model, spec)
    assert not torch.allclose(run(other, x), run(model, x))


def test_device_dtype_layout_and_mode_follow_each_layer() -> None:
    model = net().train().to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.stage1.eval()
    model.head.double()
    edited = composer.insert(model, PLAIN)
    kinds = {next(edited.get_submodule(path).parameters()).dtype for path in ALL}
    assert kinds == {torch.bfloat16}
    assert not edited.stage1[0].conv2.training and edited.stage2[0].conv2.training
    kernel = edited.stage1[0].conv2.out.conv.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)


def test_a_model_without_numbers() -> None:
    with torch.device("meta"):
        model = Net()
        found = composer.plan(model, WHOLE, init="identity")
        edited = composer.insert(model, WHOLE, init="identity")
    assert all(p.is_meta for p in edited.parameters())
    assert len(found.sites) == 4
    ejected = composer.eject(edited)
    assert list(ejected.state_dict()) == list(model.state_dict())
    assert [type(m) for m in ejected.modules()] == [type(m) for m in model.modules()]


def test_the_callers_model_is_left_alone() -> None:
    model = net()
    before = copy.deepcopy(model)
    edited = composer.insert(model, WHOLE)
    same_bits(model, before)
    assert composer.insert(model, WHOLE, inplace=True) is model
    assert [k for k, _ in model.named_modules()] == [k for k, _ in edited.named_modules()]
    assert composer.eject(model, inplace=True) is model
    same_bits(model, before)


def test_a_failure_undoes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net(Functional)
    before = copy.deepcopy(model)
    lower, made = insert_file.lower, []

    def fails(graph: Any) -> Any:
        made.append(graph)
        if len(made) == 3:
            raise RuntimeError("no memory")
        return lower(graph)

    monkeypatch.setattr(insert_file, "lower", fails)
    code, message, _ = said(lambda: composer.insert(model, WHOLE, inplace=True))
    assert (code, message) == (
        "out-of-memory", "152 parameters at stage2.0.conv2 do not fit in memory: no memory",
    )  # fmt: skip
    same_bits(model, before)
    monkeypatch.setattr(insert_file, "lower", lower)
    monkeypatch.setattr(insert_file, "put_shared", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        composer.insert(model, "cond_conv", stages="1..-1", inplace=True)
    same_bits(model, before)


# ------------------------------------------------------------------------------------ absorbing


class Functional(Cell):
    """Its activation is a function."""

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return x + self.bn3(self.conv3(y))


class Method(Cell):
    """Its activation is a method, in place."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.drop(self.bn2(self.conv2(y))).relu_()
        return x + self.bn3(self.conv3(y))


class OneRelu(Cell):
    """One activation for all, as torchvision writes it."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.act1(self.bn2(self.conv2(y)))
        return self.act1(x + self.bn3(self.conv3(y)))


class Held(Cell):
    """Its norm holds the activation, as timm's do."""

    def __init__(self) -> None:
        super().__init__()
        self.bn2 = BatchNormAct2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv1(x)))
        return x + self.bn3(self.conv3(self.bn2(self.conv2(y))))


class Nested(nn.Module):
    """Its layers stand in a sequence, in a list that is no module to call."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.parts = nn.ModuleList([inner, nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)])

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.parts[2](self.parts[1](self.parts[0](x))))


class OwnActivation(Cell):
    """An activation of the user's own, that no library knows."""

    class Clipped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (x > 0)

    def __init__(self) -> None:
        super().__init__()
        self.act2 = self.Clipped()  # type: ignore[assignment]


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("cell", "sites", "gone", "note", "edited"),
    [
        (Cell, ["conv2"], ["bn2", "act2"], "its BatchNorm2d and ReLU go with it", False),
        (OwnActivation, ["conv2"], ["bn2", "act2"], "its BatchNorm2d and Clipped go with it",
         False),
        (Functional, ["conv2"], ["bn2"], "its BatchNorm2d and relu go with it", True),
        (Method, ["conv2"], ["bn2"], "its BatchNorm2d and relu_ go with it", True),
        (OneRelu, ["conv2"], ["bn2"], "its BatchNorm2d and ReLU go with it", True),
        (Held, ["conv2"], ["bn2"], "its BatchNormAct2d goes with it", False),
        (Nested, ["parts.0.0", "parts.1"], ["parts.0.1", "parts.0.2", "parts.2"],
         None, True),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)  # fmt: skip
def test_what_follows_goes_with_it(
    cell: type[nn.Module], sites: list[str], gone: list[str], note: str | None, edited: bool
) -> None:
    model = net(cell)
    found = composer.plan(model, WHOLE, init="identity", stages="1..-1")
    assert paths(found) == [f"{c}.{site}" for c in CELLS for site in sites]
    if note:
        assert {site.note for site in found.sites} == {note}
    composed = composer.insert(model, WHOLE, init="identity", stages="1..-1")
    assert (type(composed.stage1[0]) is not cell) is edited
    assert issubclass(type(composed.stage1[0]), cell)
    assert type(composed.stage1[0]).__name__ == cell.__name__
    for path in gone:
        assert type(composed.stage1[0].get_submodule(path)) is nn.Identity
    assert found.parameters_after == sum(p.numel() for p in composed.parameters())
    x = images()
    for mode in (False, True):
        one, other = (copy.deepcopy(m).train(mode) for m in (composed, model))
        torch.testing.assert_close(run(one, x), run(other, x), rtol=1e-6, atol=1e-6)
    same_bits(composer.eject(composed), model)


def test_blocks_of_equal_structure_share_a_class() -> None:
    composed = composer.insert(net(OneRelu), WHOLE, stages="1..-1")
    blocks = [*composed.stage1, *composed.stage2]
    assert len({type(block) for block in blocks}) == 1


class NoNorm(Cell):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv3(self.act2(self.conv2(self.act1(self.conv1(x)))))


class NoActivation(Cell):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.bn3(self.conv3(self.bn2(self.conv2(self.conv1(x)))))


class Scaled(Cell):
    """What follows its norm is linear, and so no activation."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv3(self.bn2(self.conv2(self.conv1(x))) * 0.5)


class ReadTwice(Cell):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return x + self.conv3(self.act2(self.bn2(y)) + y)


class Untraceable(Cell):
    def forward(self, x: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():  # as compiled code of others does
            x = x + 0
        return super().forward(x)


class ByMode(Cell):
    """Another activation in training than in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return x + self.conv3(F.relu(y) if self.training else self.act2(y))


class Competes(Cell):
    """What follows its norm is a softmax, which looks at all channels."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv3(self.bn2(self.conv2(self.conv1(x))).softmax(1))


class Weighs(Cell):
    """Its activation has a weight, which would be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.act2 = nn.PReLU()  # type: ignore[assignment]


@pytest.mark.quick(4, then="long")
@pytest.mark.parametrize(
    ("cell", "spec", "reason"),
    [
        (NoNorm, WHOLE, "no norm follows it, and whole includes its own"),
        (NoActivation, WHOLE, "no activation follows its norm, and whole includes its own"),
        (Scaled, WHOLE, "no activation follows its norm, and whole includes its own"),
        (Competes, WHOLE, "no activation follows its norm, and whole includes its own"),
        (Weighs, WHOLE, "no activation follows its norm, and whole includes its own"),
        (ReadTwice, WHOLE, "its output is read in several places"),
        (ByMode, WHOLE, "what follows it differs between training and evaluation mode"),
        (Held, NORMED, "its norm contains an activation, which would be removed with it"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_what_does_not_follow(cell: type[nn.Module], spec: str, reason: str) -> None:
    (refused,) = {
        miss.reason
        for miss in said_by(net(cell), spec)
        if not miss.by_choice and miss.path.endswith("conv2")
    }
    assert refused == reason


def said_by(model: nn.Module, spec: str) -> Any:
    """Return what is passed over, where `down`, with a norm before the cells, is a site."""
    model.down = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
    found = composer.plan(model, spec)
    assert paths(found) == ["down.0"]
    return found.near_misses


@pytest.mark.long
def test_a_forward_that_cannot_be_traced() -> None:
    code, message, _ = said(lambda: composer.plan(net(Untraceable), WHOLE, stages="1..-1"))
    assert code == "no-sites"
    assert message.startswith(
        "none of the 14 convolutions matches; 4 passed over: the forward that calls it can't be "
        "traced ("
    )
    assert len(composer.plan(net(Untraceable), PLAIN).sites) == 14  # it needs no trace


def test_the_norm_alone() -> None:
    model = net(Functional)
    found = composer.plan(model, NORMED, init="identity", stages="1..-1")
    assert {site.note for site in found.sites} == {"its BatchNorm2d goes with it"}
    composed = composer.insert(model, NORMED, init="identity", stages="1..-1")
    assert type(composed.stage1[0]) is Functional
    assert torch.equal(run(composed, images()), run(model, images()))


class InItsOwnForward(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.stage2(self.down(self.stage1(F.relu(self.norm(self.stem(x))))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.forward_features(x).mean((2, 3)))


def test_the_models_own_forward_is_never_edited() -> None:
    """Its other methods, such as forward_features, would not know of it."""
    found = composer.plan(InItsOwnForward(), WHOLE)
    assert reasons(found)["stem"] == (
        "what follows it runs in the model's own forward, which is not edited"
    )
    assert len(found.sites) == 4


def test_what_was_edited_does_not_go() -> None:
    """The ReLU that ends a stage of VGG holds what was inserted there."""
    with torch.device("meta"):
        model = create_model("vgg11_bn", num_classes=3)
    edited = composer.insert(model, "eca", at="stage")
    found = composer.plan(edited, WHOLE)
    behind = [m.path for m in found.near_misses if m.reason == "something was inserted after it"]
    assert behind == [f"features.{n}" for n in (0, 4, 11, 18, 25)]
    assert paths(found) == ["features.8", "features.15", "features.22"]


# ------------------------------------------------------------------------------------ sharing


def test_a_router_for_each_block() -> None:
    model = net()
    found = composer.plan(model, "cond_conv", stages="1..-1")
    assert [shared.module for shared in found.shared] == [f"{c}.cond_conv" for c in CELLS]
    assert found.shared[1].users == tuple(f"stage1.1.conv{n}" for n in (1, 2, 3))
    assert (found.shared[0].channels, found.shared[0].parameters) == (8, 8 * 8 + 8)
    composed = composer.insert(model, "cond_conv", stages="1..-1")
    routers = [key for key in composed.state_dict() if ".logits." in key]
    assert routers == [
        f"{cell}.cond_conv.logits.linear.{name}" for cell in CELLS for name in ("weight", "bias")
    ]
    assert found.parameters_after == sum(p.numel() for p in composed.parameters())
    assert all(is_inserted(block.cond_conv) for block in composed.stage1)
    x = torch.randn(3, 8, 6, 6)
    block, values = composed.stage1[0], []
    block.conv3.register_forward_hook(lambda _, args, __: values.append(args[1]))
    y = block(x)
    assert torch.equal(values[0], block.cond_conv(x))
    h = block.act1(block.bn1(block.conv1(x, values[0])))
    h = block.act2(block.bn2(block.conv2(h, values[0])))
    torch.testing.assert_close(y, x + block.bn3(block.conv3(h, values[0])))


BOTH = f"""\
name: both
params: {{experts: 2}}
stands_for: conv2d
input: [b, c, h, w]
nodes:
  squeeze: {{op: pool, over: [h, w]}}
  logits:  {{op: linear, over: c, out: {{n: experts}}}}
  route:   {{op: gate, fn: softmax, over: n}}
  maps:    {{op: branch, x: input, axis: n, times: experts, each: {_CONV}false, norm: batch, act: relu}}}}
  out:     {{op: reweight, x: maps, by: route, sum: n}}
insert: {{at: conv, stages: 1..-1, match: {{kernel: 3}}, absorb: [norm, act], share: route}}
identity: {{nodes: {{maps: {{copies: kernel}}}}}}
"""  # noqa: E501


class WithOptions(Cell):
    """A forward that takes more than the map."""

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return super().forward(x) * scale


@pytest.mark.quick(1)
@pytest.mark.parametrize("cell", [Cell, Functional, OneRelu, WithOptions])
def test_sharing_and_absorbing_at_once(cell: type[nn.Module]) -> None:
    model = net(cell)
    composed = composer.insert(model, BOTH, init="identity", expect=4)
    assert type(composed.stage1[0].bn2) is nn.Identity
    assert type(composed.stage1[0]) is type(composed.stage2[1]) is not cell
    for mode in (False, True):
        one, other = (copy.deepcopy(m).train(mode) for m in (composed, model))
        torch.testing.assert_close(run(one, images()), run(other, images()), rtol=1e-5, atol=1e-6)
    same_bits(composer.eject(composed), model)


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def test_what_can_not_share() -> None:
    code, message, _ = said(lambda: composer.plan(net(Inner), "cond_conv", stages="1..-1"))
    assert (code, message) == (
        "no-sites",
        "none of the 10 convolutions matches; 8 passed over: the forward of its block does not "
        "call it directly",
    )


def test_what_is_shared_in_blocks_only() -> None:
    everywhere = COND.replace("insert: {at: conv, stages: -3..-1,", "insert: {at: conv,")
    assert everywhere != COND
    found = composer.plan(net(), everywhere)
    assert reasons(found) == {
        "stem": "it is not in a block that could share route",
        "down": "it is not in a block that could share route",
    }
    assert len(found.sites) == 12


COND = (Path(composer.__file__).parents[1] / "specs/cond_conv.yaml").read_text()


def test_a_name_that_is_taken() -> None:
    class Taken(Cell):
        cond_conv = None

    found = composer.plan(net(Taken), "cond_conv", stages="1..-1")
    assert {shared.name for shared in found.shared} == {"cond_conv_2"}


# ------------------------------------------------------------------------------------ attention


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    torch.manual_seed(0)
    return enlivened(create_model("vit_tiny_patch16_224", depth=2, num_classes=5)).eval()


def test_attention_modules(vit: nn.Module) -> None:
    found = composer.plan(vit, "mhsa")
    assert (found.at, paths(found)) == ("attention", ["blocks.0.attn", "blocks.1.attn"])
    site = found.sites[0]
    assert (site.layout, site.channels, site.size) == (("b", "n", "c"), 192, (197,))
    assert site.parameters == site.replaced == 4 * 192 * 192 + 4 * 192
    composed = composer.insert(vit, "mhsa")
    assert "blocks.0.attn.qkv.linear.weight" in composed.state_dict()
    assert composed(images(224)).shape == (2, 5)
    same_bits(composer.eject(composed), vit)


def test_the_heads_are_those_of_the_module(vit: nn.Module) -> None:
    code = composer.insert(vit, "mhsa").blocks[0].attn.code
    assert "3, 3, -1" in code.replace("(", "").replace(")", "")  # part, heads, d
    other = composer.insert(vit, "mhsa", params={"heads": 6}).blocks[0].attn.code
    assert "3, 6, -1" in other


def test_further_arguments_are_what_they_were(vit: nn.Module) -> None:
    """timm's blocks pass a mask, None; a stand-in takes that, and refuses another."""
    block = composer.insert(vit, "mhsa").blocks[0]
    x = torch.randn(1, 5, 192)
    assert torch.equal(block(x, attn_mask=None), block(x))
    with pytest.raises(ValueError, match="composed for attn_mask=None"):
        block(x, attn_mask=torch.zeros(5, 5))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"match": {"kernel": 3}}, (
            "invalid-match", "an attention module has no kernel", "match it by position or name")),
        ({"match": {"name": "attention"}}, (
            "no-sites",
            "none of the 2 attention modules matches: its name is 'attn', not 'attention'",
            "there are 2 of class Attention")),
        ({"at": "conv"}, (
            "not-a-stand-in",
            "'mhsa' does not stand for a convolution, so it can't replace one",
            "use at='attention', or write 'stands_for: conv2d' in the spec")),
    ],
    ids=str,
)  # fmt: skip
def test_what_it_says_of_attention(
    vit: nn.Module, choice: dict[str, Any], expected: tuple[str, str, str | None]
) -> None:
    assert said(lambda: composer.plan(vit, "mhsa", **choice)) == expected
    assert paths(composer.plan(vit, "mhsa", match={"position": -1})) == ["blocks.1.attn"]


@pytest.mark.long
def test_attention_that_takes_more_than_one_tensor() -> None:
    with torch.device("meta"):
        swin = create_model("swin_tiny_patch4_window7_224")
    found = composer.plan(swin, "mhsa")
    assert (len(found.sites), set(reasons(found).values())) == (7, {"it takes 2 tensors, not one"})


@pytest.mark.long
def test_attention_that_takes_its_input_as_query_key_and_value() -> None:
    torch.manual_seed(0)
    model = VisionTransformer(32, 8, 2, 4, 48, 96, num_classes=5).eval()
    plan = composer.plan(model, "mhsa")
    assert [(site.path, site.note) for site in plan.sites] == [
        (f"encoder.layers.encoder_layer_{n}.self_attention", "gives no attention weights")
        for n in range(2)
    ]
    composed = composer.insert(model, "mhsa").eval()
    layer, x = composed.encoder.layers[1].self_attention, torch.randn(1, 5, 48)
    theirs = model.encoder.layers[1].self_attention
    with torch.no_grad():
        layer.qkv.linear.weight.copy_(theirs.in_proj_weight)
        layer.qkv.linear.bias.copy_(theirs.in_proj_bias)
        layer.out.linear.load_state_dict(theirs.out_proj.state_dict())
    given, weights = layer(x, x, x, need_weights=False)
    assert weights is None
    assert torch.allclose(given, theirs(x, x, x, need_weights=False)[0], atol=1e-6)
    with pytest.raises(ValueError) as caught:
        layer(x, x + 1, x, need_weights=False)
    assert str(caught.value) == (
        "this layer was composed for key= the input itself but got a Tensor"
    )
    same_bits(composer.eject(composed), model)


def test_attention_whose_batch_comes_second() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 3)
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x).flatten(2).permute(2, 0, 1)
            x, _ = self.attention(x, x, x, need_weights=False)
            return self.head(x.mean(0))

    assert said(lambda: composer.plan(Late(), "mhsa")) == (
        "no-sites",
        "the only attention module does not match: it takes [n, b, c]: batch_first=False",
        "there is 1 of class MultiheadAttention",
    )  # fmt: skip


# ------------------------------------------------------------------------------ like a layer


def test_a_module_like_a_layer() -> None:
    conv = nn.Conv2d(6, 12, 5, 2, 4, 2, groups=3, bias=False)
    module = composer.build(PLAIN, like=conv)
    module.get_submodule("out.conv").load_state_dict(conv.state_dict())
    x = torch.randn(2, 6, 13, 9)
    assert torch.equal(module(x), conv(x))
    attention = composer.build("mhsa", like=Attention())
    assert attention.qkv.linear.weight.shape == (24, 8) and "2, -1" in attention.code
    assert composer.build("mhsa", like=nn.MultiheadAttention(6, 3)).qkv.linear.in_features == 6


@pytest.mark.parametrize(
    ("spec", "layer", "expected"),
    [
        ("se", nn.Conv2d(8, 8, 3), (
            "not-a-stand-in", "'se' does not stand for a layer, so it can't be built with `like`",
            "pass channels instead, or write 'stands_for: conv2d' in the spec")),
        ("sk", nn.Linear(8, 8), (
            "no-stand-in", "'sk' can't stand for this Linear: it is not an nn.Conv2d",
            "it stands for a square nn.Conv2d with zero padding")),
        ("sk", nn.Conv2d(8, 8, (1, 3)), (
            "no-stand-in", "'sk' can't stand for this Conv2d: its kernel is 1×3, not square",
            "it stands for a square nn.Conv2d with zero padding")),
        ("mhsa", nn.Linear(8, 8), (
            "no-stand-in", "'mhsa' can't stand for this Linear: it has no num_heads",
            "it stands for a module with num_heads")),
    ],
)  # fmt: skip
def test_a_layer_that_nothing_is_like(
    spec: str, layer: nn.Module, expected: tuple[str, str, str]
) -> None:
    assert said(lambda: composer.build(spec, like=layer)) == expected


# ------------------------------------------------------------------------------ several edits


@pytest.mark.quick(1)
@pytest.mark.parametrize("first", ["se", "sk"])
def test_edits_stack_in_either_order(first: str) -> None:
    model = create_model("resnext50_32x4d", num_classes=3, block_args={"attn_layer": None})
    model = enlivened(nn.Sequential(model.conv1, model.bn1, model.layer1)).eval()
    second = "se" if first == "sk" else "sk"
    once = composer.insert(model, first, at="block" if first == "se" else None)
    both = composer.insert(once, second, at="block" if second == "se" else None)
    assert is_stand_in(both[2][0].conv2)
    keys = {key.partition(".")[2] for key in both.state_dict() if key.startswith("2.0.")}
    assert any(".excite.fc1" in key for key in keys)
    block, x = both[2][0], torch.randn(2, 64, 8, 8)
    name = next(name for name, m in block.named_children() if is_inserted(m))
    h = block.act1(block.bn1(block.conv1(x)))
    h = block.get_submodule(name)(block.bn3(block.conv3(block.conv2(h))))
    torch.testing.assert_close(block(x), block.act3(h + block.downsample(x)))
    same_bits(composer.eject(both), model)


@pytest.mark.long
def test_router_and_squeeze_and_excitation_stack() -> None:
    model = net()
    one = composer.insert(composer.insert(model, "cond_conv", stages=2), "eca")
    other = composer.insert(composer.insert(model, "eca"), "cond_conv", stages=2)
    assert one.state_dict().keys() == other.state_dict().keys()
    other.load_state_dict(one.state_dict())
    assert torch.equal(run(one, images()), run(other, images()))
    for composed in (one, other):
        same_bits(composer.eject(composed), model)


@pytest.mark.slow
def test_a_stand_in_is_seen_as_the_layer_it_replaced() -> None:
    """Stages, blocks and branches are found as before; the same layer is not taken twice."""
    model = create_model("mobilenetv2_035", num_classes=3)
    edited = composer.insert(model, "dynamic_conv")
    before, after = composer.sites(model), composer.sites(edited)
    assert [(s.number, s.whole.path, [b.path for b in s.blocks]) for s in before.stages] == [
        (s.number, s.whole.path, [b.path for b in s.blocks]) for s in after.stages
    ]
    assert [b.positions for s in before.stages for b in s.blocks] == [
        b.positions for s in after.stages for b in s.blocks
    ]
    assert (before.convolutions, after.convolutions) == (52, 1)
    rest = composer.plan(edited, PLAIN)
    assert paths(rest) == ["conv_stem"]
    assert set(reasons(rest).values()) == {"it already has a stand-in"}


def test_the_channels_of_the_image_are_still_known() -> None:
    """The first convolution tells how many channels an image has, and what stands in for it."""
    model = nn.Sequential(nn.Conv2d(5, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
    edited = composer.insert(model, "dynamic_conv", match={"position": 1})
    edited = composer.insert(edited, PLAIN)
    assert all(is_stand_in(edited[n]) for n in (0, 3))


@pytest.mark.long
def test_what_is_inside_a_stand_in_is_not_the_backbones() -> None:
    edited = composer.insert(composer.insert(net(), "sk"), "bam", params={"min_width": 1})
    left = [p for p in ALL if not p.endswith("conv2")]
    found = composer.plan(edited, PLAIN)
    assert paths(found) == left
    assert sorted(reasons(found)) == [f"{cell}.conv2" for cell in CELLS]


@pytest.mark.long
def test_a_network_without_blocks_keeps_its_stages() -> None:
    """What counts before a fall of the resolution is the layer, whatever stands in for it."""
    with torch.device("meta"):
        model = create_model("vgg11_bn", num_classes=3)
    edited = composer.insert(model, "sk")
    wholes = [s.whole.path for s in composer.sites(model).stages]
    assert [s.whole.path for s in composer.sites(edited).stages] == wholes
    assert paths(composer.plan(model, PLAIN, stages=1)) == ["features.0"]
    assert paths(composer.plan(model, PLAIN, stages="-1")) == ["features.22", "features.25"]


def test_a_fall_inside_a_stand_in_ends_no_stage() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 1)
    )
    spec = PLAIN.replace("nodes:\n", "nodes:\n  wide: {op: conv2d, kernel: 1}\n")
    edited = composer.insert(model, spec, match={"stride": 2})
    assert [s.whole.path for s in composer.sites(model).stages] == ["1"]
    assert [s.whole.path for s in composer.sites(edited).stages] == ["1"]


class Projected(nn.Module):
    """A shortcut with a convolution of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.project = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu()) + self.project(x)


def test_the_branch_is_told_from_the_shortcut_as_before() -> None:
    """A stand-in has several layers inside, and weighs as the one that it replaced."""
    edited = composer.insert(net(Projected), "dynamic_conv", match={"name": "project"})
    block = composer.insert(edited, "eca", at="block", position="residual").stage1[0]
    x = torch.randn(2, 8, 6, 6)
    expected = block.eca(block.second(block.first(x).relu())) + block.project(x)
    torch.testing.assert_close(block(x), expected)


def test_a_small_map_is_not_a_pooled_value() -> None:
    """At its own size this network ends in one pixel, and in more on a larger image."""
    model = nn.Sequential(nn.Conv2d(3, 8, 32, 32), nn.ReLU(), nn.Conv2d(8, 8, 1))
    model.pretrained_cfg = {"input_size": (3, 32, 32)}  # type: ignore[assignment]
    assert paths(composer.plan(model, PLAIN)) == ["0", "2"]


# ----------------------------------------------------------------------------------- promises


class Attention(nn.Module):
    """Attention as libraries write it, with heads."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.qkv, self.proj = 2, nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, 4).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(y.transpose(1, 2).reshape(b, n, c))


class Tokens(nn.Module):
    """A network of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.attn, self.head = nn.Conv2d(3, 8, 8, 8), Attention(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.head((x + self.attn(x, mask=None)).mean(1))


KINDS = {
    "sk": lambda: composer.insert(net(OneRelu), "sk"),
    "split_attention": lambda: composer.insert(net(Functional), "split_attention"),
    "cond_conv": lambda: composer.insert(net(), "cond_conv", stages="1..-1"),
    "dynamic_conv": lambda: composer.insert(net(), "dynamic_conv", params={"min_width": 1}),
    "mhsa": lambda: composer.insert(Tokens(), "mhsa"),
}


@pytest.fixture(params=KINDS)
def composed(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return enlivened(KINDS[request.param]()).eval()


@pytest.mark.quick(1)
def test_a_copy_is_independent_and_equal(composed: nn.Module) -> None:
    other = copy.deepcopy(composed)
    assert torch.equal(run(other, images()), run(composed, images()))
    assert not {p.data_ptr() for p in composed.parameters()} & {
        p.data_ptr() for p in other.parameters()
    }
    kept = composer.eject(composed).state_dict()
    ejected = composer.eject(other, inplace=True)
    assert all(torch.equal(kept[key], tensor) for key, tensor in ejected.state_dict().items())
    assert any(is_stand_in(m) for m in composed.modules())


@pytest.mark.quick(1, then="long")
def test_a_gradient_reaches_every_parameter(composed: nn.Module) -> None:
    composed.train()(images(64)).square().sum().backward()
    without = [k for k, p in composed.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.long
@pytest.mark.quick(1)
def test_compiles_as_one_graph(composed: nn.Module) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(composed, fullgraph=True, backend="eager")
    for mode in (False, True):
        composed.train(mode)
        expected = run(copy.deepcopy(composed), images())
        torch.testing.assert_close(run(compiled, images()), expected)


@pytest.mark.quick(1)
def test_exports(composed: nn.Module) -> None:
    x = images()
    program = torch.export.export(composed, (x,))
    torch.testing.assert_close(run(program.module(), x), run(composed, x))


@pytest.mark.quick(1, then="long")
def test_half_precision_and_channels_last(composed: nn.Module) -> None:
    model = composer.eject(composed)
    spec = composed._composition.edits[0].spec
    changed = model.to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
    stages = "1..-1" if spec.name == "cond_conv" else None
    params = {"min_width": 1} if spec.name == "dynamic_conv" else {}
    again = composer.insert(changed, spec, stages=stages, params=params)
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
    assert run(again, images().to(torch.bfloat16)).isfinite().all()


def test_eject_follows_the_model() -> None:
    """A model that was moved to another dtype or mode is as if it had never been edited."""
    model = net()
    composed = composer.insert(model, WHOLE).to(torch.bfloat16).train()
    composed.stage1[0].eval()
    model = model.to(torch.bfloat16).train()
    model.stage1[0].eval()
    same_bits(composer.eject(composed), model)


def test_a_norm_in_another_precision_stays_so() -> None:
    model = net().to(torch.bfloat16)
    model.stage1[0].bn2.float()
    same_bits(composer.eject(composer.insert(model, WHOLE)), model)


# -------------------------------------------------------------------------------------- books


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(
    ("spec", "wish", "params"),
    [("sk", {}, {}), ("cond_conv", {"stages": "1..-1"}, {"experts": 2}),
     ("dynamic_conv", {"match": {"kernel": 3}, "stages": 2, "every": 3}, {"min_width": 1})],
)  # fmt: skip
def test_the_same_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, wish: Any, params: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NORMED_NET)
    model = enlivened(open_backbone(ModelString.parse("net.py:tiny"))).eval()
    composed = enlivened(
        composer.insert(model, spec, backbone="net.py:tiny", params=params, **wish), seed=5
    )
    own = composer.eject(composed)
    composer.save(composed, "it")
    assert sorted(path.name for path in Path("it").iterdir()) == [
        "model.safetensors", "recipe.yaml", "replaced.safetensors", "report.json", "report.md",
    ]  # fmt: skip
    loaded = composer.load("it", trust_code=True).eval()
    assert loaded.state_dict().keys() == composed.state_dict().keys()
    assert torch.equal(run(loaded, images(64)), run(composed, images(64)))
    assert composer.recipe(loaded) == composer.recipe(composed)
    again = composer.eject(loaded).state_dict()
    assert list(again) == list(own.state_dict())
    assert all(torch.equal(again[key], tensor) for key, tensor in own.state_dict().items())
    composer.save(loaded, "again")
    for name in ("recipe.yaml", "model.safetensors", "replaced.safetensors"):
        assert Path("again", name).read_bytes() == Path("it", name).read_bytes()


#: As the tests' tiny backbone, with a norm behind each convolution, and an activation too.
NORMED_NET = NET.replace(
    "return x + self.conv2(torch.relu(self.norm(self.conv1(x))))",
    "return x + self.conv2(self.act(self.norm(self.conv1(x))))",
).replace("        self.norm =", "        self.act = nn.ReLU(inplace=True)\n        self.norm =")


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NORMED_NET)
    return Command(capsys)


def test_the_recipe_tells_the_layers() -> None:
    composed = composer.insert(net(), WHOLE)
    edit = composed._composition.edits[0]
    assert [(s.path, s.name, s.position) for s in edit.sites] == [
        (f"{cell}.conv2", None, "replace") for cell in CELLS
    ]
    assert [path for path, _ in edit.sites[0].replaced] == [
        "stage1.0.conv2", "stage1.0.bn2", "stage1.0.act2",
    ]  # fmt: skip


@pytest.mark.long
def test_the_command_line(command: Command) -> None:
    args = ("insert", "--spec", "sk", "--into", "net.py:tiny")
    result = command.fine(*args)
    lines = result.out.splitlines()
    assert lines[0] == "sk (shipped)  (Selective Kernel convolution)"
    assert lines[1] == "net.py:tiny on 3×224×224: 4 sites"
    assert lines[5].split() == ["stage1.0.conv1", "replace", "16", "56×56", "6,272"]
    assert (
        "note: sk: its BatchNorm2d and ReLU go with it (4 places: stage1.0.conv1, stage1.1.conv1, "
        "stage2.0.conv1 and 1 more)" in lines
    )
    assert (
        "note: sk: passed over: no norm follows it, and sk includes its own (4 places: "
        "stage1.0.conv2, stage1.1.conv2, stage2.0.conv2 and 1 more)" in lines
    )
    found = command.fine(*args, "--force", "--json").json
    assert found["sites"][3] == {
        "path": "stage2.1.conv1", "position": "replace", "spec": "sk", "channels": 32,
        "size": [28, 28], "parameters": 21696, "init": "paper",
    }  # fmt: skip
    gone = sum(9 * c * c + c + 2 * c for c in (16, 16, 32, 32))
    new = sum(site["parameters"] for site in found["sites"])
    assert found["parameters"] == {"before": 49493, "after": 49493 - gone + new}
    report = json.loads(Path("tiny-sk/report.json").read_text())
    assert report == found
    text = Path("tiny-sk/report.md").read_text()
    assert "| `stage1.0.conv1` | replace | 16 | 56×56 | 6,272 |" in text


@pytest.mark.long
def test_flops_before_and_after(command: Command) -> None:
    """A convolution in place of a convolution costs the same."""
    Path("plain.yaml").write_text(PLAIN)
    found = command.fine("insert", "--spec", "plain.yaml", "--into", "net.py:tiny", "--json").json
    assert found["flops"]["before"] == found["flops"]["after"] > 0
    assert found["parameters"]["before"] == found["parameters"]["after"] == 49493
    stacked = command.fine(
        "insert", "--spec", "eca", "--into", "tiny-plain", "--json", "--trust-code"
    ).json
    assert stacked["parameters"]["before"] == 49493
    assert stacked["flops"]["before"] == found["flops"]["before"] < stacked["flops"]["after"]


@pytest.mark.long
def test_eject_on_the_command_line(command: Command) -> None:
    torch.manual_seed(0)
    state = enlivened(open_backbone(ModelString.parse("net.py:tiny"))).state_dict()
    save_file(state, "w.safetensors")
    command.fine("insert", "--spec", "sk", "--into", "net.py:tiny", "--weights", "w.safetensors")
    result = command.fine("eject", "tiny-sk", "--trust-code")
    assert result.out == (
        f"net.py:tiny without its insertions: {len(state)} tensors, written to tiny.safetensors\n"
    )
    ejected = load_file("tiny.safetensors")
    assert ejected.keys() == state.keys()
    assert all(torch.equal(ejected[key], tensor) for key, tensor in state.items())
    Path("tiny-sk/replaced.safetensors").unlink()
    lost = command("eject", "tiny-sk", "--force", "--trust-code")
    assert (lost.status, lost.err.splitlines()[0]) == (
        1, "tiny-sk/replaced.safetensors: error[weights]: there is no such file",
    )  # fmt: skip


@pytest.mark.long
def test_what_is_shared_is_told(command: Command) -> None:
    args = ("insert", "--spec", "cond_conv", "--into", "net.py:tiny", "--stages", "2")
    result = command.fine(*args, "--match", "kernel=3", "--dry-run")
    assert (
        "note: cond_conv: one for all that it replaces in a block, 528 parameters in total "
        "(2 places: stage2.0.cond_conv, stage2.1.cond_conv)" in result.out.splitlines()
    )
    found = command.fine(*args, "--json").json
    change = found["parameters"]["after"] - found["parameters"]["before"]
    new = sum(site["parameters"] for site in found["sites"]) + 2 * 264
    assert change == new - 4 * (32 * 32 * 9 + 32)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--match", "kernel"), (
            "error[usage]: --match 'kernel' is not K=V", "  help: write --match kernel=3")),
        (("--match", "kernal=3"), (
            "error[invalid-match]: unknown match key 'kernal'",
            "  help: did you mean 'kernel'? Keys: kernel, stride, dilation, groups, channels, out, "
            "depthwise, position, name")),
        (("--match", "kernel=3.5"), (
            "error[invalid-match]: kernel can't match 3.5",
            "  help: give a whole number from 1, or null for any")),
    ],
)  # fmt: skip
def test_wrong_use(command: Command, options: tuple[str, ...], expected: tuple[str, str]) -> None:
    result = command("insert", "--spec", "sk", "--into", "net.py:tiny", *options)
    assert (result.status, tuple(result.err.splitlines())) == (2, expected)


def test_match_on_the_command_line(command: Command) -> None:
    Path("plain.yaml").write_text(PLAIN.replace("{at: conv}", "{at: conv, match: {stride: 9}}"))
    args = ("insert", "--spec", "plain.yaml", "--into", "net.py:tiny", "--dry-run", "--json")
    found = command.fine(*args, "--match", "stride=null", "--match", "position=2..3").json
    assert [site["path"] for site in found["sites"]] == ["stage1.0.conv1", "stage1.0.conv2"]
    found = command.fine(*args, "--match", "stride=2", "--at", "conv").json
    assert [site["path"] for site in found["sites"]] == ["down"]


def test_sites_counts_what_can_be_replaced(command: Command) -> None:
    result = command.fine("sites", "net.py:tiny")
    assert result.out.splitlines()[-1] == (
        "a stand-in can replace 10 convolutions and 0 attention modules"
    )
    found = command.fine("sites", "net.py:tiny", "--json").json
    assert (found["convolutions"], found["attention_modules"]) == (10, 0)


# ------------------------------------------------------------------- the counts of the papers


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("backbone", "spec", "params", "sites", "expected"),
    [
        ("resnext50_32x4d", "sk", {}, 16, 27_479_784),
        ("torchvision:resnext50_32x4d", "sk", {}, 16, 27_479_784),
        ("resnet50d", "split_attention", {}, 16, 27_483_240),
        ("efficientnet_b0", "cond_conv", {"experts": 4}, 24, 13_314_116),
        ("resnet50", "bot_mhsa", {}, 3, 20_852_008),
        ("tf_efficientnet_lite0", "dynamic_conv", {"min_width": 1}, None, None),
        ("regnety_002", "sk", {}, 13, None),
    ],
)  # fmt: skip
def test_parameters(
    backbone: str, spec: str, params: Any, sites: int | None, expected: int | None
) -> None:
    with torch.device("meta"):
        model = open_backbone(ModelString.parse(backbone))
    found = composer.plan(model, spec, params=params, expect=sites)
    composed = composer.insert(model, spec, params=params, inplace=True)
    count = sum(p.numel() for p in composed.parameters())
    assert found.parameters_after == count
    assert expected in (None, count)
    ejected = composer.eject(composed, inplace=True)
    assert sum(p.numel() for p in ejected.parameters()) == found.parameters_before
