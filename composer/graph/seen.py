"""Which positions of the input an element depends on: windows that move with its indices.

    place = Σ step · index + low … high

An index is that of an axis, or of a part of one: an axis n = h · w has two, with the sizes (h, w).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, chain, pairwise, product
from math import prod
from operator import mul

Index = tuple[str, int]
Parts = tuple[int, ...]

MOST = 4096  # positions at which windows with different steps are compared


class Unknown(Exception):  # noqa: N818 - not an error: the mixing of positions is not tracked
    """The positions can't be expressed as windows."""


@dataclass(frozen=True)
class Window:
    """The positions ``Σ step · index + low … high``, modulo `around` if set."""

    steps: frozenset[tuple[Index, int]]
    low: int = 0
    high: int = 0
    around: int = 0

    def step(self, index: Index) -> int:
        """Return its step along an index."""
        return dict(self.steps).get(index, 0)

    def of(self, steps: Mapping[Index, int], moved: int = 0, wide: int = 0) -> Window:
        """Return it with other steps, shifted and widened; to the left if negative."""
        kept = frozenset((index, step) for index, step in steps.items() if step)
        low, high = self.low + moved + min(0, wide), self.high + moved + max(0, wide)
        return replace(self, steps=kept, low=low, high=high)

    def covers(self, places: int) -> bool:
        """Return whether it always covers all positions."""
        if self.around and self.high - self.low + 1 >= places:
            return True
        return not self.steps and self.low <= 0 and self.high >= places - 1


