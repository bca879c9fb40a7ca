"""``init="identity"`` of stand-ins: the model computes what it did, and every weight can learn."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import enlivened
from test_stand_in import CELLS, PLAIN, WHOLE, Attention, Cell, Tokens, images, net, run, said
from timm import create_model
from torch import Tensor, nn

import composer
from composer.certificate.claims import CLAIMS
from composer.graph.frontend import load_spec

PAPER = "exclude that site with --match or --select, or start as the paper does (--init paper)"


class Strided(Cell):
    """Without a shortcut, at half the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2 = nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act2(self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x))))))
        return self.bn3(self.conv3(y))


class Grouped(Cell):
    def __init__(self) -> None:
        super().__init__()
        self.conv2 = nn.Conv2d(4, 4, 3, 1, 1, groups=2)


def same(model: nn.Module, composed: nn.Module, within: float, size: int = 32) -> None:
    """Assert that two models give the same in both modes, and leave the same statistics."""
    for mode in (False, True):
        one, other = (copy.deepcopy(m).train(mode) for m in (model, composed))
        expected, got = run(one, images(size)), run(other, images(size))
        assert float((got - expected).abs().max()) <= within * float(expected.abs().max())
        kept, now = one.state_dict(), other.state_dict()
        for key in kept.keys() & now.keys():
            torch.testing.assert_close(now[key], kept[key], rtol=1e-4, atol=1e-4)


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("spec", "params", "wish", "within"),
    [
        ("sk", {}, {}, 1e-6),
        ("sk", {"branches": 3}, {}, 1e-6),
        ("split_attention", {"radix": 1}, {}, 1e-6),
        ("cond_conv", {}, {"stages": "1..-1"}, 2e-6),
        ("cond_conv", {"experts": 2}, {"stages": 2}, 2e-6),
        ("dynamic_conv", {"min_width": 1}, {}, 2e-6),
        ("dynamic_conv", {"min_width": 1}, {"match": {"kernel": 1}}, 2e-6),
        (PLAIN, {}, {}, 0.0),
        (WHOLE, {}, {"stages": "1..-1"}, 1e-6),
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", [Cell, Grouped, Strided])
def test_the_model_computes_what_it_did(
    cell: type[nn.Module], spec: str, params: Any, wish: Any, within: float
) -> None:
    model = net(cell)
    if cell is Strided and spec == "split_attention":
        wish = {"match": {"stride": 1}, "select": "down"}  # no site of it is left
        assert said(lambda: composer.insert(model, spec, **wish))[0] == "no-sites"
        return
    composed = composer.insert(model, spec, init="identity", params=params, **wish)
    same(model, composed, within)
    other = composer.insert(model, spec, init="paper", params=params, **wish)
    assert not torch.allclose(run(other, images()), run(model, images()), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "spec", "wish", "within"),
    [
        ("tf_efficientnet_lite0", "cond_conv", {"stages": "-3..-1", "match": {"kernel": 1}}, 1e-5),
        ("tf_efficientnet_lite0", "dynamic_conv", {"stages": "-3..-1", "match": {"kernel": 1}},
         1e-5),
        ("resnext50_32x4d", "sk", {}, 0.0),
    ],
    ids=["cond_conv", "dynamic_conv", "sk"],
)  # fmt: skip
def test_on_real_backbones(backbone: str, spec: str, wish: Any, within: float) -> None:
    """The same logits to 1e-5, on networks whose every norm is random."""
    torch.manual_seed(0)
    model = enlivened(create_model(backbone)).eval()
    composed = composer.insert(model, spec, init="identity", expect=16, **wish)
    before, after = run(model, images(96)), run(composed, images(96))
    assert before.std() > 0.1  # else anything would agree
    assert float((after - before).abs().max()) <= within


# ------------------------------------------------------------------------------ every way to begin


def test_the_live_branch_and_the_silent_one() -> None:
    """The silent branch is lost in rounding, and yet it learns."""
    model = net()
    composed = composer.insert(model, "sk", init="identity").train()
    split = composed.stage1[0].conv2.split
    live, silent = split.get_submodule("0"), split.get_submodule("1")
    assert torch.equal(live.conv.weight, model.stage1[0].conv2.weight)
    assert torch.equal(live.norm.weight, 2 * model.stage1[0].bn2.weight)
    assert torch.equal(live.norm.bias, 2 * model.stage1[0].bn2.bias)
    assert torch.equal(silent.norm.weight, torch.full((4,), 2.0**-100))
    assert not silent.norm.bias.any() and silent.conv.weight.any()
    composed(images()).square().mean().backward()
    gradients = [part.norm.weight.grad.abs().max().item() for part in (live, silent)]
    assert gradients[1] > 1e-3 * gradients[0] > 0
    torch.optim.SGD(composed.parameters(), lr=1.0).step()
    assert silent.norm.weight.abs().max().item() > 1e-6  # it is heard from the first step on


