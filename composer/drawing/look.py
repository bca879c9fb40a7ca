"""The look of a picture: its direction, its width, its title and its legend."""

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
    """The look of a picture.

    Attributes:
        direction: ``"tb"``, from top to bottom, or ``"lr"``, from left to right.
        width: its width in points; None for what it needs.
        title: whether to write the title and the lines below it.
        sizes: whether to write the sizes of values beside the links.
        legend: whether to explain the kinds of boxes.
    """

    direction: Direction = "tb"
    width: float | None = None
    title: bool = True
    sizes: bool = True
    legend: bool = True


def look(direction: str, width: str | None, title: bool, sizes: bool, legend: bool) -> Look:
    """Return the look that a user requests.

    Raises:
        UsageError: there is no such direction, or the width is not a length.
    """
    known = get_args(Direction)
    if direction not in known:
        help_ = suggestion(direction, known, "Directions")
        raise UsageError(Diagnostic("usage", f"unknown direction {direction!r}", help_))
    chosen: Direction = "lr" if direction == "lr" else "tb"
    return Look(chosen, None if width is None else points_of(width), title, sizes, legend)


def points_of(width: str) -> float:
    """Return a length such as ``8.5cm`` in points.

    Raises:
        UsageError: it is not a length, or too small or too large for a picture.
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
