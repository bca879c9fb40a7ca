"""A diagram in a file format, which the file's suffix names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast, get_args

from composer.drawing.diagram import Diagram
from composer.drawing.theme import THEMES, ThemeName
from composer.errors import ComposerError, Diagnostic, UsageError, error, listing

Format = Literal["svg", "png", "pdf", "dot", "mmd", "tex", "html"]
DPI = 216  # three pixels for each point


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix names.

    Raises:
        UsageError: it names none.
    """
    known = get_args(Format)
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in known:
        said = f"{path.suffix!r} is no format of pictures" if suffix else "no format is named"
        way_out = f"end the name in {listing([f'.{form}' for form in known], 'or')}"
        raise UsageError(Diagnostic("unknown-format", said, way_out, file=str(path)))
    return cast("Format", suffix)


def written(
    diagram: Diagram,
    opened: frozenset[str],
    form: Format,
    theme: ThemeName = "paper",
    dpi: int = DPI,
) -> bytes:
    """Return a diagram as a file's content.

    Args:
        diagram: the picture.
        opened: the groups that are open; in HTML, at first.
        form: the format.
        theme: the colours.
        dpi: of a PNG, pixels for each inch.

    Raises:
        MissingPartError: the format needs an engine, and there is none.
        ComposerError: the engine fails, or the PNG would be too large.
    """
    if form == "html":
        from composer.drawing.html import html

        return html(diagram, opened, theme).encode()
    seen, colours = diagram.opened(opened), THEMES[theme]
    if form == "dot":
        from composer.drawing.dot import dot

        return dot(seen, colours).encode()
    if form == "mmd":
        from composer.drawing.mermaid import MOST_LINKS, MOST_TEXT, mermaid

        text = mermaid(seen, colours)
        if len(seen.links) > MOST_LINKS or len(text) > MOST_TEXT:
            raise _too_large(f"{len(seen.links):,} links and {len(text):,} letters are more than "
                             f"Mermaid draws ({MOST_LINKS:,} and {MOST_TEXT:,})")  # fmt: skip
        return text.encode()
    if form == "tex":
        from composer.drawing.tikz import MOST_POINTS, laid_out, tikz_of

        told, placed = laid_out(seen)
        if max(placed.width, placed.height) > MOST_POINTS:
            size = f"{placed.width:,.0f} × {placed.height:,.0f} points"
            raise _too_large(f"{size} are more than TeX can place ({MOST_POINTS:,})")
        return tikz_of(told, placed, colours, seen).encode()
    from composer.drawing.layout import lay_out
    from composer.drawing.svg import svg

    (layout,) = lay_out([seen])
    if form == "svg":
        return svg(seen, layout, colours).encode()
    from composer.drawing.pdf import FAMILY, pdf, png

    drawn = svg(seen, layout, colours, FAMILY)
    return pdf(drawn, seen.title) if form == "pdf" else png(drawn, dpi)


def _too_large(message: str) -> ComposerError:
    return error("too-large", message, "show less of it with --depth, or write .svg or .html")
