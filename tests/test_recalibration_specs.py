"""The gates that recalibrate: what libraries, special cases and plain networks say of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import timm
import torch
from probe import random, randomise
from timm.layers import EcaModule, GlobalContext, SEModule
from torch import Tensor, nn

from composer.certificate.agreement import agreement
from composer.certificate.claims import CLAIMS
from composer.certificate.claims.keys import BIASED, renamed
from composer.graph.frontend import load_spec
from composer.language.expressions import bind, parse
from composer.language.library import find_spec
from composer.lower.build import build
from composer.primitives.scale import Scale

OPEN = 1 / (1 + math.exp(-1))  # the sigmoid of 1, at which a gate begins whose bias does
SITES = ((256, 3), (512, 4), (1024, 6), (2048, 3))  # of ResNet-50: width, and how many blocks


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def drawn(name: str, channels: int, **params: int | float | str) -> nn.Module:
    """Return a spec's module in float64, no weight of which is 0 or 1."""
    return randomise(build(name, channels, params=params).double()).eval()


def gc_keys(branch: str) -> dict[str, str]:
    layers = {"reduce.linear": "fc1", "reduce.norm": "norm", "expand.linear": "fc2"}
    return {
        **renamed({"mask.conv": "conv_attn"}, BIASED),
        **renamed({ours: f"{branch}.{theirs}" for ours, theirs in layers.items()}, BIASED),
    }


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("fuse", ["add", "mul"])
def test_global_context_is_timms(fuse: str, mode: str) -> None:
    ours = drawn("global_context", 48, fuse=fuse).train(mode == "train")
    add = fuse == "add"
    theirs = GlobalContext(48, fuse_add=add, fuse_scale=not add, rd_ratio=1 / 16).double()
    with torch.no_grad():  # timm's layer norm leaves 1e-6 where torch's default, ours, is 1e-5
        theirs.get_submodule("mlp_add.norm" if add else "mlp_scale.norm").eps = 1e-5
    keys, state = gc_keys("mlp_add" if add else "mlp_scale"), ours.state_dict()
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    theirs.load_state_dict({b: state[a].reshape(shapes[b]) for a, b in keys.items()})
    x = random(3, 48, 6, 8)
    close(ours(x), theirs(x))


@pytest.mark.slow  # the library takes long to import
def test_scse_is_segmentation_models() -> None:
    modules = pytest.importorskip("segmentation_models_pytorch.base.modules")
    ours, theirs = drawn("scse", 48, reduction=16), modules.SCSEModule(48, 16).double()
    layers = {"excite.fc1": "cSE.1", "excite.fc2": "cSE.3", "project.conv": "sSE.0"}
    shapes, state = theirs.state_dict(), ours.state_dict()
    theirs.load_state_dict(
        {b: state[a].reshape(shapes[b].shape) for a, b in renamed(layers, BIASED).items()}
    )
    x = random(2, 48, 6, 8)
    close(ours(x), theirs(x))


def test_the_lowest_frequency_alone_is_se() -> None:
    """The paper's theorem: its component of the DCT is the mean, times 7 on a map of 7×7."""
    ours = drawn("fca", 48, parts=1, down=0, across=0)
    theirs = SEModule(48, rd_channels=3, bias=False).double()
    state = ours.state_dict()
    theirs.load_state_dict({
        "fc1.weight": 7 * state["excite.fc1.weight"][..., None, None],
        "fc2.weight": state["excite.fc2.weight"][..., None, None],
    })  # fmt: skip
    x = random(2, 48, 14, 21)
    close(ours(x), theirs(x))


def test_the_whole_map_may_be_transformed() -> None:
    """Beside its mirror images, a map of 7×7 has its own DCT again, at twice the frequencies."""
    small = random(2, 32, 7, 7)
    mirrored = torch.cat([small, small.flip(2)], 2)
    mirrored = torch.cat([mirrored, mirrored.flip(3)], 3)
    one, whole = drawn("fca", 32), drawn("fca", 32, size=14)
    with torch.no_grad():
        whole.get_submodule("excite.fc1").weight.div_(2)  # 4 times the values, by half
    gates = [module(x) / x for module, x in ((one, small), (whole, mirrored))]
    close(gates[0][..., :1, :1], gates[1][..., :1, :1])


@pytest.mark.parametrize("channels", [48, 256])
def test_mlca_without_its_local_gates_is_eca(channels: int) -> None:
    ours, theirs = drawn("mlca", channels, share=0), EcaModule(channels).double()
    theirs.load_state_dict({"conv.weight": ours.state_dict()["far.conv.weight"]})
    x = random(2, channels, 10, 15)  # so that the mean of local means is the mean
    close(ours(x), theirs(x))


def test_the_shuffle_takes_one_channel_of_each_half_in_turn() -> None:
    module, x = build("shuffle_attention", 24, params={"groups": 3}).double(), random(2, 24, 4, 4)
    even = [x[:, j] for j in range(12)]
    odd = [x[:, 12 + j] for j in range(12)]
    turns = torch.stack([half[j] for j in range(12) for half in (even, odd)], 1)
    close(module(x), OPEN * turns)


#: Each gate as it begins, by what the authors begin its weights at.
BEGINS = {"srm": 0.5, "gct": 1.0, "lct": OPEN, "sge": OPEN}


