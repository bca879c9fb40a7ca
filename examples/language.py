"""Writes docs/language.md, the reference of the language, from the code."""

from __future__ import annotations

from pathlib import Path

from composer.primitives.page import page

FILE = Path(__file__).parents[1] / "docs" / "language.md"

if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(page(), encoding="utf-8")
    print(f"written to {FILE}")
