"""The libraries of the extras `study` and `ray`: imported where they are used, without torch."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from composer.errors import Diagnostic, MissingPartError


def library(name: str, extra: Literal["study", "ray"] = "study") -> Any:
    """Return an imported library, or a module of it.

    Raises:
        MissingPartError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        package = {"sklearn": "scikit-learn"}.get(top := name.partition(".")[0], top)
        way_out = f"pip install {package}, or pip install 'attention-composer[{extra}]'"
        message = f"{package} is not installed"
        raise MissingPartError(Diagnostic("missing-library", message, way_out)) from None
