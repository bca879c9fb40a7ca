"""How a picture is to look: its direction, its width, and what is around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from composer.drawing.diagram import Direction
from composer.errors import Diagnostic, UsageError, suggestion

_POINTS: Mapping[str, float] = {"cm": 72 / 2.54, "mm": 72 / 25.4, "in": 72.0, "pt": 1.0}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(cm|mm|in|pt)")
NARROWEST, WIDEST = 2.0, 200.0  # in centimetres


@dataclass(frozen=True)
class Look:
    """How a picture is to look.

    Attributes:
        direction: ``"tb"``, from top to bottom, or ``"lr"``, from left to right.
        width: how wide it is, in points; None for what it needs.
        title: whether the title and what is below it are written.
        sizes: whether the sizes of values are beside the links.
        legend: whether kinds of boxes are explained.
    """

    direction: Direction = "tb"
    width: float | None = None
    title: bool = True
    sizes: bool = True
    legend: bool = True


def look(direction: str, width: str | None, title: bool, sizes: bool, legend: bool) -> Look:
    """Return the look that a user asks for.

    Raises:
        UsageError: there is no such direction, or the width is no length.
    """
    known = get_args(Direction)
    if direction not in known:
        help_ = suggestion(direction, known, "Directions")
        raise UsageError(Diagnostic("usage", f"no direction {direction!r}", help_))
    chosen: Direction = "lr" if direction == "lr" else "tb"
    return Look(chosen, None if width is None else points_of(width), title, sizes, legend)


def points_of(width: str) -> float:
    """Return a length such as ``8.5cm`` in points.

    Raises:
        UsageError: it is none, or too small or too large for a picture.
    """
    found = _LENGTH.fullmatch(width.strip()) if isinstance(width, str) else None
    if found is None:
        message = f"the width {width!r} is not a length"
        raise UsageError(Diagnostic("usage", message, "write 8.5cm, 85mm, 3.35in or 241pt"))
    points = float(found[1]) * _POINTS[found[2]]
    if not NARROWEST <= points / _POINTS["cm"] <= WIDEST:
        message = f"the width {width!r} is not from {NARROWEST:g} to {WIDEST:g} cm"
        raise UsageError(Diagnostic("usage", message, "a column is about 8.5cm, a page 17.5cm"))
    return points
