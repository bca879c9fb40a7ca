"""The largest diagram that is laid out: Graphviz's time grows faster than its size."""

from __future__ import annotations

from composer.drawing.diagram import Diagram
from composer.errors import error

#: For one picture: it takes two seconds, and is about 20,000 points long.
MOST_BOXES, MOST_LINKS = 400, 800
#: For a page with all groups open: it is laid out group by group.
MOST_OF_A_PAGE = 3_000
#: Formats with one picture that is laid out.
LAID_OUT = ("svg", "png", "pdf", "tex")


def check_size(diagram: Diagram, opened: frozenset[str], form: str) -> None:
    """Refuse a diagram with too many boxes or links, before Graphviz is started.

    Args:
        diagram: the picture.
        opened: the groups that are open.
        form: the suffix of its format; formats without layout are accepted.

    Raises:
        ComposerError: code ``too-large``, with the way out.
    """
    if form == "html":
        every = diagram.opened(frozenset(group.name for group in diagram.groups))
        boxes, links = sum(1 for _ in every.boxes), len(every.links)
        most_boxes, most_links = MOST_OF_A_PAGE, 2 * MOST_OF_A_PAGE
    elif form in LAID_OUT:
        seen = diagram.opened(opened)
        boxes, links = sum(1 for _ in seen.boxes), len(seen.links)
        most_boxes, most_links = MOST_BOXES, MOST_LINKS
    else:
        return
    if boxes <= most_boxes and links <= most_links:
        return
    less = "show less of it with --depth, or " if opened and form != "html" else ""
    other = ".dot, which is not laid out here"
    raise error(
        "too-large",
        f"{boxes:,} boxes and {links:,} links are more than one "
        f"{'page' if form == 'html' else 'picture'} lays out ({most_boxes:,} and {most_links:,})",
        f"{less}write {other}",
    )
