"""A place that was passed over, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NearMiss:
    """A place that is not a site, and why: by choice, or for what was seen there."""

    path: str
    reason: str
    by_choice: bool
