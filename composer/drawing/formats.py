"""A diagram in the file format of the file's suffix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from composer.drawing.diagram import Diagram
from composer.drawing.look import Look
from composer.drawing.theme import THEMES, ThemeName
from composer.errors import ComposerError, Diagnostic, UsageError, error, listing

if TYPE_CHECKING:
    from composer.drawing.layout import Layout

Format = Literal["svg", "png", "pdf", "dot", "mmd", "tex", "html"]
DPI = 216  # three pixels for each point
LOOK = Look()


def format_of(path: Path) -> Format:
    """Return the format that a file's suffix names.

    Raises:
        UsageError: it names no format.
    """
    known = get_args(Format)
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in known:
        said = f"{path.suffix!r} is not a picture format" if suffix else "the file has no suffix"
        way_out = f"end the name in {listing([f'.{form}' for form in known], 'or')}"
        raise UsageError(Diagnostic("unknown-format", said, way_out, file=str(path)))
    return cast("Format", suffix)


def written(
    diagram: Diagram,
    opened: frozenset[str],
    form: Format,
    theme: ThemeName = "paper",
    dpi: int = DPI,
    look: Look = LOOK,
) -> bytes:
    """Return a diagram as a file's content.

    Args:
        diagram: the picture.
        opened: the open groups; in HTML, those open at first.
        form: the format.
        theme: the colours.
        dpi: of a PNG, pixels per inch.
        look: its direction and width, and its title and legend.

    Raises:
        UsageError: the format does not support the look.
        MissingPartError: the format needs an engine, and none is installed.
        ComposerError: the engine fails, the picture cannot be as narrow as requested, or it would
            be too large.
    """
    _check_look(form, look)
    if not look.sizes:
        diagram = diagram.without_sizes()
    if form == "html":
        from composer.drawing.html import html

        return html(diagram, opened, theme).encode()
    seen, colours = diagram.opened(opened), THEMES[theme]
    if form == "dot":
        from composer.drawing.dot import dot

        return dot(seen, colours, look.title, look.direction).encode()
    if form == "mmd":
        from composer.drawing.mermaid import MOST_LINKS, MOST_TEXT, mermaid

        text = mermaid(seen, colours, look.title, look.direction)
        if len(seen.links) > MOST_LINKS or len(text) > MOST_TEXT:
            raise _too_large(f"{len(seen.links):,} links and {len(text):,} letters are more than "
                             f"Mermaid draws ({MOST_LINKS:,} and {MOST_TEXT:,})")  # fmt: skip
        return text.encode()
    from composer.drawing.column import placed_in_column
    from composer.drawing.layout import lay_out

    def placed(whole: Diagram, room: float) -> tuple[Diagram, Layout]:
        if look.width is not None:
            return placed_in_column(whole, opened, look.width, room, look.direction)
        shown = whole.opened(opened)
        return shown, lay_out([shown], look.direction)[0]

    if form == "tex":
        from composer.drawing.tikz import MOST_POINTS, in_latex, tikz_of

        told, layout = placed(in_latex(diagram), 0.0)
        if max(layout.width, layout.height) > MOST_POINTS:
            size = f"{layout.width:,.0f} × {layout.height:,.0f} points"
            raise _too_large(f"{size} are more than TeX can place ({MOST_POINTS:,})")
        return tikz_of(told, layout, colours, seen).encode()
    from composer.drawing.svg import COLUMN_MARGIN, svg

    seen, layout = placed(diagram, 2 * COLUMN_MARGIN)
    if form == "svg":
        return svg(seen, layout, colours, look=look).encode()
    from composer.drawing.pdf import FAMILY, pdf, png

    drawn = svg(seen, layout, colours, FAMILY, look)
    return pdf(drawn, seen.title) if form == "pdf" else png(drawn, dpi)


#: What a format does not support, and why.
_HAS_NOT: Mapping[str, tuple[str, ...]] = {
    "html": ("direction", "width", "title", "legend"), "dot": ("width",), "mmd": ("width",),
}  # fmt: skip


def _check_look(form: Format, look: Look) -> None:
    changed = [
        name for name in _HAS_NOT.get(form, ()) if getattr(look, name) != getattr(LOOK, name)
    ]
    if changed:
        message = f"{listing(changed)} cannot be set for a picture in .{form}"
        it = "it" if len(changed) == 1 else "them"
        others = [f".{other}" for other in get_args(Format)
                  if not set(changed) & set(_HAS_NOT.get(other, ()))]  # fmt: skip
        way_out = f"write {listing(others, 'or')}, or omit {it}"
        raise UsageError(Diagnostic("usage", message, way_out))


def _too_large(message: str) -> ComposerError:
    return error("too-large", message, "show less of it with --depth, or write .svg or .html")
