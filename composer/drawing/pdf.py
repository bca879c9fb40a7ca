"""SVG to PDF with selectable text, and PDF to pixels, with Composer's own font.

So a figure is the same on a machine without fonts.
"""

from __future__ import annotations

import io
import re
from html import escape, unescape
from importlib.resources import as_file, files

from composer.drawing.text import in_font, shown
from composer.errors import error
from composer.turns import in_turn

FAMILY = "Arimo"
MOST_PIXELS = 200_000_000
_POINTS = 72  # of an inch
_TEXT = re.compile(r"(<text [^>]*>)([^<]*)(</text>)")


@in_turn  # fonts are registered for the whole process
def pdf(svg: str, title: str = "") -> bytes:
    """Return a picture as a one-page PDF of the size of the SVG, with the font embedded.

    A character missing in the font becomes its number (``<U+1F600>``).
    """
    from reportlab.graphics import renderPDF
    from reportlab.pdfgen.canvas import Canvas
    from svglib.svglib import svg2rlg

    _register()
    drawing = svg2rlg(io.StringIO(_TEXT.sub(_in_font, svg)))
    assert drawing is not None
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(drawing.width, drawing.height), invariant=1)
    canvas.setTitle(shown(title))
    canvas.setCreator("Composer")
    renderPDF.draw(drawing, canvas, 0, 0)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


@in_turn  # pdfium is not thread-safe
def png(svg: str, dpi: int) -> bytes:
    """Return a picture as PNG with this many pixels per inch.

    Raises:
        ComposerError: it would have more pixels than programs can show.
    """
    import pypdfium2

    scale = dpi / _POINTS
    page = pypdfium2.PdfDocument(pdf(svg))[0]
    wide, high = page.get_width() * scale, page.get_height() * scale
    if wide * high > MOST_PIXELS:
        most = int(dpi * (MOST_PIXELS / (wide * high)) ** 0.5)
        raise error(
            "too-large",
            f"at {dpi} dpi this picture has {wide:,.0f} × {high:,.0f} pixels",
            f"use --dpi {most} or less, show less of it with --depth, or write .svg or .pdf",
        )
    image = page.render(scale=scale).to_pil()
    out = io.BytesIO()
    image.save(out, "PNG", dpi=(dpi, dpi), compress_level=3)
    return out.getvalue()


def _in_font(found: re.Match[str]) -> str:
    return f"{found[1]}{escape(in_font(unescape(found[2])))}{found[3]}"


def _register() -> None:
    from svglib.svglib import register_font

    folder = files("composer.drawing").joinpath("fonts")
    for weight, name in (("normal", "Regular"), ("bold", "Bold")):
        with as_file(folder.joinpath(f"{FAMILY}-{name}.ttf")) as path:
            register_font(FAMILY, str(path), weight=weight)
