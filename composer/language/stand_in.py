"""The names by which a stand-in refers to the layer it replaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from composer.language.expressions import Expr, Value, constant, name, parse

StandsFor = Literal["conv2d", "attention", "norm", "mlp", "pool"]

#: What a stand-in stands for at each kind of place.
STANDS_FOR: Mapping[str, StandsFor] = {
    "conv": "conv2d", "attention": "attention", "norm": "norm", "mlp": "mlp", "pool": "pool",
}  # fmt: skip
#: The layers whose weights a stand-in may start from, so that it first computes the same.
BEGINS_ALIKE = ("conv2d", "attention")

#: The names of a convolution's own sizes, in addition to the axes of its input.
CONV2D = ("out", "kernel", "stride", "padding", "dilation", "groups", "bias")

#: A generic convolution, for choices made before the real one is known: no special sizes.
GENERAL = {
    "c": 8, "out": 12, "h": 15, "w": 10, "kernel": 3, "stride": 2, "padding": 1, "dilation": 1,
    "groups": 1,
}  # fmt: skip


def stand_in_names(stands_for: str | None) -> tuple[str, ...]:
    """Return the names by which a spec refers to the layer it stands for."""
    return CONV2D if stands_for == "conv2d" else ()


def open_names(stands_for: str | None, kernel: int | None) -> dict[str, Value | Expr]:
    """Return what is known of a layer in advance: little, except a kernel that `match` fixes.

    Which nodes exist depends on the bias, so it can't stay open: no bias is assumed.
    """
    if stands_for != "conv2d":
        return {}
    known: dict[str, Value | Expr] = {**{n: name(n) for n in CONV2D}, "bias": False}
    if kernel is not None:
        known |= {"kernel": kernel, "padding": parse("dilation * (kernel // 2)")}
    return known


def usual(stands_for: str | None, kernel: int | None) -> dict[str, Value | Expr]:
    """Return the default layer: a convolution that keeps the size of the map."""
    if stands_for != "conv2d":
        return {}
    return {
        "out": name("c"), "kernel": kernel or 3, "stride": 1, "dilation": 1, "groups": 1,
        "padding": parse("dilation * (kernel // 2)"), "bias": False,
    }  # fmt: skip


def convolved(size: Expr) -> Expr:
    """Return the output height or width of a convolution, by torch's formula."""
    reach = parse("2 * padding - dilation * (kernel - 1) - 1")
    steps = Expr("//", 0, (Expr("+", 0, (size, reach)), name("stride")))
    return Expr("+", 0, (steps, constant(1)))
