"""The layout engine: Graphviz from a wheel, else that of the system."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from composer.errors import ComposerError, Diagnostic, MissingPartError

INSTALL = "pip install 'graphviz-pure>=0.2.2,<0.3'"
SECONDS = 60


def run(source: str, wanted: str = "json0") -> str:
    """Return the output of Graphviz for DOT.

    Args:
        source: DOT of one graph or several.
        wanted: the engine's output format.

    Raises:
        MissingPartError: there is no engine.
        ComposerError: each engine fails on this graph.
    """
    failed = None
    for engine in engines():
        try:
            done = subprocess.run(
                [str(engine), f"-T{wanted}"],
                input=source.encode(),
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as failure:
            failed = f"{engine.name}: {failure}"
            continue
        if done.returncode == 0:
            return done.stdout.decode()
        said = done.stderr.decode(errors="replace").strip().splitlines()
        failed = f"{engine.name}: {said[-1] if said else f'it ended with {done.returncode}'}"
    if failed is None:
        raise MissingPartError(
            Diagnostic(
                "no-engine",
                "Graphviz, which does the layout, is not installed",
                f"{INSTALL}, or install your system's Graphviz; .dot and .mmd don't need it",
            )
        )
    raise ComposerError(
        Diagnostic(
            "engine-failed",
            f"Graphviz cannot lay out this picture ({failed})",
            "show less of it with --depth, or write .dot or .mmd, which need no Graphviz",
        )
    )


def engines() -> Iterator[Path]:
    """Yield the engines to try: that of the wheel, wherever pip installed it, then the system's."""
    folders = (sysconfig.get_path("scripts"), str(Path(sys.executable).parent), None)
    found = [shutil.which("graphviz-pure", path=folder) for folder in folders]
    return (Path(path) for path in dict.fromkeys([*found, shutil.which("dot")]) if path)
