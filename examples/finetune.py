"""Finetune a pretrained network with an inserted mechanism, on one process or many; resumable.

Takes `tf_efficientnet_lite0` with its ImageNet weights (``python examples/pretrained_lite0.py
--export`` writes lite0.safetensors), inserts the mechanism so that nothing changes at first
(``init="identity"``), and trains it on your own images, a folder of ``train/CLASS/*.png`` and
``val/CLASS/*.png``, or on scikit-learn's handwritten digits.

    python examples/finetune.py --weights lite0.safetensors --spec cbam -o runs/digits
    python examples/finetune.py --weights lite0.safetensors --spec eca --data my-photographs

The same file on several processes, which share each batch, or also each weight (FSDP2):

    torchrun --nproc-per-node 2 examples/finetune.py --weights lite0.safetensors
    torchrun --nproc-per-node 2 examples/finetune.py --weights lite0.safetensors --shard

Started again with the same `-o` it resumes from the last complete checkpoint, also on another
number of processes. At the end `-o` contains `model`, a composition:
``composer.load("runs/digits/model")``.

needs: pip install scikit-learn, for the digits
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from digits import digits
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import composer

BACKBONE = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class World:
    """This process among all training processes."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls) -> World:
        """Join the processes started by torchrun, or run alone."""
        on_gpu = torch.cuda.is_available()
        if "RANK" not in os.environ:
            return cls(0, 1, torch.device("cuda" if on_gpu else "cpu"))
        local = int(os.environ["LOCAL_RANK"])
        device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
        if on_gpu:
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if on_gpu else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def say(self, text: str) -> None:
        """Print from one process."""
        if self.rank == 0:
            print(text, flush=True)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()

    def total(self, *numbers: float) -> list[float]:
        """Return the sums over all processes."""
        summed = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        if self.size > 1:
            dist.all_reduce(summed)
        return summed.tolist()


# --------------------------------------------------------------------------------- the data


def images(told: argparse.Namespace) -> tuple[Dataset[Any], Dataset[Any], int]:
    """Return the training set, the test set, and the number of classes."""
    if told.data != "digits":
        folders = [Path(told.data) / part for part in ("train", "val")]
        for folder in folders:
            if not folder.is_dir():
                sys.exit(
                    f"{folder}: there is no such folder; it should contain one folder per class"
                )
        train, test = (ImageFolder(str(folder), _transform(told.size)) for folder in folders)
        if train.classes != test.classes:
            sys.exit(f"{told.data}: train and val have different classes")
        return train, test, len(train.classes)
    everything = digits(told.size)
    cut = len(everything) * 4 // 5
    train, test = Subset(everything, range(cut)), Subset(everything, range(cut, len(everything)))
    return train, test, 10


