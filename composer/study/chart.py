"""Two charts as SVG: accuracy beside cost with the Pareto front, and learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Literal

import numpy as np

from composer.drawing.text import FONTS, shown, width
from composer.study.findings import Findings, Row

#: Colours that colour-blind readers tell apart: those of Okabe and Ito 2008 without the yellow,
#: then some of Tol's; a legend names each, since twelve lines are more than colour can tell.
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#882255",
    "#44aa99", "#999933", "#332288", "#aa4466",
)  # fmt: skip
_INK, _FAINT, _LINE = "#111111", "#444444", "#bbbbbb"
_LEFT, _TOP, _PLOT_W, _PLOT_H, _BELOW, _SIZE = 58.0, 34.0, 420.0, 300.0, 46.0, 11.0
_MOST = 2  # spans of numbers beside one point
_NEAR = 9.0  # points whose numbers would lie on one another
Cost = Literal["parameters", "flops"]


@dataclass(frozen=True)
class Scale:
    """A linear scale between two values, with round ticks."""

    low: float
    high: float
    begin: float
    end: float

    @classmethod
    def of(cls, values: Sequence[float], begin: float, end: float) -> Scale:
        """Return a scale over values with a margin."""
        low, high = min(values), max(values)
        margin = (high - low) * 0.08 or max(abs(high), 1e-9) * 0.02
        return cls(low - margin, high + margin, begin, end)

    def __call__(self, value: float) -> float:
        """Return where a value is."""
        share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Return about five round values."""
        raw = (self.high - self.low) / 5
        power = 10 ** floor(log10(raw))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
        first = ceil(self.low / step)
        return [step * n for n in range(first, floor(self.high / step) + 1)]


def pareto(found: Findings, cost: Cost) -> str:
    """Return accuracy (mean, with the deviation as a bar) over cost; the front is a line.

    On the front is an arm that no other beats at the same or a lower cost, by the means.
    """
    rows = [row for row in found.rows if row.mean is not None and cost in row.facts]
    unit, factor = {"parameters": ("M parameters", 1e6), "flops": ("M multiply-adds", 1e6)}[cost]
    title = f"{found.study.name}: accuracy over {unit}"
    points = [(row, row.facts[cost] / factor, 100 * (row.mean or 0.0)) for row in rows]
    if not points:
        return _svg(title, ["no run has finished yet"], [], [])
    ends = [y + s * 100 * (row.deviation or 0.0) for row, _, y in points for s in (-1, 1)]
    x = Scale.of([p[1] for p in points], _LEFT, _LEFT + _PLOT_W)
    y = Scale.of(ends, _TOP + _PLOT_H, _TOP)
    parts = _frame(x, y, unit, "top-1 accuracy, %")
    front = _front([(p[1], p[2]) for p in points])
    steps = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in front)
    parts.append(f'<polyline points="{steps}" fill="none" stroke="{_LINE}" stroke-width="2"/>')
    legend = []
    for number, (row, a, b) in enumerate(points, 1):
        colour = _colour(found, row)
        bar = 100 * (row.deviation or 0.0)
        parts.append(
            f'<line x1="{x(a):.1f}" y1="{y(b - bar):.1f}" x2="{x(a):.1f}" y2="{y(b + bar):.1f}" '
            f'stroke="{colour}"/>'
        )
        hollow = row.arm.kind in ("held", "matched")
        parts.append(
            f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="4" stroke="{colour}" '
            f'fill="{"#ffffff" if hollow else colour}"/>'
        )
        legend.append((str(number), row.arm.name, colour, ""))
    parts += _numbers([(x(a), y(b)) for _, a, b in points])
    note = "Bars are the standard deviation over seeds; hollow circles are controls of mechanisms."
    return _svg(title, [note], parts, legend)


def curves(found: Findings) -> str:
    """Return the mean accuracy over seeds after each epoch, of mechanisms and plain backbones."""
    rows = [r for r in found.rows if r.epochs and r.arm.kind in ("mechanism", "plain", "finetuned")]
    title = f"{found.study.name}: accuracy after each epoch"
    if not rows:
        return _svg(title, ["no run has finished yet"], [], [])
    lines = [(row, _means(row)) for row in rows]
    values = [value for _, line in lines for value in line]
    longest = max(len(line) for _, line in lines)
    x = Scale(1 if longest > 1 else 0, max(longest, 2), _LEFT, _LEFT + _PLOT_W)
    y = Scale.of(values, _TOP + _PLOT_H, _TOP)
    parts = _frame(x, y, "epoch", "top-1 accuracy, %, mean over seeds", whole=True)
    legend = []
    for row, line in lines:
        colour, dash = _colour(found, row), _dash(row)
        points = " ".join(f"{x(i):.1f},{y(value):.1f}" for i, value in enumerate(line, 1))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
        )
        if len(line) == 1:
            parts.append(f'<circle cx="{x(1):.1f}" cy="{y(line[0]):.1f}" r="3" fill="{colour}"/>')
        legend.append(("", row.arm.name, colour, dash))
    note = "Solid: identity start, and the plain backbone. Dashed: paper start."
    return _svg(title, [note], parts, legend)


