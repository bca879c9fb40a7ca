"""Plain tables: columns aligned, numbers to the right, nothing cut off."""

from __future__ import annotations

from collections.abc import Sequence

import click


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return rows under headings; the columns in `right` are aligned to the right."""
    widths = [
        max([len(heading), *(len(row[i]) for row in rows)]) for i, heading in enumerate(headings)
    ]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(headings), line(["-" * w for w in widths]), *map(line, rows)])


def say(text: str) -> None:
    """Print data."""
    click.echo(text)


def note(text: str) -> None:
    """Print what is no data, to stderr."""
    click.echo(text, err=True)