def _transform(size: int) -> v2.Compose:
    """Return the preprocessing of the weights: bicubic, the middle 87.5 %, from -1 to 1."""
    return v2.Compose(
        [
            v2.Resize(round(size / 0.875), interpolation=v2.InterpolationMode.BICUBIC),
            v2.CenterCrop(size),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )


def shares(count: int, batch: int, world: World, epoch: int, begin: int) -> Iterator[list[int]]:
    """Yield this process's share of each batch of an epoch, from batch `begin` on.

    The images of a batch depend only on the epoch, so that any number of processes sees the
    same ones.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(epoch)).tolist()
    for start in range(begin * batch, count - batch + 1, batch):
        yield order[start : start + batch][world.rank :: world.size]


# -------------------------------------------------------------------------------- the model


def composed(told: argparse.Namespace, classes: int) -> nn.Module:
    """Return the pretrained network with the mechanism inside, and a new head."""
    torch.manual_seed(told.seed)
    model = timm.create_model(BACKBONE)
    if told.weights:
        model.load_state_dict(load_file(told.weights))
    model = composer.insert(model, told.spec, init="identity", inplace=True)
    model.reset_classifier(classes)
    return model


def spread(model: nn.Module, world: World, shard: bool) -> nn.Module:
    """Return the model wrapped for all processes."""
    model.to(world.device)
    if world.size == 1:
        return model
    if not shard:
        return DistributedDataParallel(model)
    mesh = init_device_mesh(world.device.type, (world.size,))
    for stage in model.blocks:
        fully_shard(stage, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def learning(model: nn.Module) -> None:
    """Set training mode; norms keep the statistics of ImageNet, as is usual for small data."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


# ------------------------------------------------------------------------------ checkpoints


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints, the newest last; unfinished ones have another name."""
    return sorted(folder.glob("step-*[0-9]"), key=lambda path: int(path.name[5:]))


def write_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, world: World
) -> None:
    """Write a checkpoint under a temporary name, and rename it when every process has finished."""
    whole, begun = folder / f"step-{step}", folder / f"step-{step}.begun"
    weights, optimised = get_state_dict(model, optimizer)
    if world.rank == 0:
        shutil.rmtree(begun, ignore_errors=True)
    world.wait()
    state = {"model": weights, "optimizer": optimised, "step": step}
    dcp.save(state, checkpoint_id=begun, no_dist=world.size == 1)
    world.wait()
    if world.rank == 0:
        begun.rename(whole)
        for old in checkpoints(folder)[:-2]:
            shutil.rmtree(old)


def read_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, world: World
) -> int:
    """Load the newest complete checkpoint; return its step, or 0 if there is none."""
    there = checkpoints(folder)
    if not there:
        return 0
    weights, optimised = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": optimised, "step": 0}
    dcp.load(state, checkpoint_id=there[-1], no_dist=world.size == 1)
    set_state_dict(
        model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
    )
    world.say(f"resumed from {there[-1]}")
    return int(state["step"])


# -------------------------------------------------------------------------------- the loop


def main() -> None:
    """Train, test after each epoch, and write the model."""
    told = _parser().parse_args()
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one process
    world = World.join()
    if told.batch % world.size:
        sys.exit(f"--batch {told.batch} can't be shared evenly by {world.size} processes")
    train, test, classes = images(told)
    if len(train) < told.batch:
        sys.exit(f"--batch {told.batch} is more than the {len(train)} images to train on")
    model = composed(told, classes)
    whole = spread(model, world, told.shard)
    optimizer = torch.optim.AdamW(composer.parameter_groups(
        model, lr=told.lr, weight_decay=told.weight_decay, inserted_lr=told.inserted_lr
    ))  # fmt: skip
    rates = [group["lr"] for group in optimizer.param_groups]
    each = len(train) // told.batch
    last = min(told.epochs * each, told.steps or math.inf)
    folder = Path(told.output)
    folder.mkdir(parents=True, exist_ok=True)
    step = read_checkpoint(folder, model, optimizer, world)
    while step < last:
        epoch, begin = divmod(step, each)
        learning(model)
        share = shares(len(train), told.batch, world, epoch, begin)
        for pixels, labels in DataLoader(train, batch_sampler=list(share)):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 + math.cos(math.pi * step / last)) / 2
            loss = trained(whole, optimizer, pixels.to(world.device), labels.to(world.device))
            step += 1
            mean = world.total(loss)[0] / world.size
            world.say(f"step {step} of {last}, loss {mean:.4f}")
            if step % told.every == 0 or step == last:
                write_checkpoint(folder, model, optimizer, step, world)
            if step == last:
                break
        right, of = world.total(*correct(whole, test, told.batch, world))
        world.say(f"after epoch {epoch + 1}: {right:.0f} of {of:.0f} right, {right / of:.1%}")
    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    if world.rank == 0:
        written = composed(told, classes)
        written.load_state_dict(weights)
        backbone = f"{BACKBONE}?num_classes={classes}"
        composer.save(written, folder / "model", backbone=backbone, force=True)
        world.say(f"written to {folder / 'model'}")
    if world.size > 1:
        dist.destroy_process_group()


def trained(
    model: nn.Module, optimizer: torch.optim.Optimizer, pixels: Tensor, labels: Tensor
) -> float:
    """Take one step; return the loss."""
    loss = functional.cross_entropy(model(pixels), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def correct(model: nn.Module, test: Dataset[Any], batch: int, world: World) -> tuple[int, int]:
    """Return how many of this process's images are classified correctly, and their number."""
    model.eval()
    count: int = len(test)  # type: ignore[arg-type]
    # each process runs equally often, since sharded weights are gathered in each pass
    mine = range(world.rank, -(-count // world.size) * world.size, world.size)
    some = [mine[start : start + batch] for start in range(0, len(mine), batch)]
    loader = DataLoader(test, batch_sampler=[[i % count for i in part] for part in some])
    right = 0
    for part, (pixels, labels) in zip(some, loader, strict=True):
        answers = model(pixels.to(world.device)).argmax(1)
        counts = torch.tensor([i < count for i in part], device=world.device)
        right += int(((answers == labels.to(world.device)) & counts).sum())
    return right, sum(i < count for i in mine)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--data", default="digits", help="a folder with train and val, or digits (the default)")
    add("--weights", metavar="FILE", help=f"weights of {BACKBONE}; random by default")
    add("--spec", default="cbam", help="what to insert (default: cbam)")
    add("--size", type=int, default=96, help="height and width of the images (default: 96)")
    add("--epochs", type=int, default=5)
    add("--steps", type=int, help="stop after this many steps, whatever the epoch")
    add("--batch", type=int, default=32, help="images per step, over all processes")
    add(
        "--lr",
        type=float,
        default=1e-4,
        help="learning rate of the pretrained weights and the head",
    )
    add("--inserted-lr", type=float, default=1e-3, help="learning rate of the inserted modules")
    add("--weight-decay", type=float, default=0.05)
    add("--shard", action="store_true", help="also shard the weights (FSDP2)")
    add("--every", type=int, default=20, help="steps between checkpoints")
    add("--seed", type=int, default=0)
    add("-o", "--output", default="runs/finetune", metavar="FOLDER")
    return parser


if __name__ == "__main__":
    main()
