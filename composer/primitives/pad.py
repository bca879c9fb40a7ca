"""`pad`, `crop`: extend axes with zeros at the end, and cut them off again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from composer.language.expressions import Expr, evaluate
from composer.language.fields import AxisName, NodeRef, Size
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem, Emitter, Primitive, need_axes, whole

_TRIALS = (7, 10, 64, 1000)  # padding to a smaller size would silently drop values


class Pad(Primitive):
    """Axes with new sizes `to`: `pad` adds zeros at the end, `crop` cuts off the end.

    ``{op: pad, to: {h: h + -h % 7, w: w + -w % 7}}`` makes windows of 7×7 fit, and
    ``{op: crop, to: {h: h, w: w}}`` undoes it.
    """

    example: ClassVar[Mapping[str, str]] = {
        "pad": """
            fit: {op: pad, to: {h: h + -h % 7, w: w + -w % 7}}
            rows: {op: split, axis: h, into: {i: (h + -h % 7) / 7, y: 7}}
            windows: {op: split, axis: w, into: {j: (w + -w % 7) / 7, x: 7}}
            out: {op: norm, fn: layer, over: [y, x]}
        """,
        "crop": """
            fit: {op: pad, to: {h: h + -h % 7, w: w + -w % 7}}
            mix: {op: conv2d, kernel: 7, groups: c}
            out: {op: crop, to: {h: h, w: w}}
        """,
    }
    colour: ClassVar[str] = "combine"

    op: Literal["pad", "crop"]
    x: NodeRef | None = Field(default=None, description="the node above by default")
    to: dict[AxisName, Size] = Field(
        min_length=1, description="the new size of each axis: {h: h + -h % 7} is a multiple of 7"
    )

    def __hash__(self) -> int:
        return hash((self.op, self.x, frozenset(self.to.items())))

    def infer(self, axes: Callable[[Expr], Axes], order: AxisOrder) -> Axes:
        """Return the axes at their new sizes."""
        assert self.x is not None
        have = axes(self.x)
        for axis, size in self.to.items():
            if axis not in have:
                need_axes(have, (axis,), ("to", axis), self.x)
            self._need_direction(axis, have[axis], size)
            have = have.resized(axis, size)
        return have

    def _need_direction(self, axis: str, have: Expr, size: Expr) -> None:
        """Refuse a pad to less and a crop to more, tried at a few values of the open sizes.

        Raises:
            AxisProblem: code ``size-conflict``.
        """
        pads = self.op == "pad"
        for trial in _TRIALS:
            known = dict.fromkeys(have.names | size.names, trial)
            old, new = evaluate(have, known), evaluate(size, known)
            if not isinstance(old, (int, float)) or not isinstance(new, (int, float)):
                continue
            if (new < old) if pads else (new > old):
                there = f" where {' = '.join(sorted(known))} = {trial}" if known else ""
                other, more = ("crop", "fewer") if pads else ("pad", "more")
                way_out = f"to get {more}, write 'op: {other}'"
                if pads and known and size.is_constant:
                    way_out = f'write {axis}: "max({have}, {size})"'
                raise AxisProblem(
                    "size-conflict",
                    f"axis {axis!r} of {str(self.x)!r} has {old:g} values{there}, and {new:g} are "
                    f"{more}",
                    ("to", axis),
                    way_out,
                )

    def lower(self, emit: Emitter) -> Any:
        """Emit one pad, or a view for each cropped axis; nothing if the sizes are equal."""
        from torch.nn import functional

        assert self.x is not None
        node, axes = emit.node(self.x), emit.axes(self.x)
        changed = {axis: size for axis, size in self.to.items() if axes[axis] != size}
        if self.op == "crop":
            for axis, size in changed.items():
                node = emit.method("narrow", node, axes.index(axis), 0, emit.size(size))
            return node
        if not changed:
            return node
        last = min(map(axes.index, changed))
        amounts: list[Any] = []
        for axis in reversed(axes.names[last:]):
            amounts += [0, self._added(emit, axes, axis) if axis in changed else 0]
        return emit.function(functional.pad, node, tuple(amounts))

    def _added(self, emit: Emitter, axes: Axes, axis: str) -> Any:
        """Emit how many zeros are added to an axis, which may depend on its size."""
        import operator

        assert self.x is not None
        if axes[axis].is_constant and self.to[axis].is_constant:
            return whole(self.to[axis]) - whole(axes[axis])
        have = emit.method("size", emit.node(self.x), axes.index(axis))
        return emit.function(operator.sub, emit.size(self.to[axis]), have)

    def label(self) -> str:
        """Return such as ``pad h to 14, w to 14``."""
        return f"{self.op} {', '.join(f'{axis} to {size}' for axis, size in self.to.items())}"
