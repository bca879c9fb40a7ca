"""Where blocks and stages are in networks as people write and wrap them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from timm import create_model
from torch import Tensor, nn
from torch.nn.functional import relu
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor

import composer

Shown = tuple[str | None, list[tuple[str, int]], str | None]


def anatomy(model: nn.Module, **inputs: Any) -> Shown:
    """The stem, each stage with the count of its blocks, and what comes before the head."""
    found = composer.sites(model, **inputs)
    stages = [(stage.whole.path, len(stage.blocks)) for stage in found.stages]
    return found.stem and found.stem.path, stages, found.head and found.head.path


# ------------------------------------------------------------------------------------ wrappers


class Wrapped(nn.Module):
    """A network that gives a vector, and a head of one's own."""

    def __init__(self, net: nn.Module, width: int) -> None:
        super().__init__()
        self.net, self.head = net, nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x))


class Record(nn.Module):
    """A network that gives its output in a dictionary."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.model = net

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.model(x)}


class Siamese(nn.Module):
    """A trunk that sees two images."""

    def __init__(self, trunk: nn.Module, width: int) -> None:
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(2 * width, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.head(torch.cat([self.trunk(a), self.trunk(b)], 1))


def resnet18() -> nn.Module:
    return get_model("resnet18", weights=None, num_classes=16)


def vit() -> nn.Module:
    return create_model("test_vit", num_classes=0)


WRAPPED: dict[str, tuple[Callable[[], nn.Module], str, list[tuple[str, int]]]] = {
    "vector": (lambda: Wrapped(resnet18(), 16), "net", [("layer1", 2), ("layer2", 2),
                                                        ("layer3", 2), ("layer4", 2)]),
    "record": (lambda: Record(resnet18()), "model", [("layer1", 2), ("layer2", 2),
                                                     ("layer3", 2), ("layer4", 2)]),
    "two deep": (lambda: Record(Wrapped(resnet18(), 16)), "model.net",
                 [("layer1", 2), ("layer2", 2), ("layer3", 2), ("layer4", 2)]),
    "tokens": (lambda: Wrapped(vit(), 64), "net", [("blocks.5", 6)]),
    "sequential": (lambda: nn.Sequential(nn.BatchNorm2d(3), resnet18(), nn.Linear(16, 2)), "1",
                   [("layer1", 2), ("layer2", 2), ("layer3", 2), ("layer4", 2)]),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_backbone_has_the_places_of_the_backbone(name: str) -> None:
    make, path, stages = WRAPPED[name]
    model = make()
    _, found, _ = anatomy(model)
    assert found == [(f"{path}.{whole}", blocks) for whole, blocks in stages]
    plan = composer.plan(model, "se", params={"min_width": 1})
    assert len(plan.sites) == sum(blocks for _, blocks in stages)
    assert {site.position for site in plan.sites} == {"residual"}


@pytest.mark.long
def test_a_siamese_trunk_is_counted_as_often_as_it_runs() -> None:
    x = torch.randn(4, 3, 64, 64)
    model = Siamese(resnet18(), 16).eval()
    plan = composer.plan(model, "se", example_inputs=(x, x))
    alone = composer.plan(model.trunk, "se", example_inputs=x)
    assert [s.module for s in plan.sites] == [f"trunk.{s.module}" for s in alone.sites]
    assert [s.flops for s in plan.sites] == [2 * s.flops for s in alone.sites]
    composed = composer.insert(model, "se", example_inputs=(x, x), init="identity")
    with torch.no_grad():
        assert torch.equal(composed(x, x), model(x, x))
    assert len(composer.plan(composed, "eca", at="stage").sites) == 4  # it remembers its inputs


@pytest.mark.long
def test_data_parallel_is_taken_off_with_a_warning() -> None:
    model = nn.DataParallel(resnet18())
    said = (
        "DataParallel is removed, since it handles only the earlier parameters: this applies to "
        "the ResNet inside it; wrap the composed model again"
    )
    for call in (composer.insert, composer.plan):
        with pytest.warns(UserWarning) as caught:
            found = call(model, "se")
        assert [str(warning.message) for warning in caught] == [said]
    with pytest.warns(UserWarning, match="DataParallel is removed"):
        assert isinstance(composer.insert(model, "se"), type(model.module))
    assert [s.path for s in found.sites][:1] == ["layer1.0"]


def test_a_model_that_fx_traced_is_refused() -> None:
    model = create_feature_extractor(resnet18(), {"layer4": "x"})
    assert composer.sites(model).stages == ()
    for at in ("block", "stage"):
        with pytest.raises(composer.ComposerError) as caught:
            composer.plan(model, "se", at=at)
        assert str(caught.value) == (
            f"error[no-sites]: this backbone has no {at} that could be found; torch.fx traced it, "
            "and its blocks no longer run as modules\n  help: insert into the model before it "
            "is traced, or use at='module' with select"
        )
    (site,) = composer.plan(model, "se", at="module", select="layer4.1.bn2").sites
    assert site.module == "layer4.1.bn2.se"


# -------------------------------------------------------------------------------------- places


class Conv(nn.Sequential):
    def __init__(self, i: int, o: int, kernel: int = 1, stride: int = 1) -> None:
        convolution = nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(o), nn.SiLU())


class Bottleneck(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.a, self.b = Conv(c, c), Conv(c, c, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(self.a(x))


class CrossStagePartial(nn.Module):
    def __init__(self, c: int, blocks: int) -> None:
        super().__init__()
        self.left, self.right, self.out = Conv(c, c // 2), Conv(c, c // 2), Conv(c, c)
        self.blocks = nn.Sequential(*[Bottleneck(c // 2) for _ in range(blocks)])

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat((self.blocks(self.left(x)), self.right(x)), 1))


class Split(nn.Module):
    """As Ultralytics' C2f: all blocks' outputs are joined."""

    def __init__(self, c: int, blocks: int) -> None:
        super().__init__()
        self.first = Conv(c, c)
        self.last = Conv((2 + blocks) * c // 2, c)
        self.m = nn.ModuleList(Bottleneck(c // 2) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        ways = list(self.first(x).chunk(2, 1))
        ways.extend(m(ways[-1]) for m in self.m)
        return self.last(torch.cat(ways, 1))


def csp(stage: Callable[[int, int], nn.Module]) -> nn.Module:
    stages = [
        nn.Sequential(Conv(c, 2 * c, 3, 2), stage(2 * c, blocks))
        for c, blocks in ((16, 1), (32, 2), (64, 2))
    ]
    return nn.Sequential(Conv(3, 16, 3, 2), *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(1))


class ShortcutBlock(nn.Module):
    """As CIFAR repositories write it: an identity shortcut is an empty Sequential."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c)
        self.shortcut = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(out + self.shortcut(x))


class CifarNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.layer1 = nn.Sequential(ShortcutBlock(32), ShortcutBlock(32))
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer1(relu(self.bn1(self.conv1(x)))).mean((2, 3)))


class Residual(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)


def row_of_residuals() -> nn.Module:
    def block() -> nn.Module:
        two = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                            nn.Conv2d(32, 32, 3, padding=1))  # fmt: skip
        return nn.Sequential(Residual(two), nn.ReLU())

    return nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), *[block() for _ in range(3)],
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(1))  # fmt: skip


def denoiser(channels: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(32, channels, 3, padding=1))


class Encoder(nn.Module):
    """Gives features of each resolution, the first the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 16, 3, 2)
        self.blocks = nn.ModuleList(
            nn.Sequential(Conv(16, 16, 3, s), Conv(16, 16, 3)) for s in (1, 2, 1, 2)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [x]
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features


class Segmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = Encoder(), nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x)[-1])


class MapsOfTokens(nn.Module):
    """A transformer's block that takes and gives a map, as SegFormer's do."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(c), nn.Linear(c, c), nn.LayerNorm(c)
        self.mlp = nn.Sequential(nn.Linear(c, 2 * c), nn.GELU(), nn.Linear(2 * c, c))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2)
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x.transpose(1, 2).view(b, c, h, w)


