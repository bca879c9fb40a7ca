"""One run: the network of an arm trained with a seed, from its last checkpoint on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from composer.errors import ComposerError, did_you_mean, error
from composer.study import checkpoint
from composer.study.batches import Batches, seed_all, test_batches, transforms
from composer.study.data_sets import DataSet
from composer.study.network import Builder, check_output
from composer.study.outcome import Epoch, Outcome
from composer.study.runs import Run
from composer.study.study_file import Study, Training
from composer.training.groups import parameter_groups

CHECKPOINT_EVERY = 60.0  # seconds, within an epoch
_STEP = 21  # what a step's seed is mixed with


@dataclass(frozen=True)
class Timing:
    """Seconds that a step of training takes, and a whole test; and the steps of an epoch."""

    step: float
    test: float
    steps: int

    def run(self, epochs: int) -> float:
        """Return the seconds of a whole run."""
        return epochs * (self.steps * self.step + self.test)


@dataclass(frozen=True)
class Trainer:
    """Trains the runs of a study.

    Attributes:
        builder: makes the networks.
        data: the images.
        folder: where checkpoints go.
        device: where networks run.
        checkpoint_every: seconds between checkpoints within an epoch.
    """

    builder: Builder
    data: DataSet
    folder: Path
    device: torch.device
    checkpoint_every: float = CHECKPOINT_EVERY

    @property
    def study(self) -> Study:
        """The study."""
        return self.builder.study

    def train(
        self,
        run: Run,
        on_epoch: Callable[[Epoch], bool] = lambda _: False,
        on_step: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Train one run to its end.

        Args:
            run: which one.
            on_epoch: gets what was measured after an epoch; True stops the run there.
            on_step: called before every step; it may raise, and the checkpoint stays.

        Raises:
            ComposerError: the network cannot be made or fails, or the checkpoint can't be written.
            NotPossibleError: the arm is a control that its mechanism cannot have.
        """
        path = self.folder / f"{run.key}.checkpoint"
        state = checkpoint.read(path)
        begun = time.perf_counter()
        model, batches, tested = self.prepared(run)
        training = run.study.training
        steps = batches.steps
        optimizer, scheduler = _optimizer(model, training, steps)
        outcome = Outcome()
        total, seen = 0.0, 0  # of the loss in this epoch
        if state is not None:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            outcome = _outcome_of(state["outcome"])
            total, seen = state["total"], state["seen"]
        spent, last = outcome.seconds, time.perf_counter()
        loss_of = _Loss(training, self.builder.classes)
        while len(outcome.epochs) < training.epochs:
            epoch = len(outcome.epochs)
            _learn(model, training, run.arm.kind == "plain")
            for pixels, labels in batches.of(epoch, outcome.steps - epoch * steps):
                on_step()
                seed_all(run.seed, outcome.steps, _STEP)
                if scheduler is not None:
                    scheduler.step_update(outcome.steps)
                loss = self._step(model, optimizer, loss_of, pixels, labels)
                outcome.steps += 1
                total, seen = total + loss * len(labels), seen + len(labels)
                outcome.seconds = spent + time.perf_counter() - begun
                if not math.isfinite(loss):
                    outcome.status = "diverged"
                    checkpoint.remove(path)
                    return outcome
                if time.perf_counter() - last >= self.checkpoint_every:
                    checkpoint.write(path, _state(model, optimizer, outcome, total, seen))
                    last = time.perf_counter()
            accuracy, test_loss = self.test(model, tested)
            outcome.epochs.append(Epoch(epoch + 1, total / seen, accuracy, test_loss))
            total, seen = 0.0, 0
            outcome.seconds = spent + time.perf_counter() - begun
            if len(outcome.epochs) < training.epochs:
                checkpoint.write(path, _state(model, optimizer, outcome, total, seen))
                last = time.perf_counter()
            if on_epoch(outcome.epochs[-1]) and len(outcome.epochs) < training.epochs:
                outcome.status = "stopped"
                break
        return outcome

    def finish(self, run: Run) -> None:
        """Remove what a run needed to go on, once its result is stored."""
        checkpoint.remove(self.folder / f"{run.key}.checkpoint")

    def prepared(self, run: Run) -> tuple[nn.Module, Batches, Any]:
        """Return a run's network on the device, its batches, and the transform of the test.

        Raises:
            ComposerError: the batch is larger than the data, or the network cannot be made.
        """
        from timm.data.config import resolve_data_config

        resolve: Any = resolve_data_config
        model = self.builder.backbone(run.seed) if run.arm.kind == "held" else None
        if model is None:
            model, _ = self.builder.network(run.arm, run.seed)
        config = resolve({}, model=model)
        mode = "L" if config["input_size"][0] == 1 else "RGB"
        try:
            train, test = transforms(config, run.study.data.size, run.study.training)
        except Exception as failure:  # whatever timm makes of a text such as auto_augment
            message = f"timm refuses the augmentation: {type(failure).__name__}: {failure}"
            way_out = "correct 'augmentation' under 'training'"
            raise error("study", message, way_out) from None
        batches = Batches(self.data.train, train, run.study.training.batch, run.seed, mode)
        if run.arm.kind == "held":
            first, _ = next(batches.of(0))
            model, _ = self.builder.network(run.arm, run.seed, first)
        return model.to(self.device), batches, (test, mode)

    def test(self, model: nn.Module, tested: Any) -> tuple[float, float]:
        """Return the top-1 accuracy and the mean loss on the images to test on."""
        model.eval()
        transform, mode = tested
        right, total = 0, 0.0
        batch = 4 * self.study.training.batch
        with torch.no_grad():
            for pixels, labels in test_batches(self.data.test, transform, batch, mode):
                labels = labels.to(self.device)
                with self._precision():
                    out = model(pixels.to(self.device))
                total += float(functional.cross_entropy(out.float(), labels, reduction="sum"))
                right += int((out.argmax(1) == labels).sum())
        return right / len(self.data.test), total / len(self.data.test)

    def timed(self, run: Run, steps: int = 3) -> Timing:
        """Return what a step and a test batch of a run take on this machine, the least of a few."""
        model, batches, (transform, mode) = self.prepared(run)
        optimizer, _ = _optimizer(model, run.study.training, batches.steps)
        loss_of = _Loss(run.study.training, self.builder.classes)
        _learn(model, run.study.training, run.arm.kind == "plain")
        train: list[float] = []
        begun = time.perf_counter()
        for pixels, labels in batches.of(0, max(0, batches.steps - steps - 1)):
            self._step(model, optimizer, loss_of, pixels, labels)
            train.append(time.perf_counter() - begun)
            begun = time.perf_counter()
        model.eval()
        tested = 4 * run.study.training.batch
        images = self.data.test.limited(2 * tested)
        test: list[float] = []
        begun = time.perf_counter()
        with torch.no_grad():
            for pixels, _ in test_batches(images, transform, tested, mode):
                with self._precision():
                    model(pixels.to(self.device))
                test.append((time.perf_counter() - begun) / len(pixels))
                begun = time.perf_counter()
        return Timing(min(train), min(test) * len(self.data.test), batches.steps)

    def check(self, run: Run) -> None:
        """Refuse a study whose network, batches or optimizer do not fit, before any run.

        Raises:
            ComposerError: code ``study``, with the way out.
        """
        model, batches, _ = self.prepared(run)
        pixels, _ = next(batches.of(0))
        check_output(model, pixels.to(self.device), self.builder.classes)
        name = run.study.training.optimizer
        try:
            _optimizer(model, run.study.training, batches.steps)
        except ComposerError:
            raise
        except Exception as failure:  # timm's own, or that of a library that it needs
            from timm.optim._optim_factory import list_optimizers

            said = (str(failure).strip().splitlines() or [type(failure).__name__])[0]
            message = f"timm cannot make the optimizer {name!r}: {said}"
            near = did_you_mean(name, map(str, list_optimizers()))
            way_out = near or "timm.optim.list_optimizers() lists the names"
            raise error("study", message, way_out) from None

    def _step(
        self, model: nn.Module, optimizer: Any, loss_of: _Loss, pixels: Tensor, labels: Tensor
    ) -> float:
        pixels, labels = pixels.to(self.device), labels.to(self.device)
        with self._precision():
            loss = loss_of(model, pixels, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())

    def _precision(self) -> AbstractContextManager[Any]:
        if self.study.training.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


