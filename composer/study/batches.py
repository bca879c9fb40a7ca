"""Which images are in which batch, and how each is changed: decided by the seed, not by the arm.

So all arms of one seed see the same images in the same order with the same augmentation, whatever
random numbers their weights or their dropout draw; and a run that goes on at a later step sees what
it would have seen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from composer.measure.seeds import seed_torch
from composer.study.data_sets import Images
from composer.study.study_file import Training

_WORDS = 2**32


def seed_all(*numbers: int) -> None:
    """Seed every generator that timm and torch draw from, by a mix of the numbers."""
    mixed = np.random.SeedSequence([number % _WORDS for number in numbers]).generate_state(3)
    random.seed(int(mixed[0]))
    np.random.seed(int(mixed[1]))
    seed_torch(int(mixed[2]))


@dataclass(frozen=True)
class Batches:
    """The batches of a run.

    Attributes:
        images: what is trained on.
        transform: from a picture to a tensor; it draws from the generators of Python, NumPy and
            torch.
        batch: how many images; the last of an epoch that do not fill a batch are omitted.
        seed: of the run.
        mode: what pictures are converted to: ``RGB``, or ``L`` for a network of one channel.
    """

    images: Images
    transform: Any
    batch: int
    seed: int
    mode: str = "RGB"

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        return len(self.images) // self.batch

    def order(self, epoch: int) -> list[int]:
        """Return the images of an epoch in their order."""
        drawn = np.random.default_rng([self.seed, epoch, 1])
        return [int(i) for i in drawn.permutation(len(self.images))]

    def of(self, epoch: int, begin: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (pixels [b, c, h, w], labels [b]) of an epoch, from step `begin` on."""
        order = self.order(epoch)
        for step in range(begin, self.steps):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            pixels = torch.stack([self._seen(epoch, index) for index in chosen])
            yield pixels, torch.tensor([self.images.labels[index] for index in chosen])

    def _seen(self, epoch: int, index: int) -> Tensor:
        seed_all(self.seed, epoch, index, 2)
        pixels: Tensor = self.transform(self.images.opened(index).convert(self.mode))
        return pixels


def test_batches(
    images: Images, transform: Any, batch: int, mode: str = "RGB"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (pixels, labels) of all images to test on, in their order."""
    for start in range(0, len(images), batch):
        chosen = range(start, min(start + batch, len(images)))
        pixels = [transform(images.opened(index).convert(mode)) for index in chosen]
        yield torch.stack(pixels), torch.tensor([images.labels[index] for index in chosen])


def transforms(config: dict[str, Any], size: int, training: Training) -> tuple[Any, Any]:
    """Return timm's transforms for training and for the test.

    Args:
        config: mean, std, interpolation and crop of the backbone (``resolve_data_config``).
        size: height and width.
        training: with the augmentation.
    """
    from timm.data.transforms_factory import create_transform

    create: Any = create_transform
    channels = config["input_size"][0]
    common = {
        "input_size": (channels, size, size),
        "interpolation": config["interpolation"],
        "mean": config["mean"],
        "std": config["std"],
    }
    own = training.augmentation
    train = create(
        **common, is_training=True, scale=tuple(own.scale), ratio=tuple(own.ratio),
        hflip=own.hflip, vflip=own.vflip, color_jitter=own.color_jitter or None,
        auto_augment=own.auto_augment, re_prob=own.re_prob,
    )  # fmt: skip
    return train, create(**common, crop_pct=config["crop_pct"])
