"""The arguments of one recorded call, with each tensor as a value of the spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from composer.lifting.draft import Draft
from composer.lifting.joined import Vec
from composer.lifting.recorded import Call
from composer.lifting.values import Missing, Numbers, Unknown, Value


@dataclass(frozen=True)
class Given:
    """The arguments of a call, and the shapes of its results."""

    call: Call
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: tuple[tuple[Numbers, ...], ...]  # of each result, a size in each run
    runs: int
    maps: Callable[[], tuple[Value, ...]]  # all values so far

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument by position or name."""
        if len(self.args) > place:
            return self.args[place]
        return self.kwargs.get(name, default)

    def value(self, place: int, name: str) -> Value:
        """Return an argument that is a tensor.

        Raises:
            Unknown: it comes from an operation without a counterpart.
        """
        found = self.get(place, name)
        if not isinstance(found, Value):
            raise Missing(f"{name!r} is {found!r}, not a tensor")
        if found.unknown:
            raise Unknown
        return found

    def optional(self, place: int, name: str) -> Value | None:
        """Return an argument that is a tensor or None."""
        return None if self.get(place, name) is None else self.value(place, name)

    @property
    def x(self) -> Value:
        """The first argument."""
        return self.value(0, "input")

    @property
    def shape(self) -> tuple[Numbers, ...]:
        """The sizes of the first result."""
        return self.shapes[0]

    def rest(self, place: int) -> Any:
        """Return the arguments from a position on, given one by one or as one list."""
        rest = self.args[place:]
        is_list = len(rest) == 1 and isinstance(rest[0], tuple) and not isinstance(rest[0], Vec)
        return rest[0] if is_list else rest

    def vec(self, number: Any) -> Numbers:
        """Return a number in each run."""
        return tuple(number) if isinstance(number, Vec) else (number,) * self.runs


#: A rule adds the nodes for a call and returns its value, or one for each tensor it returns.
Rule = Callable[[Draft, Given], Any]


def per_dim(value: Any, count: int) -> tuple[Any, ...]:
    """Return one setting for each of several dimensions."""
    if isinstance(value, tuple) and not isinstance(value, Vec):
        return value * count if len(value) == 1 else value
    return (value,) * count
