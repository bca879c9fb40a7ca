"""A diagram in the DOT language; each box has the size of its text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import escape

import graphviz

from composer.drawing.diagram import Box, Diagram, Direction, Group
from composer.drawing.frame import Frame, frame_of, heading_of, label_of
from composer.drawing.text import FONTS, shown
from composer.drawing.theme import Theme
from composer.language.collecting import uncollected

_POINTS = 72  # of an inch
WIDEST_HALF = 130.0


@uncollected()
def dot(diagram: Diagram, theme: Theme, caption: bool = True, direction: Direction = "tb") -> str:
    """Return a diagram in DOT.

    Boxes, groups and links have the ids ``box0``, ``group0`` and ``link0``, counted in the order
    of the diagram. Without its `caption` the picture is that of the graph alone.
    """
    graph = graphviz.Digraph(
        "composer",
        graph_attr={
            "rankdir": direction.upper(),
            "nodesep": "0.25",
            "ranksep": "0.22",
            "bgcolor": theme.page,
            "fontname": FONTS,
            "pad": "0.1",
        },
        node_attr={"shape": "box", "fixedsize": "true", "fontname": FONTS},
        edge_attr={"fontname": FONTS, "arrowsize": "0.6"},
    )
    if caption:
        title = _text(diagram.title)
        said = [f"<b>{title}</b>" if title else " ", *map(_text, diagram.caption)]
        graph.attr(label=f"<{'<br/>'.join(said)}>", labelloc="t", fontcolor=theme.text)
    ids = {box.name: f"box{number}" for number, box in enumerate(diagram.boxes)}
    groups = {id(group): number for number, group in enumerate(diagram.groups)}
    _put(graph, diagram.items, ids, groups, theme)
    for number, link in enumerate(diagram.links):
        problem = link.mark == "problem"
        attributes = {
            "id": f"link{number}",
            "color": theme.edges["problem"] if problem else theme.road if link.road else theme.line,
            "penwidth": "2.2" if link.road else "1",
            "weight": "8" if link.road else "1",
        }
        if link.mark:
            attributes["style"] = "dashed"
        if link.mark == "shared":
            attributes |= {"constraint": "false", "dir": "none"}
        if link.label:
            attributes["label"] = _label(label_of(link), theme)
        graph.edge(ids[link.source], ids[link.target], **attributes)
    source: str = graph.source
    return source


def _put(
    graph: graphviz.Digraph,
    items: tuple[Box | Group, ...],
    ids: dict[str, str],
    groups: dict[int, int],
    theme: Theme,
) -> None:
    for item in items:
        if isinstance(item, Box):
            graph.node(ids[item.name], **_box(item, ids[item.name], theme))
            continue
        number = groups[id(item)]
        with graph.subgraph(name=f"cluster_{number}") as inside:
            inside.attr(
                id=f"group{number}",
                label=_label(_half(heading_of(item)), theme),
                labeljust="l",
                labelloc="t",
                style="rounded,filled",
                color=theme.edges["inserted"] if item.inserted else theme.group,
                fillcolor=theme.inside,
                margin="10",
            )
            _put(inside, item.items, ids, groups, theme)


def _box(box: Box, identity: str, theme: Theme) -> dict[str, str]:
    frame = frame_of(box)
    kind = "problem" if box.problems else box.kind
    return {
        "id": identity,
        "shape": "circle" if frame.sign else "box",
        "style": "filled,dashed" if box.faint else "filled" if frame.sign else "rounded,filled",
        "fillcolor": theme.fills[kind],
        "color": theme.edges[kind],
        "width": f"{frame.width / _POINTS:.4f}",
        "height": f"{frame.height / _POINTS:.4f}",
        "label": f"<{'<br/>'.join(_rows(frame, theme))}>",
    }


def _half(frame: Frame) -> Frame:
    """Return the width for a heading: a narrow one fits into half of its group.

    The main road often enters a group in its middle.
    """
    return replace(frame, width=2 * frame.width) if frame.width < WIDEST_HALF else frame


def _rows(frame: Frame, theme: Theme) -> Iterator[str]:
    inks = {
        "text": theme.text, "faint": theme.faint, "problem": theme.edges["problem"],
        "badge": theme.text,
    }  # fmt: skip
    for row in frame.rows:
        text = _text(row.text) or " "
        text = f"<b>{text}</b>" if row.bold and text.strip() else text
        yield f'<font point-size="{row.size:g}" color="{inks[row.ink]}">{text}</font>'


def _label(frame: Frame, theme: Theme) -> str:
    """Return a label with the size of a frame, whatever the engine's own estimate."""
    room = f'width="{frame.width:.0f}" height="{frame.height:.0f}" fixedsize="true"'
    cell = f"<tr><td {room}>{'<br/>'.join(_rows(frame, theme))}</td></tr>"
    return f'<<table border="0" cellborder="0" cellspacing="0">{cell}</table>>'


def _text(text: str) -> str:
    return escape(shown(text), quote=True).replace("&#x27;", "'")
