"""A laid-out diagram as SVG: text stays text, and all fonts of the list have the same widths."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from composer.drawing.diagram import Box, Diagram, Group, Kind, Link
from composer.drawing.frame import (
    LEADING,
    SMALL,
    TITLE,
    Frame,
    Row,
    fitted,
    frame_of,
    label_of,
)
from composer.drawing.layout import Heading, Layout, Point, Rect, Way
from composer.drawing.look import Look
from composer.drawing.signs import FROM_EDGE, SIDE, SIGNS, Stroke, sign_of
from composer.drawing.text import FONTS, shown, width
from composer.drawing.theme import MEANING, Theme

MARGIN = 8.0
COLUMN_MARGIN = 1.0  # where the page around it has one
NARROWEST = 200.0
LOOK = Look()


def svg(
    diagram: Diagram,
    layout: Layout,
    theme: Theme,
    fonts: str = FONTS,
    look: Look = LOOK,
    bare: bool = False,
) -> str:
    """Return a picture as SVG.

    Args:
        diagram: the picture.
        layout: its layout.
        theme: the colours.
        fonts: a CSS list of font families, all as wide as Helvetica.
        look: whether there are title and legend, and the width.
        bare: whether to omit title, legend and notes.
    """
    return _Page(diagram, layout, theme, fonts, look, bare).written()


class _Page:
    def __init__(
        self,
        diagram: Diagram,
        layout: Layout,
        theme: Theme,
        fonts: str,
        look: Look,
        bare: bool,
    ) -> None:
        self.diagram, self.layout, self.theme = diagram, layout, theme
        self.fonts, self.look, self.bare = fonts, look, bare
        self.margin = MARGIN if look.width is None else COLUMN_MARGIN
        needed = layout.width
        if not bare and (look.title or look.legend or diagram.notes):
            needed = max(needed, NARROWEST)
        self.width = look.width or needed + 2 * self.margin

    def written(self) -> str:
        above = list(self._above()) if self.look.title and not self.bare else []
        top = self.margin + (len(above) * TITLE * LEADING + 4 if above else 0)
        end = top + self.layout.height
        below, under = self._below(end + 10)
        below, end = (below, under) if below and not self.bare else ([], end)
        height = end + self.margin
        left = (self.width - self.layout.width) / 2
        name = shown(self.diagram.title)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{self.width:.1f}pt" '
            f'height="{height:.1f}pt" viewBox="0 0 {self.width:.1f} {height:.1f}" '
            f'font-family="{escape(self.fonts)}">',
            f"<title>{escape(name)}</title>",
            f"<desc>{escape(shown(' '.join(self.diagram.caption)))}</desc>",
        ]
        if not self.bare:
            parts.append(
                f'<rect width="{self.width:.1f}" height="{height:.1f}" fill="{self.theme.page}"/>'
            )
        parts += above
        parts.append(f'<g transform="translate({left:.1f},{top:.1f})">')
        parts += self._graph()
        parts += ["</g>", *below, "</svg>"]
        return "\n".join(parts) + "\n"

    # ---------------------------------------------------------------------------------- graph

    def _graph(self) -> Iterator[str]:
        groups = list(self.diagram.groups)
        for group, rect in zip(groups, self.layout.groups, strict=True):
            yield from self._group(group, rect)
        links = list(zip(self.diagram.links, self.layout.ways, strict=True))
        for link, way in sorted(links, key=lambda one: one[0].road):
            yield from self._link(link, way)
        for box in self.diagram.boxes:
            yield from self._box(box, self.layout.boxes[box.name])
        for group, heading in zip(groups, self.layout.headings, strict=True):
            yield from self._heading(group, heading)
        for link, way in links:
            if way.label is not None and link.label:
                frame = label_of(link)
                x, y = way.label
                yield from self._rows(frame, x - frame.width / 2, y - frame.height / 2)

    def _group(self, group: Group, rect: Rect) -> Iterator[str]:
        edge = self.theme.edges["inserted"] if group.inserted else self.theme.group
        yield f'<g class="group" data-name="{_attribute(group.name)}">'
        yield f"<title>{escape(shown(group.title))}</title>"
        yield _rect(rect, 8, self.theme.inside, edge, 1.4 if group.inserted else 0.8)
        yield "</g>"

    def _heading(self, group: Group, heading: Heading) -> Iterator[str]:
        """Write the heading of a group."""
        yield from self._rows(heading.frame, heading.x + 2, heading.y, centred=False)

    def _box(self, box: Box, rect: Rect) -> Iterator[str]:
        frame = frame_of(box)
        kind: Kind = "problem" if box.problems else box.kind
        fill, edge = self.theme.fills[kind], self.theme.edges[kind]
        yield f'<g class="box" data-name="{_attribute(box.name)}">'
        yield f"<title>{escape(shown(box.name))}</title>"
        dash = ' stroke-dasharray="3,2"' if box.faint else ""
        if frame.sign:
            x, y = rect.x + rect.width / 2, rect.y + rect.height / 2
            yield (
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{rect.width / 2:.1f}" fill="{fill}" '
                f'stroke="{edge}"{dash}/>'
            )
        else:
            round_ = min(rect.height / 2, 12) if box.kind == "end" else 5
            yield _rect(rect, round_, fill, edge, 1.6 if box.badges or box.problems else 1.0, dash)
        ink = self.theme.text
        yield from sign_svg(sign_of(box), rect.x + FROM_EDGE, rect.y + FROM_EDGE, ink)
        x = rect.x + (rect.width - frame.width) / 2
        y = rect.y + (rect.height - frame.height) / 2
        yield from self._rows(frame, x, y)
        yield "</g>"

    def _rows(self, frame: Frame, x: float, y: float, centred: bool = True) -> Iterator[str]:
        for row in frame.rows:
            middle = x + frame.width / 2
            if row.ink == "badge":
                high = row.size * LEADING + 2
                strip = Rect(x + 5, y + row.baseline - row.size - 1, frame.width - 10, high)
                edge = self.theme.edges["inserted"]
                yield _rect(strip, 3, self.theme.fills["inserted"], edge, 0.8)
                at = strip.x + 3, strip.y + (high - SIDE) / 2
                yield from sign_svg(SIGNS["inserted"], *at, self.theme.text)
            yield self._text(row, middle if centred else x, y + row.baseline, centred)

    def _text(self, row: Row, x: float, y: float, centred: bool) -> str:
        ink = {
            "text": self.theme.text, "badge": self.theme.text, "faint": self.theme.faint,
            "problem": self.theme.edges["problem"],
        }[row.ink]  # fmt: skip
        anchor = ' text-anchor="middle"' if centred else ""
        weight = ' font-weight="bold"' if row.bold else ""
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{row.size:g}"{anchor}{weight} '
            f'fill="{ink}">{escape(row.text)}</text>'
        )

    def _link(self, link: Link, way: Way) -> Iterator[str]:
        colour = self.theme.road if link.road else self.theme.line
        colour = self.theme.edges["problem"] if link.mark == "problem" else colour
        thick = 2.2 if link.road else 1.0
        first, *rest = way.points
        curves = " ".join(_pair(point) for point in rest)
        dash = ' stroke-dasharray="4,3"' if link.mark else ""
        where = f'data-source="{_attribute(link.source)}" data-target="{_attribute(link.target)}"'
        yield f'<g class="link" {where}>'
        end = way.points[-1]
        straight = f" L{_pair(_short_of(end, way.tip))}" if way.tip else ""
        yield (
            f'<path d="M{_pair(first)} C{curves}{straight}" fill="none" stroke="{colour}" '
            f'stroke-width="{thick}"{dash}/>'
        )
        if way.tip is not None:
            yield f'<polygon points="{_arrow(end, way.tip, thick)}" fill="{colour}"/>'
        yield "</g>"

    # ------------------------------------------------------------------------------- around it

    def _above(self) -> Iterator[str]:
        y = self.margin
        middle = self.width / 2
        room = self.width - self.margin
        said = [(self.diagram.title, TITLE + 1, True)]
        said += [(text, SMALL + 0.5, False) for text in self.diagram.caption]
        lines = [(line, size, bold) for text, size, bold in said
                 for line in fitted(text, size, bold, room)]  # fmt: skip
        for text, size, bold in lines:
            y += TITLE * LEADING
            row = Row(text, size, "text" if bold else "faint", bold, 0)
            yield self._text(row, middle, y - 3, centred=True)

    def _below(self, y: float) -> tuple[list[str], float]:
        """Return the legend and the notes, and their lower end."""
        parts: list[str] = []
        kinds = {"problem" if box.problems else box.kind for box in self.diagram.boxes}
        legend = [kind for kind in MEANING if kind in kinds]
        if any(box.badges for box in self.diagram.boxes) and "inserted" not in legend:
            legend.append("inserted")
        if not self.look.legend:
            legend = []
        room = self.width - 2 * self.margin
        lines: list[list[tuple[Kind, float]]] = [[]]
        used = 0.0
        for kind in legend:
            wide = width(MEANING[kind], SMALL) + 24
            if lines[-1] and used + wide > room:
                lines.append([])
                used = 0.0
            lines[-1].append((kind, wide))
            used += wide
        for line in lines if legend else []:
            x = (self.width - sum(wide for _, wide in line)) / 2
            for kind, wide in line:
                fill, edge = self.theme.fills[kind], self.theme.edges[kind]
                parts.append(_rect(Rect(x, y - 0.5, 10, 10), 2, fill, edge, 0.8))
                ink = self.theme.text
                parts += sign_svg(SIGNS.get(kind, ()), x + 5 - SIDE / 2, y + 4.5 - SIDE / 2, ink)
                row = Row(MEANING[kind], SMALL, "faint", False, 0)
                parts.append(self._text(row, x + 13, y + 7.3, centred=False))
                x += wide
            y += 13
        for note in self.diagram.notes:
            for text in fitted(note, SMALL, False, room):
                row = Row(text, SMALL, "faint", False, 0)
                parts.append(self._text(row, self.margin, y + SMALL, centred=False))
                y += SMALL * LEADING
        return parts, y


def _rect(rect: Rect, radius: float, fill: str, edge: str, thick: float, more: str = "") -> str:
    return (
        f'<rect x="{rect.x:.1f}" y="{rect.y:.1f}" width="{rect.width:.1f}" '
        f'height="{rect.height:.1f}" rx="{radius:g}" fill="{fill}" stroke="{edge}" '
        f'stroke-width="{thick:g}"{more}/>'
    )


def sign_svg(strokes: tuple[Stroke, ...], x: float, y: float, ink: str) -> Iterator[str]:
    """Write a sign with its left upper corner at a place."""
    for stroke in strokes:
        points = " ".join(_pair((x + px, y + py)) for px, py in stroke.points)
        if stroke.filled:
            yield f'<polygon points="{points}" fill="{ink}"/>'
        else:
            yield (f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.5"/>')


def _pair(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"


def _short_of(end: Point, tip: Point) -> Point:
    """Return the end of a line, so that it does not show beside the tip of its arrow."""
    return tip[0] + (end[0] - tip[0]) * 0.6, tip[1] + (end[1] - tip[1]) * 0.6


def _arrow(end: Point, tip: Point, thick: float) -> str:
    """Return the corners of an arrow's head."""
    dx, dy = tip[0] - end[0], tip[1] - end[1]
    length = max((dx * dx + dy * dy) ** 0.5, 1e-6)
    dx, dy = dx / length, dy / length
    high, wide = 4.5 + thick, 2.0 + thick * 0.8
    x, y = tip[0] - dx * high, tip[1] - dy * high
    corners = (tip, (x - dy * wide, y + dx * wide), (x + dy * wide, y - dx * wide))
    return " ".join(_pair(corner) for corner in corners)


def _attribute(text: str) -> str:
    return escape(shown(text), quote=True)
