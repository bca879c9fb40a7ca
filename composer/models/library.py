"""An optional library: imported, or a message that says how to install it."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from composer.errors import Diagnostic, MissingPartError


def library(name: str) -> Any:
    """Return an imported library, or a module of it.

    Tensors created during the import are on the CPU, whatever the caller's device: torch 2.7
    can't import torchvision inside ``torch.device("meta")``.

    Raises:
        MissingPartError: it is not installed.
    """
    import torch

    try:
        with torch.device("cpu"):
            return importlib.import_module(name)
    except ImportError:
        raise _missing(name.partition(".")[0]) from None


def folder_of(package: str) -> Path:
    """Return the folder of an installed package, without importing it.

    Raises:
        MissingPartError: it is not installed.
    """
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise _missing(package)
    return Path(next(iter(found.submodule_search_locations)))


def _missing(package: str) -> MissingPartError:
    return MissingPartError(
        Diagnostic("missing-library", f"{package} is not installed", f"pip install {package}")
    )
