"""Writes docs/ops.md, and docs/language.md below its mark: python docs/language_pages.py."""

from __future__ import annotations

from pathlib import Path

from composer.primitives.page import fields_page, ops_page

FOLDER = Path(__file__).parent
MARK = "<!-- What follows is written by `python docs/language_pages.py`. -->\n\n"

if __name__ == "__main__":
    language = FOLDER / "language.md"
    prose, mark, _ = language.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise SystemExit(f"{language} has lost its mark, {MARK.strip()}")
    language.write_text(prose + MARK + fields_page(), encoding="utf-8")
    (FOLDER / "ops.md").write_text(ops_page(), encoding="utf-8")
