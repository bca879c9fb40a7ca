"""Calls of a module through code that contains its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from composer.compiling.agreeing import Agreement
from composer.compiling.compiled import Compiled
from composer.errors import error
from composer.turns import TURN

_AGAIN = 'optimise it again: composer.optimize(model, for_="inference")'


class Frozen(Compiled):
    """Calls a module through code that contains its weights, and never with stale ones.

    Dynamo and inductor both read inductor's freezing setting whenever they compile; an option of
    `torch.compile` would reach only inductor, and freeze nothing. So each call sets it, for its own
    thread and its own duration. Float64 weights stay outside the code: inductor would pass their
    convolutions to oneDNN, which does not support float64.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self._places = list(_places(module))
        self._agreement = Agreement(module)
        numbers = [t.dtype for t in (*module.parameters(), *module.buffers())]
        self._freezes = not any(d.is_complex or d is torch.float64 for d in numbers)
        self._marks: list[tuple[int, int] | None] | None = None

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the compiled code without gradients, at first compared with the module.

        Raises:
            ComposerError: its weights changed after compilation, it is in training mode, or the
                results of the code differ from the module's.
        """
        import torch._inductor.config as inductor

        self._check()
        is_due = self._agreement.is_due(args, kwargs)
        # a compiler in one thread sees modes that are active in another
        turn = TURN if is_due else nullcontext()
        freezing = inductor.patch(freezing=self._freezes)
        with turn, torch.inference_mode(False), torch.no_grad(), freezing:
            found = super().run(*args, **kwargs)
            if is_due:
                wanted = self._agreement.own(args, kwargs)
                self._agreement.check(wanted, found, args, kwargs)
            return found

    def _check(self) -> None:
        name = type(self.module).__name__
        if self.module.training:
            raise error(
                "frozen",
                f"this {name} is optimised for inference, but is in training mode",
                "train the original model, or a copy: copy.deepcopy(model)",
            )
        tensors = [held.get(name) for _, held, name in self._places]
        marks = [None if t is None else (t._version, t.data_ptr()) for t in tensors]
        if self._marks is None:
            self._marks = marks
        elif marks != self._marks:  # written to, or another tensor
            keys = (key for key, _, _ in self._places)
            pairs = zip(keys, marks, self._marks, strict=True)
            key = next(key for key, now, then in pairs if now != then)
            raise error("frozen", f"{key!r} of this {name} changed after it was compiled", _AGAIN)


def _places(module: nn.Module) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield where each tensor of a module is held: its key, a dictionary, and its name there.

    Tensors created in inference mode are omitted: torch has no version counter for them.
    """
    for path, inside in module.named_modules():
        for held in (inside._parameters, inside._buffers):
            for name, tensor in held.items():
                if tensor is not None and not tensor.is_inference():
                    yield f"{path}.{name}".removeprefix("."), held, name
