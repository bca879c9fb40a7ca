"""A diagram in TikZ, for a paper, with styles to change at the top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from math import atan2, degrees

from composer.drawing.diagram import Box, Diagram, Group, Kind, Link
from composer.drawing.frame import frame_of, label_of
from composer.drawing.latex import latex, told
from composer.drawing.layout import Heading, Layout, Point, Rect, Way, lay_out
from composer.drawing.signs import FROM_EDGE, sign_of
from composer.drawing.text import shown
from composer.drawing.theme import Theme

LABEL_PAD = 4.0  # between a link and its label, in points

_ABOUT = """\
% Drawn by Composer; it compiles with pdflatex, lualatex and xelatex.
% For a paper: copy what is between here and \\begin{document} into the preamble, and the
% tikzpicture into a figure. Change its colours and styles there; \\resizebox scales it."""

_STYLES = r"""\tikzset{
  composer box/.style={draw, rounded corners=3pt, line width=0.6pt, align=center, inner sep=2pt,
    font=\sffamily\footnotesize, text=composerText},
  composer round/.style={circle, inner sep=0pt, font=\sffamily},
  composer faint/.style={dashed},
  composer link/.style={draw=composerLine, line width=0.6pt, -{Stealth[length=4.5pt]}},
  composer road/.style={composer link, draw=composerRoad, line width=1.5pt,
    -{Stealth[length=6pt]}},
  composer shared/.style={composer link, dashed, -},
  composer problem link/.style={composer link, draw=composerProblemEdge, dashed},
  composer note/.style={anchor=west, inner sep=0pt, align=center, font=\sffamily\scriptsize,
    text=composerFaint},
  composer heading/.style={inner sep=0pt, align=left, font=\sffamily\footnotesize,
    text=composerText},
  composer group/.style={draw=composerGroup, fill=composerInside, rounded corners=4pt,
    line width=0.4pt, inner sep=0pt},"""

_BADGE = (
    r"\newcommand\composerbadge[1]{{\fboxsep=1.5pt\fboxrule=0.4pt"
    r"\fcolorbox{composerInsertedEdge}{composerInserted}{\footnotesize\bfseries\strut #1}}}"
)

#: The most that TeX can place in one picture, with some margin.
MOST_POINTS = 16_000


def tikz(diagram: Diagram, theme: Theme) -> str:
    """Return a diagram, whose closed groups are already boxes, as a LaTeX document.

    Its only picture is a tikzpicture that needs only TikZ. Boxes and groups are
    the nodes ``b0`` and ``g0``, counted in the order of the diagram; places are in points. Title,
    caption and notes are comments.
    """
    drawn = in_latex(diagram)
    (layout,) = lay_out([drawn])
    return tikz_of(drawn, layout, theme, diagram)


def tikz_of(drawn: Diagram, layout: Layout, theme: Theme, whole: Diagram) -> str:
    """Return a diagram that `in_latex` made from a `whole` one as a LaTeX document."""
    return "\n".join(_Document(drawn, layout, theme, whole).lines()) + "\n"


class _Document:
    def __init__(self, drawn: Diagram, layout: Layout, theme: Theme, whole: Diagram) -> None:
        self.diagram, self.layout, self.theme, self.whole = drawn, layout, theme, whole
        self.ids = {box.name: f"b{number}" for number, box in enumerate(drawn.boxes)}
        self.kinds: list[Kind] = list(dict.fromkeys(_kind(box) for box in drawn.boxes))

    def lines(self) -> Iterator[str]:
        yield r"\documentclass[tikz,border=4pt]{standalone}"
        yield _ABOUT
        for text in (self.whole.title, *self.whole.caption, *self.whole.notes):
            yield f"% | {shown(text)}"
        yield r"\usepackage{tikz}"
        yield r"\usetikzlibrary{arrows.meta, backgrounds, fit}"
        yield from self._colours()
        yield _STYLES
        for kind in self.kinds:
            name = _name(kind)
            round_ = ", rounded corners=8pt" if kind == "end" else ""
            yield (
                f"  composer {kind}/.style={{composer box, draw={name}Edge, fill={name}{round_}}},"
            )
        yield "}"
        if any(box.badges for box in self.diagram.boxes):
            yield _BADGE
        yield r"\begin{document}"
        if self.theme.page != "#ffffff":
            yield r"\pagecolor{composerPage}"
        yield r"\begin{tikzpicture}[x=1pt, y=-1pt]"
        yield from self._picture()
        yield r"\end{tikzpicture}"
        yield r"\end{document}"

    def _colours(self) -> Iterator[str]:
        theme = self.theme
        named = {
            "composerPage": theme.page, "composerText": theme.text, "composerFaint": theme.faint,
            "composerLine": theme.line, "composerRoad": theme.road, "composerGroup": theme.group,
            "composerInside": theme.inside,
        }  # fmt: skip
        for kind in dict.fromkeys((*self.kinds, "inserted", "problem")):
            named[_name(kind)] = theme.fills[kind]
            named[f"{_name(kind)}Edge"] = theme.edges[kind]
        for name, colour in named.items():
            yield rf"\definecolor{{{name}}}{{HTML}}{{{colour.lstrip('#').upper()}}}"

    def _picture(self) -> Iterator[str]:
        yield "  % boxes"
        for box in self.diagram.boxes:
            yield f"  {self._box(box, self.layout.boxes[box.name])}"
            yield from self._sign(box)
        groups = list(self.diagram.groups)
        if groups:
            yield "  % headings of groups"
        for number, heading in enumerate(self.layout.headings):
            yield f"  {_heading(number, heading)}"
        if groups:
            yield r"  \begin{scope}[on background layer]"
        for number, (group, rect) in enumerate(zip(groups, self.layout.groups, strict=True)):
            yield f"    {self._group(number, group, rect)}"
        if groups:
            yield r"  \end{scope}"
        yield "  % links"
        links = list(zip(self.diagram.links, self.layout.ways, strict=True))
        for link, way in sorted(links, key=lambda one: one[0].road):
            yield f"  {self._link(link, way)}"
        for link, way in links:
            if way.label is not None:
                frame = label_of(link)
                at = _pair((way.label[0] - frame.width / 2 + LABEL_PAD, way.label[1]))
                rows = [latex(row.text) for row in frame.rows]
                yield rf"  \node[composer note] at {at} {{{_lines(rows)}}};"

    def _box(self, box: Box, rect: Rect) -> str:
        kind = _kind(box)
        styles = [f"composer {kind}", *(["composer faint"] if box.faint else [])]
        frame = frame_of(box)
        if frame.sign:
            styles += ["composer round", f"minimum size={rect.width:g}pt"]
        else:
            styles += [f"minimum width={rect.width:g}pt", f"minimum height={rect.height:g}pt"]
        middle = rect.x + rect.width / 2, rect.y + rect.height / 2
        rows = []
        for row in frame.rows:
            text = latex(row.text)
            if row.ink == "badge":
                rows.append(rf"\composerbadge{{{text}}}")
            elif row.ink == "problem":
                rows.append(rf"{{\scriptsize\color{{composerProblemEdge}}{text}}}")
            elif row.ink == "faint":
                rows.append(rf"{{\scriptsize\color{{composerFaint}}{text}}}")
            else:
                rows.append(rf"{{\small\bfseries {text}}}" if row.bold else f"{{{text}}}")
        return (
            rf"\node[{', '.join(styles)}] ({self.ids[box.name]}) at {_pair(middle)} "
            f"{{{_lines(rows)}}};"
        )

    def _sign(self, box: Box) -> Iterator[str]:
        """Write the sign of a box's kind, attached to the box."""
        for stroke in sign_of(box):
            corner = f"({self.ids[box.name]}.north west)"
            points = " -- ".join(
                f"++({x - px:.1f},{y - py:.1f})" for (px, py), (x, y)
                in pairwise(((-FROM_EDGE, -FROM_EDGE), *stroke.points))
            )  # fmt: skip
            first, _, rest = points.partition(" -- ")
            if stroke.filled:
                yield rf"  \fill[composerText] {corner} {first} -- {rest} -- cycle;"
            else:
                yield rf"  \draw[composerText, line width=1.2pt] {corner} {first} -- {rest};"

    def _group(self, number: int, group: Group, rect: Rect) -> str:
        style = "composer group, draw=composerInsertedEdge" if group.inserted else "composer group"
        corners = _pair((rect.x, rect.y)), _pair((rect.x + rect.width, rect.y + rect.height))
        within = [f"({self.ids[name]})" for name in _names(group)]
        around = " ".join([*corners, f"(h{number})", *within])
        return rf"\node[{style}, fit={{{around}}}] (g{number}) {{}};"

    def _link(self, link: Link, way: Way) -> str:
        style = {None: "road" if link.road else "link", "shared": "shared",
                 "problem": "problem link"}[link.mark]  # fmt: skip
        first, last = way.points[0], way.tip or way.points[-1]
        ends = self._anchor(link.source, first), self._anchor(link.target, last)
        words = [ends[0]]
        rest = way.points[1:]
        for at in range(0, len(rest), 3):
            one, two, end = rest[at : at + 3]
            begin = way.points[at]
            place = ends[1] if at + 3 >= len(rest) else _pair(end)
            if _is_straight(begin, one, two, end):
                words.append(f"-- {place}")
            else:
                words.append(f".. controls {_pair(one)} and {_pair(two)} .. {place}")
        return rf"\draw[composer {style}] {' '.join(words)};"

    def _anchor(self, name: str, at: Point) -> str:
        """Return a point on the edge of a box, relative to the box."""
        rect, identity = self.layout.boxes[name], self.ids[name]
        x, y = at[0] - rect.x - rect.width / 2, at[1] - rect.y - rect.height / 2
        if rect.width == rect.height:
            return f"({identity}.{round(degrees(atan2(-y, x))) % 360})"
        if abs(abs(x) - rect.width / 2) < 0.05:
            return f"([yshift={-y:.1f}pt]{identity}.{'east' if x > 0 else 'west'})"
        side = "south" if y > 0 else "north"
        return f"([xshift={x:.1f}pt]{identity}.{side})" if abs(x) > 0.05 else f"({identity}.{side})"


def _heading(number: int, heading: Heading) -> str:
    rows = [
        rf"{{\bfseries {latex(row.text)}}}" if row.bold
        else rf"{{\scriptsize\color{{composerFaint}}{latex(row.text)}}}"
        for row in heading.frame.rows
    ]  # fmt: skip
    at = _pair((heading.x + 2, heading.y + 1))
    return rf"\node[composer heading, anchor=north west] (h{number}) at {at} {{{_lines(rows)}}};"


def _lines(rows: Iterable[str]) -> str:
    """Return lines of a node; each in braces, so that none is read as an argument of the break."""
    found = ""
    for row in rows:
        gap = r" \\[2pt] " if row.startswith(r"\composerbadge") else r" \\ "
        found += gap * bool(found) + (row if row.startswith("{") else f"{{{row}}}")
    return found


def _is_straight(a: Point, b: Point, c: Point, d: Point) -> bool:
    return all(abs((d[0] - a[0]) * (p[1] - a[1]) - (d[1] - a[1]) * (p[0] - a[0])) < 0.5
               for p in (b, c))  # fmt: skip


def _pair(point: Point) -> str:
    return f"({point[0]:.1f},{point[1]:.1f})"


def _name(kind: str) -> str:
    return f"composer{kind.capitalize()}"


def _kind(box: Box) -> Kind:
    return "problem" if box.problems else box.kind


def _names(group: Group) -> Iterator[str]:
    for item in group.items:
        if isinstance(item, Box):
            yield item.name
        else:
            yield from _names(item)


def in_latex(diagram: Diagram) -> Diagram:
    """Return a diagram with the texts that LaTeX will print, so that widths match."""

    def of(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(told(text) for text in texts)

    def item(one: Box | Group) -> Box | Group:
        if isinstance(one, Group):
            inside = tuple(item(inner) for inner in one.items)
            return replace(
                one, title=told(one.title), small=of(one.small), items=inside,
                closed=box(one.closed),
            )  # fmt: skip
        return box(one)

    def box(one: Box) -> Box:
        return replace(
            one, title=told(one.title), lines=of(one.lines), small=of(one.small),
            badges=of(one.badges), problems=of(one.problems),
        )  # fmt: skip

    links = tuple(replace(link, label=of(link.label)) for link in diagram.links)
    return replace(diagram, items=tuple(item(one) for one in diagram.items), links=links)
