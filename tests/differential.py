"""A spec as the compiler builds it beside what the interpreter makes of it: what differs, in words.

Rounding moves a result that is ill-conditioned, and a kink or a tie has no one gradient. So where
the two differ, the interpreter is run again, each of its values off by a little: what moves as
much then is told apart as unsteady, and counted, for a compiler can't be held to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from named_axes import World, interpret
from random_graphs import RandomGraph
from torch import Tensor, nn
from torch.nn import functional

import composer
from composer.graph.frontend import load_spec
from composer.lower.build import compiled, lower, settings_for

CLOSE = 1e-9  # relative to the largest number of a tensor
NOISE = 1e-13
UNSTEADY = 1e-10  # how far the noise may move a result that is well-conditioned
SMALL = 1e-4  # of the largest gradient: what is smaller is rounding where it should be zero

Forward = Callable[[Tensor], Tensor]


@dataclass
class Outcome:
    """What came of one spec: where values are wrong, what could not be compared, and how often."""

    wrong: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)
    of_torch: list[str] = field(default_factory=list)  # right once torch's own fault is mended
    compared: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.wrong + other.wrong, self.unsteady + other.unsteady,
            self.of_torch + other.of_torch, self.compared + other.compared,
        )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A spec that is built, and what the interpreter needs to know of it."""

    text: str
    folder: Path
    layout: tuple[str, ...]
    params: Mapping[str, Any]
    module: nn.Module
    output: tuple[str, ...]
    advanced: int = 0


@dataclass(frozen=True)
class Run:
    """What a forward and a backward pass give, by name."""

    values: dict[str, Tensor]
    gradients: dict[str, Tensor]
    read: frozenset[str] = frozenset()


def built(graph: RandomGraph, folder: Path) -> Case:
    """Return a random graph as a case, its weights and statistics drawn.

    Raises:
        ComposerError: the spec is refused.
    """
    for name, text in {**graph.files, "drawn.yaml": graph.text}.items():
        (folder / name).write_text(text, encoding="utf-8")
    file = str(folder / "drawn.yaml")
    chosen = {
        "channels": graph.sizes.get("c"), "size": graph.size, "params": graph.params,
        "layout": graph.layout,
    }  # fmt: skip
    lowered = compiled(spec := load_spec(file), settings_for(spec, **chosen))
    module = lower(lowered).to(torch.float64)  # what `composer.build` does
    randomise(module, graph.seed)
    output = lowered.axes_of(lowered.output)
    assert output is not None
    advanced = graph.advanced if any(key.endswith(".step") for key in module.state_dict()) else 0
    if advanced:
        composer.advance(module, advanced)
    return Case(
        graph.text, folder, graph.layout, graph.params, module, output.names, advanced
    )  # fmt: skip


def check(graph: RandomGraph, folder: Path) -> Outcome:
    """Return what comes of a random graph: in evaluation and training, and at other sizes.

    Every second input of four axes lies in memory with its channels last.
    """
    case = built(graph, folder)
    shape = [graph.sizes[axis] for axis in graph.layout]
    last = len(shape) == 4 and graph.seed % 2 == 0
    found = compare(case, shape, training=False, last=last, seed=graph.seed)
    if not graph.draws:
        found += compare(case, shape, training=True, last=last, seed=graph.seed)
    if graph.seed % 3 == 0 and (other := _elsewhere(case, graph)) is not None:
        found += compare(case, other, training=False, seed=graph.seed)
    return found


def _elsewhere(case: Case, graph: RandomGraph) -> list[int] | None:
    """Return other sizes of the open axes, where the spec holds there and is built for them."""
    shape = [
        n if axis == "c" else n + 1 if axis == "b" else 2 * n
        for axis, n in ((axis, graph.sizes[axis]) for axis in graph.layout)
    ]
    x = torch.zeros(shape, dtype=torch.float64)
    case.module.eval()
    try:
        reference(case, x, case.module.state_dict(), False)
    except (AssertionError, RuntimeError, ValueError, IndexError, ZeroDivisionError):
        return None  # it says something of the first sizes alone
    try:
        case.module(x)
    except ValueError as refusal:
        if "was built for" not in str(refusal):
            raise
        return None
    return shape


def randomise(module: nn.Module, seed: int) -> None:
    """Draw every weight and statistic anew, so that no zero or one hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    drawn = dict(module.named_parameters())
    drawn |= {key: kept for key, kept in module.named_buffers() if "running_" in key}
    with torch.no_grad():
        for key, tensor in drawn.items():
            found = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            tensor.copy_(0.5 + found.abs() if key.endswith("running_var") else 0.6 * found)


def compare(
    case: Case, shape: Sequence[int], *, training: bool, last: bool = False, seed: int = 0,
    forward: Forward | None = None, close: float = CLOSE,
) -> Outcome:  # fmt: skip
    """Return how a case's module differs from the interpreter on a random input.

    Args:
        case: what is compared; its module is left as it was.
        shape: of the input.
        training: whether the module trains.
        last: whether the input, of four axes, lies in memory with its channels last.
        seed: of the input, and of what the output is multiplied by for the gradients.
        forward: what is called in place of the module, such as the module compiled.
        close: how far apart two tensors may be, relative to the largest number of one.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    kept = {key: tensor.clone() for key, tensor in case.module.state_dict().items()}
    case.module.train(training)
    theirs = reference(case, x, kept, training)
    wrong, compared = _differences(_of_module(case, x, theirs, forward), theirs, close)
    outcome = Outcome(wrong, compared=compared)
    missing = {key for key in kept if not key.endswith((".num_batches_tracked", ".step", ".value"))}
    if missing != set(theirs.read):
        outcome.wrong.append(f"other weights: {sorted(missing ^ set(theirs.read))}")
    elif outcome.wrong and not _with_torch_mended(case, x, kept, theirs, forward):
        outcome.of_torch, outcome.wrong = outcome.wrong, []
    elif outcome.wrong and (moved := _moved(case, x, kept, training, theirs)) > UNSTEADY:
        outcome.unsteady = [f"{one}, and noise moves it by {moved:.0e}" for one in outcome.wrong]
        outcome.wrong = []
    case.module.load_state_dict(kept)
    return outcome


