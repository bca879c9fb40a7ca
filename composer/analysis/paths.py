"""Modules by the paths around and below them."""

from __future__ import annotations


def around(path: str) -> list[str]:
    """Return a path and those of its enclosing modules, the nearest first and the model last."""
    found = [path]
    while found[-1]:
        found.append(found[-1].rpartition(".")[0])
    return found


def is_inside(path: str, parent: str) -> bool:
    """Return whether a module's path is that of another, or below it."""
    return parent == "" or path == parent or path.startswith(f"{parent}.")
