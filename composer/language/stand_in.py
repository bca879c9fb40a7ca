"""What a spec that stands for a layer knows of it, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from composer.language.expressions import Expr, Value, constant, name, parse

StandsFor = Literal["conv2d", "attention", "norm", "mlp", "pool"]

#: By the place of a stand-in, what it stands for there.
STANDS_FOR: Mapping[str, StandsFor] = {
    "conv": "conv2d", "attention": "attention", "norm": "norm", "mlp": "mlp", "pool": "pool",
}  # fmt: skip
#: What has weights that a stand-in may begin with, so that it begins as that layer computes.
BEGINS_ALIKE = ("conv2d", "attention")

#: The names that stand for a convolution's own, beside the axes of its input.
CONV2D = ("out", "kernel", "stride", "padding", "dilation", "groups", "bias")

#: A convolution before one is met, where a choice depends on it: none of its sizes is special.
GENERAL = {
    "c": 8, "out": 12, "h": 15, "w": 10, "kernel": 3, "stride": 2, "padding": 1, "dilation": 1,
    "groups": 1,
}  # fmt: skip


def stand_in_names(stands_for: str | None) -> tuple[str, ...]:
    """Return the names that a spec knows of what it stands for."""
    return CONV2D if stands_for == "conv2d" else ()


def open_names(stands_for: str | None, kernel: int | None) -> dict[str, Value | Expr]:
    """Return what is known of a layer before it is met: little, and of its kernel what it matches.

    Whether there is a bias decides which nodes there are, so it can't stay open: there is none.
    """
    if stands_for != "conv2d":
        return {}
    known: dict[str, Value | Expr] = {**{n: name(n) for n in CONV2D}, "bias": False}
    if kernel is not None:
        known |= {"kernel": kernel, "padding": parse("dilation * (kernel // 2)")}
    return known


def usual(stands_for: str | None, kernel: int | None) -> dict[str, Value | Expr]:
    """Return the layer that is built where none is given: a convolution that keeps the map."""
    if stands_for != "conv2d":
        return {}
    return {
        "out": name("c"), "kernel": kernel or 3, "stride": 1, "dilation": 1, "groups": 1,
        "padding": parse("dilation * (kernel // 2)"), "bias": False,
    }  # fmt: skip


def convolved(size: Expr) -> Expr:
    """Return the height or width that a convolution gives, by torch's formula."""
    reach = parse("2 * padding - dilation * (kernel - 1) - 1")
    steps = Expr("//", 0, (Expr("+", 0, (size, reach)), name("stride")))
    return Expr("+", 0, (steps, constant(1)))
