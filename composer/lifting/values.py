"""A recorded tensor as a value of the spec: its positions, and the named axes in each.

A position of size 1 has no axis. One that a view merged from several has them all, the slowest
first, so a view of [b, c, h, w] as [b, c, h·w] needs no node: its last position has h and w.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

Numbers = tuple[int, ...]


class Missing(Exception):  # noqa: N818 - a finding; the report lists all of them
    """An operation without a counterpart; the message says why, the way out is `help`."""

    def __init__(self, message: str, way_out: str = "") -> None:
        super().__init__(message)
        self.message, self.way_out = message, way_out


class Unknown(Exception):  # noqa: N818 - already reported where it was found
    """An operation on the result of one without a counterpart."""


@dataclass(frozen=True)
class Source:
    """A tensor without a node yet, because its axes can still get any names.

    `learned` is the path of a parameter; else it is a constant, maybe a `buffer`. `tables` has its
    values in each run, and `axes` are its axes in memory order.
    """

    axes: tuple[str, ...]
    learned: str = ""
    tables: tuple[Tensor, ...] = ()
    buffer: str = ""


@dataclass(frozen=True)
class Value:
    """A tensor: its node, and the axes at each of its positions."""

    node: str
    dims: tuple[tuple[str, ...], ...]
    sizes: Mapping[str, Numbers] = field(default_factory=dict)
    bare: frozenset[str] = frozenset()  # axes that it is broadcast along, which its node lacks
    source: Source | None = None
    unknown: bool = False

    @property
    def axes(self) -> tuple[str, ...]:
        """All axes, in the order of the positions."""
        return tuple(axis for dim in self.dims for axis in dim)

    @property
    def own(self) -> tuple[str, ...]:
        """The axes that the node has."""
        return tuple(axis for axis in self.axes if axis not in self.bare)

    @property
    def is_free(self) -> bool:
        """Whether its axes can still get any names, because it has no node yet."""
        return self.source is not None

    @property
    def is_constant(self) -> bool:
        """Whether it is a constant."""
        return self.source is not None and not self.source.learned

    def size(self, dim: int, runs: int) -> Numbers:
        """Return the size of one position in each run."""
        return product([self.sizes[axis] for axis in self.dims[dim]], runs)

    def at(self, dims: Iterable[tuple[str, ...]]) -> Value:
        """Return the same value with its axes at other positions."""
        kept = tuple(dims)
        axes = {axis for dim in kept for axis in dim}
        sizes = {axis: size for axis, size in self.sizes.items() if axis in axes}
        return replace(self, dims=kept, sizes=sizes, bare=self.bare & axes)

    def named(self, names: Mapping[str, str]) -> Value:
        """Return the same value with renamed axes, which its node must have."""

        def new(axes: Iterable[str]) -> tuple[str, ...]:
            return tuple(names.get(axis, axis) for axis in axes)

        source = self.source
        return replace(
            self,
            dims=tuple(map(new, self.dims)),
            sizes={names.get(axis, axis): size for axis, size in self.sizes.items()},
            bare=frozenset(new(self.bare)),
            source=source and replace(source, axes=new(source.axes)),
        )


def product(sizes: Iterable[Numbers], runs: int) -> Numbers:
    """Return the product of sizes in each run."""
    listed = list(sizes)
    return tuple(math.prod(size[run] for size in listed) for run in range(runs))


def dim_of(dim: Any, rank: int) -> int:
    """Return a position counted from the front.

    Raises:
        Missing: it differs between runs.
    """
    if not isinstance(dim, int):
        raise Missing("the dimension depends on the input size")
    return dim % rank if rank else 0


def dims_of(dims: Any, rank: int) -> tuple[int, ...]:
    """Return positions counted from the front; all of them for None."""
    if dims is None:
        return tuple(range(rank))
    listed = dims if isinstance(dims, (tuple, list)) else (dims,)
    return tuple(dim_of(dim, rank) for dim in listed)
