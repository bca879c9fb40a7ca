"""A frozen batch norm is a norm: a stand-in that includes its own takes it, and gives it back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from timm.layers import FrozenBatchNormAct2d, freeze_batch_norm_2d
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.misc import FrozenBatchNorm2d
from transformers.models.detr.modeling_detr import DetrFrozenBatchNorm2d

import composer
from composer.analysis.anatomy import anatomy
from composer.lower.frozen_norm import eps_of, is_frozen_norm


class EightyEps(FrozenBatchNorm2d):
    """Of another eps, which a stand-in's norm must take."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=0.8)


class BatchNorm2dFrozenAsDetectron(nn.Module):
    """As detectron2 writes it: a function in evaluation, and another with gradients."""

    def __init__(self, channels: int, eps: float = 1e-3) -> None:
        super().__init__()
        self.num_features, self.eps = channels, eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels) - eps)

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            bias = self.bias - self.running_mean * scale
            return x * scale.reshape(1, -1, 1, 1) + bias.reshape(1, -1, 1, 1)
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, eps=self.eps
        )


class Scale(nn.Module):
    """No batch norm by its name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.ones(channels))


FROZEN = [FrozenBatchNorm2d, EightyEps, BatchNorm2dFrozenAsDetectron, DetrFrozenBatchNorm2d]


def drawn(model: nn.Module) -> nn.Module:
    """Give norms weights and statistics that say whose they are."""
    draw = torch.Generator().manual_seed(1)
    for module in model.modules():
        if is_frozen_norm(module) or isinstance(module, nn.BatchNorm2d):
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                if tensor.is_floating_point():
                    tensor.data = 0.5 + torch.rand(tensor.shape, generator=draw)
                    tensor.data -= 0.8 if name in ("bias", "running_mean") else 0
    return model


def net(norm: Any) -> nn.Module:
    torch.manual_seed(0)
    return drawn(resnet18(norm_layer=norm, num_classes=4))


def paths(model: nn.Module, spec: str, **options: Any) -> list[str]:
    return [site.path for site in composer.plan(model, spec, **options).sites]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        *((kind(4), True) for kind in FROZEN),
        (FrozenBatchNormAct2d(4), True),
        (nn.BatchNorm2d(4), False),
        (nn.BatchNorm2d(4, affine=False), False),
        (nn.GroupNorm(2, 4), False),
        (nn.ReLU(), False),
        (nn.Sequential(FrozenBatchNorm2d(4)), False),
        (Scale(4), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_what_is_one(module: nn.Module, expected: bool) -> None:
    assert is_frozen_norm(module) is expected


def test_eps() -> None:
    assert [eps_of(kind(2)) for kind in FROZEN] == [1e-5, 0.8, 1e-3, 1e-5]


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("norm", "spec"),
    [*((kind, "sk") for kind in FROZEN),
     *((FrozenBatchNorm2d, spec) for spec in ("split_attention", "cond_conv", "bot_mhsa"))],
)  # fmt: skip
def test_the_sites_are_those_of_batch_norm(norm: type[nn.Module], spec: str) -> None:
    assert paths(net(norm), spec) == paths(net(nn.BatchNorm2d), spec)


def test_the_stem_and_the_head_are_those_of_batch_norm() -> None:
    frozen, plain = (anatomy(net(norm)) for norm in (FrozenBatchNorm2d, nn.BatchNorm2d))
    assert frozen.stem and plain.stem and frozen.last and plain.last
    assert (frozen.stem.path, frozen.last.path) == (plain.stem.path, plain.last.path)
    norms = [f"{block.path}.bn1" for block in frozen.blocks]
    assert norms and all(map(frozen.is_norm, norms))


@pytest.mark.slow
def test_a_detector() -> None:
    body = resnet18(norm_layer=FrozenBatchNorm2d)
    model = FasterRCNN(_resnet_fpn_extractor(body, 3), 5)
    for spec in ("sk", "split_attention"):
        found = paths(model, spec)
        assert len(found) == 8 and found[0] == "backbone.body.layer1.0.conv1"


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize("init", ["paper", "identity"])
def test_the_plan_says_what_becomes_of_it(init: Any) -> None:
    note = composer.plan(net(FrozenBatchNorm2d), "sk", init=init).sites[0].note
    said = ("its FrozenBatchNorm2d and ReLU go with it; the norms of sk are not frozen, and in "
            "training use each batch's statistics")  # fmt: skip
    more = ", so it starts equal to what it replaces only in evaluation mode"
    assert note == said + (more if init == "identity" else "")
    assert "frozen" not in (composer.plan(net(nn.BatchNorm2d), "sk").sites[0].note or "")


@pytest.mark.long
@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("norm", "spec", "params"),
    [*((kind, "sk", {}) for kind in FROZEN),
     (FrozenBatchNorm2d, "split_attention", {"radix": 1})],
)  # fmt: skip
def test_it_begins_as_what_it_replaces_and_comes_back(
    norm: type[nn.Module], spec: str, params: dict[str, Any]
) -> None:
    model = net(norm).eval()
    before = copy.deepcopy(model.state_dict())
    edited = composer.insert(model, spec, params=params, init="identity", blocks="2").eval()
    assert "layer2.1.bn1.running_mean" not in edited.state_dict()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = model(x)
        difference = (edited(x) - wanted).abs().max()
    assert difference <= 2e-6 * wanted.abs().max()
    edited.train()
    edited(x).sum().backward()  # its own norms take statistics then
    back = composer.eject(edited)
    assert type(back.layer2[1].bn1) is norm
    assert back.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in back.state_dict().items())


def test_one_that_holds_its_activation() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.bn1 = timm.layers.BatchNormAct2d(8)
            self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.bn2 = timm.layers.BatchNormAct2d(8)

        def forward(self, x: Tensor) -> Tensor:
            return self.bn2(self.conv2(self.bn1(self.conv1(x))))

    model = drawn(freeze_batch_norm_2d(Net())).eval()
    assert type(model.bn2) is FrozenBatchNormAct2d
    edited = composer.insert(model, "sk", stages=None, select="conv2", init="identity").eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(edited(x), model(x), atol=1e-5)
    assert type(composer.eject(edited).bn2) is FrozenBatchNormAct2d


@pytest.mark.long
def test_a_folder_keeps_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "from torchvision.models import resnet18\n"
        "from torchvision.ops.misc import FrozenBatchNorm2d\n\n\n"
        "def frozen():\n    return resnet18(norm_layer=FrozenBatchNorm2d, num_classes=4)\n"
    )
    edited = composer.insert("net.py:frozen", "sk")
    kept = composer.eject(edited).state_dict()
    composer.save(edited, "out")
    back = composer.eject(composer.load("out", trust_code=True))
    assert all(torch.equal(tensor, kept[key]) for key, tensor in back.state_dict().items())
    assert type(back.layer1[0].bn1) is FrozenBatchNorm2d
