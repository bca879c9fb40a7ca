"""A picture no wider than a column: its texts are wrapped, and then groups are closed.

Nothing is made smaller, so no letter is below the 7.5 points of the smallest text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from composer.drawing.diagram import Box, Diagram, Direction, Group
from composer.drawing.frame import folded
from composer.drawing.layout import Layout, lay_out
from composer.errors import error

#: In points: the height of one page, with a caption below the picture.
PAGE = 660.0
#: Characters per line, from easy to read to just readable.
_LETTERS = (28, 23, 18, 15, 12, 9)
_CM = 72 / 2.54


def placed_in_column(
    diagram: Diagram,
    opened: frozenset[str],
    width: float,
    margin: float = 0.0,
    direction: Direction = "tb",
) -> tuple[Diagram, Layout]:
    """Return a picture no wider than requested, with its layout.

    The first narrow enough one that fits on a page is used: texts are wrapped more and more, then
    groups are closed, the innermost first. If none fits on a page, the first narrow enough one is.

    Args:
        diagram: the picture.
        opened: the names of the groups to keep open while there is room.
        width: of the picture, in points.
        margin: the free part of that width, both sides together.
        direction: from top to bottom, or from left to right.

    Raises:
        MissingPartError: there is no Graphviz.
        ComposerError: Graphviz fails, or no such picture is narrow enough.
    """
    tries = [
        narrowed(diagram.opened(names), letters, joined)
        for names in _ever_fewer(diagram, opened)
        for letters in (None, *_LETTERS)
        for joined in (False, True)
    ]
    both = list(zip(tries, lay_out(tries, direction, tight=True), strict=True))
    narrow = [one for one in both if one[1].width <= width - margin]
    if not narrow:
        least = ceil((min(layout.width for _, layout in both) + margin) / _CM * 10) / 10
        ways = [f"ask for {least:g}cm or more"]
        if any(link.sizes for link in diagram.links):
            ways.append("omit the sizes with --no-sizes")
        if direction == "lr":
            ways.append("draw it from top to bottom with --direction tb")
        raise error(
            "too-narrow",
            f"this picture is at least {least:g} cm wide, but {width / _CM:.3g} cm was requested",
            ", or ".join(ways),
        )
    return next((one for one in narrow if one[1].height <= PAGE), narrow[0])


def narrowed(diagram: Diagram, letters: int | None, joined: bool = False) -> Diagram:
    """Return a picture with at most this many characters per line, where words allow it.

    The label of a link is `joined` to one line if requested.
    """
    if joined:
        links = (
            replace(link, label=(" · ".join(link.label),) if link.label else ())
            for link in diagram.links
        )
        diagram = replace(diagram, links=tuple(links))
    if letters is None:
        return diagram

    def item(one: Box | Group) -> Box | Group:
        if isinstance(one, Group):
            return replace(one, small=_lines(one.small, letters), items=tuple(map(item, one.items)))
        return replace(
            one, lines=_lines(one.lines, letters), small=_lines(one.small, letters + 3),
            badges=_lines(one.badges, letters), problems=_lines(one.problems, letters + 3),
        )  # fmt: skip

    return replace(diagram, items=tuple(map(item, diagram.items)))


def _lines(texts: tuple[str, ...], letters: int) -> tuple[str, ...]:
    """Return texts in lines; one with a middle dot is split there first."""
    found: list[str] = []
    for text in texts:
        parts = [text] if len(text) <= letters else text.split(" · ")
        found += [line for part in parts for line in folded(part, letters, whole_words=True)]
    return tuple(found)


def _ever_fewer(diagram: Diagram, opened: frozenset[str]) -> Iterator[frozenset[str]]:
    """Yield the open groups, then ever one fewer, the innermost and last first, down to none."""
    names = sorted(_depths(diagram.items, opened, 0), key=lambda pair: pair[1])
    kept = [name for name, _ in names]
    for count in _counts(len(kept)):
        yield frozenset(kept[:count])


def _counts(most: int) -> list[int]:
    """Return the numbers of groups to try: each one if they are few, else decreasing faster."""
    counts = [most]
    while counts[-1] > 0:
        counts.append(counts[-1] - max(1, counts[-1] // 6))
    return counts


def _depths(
    items: tuple[Box | Group, ...], opened: frozenset[str], depth: int
) -> Iterator[tuple[str, int]]:
    for item in items:
        if isinstance(item, Group) and item.name in opened:
            yield item.name, depth
            yield from _depths(item.items, opened, depth + 1)
