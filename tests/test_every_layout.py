"""One spec in every layout, and every place of a block: NCHW, NHWC, tokens with prefix tokens."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import enlivened
from probe import random, randomise
from timm import create_model
from torch import Tensor, nn

import composer
from composer.artifact.learning import learning
from composer.artifact.run import Verification
from composer.errors import ComposerError
from composer.graph.frontend import load_spec
from composer.lower.build import build
from composer.lower.grid import grid
from composer.models.model_string import ModelString
from composer.models.open import open_backbone

SIZE, C = (4, 6), 32
SPECS = ["se", "se_var3", "ese", "eca", "cbam", "bam", "ge_theta_minus", "ge_theta",
         "ge_theta_plus", "mhsa", "sa"]  # fmt: skip
TWICE = "name: twice\ninput: [b, c, h, w]\nnodes: {out: {op: add, of: [input, input]}}\n"
PLUS = """\
name: plus
input: [b, c, h, w]
nodes:
  one: {op: parameter, axes: {}, init: 1}
  out: {op: add, of: [input, one]}
"""


def pair(spec: str, layout: tuple[str, ...], prefix: int, init: str) -> tuple[Any, Any]:
    """Return a spec on [b, c, h, w], and with the same weights in another layout."""
    size = None if "n" in load_spec(spec).input and "n" in layout else SIZE
    options: Any = {"params": {"min_width": 1} if "min_width" in load_spec(spec).params else {}}
    options["init"] = init
    plain = build(spec, C, size=SIZE, layout=("b", "c", "h", "w"), **options).double()
    other = build(spec, C, size=size, layout=layout, prefix=prefix, **options).double()
    randomise(plain)
    other.load_state_dict(plain.state_dict())
    return plain, other


@pytest.mark.quick(50)
@pytest.mark.parametrize("init", ["paper", "identity"])
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    ("layout", "prefix"), [("bhwc", 0), ("bnc", 0), ("bnc", 1), ("bnc", 5), ("bcn", 2)]
)
def test_the_same_numbers_in_every_layout(spec: str, layout: str, prefix: int, init: str) -> None:
    plain, other = pair(spec, tuple(layout), prefix, init)
    x, before = random(3, C, *SIZE), random(3, prefix, C, seed=1)
    for training in (False, True):
        one, two = (copy.deepcopy(m).train(training) for m in (plain, other))
        expected = one(x)
        if layout == "bhwc":
            got = two(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        else:
            tokens = torch.cat([before, x.flatten(2).mT], 1)
            got = two(tokens if layout == "bnc" else tokens.mT)
            got = got if layout == "bnc" else got.mT
            assert torch.equal(got[:, :prefix], before)
            got = got[:, prefix:].mT.unflatten(2, SIZE)
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("given", "expected"),
    [((24, 4, 6), (4, 6)), ((96, 4, 6), (8, 12)), ((6, 4, 6), (2, 3)), ((49, 14, 14), (7, 7)),
     ((25, 4, 6), None), ((48, 4, 6), None), ((0, 4, 6), None), ((50, 14, 14), None)],
)  # fmt: skip
def test_a_grid_of_another_size(given: tuple[int, int, int], expected: Any) -> None:
    if expected is not None:
        assert grid(*given) == expected
        return
    with pytest.raises(
        ValueError, match=f"^{given[0]} tokens do not form a grid of the aspect ratio"
    ):
        grid(*given)


def test_tokens_of_a_larger_image() -> None:
    plain, other = pair("cbam", ("b", "n", "c"), 1, "paper")
    x = random(2, C, 8, 12)
    got = other.eval()(torch.cat([random(2, 1, C, seed=1), x.flatten(2).mT], 1))
    expected = plain.eval()(x).flatten(2).mT
    torch.testing.assert_close(got[:, 1:], expected, rtol=1e-10, atol=1e-10)


def test_prefix_tokens_that_take_part() -> None:
    """SE over all tokens: the mean and the gate are of the class token, too."""
    vit = create_model("test_vit").eval()
    joined = composer.insert(vit, "se", prefix_tokens="join", params={"reduction": 4})
    module = joined.blocks[0].se
    x = torch.randn(2, 101, 64)
    w1, b1, w2, b2 = module.state_dict().values()
    gate = torch.sigmoid(torch.relu(x.mean(1) @ w1.T + b1) @ w2.T + b2)
    torch.testing.assert_close(module(x), x * gate[:, None])
    larger = torch.randn(2, 26, 64)
    assert module(larger).shape == larger.shape


WRONG = [
    (lambda: build("se", 8, layout=("b", "n", "c")), "missing-size",
     "'se' needs the height and width of the map that the tokens represent",
     "pass them, as in build('se', channels=64, size=(14, 14))"),
    (lambda: build("se", 8, prefix=1), "invalid-layout",
     "the layout ['b', 'c', 'h', 'w'] has no axis for 1 prefix tokens", "write layout=('b', 'n', 'c')"),  # noqa: E501
    (lambda: build("se", 8, size=(2, 2), layout=("b", "n", "c"), prefix=-1), "invalid-size",
     "prefix is -1, not a whole number from 0", None),
    (lambda: composer.plan("test_vit", "cbam", prefix_tokens="join"), "no-place",
     "'spatial.locate' uses neighbours in a map, and prefix tokens have none",
     "let them pass: prefix_tokens='pass'"),
    (lambda: composer.plan("test_vit", "se", position="residual:conv"), "no-sites",
     "none of the 6 blocks matches: it has no residual branch 'conv', but 1 (norm1, attn, ls1, "
     "drop_path1) and 2 (norm2, mlp, ls2, drop_path2)", "there are stage 1 blocks.5 (6 blocks)"),
    (lambda: composer.plan("test_vit", "se", position="after:conv"), "no-sites",
     "none of the 6 blocks matches: it has no child 'conv', but norm1, attn, ls1, drop_path1, "
     "norm2, mlp, ls2 and drop_path2", "there are stage 1 blocks.5 (6 blocks)"),
    (lambda: composer.plan("test_resnet", "se", position="after:conv9", blocks=1, stages=1),
     "no-sites", "none of the 4 blocks matches; 1 passed over: it has 2 convolutions, and no conv9",
     "there are stage 1 layer1 (1 block), stage 2 layer2 (1 block), stage 3 layer3 (1 block), "
     "stage 4 layer4 (1 block)"),
]  # fmt: skip


@pytest.mark.quick(5, then="long")
@pytest.mark.parametrize(("call", "code", "message", "way_out"), WRONG)
def test_what_it_says(
    call: Callable[[], Any], code: str, message: str, way_out: str | None
) -> None:
    with pytest.raises(ComposerError) as failure:
        call()
    found = failure.value.diagnostics[0]
    assert (found.code, found.message, found.help) == (code, message, way_out)


# ------------------------------------------------------------------------------- places in a block


def of_places(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return what f does to tokens behind the class token."""
    return lambda x: torch.cat([x[:, :1], f(x[:, 1:])], 1)


