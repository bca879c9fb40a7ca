"""The mapping from our checkpoint's keys to an oracle's, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

WEIGHTS = ("weight",)
BIASED = ("weight", "bias")
NORM = (*BIASED, "running_mean", "running_var", "num_batches_tracked")


def renamed(pairs: Mapping[str, str], suffixes: tuple[str, ...]) -> dict[str, str]:
    """Return the keys of layers, each with every suffix."""
    return {f"{ours}.{s}": f"{theirs}.{s}" for ours, theirs in pairs.items() for s in suffixes}


def under(ours: str, theirs: str, keys: Mapping[str, str]) -> dict[str, str]:
    """Return keys with a prefix before each."""
    return {f"{ours}{a}": f"{theirs}{b}" for a, b in keys.items()}