def _numbers(places: Sequence[tuple[float, float]]) -> list[str]:
    """Return the numbers of points from 1; those of points that meet are one text."""
    together: list[tuple[float, float, list[int]]] = []
    for number, (x, y) in enumerate(places, 1):
        near = (t for t in together if abs(t[0] - x) < _NEAR and abs(t[1] - y) < _NEAR)
        if (found := next(near, None)) is not None:
            found[2].append(number)
        else:
            together.append((x, y, [number]))
    texts = []
    for x, y, numbers in together:
        text = _in_brief(numbers)
        if x + 6 + width(text, 9) < _LEFT + _PLOT_W:
            texts.append(_text(x + 6, y - 5, text, 9, _INK))
        else:
            texts.append(_text(x - 6, y - 5, text, 9, _INK, "end"))
    return texts


def _in_brief(numbers: Sequence[int]) -> str:
    """Return such as ``2, 9–11``, or ``3–5, 7 and 4 more``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    first, rest = spans[:_MOST], sum(map(len, spans[_MOST:]))
    words = ", ".join(f"{s[0]}–{s[-1]}" if len(s) > 1 else str(s[0]) for s in first)
    return f"{words} and {rest} more" if rest else words


def _means(row: Row) -> list[float]:
    counts = min(len(epochs) for epochs in row.epochs.values())
    table = [[e.accuracy for e in epochs[:counts]] for epochs in row.epochs.values()]
    return [float(value) for value in 100 * np.mean(table, axis=0)]


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other beats, by increasing cost."""
    best, front = -np.inf, []
    for a, b in sorted(points, key=lambda p: (p[0], -p[1])):
        if b > best:
            front.append((a, b))
            best = b
    return front


def _colour(found: Findings, row: Row) -> str:
    """Return one colour for each spec; the plain backbone is grey."""
    if row.arm.spec is None:
        return "#777777"
    specs = list(dict.fromkeys(r.arm.spec for r in found.rows if r.arm.spec is not None))
    return COLOURS[specs.index(row.arm.spec) % len(COLOURS)]


def _dash(row: Row) -> str:
    if row.arm.kind == "plain":
        return ' stroke-dasharray="1.5 2.5"'
    is_paper = row.arm.kind == "mechanism" and row.arm.init == "paper"
    return ' stroke-dasharray="5 3"' if is_paper else ""


def _frame(x: Scale, y: Scale, below: str, beside: str, *, whole: bool = False) -> list[str]:
    parts = []
    right, bottom = _LEFT + _PLOT_W, _TOP + _PLOT_H
    for tick in x.ticks():
        if whole and tick != int(tick):
            continue
        parts.append(_line(x(tick), bottom, x(tick), bottom + 4))
        parts.append(_text(x(tick), bottom + 16, f"{tick:g}", 9, _FAINT, "middle"))
    for tick in y.ticks():
        parts.append(_line(_LEFT, y(tick), right, y(tick), "#eeeeee"))
        parts.append(_text(_LEFT - 6, y(tick) + 3, f"{tick:g}", 9, _FAINT, "end"))
    parts.append(_line(_LEFT, bottom, right, bottom))
    parts.append(_line(_LEFT, _TOP, _LEFT, bottom))
    parts.append(_text(_LEFT + _PLOT_W / 2, bottom + 34, below, 10, _INK, "middle"))
    middle = _TOP + _PLOT_H / 2
    parts.append(
        f'<g transform="rotate(-90 14 {middle:.1f})">'
        + _text(14, middle, beside, 10, _INK, "middle")
        + "</g>"
    )
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = _LINE) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, size: float, colour: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(shown(text))}</text>'
    )


def _svg(
    title: str,
    notes: Sequence[str],
    parts: Sequence[str],
    legend: Sequence[tuple[str, str, str, str]],
) -> str:
    """Return a chart with its legend on the right: number, name, colour and dash of each."""
    left = _LEFT + _PLOT_W + 18
    wide = max([width(shown(name), 10) for _, name, _, _ in legend], default=0.0)
    right = left + 44 + wide * 1.06
    right = max([right, *(_LEFT + width(note, 9) * 1.06 for note in notes)])
    right = max(right, _LEFT + width(shown(title), _SIZE + 2, bold=True) * 1.06)
    height = max(_TOP + _PLOT_H + _BELOW, _TOP + 15 * len(legend)) + 14 * len(notes) + 8
    rows = []
    for index, (number, name, colour, dash) in enumerate(legend):
        at = _TOP + 8 + 15 * index
        rows.append(
            f'<line x1="{left:.1f}" y1="{at:.1f}" x2="{left + 18:.1f}" y2="{at:.1f}" '
            f'stroke="{colour}" stroke-width="2"{dash}/>'
        )
        if number:
            rows.append(_text(left + 24, at + 3.5, number, 9, _FAINT))
        rows.append(_text(left + (40 if number else 24), at + 3.5, name, 10, _INK))
    bottom = height - 14 * len(notes)
    foot = [_text(_LEFT, bottom + 14 * i, note, 9, _FAINT) for i, note in enumerate(notes)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{right + 12:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {right + 12:.0f} {height:.0f}" '
        f'font-family="{escape(FONTS)}">'
    )
    heading = _text(_LEFT, 20, title, _SIZE + 2, _INK).replace("<text", '<text font-weight="bold"')
    return "\n".join(
        [
            head,
            f"<title>{escape(shown(title))}</title>",
            f'<rect width="{right + 12:.0f}" height="{height:.0f}" fill="#ffffff"/>',
            heading,
            *parts,
            *rows,
            *foot,
            "</svg>",
            "",
        ]
    )