def vit_block(b: Any, x: Tensor, at: dict[str, Callable[[Tensor], Tensor]]) -> Tensor:
    """Return what a block of timm's ViT gives, with functions at some of its places."""

    def put(name: str, value: Tensor) -> Tensor:
        return at.get(name, lambda v: v)(value)

    x = put("input", x)
    attended = put("after:attn", b.attn(put("after:norm1", b.norm1(x))))
    x = x + put("residual:1", attended)
    hidden = put("after:mlp.fc1", b.mlp.fc1(b.norm2(x)))
    x = x + put("residual:2", b.mlp.fc2(b.mlp.act(hidden)))
    return put("output", x)


SPELT = {
    "residual": "residual:2", "residual:mlp": "residual:2", "residual:attn": "residual:1",
    "residual_attn": "residual:1", "after_attn": "after:attn",
}  # fmt: skip


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "position",
    ["residual:1", "residual:2", *SPELT, "input", "output", "after:attn", "after:norm1",
     "after:mlp.fc1"],
)  # fmt: skip
def test_places_of_a_vit_block(position: str) -> None:
    vit = enlivened(create_model("test_vit")).eval()
    place = SPELT.get(position, position)
    twice, plus = of_places(lambda x: x + x), of_places(lambda x: x + 1)
    x = torch.randn(2, 101, 64)
    one = composer.insert(vit, TWICE, position=position)
    both = composer.insert(one, PLUS, position=position)
    block = vit.blocks[0]
    with torch.no_grad():
        torch.testing.assert_close(one.blocks[0](x), vit_block(block, x, {place: twice}))
        after = vit_block(block, x, {place: lambda v: plus(twice(v))})
        torch.testing.assert_close(both.blocks[0](x), after)  # two at one place keep their order
        image = torch.randn(1, 3, 160, 160)
        assert torch.equal(composer.eject(both)(image), vit(image))
    plan = composer.plan(vit, TWICE, position=position)
    spelt = {place, position.replace("_", ":"), "after:fc1"}
    assert {site.position for site in plan.sites} <= spelt


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "choice",
    [{"position": "residual:attn"}, {"position": "input"}, {"position": "after:attn.proj"},
     {"at": "stem"}, {"at": "head"}, {"at": "module", "select": "re:blocks\\.[24]\\.mlp"},
     {"prefix_tokens": "join"}],
    ids=str,
)  # fmt: skip
def test_the_same_comes_back(choice: dict[str, Any], tmp_path: Path) -> None:
    composed = composer.insert("test_vit", "se", params={"reduction": 4}, **choice).eval()
    composer.save(composed, tmp_path / "it")
    loaded = composer.load(tmp_path / "it").eval()
    image = torch.randn(1, 3, 160, 160)
    assert loaded.state_dict().keys() == composed.state_dict().keys()
    assert torch.equal(loaded(image), composed(image))


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 1))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x + self.conv(x if mask is None else x * mask)