class _Loss:
    """Cross-entropy, with timm's Mixup and label smoothing where the study says so."""

    def __init__(self, training: Training, classes: int) -> None:
        from timm.data.mixup import Mixup

        own = training.augmentation
        make: Any = Mixup
        self.mix = None
        self.smoothing = own.smoothing
        if own.mixup or own.cutmix:
            self.mix = make(
                mixup_alpha=own.mixup, cutmix_alpha=own.cutmix, label_smoothing=own.smoothing,
                num_classes=classes,
            )  # fmt: skip

    def __call__(self, model: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
        if self.mix is not None:
            pixels, targets = self.mix(pixels, labels)
            return functional.cross_entropy(model(pixels).float(), targets.to(pixels.device))
        out = model(pixels).float()
        return functional.cross_entropy(out, labels, label_smoothing=self.smoothing)


def _optimizer(model: nn.Module, training: Training, steps: int) -> tuple[Any, Any]:
    """Return timm's optimizer, and its schedule by steps; None where the rate is constant."""
    from timm.optim._optim_factory import create_optimizer_v2
    from timm.scheduler.scheduler_factory import create_scheduler_v2

    groups = parameter_groups(
        model, lr=training.lr, weight_decay=training.weight_decay, inserted_lr=training.inserted_lr
    )
    create: Any = create_optimizer_v2
    optimizer = create(groups, opt=training.optimizer, lr=training.lr)
    if training.schedule == "constant" and not training.warmup_epochs:
        return optimizer, None
    is_constant = training.schedule == "constant"
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched="multistep" if is_constant else training.schedule,
        decay_milestones=[],
        decay_rate=1.0,  # the power of 'poly'
        num_epochs=training.epochs,
        warmup_epochs=training.warmup_epochs,
        warmup_lr=0.0,
        warmup_prefix=False,
        min_lr=training.min_lr,
        step_on_epochs=False,
        updates_per_epoch=steps,
    )
    return optimizer, scheduler


def _learn(model: nn.Module, training: Training, head_alone: bool) -> None:
    """Put a model into training mode; norms keep their statistics where the study says so."""
    model.train(not head_alone)
    if training.freeze_norms:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _state(
    model: nn.Module, optimizer: Any, outcome: Outcome, total: float, seen: int
) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "outcome": asdict(outcome),
        "total": total,
        "seen": seen,
    }


def _outcome_of(state: dict[str, Any]) -> Outcome:
    epochs = [Epoch(**one) for one in state["epochs"]]
    return Outcome(epochs, state["seconds"], state["status"], state["steps"])
