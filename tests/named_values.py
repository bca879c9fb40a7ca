"""Values with named axes in plain torch, in their slowest and clearest form: for the interpreter.

Nothing here knows the compiler: a value is a tensor and the names of its axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Value:
    """A tensor, and a name for each of its axes."""

    data: Tensor
    axes: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.data.dim() == len(self.axes) == len(set(self.axes)), self.axes

    def size(self, axis: str) -> int:
        return self.data.shape[self.axes.index(axis)]

    @property
    def sizes(self) -> dict[str, int]:
        return dict(zip(self.axes, self.data.shape, strict=True))

    def to(self, axes: Sequence[str]) -> Tensor:
        """Return the tensor with these axes in this order; those it lacks have the size 1."""
        assert set(self.axes) <= set(axes), (self.axes, axes)
        x = self.data.permute([self.axes.index(axis) for axis in axes if axis in self.axes])
        for place, axis in enumerate(axes):
            if axis not in self.axes:
                x = x.unsqueeze(place)
        return x

    def last(self, *axes: str) -> Value:
        """Return the same value, with some axes last."""
        order = (*(axis for axis in self.axes if axis not in axes), *axes)
        return Value(self.to(order), order)

    def renamed(self, names: Mapping[str, str]) -> Value:
        return Value(self.data, tuple(names.get(axis, axis) for axis in self.axes))

    def merged(self, axes: Sequence[str], into: str) -> Value:
        """Return the value with several axes as one, the last of which steps by one."""
        at = self.last(*axes)
        rest = at.axes[: len(at.axes) - len(axes)]
        return Value(at.data.reshape((*at.data.shape[: len(rest)], -1)), (*rest, into))

    def apart(self, axis: str, into: Mapping[str, int]) -> Value:
        """Return the value with one axis as several; as none, where it has the size 1."""
        at = self.last(axis)
        sizes = (*at.data.shape[:-1], *into.values())
        return Value(at.data.reshape(sizes), (*at.axes[:-1], *into))

    def taken(self, axis: str, places: Tensor) -> Value:
        """Return the values at some places of an axis."""
        return Value(self.data.index_select(self.axes.index(axis), places), self.axes)

    def at(self, axis: str, place: int) -> Value:
        """Return the values at one place of an axis, which goes."""
        rest = tuple(other for other in self.axes if other != axis)
        return Value(self.data.select(self.axes.index(axis), place), rest)

    def reduced(self, axes: Sequence[str], function: Callable[[Tensor], Tensor]) -> Value:
        """Return the value with some axes gone, by a function of the last dimension."""
        flat = self.merged(axes, "*")
        return Value(function(flat.data), flat.axes[:-1])

    def each(self, function: Callable[[Tensor], Tensor]) -> Value:
        return Value(function(self.data), self.axes)


def number(value: float, like: Tensor) -> Value:
    return Value(torch.tensor(float(value), dtype=like.dtype), ())


def union(values: Iterable[Value]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(axis for value in values for axis in value.axes))


def meet(left: Value, right: Value, function: Callable[[Tensor, Tensor], Tensor]) -> Value:
    """Return a function of two values that meet by the names of their axes."""
    for axis in set(left.axes) & set(right.axes):
        assert left.size(axis) == right.size(axis), axis
    axes = union([left, right])
    return Value(function(left.to(axes), right.to(axes)), axes)


def contracted(values: Sequence[Value], out: Sequence[str]) -> Value:
    """Return the product of some values, summed over all axes but those of `out`."""
    letter = {axis: chr(ord("a") + place) for place, axis in enumerate(union(values))}
    for one in values:
        for other in values:
            assert all(one.size(axis) == other.size(axis) for axis in {*one.axes} & {*other.axes})
    terms = ",".join("".join(letter[axis] for axis in value.axes) for value in values)
    result = "".join(letter[axis] for axis in out)
    return Value(torch.einsum(f"{terms}->{result}", *(v.data for v in values)), tuple(out))


def padded(x: Value, axis: str, before: int, after: int) -> Value:
    """Return the value with zeros around one axis."""
    at = x.last(axis)
    zeros = [at.data.new_zeros(*at.data.shape[:-1], count) for count in (before, after)]
    return Value(torch.cat([zeros[0], at.data, zeros[1]], -1), at.axes)


def places(count: int, kernel: int, stride: int, dilation: int) -> Tensor:
    """Return which place each value of each window has, as [kernel, windows]."""
    return torch.tensor(
        [[window * stride + tap * dilation for window in range(count)] for tap in range(kernel)]
    ).reshape(kernel, count)


def windows(
    x: Value, axis: str, into: str, kernel: int, stride: int, around: tuple[int, int], dilation: int
) -> Value:
    """Return the windows along one axis, zeros around it, their values on a new axis `into`."""
    x = padded(x, axis, *around)
    count = (x.size(axis) - dilation * (kernel - 1) - 1) // stride + 1
    found = x.taken(axis, places(count, kernel, stride, dilation).flatten())
    return found.apart(axis, {into: kernel, axis: count})


def unwindowed(
    x: Value, axis: str, inner: str, size: int, stride: int, padding: int, dilation: int
) -> Value:
    """Return the sum of all windows at each place of an axis of some size."""
    x = x.last(inner, axis)
    kernel, count = x.size(inner), x.size(axis)
    total = x.data.new_zeros(*x.data.shape[:-2], size + 2 * padding)
    for tap, where in enumerate(places(count, kernel, stride, dilation)):
        total = total.index_add(-1, where, x.data[..., tap, :])
    return Value(total[..., padding : padding + size], (*x.axes[:-2], axis))