def test_the_input_is_what_the_forward_names_first() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.one, self.two = nn.Conv2d(3, 8, 3), Named(), Named()

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.two(self.one(mask=x[:, :1], x=x))

    plan = composer.plan(Net(), TWICE, at="block", position="input")
    assert [site.path for site in plan.sites] == ["two"]
    assert [(m.path, m.reason) for m in plan.near_misses] == [
        ("one", "its input is not the first argument of its forward")
    ]


LAZY = nn.Sequential(nn.Conv2d(3, 8, 3), nn.LazyConv2d(8, 3))


def test_a_model_that_has_not_seen_an_image() -> None:
    with pytest.raises(ComposerError) as failure:
        composer.plan(LAZY, "se")
    found = failure.value.diagnostics[0]
    assert (found.code, found.message, found.help) == (
        "lazy-model",
        "1 is a LazyConv2d that has not seen an image, so its sizes are not known",
        "first run the model once on a batch of images",
    )


def test_a_model_that_cannot_be_copied() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
    model.cached = model[0].weight * 2  # as a forward pass leaves it: a constant in the copy
    assert torch.equal(composer.insert(model, "eca", at="stage").cached, model.cached)
    model.lock = threading.Lock()
    with pytest.raises(ComposerError) as failure:
        composer.insert(model, "eca", at="stage")
    found = failure.value.diagnostics[0]
    assert (found.code, found.message, found.help) == (
        "no-copy",
        "this Sequential can't be copied: cannot pickle '_thread.lock' object",
        "give a fresh model, or edit this one: inplace=True",
    )


def test_what_nothing_reads_is_told(tmp_path: Path) -> None:
    """Behind the last block only the class token goes on."""
    vit = composer.insert("test_vit", "se", params={"reduction": 4})
    assert learning(vit, Verification.of(vit, None)).unread == ("blocks.5.se",)
    joined = composer.insert("test_vit", "se", params={"reduction": 4}, prefix_tokens="join")
    assert learning(joined, Verification.of(joined, None)).unread == ()