@pytest.mark.parametrize("name", BEGINS)
def test_a_gate_begins_as_the_authors_do(name: str) -> None:
    x = random(3, 128, 5, 4)
    close(build(name, 128).double()(x), BEGINS[name] * x)


def test_global_context_begins_as_nothing() -> None:
    x = random(3, 32, 5, 4)
    close(build("global_context", 32).double()(x), x)


def test_nam_begins_with_equal_shares() -> None:
    x = random(3, 32, 5, 4)
    module = build("nam", 32).double().eval()
    close(module(x), x * torch.sigmoid(x / (1 + 1e-5) ** 0.5 / 32))


def test_simam_leaves_one_pixel_its_gate_of_a_half() -> None:
    x = random(3, 32, 1, 1)
    close(build("simam", 32).double()(x), x * torch.sigmoid(torch.tensor(0.5).double()))


def test_scse_takes_the_larger_of_two_values_and_not_of_two_gates() -> None:
    module, x = drawn("scse", 32, combine="max"), random(2, 32, 5, 4)
    hidden = torch.relu(module.get_submodule("excite.fc1")(x.mean((2, 3))))
    channel = torch.sigmoid(module.get_submodule("excite.fc2")(hidden))[:, :, None, None]
    spatial = torch.sigmoid(module.get_submodule("project.conv")(x))
    close(module(x), torch.maximum(x * channel, x * spatial))


def with_each(of_width: Callable[[int], int], first: int = 0) -> int:
    """ResNet-50, and what each block of its stages gains by width."""
    return plain() + sum(times * of_width(width) for width, times in SITES[first:])


def plain() -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in timm.create_model("resnet50").parameters())


#: Counts of whole networks that are no paper's, worked out again from the plain network.
CLOSED = {
    "global_context": lambda: with_each(lambda c: c * c // 8 + 35 * c // 16 + 1, first=1),
    "srm": lambda: with_each(lambda c: 4 * c),
    "gct": lambda: with_each(lambda c: 3 * c),
    "lct": lambda: with_each(lambda c: 2 * c),
    "nam": lambda: with_each(lambda c: 2 * c),
    "fca": lambda: with_each(lambda c: 2 * c * (c // 16)),
    "sge": lambda: with_each(lambda _: 128),
    "mlca": lambda: with_each(lambda c: 14 if c == 2048 else 10),
    "shuffle_attention": lambda: with_each(lambda c: 6 * c // 128),
    "ema": lambda: with_each(lambda c: 10 * (c // 32) ** 2 + c // 8),
    "scse": lambda: plain() + sum(c * c + 5 * c // 2 + 1 for c, _ in SITES),
}


@pytest.mark.parametrize("name", CLOSED)
def test_counts_of_no_paper_follow_from_the_plain_network(name: str) -> None:
    assert f"{CLOSED[name]():,}" in [count.shown for count in CLAIMS[name].parameters]


@pytest.mark.parametrize(
    ("by", "label"), [("1 / 48.75", "× 0.02051"), ("0.125", "× 0.125"), ("h", "× h")]
)
def test_a_factor_is_said_in_four_digits(by: str, label: str) -> None:
    assert Scale(op="scale", by=bind(parse(by), {})).label() == label


#: A spec, what is broken in it, and what its certificate then says.
BROKEN = {
    "the-context-is-of-sigmoids": (
        "global_context", "fn: softmax, over: [h, w]", "fn: sigmoid", "first at 'attend'",
    ),
    "the-style-is-a-variance": ("srm", "reduce: std", "reduce: var", "first at 'deviation'"),
    "the-gate-is-around-two": ("gct", "of: [tanh, 1]", "of: [tanh, 2]", "first at 'gate'"),
    "all-channels-share-their-statistics": (
        "lct", "groups: groups, affine", "groups: 1, affine", "first at 'norm'",
    ),
    "a-frequency-is-another": ("fca", "60011451300032", "60011451300023", "first at 'squeeze'"),
    "a-frequency-is-as-high-across": (
        "fca", "105202006046352", "105202006046353", "first at 'squeeze'",
    ),
    "the-shares-are-of-a-half": ("nam", "x: gamma, fn: abs", "x: gamma, fn: relu", "'share'"),
    "the-two-maps-multiply": (
        "scse", "op: add, of: [cse", "op: mul, of: [cse", "the output differs",
    ),
    "the-variance-is-of-all": ("simam", "max(h * w - 1, 1)", "(h * w)", "first at 'inverse'"),
    "the-map-is-not-normed": (
        "sge", "{op: norm, fn: instance, over: [h, w]}",
        "{op: norm, fn: layer, over: g, affine: none}", "first at 'norm'",
    ),
    "the-line-is-of-maps": (
        "mlca", "axes: [h, w, c], into: n}", "axes: [c, h, w], into: n}", "first at 'near'",
    ),
    "nothing-is-shuffled": (
        "shuffle_attention", "axes: [e, half]", "axes: [half, e]", "the output differs",
    ),
    "each-branch-sees-its-own-key": (
        "ema", "of: [coarse, fine_key]", "of: [coarse, coarse_key]", "first at 'gate'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_goes_red_where_it_is(broken: str) -> None:
    name, old, new, said = BROKEN[broken]
    text = find_spec(name)[0]
    assert text.count(old) == 1, old
    passed, found = agreement(load_spec(text.replace(old, new)), CLAIMS[name].cases[0])
    assert not passed
    assert said in found
