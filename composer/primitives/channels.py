"""The output axes of a layer in place of the axis it mixes: a new size, or new axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from composer.language.expressions import Expr, bind, constant
from composer.language.fields import AxisName, Size
from composer.language.source import YamlPath
from composer.primitives.axes import Axes
from composer.primitives.base import AxisProblem, Emitter, whole

#: A size keeps the axis; a mapping names the axes that replace it, and ``{}`` removes it.
Out = Size | dict[AxisName, Size] | None


def out_axes(out: Expr | dict[str, Expr] | None, axis: str, size: Expr) -> dict[str, Expr]:
    """Return the axes that replace `axis`."""
    if out is None:
        return {axis: size}
    return {axis: out} if isinstance(out, Expr) else dict(out)


def need_free(rest: Axes, new: Mapping[str, Expr], whose: Expr, field: YamlPath = ("out",)) -> None:
    """Refuse a new axis with the name of one that rides along.

    Raises:
        AxisProblem: code ``axis-exists``.
    """
    for axis in new:
        if axis in rest:
            raise AxisProblem(
                "axis-exists",
                f"{str(whose)!r} already has an axis {axis!r}",
                (*field, axis),
                f"choose a name other than {', '.join(rest)}",
            )


def need_groups(groups: Expr, channels: Expr, out: Expr) -> None:
    """Refuse groups that do not divide the input or output channels, if these are known.

    Raises:
        AxisProblem: code ``groups-do-not-divide``.
    """
    for what, size in (("in", channels), ("out", out)):
        if not (size.is_constant and groups.is_constant):
            continue
        if whole(size) % whole(groups):
            raise AxisProblem(
                "groups-do-not-divide",
                f"{groups} groups do not divide {size} channels {what}",
                ("groups",),
                "choose groups that divide both",
            )


def product(axes: Mapping[str, Expr]) -> Expr:
    """Return the number of channels in the axes; no axis means one channel."""
    total = constant(1)
    for size in axes.values():
        total = bind(Expr("*", 0, (total, size)), {})
    return total


def spread(emit: Emitter, node: Any, new: Mapping[str, Expr], where: int, mixed: str) -> Any:
    """Emit the channels at dimension `where`, the axis `mixed`, as the axes that replace it."""
    if not new:
        return emit.method("squeeze", node, where)
    if len(new) == 1:
        return node
    return emit.method("unflatten", node, where, inferred(emit, new, "out", mixed))


def inferred(emit: Emitter, new: Mapping[str, Expr], field: str, whose: str) -> tuple[int, ...]:
    """Return the sizes of the axes that the axis `whose` is split into.

    The one that the spec computes from the whole, such as ``d: c / heads``, is inferred from the
    others, so that the channels of a pruned layer can also be split. If there are several such
    axes, all sizes are numbers: a guess could group the wrong channels.
    """
    written: Mapping[str, Expr] = getattr(emit.as_written, field, None) or {}
    made = [axis for axis in new if axis in written and written[axis].names & {whose, "out"}]
    left = made[0] if len(made) == 1 else None
    return tuple(-1 if axis == left else whole(size) for axis, size in new.items())
