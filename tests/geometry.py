"""What is not clean in a picture, measured apart from the code that draws it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import combinations

from fontTools.ttLib import TTFont

SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Area:
    """A rectangle of an SVG."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Area, by: float = 0.6) -> bool:
        return (
            self.x < other.x + other.width - by
            and other.x < self.x + self.width - by
            and self.y < other.y + other.height - by
            and other.y < self.y + self.height - by
        )

    def holds(self, other: Area, by: float = 0.6) -> bool:
        return (
            other.x >= self.x - by
            and other.x + other.width <= self.x + self.width + by
            and other.y >= self.y - by
            and other.y + other.height <= self.y + self.height + by
        )


@cache
def font(weight: str) -> tuple[dict[int, str], dict[str, tuple[int, int]]]:
    path = files("composer.drawing").joinpath("fonts", f"Arimo-{weight}.ttf")
    ttf = TTFont(str(path))
    return ttf.getBestCmap(), ttf["hmtx"].metrics


def text_area(element: ET.Element) -> Area:
    """The room of a text, by the widths in the font file itself."""
    size = float(element.get("font-size", ""))
    glyphs, metrics = font("Bold" if element.get("font-weight") == "bold" else "Regular")
    text = element.text or ""
    width = sum(metrics[glyphs[ord(c)]][0] if ord(c) in glyphs else 2048 for c in text)
    wide = width * size / 2048
    x, y = float(element.get("x", "")), float(element.get("y", ""))
    left = x - wide / 2 if element.get("text-anchor") == "middle" else x
    return Area(left, y - size * 0.74, wide, size * 0.95)


def shape_area(group: ET.Element) -> Area:
    circle = group.find(f"{SVG}circle")
    if circle is not None:
        x, y, r = (float(circle.get(name, "")) for name in ("cx", "cy", "r"))
        return Area(x - r, y - r, 2 * r, 2 * r)
    rect = group.find(f"{SVG}rect")
    assert rect is not None
    return Area(*(float(rect.get(name, "")) for name in ("x", "y", "width", "height")))


def curve(path: str) -> Iterator[tuple[float, float]]:
    """Yield places along ``M… C… L…``."""
    start, _, rest = path.removeprefix("M").partition(" C")
    curved, _, straight = rest.partition(" L")
    points = [tuple(map(float, word.split(","))) for word in (start, *curved.split())]
    for begin in range(0, len(points) - 3, 3):
        a, b, c, d = points[begin : begin + 4]
        for step in range(25):
            t = step / 24
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            yield tuple(  # type: ignore[misc]
                sum(w * p[axis] for w, p in zip(weights, (a, b, c, d), strict=True))
                for axis in (0, 1)
            )
    if straight:
        yield tuple(map(float, straight.split(",")))  # type: ignore[misc]


def faults(svg: str) -> list[str]:
    """Return what is not clean in a picture, in words; a clean one has none."""
    root = ET.fromstring(svg)
    graph = root.find(f"{SVG}g")
    assert graph is not None
    boxes = {
        g.get("data-name", ""): (shape_area(g), [text_area(t) for t in g.findall(f"{SVG}text")])
        for g in graph.findall(f"{SVG}g[@class='box']")
    }
    groups = [shape_area(g) for g in graph.findall(f"{SVG}g[@class='group']")]
    loose = [(t.text, text_area(t)) for t in graph.findall(f"{SVG}text")]
    found = []
    for name, (area, texts) in boxes.items():
        found += [f"a text leaves the box {name}" for text in texts if not area.holds(text)]
        found += [f"texts overlap in {name}" for a, b in combinations(texts, 2) if a.meets(b)]
        found += [f"{text!r} lies on the box {name}" for text, at in loose if at.meets(area)]
    found += [
        f"{a} overlaps {b}" for a, b in combinations(boxes, 2) if boxes[a][0].meets(boxes[b][0])
    ]
    found += [f"{a!r} overlaps {b!r}" for (a, x), (b, y) in combinations(loose, 2) if x.meets(y)]
    for number, (one, other) in enumerate(combinations(groups, 2)):
        apart = not one.meets(other)
        if not (apart or one.holds(other) or other.holds(one)):
            found.append(f"two groups overlap ({number})")
    for link in graph.findall(f"{SVG}g[@class='link']"):
        ends = {link.get("data-source"), link.get("data-target")}
        path = link.find(f"{SVG}path")
        assert path is not None
        for x, y in curve(path.get("d", "")):
            dot = Area(x, y, 0, 0)
            found += [
                f"the link {ends} runs through {name}"
                for name, (area, _) in boxes.items()
                if name not in ends and area.meets(dot, by=-0.01) and area.holds(dot, by=-1)
            ]
            found += [f"the link {ends} crosses {text!r}" for text, at in loose
                      if at.holds(dot, by=-0.5)]  # fmt: skip
    view = Area(0, 0, *map(float, root.get("viewBox", "").split()[2:]))
    outer = [(t.text, text_area(t)) for t in root.findall(f"{SVG}text")]
    found += [f"{text!r} leaves the picture" for text, at in outer if not view.holds(at)]
    found += [f"{a!r} overlaps {b!r}" for (a, x), (b, y) in combinations(outer, 2) if x.meets(y)]
    return list(dict.fromkeys(found))