PLACES: dict[str, tuple[Callable[[], nn.Module], Shown]] = {
    "a cross-stage-partial stage is the whole": (lambda: csp(CrossStagePartial), (
        "1.0", [("1", 1), ("2", 2), ("3", 2)], "3")),
    "and so where the blocks are a list": (lambda: csp(Split), (
        "1.0", [("1", 1), ("2", 2), ("3", 2)], "3")),
    "no stem inside a block": (CifarNet, (None, [("layer1.1", 2)], "layer1.1")),
    "wrapped residuals are one row": (row_of_residuals, ("0", [("3", 3)], "3")),
    "an output layer is no block, of one channel": (lambda: denoiser(1), (
        "0", [("7", 3)], "7")),
    "an output layer is no block, of three": (lambda: denoiser(3), ("0", [("7", 3)], "7")),
    "features passed through are no stage": (Segmenter, ("encoder.stem", [
        ("encoder.blocks.0", 1), ("encoder.blocks.2", 2), ("encoder.blocks.3", 1)],
        "encoder.blocks.3")),
}  # fmt: skip


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize("name", PLACES)
def test_where_blocks_and_stages_are(name: str) -> None:
    make, wanted = PLACES[name]
    assert anatomy(make()) == wanted


def test_at_the_stem_of_a_net_with_functional_parts_is_before_its_first_block() -> None:
    (site,) = composer.plan(CifarNet(), "se", at="stem").sites
    assert (site.module, site.position) == ("layer1.0.se", "input")


BRANCHES: dict[str, tuple[Callable[[], nn.Module], Sequence[str]]] = {
    "an add that is then reshaped": (
        lambda: nn.Sequential(nn.Conv2d(3, 32, 4, 4), MapsOfTokens(32), MapsOfTokens(32)),
        ("1", "2")),
    "a wrapped residual": (row_of_residuals, ("1.0", "2.0", "3.0")),
    "timm's Swin": (lambda: create_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1)),
                    [f"layers.{n}.blocks.0" for n in range(4)]),
    "timm's DaViT": (lambda: create_model("davit_tiny", depths=(1, 1, 1, 1)), [
        f"stages.{n}.blocks.0.{part}" for n in range(4) for part in range(2)]),
}  # fmt: skip


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize("name", BRANCHES)
def test_a_silent_branch_leaves_the_skip(name: str) -> None:
    """With a gate of zero, a block must still give what comes by its skip."""
    make, paths = BRANCHES[name]
    model = composer.insert(make().eval(), "se", params={"min_width": 1})
    found = [site.path for site in composer.plan(composer.eject(model), "se").sites]
    assert [p for p in found if p in paths] == list(paths)
    for path in paths:
        block = model.get_submodule(path)
        given: list[Tensor] = []
        handle = block.register_forward_hook(
            lambda _, args, out, given=given: given.extend((args[0], out))
        )
        inserted = next(m for n, m in block.named_children() if n.startswith("se"))
        nn.init.zeros_(inserted.excite.fc2.weight)
        nn.init.constant_(inserted.excite.fc2.bias, -1e4)
        with torch.no_grad():
            model(torch.randn(1, 3, 224, 224))
        handle.remove()
        assert float(given[1].abs().max() if torch.is_tensor(given[1]) else 1) > 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["efficientnet_b0", "resnet18", "convnext_atto"])
def test_a_plan_does_not_depend_on_checkpointing(name: str) -> None:
    def plan(checkpointing: bool) -> list[tuple[str, str, str | None]]:
        with torch.device("meta"):
            model = create_model(name)
        model.set_grad_checkpointing(checkpointing)
        found = composer.plan(model.train(), "se").sites
        assert model.training
        return [(site.module, site.position, site.note) for site in found]

    assert plan(True) == plan(False)
