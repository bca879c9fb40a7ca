"""Whether the caller of a module still works with another one, tried before it is planned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from composer.analysis.copies import copied
from composer.analysis.parts import Anatomy, Part
from composer.analysis.paths import around
from composer.analysis.probe import Call
from composer.analysis.recording import seeded
from composer.analysis.traces import EVALUATION, INFERENCE, TRAINING, blank, random_inputs
from composer.surgery.trial import FUSES


class _Passing(nn.Module):
    """Returns a function of its first input, ignoring other inputs."""

    def __init__(self, gives: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.gives = gives

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return it."""
        return self.gives(x)


def swap_fault(
    model: nn.Module,
    known: Anatomy,
    part: Part,
    gives: Callable[[Tensor], Tensor] = Tensor.clone,
) -> str | None:
    """Return why a module can't be replaced, or None where it can.

    The caller runs in training and in evaluation, with and without gradients, and must call the
    replacement; so must the modules around it after ``fuse()`` and the like.

    Args:
        model: the backbone.
        known: its anatomy.
        part: the module.
        gives: makes numbers of the module's output shape from its input.
    """
    caller = known.caller_of(part.path).call
    return _caller_fault(model, known, part.path, caller, gives) or next(
        (
            fault
            for path in around(part.path)[1:]
            if known.probe.of(path)
            and (fault := _fused_fault(model, part.path, known.probe.of(path)[0], gives))
        ),
        None,
    )


def _caller_fault(
    model: nn.Module, known: Anatomy, path: str, caller: Call, gives: Callable[[Tensor], Tensor]
) -> str | None:
    owner, run = model.get_submodule(caller.path), known.traces.run.without(path)
    run, kind = run.inside(caller.path), type(owner).__name__
    for mode in (EVALUATION, INFERENCE, TRAINING):
        reason = None
        for batch in (1, 2):  # a batch norm may need more than one sample in training
            args, named = (partial(blank, given, batch) for given in (caller.args, caller.kwargs))
            with _swapped(model, path, gives) as calls, seeded(0):
                try:
                    run(owner, args, nullcontext(), named, mode.training, mode.gradients)
                except Exception as failure:
                    said = str(failure).splitlines()
                    reason = said[0][:120] if said else type(failure).__name__
                    continue
            if len(calls) != 1 and not (mode.training and not calls):
                return f"in {mode} {kind} calls its replacement {len(calls)} times"
            reason = None
            break
        if reason is not None:
            return f"with a replacement {kind} fails in {mode}: {reason}"
    return None


def _fused_fault(
    model: nn.Module, path: str, call: Call, gives: Callable[[Tensor], Tensor]
) -> str | None:
    """Return what a surrounding module may become that does not call the replacement."""
    holder = model.get_submodule(call.path)
    names = [name for name in FUSES if callable(getattr(type(holder), name, None))]
    if not names or any(p.is_meta for p in holder.parameters()):
        return None
    inner = path.removeprefix(f"{call.path}.") if call.path else path
    args, kwargs = random_inputs(holder, call, (), None, 1)
    for name in names:
        fused, other = copied(holder).eval(), copied(holder).eval()
        calls = _counted(other, inner, gives)
        try:
            with torch.no_grad():
                _become(fused, name)(*args, **kwargs)
        except Exception:  # it needs arguments, or does something else
            continue
        try:
            with torch.no_grad():
                _become(other, name)(*args, **kwargs)
        except Exception as failure:
            return f"{name}() of {type(holder).__name__} fails then: {failure}"
        if not calls:
            return f"{name}() of {type(holder).__name__} omits its replacement"
    return None


def _become(module: nn.Module, name: str) -> nn.Module:
    made = getattr(module, name)()
    return made if isinstance(made, nn.Module) else module


@contextmanager
def _swapped(
    model: nn.Module, path: str, gives: Callable[[Tensor], Tensor]
) -> Iterator[list[None]]:
    """Replace a module for a while; see `_counted`."""
    before = model.get_submodule(path)
    try:
        yield _counted(model, path, gives)
    finally:
        model.set_submodule(path, before)


def _counted(model: nn.Module, path: str, gives: Callable[[Tensor], Tensor]) -> list[None]:
    """Put a module at a path that returns a function of its input.

    Returns:
        A list with an item for each call of it. Its own count a fake run would undo.
    """
    passing, calls = _Passing(gives), list[None]()
    passing.register_forward_hook(lambda *_: calls.append(None))
    model.set_submodule(path, passing)
    return calls
