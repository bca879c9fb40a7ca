"""Named axes, which the values of a spec have instead of positional dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from composer.language.expressions import Expr


@dataclass(frozen=True)
class Axes:
    """The axes of a value in memory order, each with its size."""

    sizes: tuple[tuple[str, Expr], ...]

    @classmethod
    def of(cls, sizes: Mapping[str, Expr]) -> Axes:
        """Return the axes of a mapping, in its order."""
        return cls(tuple(sizes.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """The names in order."""
        return tuple(name for name, _ in self.sizes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, axis: object) -> bool:
        return axis in self.names

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, axis: str) -> Expr:
        return dict(self.sizes)[axis]

    def index(self, axis: str) -> int:
        """Return the position of `axis` in memory."""
        return self.names.index(axis)

    def without(self, axes: Iterable[str]) -> Axes:
        """Return these axes without some."""
        gone = set(axes)
        return Axes(tuple((name, size) for name, size in self.sizes if name not in gone))

    def resized(self, axis: str, size: Expr) -> Axes:
        """Return these axes with a new size for one."""
        return Axes(tuple((n, size if n == axis else s) for n, s in self.sizes))

    def extended(self, sizes: Mapping[str, Expr], order: AxisOrder) -> Axes:
        """Return these axes with new ones inserted according to `order`."""
        return Axes.of(dict(sorted({**dict(self.sizes), **sizes}.items(), key=order.key)))

    def __str__(self) -> str:
        return f"[{', '.join(self.names)}]"


@dataclass(frozen=True)
class AxisOrder:
    """The memory order of all axes: the batch, then those a spec adds, then the input's.

    Every value keeps its axes in this order, so two values are aligned by unsqueezing only.
    """

    input: tuple[str, ...]
    added: tuple[str, ...] = ()

    def key(self, item: tuple[str, Expr]) -> tuple[int, int]:
        """Return the sort key of a (name, size) pair."""
        name = item[0]
        if name == self.input[0]:
            return (0, 0)
        if name in self.input:
            return (2, self.input.index(name))
        return (1, self._rank.get(name, len(self.added)))

    @cached_property
    def _rank(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.added)}
