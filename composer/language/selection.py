"""Which stages or blocks: ``1,3``, ``1..-2``, ``-1``; negative ones count from the end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_ITEM = re.compile(r"(-?[1-9]\d*)(?:(?:\.\.|-)(-?[1-9]\d*))?")


class SelectionError(ValueError):
    """A selection that cannot be read, or that asks for what does not exist."""


@dataclass(frozen=True)
class Selection:
    """Ranges of numbers, each end counted from 1, or from the end if negative."""

    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> Selection:
        """Read ``1,3``, ``2..4`` or ``1..-2``.

        Raises:
            SelectionError: the text is not a selection.
        """
        ranges = []
        for item in text.split(","):
            match = _ITEM.fullmatch(item.strip())
            if match is None:
                raise SelectionError(
                    f"{item.strip()!r} is not a number or a range; they count from 1: "
                    "'1,3', '2..4', '1..-2' or '-1' for the last"
                )
            first = int(match[1])
            last = int(match[2] or first)
            if first > last and (first > 0) == (last > 0):
                raise SelectionError(
                    f"{item.strip()!r} runs backwards, so it is empty; write '{last}..{first}'"
                )
            ranges.append((first, last))
        return cls(tuple(ranges))

    def of(self, count: int) -> frozenset[int]:
        """Return the numbers (from 1) selected among `count`; those beyond it are omitted."""
        chosen: set[int] = set()
        for first, last in self.ranges:
            low = first if first > 0 else count + 1 + first
            high = last if last > 0 else count + 1 + last
            chosen.update(n for n in range(low, high + 1) if 1 <= n <= count)
        return frozenset(chosen)

    def beyond(self, count: int) -> int | None:
        """Return a selected number that is beyond `count`, or None."""
        ends = (end for pair in self.ranges for end in pair)
        return next((end for end in ends if abs(end) > count), None)

    def __str__(self) -> str:
        return ",".join(f"{a}" if a == b else f"{a}..{b}" for a, b in self.ranges)


def _read(value: Any) -> Selection:
    if isinstance(value, Selection):
        return value
    items: Iterable[Any] = value if isinstance(value, list) else [value]
    if any(isinstance(i, bool) or not isinstance(i, (int, str)) for i in items):
        raise PydanticCustomError(
            "invalid-value", "expected numbers or ranges, such as 2, '1..-2' or [1, 3]"
        )
    try:
        return Selection.parse(",".join(str(i) for i in items))
    except SelectionError as failure:
        raise PydanticCustomError("invalid-value", "{said}", {"said": str(failure)}) from None


Positions = Annotated[
    Selection,
    PlainValidator(_read),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer"},
                {"type": "string"},
                {"type": "array", "items": {"type": ["integer", "string"]}},
            ],
            "description": "numbers or ranges from 1; negative ones count from the end: '1..-2'",
        }
    ),
]
