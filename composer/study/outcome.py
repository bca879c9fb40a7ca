"""What a run gives, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Epoch:
    """What was measured after an epoch, which counts from 1; losses are means over images."""

    epoch: int
    train_loss: float
    accuracy: float
    loss: float


@dataclass
class Outcome:
    """What a run gave.

    Attributes:
        epochs: one after another.
        seconds: of training and tests, without those of an attempt that was killed after its last
            checkpoint.
        status: ``done``; ``stopped`` early by successive halving; ``diverged``, where the loss is
            not finite; ``failed``.
        steps: how many steps were taken.
    """

    epochs: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0
    status: str = "done"
    steps: int = 0