@pytest.mark.long
def test_a_silent_branch_in_half_precision() -> None:
    """What float16 can't hold becomes its smallest number, not zero, where ReLU would be dead."""
    composed = composer.insert(net().half(), "sk", init="identity")
    silent = composed.stage1[0].conv2.split.get_submodule("1").norm.weight
    assert torch.equal(silent, torch.full((4,), 2.0**-24, dtype=torch.float16))


def test_experts_differ_and_their_mean_is_the_kernel() -> None:
    """Equal experts under equal routing would get equal gradients for ever."""
    model = net()
    composed = composer.insert(model, "cond_conv", init="identity", stages="1..-1").train()
    block, kernel = composed.stage1[0], model.stage1[0].conv2.weight
    experts = block.conv2.kernels.unflatten(1, kernel.shape)
    torch.testing.assert_close(experts.mean(0), kernel, rtol=1e-5, atol=1e-6)
    noise = (experts - kernel).square().mean().sqrt() / kernel.square().mean().sqrt()
    assert 0.03 < noise.item() < 0.07
    router = block.cond_conv
    assert not router.logits.linear.weight.any()
    assert torch.allclose(router.logits.linear.bias, torch.full((8,), -math.log(7)))
    torch.testing.assert_close(router(torch.randn(2, 8, 4, 4)), torch.full((2, 8), 1 / 8))
    optimizer = torch.optim.SGD(composed.parameters(), lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        composed(images()).square().mean().backward()
        optimizer.step()
    routed = router.logits.linear.weight.detach()
    apart = (routed - routed[:1]).abs().amax(1)[1:]
    assert float(apart.min()) > 1e-2 * float(routed.abs().max())


def test_experts_under_a_router_as_published_are_copies() -> None:
    model = net()
    composed = composer.insert(model, "dynamic_conv", init="identity", params={"min_width": 1})
    stand_in, conv = composed.stage1[0].conv1, model.stage1[0].conv1
    assert all(torch.equal(expert.view_as(conv.weight), conv.weight) for expert in stand_in.kernels)
    assert all(torch.equal(expert, conv.bias) for expert in stand_in.biases)
    assert stand_in.logits.fc2.weight.any()


def test_a_norm_is_taken_over_with_its_settings() -> None:
    """A bias before it moves its mean; eps and momentum are its own."""
    model = net(Grouped)
    norm = model.stage1[0].bn2
    norm.eps, norm.momentum = 0.25, 0.5
    composed = composer.insert(model, WHOLE, init="identity", stages=1)
    taken = composed.stage1[0].conv2.out.norm
    assert (taken.eps, taken.momentum) == (0.25, 0.5)
    assert torch.equal(taken.running_var, norm.running_var)
    bias = model.stage1[0].conv2.bias
    torch.testing.assert_close(taken.running_mean, norm.running_mean - bias)
    same(model, composed, 2e-6)


def test_a_norm_without_weights() -> None:
    model = net()
    model.stage1[0].bn2 = nn.BatchNorm2d(4, affine=False)
    composed = composer.insert(model, WHOLE, init="identity", stages=1)
    assert torch.equal(composed.stage1[0].conv2.out.norm.weight, torch.ones(4))
    same(model, composed, 0.0)


def test_attention_takes_its_layers() -> None:
    torch.manual_seed(0)
    model = Tokens().eval()
    composed = composer.insert(model, "mhsa", init="identity")
    assert torch.equal(composed.attn.qkv.linear.weight, model.attn.qkv.weight)
    assert torch.equal(composed.attn.out.linear.bias, model.attn.proj.bias)
    assert torch.equal(run(composed, images()), run(model, images()))
    model.attn.qkv = nn.Linear(8, 24, bias=False)
    composed = composer.insert(model, "mhsa", init="identity")
    assert not composed.attn.qkv.linear.bias.any()
    assert torch.equal(run(composed, images()), run(model, images()))


def test_it_comes_back_from_disk(tmp_path: Path) -> None:
    """What is no tensor, such as a norm's eps, is made again by the recipe."""
    file = tmp_path / "net.py"
    file.write_text(
        "import torch\nfrom torch import nn\n\n\n"
        "def make():\n"
        "    def block():\n"
        "        return nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8, eps=0.3), "
        "nn.ReLU(), nn.Conv2d(8, 8, 1))\n"
        "    stem = nn.Conv2d(3, 8, 4, 4)\n"
        "    return nn.Sequential(stem, nn.Sequential(block(), block()), nn.Conv2d(8, 8, 1))\n"
    )
    composed = composer.insert(f"{file}:make", "sk", init="identity").eval()
    assert composed[1][0][0].split.get_submodule("0").norm.eps == 0.3
    composer.save(composed, tmp_path / "it")
    loaded = composer.load(tmp_path / "it", trust_code=True).eval()
    assert loaded[1][0][0].split.get_submodule("0").norm.eps == 0.3
    assert torch.equal(run(loaded, images()), run(composed, images()))


# ---------------------------------------------------------------------------------- what it refuses


def changed(norm: nn.Module | None = None, act: nn.Module | None = None) -> nn.Module:
    model = net()
    if norm is not None:
        model.stage1[0].bn2 = norm
    if act is not None:
        model.stage1[0].act2 = act
    return model


class Normed(Attention):
    """Attention that does more than the spec."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(nn.functional.layer_norm(x, (8,)), mask)


def tokens(attention: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    model = Tokens()
    model.attn = attention  # type: ignore[assignment]
    return model


class Dropped(Attention):
    """Attention that drops what it gives, in training alone."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return nn.functional.dropout(super().forward(x, mask), 0.5, self.training)


class Unlike(Attention):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Sequential(nn.Linear(8, 24))  # type: ignore[assignment]


LIES = WHOLE.replace("{copies: kernel}", "{copies: kernel, times: 3}").replace("whole", "lies")
NEVER = WHOLE.replace("identity: {", "identity: {requires: {stride > 1: it is strided}, ")
OTHER_GROUPS = PLAIN.replace("groups: groups", "groups: 1").replace("plain", "dense")


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("make", "spec", "wish", "message", "way_out"),
    [
        (net, "bot_mhsa", {"at": "conv", "stages": "1..-1", "params": {"heads": 1}},
         "'bot_mhsa' has no state in which it computes the convolution that it replaces",
         "start as the paper does (--init paper)"),
        (net, "split_attention", {},
         "'split_attention' cannot start as stage1.0.conv2: each split sees only its share of the "
         "input channels, so a kernel that sees all of them has no place in it",
         "choose params for which 'radix == 1' holds, " + PAPER),
        (net, "split_attention", {"params": {"radix": 1, "cardinality": 2}},
         "'split_attention' cannot start as stage1.0.conv2: the pretrained kernel has other "
         "groups", "choose params for which 'cardinality == groups' holds, " + PAPER),
        (lambda: net(Strided), "split_attention", {"params": {"radix": 1}},
         "'split_attention' cannot start as stage1.0.conv2: a strided site averages the map after "
         "the convolution", PAPER),
        (net, "cond_conv", {"stages": 1, "params": {"experts": 1}},
         "'cond_conv' cannot start as stage1.0.conv1: one sigmoid is never 1",
         "choose params for which 'experts > 1' holds, " + PAPER),
        (lambda: changed(act=nn.SiLU()), "sk", {},
         "'sk' cannot start as stage1.0.conv2: its activation is SiLU, but that of the node "
         "'split' is relu", PAPER),
        (lambda: changed(norm=nn.GroupNorm(2, 4)), "sk", {},
         "'sk' cannot start as stage1.0.conv2: its norm is a GroupNorm, but that of the node "
         "'split' keeps statistics", PAPER),
        (lambda: changed(norm=nn.BatchNorm2d(4, track_running_stats=False)), "sk", {},
         "'sk' cannot start as stage1.0.conv2: its norm is a BatchNorm2d, but that of the node "
         "'split' keeps statistics", PAPER),
        (net, WHOLE.replace("norm: batch", "norm: layer"), {"stages": 1},
         "'whole' cannot start as stage1.0.conv2: its norm keeps statistics, but that of the node "
         "'out' does not", PAPER),
        (net, WHOLE.replace("norm: batch", "norm: {fn: batch, affine: false}"), {"stages": 1},
         "'whole' cannot start as stage1.0.conv2: its norm has weights, but that of the node 'out' "
         "has none", PAPER),
        (net, NEVER, {"stages": 1},
         "'whole' cannot start as stage1.0.conv2: it is strided", PAPER),
        (lambda: net(Grouped), OTHER_GROUPS, {"match": {"groups": 2}},
         "'dense' cannot start as stage1.0.conv2: its weights are 4×2×3×3, but those of the node "
         "'out' are 4×4×3×3", PAPER),
        (lambda: tokens(Unlike()), "mhsa", {},
         "'mhsa' cannot start as attn: it has no linear layer 'qkv' for the node 'qkv'", PAPER),
    ],
)  # fmt: skip
def test_what_cannot_begin_so(
    make: Callable[[], nn.Module], spec: str, wish: Any, message: str, way_out: str
) -> None:
    model = make()
    before = copy.deepcopy(model)
    found = said(lambda: composer.insert(model, spec, init="identity", inplace=True, **wish))
    assert found == ("no-identity", message, way_out)
    assert [type(m) for m in model.modules()] == [type(m) for m in before.modules()]
    composer.insert(model, spec, init="paper", **wish)  # which is possible


