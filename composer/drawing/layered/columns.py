"""How far right each leaf is, once the order of each row is known.

Leaves that can stand straight below one another without their links crossing are one column: the
borders of groups first, then the main road, then long links. A column is right of another by a
distance at least wherever both have a leaf in a row. Since no two columns cross, some order of all
of them is in keeping with that; columns then slide within it to where their links draw them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from composer.drawing.layered.rows import Leaf, Rows, Segment

APART = 14.0  # between boxes
INSIDE = 8.0  # between the border of a group and what is on either side of it
BESIDE = 7.0  # between a link and what is next to it
SLIDES = 12


def columns_of(rows: Rows, bare: bool = False) -> list[float]:
    """Return the middle of each leaf, in points; the leftmost reaches to 0.

    Where it is `bare`, headings count as if they had no width.
    """
    column = _columns(rows)
    sliding = _Sliding(rows, column, bare)
    x = sliding.places()
    leftmost = min((x[c] - leaf.left for c, leaf in zip(column, rows.leaves, strict=True)),
                   default=0.0)  # fmt: skip
    return [x[c] - leftmost for c in column]


def distance(left: Leaf, right: Leaf, bare: bool = False) -> float:
    """Return how far the middles of two neighbours in a row are apart at least."""
    if bare and "heading" in (left.sort, right.sort):
        return INSIDE / 2
    sorts = {left.sort, right.sort}
    if sorts & {"left", "right"}:
        gap = INSIDE
    elif sorts <= {"box", "heading"}:
        gap = APART
    else:
        gap = BESIDE
    return left.right + gap + right.left


def _columns(rows: Rows) -> list[int]:
    """Return the column that each leaf is in, as the number of one of its leaves."""
    place = {leaf: number for row in rows.rows for number, leaf in enumerate(row)}
    column = list(range(len(rows.leaves)))

    def root(leaf: int) -> int:
        while column[leaf] != leaf:
            column[leaf] = column[column[leaf]]
            leaf = column[leaf]
        return leaf

    straight: dict[int, list[tuple[int, int]]] = defaultdict(list)  # by row, as places
    for upper, lower in _wishes(rows, place):
        taken = straight[rows.leaves[upper].row]
        wish = place[upper], place[lower]
        at = bisect_left(taken, wish)
        before, after = taken[at - 1 : at] if at else [], taken[at : at + 1]
        if any(a >= wish[0] or b >= wish[1] for a, b in before):
            continue
        if any(a <= wish[0] or b <= wish[1] for a, b in after):
            continue
        insort(taken, wish)
        column[root(upper)] = root(lower)
    return [root(leaf) for leaf in range(len(column))]


def _wishes(rows: Rows, place: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Yield which leaves should stand straight below which, the dearest wishes first."""
    for sides in rows.borders:
        for side in sides:
            yield from pairwise(side)
    up, down = defaultdict(list), defaultdict(list)
    segments = [segment for segment in rows.segments if not segment.turns]
    for segment in sorted(segments, key=lambda s: (place[s.upper], place[s.lower])):
        up[segment.lower].append(segment)
        down[segment.upper].append(segment)

    def is_long(segment: Segment) -> bool:
        return "box" not in (rows.leaves[segment.upper].sort, rows.leaves[segment.lower].sort)

    def is_middle(segment: Segment) -> bool:
        both = up[segment.lower], down[segment.upper]
        return all(2 * side.index(segment) == len(side) - 1 for side in both)

    rests = [s for s in segments if not s.road]
    wishes = sorted((s for s in segments if s.road), key=lambda s: s.length)
    wishes += [s for s in rests if is_long(s)]
    wishes += [s for s in rests if not is_long(s) and is_middle(s)]
    yield from ((s.upper, s.lower) for s in wishes)


