"""What is learnt of a backbone, against its paper; and where the residual branch really ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from backbones import BACKBONES, Backbone, backbone, images, make
from test_plan import SCALE, ZERO
from timm import create_model
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

import composer
from composer.analysis.anatomy import anatomy
from composer.analysis.parts import Anatomy
from composer.analysis.probe import probe
from composer.errors import ComposerError

HEAVY = [pytest.mark.slow]
ROWS = [pytest.param(row, marks=HEAVY if row.heavy else [], id=str(row)) for row in BACKBONES]


def facts(known: Anatomy) -> list[object]:
    """Return what an anatomy says, without the tensors it was learnt from."""
    parts = [[stage.whole, *stage.blocks] for stage in known.stages]
    return [[(p.path, p.kind, p.shape, p.refusal) for p in stage] for stage in parts]


# ------------------------------------------------------------------------------ stages and blocks


@pytest.mark.quick(5)
@pytest.mark.parametrize("row", ROWS)
def test_stages_and_blocks(row: Backbone) -> None:
    known = anatomy(make(row))
    assert tuple(stage.whole.path for stage in known.stages) == row.stages
    assert tuple(len(stage.blocks) for stage in known.stages) == (
        row.blocks or (0,) * len(row.stages)
    )
    shapes = [stage.whole.shape for stage in known.stages]
    assert tuple(shape.channels for shape in shapes if shape) == row.channels
    assert all(shape is not None and shape.layout == ("b", "c", "h", "w") for shape in shapes)
    sizes = [shape.size for shape in shapes if shape]
    assert sizes == sorted(sizes, reverse=True)
    if row.blocks:
        assert (known.blocks[0].path, known.blocks[-1].path) == (row.first, row.last)
        assert sum(known.skips(block.call) for block in known.blocks) == row.skips


@pytest.mark.long
@pytest.mark.quick(4)
@pytest.mark.parametrize("row", ROWS)
def test_every_block_is_entered_at_the_end_of_its_branch(row: Backbone) -> None:
    if not row.blocks:
        pytest.skip("a network without blocks")
    plan = composer.plan(make(row), SCALE, at="block", expect=sum(row.blocks))
    assert {site.position for site in plan.sites} == {"residual"}
    notes = [site.note for site in plan.sites]
    assert notes.count(None) == row.skips
    assert set(notes) <= {None, "no skip connection: the whole block is the branch"}


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("name", "position", "at"),
    [("resnet18", "residual", "block"), ("torchvision:mobilenet_v2", "output", "stage"),
     ("user:network", "residual", "block"), ("user:network", "output", "block"),
     ("user:network", "output", "stage"), ("vgg11_bn?num_classes=10", "output", "stage"),
     *(pytest.param(name, position, at, marks=HEAVY)
       for name in ("torchvision:efficientnet_b0", "regnety_002", "efficientnet_b0")
       for position, at in (("residual", "block"), ("output", "block"), ("output", "stage")))],
)  # fmt: skip
def test_an_edit_leaves_the_anatomy_as_it_was(name: str, position: str, at: str) -> None:
    model = make(backbone(name))
    edited = composer.insert(model, "eca", at=at, position=position)  # type: ignore[arg-type]
    assert facts(anatomy(edited)) == facts(anatomy(model))


def test_channels_last_in_the_code_too() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.up = nn.LayerNorm(8), nn.Linear(8, 32)
            self.down = nn.Linear(32, 8)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.down(F.gelu(self.up(self.norm(x))))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 10)
            self.blocks = nn.Sequential(Block(), Block())

        def forward(self, x: Tensor) -> Tensor:
            x = self.blocks(self.stem(x).permute(0, 2, 3, 1))
            return self.head(x.mean((1, 2)))

    plan = composer.plan(Net(), "eca", at="block")
    assert {site.layout for site in plan.sites} == {("b", "h", "w", "c")}
    assert {(site.channels, site.size) for site in plan.sites} == {(8, (56, 56))}
    composer.insert(Net(), "eca", at="block")(torch.randn(2, 3, 32, 32))


def test_one_input_channel_and_a_stem_that_folds_pixels() -> None:
    assert probe(create_model("resnet18", in_chans=1)).input_shape == (1, 224, 224)
    folded = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 8, 3))
    assert probe(folded).input_shape == (3, 224, 224)


def test_a_model_that_takes_one_size_only() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2, 1)
            self.blocks = nn.Sequential(*(TwoSkips(8) for _ in range(2)))
            self.head = nn.Linear(8 * 16 * 16, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.blocks(self.stem(x)).flatten(1))

    plan = composer.plan(Fixed(), "eca", at="block")
    assert plan.input_shape == (3, 32, 32)
    assert [(s.channels, s.size) for s in plan.sites] == [(8, (16, 16))] * 2


def test_a_model_that_takes_no_image() -> None:
    with pytest.raises(ComposerError) as caught:
        composer.sites(nn.Linear(7, 7))
    assert caught.value.diagnostics[0].code == "forward-failed"


# ----------------------------------------------------------------------- where the branch ends


@pytest.mark.long
def test_zeroing_the_branch_of_resnet_leaves_the_shortcut() -> None:
    model = make(backbone("resnet18"))
    edited = composer.insert(model, ZERO, at="block")
    x = images(backbone("resnet18"))
    y = model.maxpool(model.act1(model.bn1(model.conv1(x))))
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in stage:
            y = F.relu(block.downsample(y) if block.downsample else y)
    assert torch.equal(edited(x), model.forward_head(y))


@pytest.mark.long
def test_zeroing_the_branch_of_mobilenet_leaves_the_input() -> None:
    model = make(backbone("torchvision:mobilenet_v2"))
    edited = composer.insert(model, ZERO, at="block")
    x = torch.randn(2, 24, 8, 8)
    assert torch.equal(edited.features[3](x), x)
    assert not edited.features[2](torch.randn(2, 16, 8, 8)).any()


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("name", "path", "channels", "by_hand"),
    [
        ("resnet18", "layer2.0", 64, lambda b, x: F.relu(
            3 * b.bn2(b.conv2(b.act1(b.bn1(b.conv1(x))))) + b.downsample(x))),
        ("torchvision:resnet18", "layer1.1", 64, lambda b, x: F.relu(
            3 * b.bn2(b.conv2(F.relu(b.bn1(b.conv1(x))))) + x)),
        ("torchvision:mobilenet_v2", "features.3", 24, lambda b, x: 3 * b.conv(x) + x),
        ("efficientnet_b0", "blocks.1.1", 24, lambda b, x: 3 * b.bn3(b.conv_pwl(b.se(
            b.bn2(b.conv_dw(b.bn1(b.conv_pw(x))))))) + x),
        ("regnety_002", "s3.b2", 152, lambda b, x: F.relu(
            3 * b.conv3(b.se(b.conv2(b.conv1(x)))) + x)),
        ("convnext_tiny", "stages.0.blocks.0", 96, lambda b, x: 3 * (
            b.gamma[:, None, None] * b.mlp(b.norm(b.conv_dw(x).permute(0, 2, 3, 1)))
            .permute(0, 3, 1, 2)) + x),
        ("torchvision:densenet121", "features.denseblock1.denselayer2", 96, lambda b, x:
            3 * b.conv2(F.relu(b.norm2(b.conv1(F.relu(b.norm1(torch.cat(x, 1)))))))),
        ("user:network", "stages.0.0", 16, lambda b, x: F.relu(x + 3 * b.body(x))),
        ("user:network", "stages.0.1", 16, lambda b, x: F.relu(3 * b.body(x) + x)),
        ("user:network", "stages.1.0", 16, lambda b, x: b.short(x) + 3 * b.conv2(b.conv1(x))),
        ("user:network", "stages.1.1", 32, lambda b, x: x + 3 * b.body(x)),
        ("user:network", "stages.1.2", 32, lambda b, x: x + 3 * b.body(x)),
    ],
)  # fmt: skip
def test_the_branch_alone_is_scaled(
    name: str, path: str, channels: int, by_hand: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    model = make(backbone(name)).double()
    edited = composer.insert(model, SCALE, at="block")
    x = torch.randn(2, channels, 8, 8, dtype=torch.float64)
    x = [x[:, :64], x[:, 64:]] if "denselayer" in path else x  # type: ignore[assignment]
    ours, theirs = edited.get_submodule(path)(x), by_hand(model.get_submodule(path), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize("name", ["resnet18", "regnety_002", "mobilenetv2_100", "convnext_tiny"])
def test_before_drop_path(name: str) -> None:
    """With drop path a branch is 0 or kept; scaled by 3 and by 2 it is the same ones."""
    model = make(backbone(name), drop=0.5).train()
    known = anatomy(model)
    edited = composer.insert(model, SCALE, at="block")
    block = next(b for b in reversed(known.blocks) if known.skips(b.call))
    module = edited.get_submodule(block.path)
    assert block.shape is not None
    order: list[str] = []
    for part, child in module.named_modules():
        child.register_forward_hook(lambda *_, part=part: order.append(part))
    module(torch.randn(4, block.shape.channels, 8, 8))
    assert order.index("scale") < order.index("drop_path")


@pytest.mark.long
def test_where_timm_has_its_own_attention_and_drop_path() -> None:
    """timm puts `se` before drop path; ours, beside it in the same block, comes next."""
    model = create_model("seresnet18", drop_path_rate=0.5)
    block = composer.insert(model, "eca", at="block").layer4[1].train()
    order: list[str] = []
    for name, child in block.named_children():
        child.register_forward_hook(lambda *_, name=name: order.append(name))
    block(torch.randn(2, 512, 4, 4))
    assert order[-4:] == ["se", "eca", "drop_path", "act2"]


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("path", ["stages.0.1", "stages.1.1"])
def test_dropout_written_out_stays_behind_in_both_modes(path: str) -> None:
    """Where a sample is kept, training doubles what evaluation adds."""
    block = composer.insert(make(backbone("user:network")), "se", at="block").get_submodule(path)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum, module.training = 0.0, False
    x = torch.rand(64, 16 if path == "stages.0.1" else 32, 4, 4)
    block.training = False
    added = block(x) - x if path == "stages.1.1" else None
    block.training = True
    if added is not None:
        now = block(x) - x
        kept = now.flatten(1).abs().sum(1) > 0
        assert 0 < kept.sum() < 64
        torch.testing.assert_close(now[kept], 2 * added[kept], rtol=1e-4, atol=1e-5)
    seen: list[Tensor] = []
    block.se.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    for block.training in (True, False):
        block(x)
    assert torch.equal(seen[0], seen[1])


# ------------------------------------------------------------------------------- hard blocks


class TwoSkips(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.mix, self.mlp = nn.Conv2d(c, c, 3, 1, 1), nn.Conv2d(c, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(x)
        return x + self.mlp(x)


class InPlace(TwoSkips):
    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.mix(x)).add_(x)


class EvenSides(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + self.b(x)


class Tupled(TwoSkips):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), x


class Options(TwoSkips):
    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, scale: float = 1.0, twice: bool = False
    ) -> Tensor:
        y = self.mix(x)
        if mask is not None:
            y = y * mask
        if twice:
            y = y + y
        return x + self.mlp(y) * scale


class Remembers(TwoSkips):
    last = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return super().forward(x)


class ChildsMode(TwoSkips):
    def forward(self, x: Tensor) -> Tensor:
        return x + F.dropout(self.mlp(self.mix(x)), 0.5, training=self.mlp.training)


class OwnTensor(TwoSkips):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.mix(x)) * torch.ones(1)


def twice_as_much(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(function)
    def call(self: nn.Module, x: Tensor) -> Tensor:
        return function(self, x) * 2

    return call


class Decorated(TwoSkips):
    @twice_as_much
    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.mix(x))


class ByItsOwnName(TwoSkips):
    """Private names are mangled, and the class is named by itself."""

    __scale = 0.5

    def __branch(self, x: Tensor) -> Tensor:
        return ByItsOwnName.__scale * self.mlp(self.mix(x))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.__branch(x)


class TwoBranches(TwoSkips):
    """The branch goes over several lines, and Ω and é are of two bytes each."""

    def forward(self, x: Tensor) -> Tensor:
        Ω, é = x, self.mix(x)  # noqa: N806
        return Ω + (self.mlp(
            é,  # a comment (with a bracket
        ))  # fmt: skip


class InALoop(TwoSkips):
    def forward(self, x: Tensor) -> Tensor:
        y = x  # the branch is read once, and made by an expression that runs twice
        for layer in (self.mix, self.mlp):
            y = layer(y)
        return x + y


def branch(block: nn.Module, x: Tensor) -> Tensor:
    return x + block.mlp(block.mix(x))


class Foreign(TwoSkips):
    def forward(self, x: Tensor) -> Tensor:
        return branch(self, x)


class WithoutSource(TwoSkips):
    exec("def forward(self, x):\n    return x + self.mlp(self.mix(x))")


class PreActivation(TwoSkips):
    def __init__(self, c: int) -> None:
        super().__init__(c)
        self.norm = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.mix(F.relu(self.norm(x)))) + x


class Row(nn.Module):
    """Blocks in a row."""

    def __init__(
        self, *blocks: nn.Module, call: Callable[[nn.Module, Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.blocks = nn.ModuleList(blocks)
        self.call = call or (lambda block, x: block(x))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = self.call(block, x)
        return x.mean((2, 3))


def of_two(kind: type[nn.Module], call: Callable[..., Tensor] | None = None) -> Row:
    torch.manual_seed(0)
    return Row(kind(8), kind(8), call=call)


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("kind", "position", "note"),
    [
        (TwoSkips, "residual", "the last of 2 residual branches"),
        (PreActivation, "residual", None),
        (ChildsMode, "residual", None),
        (EvenSides, "output", "the residual branch can't be distinguished from the shortcut; "
                              "after the block instead"),
        (Remembers, "residual", "the last of 2 residual branches"),
        (OwnTensor, "residual", None),
        (Decorated, "residual", None),
        (ByItsOwnName, "residual", None),
        (TwoBranches, "residual", None),
        (InALoop, "residual", None),
        (Foreign, "output", "no expression in its own forward is exactly that value; "
                            "after the block instead"),
        (WithoutSource, "output", "its forward can't be edited (its source can't be found); "
                                  "after the block instead"),
    ],
)  # fmt: skip
@torch.no_grad()
def test_hard_blocks(kind: type[nn.Module], position: str, note: str | None) -> None:
    model = of_two(kind)
    before = {name: dict(vars(m)) for name, m in model.named_modules()}
    plan = composer.plan(model, "eca", at="block")
    assert [(s.position, s.note) for s in plan.sites] == [(position, note)] * 2
    assert {name: dict(vars(m)) for name, m in model.named_modules()} == before
    edited = composer.insert(model, "eca", at="block", init="identity")
    x = torch.randn(2, 3, 16, 16)
    for mode in (True, False):
        torch.manual_seed(5)
        expected = model.train(mode)(x)
        torch.manual_seed(5)
        assert torch.equal(edited.train(mode)(x), expected)
    again = composer.insert(edited.eval(), "se", at="block", params={"min_width": 1})
    assert [site.position for site in again._composition.edits[1].sites] == [position] * 2
    assert again(x).shape == (2, 8)


def test_the_branch_of_the_second_skip() -> None:
    model = of_two(TwoSkips)
    block = composer.insert(model, SCALE, at="block").blocks[0]
    x = torch.randn(1, 8, 4, 4)
    middle = x + block.mix(x)
    torch.testing.assert_close(block(x), middle + 3 * block.mlp(middle))


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "call",
    [
        lambda b, x: b(x),
        lambda b, x: b(x, None),
        lambda b, x: b(x, mask=None),
        lambda b, x: b(x, scale=2.0),
        lambda b, x: b(x, twice=True),
        lambda b, x: b(x, x[:, :1]),
        lambda b, x: b(mask=x[:, :1], x=x, twice=True, scale=0.5),
    ],
)
@pytest.mark.parametrize("position", ["residual", "output"])
def test_arguments_of_a_block(call: Callable[..., Tensor], position: str) -> None:
    model = of_two(Options, call)
    edited = composer.insert(model, SCALE, at="block", position=position)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 16, 16)
    same = composer.insert(model, "eca", at="block", position=position, init="identity")  # type: ignore[arg-type]
    assert torch.equal(same(x), model(x))
    assert not torch.allclose(edited(x), model(x))
    torch._dynamo.reset()
    compiled = torch.compile(same, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), model(x))


def test_another_argument_than_the_one_seen_acts_as_before() -> None:
    model = of_two(Options)
    edited = composer.insert(model, "eca", at="block", init="identity")
    x = torch.randn(1, 8, 4, 4)
    one, other = edited.blocks[0](x, twice=True), model.blocks[0](x, twice=True)
    assert torch.equal(one, other) and not torch.equal(one, model.blocks[0](x))


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("position", ["residual", "output", "input"])
def test_of_a_tuple_the_first_tensor_is_the_value(position: str) -> None:
    model = of_two(Tupled, lambda block, x: block(x)[0])
    x = torch.randn(2, 3, 16, 16)
    same = composer.insert(model, "eca", at="block", position=position, init="identity")
    assert torch.equal(same(x), model(x))
    edited = composer.insert(model, SCALE, at="block", position=position)
    assert not torch.allclose(edited(x), model(x))
    block, given = edited.blocks[0], torch.randn(1, 8, 4, 4)
    made, own = block(given), model.blocks[0](given)
    assert type(made) is type(own) and len(made) == len(own)
    assert torch.equal(composer.eject(edited)(x), model(x))


def test_a_block_that_runs_twice_is_refused() -> None:
    shared = TwoSkips(8)
    model = Row(TwoSkips(8), shared, shared)
    plan = composer.plan(model, "eca", at="block")
    assert [site.path for site in plan.sites] == ["blocks.0"]
    assert [(m.path, m.reason) for m in plan.near_misses] == [
        ("blocks.1", "it runs 2 times in one pass")
    ]


def test_an_owner_that_runs_all_its_children_passes_by_what_is_inserted() -> None:
    class RunsAll(nn.Module):
        def __init__(self, c: int) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 1)

        def forward(self, x: Tensor) -> Tensor:
            for child in self.children():
                x = child(x) if x.shape[2] > 1 else x
            return x

    model, x = of_two(RunsAll), torch.randn(2, 3, 16, 16)
    edited = composer.insert(model, SCALE, at="block")
    edited = composer.insert(edited, SCALE, at="block")
    torch.testing.assert_close(edited.blocks[1](model.stem(x)), 9 * model.blocks[1](model.stem(x)))
    assert len(list(edited.blocks[0].children())) == 4


def test_an_owner_that_runs_what_it_is_given_is_refused_and_left_alone() -> None:
    class RunsAll(nn.Module):
        def __init__(self, c: int) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 1)

        def forward(self, x: Tensor) -> Tensor:
            for name in list(self._modules):
                x = getattr(self, name)(x)
            return x

    model = of_two(RunsAll)
    keys, classes = list(model.state_dict()), [type(m) for m in model.modules()]
    with pytest.raises(ComposerError, match="runs what is inserted 2 times, as all its children"):
        composer.insert(model, "eca", at="block", inplace=True)
    assert list(model.state_dict()) == keys and [type(m) for m in model.modules()] == classes


def test_an_activation_at_the_end_and_an_addition_in_place() -> None:
    """The gradient of a sigmoid needs its output, which `add_` would overwrite."""
    text = "{name: last, input: [b, c, h, w], nodes: {out: {op: gate, x: input, fn: sigmoid}}}\n"
    edited = composer.insert(of_two(InPlace), text, at="block")
    for mode in (True, False):
        edited.train(mode)(torch.randn(2, 3, 16, 16)).sum().backward()


# ---------------------------------------------------------------------- models without numbers


@pytest.mark.long
def test_on_the_meta_device() -> None:
    real = make(backbone("resnet18"))
    with torch.device("meta"):
        model = create_model("resnet18")
    assert facts(anatomy(model)) == facts(anatomy(real))
    edited = composer.insert(model, "cbam", at="block")
    assert all(t.is_meta for t in edited.state_dict().values())
    assert str(composer.plan(model, "cbam")) == str(composer.plan(real, "cbam"))


@pytest.mark.long
def test_the_random_numbers_go_on_as_if_nothing_had_been() -> None:
    model = make(backbone("resnet18"), drop=0.2)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    composer.plan(model, "se")
    assert torch.equal(torch.rand(3), expected)


def test_a_cache_on_a_module_is_not_left_fake() -> None:
    class Caches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table: dict[int, Tensor] = {}
            self.stem = nn.Conv2d(3, 8, 3, 2, 1)
            self.blocks = nn.Sequential(TwoSkips(8), TwoSkips(8))

        def forward(self, x: Tensor) -> Tensor:
            self.seen = self.table.setdefault(x.shape[2], torch.ones(x.shape[2]))
            return self.blocks(self.stem(x * self.seen)).mean((2, 3))

    model = Caches()
    composer.insert(model, "eca", at="block", inplace=True)
    assert model.table == {} and not hasattr(model, "seen")
    model(torch.randn(1, 3, 16, 16))


@pytest.mark.long
def test_drop_path_of_torchvision_is_recognised() -> None:
    model = create_model("resnet18")
    model.layer1[0].drop_path = StochasticDepth(0.5, "row")
    block = composer.insert(model, SCALE, at="block").layer1[0].train()
    order: list[str] = []
    for name, child in block.named_children():
        child.register_forward_hook(lambda *_, name=name: order.append(name))
    block(torch.randn(2, 64, 4, 4))
    assert order.index("scale") < order.index("drop_path")
