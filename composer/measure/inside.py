"""What is inside a module, by paths, without a look at all paths of a model each time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable


class Inside:
    """Paths, such as those of modules or parameters, asked for what is below one of them."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._rank = {path: place for place, path in enumerate(paths)}
        self._sorted = sorted(self._rank)

    def of(self, path: str) -> list[str]:
        """Return the paths below one, not itself, in the order they were given in.

        Below the empty path are all others.
        """
        if not path:
            return [one for one in self._rank if one]
        begin = bisect_left(self._sorted, f"{path}.")
        end = bisect_left(self._sorted, f"{path}/")  # the sign that follows the point
        return sorted(self._sorted[begin:end], key=self._rank.__getitem__)
