"""The backbones that the rewriter is tested on, with the sites that their papers give them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from composer.models.model_string import ModelString
from composer.models.open import open_backbone

USER_MODEL = Path(__file__).with_name("user_model.py")


@dataclass(frozen=True)
class Backbone:
    """A MODEL string, where its stages are, and how many blocks each has.

    `stages` are the modules that give what the stages give; `channels` is what; `first` and
    `last` are the paths of the first and the last block; `skips` counts the blocks with a
    residual add. `norms` names the norm that ends a branch, where that is one. `drop` is the
    argument for a drop path rate, and `size` a small image that the model takes.
    """

    model: str
    stages: tuple[str, ...]
    channels: tuple[int, ...]
    blocks: tuple[int, ...] = ()
    first: str = ""
    last: str = ""
    skips: int = 0
    drop: str | None = None
    size: int = 64
    heavy: bool = False

    def __str__(self) -> str:
        return self.model.replace(str(USER_MODEL), "user")


def _resnets() -> list[Backbone]:
    bottleneck, rows = (256, 512, 1024, 2048), []
    table = [
        ("resnet18", (64, 128, 256, 512), (2, 2, 2, 2), False),
        ("resnet50", bottleneck, (3, 4, 6, 3), True),
        ("resnet101", bottleneck, (3, 4, 23, 3), True),
        ("resnext50_32x4d", bottleneck, (3, 4, 6, 3), True),
        ("wide_resnet50_2", bottleneck, (3, 4, 6, 3), True),
    ]
    for library in ("", "torchvision:"):
        for name, channels, blocks, heavy in table:
            rows.append(
                Backbone(
                    library + name,
                    ("layer1", "layer2", "layer3", "layer4"),
                    channels,
                    blocks,
                    "layer1.0",
                    f"layer4.{blocks[-1] - 1}",
                    sum(blocks),
                    drop=None if library else "drop_path_rate",
                    heavy=heavy,
                )
            )
    return rows


def _timm_stages(count: int) -> tuple[str, ...]:
    return tuple(f"blocks.{n}" for n in range(count))


_EFFICIENTNET = ((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1))

BACKBONES = [
    *_resnets(),
    Backbone("torchvision:mobilenet_v2",  # one flat row: a stage ends where the resolution falls
             tuple(f"features.{n}" for n in (1, 3, 6, 13, 17)), (16, 24, 32, 96, 320),
             (1, 2, 3, 7, 4), "features.1", "features.17", 10),
    Backbone("mobilenetv2_100", _timm_stages(7), (16, 24, 32, 64, 96, 160, 320),
             (1, 2, 3, 4, 3, 3, 1), "blocks.0.0", "blocks.6.0", 10, "drop_path_rate",
             heavy=True),
    Backbone("torchvision:efficientnet_b0", tuple(f"features.{n}" for n in range(1, 8)),
             *_EFFICIENTNET, "features.1.0", "features.7.0", 9, "stochastic_depth_prob",
             heavy=True),
    Backbone("efficientnet_b0", _timm_stages(7), *_EFFICIENTNET, "blocks.0.0", "blocks.6.0", 9,
             "drop_path_rate"),
    Backbone("tf_efficientnet_lite0", _timm_stages(7), *_EFFICIENTNET, "blocks.0.0", "blocks.6.0",
             9, "drop_path_rate", heavy=True),
    Backbone("regnety_002", ("s1", "s2", "s3", "s4"), (24, 56, 152, 368), (1, 1, 4, 7),
             "s1.b1", "s4.b7", 13, "drop_path_rate"),
    Backbone("torchvision:regnet_y_400mf",
             tuple(f"trunk_output.block{n}" for n in range(1, 5)), (48, 104, 208, 440),
             (1, 3, 6, 6), "trunk_output.block1.block1-0", "trunk_output.block4.block4-5", 16,
             heavy=True),
    *(Backbone(f"{library}densenet121",
               tuple(f"features.denseblock{n}" for n in range(1, 5)), (256, 512, 1024, 1024),
               (6, 12, 24, 16), "features.denseblock1.denselayer1",
               "features.denseblock4.denselayer16", heavy=library == "")
      for library in ("torchvision:", "")),
    *(Backbone(name, tuple(f"features.{n}" for n in layers), (64, 128, 256, 512, 512), blocks,
               f"features.{first}", f"features.{layers[-1]}", heavy=heavy, size=32)
      for name, layers, blocks, first, heavy in [  # a block is a layer with what follows it
          ("torchvision:vgg11?num_classes=10", (1, 4, 9, 14, 19), (1, 1, 2, 2, 2), 1, True),
          ("torchvision:vgg16?num_classes=10", (3, 8, 15, 22, 29), (2, 2, 3, 3, 3), 1, True),
          ("vgg11_bn?num_classes=10", (2, 6, 13, 20, 27), (1, 1, 2, 2, 2), 2, False)]),
    *(Backbone(name, stages, (96, 192, 384, 768), (3, 3, 9, 3), first, last, 18, drop, heavy=heavy)
      for name, stages, first, last, drop, heavy in [
          ("torchvision:convnext_tiny", tuple(f"features.{n}" for n in (1, 3, 5, 7)),
           "features.1.0", "features.7.2", "stochastic_depth_prob", True),
          ("convnext_tiny", tuple(f"stages.{n}" for n in range(4)),
           "stages.0.blocks.0", "stages.3.blocks.2", "drop_path_rate", False)]),
    Backbone(f"{USER_MODEL}:network", ("stages.0", "stages.1"), (16, 32), (2, 3),
             "stages.0.0", "stages.1.2", 5),
]  # fmt: skip


def backbone(name: str) -> Backbone:
    """Return a row of the table."""
    return next(row for row in BACKBONES if str(row) == name)


def enlivened(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every norm's weights and statistics, and each layer scale, anew.

    timm zeroes the last norm of a branch, which would hide where an edit went.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if tensor.dim() == 1 and tensor.is_floating_point() and not tensor.is_meta:
                drawn = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(drawn - 0.5 if key.endswith(("bias", "mean")) else 0.5 + drawn)
            elif key.endswith("layer_scale"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return model


@lru_cache(maxsize=2)
def _made(model: str) -> nn.Module:
    torch.manual_seed(0)
    return enlivened(open_backbone(ModelString.parse(model))).eval()


def make(row: Backbone, drop: float = 0.0) -> nn.Module:
    """Return a fresh copy of a backbone, in evaluation mode, with every branch alive."""
    model = row.model
    if drop and row.drop:
        model += f"{'&' if '?' in model else '?'}{row.drop}={drop}"
    return copy.deepcopy(_made(model))


def images(row: Backbone, batch: int = 2) -> Tensor:
    """Return random images that a backbone takes."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, row.size, row.size, generator=generator)
