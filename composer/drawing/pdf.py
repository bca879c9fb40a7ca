"""SVG to PDF whose text stays text, and PDF to sharp pixels, with a font of Composer's own.

So a figure is the same on a machine that has no fonts.
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


@in_turn  # fonts are registered for all
def pdf(svg: str, title: str = "") -> bytes:
    """Return a picture as PDF of one page, as large as the SVG, the font inside it.

    A character that the font has not stands as its number (``<U+1F600>``).
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


@in_turn  # pdfium serves one thread
def png(svg: str, dpi: int) -> bytes:
    """Return a picture as PNG of so many pixels for each inch.

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
            f"take --dpi {most} or less, show less of it with --depth, or write .svg or .pdf",
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
