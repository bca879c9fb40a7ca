"""A composed model of transformers in its Trainer, which saves the recipe in the config.

    python examples/hf_trainer.py -o digits-trainer

`composer.load("digits-trainer")` opens what ``trainer.save_model`` wrote.

needs: pip install transformers accelerate scikit-learn
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from digits import digits
from torch.utils.data import Dataset
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

import composer


class Digits(Dataset[dict[str, Any]]):
    """Handwritten digits as the model takes them."""

    def __init__(self) -> None:
        self.images = digits()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one and its label."""
        pixels, label = self.images[index]
        return {"pixel_values": pixels, "labels": int(label)}


def main() -> None:
    """Train, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("-o", "--output", default="digits-trainer")
    told = parser.parse_args()
    config = ResNetConfig(
        hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic", embedding_size=32,
        num_labels=10,
    )  # fmt: skip
    model = composer.insert(ResNetForImageClassification(config), "eca", init="identity")
    groups = composer.parameter_groups(model, lr=1e-3, weight_decay=0.05, inserted_lr=1e-2)
    arguments = TrainingArguments(
        told.output, max_steps=told.steps, per_device_train_batch_size=32, report_to=[],
        save_strategy="no", logging_steps=max(told.steps // 4, 1),
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, train_dataset=Digits(), optimizers=(torch.optim.AdamW(groups), None)
    )
    trainer.train()
    trainer.save_model(told.output)


if __name__ == "__main__":
    main()
