"""Sliding windows: their number along each axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from composer.language.expressions import Expr, bind, constant
from composer.language.source import YamlPath
from composer.primitives.axes import Axes
from composer.primitives.base import AxisProblem, whole
from composer.primitives.per_axis import for_each


def strided(size: Expr, stride: Expr) -> Expr:
    """Return the number of windows for the padding that keeps the size at stride 1."""
    if stride == constant(1):
        return size
    steps = _of("//", _of("-", size, constant(1)), stride)
    return bind(_of("+", steps, constant(1)), {})


def windowed(size: Expr, kernel: Expr, stride: Expr, padding: Expr, dilation: Expr) -> Expr:
    """Return the number of windows for any padding, by torch's formula."""
    around = _of("*", constant(2), padding)
    reach = _of("*", dilation, _of("-", kernel, constant(1)))
    gained = bind(_of("-", around, reach), {})
    if gained.is_constant and int(gained.value) < 0:  # reads h - 2, not h + (-2)
        return strided(bind(_of("-", size, constant(-int(gained.value))), {}), stride)
    return strided(bind(_of("+", size, gained), {}), stride)


def _of(operation: str, left: Expr, right: Expr) -> Expr:
    return Expr(operation, 0, (left, right))


class Numbers(NamedTuple):
    """Windows once they are bound: one number for each axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


#: The fields of windows that may differ between axes.
OF_WINDOWS = ("kernel", "stride", "padding", "dilation")


@dataclass(frozen=True)
class Slide:
    """Windows over some axes: the fields of an op, with one `kernel` size for each axis."""

    over: tuple[str, ...]
    kernel: tuple[Expr, ...]
    stride: tuple[Expr, ...]
    padding: tuple[Expr, ...] | None
    dilation: tuple[Expr, ...]

    def counts(self, have: Axes) -> dict[str, Expr]:
        """Return the number of windows along each axis of a map.

        Raises:
            AxisProblem: code ``wrong-number``, ``even-kernel`` or ``size-too-small``.
        """
        strides = for_each(self.stride, self.over, "stride")
        dilations = for_each(self.dilation, self.over, "dilation")
        if self.padding is None:
            for index, kernel in enumerate(self.kernel):
                _need_middle(kernel, ("kernel", index))
            return {
                axis: strided(have[axis], s) for axis, s in zip(self.over, strides, strict=True)
            }
        paddings = for_each(self.padding, self.over, "padding")
        found = {}
        for axis, *numbers in zip(
            self.over, self.kernel, strides, paddings, dilations, strict=True
        ):
            kernel, stride, padding, dilation = numbers
            found[axis] = windowed(have[axis], kernel, stride, padding, dilation)
            if found[axis].is_constant and whole(found[axis]) < 1:
                raise AxisProblem(
                    "size-too-small",
                    f"a kernel of {kernel} with dilation {dilation} does not fit into the size "
                    f"{have[axis]} of {axis!r} with a padding of {padding}",
                    ("padding", self.over.index(axis)),
                    "use a larger padding or a smaller kernel",
                )
        return found

    def numbers(self) -> Numbers:
        """Return kernel, stride, padding and dilation for each axis.

        Raises:
            AxisProblem: code ``open-size``.
        """
        kernel = tuple(whole(size, ("kernel",)) for size in self.kernel)
        stride, dilation = (
            tuple(whole(number, (field,)) for number in for_each(values, self.over, field))
            for field, values in (("stride", self.stride), ("dilation", self.dilation))
        )
        if self.padding is None:
            padding = tuple(d * (k // 2) for d, k in zip(dilation, kernel, strict=True))
        else:
            given = for_each(self.padding, self.over, "padding")
            padding = tuple(whole(number, ("padding",)) for number in given)
        return Numbers(kernel, stride, padding, dilation)


def _need_middle(kernel: Expr, field: YamlPath) -> None:
    if kernel.is_constant and whole(kernel) % 2 == 0:
        raise AxisProblem(
            "even-kernel",
            f"a window of {kernel} has no centre, so it needs a padding",
            field,
            "use an odd one, or write 'padding: 0' for windows inside the map",
        )
