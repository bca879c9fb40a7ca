"""What inserted mechanisms attend to on an image, in one picture of panels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import torch
from torch import Tensor, nn

from composer.artifact.run import as_seen, read_image
from composer.drawing import heat
from composer.drawing.formats import Format
from composer.drawing.panels import Panel, panels
from composer.drawing.text import FONTS, shown
from composer.drawing.text import width as width_of
from composer.drawing.theme import THEMES, Theme, ThemeName
from composer.errors import Diagnostic, UsageError
from composer.looking.attention_maps import attention_maps
from composer.surgery.composition import composed

_SIDE, _GAP, _MARGIN = 132.0, 14.0, 12.0
_TITLE, _SMALL, _LINE = 7.5, 6.5, 9.0
_HEAD = 3 * _LINE + 3
_COLUMNS = 6
_OPENING = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def maps_drawn(
    model: nn.Module, name: str, file: Path, form: Format, theme: ThemeName, dpi: int
) -> bytes:
    """Return the picture of what a composed model attends to on an image.

    Args:
        model: the composed model.
        name: its name.
        file: the image, resized and cropped as the model expects.
        form: svg, png, pdf or html.
        theme: the colours.
        dpi: of a PNG, pixels per inch.

    Raises:
        UsageError: the format can't contain images.
        ComposerError: the file is not an image, nothing was inserted, or there is nothing to show.
    """
    if form in ("dot", "mmd", "tex"):
        message = f"a .{form} file can't contain the image of --input"
        way_out = "use a name in .svg, .png, .pdf or .html"
        raise UsageError(Diagnostic("unknown-format", message, way_out))
    specs = list(dict.fromkeys(edit.spec.name for edit in composed(model).edits))
    pixels = read_image(file, model)
    near = next(model.parameters(), pixels)
    pixels = pixels.to(near.device, near.dtype)
    maps = attention_maps(model, pixels)
    image = as_seen(model, pixels[0].float().cpu())
    height, width = image.shape[1:]
    drawn = [panel for one in maps.values() for panel in panels(one, (height, width))]
    title = f"{', '.join(specs)} in {name}, on {file.name}"
    page = _Page(title, image, drawn, THEMES[theme])
    if form in ("svg", "html"):
        picture = page.written(FONTS)
        return (_html(title, picture, THEMES[theme]) if form == "html" else picture).encode()
    from composer.drawing.pdf import FAMILY, pdf, png

    picture = page.written(FAMILY)
    return pdf(picture, title) if form == "pdf" else png(picture, dpi)


@dataclass(frozen=True)
class _Page:
    title: str
    image: Tensor
    drawn: Sequence[Panel]
    theme: Theme

    def written(self, fonts: str) -> str:
        each, columns = self._columns()
        rows = -(-(each + len(self.drawn)) // columns)
        wide = 2 * _MARGIN + columns * (_SIDE + _GAP) - _GAP
        top = _MARGIN + 30
        high = top + rows * (_HEAD + self._height + _GAP) - _GAP + _MARGIN
        parts = [
            f'{_OPENING} role="img" width="{wide:.1f}pt" height="{high:.1f}pt" '
            f'viewBox="0 0 {wide:.1f} {high:.1f}" font-family="{escape(fonts)}">',
            f"<title>{_safe(self.title)}</title>",
            f'<rect x="0" y="0" width="{wide:.1f}" height="{high:.1f}" fill="{self.theme.page}"/>',
            self._text(_fitted(self.title, 11, wide - 2 * _MARGIN), _MARGIN, _MARGIN + 9, 11, True),
            *self._scale(_MARGIN, _MARGIN + 16),
        ]
        # the input row is as wide as that of a mechanism, so that panels align
        places = (0, *range(each, each + len(self.drawn)))
        for number, panel in zip(places, (None, *self.drawn), strict=True):
            x = _MARGIN + number % columns * (_SIDE + _GAP)
            y = top + number // columns * (_HEAD + self._height + _GAP)
            parts += self._panel(panel, x, y)
        return "\n".join([*parts, "</svg>", ""])

    @property
    def _height(self) -> float:
        return _SIDE * self.image.shape[1] / self.image.shape[2]

    def _columns(self) -> tuple[int, int]:
        """Return the number of panels per mechanism, and per row of whole mechanisms."""
        paths = [panel.path for panel in self.drawn]
        counts = {paths.count(path) for path in paths}
        each = counts.pop() if len(counts) == 1 else 1
        if each > _COLUMNS:
            return 1, _COLUMNS
        return each, min(_COLUMNS // each * each, -(-(len(paths) + 1) // each) * each)

    def _scale(self, x: float, y: float) -> Iterator[str]:
        ramp = heat.uri(heat.coloured(torch.linspace(0, 1, 64).expand(4, -1)), "PNG")
        yield self._text("lowest", x, y + 6, _SMALL)
        yield f'<image x="{x + 24:.1f}" y="{y:.1f}" width="64" height="7" xlink:href="{ramp}" ' \
              'preserveAspectRatio="none"/>'  # fmt: skip
        yield self._text("highest, scaled per panel", x + 92, y + 6, _SMALL)

    def _panel(self, panel: Panel | None, x: float, y: float) -> Iterator[str]:
        words = ("input", "as the model sees it", _sizes(self.image)) if panel is None else (
            panel.path, panel.node, panel.said)  # fmt: skip
        for line, text in enumerate(words):
            size = _SMALL if line == 2 else _TITLE
            fitted = _fitted(text, size, _SIDE, line == 0)
            yield self._text(fitted, x, y + (line + 1) * _LINE - 2, size, line == 0)
        y += _HEAD
        if panel is None:
            yield self._picture(heat.uri(self.image), x, y, self._height)
        elif panel.look == "heat":
            yield self._picture(heat.uri(heat.over(self.image, panel.values)), x, y, self._height)
        elif panel.look == "matrix":
            yield self._picture(heat.uri(heat.matrix(panel.values), "PNG"), x, y, self._height)
        else:
            yield from self._bars(panel.values, x, y, self._height)

    def _picture(self, uri: str, x: float, y: float, height: float) -> str:
        return (
            f'<image x="{x:.1f}" y="{y:.1f}" width="{_SIDE:.1f}" height="{height:.1f}" '
            f'preserveAspectRatio="none" xlink:href="{uri}"/>'
        )

    def _bars(self, values: Tensor, x: float, y: float, height: float) -> Iterator[str]:
        """Yield bars from zero; up to 1 if the values are near it, since gates are below 1."""
        low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
        high = 1.0 if 0.25 < high <= 1 else high
        low = -1.0 if -1 <= low < -0.25 else low
        span = (high - low) or 1.0
        left, inner = x + 16, _SIDE - 16
        zero = y + height * high / span
        for level in {low, 0.0, high}:
            line = y + height * (high - level) / span
            yield f'<line x1="{left:.1f}" y1="{line:.1f}" x2="{x + _SIDE:.1f}" y2="{line:.1f}" ' \
                  f'stroke="{self.theme.group}" stroke-width="0.5"/>'  # fmt: skip
            place = min(max(line + 2.2, y + 5), y + height)
            yield self._text(f"{level:.2g}", left - 2, place, 5.5, anchor="end")
        step = inner / len(values)
        gap = step * 0.2 if step > 3 else 0.0
        fill = self.theme.edges["gate"]
        outline = [f"{left:.2f},{zero:.2f}"]
        for number, value in enumerate(values.tolist()):
            top = zero - height * value / span
            start, end = left + number * step + gap / 2, left + (number + 1) * step - gap / 2
            outline += [f"{a:.2f},{b:.2f}" for a, b in (
                (start, zero), (start, top), (end, top), (end, zero))]  # fmt: skip
        yield f'<polygon points="{" ".join(outline)}" fill="{fill}"/>'

    def _text(
        self, text: str, x: float, y: float, size: float, bold: bool = False, anchor: str = ""
    ) -> str:
        more = ' font-weight="bold"' if bold else ""
        more += f' text-anchor="{anchor}"' if anchor else ""
        colour = self.theme.text if size > _SMALL else self.theme.faint
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{more} fill="{colour}">'
            f"{_safe(text)}</text>"
        )


def _sizes(image: Tensor) -> str:
    return "×".join(map(str, image.shape[1:]))


def _fitted(text: str, size: float, room: float, bold: bool = False) -> str:
    """Return a text that fits the width; its end, which mostly differs, is kept."""
    text = shown(text)
    while width_of(text, size, bold) > room and len(text) > 2:
        text = f"…{text.removeprefix('…')[1:]}"
    return text


def _safe(text: str) -> str:
    return escape(shown(text))


def _html(title: str, picture: str, theme: Theme) -> str:
    """Return a page with one picture, as wide as the window; it uses no network."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_safe(title)}</title>\n"
        f"<style>body {{ margin: 0; background: {theme.page}; }} "
        "svg { display: block; width: 100%; height: auto; max-width: 1600px; margin: auto; }"
        f"</style>\n</head>\n<body>\n{picture}</body>\n</html>\n"
    )
