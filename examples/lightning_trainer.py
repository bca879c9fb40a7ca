"""A composed model in Lightning's trainer: it is a module like any other.

    python examples/lightning_trainer.py -o digits-lightning

needs: pip install lightning scikit-learn
"""

from __future__ import annotations

import argparse

import lightning
import timm
import torch
from digits import digits
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

import composer


class Classifier(lightning.LightningModule):
    """A ResNet-18 with CBAM; the inserted modules have ten times the learning rate of the rest."""

    def __init__(self, lr: float = 1e-4) -> None:
        super().__init__()
        self.lr = lr
        self.model = composer.insert(
            timm.create_model("resnet18", num_classes=10), "cbam", init="identity", inplace=True
        )

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of a batch."""
        pixels, labels = batch
        loss = functional.cross_entropy(self.model(pixels), labels)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW with a separate learning rate for the inserted modules."""
        return torch.optim.AdamW(composer.parameter_groups(
            self.model, lr=self.lr, weight_decay=0.05, inserted_lr=10 * self.lr
        ))  # fmt: skip


def main() -> None:
    """Train, and write the composition."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("-o", "--output", default="digits-lightning")
    told = parser.parse_args()
    classifier = Classifier()
    trainer = lightning.Trainer(
        max_steps=told.steps, logger=False, enable_checkpointing=False, accelerator="auto"
    )
    trainer.fit(classifier, DataLoader(digits(), batch_size=32, shuffle=True))
    print(f"loss {float(trainer.callback_metrics['loss']):.3f}")
    composer.save(classifier.model, told.output)


if __name__ == "__main__":
    main()
