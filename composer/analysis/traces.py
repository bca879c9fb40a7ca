"""The forwards of one model's modules, in training and in evaluation mode, each recorded once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map_only

from composer.analysis.copies import copied
from composer.analysis.probe import Call, Probe
from composer.analysis.recording import Untraceable, draws, record, seeded
from composer.measure.cost import FakeRun

#: Seeds for recording a forward that draws random numbers, in training.
SEEDS = tuple(range(8))
_BATCHES = (1, 2)  # a batch norm may need more than one sample in training


@dataclass(frozen=True)
class Forward:
    """A module's forward as graphs that can be read: in training and in evaluation mode.

    `chances` are those of training under several `SEEDS`, if it draws random numbers itself;
    `batch` is its number of samples.
    """

    training: fx.Graph
    evaluation: fx.Graph
    chances: tuple[fx.Graph, ...] = ()
    batch: int = 1


@dataclass(frozen=True)
class Mode:
    """How a module runs."""

    training: bool
    gradients: bool = True

    def __str__(self) -> str:
        mode = "training" if self.training else "evaluation"
        return mode if self.gradients else f"{mode} without gradients"


TRAINING, EVALUATION = Mode(training=True), Mode(training=False)
INFERENCE = Mode(training=False, gradients=False)


def recorded(
    module: nn.Module,
    call: Call,
    mode: Mode,
    run: FakeRun | None = None,
    seed: int = 0,
    batch: int = 1,
    inside: Mapping[str, Sequence[Call]] | None = None,
) -> fx.Graph:
    """Return the graph of a module's forward as it runs in `call`, in a mode.

    Args:
        module: the called module.
        call: the call.
        mode: training or evaluation, with gradients or without.
        run: a fake copy of the module, if there is one.
        seed: of random numbers.
        batch: the number of samples instead of one.
        inside: calls of modules inside it, by relative path, which then need not run.

    Where the forward reads values of a tensor, such as a draw of ``torch.rand``, it runs on real
    ones, on a copy.

    Raises:
        Untraceable: it does not run this way, or see `record`.
    """
    run = run or FakeRun.of(module)
    device = next((t.device for t in run.state.values()), None)  # it may have moved since

    def on_fakes() -> None:
        given = (blank(x, batch, device) for x in (call.args, call.kwargs))
        args, kwargs = given
        run(module, lambda: args, nullcontext(), lambda: kwargs, mode.training, mode.gradients)

    try:
        return record(module, on_fakes, seed, _givers(inside or {}, batch, device))
    except Untraceable as why:
        if "aten." not in str(why) and "data-dependent" not in str(why):
            raise
        if any(p.is_meta for p in module.parameters()):
            raise
    return _on_numbers(module, call, mode, seed)


def _givers(
    calls: Mapping[str, Sequence[Call]], batch: int, device: torch.device | None
) -> dict[str, Callable[[], Any]]:
    """Return a function that repeats the outputs of modules, call after call."""

    def giver(its: Sequence[Call]) -> Callable[[], Any]:
        following = itertools.cycle(its)
        return lambda: blank(next(following).output, batch, device)

    return {path: giver(its) for path, its in calls.items()}


def _on_numbers(module: nn.Module, call: Call, mode: Mode, seed: int) -> fx.Graph:
    try:
        module = copied(module).train(mode.training)
    except RuntimeError:
        raise Untraceable("it holds something that can't be copied") from None
    with seeded(0):
        args, kwargs = random_inputs(module, call, (), None, 2)

    def on_numbers() -> None:
        with torch.set_grad_enabled(mode.gradients):
            module(*args, **kwargs)

    return record(module, on_numbers, seed)


def recorded_forward(
    module: nn.Module,
    call: Call,
    run: FakeRun | None = None,
    inside: Mapping[str, Sequence[Call]] | None = None,
    known: fx.Graph | None = None,
) -> Forward:
    """Return the forward of a module as it runs in `call`, in both modes; see `recorded`.

    The graph of one sample in evaluation may already be known.

    Raises:
        Untraceable: it can't be recorded, or its modes differ by more than chance.
    """
    run = run or FakeRun.of(module)
    why: Untraceable | None = None
    for batch in _BATCHES:
        try:
            seen = known if batch == 1 else None
            evaluation = seen or recorded(module, call, EVALUATION, run, 0, batch, inside)
            training = recorded(module, call, TRAINING, run, 0, batch, inside)
            if not draws(training):
                return Forward(training, evaluation, batch=batch)
            chances = tuple(
                recorded(module, call, TRAINING, run, seed, batch, inside) for seed in SEEDS
            )
        except Untraceable as reason:
            why = why or reason
        else:
            longest = max(chances, key=lambda graph: len(graph.nodes))
            return Forward(longest, evaluation, chances, batch)
    raise Untraceable(*(why.args if why else ()))


@dataclass
class Traces:
    """The forwards of one model's modules, each recorded once."""

    model: nn.Module
    run: FakeRun
    probe: Probe
    _done: dict[str, Forward | Untraceable] = field(default_factory=dict)
    _evaluations: dict[str, fx.Graph] = field(default_factory=dict)

    def evaluation(self, call: Call) -> fx.Graph:
        """Return the forward of the module that was called in evaluation mode alone.

        Raises:
            Untraceable: see `recorded`.
        """
        path = call.path
        if path not in self._evaluations:
            module, run = self.model.get_submodule(path), self.run.inside(path)
            inside = self.probe.inside(path)
            self._evaluations[path] = recorded(module, call, EVALUATION, run, inside=inside)
        return self._evaluations[path]

    def of(self, call: Call) -> Forward:
        """Return the forward of the module that was called.

        Raises:
            Untraceable: see `recorded_forward`.
        """
        if call.path not in self._done:
            try:
                module = self.model.get_submodule(call.path)
                run, inside = self.run.inside(call.path), self.probe.inside(call.path)
                known = self._evaluations.get(call.path)
                self._done[call.path] = recorded_forward(module, call, run, inside, known)
            except Untraceable as why:
                self._done[call.path] = why
        found = self._done[call.path]
        if isinstance(found, Untraceable):
            raise Untraceable(*found.args)
        return found


def blank(given: Any, batch: int = 1, device: torch.device | None = None) -> Any:
    """Return a call's inputs with uninitialised tensors of the same sizes."""

    def made(fake: Tensor) -> Tensor:
        shape = (batch, *fake.shape[1:]) if fake.dim() > 1 and fake.shape[0] == 1 else fake.shape
        return torch.empty(shape, dtype=fake.dtype, device=device or fake.device)

    return tree_map_only(Tensor, made, given)


def random_inputs(
    module: nn.Module, call: Call, spatial: tuple[int, ...], most: int | None, batch: int
) -> tuple[Any, Any]:
    """Return random inputs like those of a call: positional and keyword arguments.

    Args:
        module: the called module; it gives the device.
        call: the call.
        spatial: the axes of height and width.
        most: the largest height in pixels; width has one more, so that a mix-up shows.
        batch: the number of samples instead of one.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))

    def real(fake: Tensor) -> Tensor:
        shape = list(fake.shape)
        if fake.dim() > 1 and shape[0] == 1:  # else it does not belong to an image
            shape[0] = batch
        if spatial and fake.dim() == len(spatial) + 2 and most:
            for nth, axis in enumerate(spatial):
                shape[axis] = min(shape[axis], most + nth)
        return torch.randn(shape, device=device).to(fake.dtype)

    result: tuple[Any, Any] = tree_map_only(Tensor, real, (call.args, call.kwargs))
    return result
