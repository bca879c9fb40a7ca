"""What Jupyter shows of a spec, a graph, a plan or a composed model: its picture.

This is the one place where a lower layer reaches up: Jupyter asks the value itself, so the value
has a method, which looks for the picture's maker only once it is called.
"""

from __future__ import annotations

from html import escape
from typing import Any


class ShowsPicture:
    """Gives a value the method that Jupyter calls."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return picture_of(self)


def picture_of(value: Any) -> str:
    """Return the picture of a value as HTML: an SVG, or why there is none."""
    from composer.drawing.formats import written
    from composer.errors import ComposerError
    from composer.picture import drawn

    sites = getattr(value, "sites", None)  # of a plan
    try:
        picture = drawn(value.spec if sites is not None else value)
        svg = written(picture.diagram, picture.opened, "svg").decode()
    except ComposerError as failure:
        return f"<pre>{escape(str(failure))}</pre>"
    table = f"<pre>{escape(str(value))}</pre>" if sites is not None else ""
    return f'<div style="overflow-x: auto">{svg}{table}</div>'
