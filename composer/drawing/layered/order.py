"""In which order the leaves of each row stand: near to what they are linked to, few links crossing.

Each sweep gives every group one key, so that two groups stand in the same order in all rows, and
sorts each row by the keys of the groups first: what belongs together stands together.
"""

from __future__ import annotations

from bisect import bisect_right, insort

from composer.drawing.layered.rows import Leaf, Rows

SWEEPS = 8
_GAP = 14.0
_ROAD = 8.0  # how much a piece of the main road counts for

_Key = tuple[tuple[float, int], ...]


def put_in_order(rows: Rows) -> None:
    """Sort the leaves of each row, by sweeps downwards and upwards; the best of them is kept."""
    sweeping = _Sweeping(rows)
    best, least = None, float("inf")
    for sweep in range(SWEEPS):
        sweeping.sweep(downwards=sweep % 2 == 0)
        crossings = sum(sweeping.crossings(row) for row in range(len(rows.rows) - 1))
        if crossings < least:
            best, least = [list(row) for row in rows.rows], crossings
        if not crossings:
            break
    rows.rows = best or rows.rows


class _Sweeping:
    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.up: list[list[tuple[int, float]]] = [[] for _ in rows.leaves]
        self.down: list[list[tuple[int, float]]] = [[] for _ in rows.leaves]
        for segment in rows.segments:
            weight = _ROAD if segment.road else 1.0
            self.up[segment.lower].append((segment.upper, weight))
            self.down[segment.upper].append((segment.lower, weight))
        self.x = [0.0] * len(rows.leaves)
        for row in rows.rows:
            row.sort(key=lambda leaf: not rows.leaves[leaf].road)
            self._pack(row, dict.fromkeys(row, 0.0))
        self.members: list[list[int]] = [[] for _ in rows.spans]
        for number, leaf in enumerate(rows.leaves):
            if leaf.sort not in ("left", "right", "heading"):
                for group in leaf.home:
                    self.members[group].append(number)

    def sweep(self, downwards: bool) -> None:
        """Sort each row by what its leaves are linked to in the row before, on the way."""
        rows = self.rows.rows
        near = self.up if downwards else self.down
        begins = [[] for _ in rows]  # type: list[list[int]]
        for group, (first, last) in enumerate(self.rows.spans):
            begins[first if downwards else last].append(group)
        groups = [0.0] * len(self.rows.spans)
        for number in range(len(rows)) if downwards else reversed(range(len(rows))):
            row = rows[number]
            for group in begins[number]:
                groups[group] = self._of_group(group, row, near)
            keys = {leaf: self._mean(near[leaf], self.x[leaf]) for leaf in row}
            row.sort(key=lambda leaf: self._key(leaf, keys[leaf], groups))
            self._pack(row, keys)

    def _of_group(self, group: int, row: list[int], near: list[list[tuple[int, float]]]) -> float:
        """Return where a group is drawn to by its links from outside, else where it is."""
        linked = [one for leaf in row if group in self.rows.leaves[leaf].home for one in near[leaf]]
        return self._mean(linked or [(member, 1.0) for member in self.members[group]], 0.0)

    def _mean(self, near: list[tuple[int, float]], otherwise: float) -> float:
        if not near:
            return otherwise
        return sum(self.x[o] * w for o, w in near) / sum(w for _, w in near)

    def _key(self, number: int, own: float, groups: list[float]) -> _Key:
        leaf = self.rows.leaves[number]
        around = tuple((groups[group], -1 - group) for group in leaf.home)
        ends = {"left": -2e9, "heading": -1e9, "right": 1e9}
        return (*around, (ends.get(leaf.sort, own), 0))

    def _pack(self, row: list[int], keys: dict[int, float]) -> None:
        """Put the leaves of a row side by side, on the whole where they are drawn to."""
        at, before = 0.0, None
        for number in row:
            leaf: Leaf = self.rows.leaves[number]
            at += 0.0 if before is None else before.right + leaf.left + _GAP
            self.x[number], before = at, leaf
        drawn = [n for n in row if self.rows.leaves[n].sort not in ("left", "right", "heading")]
        weights = {n: 50.0 if self.rows.leaves[n].road else 1.0 for n in drawn}
        off = sum((keys[n] - self.x[n]) * weights[n] for n in drawn)
        off /= sum(weights.values()) or 1.0
        for number in row:
            self.x[number] += off

    def crossings(self, row: int) -> int:
        """Return how many links cross between a row and the next."""
        place = {leaf: number for number, leaf in enumerate(self.rows.rows[row + 1])}
        ends: list[int] = []
        found = 0
        for leaf in self.rows.rows[row]:
            lower = [place[one] for one, _ in self.down[leaf]]
            found += sum(len(ends) - bisect_right(ends, one) for one in lower)
            for one in lower:
                insort(ends, one)
        return found
