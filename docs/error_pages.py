"""Writes docs/errors.md from composer/explanations.yaml: python docs/error_pages.py."""

from __future__ import annotations

from pathlib import Path

from composer.explanations import Explanation, explanations

HEAD = """\
# Messages

Each message has a code in brackets, such as `error[unknown-axis]`. Here is what each code means, an
example that leads to it, and the way out; `composer explain CODE` prints the same. An example
that is a spec shows its nodes alone, under `name: example`, `input: [b, c, h, w]` and `nodes:`,
unless it begins itself with a field of a spec.

This page is written by `python docs/error_pages.py` from `composer/explanations.yaml`.
"""
LANGUAGE = {"spec": "yaml", "command": "console", "python": "python"}


def page() -> str:
    """Return the text of the page."""
    return "\n".join([HEAD, *map(_section, explanations().values())])


def _section(one: Explanation) -> str:
    example = f"```{LANGUAGE[one.kind]}\n{one.example}\n```"
    return f"## {one.code}\n\n{one.means}\n\n{example}\n\n{one.way_out}\n"


if __name__ == "__main__":
    Path(__file__).with_name("errors.md").write_text(page(), encoding="utf-8")