class _Sliding:
    def __init__(self, rows: Rows, column: list[int], bare: bool) -> None:
        self.left_of: dict[int, dict[int, float]] = defaultdict(dict)
        self.right_of: dict[int, dict[int, float]] = defaultdict(dict)
        self.linked: dict[int, list[tuple[int, float]]] = defaultdict(list)
        self.rows, self.column = rows, column
        #: What is moved to let others slide, and comes back behind them.
        self.loose = {column[one] for left, right in rows.borders for one in (left[0], right[0])}
        held = {g for leaf in rows.leaves if leaf.sort in ("box", "passing", "label")
                for g in leaf.home}  # fmt: skip
        self.headings = {rows.headings[group]: group for group in held}
        self.loose |= {*self.headings}
        for row in rows.rows:
            for a, b in pairwise(row):
                apart = distance(rows.leaves[a], rows.leaves[b], bare)
                left, right = column[a], column[b]
                self.left_of[right][left] = max(apart, self.left_of[right].get(left, 0.0))
                self.right_of[left][right] = self.left_of[right][left]
        for segment in rows.segments:
            upper, lower = column[segment.upper], column[segment.lower]
            if upper != lower:
                weight = 4.0 if segment.road else 1.0
                self.linked[upper].append((lower, weight))
                self.linked[lower].append((upper, weight))
        self.order = self._sorted(list(dict.fromkeys(column)))

    def _sorted(self, columns: list[int]) -> list[int]:
        waiting = {one: len(self.left_of[one]) for one in columns}
        ready = [one for one in columns if not waiting[one]]
        for one in ready:  # which grows
            for right in self.right_of[one]:
                waiting[right] -= 1
                if not waiting[right]:
                    ready.append(right)
        assert len(ready) == len(columns), "columns cross"
        return ready

    def places(self) -> dict[int, float]:
        """Return where each column is: as far left as can be, then slid to and fro."""
        x: dict[int, float] = {}
        for one in self.order:
            x[one] = self._from_left(one, x, 0.0)
        for _ in range(SLIDES):
            self._slide_right(x)
            self._slide_left(x)
        self._close(x)
        return x

    def _close(self, x: dict[int, float]) -> None:
        """Put the heading of each group above its leftmost leaf, and the left border before it."""
        lefts = {self.column[sides[0][0]] for sides in self.rows.borders}
        first = [1e9] * len(self.rows.spans)
        for number, leaf in enumerate(self.rows.leaves):
            for group in leaf.home if self.column[number] not in self.loose else ():
                first[group] = min(first[group], x[self.column[number]] - leaf.left)
        for one in reversed(self.order):
            if one in self.headings:
                wanted = first[self.headings[one]] + self.rows.leaves[one].left
                most = self._from_right(one, x, 1e9)
                x[one] = max(self._from_left(one, x, -1e9), min(most, wanted))
            elif one in lefts:
                x[one] = self._from_right(one, x, x[one])

    def _slide_right(self, x: dict[int, float]) -> None:
        """Let all go to the right that are drawn there; what is at the right goes first."""
        for one in reversed(self.order):
            most = self._from_right(one, x, 1e9)
            if one in self.loose:
                x[one] = most
            else:
                x[one] = max(x[one], min(most, self._drawn_to(one, x)))

    def _slide_left(self, x: dict[int, float]) -> None:
        for one in self.order:
            least = self._from_left(one, x, -1e9)
            if one in self.loose:
                x[one] = least
            else:
                x[one] = min(x[one], max(least, self._drawn_to(one, x)))

    def _drawn_to(self, one: int, x: dict[int, float]) -> float:
        linked = self.linked[one]
        if not linked:
            return x[one]
        return sum(x[other] * weight for other, weight in linked) / sum(w for _, w in linked)

    def _from_left(self, one: int, x: dict[int, float], otherwise: float) -> float:
        return max((x[o] + apart for o, apart in self.left_of[one].items()), default=otherwise)

    def _from_right(self, one: int, x: dict[int, float], otherwise: float) -> float:
        return min((x[o] - apart for o, apart in self.right_of[one].items()), default=otherwise)
