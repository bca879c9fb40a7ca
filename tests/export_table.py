"""Writes docs/export.md's table: each shipped mechanism in each format, or the reason why not.

    python tests/export_table.py                    every mechanism, in every format
    python tests/export_table.py se cbam --to aoti  some cells; the others stay as they are

AOTInductor compiles C++ for each, so all of it takes an hour.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from pathlib import Path

from shipped import WIDE

import composer
from composer import ComposerError
from composer.exporting.exported import FORMATS
from composer.language.library import shipped_names

PAGE = Path(__file__).parents[1] / "docs" / "export.md"
BEGIN, END = "<!-- table: tests/export_table.py -->", "<!-- end -->"
COLUMNS = ("python", "onnx", "pt2", "aoti")
OPEN = "—"  # not tried


def written(name: str, format_: str, folder: Path) -> str:
    """Return what a mechanism is in a format, in words for a cell of the table."""
    file = folder / f"{name}{FORMATS[format_].suffix}"
    try:
        found = composer.export(
            name, file, format_, channels=128 if name in WIDE else 64, size=(14, 14), force=True
        )
    except ComposerError as failure:
        return f"no: {failure.diagnostics[0].message}"
    opened = "any batch" if "batch" in found.dynamic else "one batch"
    if not {"height", "tokens"} & {*found.dynamic, *found.fixed}:
        return opened
    if {"height", "tokens"} & set(found.dynamic):
        return f"{opened}, any size"
    return f"{opened}, one size"


def cells(page: str) -> dict[str, dict[str, str]]:
    """Return the table of a page: each mechanism's words for each format."""
    table = page[page.index(BEGIN) : page.index(END)]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): dict(zip(COLUMNS, row[1:], strict=True)) for row in rows}


def page_with(page: str, found: dict[str, dict[str, str]]) -> str:
    """Return a page with another table."""
    lines = [BEGIN, f"| mechanism | {' | '.join(COLUMNS)} |", "| --- " * (1 + len(COLUMNS)) + "|"]
    lines += [
        f"| `{name}` | {' | '.join(row.get(c, OPEN) for c in COLUMNS)} |"
        for name, row in sorted(found.items())
    ]
    return page[: page.index(BEGIN)] + "\n".join(lines) + "\n" + page[page.index(END) :]


def main() -> None:
    """Fill cells, one after another; what was filled stays where the rest is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--to", choices=COLUMNS, action="append")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    for format_ in chosen.to or COLUMNS:
        for name in chosen.names or shipped_names():
            with tempfile.TemporaryDirectory() as folder:
                said = written(name, format_, Path(folder))
            page = PAGE.read_text(encoding="utf-8")
            found = {one: {} for one in shipped_names()} | cells(page)
            found[name][format_] = said
            PAGE.write_text(page_with(page, found), encoding="utf-8")
            print(name, format_, said, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