def _differences(mine: Run, theirs: Run, close: float = CLOSE) -> tuple[list[str], int]:
    """Return where two runs differ, and how many tensors were compared."""
    wrong, compared = [], 0
    for key, ours, wanted, scale in _pairs(mine, theirs):
        compared += 1
        if not (off := distance(ours, wanted, scale)) <= close:
            wrong.append(f"{key} differs by {off:.1e}")
    return wrong, compared


def _with_torch_mended(
    case: Case, x: Tensor, kept: Mapping[str, Tensor], theirs: Run, forward: Forward | None
) -> list[str]:
    """Return where a module still differs where torch's batch norm is given what it can take.

    Its gradient on a CPU is wrong, torch 2.14.1, where an axis of size 1 leaves open how its input
    or the gradient that comes in lies in memory; `test_torch_s_own_fault` shows it.
    """
    plain = functional.batch_norm

    def mended(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y = plain(_in_order(x), *args, **kwargs)
        if y.requires_grad:
            y.register_hook(_in_order)
        return y

    case.module.load_state_dict(kept)
    with mock.patch.object(functional, "batch_norm", mended):
        return _differences(_of_module(case, x, theirs, forward), theirs)[0]


def _in_order(x: Tensor) -> Tensor:
    return x.clone(memory_format=torch.contiguous_format)


def reference(
    case: Case, x: Tensor, kept: Mapping[str, Tensor], training: bool, noise: float = 0.0
) -> Run:
    """Return what the interpreter gives."""
    x = x.detach().clone().requires_grad_()
    weights = {
        name: kept[name].clone().requires_grad_() for name, _ in case.module.named_parameters()
    }
    statistics = {key: kept[key].clone() for key in kept if "running" in key}
    world = World(weights, statistics, x, training, case.advanced, noise)
    found = interpret(case.text, case.folder, x, case.layout, case.params, world)
    assert set(found.axes) == set(case.output), (found.axes, case.output)
    y = found.to(case.output)
    values = {"output": y.detach(), **(world.statistics if training else {})}
    return Run(values, _gradients(y, x, weights), frozenset(world.read))


def _of_module(case: Case, x: Tensor, theirs: Run, forward: Forward | None) -> Run:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    before = x.detach().clone()
    y = case.module(x) if forward is None else forward(x)
    gradients = _gradients(y, x, dict(case.module.named_parameters()))
    assert torch.equal(before, x.detach()), "the input was written over"
    values = {"output": y.detach()}
    state = case.module.state_dict()
    return Run(values | {key: state[key] for key in theirs.values if key in state}, gradients)


def _gradients(y: Tensor, x: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(y.numel())
    by = torch.randn(y.shape, generator=generator, dtype=y.dtype)
    leaves = {"input": x, **weights}
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if y.requires_grad:
        found = torch.autograd.grad(y, list(leaves.values()), by, allow_unused=True)
    return {
        f"the gradient of {key}": torch.zeros_like(leaf) if grad is None else grad
        for (key, leaf), grad in zip(leaves.items(), found, strict=True)
    }


def _pairs(mine: Run, theirs: Run) -> Iterator[tuple[str, Tensor, Tensor, float]]:
    """Yield what is compared: its name, both, and the least number that counts."""
    for key, wanted in theirs.values.items():
        if key in mine.values or key == "output":  # what nothing reads has no statistics here
            yield key, mine.values[key], wanted, 0.0
    largest = max((float(g.abs().max()) for g in theirs.gradients.values() if g.numel()), default=0)
    for key, wanted in theirs.gradients.items():
        yield key, mine.gradients[key], wanted, SMALL * largest


def distance(ours: Tensor, wanted: Tensor, scale: float = 0.0) -> float:
    """Return how far two tensors are apart, relative to the largest number wanted."""
    if ours.shape != wanted.shape:
        return math.inf
    if not wanted.numel():
        return 0.0
    off, size = float((ours - wanted).abs().max()), float(wanted.abs().max())
    return off / max(size, scale, 1e-30) if off else 0.0


def _moved(case: Case, x: Tensor, kept: Mapping[str, Tensor], training: bool, theirs: Run) -> float:
    """Return how far the interpreter's own results move where each value is off by a little."""
    furthest = 0.0
    for _ in range(3):
        other = reference(case, x, kept, training, NOISE)
        for _, ours, wanted, scale in _pairs(other, theirs):
            off = distance(ours, wanted, scale)
            furthest = max(furthest, off if off == off else math.inf)
    return furthest
