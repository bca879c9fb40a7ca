"""Plain tables: columns aligned, numbers to the right, nothing cut off."""

from __future__ import annotations

import itertools
import shutil
import sys
import textwrap
from collections.abc import Sequence

from composer.visible import columns, visible_line


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return rows under headings; the columns in `right` are aligned to the right.

    A cell is one line, with every character made visible.
    """
    rows = [list(map(visible_line, row)) for row in rows]
    widths = [
        max([len(heading), *(columns(row[i]) for row in rows)])
        for i, heading in enumerate(headings)
    ]

    def line(cells: Sequence[str]) -> str:
        padded = []
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            room = " " * (width - columns(cell))
            padded.append(room + cell if i in right else cell + room)
        return "  ".join(padded).rstrip()

    return "\n".join([line(headings), line(["-" * w for w in widths]), *map(line, rows)])


def fitted(headings: Sequence[str], rows: Sequence[Sequence[str]], folding: Sequence[int]) -> str:
    """Return a table whose columns `folding` are wrapped to the width of the terminal.

    What goes to a file or to another program keeps each row on one line.
    """
    rows = [list(map(visible_line, row)) for row in rows]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    widths = [max(columns(cells[i]) for cells in (headings, *rows)) for i in range(len(headings))]
    left = room - sum(w + 2 for i, w in enumerate(widths) if i not in folding)
    most = max(20, left // len(folding) - 2)
    if not room or sum(w + 2 for w in widths) <= room:
        return table(headings, rows)
    folded: list[list[str]] = []
    for row in rows:
        cells = [
            textwrap.wrap(cell, most) or [""] if i in folding else [cell]
            for i, cell in enumerate(row)
        ]
        folded += map(list, itertools.zip_longest(*cells, fillvalue=""))
    return table(headings, folded)
