"""A place that was passed over, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NearMiss:
    """A place that is no site, and why: by choice, or for what it was seen to be."""

    path: str
    reason: str
    by_choice: bool
