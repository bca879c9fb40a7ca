"""Fuzzing that is led by the lines it reaches: ``python tests/fuzz/led_by_lines.py reader``.

Run by hand, with `atheris` installed (``pip install atheris``), which the suite does not need. It
begins with the shipped specs, or their expressions, and ends after ``--seconds``; the first input
that gives neither a result nor a message is printed, with its traceback, and kept in a file.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["composer.language", "composer.graph", "composer.errors"]):
    import composer.graph.frontend
    import composer.language.expressions  # noqa: F401
from test_fuzz import checks, expressions

from composer.language.library import shipped_folder, shipped_names

TARGETS = {"reader": checks, "expressions": expressions}
_EXPRESSION = re.compile(r"[:\[]\s*\"?([\w /*+%()<>=,.-]{3,60})")


def beginnings(target: str) -> list[str]:
    """Return the inputs to begin with."""
    names = shipped_names()
    texts = [(shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8") for name in names]
    if target == "reader":
        return texts
    return sorted({found for text in texts for found in _EXPRESSION.findall(text)})


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("target", choices=TARGETS)
    asked.add_argument("--seconds", type=int, default=180)
    given = asked.parse_args()
    one = TARGETS[given.target]

    def each(data: bytes) -> None:
        one(data.decode("utf-8", errors="surrogateescape"))

    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(beginnings(given.target)):
            Path(folder, str(number)).write_text(text, encoding="utf-8")
        limit = [f"-max_total_time={given.seconds}", "-print_final_stats=1", "-timeout=30"]
        atheris.Setup([sys.argv[0], *limit, "-max_len=4000", "-verbosity=1", folder], each)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
