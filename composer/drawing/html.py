"""A diagram as one interactive HTML file that uses no network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from composer.drawing.diagram import Box, Diagram, Group, Link
from composer.drawing.frame import frame_of
from composer.drawing.layout import Layout, Rect, lay_out
from composer.drawing.pieces import (
    Body,
    BoxRow,
    Chain,
    Part,
    Piece,
    names_within,
    pieces,
    take_apart,
)
from composer.drawing.signs import SIDE, SIGNS
from composer.drawing.stubs import without_stubs
from composer.drawing.svg import sign_svg, svg
from composer.drawing.text import shown, shown_lines
from composer.drawing.theme import MEANING, NAMED, THEMES, Theme, ThemeName, variables


def html(diagram: Diagram, opened: frozenset[str], theme: ThemeName) -> str:
    """Return a diagram as a self-contained page, for a browser or an ``<iframe>``.

    Args:
        diagram: the picture, with all its groups.
        opened: the names of the groups that are open at first.
        theme: the first theme of the page; ``dark`` is dark, the others follow the reader's system.

    Raises:
        MissingPartError: a part needs a layout engine, and none is installed.
        ComposerError: the engine fails.
    """
    return _Page(diagram, opened, theme).written()


class _Page:
    def __init__(self, diagram: Diagram, opened: frozenset[str], theme: ThemeName) -> None:
        self.diagram, self.opened, self.theme = diagram, opened, theme
        self.entries: list[dict[str, Any]] = []
        self.boxes: dict[str, int] = {}
        self.groups: dict[str, int] = {}
        self._number(diagram.items, ())
        for name, number in (self.boxes | self.groups).items():
            for other, drawn in diagram.drawn_as.items():
                if name == drawn or name.startswith(f"{drawn}."):
                    also = self.entries[number].setdefault("also", [])
                    also.append(shown(f"{other}{name[len(drawn) :]}"))
        for link in diagram.links:
            source, target = self.boxes[link.source], self.boxes[link.target]
            self.entries[source].setdefault("to", []).append(target)
            self.entries[target].setdefault("from", []).append(source)

    def written(self) -> str:
        body = take_apart(self.diagram, self.opened)
        views = [(piece, view) for piece in pieces(body) for view in piece.views]
        seen = [piece.diagram.opened(view) for piece, view in views]
        layouts = lay_out(seen) if seen else []
        self.laid_out = iter(zip(seen, layouts, strict=True))
        script = _file("page.js")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        light = THEMES["light" if self.theme == "light" else "paper"]
        return Template(_file("page.html")).substitute(
            title=_text(self.diagram.title),
            caption="".join(f"<p>{_text(line)}</p>" for line in self.diagram.caption),
            begins="dark" if self.theme == "dark" else "system",
            digest=digest,
            script=script,
            style=_file("page.css"),
            light=_declared(light),
            dark=_declared(THEMES["dark"]),
            paper=_declared(THEMES["paper"]),
            picture="\n".join(self._body(body)),
            legend="".join(self._legend()),
            notes="".join(f"<p>{_text(note)}</p>" for note in self.diagram.notes),
            data=_json(self.entries),
        )

    # ------------------------------------------------------------------------------------- data

    def _number(self, items: tuple[Box | Group, ...], around: tuple[int, ...]) -> None:
        """Give each box and each group the number that identifies it in the page."""
        for item in items:
            number = len(self.entries)
            if isinstance(item, Box):
                self.boxes[item.name] = number
                self.entries.append(_entry(item, item.name, around))
            else:
                self.groups[item.name] = self.boxes[item.closed.name] = number
                entry = _entry(item.closed, item.name, around)
                self.entries.append(entry | {"group": any(names_within([item]))})
                self._number(item.items, (*around, number))

    # ---------------------------------------------------------------------------------- picture

    def _body(self, body: Body) -> Iterator[str]:
        if isinstance(body, Piece):
            yield '<div class="piece">'
            shown_first = [view for view in body.views if view <= self.opened][-1]
            for view in body.views:
                seen, layout = next(self.laid_out)
                seen, layout = without_stubs(seen, layout, body.stubs) or (seen, layout)
                yield from self._view(seen, layout, view, view == shown_first)
        elif isinstance(body, BoxRow):
            yield '<div class="row">'
            for part in body.parts:
                yield from self._part(part)
        else:
            yield '<div class="chain">'
            yield from self._chain(body)
        yield "</div>"

    def _chain(self, chain: Chain) -> Iterator[str]:
        if chain.enters is not None:
            yield _arrow(replace(chain.enters, label=()), " enters")
        for part, arrow in zip(chain.parts, (*chain.arrows, None), strict=True):
            yield from self._part(part)
            if arrow is not None:
                yield _arrow(arrow)
        if chain.leaves is not None:
            yield _arrow(replace(chain.leaves, label=()), " leaves")

    def _part(self, part: Part) -> Iterator[str]:
        if isinstance(part, Box):
            yield from self._alone(part)
            return
        group, number = part.group, self.groups[part.group.name]
        is_open = group.name in self.opened
        look = " inserted" * group.inserted
        enters, leaves = _passing(part.body)
        if enters is not None:
            look += " entered road" if enters.road else " entered"
        if leaves is not None:
            look += " left"
        yield f'<section class="fold" data-group="{number}">'
        yield f'<div class="closed"{_hidden(is_open)}>'
        yield from self._alone(group.closed)
        yield f'</div><div class="open{look}"{_hidden(not is_open)}>'
        small = "".join(f"<small>{_text(text)}</small>" for text in group.small)
        yield f'<div class="head"><span><b>{_text(group.title)}</b>{small}</span>'
        yield f"{_box(number)}</div>{_toggle(number, True)}"
        yield from self._body(part.body)
        yield "</div></section>"

    def _alone(self, box: Box) -> Iterator[str]:
        frame = frame_of(box)
        place = Rect(0, 0, frame.width, frame.height)
        layout = Layout(frame.width, frame.height, {box.name: place}, (), (), ())
        alone = Diagram(box.title, (), (box,), ())
        yield f'<div class="alone" style="width:{frame.width}pt;height:{frame.height}pt">'
        yield from self._drawn(alone, layout)
        yield "</div>"

    def _view(
        self, seen: Diagram, layout: Layout, view: frozenset[str], first: bool
    ) -> Iterator[str]:
        numbers = " ".join(str(self.groups[name]) for name in sorted(view))
        size = f"width:{layout.width:.1f}pt;height:{layout.height:.1f}pt"
        yield f'<div class="view" data-open="{numbers}" style="{size}"{_hidden(not first)}>'
        yield from self._drawn(seen, layout)
        yield "</div>"

    def _drawn(self, seen: Diagram, layout: Layout) -> Iterator[str]:
        """Yield a picture, and above each thing in it a button of the same size."""
        yield svg(seen, layout, NAMED, bare=True)
        for group, rect, heading in zip(seen.groups, layout.groups, layout.headings, strict=True):
            number, frame = self.groups[group.name], heading.frame
            head = Rect(heading.x, heading.y, frame.width, frame.height)
            yield _box(number, head) + _toggle(number, True, rect)
        for box in seen.boxes:
            if box.name in self.boxes:
                number, rect = self.boxes[box.name], layout.boxes[box.name]
                toggle = _toggle(number, False, rect) if self.entries[number].get("group") else ""
                yield _box(number, rect) + toggle

    def _legend(self) -> Iterator[str]:
        boxes = [*self.diagram.boxes, *(group.closed for group in self.diagram.groups)]
        kinds = {box.kind for box in boxes} | {"inserted" for box in boxes if box.badges}
        kinds |= {"problem" for box in boxes if box.problems}
        for kind, meaning in MEANING.items():
            if kind in kinds and kind != "end":
                colours = f"background:var(--fill-{kind});border-color:var(--edge-{kind})"
                sign = "".join(sign_svg(SIGNS[kind], 0, 0, NAMED.text))
                box = f'<svg viewBox="0 0 {SIDE:g} {SIDE:g}" width="8" height="8">{sign}</svg>'
                yield f'<li><i style="{colours}">{box}</i>{meaning}</li>'


def _passing(body: Body) -> tuple[Link | None, Link | None]:
    """Return the link that enters a body at the middle of its top, and the one that leaves it."""
    if isinstance(body, Chain):
        return body.enters, body.leaves
    if isinstance(body, BoxRow):
        return None, None
    links = body.diagram.links
    enters = [k for k in links if k.source in body.stubs]
    leaves = [k for k in links if k.target in body.stubs]
    if len({k.source for k in enters}) > 1:
        return None, None
    road = sorted(enters, key=lambda k: not k.road)
    return (road[0] if road else None), (leaves[0] if leaves else None)


def _entry(box: Box, name: str, around: tuple[int, ...]) -> dict[str, Any]:
    lines = {
        "lines": box.lines, "small": box.small, "badges": box.badges, "problems": box.problems
    }  # fmt: skip
    return {
        "title": shown(box.title) or shown(name),
        "name": shown(name),
        "around": around,
        **{key: [shown(text) for text in texts] for key, texts in lines.items() if texts},
        "facts": [[shown(f.label), shown_lines(f.text), f.code] for f in box.facts],
    }


def _json(value: object) -> str:
    """Return JSON that is safe inside HTML, whatever texts are in it."""
    text = json.dumps(value, separators=(",", ":"))  # ASCII only, so without U+2028 and U+2029
    return "".join(f"\\u{ord(c):04x}" if c in "<>&" else c for c in text)


def _arrow(link: Link, names: str = "") -> str:
    names += " road" * link.road
    lines = "".join(f"<span>{_text(text)}</span>" for text in link.label)
    return f'<div class="arrow{names}"><i></i><div>{lines}</div></div>'


def _box(number: int, rect: Rect | None = None) -> str:
    return f'<button class="press" data-i="{number}"{_placed(rect)}></button>'


def _toggle(number: int, is_open: bool, rect: Rect | None = None) -> str:
    corner = Rect(rect.x + rect.width, rect.y, 0, 0) if rect is not None else None
    more = f'aria-expanded="{"true" if is_open else "false"}"{_placed(corner)}'
    return f'<button class="toggle" data-i="{number}" {more}></button>'


def _placed(rect: Rect | None) -> str:
    if rect is None:
        return ""
    size = f";width:{rect.width:.1f}pt;height:{rect.height:.1f}pt" if rect.width else ""
    return f' style="left:{rect.x:.1f}pt;top:{rect.y:.1f}pt{size}"'


def _declared(theme: Theme) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in variables(theme).items())


def _hidden(hidden: bool) -> str:
    return " hidden" if hidden else ""


def _text(text: str) -> str:
    return escape(shown(text))


def _file(name: str) -> str:
    return files("composer.drawing").joinpath("page", name).read_text(encoding="utf-8")