class Opaque(nn.Module):
    """A block whose forward hangs on values, so that it can't be traced."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        if y.shape[0] > 10**6 or bool(torch.is_grad_enabled() and x.shape[0] > 10**6):
            y = -y
        for _ in range(int(x.shape[2] > 0)):
            y = self.conv2(y)
        return x + y


def test_places_of_a_block_that_cannot_be_traced() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), Opaque(8), Opaque(8)).eval()
    x, block = torch.randn(2, 8, 5, 5), model[1]
    expected = {
        "input": lambda: block(1 + 2 * x),
        "output": lambda: 1 + 2 * block(x),
        "after:conv1": lambda: x + block.conv2(1 + 2 * block.conv1(x)),
    }
    for position, formula in expected.items():
        one = composer.insert(model, TWICE, at="block", position=position)
        both = composer.insert(one, PLUS, at="block", position=position)
        with torch.no_grad():
            torch.testing.assert_close(both[1](x), formula())
        back = composer.eject(both)
        assert type(back[1]) is Opaque and torch.equal(back[1](x), block(x))


SELECTED = [
    ("layer1.0", ["layer1.0"]),
    ("layer[12].0", ["layer1.0", "layer2.0"]),
    ("re:layer[12]\\.0", ["layer1.0", "layer2.0"]),
    ("re:layer1", []),
    ("*.0", ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]),
]


@pytest.mark.quick(2)
@pytest.mark.parametrize(("pattern", "paths"), SELECTED)
def test_paths_are_selected(pattern: str, paths: list[str]) -> None:
    def plan() -> list[str]:
        found = composer.plan("test_resnet", "eca", select=pattern)
        return [site.path for site in found.sites]

    if paths:
        assert plan() == paths
    else:
        with pytest.raises(ComposerError):
            plan()


MODULES = [
    ("test_resnet", "stem", None, [("maxpool", "output", 32)]),
    ("test_resnet", "head", None, [("layer4", "output", 96)]),
    ("test_vit", "stem", None, [("norm_pre", "output", 64)]),
    ("test_vit", "head", None, [("norm", "output", 64)]),
    ("test_resnet", "module", "layer1.0.conv1", [("layer1.0.conv1", "output", 32)]),
    ("test_vit", "module", "re:blocks\\.[01]\\.attn",
     [("blocks.0.attn", "output", 64), ("blocks.1.attn", "output", 64)]),
]  # fmt: skip


@pytest.mark.quick(2)
@pytest.mark.parametrize(("model", "at", "select", "expected"), MODULES)
def test_places_outside_blocks(
    model: str, at: Any, select: str | None, expected: list[tuple[str, str, int]]
) -> None:
    net = enlivened(create_model(model)).eval()
    plan = composer.plan(net, PLUS, at=at, select=select)
    assert [(s.path, s.position, s.channels) for s in plan.sites] == expected
    composed = composer.insert(net, PLUS, at=at, select=select)
    seen: dict[str, list[Tensor]] = {}
    for name, one in (("before", net), ("after", composed)):
        path = expected[0][0]
        one.get_submodule(path).register_forward_hook(
            lambda *call, name=name: seen.setdefault(name, []).append(call[2])
        )
        with torch.no_grad():
            one(torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0)))
    before, after = seen["before"][0], seen["after"][0]
    prefix = 1 if "vit" in model else 0
    assert torch.equal(after[:, :prefix], before[:, :prefix])
    if prefix:
        before, after = before[:, 1:], after[:, 1:]
    torch.testing.assert_close(after, before + 1)


class Shuffled(nn.Module):
    """Tokens in another order than that of the rows, as Hiera has them."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.blocks = nn.Sequential(Mix(), Mix())
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x)
        if self.order == "windows":
            b, c, h, w = x.shape
            x = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, c)
        elif self.order == "columns":
            x = x.mT.flatten(2).mT
        else:
            x = x.flatten(2).mT
        return self.blocks(x).mean(1)


