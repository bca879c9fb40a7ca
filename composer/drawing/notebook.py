"""The picture that Jupyter shows of a spec, a graph, a plan or a composed model.

The types are registered in Jupyter by name (`composer.load_ipython_extension`), so they don't
depend on pictures, and nothing is imported until one is shown.
"""

from __future__ import annotations

from html import escape
from typing import Any

from composer.drawing.formats import written
from composer.drawing.picture import drawn
from composer.errors import ComposerError
from composer.visible import visible


def shown(value: Any) -> str | None:
    """Return the picture of a value as HTML: an SVG, or why there is none.

    None for a model without insertions: Jupyter then shows its usual form.
    """
    if hasattr(value, "_parameters") and not _is_composed(value):
        return None
    sites = getattr(value, "sites", None)  # of a plan
    try:
        picture = drawn(value.spec if sites is not None else value)
        svg = written(picture.diagram, picture.opened, "svg").decode()
    except ComposerError as failure:
        return f"<pre>{escape(str(failure))}</pre>"
    table = f"<pre>{escape(visible(str(value)))}</pre>" if sites is not None else ""
    return f'<div style="overflow-x: auto">{svg}{table}</div>'


def _is_composed(model: Any) -> bool:
    from composer.surgery.composition import composition

    return composition(model) is not None
