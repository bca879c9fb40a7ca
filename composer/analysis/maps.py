"""A module's output, read as a feature map: its channels, height, width and prefix tokens.

The axes that grow with the image are height and width, or tokens; channels don't. A count of
tokens is height times width of a map seen earlier, and the prefix tokens before them. Where a
model takes images of one size only, the maps of its convolutions and the widths of the layers
around show the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from composer.analysis.probe import Probe
from composer.primitives.places import PLACES

#: For a model that takes one size only: class, distillation and register tokens are few.
_MOST_PREFIX_TOKENS = 16
_MOST_PIXELS_OF_A_PATCH = 64

Grid = tuple[int, ...]

#: Layers by the dimensions of the map that they work on.
CONVOLUTIONS: Mapping[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOLS: Mapping[int, tuple[type[nn.Module], ...]] = {
    1: (nn.MaxPool1d, nn.AvgPool1d),
    2: (nn.MaxPool2d, nn.AvgPool2d),
    3: (nn.MaxPool3d, nn.AvgPool3d),
}
_NORMS: Mapping[int, type[nn.Module]] = {
    1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d,
}  # fmt: skip


@dataclass(frozen=True)
class MapShape:
    """The layout of a feature map in memory, its channels, its height and width.

    The map of a volume or a video has depth, height and width, ``[b, c, d, h, w]``, and that of a
    signal one size, ``[b, c, t]``. Tokens ``[b, n, c]`` are a map whose places follow `prefix`
    tokens that have no place in it. Tokens that are not in row order are not
    `in_rows`: they have no neighbours.
    """

    layout: tuple[str, ...]
    channels: int
    size: Grid
    prefix: int = 0
    in_rows: bool = True

    @property
    def is_tokens(self) -> bool:
        """Whether height and width are one axis in memory."""
        return "n" in self.layout


class NotAMap(Exception):  # noqa: N818 - a finding, which the plan reports
    """A value whose axes could not be identified; the message says what was seen."""


@dataclass(frozen=True)
class Values:
    """Reads the values of one model, from one forward pass or, on a larger image, from two."""

    model: nn.Module
    first: Probe
    second: Probe | None

    def shape_of(self, path: str, value: Tensor, larger: Tensor | None, order: int) -> MapShape:
        """Return a value as a feature map.

        Args:
            path: the module whose output or input it is.
            value: in the first pass.
            larger: the same on the larger image, if there was one.
            order: its position in the first pass.

        Raises:
            NotAMap: it is not a map, or its axes could not be identified.
        """
        if value.dim() not in self.axes_of_maps or not self._is_batch(value, larger):
            raise NotAMap(f"it outputs {_shown(value)}, which is not a map")
        if self.second is not None and larger is not None:
            grown = tuple(i for i, (a, b) in enumerate(_sizes(value, larger)) if a != b)
        else:
            grown, larger = self._likely(path, value), None
        inner = value.dim() - 2
        places = PLACES[inner]
        if inner == 1 and grown in ((1,), (2,)):
            if self.dimensions == 1:
                return self._signal(value, larger, order, grown[0])
            layout = ("b", "n", "c") if grown == (1,) else ("b", "c", "n")
            return self._tokens(layout, value, larger, order)
        if inner > 1 and grown == tuple(range(2, inner + 2)):
            return MapShape(("b", "c", *places), value.shape[1], tuple(value.shape[2:]))
        if inner > 1 and grown == tuple(range(1, inner + 1)):
            return MapShape(("b", *places, "c"), value.shape[-1], tuple(value.shape[1:-1]))
        words = {1: "the length", 2: "height and width", 3: "depth, height and width"}
        raise NotAMap(f"{words[inner]} of {_shown(value)} could not be identified")

    @property
    def dimensions(self) -> int:
        """The number of spatial axes of the model's maps."""
        return self.first.dimensions

    @property
    def axes_of_maps(self) -> tuple[int, ...]:
        """The possible numbers of axes of a map or its tokens."""
        return (3,) if self.dimensions == 1 else (3, 4) if self.dimensions == 2 else (3, 4, 5)

    def _signal(self, value: Tensor, larger: Tensor | None, order: int, axis: int) -> MapShape:
        """Return a value of a signal: a map as it is, or tokens after prefix tokens."""
        length, channels = value.shape[axis], value.shape[3 - axis]
        if axis == 1:
            try:
                found = self._tokens(("b", "n", "c"), value, larger, order)
            except NotAMap:
                found = None
            if found is not None and found.prefix:
                return found
        layout = ("b", "c", "t") if axis == 2 else ("b", "t", "c")
        return MapShape(layout, channels, (length,))

    def _is_batch(self, value: Tensor, larger: Tensor | None) -> bool:
        """Return whether the first axis may be the batch, of images or of the frames of a video."""
        grows = larger is not None and larger.dim() > 0 and larger.shape[0] != value.shape[0]
        return value.shape[0] in self.first.batches and not grows

    def _tokens(
        self, layout: tuple[str, ...], value: Tensor, larger: Tensor | None, order: int
    ) -> MapShape:
        axis = layout.index("n")
        tokens = value.shape[axis]
        more = None if larger is None else larger.shape[axis]
        found: list[tuple[int, Grid]] = []
        for grids in (self._maps_before(order), self._patches()):
            for grid, larger_grid in grids:
                prefix = tokens - math.prod(grid)
                if more is not None and larger_grid is not None:
                    fits = prefix >= 0 and more - math.prod(larger_grid) == prefix
                else:
                    fits = 0 <= prefix <= _MOST_PREFIX_TOKENS
                if fits:
                    found.append((prefix, grid))
            if found:
                prefix, grid = min(found, key=lambda one: one[0])
                return MapShape(layout, value.shape[layout.index("c")], grid, prefix)
        raise NotAMap(f"its {tokens} tokens do not match the grid of any earlier map")

    def _maps_before(self, order: int) -> Iterator[tuple[Grid, Grid | None]]:
        """Yield the sizes of the convolutions' output maps, the last first, in both passes."""
        for at, grid, larger in reversed(self._maps):
            if at < order:
                yield grid, larger

    @cached_property
    def _maps(self) -> list[tuple[int, Grid, Grid | None]]:
        large = dict(_of_convolutions(self.model, self.second)) if self.second else {}
        found, seen = [], set()
        for call, grid in _of_convolutions(self.model, self.first):
            if grid not in seen:
                found.append((self._order[call], grid, large.get(call)))
            seen.add(grid)
        return found

    @cached_property
    def _order(self) -> dict[str, int]:
        return {call.path: call.order for call in reversed(self.first.calls)}

    @cached_property
    def _all_widths(self) -> set[int]:
        return {width for m in self.model.modules() for width in _widths(m)}

    def _patches(self) -> Iterator[tuple[Grid, Grid | None]]:
        """Yield the sizes of a map made of patches of the image."""
        lengths = self.first.input_shape[-self.dimensions :]
        larger = self.second.input_shape[-self.dimensions :] if self.second is not None else None
        for pixels in range(1, _MOST_PIXELS_OF_A_PATCH + 1):
            if all(length % pixels == 0 for length in lengths):
                large = tuple(length // pixels for length in larger) if larger else None
                yield tuple(length // pixels for length in lengths), large

    def _likely(self, path: str, value: Tensor) -> tuple[int, ...]:
        """Return the axes that would grow with the image, for a model that takes one size."""
        shape = tuple(value.shape)
        grids = {grid for _, grid, _ in self._maps} | {grid for grid, _ in self._patches()}
        if (inner := len(shape) - 2) > 1:
            first, last = tuple(range(1, inner + 1)), tuple(range(2, inner + 2))
            candidates = {
                axes: c
                for axes, c in ((last, 1), (first, inner + 1))
                if tuple(shape[axis] for axis in axes) in grids
            }
        else:
            candidates = {(1,): 2, (2,): 1}
        modules = list(self.model.get_submodule(path).modules())
        widths = {width for m in modules for width in _widths(m)}
        mixed = _mixed(modules, len(shape), self.dimensions)
        known = self._all_widths
        for told in (
            lambda _: True,
            lambda c: shape[c] in widths,
            lambda c: c == mixed,
            lambda c: shape[c] in known,
        ):
            fitting = [axes for axes, channels in candidates.items() if told(channels)]
            if len(fitting) == 1:
                return fitting[0]
        return ()


def like_map(
    known: MapShape, shape: tuple[int, ...], its: tuple[int, ...] | None
) -> MapShape | None:
    """Return a value inside a block as a map, given the block's output map; None if it is not one.

    Args:
        known: the block's output.
        shape: of the value.
        its: the shape of the block's output.
    """
    if shape == its:
        return known
    size, channels = known.size, known.channels
    axes, places = PLACES[len(size)], math.prod(size)
    layouts: tuple[tuple[tuple[str, ...], tuple[int | None, ...]], ...] = (
        (("b", "n", "c"), (1, places, channels)),
        (("b", "c", "n"), (1, channels, places)),
        (("b", "c", *axes), (1, channels, *size)),
        (("b", *axes, "c"), (1, *size, channels)),
        (known.layout, tuple(_other_channels(known, its or ()))),
    )
    if len(size) == 1 and not known.is_tokens:  # the places of a signal are one axis
        layouts = layouts[2:]
    for layout, wanted in layouts:
        fits = len(wanted) == len(shape) and all(
            w is None or w == size for w, size in zip(wanted, shape, strict=True)
        )
        if fits:
            prefix = known.prefix if layout == known.layout else 0
            channels = shape[layout.index("c")]
            return MapShape(layout, channels, known.size, prefix, known.in_rows)
    return None


def _other_channels(known: MapShape, its: tuple[int, ...]) -> Iterator[int | None]:
    return (None if axis == "c" else n for axis, n in zip(known.layout, its, strict=False))


def _of_convolutions(model: nn.Module, probe: Probe) -> Iterator[tuple[str, Grid]]:
    """Yield the outputs of convolutions on a batch of one, by path."""
    axes = 2 + probe.dimensions
    for call in probe.calls:
        shape = call.shape
        if shape is None or len(shape) != axes or shape[0] not in probe.batches:
            continue
        kinds = (CONVOLUTIONS[axes - 2], *_POOLS[axes - 2])
        if isinstance(model.get_submodule(call.path), kinds):
            yield call.path, tuple(shape[2:])


def _mixed(modules: Iterable[nn.Module], axes: int, dimensions: int) -> int | None:
    """Return the axis that all layers of weights mix: the second, or the last of so many."""
    modules = list(modules)
    kinds = (CONVOLUTIONS[dimensions], _NORMS[dimensions])
    second = any(isinstance(m, kinds) for m in modules)
    last = any(isinstance(m, nn.Linear) for m in modules)
    if second == last:
        return None
    return 1 if second else axes - 1


def _widths(module: nn.Module) -> set[int]:
    """Return the channels that a norm, a convolution or a linear layer declares."""
    told = [getattr(module, a, None) for a in ("num_features", "out_channels", "out_features")]
    shape = getattr(module, "normalized_shape", None)
    told += [shape[-1]] if isinstance(shape, tuple) else []
    return {width for width in told if isinstance(width, int)}


def _sizes(value: Tensor, larger: Tensor) -> Iterator[tuple[int, int]]:
    if value.dim() != larger.dim():
        raise NotAMap(f"it outputs {_shown(value)}, which is not a map")
    return zip(value.shape, larger.shape, strict=True)


def _shown(value: Tensor) -> str:
    return "×".join(map(str, value.shape))