class Mix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(x).relu())


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("order", ["rows", "columns", "windows"])
def test_tokens_in_another_order_are_no_map(order: str) -> None:
    model = Shuffled(order)
    assert len(composer.plan(model, "se", params={"min_width": 1}).sites) == 2
    if order == "rows":
        assert len(composer.plan(model, "cbam", params={"min_width": 1}).sites) == 2
        return
    with pytest.raises(ComposerError) as failure:
        composer.plan(model, "cbam", params={"min_width": 1})
    assert failure.value.diagnostics[0].message == (
        "'spatial.locate' uses neighbours in a map, and these tokens are not in row order"
    )


# --------------------------------------------------------------------------- blocks of other kinds


class Kind(nn.Module):
    """A block for any forward."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 3, stride, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.c, self.d = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 1, stride)


def of_kind(forward: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    kind = type("Own", (Kind,), {"forward": forward})
    return nn.Sequential(nn.Conv2d(3, 8, 3), kind(), kind()).eval()


def projected(m: Any, x: Tensor) -> Tensor:
    y = m.d(x) + m.b(m.a(x))
    return y + m.c(y)


def projected_twice(m: Any, x: Tensor) -> Tensor:
    y = m.d(x) + 2 * m.b(m.a(x))
    return y + m.c(y)


def by_name(m: Any, x: Tensor) -> Tensor:
    return torch.add(input=x, other=m.b(m.a(x)))


def subtracted(m: Any, x: Tensor) -> Tensor:
    return x - m.b(m.a(x))


def joined(m: Any, x: Tensor) -> Tensor:
    return torch.cat([(x + m.a(x))[:, :4], m.b(x)[:, :4]], 1)


KINDS = [
    (projected, "residual:1", projected_twice),
    (projected, "residual:2", lambda m, x: m.d(x) + m.b(m.a(x)) + 2 * m.c(m.d(x) + m.b(m.a(x)))),
    (projected, "residual:a", projected_twice),
    (by_name, "residual", lambda m, x: x + 2 * m.b(m.a(x))),
    (subtracted, "residual", lambda m, x: x - 2 * m.b(m.a(x))),
    (joined, "residual", lambda m, x: 2 * joined(m, x)),
]


@pytest.mark.parametrize(("forward", "position", "expected"), KINDS)
def test_branches_of_other_blocks(
    forward: Callable[[Any, Tensor], Tensor],
    position: str,
    expected: Callable[[Any, Tensor], Tensor],
) -> None:
    model, x = of_kind(forward), torch.randn(2, 8, 6, 6)
    composed = composer.insert(model, TWICE, at="block", position=position)
    with torch.no_grad():
        torch.testing.assert_close(composed[1](x), expected(model[1], x))


def test_an_earlier_edit_has_no_children_to_go_behind() -> None:
    model = composer.insert(of_kind(by_name), "cbam", position="after:a", params={"min_width": 1})
    with pytest.raises(ComposerError) as failure:
        composer.plan(model, "eca", at="block", position="after:conv5")
    assert "it has 2 convolutions, and no conv5" in failure.value.diagnostics[0].message
    with pytest.raises(ComposerError) as failure:
        composer.plan(model, "eca", at="block", position="after:cbam")
    assert "it has no child 'cbam', but a and b" in failure.value.diagnostics[0].message
    assert len(composer.plan(model, "eca", at="block", position="after:conv2").sites) == 2


def test_a_hook_does_not_move_a_site() -> None:
    model = of_kind(by_name)
    model[1].register_forward_hook(lambda *call: call[2] + 1)
    positions = [site.position for site in composer.plan(model, "eca", at="block").sites]
    assert positions == ["residual", "residual"]


def test_images_of_another_aspect() -> None:
    """SE takes tokens as a set, so the shape of the image is nothing to it."""
    vit = create_model("test_vit", dynamic_img_size=True).eval()
    composed = composer.insert(vit, "se", params={"reduction": 4}).eval()
    tall = torch.randn(1, 3, 96, 160)
    assert composed(tall).shape == vit(tall).shape


class Behind(nn.Module):
    """As YOLOS: a class token before the patches, and others behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.before, self.behind = (nn.Parameter(torch.randn(1, n, 16)) for n in (1, 3))
        self.blocks = nn.Sequential(Mix(), Mix())

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).mT
        before, behind = (t.expand(len(x), -1, -1) for t in (self.before, self.behind))
        return self.blocks(torch.cat([before, x, behind], 1)).mean(1)


