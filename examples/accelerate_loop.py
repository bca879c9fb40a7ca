"""A composed model in your own training loop with Accelerate, on one device or many.

    accelerate launch examples/accelerate_loop.py -o digits-accelerate

needs: pip install accelerate scikit-learn
"""

from __future__ import annotations

import argparse
from itertools import cycle, islice

import timm
import torch
from accelerate import Accelerator
from digits import digits
from torch.nn import functional
from torch.utils.data import DataLoader

import composer


def main() -> None:
    """Train, and write the composition."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("-o", "--output", default="digits-accelerate")
    told = parser.parse_args()
    accelerator = Accelerator()
    model = timm.create_model("resnet18", num_classes=10)
    model = composer.insert(model, "cbam", init="identity", inplace=True)
    groups = composer.parameter_groups(model, lr=1e-4, weight_decay=0.05, inserted_lr=1e-3)
    model, optimizer, loader = accelerator.prepare(
        model, torch.optim.AdamW(groups), DataLoader(digits(), batch_size=32, shuffle=True)
    )
    for pixels, labels in islice(cycle(loader), told.steps):
        loss = functional.cross_entropy(model(pixels), labels)
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
    accelerator.print(f"loss {loss.item():.3f}")
    if accelerator.is_main_process:
        composer.save(accelerator.unwrap_model(model), told.output)


if __name__ == "__main__":
    main()