@dataclass(frozen=True)
class Seen:
    """What each element of a value has seen of the input, along each spatial axis.

    `parts` are the sizes into which an axis is factored, the widest step first, if windows move
    with it. Along the axes of `chosen`, a table masks elements, by the comparisons it makes.
    """

    windows: Mapping[str, frozenset[Window]] = field(default_factory=dict)
    parts: Mapping[str, Parts] = field(default_factory=dict)
    chosen: frozenset[str] = frozenset()

    def follows(self, axis: str) -> bool:
        """Return whether any window moves along an axis."""
        return axis in self._followed

    @cached_property
    def _followed(self) -> frozenset[str]:
        """The axes that windows move along."""
        every = chain.from_iterable(self.windows.values())
        return frozenset(name for window in every for (name, _), _ in window.steps)

    def each(self, change: Callable[[Window], Window]) -> Seen:
        """Return it with every window changed; windows with equal steps are merged."""
        new = {place: joined(map(change, found)) for place, found in self.windows.items()}
        return replace(self, windows=new)

    def on(self, sizes: Mapping[str, int]) -> Seen:
        """Return it for a value with these axes.

        Raises:
            Unknown: an axis in several parts has another size.
        """
        parts = {}
        for axis, size in sizes.items():
            parts[axis] = self.parts.get(axis, (size,)) if self.follows(axis) else (size,)
            if prod(parts[axis]) != size:
                _need(len(parts[axis]) == 1)
                parts[axis] = (size,)
        whole = replace(self, parts=parts, chosen=self.chosen & sizes.keys())
        for axis in sizes:
            whole = whole._joined_parts(axis)
        return whole

    def mixed(self, axes: Collection[str]) -> Seen:
        """Return what is seen after all elements along some axes are mixed.

        Raises:
            Unknown: a table masks some of them.
        """
        _need(not any(axis in self.chosen and self.follows(axis) for axis in axes))

        def change(window: Window) -> Window:
            for (axis, part), step in sorted(window.steps):
                if axis in axes:
                    left = {i: s for i, s in window.steps if i != (axis, part)}
                    window = window.of(left, wide=step * (self.parts[axis][part] - 1))
            return window

        return self.each(change)

    def slid(self, axis: str, kernel: int, stride: int, padding: int, dilation: int) -> Seen:
        """Return what windows along an axis have seen."""
        return self.spread(axis, None, kernel, stride, padding, dilation)

    def spread(
        self,
        axis: str,
        inner: str | None,
        kernel: int,
        stride: int,
        padding: int,
        dilation: int,
    ) -> Seen:
        """Return it after an axis is unfolded into windows along `inner`, or mixed if None."""
        if not self.follows(axis) or kernel == stride == dilation == 1 == padding + 1:
            return self
        _need(len(self.parts[axis]) == 1 and axis not in self.chosen)

        def change(window: Window) -> Window:
            step = window.step((axis, 0))
            steps = {**dict(window.steps), (axis, 0): step * stride}
            if inner is not None:
                return window.of({**steps, (inner, 0): step * dilation}, -step * padding)
            return window.of(steps, -step * padding, step * dilation * (kernel - 1))

        parts = self.parts if inner is None else {**self.parts, inner: (kernel,)}
        return replace(self.each(change), parts=parts)

    def added_up(
        self, axis: str, inner: str, kernel: int, stride: int, padding: int, dilation: int
    ) -> Seen:
        """Return the inverse of `spread`: the sum of what windows hold for each position."""
        if not self.follows(axis) and not self.follows(inner):
            return self
        _need(self.parts[axis] == self.parts[axis][:1] and len(self.parts[inner]) == 1)

        def change(window: Window) -> Window:
            there, inside = window.step((axis, 0)), window.step((inner, 0))
            over = inside * stride - there * dilation  # for an element of the window, times stride
            _need(there % stride == 0 and (over == 0 or stride == 1))
            left = {i: s for i, s in window.steps if i[0] not in (axis, inner)}
            step = there // stride
            return window.of({**left, (axis, 0): step}, step * padding, over * (kernel - 1))

        return self.each(change)

    def moved(self, axis: str, by: int, around: int = 0) -> Seen:
        """Return it rolled by `by` along an axis of size `around`."""
        if not self.follows(axis) or by == 0:
            return self
        _need(len(self.parts[axis]) == 1)

        def change(window: Window) -> Window:
            if not (step := window.step((axis, 0))):
                return window
            ring = abs(step) * around
            _need(not ring or window.around in (0, ring))
            return replace(window.of(dict(window.steps), step * by), around=ring or window.around)

        return self.each(change)

    def flipped(self, axis: str) -> Seen:
        """Return it in reverse order along an axis."""

        def change(window: Window) -> Window:
            for (name, part), step in window.steps:
                if name == axis:
                    last = self.parts[axis][part] - 1
                    window = window.of({**dict(window.steps), (name, part): -step}, step * last)
            return window

        return self.each(change)

    def picked(self, axis: str, index: int) -> Seen:
        """Return the elements at one index of an axis, which is removed."""

        def change(window: Window) -> Window:
            rest, left, moved = dict(window.steps), index, 0
            for part in reversed(range(len(self.parts[axis]))):
                left, at = divmod(left, self.parts[axis][part])
                moved += rest.pop((axis, part), 0) * at
            return window.of(rest, moved)

        return self.each(change)

    def renamed(self, names: Mapping[str, str]) -> Seen:
        """Return it with some axes renamed."""

        def change(window: Window) -> Window:
            steps = {(names.get(axis, axis), part): s for (axis, part), s in window.steps}
            return window.of(steps)

        new = replace(self.each(change), chosen=frozenset(names.get(a, a) for a in self.chosen))
        return replace(new, parts={names.get(axis, axis): n for axis, n in self.parts.items()})

    def merged(self, axes: Sequence[str], into: str) -> Seen:
        """Return it with several axes merged into one, of which the last varies fastest."""
        lengths = (len(self.parts[axis]) for axis in axes)
        starts = dict(zip(axes, accumulate(lengths, initial=0), strict=False))
        rest = {axis: parts for axis, parts in self.parts.items() if axis not in axes}
        together = tuple(chain.from_iterable(self.parts[axis] for axis in axes))

        def change(window: Window) -> Window:
            return window.of(
                {
                    (into, starts[axis] + part) if axis in starts else (axis, part): step
                    for (axis, part), step in window.steps
                }
            )

        chosen = frozenset(into if axis in starts else axis for axis in self.chosen)
        return replace(self.each(change), parts={**rest, into: together}, chosen=chosen)

    def divided(self, axis: str, into: Mapping[str, int]) -> Seen:
        """Return it with an axis split into several, of which the last varies fastest.

        Raises:
            Unknown: the axis has other parts.
        """
        fine = _refined(self.parts[axis], tuple(into.values()))
        whole, taken = self.in_parts(axis, fine), 0
        names: dict[Index, Index] = {}
        parts = {name: n for name, n in whole.parts.items() if name != axis}
        for name, size in into.items():
            first = taken
            while prod(fine[first:taken]) < size:
                names[axis, taken] = (name, taken - first)
                taken += 1
            parts[name] = fine[first:taken] or (1,)
        chosen = (self.chosen - {axis}) | (into.keys() if axis in self.chosen else frozenset())
        new = whole.each(lambda one: one.of({names.get(i, i): s for i, s in one.steps}))
        return replace(new, parts=parts, chosen=chosen)

    def nearest(self, axis: str, size: int) -> Seen:
        """Return it with an axis resized, each element from its nearest neighbour."""
        have = prod(self.parts[axis])
        if have == size or not self.follows(axis):
            return self
        if have == 1:
            return self.mixed([axis])
        if size % have:
            _need(have % size == 0)
            return self.slid(axis, 1, have // size, 0, 1)
        return replace(self, parts={**self.parts, axis: (*self.parts[axis], size // have)})

    def in_parts(self, axis: str, fine: Parts) -> Seen:
        """Return it with an axis factored more finely, as by `_refined`."""
        steps_of: dict[Index, dict[Index, int]] = {}
        taken = len(fine)
        for part in reversed(range(len(self.parts[axis]))):
            inside, size = {}, 1
            while size < self.parts[axis][part]:
                taken -= 1
                inside[axis, taken] = size
                size *= fine[taken]
            steps_of[axis, part] = inside

        def change(window: Window) -> Window:
            return window.of(
                {
                    index: step * within
                    for old, step in window.steps
                    for index, within in steps_of.get(old, {old: 1}).items()
                }
            )

        return replace(self.each(change), parts={**self.parts, axis: fine})

    def _joined_parts(self, axis: str) -> Seen:
        """Return it with the fewest parts of an axis that its windows need."""
        parts = self.parts[axis]
        every = list(chain.from_iterable(self.windows.values()))
        for at, size in enumerate(parts[1:]):
            first, second = (axis, at), (axis, at + 1)
            if all(w.step(first) == size * w.step(second) or parts[at] == 1 for w in every):
                names = {(axis, part + 1): (axis, part) for part in range(at, len(parts))}
                fewer = (*parts[:at], parts[at] * size, *parts[at + 2 :])
                new = replace(self._without(first, names), parts={**self.parts, axis: fewer})
                return new._joined_parts(axis)
        return self

    def _without(self, gone: Index, names: Mapping[Index, Index]) -> Seen:
        return self.each(
            lambda one: one.of({names.get(i, i): s for i, s in one.steps if i != gone})
        )

    def along(self, place: str, places: int) -> int | None:
        """Return how many positions one position of this value sees; None for all.

        Raises:
            Unknown: that depends on the position.
        """
        if not (found := self.windows.get(place)):
            return 0
        only = replace(self, windows={place: found})
        every = [axis for axis in self.parts if only.follows(axis)]
        own = place if place in every else next(iter(every), place)
        found = only.mixed([axis for axis in every if axis != own]).windows[place]
        if any(window.covers(places) for window in found):
            return None
        fixed = [window for window in found if not window.steps]
        if fixed:
            _need(len(fixed) == len(found))
            low, high = min(w.low for w in fixed), max(w.high for w in fixed)
            return min(high, places - 1) - max(low, 0) + 1
        return self._span(found, own)

    def _span(self, windows: Collection[Window], axis: str) -> int:
        """Return how many positions some windows cover together, at any position of an axis."""
        apart = [
            (axis, part)
            for part in range(len(self.parts[axis]))
            if len({window.step((axis, part)) for window in windows}) > 1
        ]
        ranges = [range(self.parts[axis][part]) for _, part in apart]
        _need(prod(map(len, ranges)) <= MOST)
        spans = set()
        for at in product(*ranges):
            moves = [
                sum(w.step(index) * i for index, i in zip(apart, at, strict=True)) for w in windows
            ]
            low = min(w.low + move for w, move in zip(windows, moves, strict=True))
            high = max(w.high + move for w, move in zip(windows, moves, strict=True))
            spans.add(high - low + 1)
        _need(len(spans) == 1)
        return spans.pop()


def met(values: Sequence[Seen]) -> Seen:
    """Return what several values have seen together, with axes matched by name.

    Raises:
        Unknown: the parts of an axis are incompatible.
    """
    parts: dict[str, Parts] = {}
    for one in values:
        for axis in filter(one.follows, one.parts):
            parts[axis] = _refined(parts.get(axis, one.parts[axis]), one.parts[axis])
    fine = [_in_parts(one, {a: n for a, n in parts.items() if one.follows(a)}) for one in values]
    places = dict.fromkeys(chain.from_iterable(one.windows for one in fine))
    return Seen(
        {p: joined(chain.from_iterable(one.windows.get(p, ()) for one in fine)) for p in places},
        parts,
        frozenset().union(*(one.chosen for one in values)),
    )


def joined(windows: Iterable[Window]) -> frozenset[Window]:
    """Return windows, merging those with equal steps."""
    found: dict[tuple[frozenset[tuple[Index, int]], int], Window] = {}
    for one in windows:
        key = (one.steps, one.around)
        other = found.get(key, one)
        low, high = min(one.low, other.low), max(one.high, other.high)
        found[key] = replace(one, low=low, high=high)
    return frozenset(found.values())


def _in_parts(seen: Seen, parts: Mapping[str, Parts]) -> Seen:
    for axis, fine in parts.items():
        seen = seen.in_parts(axis, fine)
    return seen


def _refined(one: Parts, other: Parts) -> Parts:
    """Return the common refinement of two factorings of an axis."""
    sizes = (accumulate(reversed(parts), mul, initial=1) for parts in (one, other))
    bounds = sorted(set(chain.from_iterable(sizes)))
    _need(all(wide % narrow == 0 for narrow, wide in pairwise(bounds)))
    return tuple(wide // narrow for narrow, wide in pairwise(bounds))[::-1] or (1,)


def _need(known: bool) -> None:
    if not known:
        raise Unknown
