"""Scheduled numbers: the module that holds one, and the call that advances all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from composer.errors import error


class Schedule(nn.Module):
    """One number that moves linearly from `begin` to `end` in so many steps, and stays there.

    It is a buffer, never a Python number, so that a compiled model reads its current value.
    """

    value: Tensor
    step: Tensor

    def __init__(self, begin: float, end: float, steps: int) -> None:
        super().__init__()
        self.begin, self.end, self.steps = begin, end, steps
        self.register_buffer("value", torch.tensor(begin))
        self.register_buffer("step", torch.tensor(0))

    def forward(self) -> Tensor:
        """Return the current value."""
        return self.value

    def advance(self, steps: int) -> None:
        """Advance by some steps, at most to the end."""
        step = min(int(self.step) + steps, self.steps)
        self.step.fill_(step)
        self.value.fill_(self._at(step))

    def _at(self, step: int) -> float:
        way = step / self.steps
        return (1 - way) * self.begin + way * self.end

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Schedule:
        before = self.value
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        after = self.value
        if after.dtype != before.dtype and type(after) is Tensor and not after.is_meta:
            now = self._at(int(self.step))  # more precise than the value that was rounded before
            if float(before) == float(torch.tensor(now, dtype=before.dtype)):
                self.value = torch.full_like(after, now)
        return self

    def extra_repr(self) -> str:
        """Return the description shown when a model is printed."""
        return f"{self.begin:g} to {self.end:g} in {self.steps} steps"


def advance(model: nn.Module, steps: int = 1) -> int:
    """Advance every schedule in a model; call it once at the end of each epoch.

    Args:
        model: the result of `build`, `insert` or `load`, also if compiled or wrapped.
        steps: the number of steps.

    Returns:
        The number of schedules, including those that have ended.

    Raises:
        ComposerError: the model has no schedule, or `steps` is not a whole number from 0.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise error(
            "invalid-steps",
            f"the number of steps must be a whole number from 0, not {steps!r}",
            "call advance(model) for one step; a schedule can't go backwards",
        )
    schedules = [module for module in model.modules() if isinstance(module, Schedule)]
    if not schedules:
        raise error(
            "no-schedule",
            f"this {type(model).__name__} has no schedule, so there is nothing to advance",
            "omit the call, or insert a spec that has one, such as dynamic_conv",
        )
    for schedule in schedules:
        schedule.advance(steps)
    return len(schedules)
