"""SVG to PDF whose text stays text, and PDF to sharp pixels, with a font of Composer's own.

So a figure is the same on a machine that has no fonts.
"""

from __future__ import annotations

import io
import re
from importlib.resources import as_file, files
from typing import Any

FAMILY = "Arimo"
_TEXT = re.compile(r"(<text [^>]*>)([^<]*)(</text>)")


def pdf(svg: str) -> bytes:
    """Return a picture as PDF of one page, its size that of the SVG, the font inside it."""
    from reportlab.graphics import renderPDF

    drawing = _drawing(svg)
    out = io.BytesIO()
    renderPDF.drawToFile(drawing, out, autoSize=1)
    return out.getvalue()


def png(svg: str, scale: float) -> bytes:
    """Return a picture as PNG, `scale` pixels for each point."""
    import pypdfium2

    page = pypdfium2.PdfDocument(pdf(svg))[0]
    image = page.render(scale=scale).to_pil()
    out = io.BytesIO()
    image.save(out, "PNG", dpi=(72 * scale, 72 * scale), optimize=True)
    return out.getvalue()


def _drawing(svg: str) -> Any:
    from svglib import svglib

    _register()
    drawing = svglib.svg2rlg(io.StringIO(svg))
    assert drawing is not None
    return drawing


def _register() -> None:
    from svglib.svglib import register_font

    folder = files("composer.render").joinpath("fonts")
    for weight, name in (("normal", "Regular"), ("bold", "Bold")):
        with as_file(folder.joinpath(f"{FAMILY}-{name}.ttf")) as path:
            register_font(FAMILY, str(path), weight=weight)
