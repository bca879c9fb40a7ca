"""The labels of links in a picture give way to the links that would run through them."""

from __future__ import annotations

import pytest

from composer.drawing.diagram import Box, Diagram, Link
from composer.drawing.labels import clear_of_links
from composer.drawing.layout import Layout, Rect, Way

WIDE, HIGH = 200.0, 200.0
LABEL = "8×14"  # 17.6 by 11.6 points
DOWN = Way(((100, 20), (100, 70), (100, 130), (100, 180)), (100, 182), (114, 100))


def label_after(*others: Way, boxes: dict[str, Rect] | None = None) -> tuple[float, float]:
    """Return where the label beside a straight link is once the other links are known."""
    links = [Link("top", "bottom", (LABEL,)), *(Link("left", "right") for _ in others)]
    places = {
        "top": Rect(80, 0, 40, 20), "bottom": Rect(80, 182, 40, 18),
        "left": Rect(0, 0, 20, 20), "right": Rect(180, 180, 20, 20), **(boxes or {}),
    }  # fmt: skip
    items = tuple(Box(name, "combine", name) for name in places)
    layout = Layout(WIDE, HIGH, places, (), (), (DOWN, *others))
    moved = clear_of_links(Diagram("", (), items, tuple(links)), layout)
    assert (moved.boxes, [way.points for way in moved.ways]) == (
        layout.boxes,
        [way.points for way in layout.ways],
    )
    label = moved.ways[0].label
    assert label is not None
    return label


def line(x0: float, y0: float, x1: float, y1: float) -> Way:
    """Return a straight link."""
    inner = [(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t) for t in (1 / 3, 2 / 3)]
    return Way(((x0, y0), *inner, (x1, y1)), None, None)


@pytest.mark.parametrize(
    ("other", "place"),
    [
        (line(0, 40, 200, 40), (114, 100)),  # not through it
        (line(0, 104, 200, 104), (110, 92)),  # through its lower edge: up, and nearer to its own
        (line(0, 96, 200, 96), (110, 108)),  # through its upper edge: down
        (line(121, 0, 121, 200), (110, 100)),  # at its right edge
        (line(118, 0, 118, 200), (90, 100)),  # no room between the two: to the other side
    ],
)
def test_a_label_moves_to_the_nearest_free_place_that_is_nearest_to_its_own_link(other, place):
    assert label_after(other) == place


def test_a_label_is_clear_of_boxes_too():
    x, y = label_after(line(118, 0, 118, 200), boxes={"beside": Rect(60, 90, 35, 20)})
    assert x < 100 and not 90 - 5.8 < y < 110 + 5.8


def test_a_label_stays_where_nothing_is_free():
    boxes = {"all": Rect(0, 0, WIDE, HIGH)}
    assert label_after(line(0, 100, 200, 100), boxes=boxes) == (114, 100)