def test_tokens_behind_the_map_are_seen() -> None:
    with pytest.raises(ComposerError) as failure:
        composer.plan(Behind(), "se", params={"min_width": 1})
    assert failure.value.diagnostics[0].message == (
        "none of the 2 blocks matches: some of its tokens without a place in the map come after "
        "the others"
    )


HEADS = [
    ("torchvision:squeezenet1_0", "features.12"),
    ("torchvision:fcn_resnet50", "backbone.layer4"),
    ("vit_base_patch16_siglip_224", "norm"),
    ("efficientnet_b0", "blocks.6"),
]


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize(("model", "path"), HEADS)
def test_before_the_head(model: str, path: str) -> None:
    with torch.device("meta"):
        net = open_backbone(ModelString.parse(model))
    assert [site.path for site in composer.plan(net, "eca", at="head").sites] == [path]


@pytest.mark.long
def test_one_of_several_values_is_told() -> None:
    with torch.device("meta"):
        net = create_model("hrnet_w18_small")
    notes = {s.path: s.note for s in composer.plan(net, "eca", at="stage").sites}
    assert notes["layer1"] is None and notes["stage3"] == "the first of 3 values"


def test_what_is_no_model() -> None:
    compiled = torch.compile(of_kind(by_name))
    for given, code in ((5, "not-a-model"), (compiled, "compiled-model")):
        with pytest.raises(ComposerError) as failure:
            composer.plan(given, "eca")  # type: ignore[arg-type]
        assert failure.value.diagnostics[0].code == code


class Asking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        return x + self.b(self.a(x)) * (2 if kwargs.get("twice") else 1)


@pytest.mark.long
def test_further_keywords_of_a_block() -> None:
    """They act as they did."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), Asking(), Asking()).eval()
    composed = composer.insert(model, "eca", at="block", init="identity")
    x = torch.randn(1, 8, 6, 6)
    assert torch.equal(composed[1](x, output_attentions=True), model[1](x))
    assert torch.equal(composed[1](x, twice=True), model[1](x, twice=True))


@pytest.mark.long
def test_arguments_that_a_block_passes_on_stay_open() -> None:
    """Only what its forward itself depends on is fixed at what it was."""
    vit = enlivened(create_model("test_vit")).eval()
    composed = composer.insert(vit, "se", init="identity", params={"reduction": 4}).eval()
    x = torch.randn(2, 3, 160, 160)
    mask = torch.ones(101, 101, dtype=torch.bool).tril()
    with torch.no_grad():
        expected = vit.forward_features(x, attn_mask=mask)
        assert not torch.allclose(expected, vit.forward_features(x))
        assert torch.equal(composed.forward_features(x, attn_mask=mask), expected)


@pytest.mark.long
def test_a_tuple_that_a_child_makes() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    def formula(m: Any, x: Tensor) -> Any:
        return m.both(x + m.b(m.a(x)))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            kind = type("Own", (Kind,), {"forward": formula})
            self.stem, self.one, self.two = nn.Conv2d(3, 8, 3), kind(), kind()
            self.one.both, self.two.both = Both(), Both()

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(self.stem(x))[0])[0]

    model, x = Net().eval(), torch.randn(1, 3, 16, 16)
    plan = composer.plan(model, "eca", at="block")
    assert [(site.position, site.note) for site in plan.sites] == 2 * [("residual", None)]
    composed = composer.insert(model, TWICE, at="block")
    with torch.no_grad():
        y = model.stem(x)
        for block in (model.one, model.two):
            y = y + 2 * block.b(block.a(y))
        torch.testing.assert_close(composed(x), y)
