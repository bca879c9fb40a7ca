"""The files that a run leaves: every number, and a picture of the ratios."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from results import Mean, Row

from composer.measure.machine import Machine

NAMES = ("speed.json", "speed.svg", "speed.png")


def check_free(folder: str, force: bool) -> None:
    """Leave, with a message, where the files are there and are not to be replaced."""
    taken = [name for name in NAMES if Path(folder, name).exists()]
    if taken and not force:
        sys.exit(f"{folder}: holds {' and '.join(taken)} already; replace with --force")


def write(folder: str, machine: Machine, rows: Sequence[Row], found: Sequence[Mean]) -> None:
    """Write the files; the folder is made where there is none."""
    from plot import plot

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    said = {
        "version": 1,
        "machine": machine.as_json(),
        "versions": machine.versions,
        "device": rows[0].setting.device if rows else None,
        "rows": [row.as_json() for row in rows],
        "means": [asdict(mean) for mean in found],
    }
    place.joinpath("speed.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    plot(rows, str(machine), [place / name for name in NAMES[1:]])
    print(f"written to {folder}: {', '.join(NAMES)}", file=sys.stderr)
