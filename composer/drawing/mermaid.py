"""A diagram in Mermaid: a flowchart for a README or an issue, drawn by the reader's page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from composer.drawing.diagram import Box, Diagram, Direction, Group, Kind, Link
from composer.drawing.frame import folded
from composer.drawing.text import cut, shown
from composer.drawing.theme import Theme

MOST_LETTERS = 64
#: Mermaid's own limits for a chart, which only the page that shows it can raise.
MOST_LINKS, MOST_TEXT = 499, 50_000
#: What must be escaped in a label: all but letters, digits, and marks without a meaning in their
#: position. `ﬂ` is Mermaid's own mark of an entity.
_UNSAFE = re.compile(r"(?<!\w)[.-]|[.-](?!\w)|[^\w ,+/=×·.-]|[_\ufb02]")


def mermaid(
    diagram: Diagram, theme: Theme, titled: bool = True, direction: Direction = "tb"
) -> str:
    """Return a diagram, whose closed groups are already boxes, as a Mermaid flowchart.

    Boxes and groups have the ids ``b0`` and ``g0``, counted in the order of the diagram. Notes
    and the lines below the title are comments, and the description for screen readers.
    """
    return "\n".join(_Chart(diagram, theme).lines(titled, direction)) + "\n"


def escaped(text: str) -> str:
    """Return a text escaped for Mermaid, on one line.

    Possible syntax becomes an entity code (``#35;``).
    """
    return _UNSAFE.sub(lambda found: f"#{ord(found[0])};", shown(text))


class _Chart:
    def __init__(self, diagram: Diagram, theme: Theme) -> None:
        self.diagram, self.theme = diagram, theme
        self.ids = {box.name: f"b{number}" for number, box in enumerate(diagram.boxes)}
        self.groups = {id(group): f"g{number}" for number, group in enumerate(diagram.groups)}

    def lines(self, titled: bool, direction: Direction) -> Iterator[str]:
        title = shown(self.diagram.title)
        named = json.dumps(title, ensure_ascii=False).replace("%%", "%\\u0025")  # no directive
        if titled:
            yield from ("---", f"title: {named}", "---")
        yield "flowchart TD" if direction == "tb" else "flowchart LR"
        yield f"  accTitle: {escaped(title) or 'diagram'}"
        if about := escaped(" ".join(self.diagram.caption)):
            yield f"  accDescr: {about}"
        for text in (*self.diagram.caption, *self.diagram.notes):
            yield f"  %% {escaped(text)}"
        yield from self._items(self.diagram.items, "  ")
        for link in self.diagram.links:
            yield f"  {self._link(link)}"
        yield from self._colours()

    def _items(self, items: tuple[Box | Group, ...], indent: str) -> Iterator[str]:
        for item in items:
            if isinstance(item, Box):
                yield f"{indent}{self._box(item)}"
                continue
            heading = "<br/>".join([_bold(item.title), *map(_small, item.small)])
            yield f'{indent}subgraph {self.groups[id(item)]}["{heading}"]'
            yield from self._items(item.items, f"{indent}  ")
            yield f"{indent}end"

    def _box(self, box: Box) -> str:
        rows = [_bold(box.title)] if box.title else []
        rows += [escaped(_cut(text)) for text in box.lines]
        rows += [_small(text) for text in box.small]
        rows += [_bold(f"+ {text}") for text in box.badges]
        rows += [_small(row) for problem in box.problems for row in folded(problem)]
        label = "<br/>".join(rows) or " "
        sign = len(box.title) == 1 and len(rows) == 1
        begin, end = ("((", "))") if sign else ("([", "])") if box.kind == "end" else ("[", "]")
        return f'{self.ids[box.name]}{begin}"{label}"{end}:::{_kind(box)}Box'

    def _link(self, link: Link) -> str:
        arrow = {None: "==>" if link.road else "-->", "shared": "-.-", "problem": "-.->"}[link.mark]
        label = "<br/>".join(escaped(_cut(text)) for text in link.label)
        said = f'|"{label}"|' if label else ""
        return f"{self.ids[link.source]} {arrow}{said} {self.ids[link.target]}"

    def _colours(self) -> Iterator[str]:
        """Yield the colours; unused styles are omitted."""
        theme = self.theme
        for kind in dict.fromkeys(_kind(box) for box in self.diagram.boxes):
            colours = f"fill:{theme.fills[kind]},stroke:{theme.edges[kind]},color:{theme.text}"
            yield f"  classDef {kind}Box {colours}"
        if faint := [self.ids[box.name] for box in self.diagram.boxes if box.faint]:
            yield "  classDef faintBox stroke-dasharray:3 2"
            yield f"  class {','.join(faint)} faintBox"
        for group in self.diagram.groups:
            edge = theme.edges["inserted"] if group.inserted else theme.group
            colours = f"fill:{theme.inside},stroke:{edge},color:{theme.text}"
            yield f"  style {self.groups[id(group)]} {colours}"
        for colour in dict.fromkeys(map(self._line, self.diagram.links)):
            which = (n for n, k in enumerate(self.diagram.links) if self._line(k) == colour)
            yield f"  linkStyle {','.join(map(str, which))} stroke:{colour}"

    def _line(self, link: Link) -> str:
        if link.mark == "problem":
            return self.theme.edges["problem"]
        return self.theme.road if link.road else self.theme.line


def _kind(box: Box) -> Kind:
    return "problem" if box.problems else "inserted" if box.badges else box.kind


def _bold(text: str) -> str:
    return f"<b>{escaped(_cut(text))}</b>"


def _small(text: str) -> str:
    return f"<small>{escaped(_cut(text))}</small>"


def _cut(text: str) -> str:
    return cut(shown(text), MOST_LETTERS)
