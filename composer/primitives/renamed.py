"""A value whose axes have other names: what `use` with axes leaves; no op of the language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from composer.language.expressions import Expr
from composer.language.fields import NodeRef
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive


class Renamed(Primitive):
    """x, each axis of which has the name that stands beside it in `names`, or its own."""

    op: str = "renamed"
    x: NodeRef
    names: tuple[tuple[str, str], ...]

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes under their new names."""
        new = dict(self.names)
        sizes: dict[str, Expr] = {}
        for axis, size in axes(self.x).sizes:
            name = new.get(axis, axis)
            if name in sizes:
                raise AxisProblem(
                    "axis-exists",
                    f"two axes would have the name {name!r}",
                    ("axes",),
                    f"the value of the spec is {axes(self.x)} there; give its axis {name!r} a "
                    "name of here, too",
                )
            sizes[name] = size
        return Axes(()).extended(sizes, order)

    def lower(self, emit: Emitter) -> Any:
        """Write what brings the axes into the order of their new names."""
        new = dict(self.names)
        have = tuple(new.get(axis, axis) for axis in emit.axes(self.x))
        return emit.arrange(emit.node(self.x), have, emit.axes(emit.here).names)

    def label(self) -> str:
        """Return such as ``w as c, c as w``."""
        return ", ".join(f"{axis} as {name}" for axis, name in self.names)


def names_inside(axes: Axes, ours: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the name that each axis has inside a used spec, where that is another.

    Args:
        axes: those of the value that it is used on.
        ours: by the names of the spec, the axes of here.

    An axis of here whose name means another one there gets a name that no spec can write.
    """
    new = {axis: there for there, axis in ours.items()}
    taken = {*axes, *ours}
    for axis in axes:
        if axis in ours and axis not in new:
            while (free := new.get(axis, axis) + "'") in taken:
                new[axis] = free
            new[axis] = free
            taken.add(free)
    return tuple((axis, there) for axis, there in new.items() if axis != there)
