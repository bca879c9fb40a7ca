"""The differences of two sets of tensors: names, shapes, dtypes and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class WeightDifference:
    """The tensors of two files, by name.

    Attributes:
        equal: those with the same values, bit by bit except for the sign of zero.
        changed: those of the same shape with different values, and the largest difference.
        reshaped: those of different shape or dtype, both in words.
        only_a: those only in the first file.
        only_b: those only in the second file.
    """

    equal: tuple[str, ...]
    changed: Mapping[str, float]
    reshaped: Mapping[str, tuple[str, str]]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether all tensors are equal."""
        return not (self.changed or self.reshaped or self.only_a or self.only_b)

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "equal": len(self.equal),
            "changed": dict(self.changed),
            "reshaped": {name: list(pair) for name, pair in self.reshaped.items()},
            "only_a": list(self.only_a),
            "only_b": list(self.only_b),
        }


def weight_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> WeightDifference:
    """Return the differences of two sets of tensors."""
    equal: list[str] = []
    changed: dict[str, float] = {}
    reshaped: dict[str, tuple[str, str]] = {}
    for name in (name for name in a if name in b):
        one, other = a[name], b[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            reshaped[name] = _told(one), _told(other)
        elif _same(one, other):
            equal.append(name)
        else:
            changed[name] = _largest(one, other)
    return WeightDifference(
        tuple(equal),
        changed,
        reshaped,
        tuple(name for name in a if name not in b),
        tuple(name for name in b if name not in a),
    )


def _same(one: Tensor, other: Tensor) -> bool:
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _largest(one: Tensor, other: Tensor) -> float:
    """Return the largest difference; infinite where only one is NaN."""
    apart = (one.double() - other.double()).abs()
    apart = apart.masked_fill((one != one) & (other != other), 0.0)
    return float(apart.nan_to_num(nan=float("inf")).max())


def _told(tensor: Tensor) -> str:
    sizes = "×".join(map(str, tensor.shape)) or "one number"
    return f"{sizes} {str(tensor.dtype).removeprefix('torch.')}"
