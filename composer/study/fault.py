"""What is said of a study's data and results."""

from __future__ import annotations

from pathlib import Path

from composer.errors import ComposerError, Diagnostic


def data_error(message: str, way_out: str | None, path: Path | str) -> ComposerError:
    """Return that the data set at a path cannot be used."""
    return ComposerError(Diagnostic("data", message, way_out, file=str(path)))


def results_error(message: str, way_out: str | None, path: Path | str) -> ComposerError:
    """Return that the results at a path cannot be used."""
    return ComposerError(Diagnostic("results", message, way_out, file=str(path)))
