"""Writes docs/report.schema.json, of what report.json holds: python docs/report_schema.py."""

from __future__ import annotations

import json
from pathlib import Path

from composer.artifact.report_json import report_schema

FILE = Path(__file__).with_name("report.schema.json")


def text() -> str:
    """Return the text of the file."""
    return json.dumps(report_schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