@pytest.mark.parametrize(
    ("make", "spec", "start"),
    [
        (lambda: tokens(Dropped()), "mhsa",
         "'mhsa' cannot start as attn: in training mode it differs by "),
        (net, LIES, "'lies' cannot start as stage1.0.conv2: in evaluation mode it differs by "),
        (lambda: tokens(Normed()), "mhsa",
         "'mhsa' cannot start as attn: in evaluation mode it differs by "),
    ],
)  # fmt: skip
def test_a_difference_is_told_with_its_figure(
    make: Callable[[], nn.Module], spec: str, start: str
) -> None:
    """However a spec says to begin, what comes of it is run against the original."""
    model = make()
    wish: Any = {"stages": 1} if spec is LIES else {}
    code, message, way_out = said(lambda: composer.insert(model, spec, init="identity", **wish))
    assert (code, way_out) == ("no-identity", PAPER)
    assert message.startswith(start)
    figures = message.removeprefix(start).split(", with values up to ")
    assert float(figures[0]) > 0.01 and float(figures[1]) > 0.01


def test_a_dry_run_tells_the_refusal_too() -> None:
    code, message, _ = said(lambda: composer.plan(net(), "split_attention", init="identity"))
    assert code == "no-identity" and "cannot start as stage1.0.conv2" in message


