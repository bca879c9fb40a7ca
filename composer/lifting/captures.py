"""Runs a module at several sizes and records each run, to see which numbers depend on the sizes.

The channels, the batch and the map all differ between runs if the module allows it. If it works
only for one map size or one width, these stay fixed, and the numbers stay numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from composer.errors import ComposerError, Diagnostic, error
from composer.lifting.joined import Differ, Joined, joined
from composer.lifting.recorded import Recording, record

Make = Callable[[int], nn.Module]
#: The input layouts that modules take, tried in this order.
LAYOUTS = (("b", "c", "h", "w"), ("b", "n", "c"), ("b", "h", "w", "c"))
#: Map sizes tried by default; all sides differ, so that no two are confused.
_MAPS = ((7, 14), (8, 16), (14, 14), (16, 32))
_FACTORS = (1, 2, 3, 5, 6, 4)
_ENOUGH = 6  # runs that are joined; one more is for checking


@dataclass(frozen=True)
class At:
    """Sizes of one run."""

    channels: int
    size: tuple[int, int]
    batch: int = 2

    def shape(self, layout: tuple[str, ...]) -> tuple[int, ...]:
        """Return the shape of the input."""
        lengths = self.lengths()
        return tuple(lengths[axis] for axis in layout)

    def lengths(self) -> dict[str, int]:
        """Return the size of each axis that an input may have."""
        h, w = self.size
        return {"b": self.batch, "c": self.channels, "h": h, "w": w, "n": h * w, "t": h * w}


@dataclass(frozen=True)
class Captured:
    """The runs as one, and their sizes."""

    layout: tuple[str, ...]
    runs: Joined
    at: tuple[At, ...]
    more: At | None  # a size that no run had, for checking
    first: nn.Module  # as built, before it ran

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """The size of each axis of the input except the batch, in each run."""
        axes = [axis for axis in self.layout if axis != "b"]
        return {axis: tuple(at.lengths()[axis] for at in self.at) for axis in axes}


def capture(
    make: Make,
    channels: int,
    size: tuple[int, int] | None,
    layout: tuple[str, ...] | None,
    widths: bool,
    name: str,
) -> Captured:
    """Run a module at a few sizes.

    Args:
        make: builds it for a number of channels.
        channels: of the first run.
        size: of its map; None to try some.
        layout: the axes of the input in order; None to try some.
        widths: whether it can be built for other channels.
        name: its name in messages.

    Raises:
        ComposerError: it can't be built or run.
    """
    module = make(channels)
    layout, first, recording = _first(module, channels, size, layout, name)
    found, more = [(first, recording)], None
    for at in _others(first, widths):
        if _says_nothing(at, [one for one, _ in found]):
            continue
        run = _tried(make, at, layout, name)
        if run is None or not _joins([*(one for _, one in found), run]):
            continue
        if len(found) >= _ENOUGH:
            more = at
            break
        found.append((at, run))
    return Captured(
        layout,
        joined([run for _, run in found]),
        tuple(at for at, _ in found),
        more,
        module,
    )


def _says_nothing(at: At, before: list[At]) -> bool:
    """Return whether its channels and its map, or larger ones, have already been run."""
    varied = len({one.channels for one in before}) > 2 and len({one.size for one in before}) > 2
    seen = {one.channels for one in before}, {one.size for one in before}
    return not varied and len(before) > 2 and at.channels in seen[0] and at.size in seen[1]


def _first(
    module: nn.Module,
    channels: int,
    size: tuple[int, int] | None,
    layout: tuple[str, ...] | None,
    name: str,
) -> tuple[tuple[str, ...], At, Recording]:
    failures: list[BaseException] = []
    for map_size in (size,) if size else _MAPS:
        for order in (layout,) if layout else LAYOUTS:
            at = At(channels, map_size)
            try:
                return order, at, record(_ready(module), _input(at, order), name)
            except ComposerError:
                raise
            except Exception as failure:
                failures.append(failure)
    raise _did_not_run(name, channels, size, layout, failures)


def _did_not_run(
    name: str,
    channels: int,
    size: tuple[int, int] | None,
    layout: tuple[str, ...] | None,
    failures: Sequence[BaseException],
) -> ComposerError:
    said = (str(failures[0]).strip().splitlines() or [""])[0]
    wanted = layout or LAYOUTS[0]
    h, w = size or _MAPS[0]
    others = "" if layout else f", and so on [{'] and ['.join(', '.join(o) for o in LAYOUTS[1:])}]"
    return error(
        "module-failed",
        f"{name} does not run on [{', '.join(wanted)}] with c = {channels}, h = {h}, w = {w}"
        f"{others}: {type(failures[0]).__name__}: {said}",
        "describe its input: --channels 64, --size 14x14, --layout b,n,c",
    )


def _ready(module: nn.Module) -> nn.Module:
    """Return a copy in training mode, in float64, on the CPU."""
    ready = copy.deepcopy(module).to("cpu", torch.float64)
    ready.train()
    return ready


def _input(at: At, layout: tuple[str, ...]) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(at.shape(layout), generator=draw, dtype=torch.float64)


def _others(first: At, widths: bool) -> Iterator[At]:
    """Yield other sizes: of everything, then only of the channels, then only of the map."""
    h, w = first.size
    maps = ((2 * h, w), (h, 2 * w), (2 * h, 3 * w), (3 * h, w), (h, 3 * w), (2 * h, 2 * w))
    factors = (*_FACTORS[1:], 7) if widths else ()
    for number, factor in enumerate(factors):
        yield At(first.channels * factor, maps[number % len(maps)], 2 + number % 2)
    for number, factor in enumerate(factors):
        yield At(first.channels * factor, first.size, 2 + number % 2)
    for number, size in enumerate(maps):
        yield At(first.channels, size, 2 + number % 2)
    yield At(first.channels, first.size, 3)


def _tried(make: Make, at: At, layout: tuple[str, ...], name: str) -> Recording | None:
    try:
        return record(_ready(make(at.channels)), _input(at, layout), name)
    except (Exception, SystemExit):
        return None


def _joins(runs: list[Recording]) -> bool:
    try:
        joined(runs)
    except Differ:
        return False
    return True


def no_channels(name: str) -> ComposerError:
    """Return the error for a module whose number of channels is not given."""
    return ComposerError(
        Diagnostic(
            "missing-size",
            f"{name} needs the number of channels of its input",
            "pass it, as in lift(module, channels=64)",
        )
    )
