"""Finds the expression of a number from its values at several sizes: ``c // 16``, ``d ** -0.5``.

The candidates are the usual ones: a fraction or a multiple of the channels, with a minimum width or
rounded to a multiple of eight, and for a filter the nearest odd number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from composer.language.expressions import ExpressionError, evaluate, parse

Numbers = tuple[float, ...]
_CLOSE = 1e-9
_MOST = 64
_COINCIDENCE = 16  # up to this, a number in a module for one map size need not depend on it


def _roundness(share: int) -> tuple[bool, int, int]:
    """Return the order of divisors to try: powers of two, then multiples of the largest."""
    power = share & -share
    return share != power, share if share == power else -power, share


_ROUND = tuple(sorted(range(2, _MOST + 1), key=_roundness))


@dataclass(frozen=True)
class Size:
    """A size in each run; it becomes a number or an expression in the end.

    The remainder of other parts is `whole` minus these, if nothing simpler matches.
    """

    numbers: Numbers
    whole: Numbers | None = None
    parts: tuple[Numbers, ...] = ()


class Formulas:
    """Finds expressions over the sizes of the input; remembers numbers without one."""

    def __init__(self, sizes: Mapping[str, Numbers]) -> None:
        self.sizes = dict(sizes)
        self.runs = len(next(iter(sizes.values())))
        self.exact: set[Numbers] = set()  # whose division must be exact
        self.unexplained: dict[int | float, Numbers] = {}
        self._found: dict[tuple[Size, bool], str | int] = {}
        self._varies = {name: len(set(numbers)) > 1 for name, numbers in self.sizes.items()}

    def size(self, numbers: Sequence[float] | Size) -> str | int:
        """Return an integer in each run as a number or an expression.

        An `exact` fraction is written with ``/``, which means that the division is exact.
        """
        size = numbers if isinstance(numbers, Size) else Size(tuple(numbers))
        exact = size.numbers in self.exact
        if (size, exact) not in self._found:
            self._found[size, exact] = self._size(size, exact)
        return self._found[size, exact]

    def resolved(self, tree: Any) -> Any:
        """Return nested fields of a node with each `Size` replaced by its text."""
        if isinstance(tree, Size):
            return self.size(tree)
        if isinstance(tree, (list, tuple)):
            return [self.resolved(one) for one in tree]
        if isinstance(tree, dict):
            return {key: self.resolved(one) for key, one in tree.items()}
        return tree

    def _size(self, size: Size, exact: bool) -> str | int:
        numbers = size.numbers
        for name, sizes in self.sizes.items():
            if sizes == numbers and (self._varies[name] or numbers[0] > 1):
                return name
        if len(set(numbers)) == 1 and any(self._varies.values()):
            found = (text for text in self._of_one_map(numbers) if self._is(text, numbers))
            return next(found, int(numbers[0]))
        for text in self._sizes_tried(numbers, exact):
            if self._is(text, numbers):
                return text
        if len(set(numbers)) == 1:
            return int(numbers[0])
        if size.whole is not None:
            parts = [self.size(part) for part in size.parts]
            return " - ".join(
                f"{p}" if str(p).isalnum() else f"({p})" for p in (self.size(size.whole), *parts)
            )
        self.unexplained[int(numbers[0])] = numbers
        return int(numbers[0])

    def _sizes_tried(self, numbers: Numbers, exact: bool) -> Iterator[str]:
        """Yield expressions, simplest first."""
        names = [name for name, varies in self._varies.items() if varies]
        yield from self._of_one_map(numbers)
        for name in names:
            sizes = self.sizes[name]
            ratios = [a / b for a, b in zip(numbers, sizes, strict=True)]
            if ratios[0] == int(ratios[0]):
                yield f"{int(ratios[0])} * {name}"
            if len(set(sizes)) > 1:
                ends = [(n, s) for n, s in zip(numbers, sizes, strict=True)]
                (n0, s0), (n1, s1) = min(ends, key=lambda e: e[1]), max(ends, key=lambda e: e[1])
                slope = (n1 - n0) / (s1 - s0)
                rest = n0 - slope * s0
                if slope == int(slope) > 0 and rest == int(rest):
                    many = name if slope == 1 else f"{int(slope)} * {name}"
                    yield f"{many} {'-' if rest < 0 else '+'} {abs(int(rest))}"
            for share in self._shares(numbers, sizes):
                yield f"{name} / {share}" if exact else f"{name} // {share}"
            divide = "/" if exact else "//"
            for top in (3, 5, 7):
                for share in (2, 4, 8):
                    yield f"{top} * {name} {divide} {share}"
            least = int(min(numbers))
            for share in _ROUND:
                yield f"max({name} // {share}, {least})"
                if least % 8 == 0:
                    yield f"max(({name} // {share} + 4) // 8 * 8, 8)"
            for kernel in (1, 2, 3, 4):
                yield f"odd((log2({name}) + 1) / {kernel})"
                yield f"odd((log2({name}) + 1) / {kernel}) // 2"
            for share in range(2, _MOST + 1):
                yield f"{name} // {share} * {share}"
                yield f"ceil({name} / {share})"
                yield f"({name} + {share - 1}) // {share} * {share}"
                yield f"-{name} % {share}"
        for one in names:
            for other in names:
                yield f"{one} * {other}"
                yield f"{one} + {other}"
                for share in (2, 4, 8):
                    yield f"({one} // {share}) * ({other} // {share})"

    def _of_one_map(self, numbers: Numbers) -> Iterator[str]:
        """Yield the number of positions of a map, and one more, if it has only one size."""
        places = [name for name, varies in self._varies.items() if not varies and name != "c"]
        if places and numbers[0] > _COINCIDENCE:
            yield " * ".join(places)
            yield f"1 + {' * '.join(places)}"

    def _shares(self, numbers: Numbers, sizes: Numbers) -> Iterator[int]:
        """Yield the divisors that would give these sizes, the most usual first."""
        if not all(numbers):
            return
        low = max(math.floor(s / (n + 1)) + 1 for n, s in zip(numbers, sizes, strict=True))
        high = min(s // n for n, s in zip(numbers, sizes, strict=True))
        found = range(max(2, int(low)), int(high) + 1)
        yield from sorted(found, key=_roundness)

    def number(self, numbers: Sequence[float]) -> str | float | int:
        """Return a number in each run as a number or an expression."""
        numbers = tuple(numbers)
        if len(set(numbers)) == 1:
            return tidy(numbers[0])
        if all(n == int(n) and n >= 0 for n in numbers):
            return self.size(numbers)
        for text in self._numbers_tried(numbers):
            if self._is(text, numbers):
                return text
        self.unexplained[tidy(numbers[0])] = numbers
        return tidy(numbers[0])

    def _numbers_tried(self, numbers: Numbers) -> Iterator[str]:
        """Yield powers of sizes and of their fractions."""
        for power in (-0.5, 0.5, -1, -2, -0.25):
            if any(n <= 0 for n in numbers):
                return
            base = tuple(n ** (1 / power) for n in numbers)
            whole = tuple(float(round(b)) for b in base)
            if all(abs(b - w) < 1e-6 * w for b, w in zip(base, whole, strict=True) if w):
                text = str(self._size_or_none(whole))
                if text != "None":
                    inner = text if text.isidentifier() or text.isdigit() else f"({text})"
                    yield f"{inner} ** {power}"

    def _size_or_none(self, numbers: Numbers) -> str | int | None:
        found = self.size(numbers)
        if isinstance(found, int) and len(set(numbers)) > 1:
            self.unexplained.pop(found, None)
            return None
        return found

    def _is(self, text: str, numbers: Numbers) -> bool:
        try:
            tree = parse(text)
        except ExpressionError:
            return False
        for run, number in enumerate(numbers):
            known = {name: int(sizes[run]) for name, sizes in self.sizes.items()}
            value = evaluate(tree, known)
            if not isinstance(value, (int, float)):
                return False
            if abs(value - number) > _CLOSE * max(1.0, abs(number)):
                return False
        return True


def tidy(number: float) -> float | int:
    """Return an integer-valued number as an int."""
    return int(number) if number == int(number) and abs(number) < 1e15 else number
