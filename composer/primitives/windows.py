"""Windows that slide along an axis: how many there are."""

from __future__ import annotations

from composer.language.expressions import Expr, bind, constant


def strided(size: Expr, stride: Expr) -> Expr:
    """Return the number of windows under the padding that keeps the size at stride 1."""
    if stride == constant(1):
        return size
    steps = _of("//", _of("-", size, constant(1)), stride)
    return bind(_of("+", steps, constant(1)), {})


def windowed(size: Expr, kernel: Expr, stride: Expr, padding: Expr, dilation: Expr) -> Expr:
    """Return the number of windows under any padding, by torch's formula."""
    around = _of("*", constant(2), padding)
    reach = _of("*", dilation, _of("-", kernel, constant(1)))
    gained = bind(_of("-", around, reach), {})
    if gained.is_constant and int(gained.value) < 0:  # reads h - 2, not h + (-2)
        return strided(bind(_of("-", size, constant(-int(gained.value))), {}), stride)
    return strided(bind(_of("+", size, gained), {}), stride)


def _of(operation: str, left: Expr, right: Expr) -> Expr:
    return Expr(operation, 0, (left, right))