def test_specs_that_stand_for_nothing_begin_as_before() -> None:
    model = net()
    composed = composer.insert(composer.insert(model, "sk", init="identity"), "eca",
                               init="identity")  # fmt: skip
    assert [block.eca.get_parameter("blend").item() for block in composed.stage1] == [0.0, 0.0]
    same(model, composed, 0.0)
    assert len(CELLS) == len(composed._composition.edits[1].sites)


@pytest.mark.parametrize("size", [None, (6, 6)])
@pytest.mark.parametrize(
    ("spec", "conv"),
    [
        ("cond_conv", nn.Conv2d(6, 8, 3, 2, 1)),
        ("cond_conv", nn.Conv2d(6, 8, 1, bias=False)),
        ("dynamic_conv", nn.Conv2d(8, 8, 5, padding=4, dilation=2, groups=4)),
    ],
    ids=str,
)
def test_build_begins_as_the_layer(
    spec: str, conv: nn.Conv2d, size: tuple[int, int] | None
) -> None:
    module = composer.build(spec, like=conv, size=size, init="identity")
    x = torch.randn(2, conv.in_channels, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(module(x), conv(x), rtol=1e-5, atol=1e-5)
    assert any(p.std() > 0 for p in module.parameters())


def test_build_begins_as_a_layer_only_where_it_can() -> None:
    assert said(lambda: composer.build("sk", like=nn.Conv2d(8, 8, 3, 1, 1), init="identity")) == (
        "no-identity",
        "'sk' cannot start as this Conv2d: the node 'split' has a norm, but the convolution has "
        "none after it",
        PAPER,
    )


def test_stand_ins_take_the_memory_format_of_images() -> None:
    """Torch refuses it of tensors with five axes, which experts' kernels would have."""
    composed = composer.insert(net(), "cond_conv", stages="1..-1").eval()
    expected = run(composed, images())
    composed = composed.to(memory_format=torch.channels_last)
    got = run(composed, images().to(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", [name for name, claim in CLAIMS.items() if claim.cases[0].conv is None]
)
def test_what_starts_as_the_identity_leaves_it_in_training(name: str) -> None:
    """Also a mechanism whose paper starts there: a second zero around it would hold it forever."""
    case = CLAIMS[name].cases[0]
    size = (14, 14) if case.sized else None
    channels = 192 if name == "outlook" else max(64, case.width)  # six heads
    torch.manual_seed(0)
    module = composer.build(
        name, channels=channels, size=size, params=case.params, init="identity"
    ).train()
    sizes = {"b": 3, "c": channels, "h": 14, "w": 14, "n": 14 * 14}
    x = torch.randn([sizes[axis] for axis in load_spec(name).input])
    assert torch.equal(module(x), x)
    wanted = torch.randn_like(x)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        ((module(x) - wanted) ** 2).mean().backward()
        optimizer.step()
    assert not torch.equal(module(x), x)
