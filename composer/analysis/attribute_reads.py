"""What is read of a layer besides its output, such as ``self.proj.weight.device``.

A module that replaces the layer has no such attribute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from composer.analysis.probe import Probe, run_through
from composer.measure.cost import FakeRun


def read_besides(model: nn.Module, paths: Sequence[str], probe: Probe) -> dict[str, str]:
    """Return the attribute that other modules read of some layers, by their paths.

    Args:
        model: a model.
        paths: of the layers.
        probe: how it runs.
    """
    found: dict[str, str] = {}
    runs = _Running()
    run = FakeRun.of(model)
    with ExitStack() as watches:
        for path in paths:
            watches.enter_context(_watched(model.get_submodule(path), path, runs, found))
        watch = runs.while_running(model.get_submodule(probe.entry))
        run_through(model, run, probe.inputs, probe.entry, watch, probe.has_numbers)
    return found


class _Running:
    """Whether the model runs; before that its weights are set, which also reads attributes."""

    on = False

    @contextmanager
    def while_running(self, model: nn.Module) -> Iterator[None]:
        def begin(*_: Any) -> None:
            self.on = True

        def end(*_: Any) -> None:
            self.on = False

        hooks = [model.register_forward_pre_hook(begin), model.register_forward_hook(end)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


@contextmanager
def _watched(layer: nn.Module, path: str, runs: _Running, found: dict[str, str]) -> Iterator[None]:
    """Note what is read of a layer while the model runs and the layer itself does not."""
    kind = type(layer)
    held = {*vars(layer), *layer._parameters, *layer._buffers, *layer._modules} - {"training"}
    names = {name for name in held if not name.startswith("_")}
    depth = 0

    def read(self: nn.Module, name: str) -> Any:
        if name in names and runs.on and not depth:
            found.setdefault(path, name)
        return kind.__getattribute__(self, name)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        depth += 1
        try:
            return kind.forward(self, *args, **kwargs)
        finally:
            depth -= 1

    body = {"__getattribute__": read, "forward": forward, "__module__": kind.__module__}
    metaclass: Any = type(kind)
    layer.__class__ = metaclass(kind.__name__, (kind,), body)
    try:
        yield
    finally:
        layer.__class__ = kind
