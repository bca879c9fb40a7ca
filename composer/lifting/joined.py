"""Joins several runs of one module at different sizes: each number that differs is a `Vec`.

The runs make the same calls in the same order; a size such as 64 in one and 128 in the other
becomes ``(64, 128)``, for which `composer.lifting.formulas` finds an expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from composer.lifting.recorded import Call, Leaf, Recording, Ref


class Vec(tuple[Any, ...]):
    """A number in each run; not all are equal."""

    __slots__ = ()


class Differ(Exception):  # noqa: N818 - a finding: then fewer runs are joined
    """The runs do not make the same calls."""


@dataclass(frozen=True)
class Joined:
    """The runs as one."""

    leaves: dict[int, tuple[Leaf, ...]]
    calls: tuple[Call, ...]
    shapes: dict[int, tuple[tuple[int, ...], ...]]
    output: Ref
    runs: int

    def shape(self, index: int) -> tuple[Any, ...]:
        """Return the sizes of a tensor, one for each run."""
        return tuple(zip(*self.shapes[index], strict=True))


def joined(runs: Sequence[Recording]) -> Joined:
    """Return the runs as one.

    Raises:
        Differ: they do not make the same calls.
    """
    first = runs[0]
    if len({len(run.calls) for run in runs}) > 1 or len({*(run.output for run in runs)}) > 1:
        raise Differ
    calls = tuple(_call(calls) for calls in zip(*(run.calls for run in runs), strict=True))
    shapes = {}
    for index, shape in first.shapes.items():
        others = [run.shapes.get(index) for run in runs]
        if any(other is None or len(other) != len(shape) for other in others):
            raise Differ
        shapes[index] = tuple(run.shapes[index] for run in runs)
    leaves = {}
    for index, leaf in first.leaves.items():
        found = [run.leaves.get(index) for run in runs]
        if any(one is None or (one.kind, one.name) != (leaf.kind, leaf.name) for one in found):
            raise Differ
        leaves[index] = tuple(run.leaves[index] for run in runs)
    return Joined(leaves, calls, shapes, first.output, len(runs))


def _call(calls: tuple[Call, ...]) -> Call:
    first = calls[0]
    if len({(one.op, one.path) for one in calls}) > 1:
        raise Differ
    return Call(
        first.op,
        _join([one.args for one in calls]),
        _join([one.kwargs for one in calls]),
        _join([one.result for one in calls]),
        first.path,
        first.kind,
        first.where,
        first.in_place,
    )


def _join(values: list[Any]) -> Any:
    first = values[0]
    if len({type(value) for value in values}) > 1:
        raise Differ
    if isinstance(first, tuple):
        if len({len(value) for value in values}) > 1:
            raise Differ
        return tuple(_join(list(parts)) for parts in zip(*values, strict=True))
    if isinstance(first, dict):
        if len({tuple(value) for value in values}) > 1:
            raise Differ
        return {key: _join([value[key] for value in values]) for key in first}
    if isinstance(first, slice):
        parts = [(value.start, value.stop, value.step) for value in values]
        return slice(*(_join(list(part)) for part in zip(*parts, strict=True)))
    if isinstance(first, (int, float)) and not isinstance(first, bool):
        return first if all(value == first for value in values) else Vec(values)
    if isinstance(first, Tensor) or any(value != first for value in values):
        raise Differ
    return first
