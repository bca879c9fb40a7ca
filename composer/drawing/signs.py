"""A sign for each kind of box, in addition to its colour: kinds also differ in grey.

Each consists of lines in a square of `SIDE` points, y downwards; a filled one is a polygon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, pi, sin

from composer.drawing.diagram import Box, Kind

Point = tuple[float, float]

SIDE = 6.0
#: From the corner of a box to that of its sign, in points.
FROM_EDGE = 2.8


@dataclass(frozen=True)
class Stroke:
    """Points joined by lines; a filled one is closed."""

    points: tuple[Point, ...]
    filled: bool = True


def _star() -> Stroke:
    points = []
    for corner in range(10):
        far, turn = (SIDE / 2 if corner % 2 == 0 else SIDE / 5), pi * corner / 5
        points.append((SIDE / 2 + far * sin(turn), SIDE / 2 - far * cos(turn)))
    return Stroke(tuple(points))


def _line(*points: Point) -> Stroke:
    return Stroke(points, filled=False)


#: Kinds without a sign differ by shape: an end is round, and a plain box is plain.
SIGNS: Mapping[Kind, tuple[Stroke, ...]] = {
    "reduce": (Stroke(((0.3, 0.8), (5.7, 0.8), (3, 5.4))),),
    "layer": (Stroke(((0.6, 0.6), (5.4, 0.6), (5.4, 5.4), (0.6, 5.4))),),
    "gate": (Stroke(((3, 0), (6, 3), (3, 6), (0, 3))),),
    "reweight": (_line((0.7, 0.7), (5.3, 5.3)), _line((5.3, 0.7), (0.7, 5.3))),
    "combine": (_line((3, 0.3), (3, 5.7)), _line((0.3, 3), (5.7, 3))),
    "inserted": (_star(),),
    "problem": (_line((3, 0.2), (3, 3.8)), _line((3, 4.7), (3, 5.9))),
}


def sign_of(box: Box) -> tuple[Stroke, ...]:
    """Return the sign of a box; none if the box itself is a sign."""
    kind: Kind = "problem" if box.problems else box.kind
    return () if len(box.title) == 1 and not box.lines else SIGNS.get(kind, ())
