"""A run's checkpoint: written whole under one name, and read only where it is whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from composer.files import write_file


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint in place of the one before.

    Raises:
        ComposerError: it cannot be written; the one before is as it was.
    """
    write_file(path, lambda new: torch.save(state, new), force=True)


def read(path: Path) -> dict[str, Any] | None:
    """Return the checkpoint at a path; None where there is none, or it cannot be read.

    What cannot be read costs the run its progress, never its result: the run starts again.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception:  # torch.load raises what the pickle or the archive makes of damaged bytes
        return None
    return state


def remove(path: Path) -> None:
    """Remove a checkpoint that is no longer needed."""
    if path.exists():
        os.unlink(path)  # noqa: PTH108
