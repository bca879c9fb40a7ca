"""Numbers that a training loop moves: the module that keeps one, and the call that moves all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from composer.errors import error


class Schedule(nn.Module):
    """One number, which goes evenly from `begin` to `end` in so many steps, and stays there.

    It is a buffer and never a Python number, so that a compiled model reads it anew.
    """

    value: Tensor
    step: Tensor

    def __init__(self, begin: float, end: float, steps: int) -> None:
        super().__init__()
        self.begin, self.end, self.steps = begin, end, steps
        self.register_buffer("value", torch.tensor(begin))
        self.register_buffer("step", torch.tensor(0))

    def forward(self) -> Tensor:
        """Return the number as it is now."""
        return self.value

    def advance(self, steps: int) -> None:
        """Go some steps further, at most to the end."""
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
            now = self._at(int(self.step))  # a wider number than what was rounded before
            if float(before) == float(torch.tensor(now, dtype=before.dtype)):
                self.value = torch.full_like(after, now)
        return self

    def extra_repr(self) -> str:
        """Return what a print of the model shows."""
        return f"{self.begin:g} to {self.end:g} in {self.steps} steps"


def advance(model: nn.Module, steps: int = 1) -> int:
    """Take every schedule inside a model further; call it once at the end of each epoch.

    Args:
        model: what `build`, `insert` or `load` gave, compiled or wrapped or not.
        steps: how many steps.

    Returns:
        The number of schedules, those that have ended among them.

    Raises:
        ComposerError: the model has no schedule, or `steps` is not a whole number from 0.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise error(
            "invalid-steps",
            f"the number of steps is {steps!r}, not a whole number from 0",
            "say advance(model) for one step; a schedule does not go back",
        )
    schedules = [module for module in model.modules() if isinstance(module, Schedule)]
    if not schedules:
        raise error(
            "no-schedule",
            f"this {type(model).__name__} has no schedule, so there is nothing to advance",
            "leave the call out, or insert a spec that has one, such as dynamic_conv",
        )
    for schedule in schedules:
        schedule.advance(steps)
    return len(schedules)
