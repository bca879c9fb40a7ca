"""Counts as papers print them."""

from __future__ import annotations


def giga(number: int) -> str:
    """Return a count in a few characters: ``4.11 G``, ``314.6 M``, ``52.4 k``, ``640``."""
    for unit, factor, digits in (("G", 10**9, 2), ("M", 10**6, 1), ("k", 10**3, 1)):
        if round(number / factor, digits) >= 1:
            return f"{number / factor:.{digits}f} {unit}"
    return str(number)


def cost_line(parameters: int, flops: int) -> tuple[str, ...]:
    """Return parameters and multiply-adds on one line; no line if there are none."""
    said = [f"{parameters:,} param{'s' if parameters > 1 else ''}"] if parameters else []
    said += [f"{giga(flops)} multiply-adds"] if flops else []
    return (" · ".join(said),) if said else ()
