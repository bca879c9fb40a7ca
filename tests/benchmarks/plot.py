"""A picture of the ratios: a dot for each case, a bar at each mean, a panel for each mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from results import Row, geometric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What a row is compared with: its name, its colour, and how far from the middle of its line.
SERIES = {"timm": ("#d55e00", 0.2), "torch": ("#009e73", 0.0), "plain": ("#0072b2", -0.2)}
TICKS = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def plot(rows: Sequence[Row], title: str, files: Sequence[Path]) -> None:
    """Draw rows to files; the format is that of each suffix."""
    mpl.use("agg")
    from matplotlib import pyplot

    panels = list(dict.fromkeys(str(row.setting) for row in rows))
    names = list(dict.fromkeys(row.case.name for row in rows))
    size = (4.2 * len(panels) + 1.2, 0.34 * len(names) + 1.8)
    figure, axes = pyplot.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, setting in zip(axes[0], panels, strict=True):
        _panel(axis, [row for row in rows if str(row.setting) == setting], names)
        axis.set_title(setting, fontsize=10)
    axes[0][0].set_yticks(range(len(names)), names)
    axes[0][0].invert_yaxis()
    axes[0][-1].legend(loc="lower right", fontsize=8)
    figure.suptitle(title, fontsize=8, color="#555555")
    figure.supxlabel("how many times as much as ours (right of 1: ours is better)", fontsize=9)
    figure.tight_layout()
    for file in files:
        figure.savefig(file, dpi=150)
    pyplot.close(figure)


def _panel(axis: Axes, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Draw the rows of one mode and layout."""
    seen: list[float] = [1.0]
    for other, (colour, offset) in SERIES.items():
        label: str | None = f"{other} / ours"
        for line, name in enumerate(names):
            found = [row.ratio(other, "ours") for row in rows if row.case.name == name]
            ratios = [ratio for ratio in found if ratio]
            if not ratios:
                continue
            seen += ratios
            height = line - offset
            axis.scatter(ratios, [height] * len(ratios), s=9, color=colour, alpha=0.5, lw=0)
            mean = geometric(ratios)
            axis.plot([mean] * 2, [height - 0.15, height + 0.15], color=colour, lw=2, label=label)
            label = None
    axis.set_xscale("log")
    axis.axvline(1, color="black", lw=0.8)
    ticks = [tick for tick in TICKS if min(seen) / 1.5 <= tick <= max(seen) * 1.5]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.grid(axis="x", color="#dddddd", lw=0.5)
    axis.set_axisbelow(True)
