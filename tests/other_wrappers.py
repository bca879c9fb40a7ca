"""Modules that researchers write around a backbone: Lightning ones, two images, two networks."""

from __future__ import annotations

import copy
from typing import Any

import timm
import torch
from lightning import LightningModule
from torch import Tensor, nn
from torchvision.models import resnet18


class Classifier(LightningModule):
    """A torchvision backbone with its own head."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = resnet18(num_classes=5)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return self.loss(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Segmenter(LightningModule):
    """A timm backbone that gives features, and a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3, 4))
        self.lateral = nn.ModuleList(nn.Conv2d(n, 32, 1) for n in (64, 128, 256, 512))
        self.head = nn.Conv2d(32, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [layer(m) for layer, m in zip(self.lateral, self.encoder(x), strict=True)]
        y = maps.pop()
        while maps:
            z = maps.pop()
            y = z + nn.functional.interpolate(y, size=z.shape[-2:], mode="nearest")
        return self.head(y)


class Byol(LightningModule):
    """An online network and its slow copy, each on both views."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model("resnet18", num_classes=0)
        self.projector = nn.Sequential(nn.Linear(512, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.target = copy.deepcopy(nn.Sequential(self.backbone, self.projector))
        self.target.requires_grad_(False)

    def forward(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            goal = self.target(two)
        return self.projector(self.backbone(one)), goal


class Siamese(nn.Module):
    """One trunk on two images."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = resnet18(num_classes=32)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return (self.trunk(left) - self.trunk(right)).square().sum(1)
