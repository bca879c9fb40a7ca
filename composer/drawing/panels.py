"""How an attention map is drawn: as heat over the image, a matrix, or bars.

- If its axes are places of the map: heat over the image, the mean over all other axes (the maximum
  if that mean is constant, as for a softmax over them); an axis of size up to four, such as
  branches, has one panel for each index.
- Attention: how much each place is attended to, the mean over heads and queries.
- Else one axis has bars, in order up to 32 of them, and sorted above that; of several axes the
  shortest, such as branches, has bars if it has at most 16; else a matrix of the last two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from composer.looking.attention_maps import AttentionMap

MOST_PANELS, MOST_BARS, MOST_IN_ORDER = 4, 16, 32
_MOST_PREFIX = 8  # tokens without a place: class, distillation and register tokens

Look = Literal["heat", "matrix", "bars"]


@dataclass(frozen=True)
class Panel:
    """One drawing: its two titles, a line about the values, and the values.

    `values` are [height, width] as heat or as a matrix, and [n] as bars.
    """

    path: str
    node: str
    said: str
    look: Look
    values: Tensor


def panels(one: AttentionMap, image: tuple[int, int]) -> Iterator[Panel]:
    """Yield the panels of a map, of the first image of the batch.

    Args:
        one: the map.
        image: the height and width of the image, whose aspect the tokens have.
    """
    axes, values = _of_first(one)
    if one.keys:
        yield _attention(one, axes, values, image)
        return
    placed = _on_places(axes, values, one.size, image)
    if placed is not None:
        axes, values = placed
        names = [axis for axis in axes if axis not in ("h", "w")]
        few = next(
            (a for a in names if a != "c" and values.shape[axes.index(a)] <= MOST_PANELS), ""
        )
        if not few:
            yield _heat(one, one.node, axes, values)
            return
        place = axes.index(few)
        rest = tuple(axis for axis in axes if axis != few)
        for number, part in enumerate(values.unbind(place)):
            yield _heat(one, f"{one.node}  {few} = {number}", rest, part)
        return
    yield _plain(one, axes, values)


def _of_first(one: AttentionMap) -> tuple[tuple[str, ...], Tensor]:
    values = one.values.detach().float().cpu()
    if "b" not in one.axes:
        return one.axes, values
    return tuple(a for a in one.axes if a != "b"), values.select(one.axes.index("b"), 0)


# ----------------------------------------------------------------------------------- places


def _on_places(
    axes: tuple[str, ...], values: Tensor, size: tuple[int, ...], image: tuple[int, int]
) -> tuple[tuple[str, ...], Tensor] | None:
    """Return values with axes h and w, if these are places of the image; else None.

    An axis h or w of a spec may not be a place, for example after a transpose: the sizes decide.
    """
    if "n" in axes and "h" not in axes and "w" not in axes:
        place = axes.index("n")
        grid = _grid(values.shape[place], image)
        if grid is None or values.shape[place] < _MOST_PREFIX:
            return None
        values = values.narrow(place, values.shape[place] - math.prod(grid), math.prod(grid))
        sizes = (*values.shape[:place], *grid, *values.shape[place + 1 :])
        return (*axes[:place], "h", "w", *axes[place + 1 :]), values.reshape(sizes)
    there = [values.shape[axes.index(axis)] if axis in axes else 0 for axis in ("h", "w")]
    if not any(there) or len(size) != 2:
        return None
    alone = [n == own for n, own in zip(there, size, strict=True) if n]
    whole = all(there) and there[0] * size[1] == there[1] * size[0] and there[0] <= size[0]
    if not (whole or (not all(there) and all(alone))):
        return None
    for axis in ("h", "w"):
        if axis not in axes:
            axes, values = (*axes, axis), values.unsqueeze(-1)
    return axes, values


def _grid(places: int, image: tuple[int, int]) -> tuple[int, int] | None:
    """Return the map of the image's aspect that this many tokens form, without prefix tokens."""
    for prefix in range(_MOST_PREFIX):
        count = places - prefix
        height = round(math.sqrt(count * image[0] / image[1])) if count > 0 else 0
        if height and count % height == 0 and height * image[1] == count // height * image[0]:
            return height, count // height
    return None


def _heat(one: AttentionMap, node: str, axes: tuple[str, ...], values: Tensor) -> Panel:
    others = [place for place, axis in enumerate(axes) if axis not in ("h", "w")]
    found, how = _reduced(values, others, [axes[place] for place in others])
    if axes.index("h") > axes.index("w"):
        found = found.T
    return Panel(one.path, node, f"{_sizes(found)}{how}: {_range(found)}", "heat", found)


def _attention(
    one: AttentionMap, axes: tuple[str, ...], values: Tensor, image: tuple[int, int]
) -> Panel:
    """Return how much each key is attended to, over the image if keys are its places."""
    places = [axes.index(key) for key in one.keys]
    others = [place for place in range(len(axes)) if place not in places]
    on_tokens = "n" in axes or {"h", "w"} <= set(axes)
    grid = None
    if on_tokens and len(places) == 1:
        grid = _grid(values.shape[places[0]], image)
    elif on_tokens and tuple(values.shape[place] for place in places) == one.size:
        grid = one.size[0], one.size[1]
    if grid is None:
        return _plain(one, axes, values)
    found = values.mean(others).flatten()[-math.prod(grid) :].view(grid)
    said = f"{_sizes(found)}, attended to: {_range(found)}"
    return Panel(one.path, one.node, said, "heat", found)


def _reduced(values: Tensor, others: list[int], names: list[str]) -> tuple[Tensor, str]:
    if not others:
        return values, ""
    found, over = values.mean(others), ", ".join(names)
    if float(found.max() - found.min()) > 1e-5 * float(values.abs().max()):
        return found, f", mean over {over}"
    return values.amax(others), f", largest over {over}"


# ------------------------------------------------------------------------------ other axes


def _plain(one: AttentionMap, axes: tuple[str, ...], values: Tensor) -> Panel:
    if values.dim() == 0:
        return Panel(one.path, one.node, _range(values), "bars", values[None])
    shape = list(values.shape)
    few = min(range(len(axes)), key=lambda place: (axes[place] in ("h", "w"), shape[place]))
    small = len(axes) == 2 and max(shape) <= MOST_BARS
    if len(axes) == 1:
        more = ", sorted" if shape[0] > MOST_IN_ORDER else ""
        drawn = values.sort(descending=True).values if more else values
        said = f"{axes[0]} {shape[0]}{more}: {_range(values)}"
        return Panel(one.path, one.node, said, "bars", drawn)
    if shape[few] <= MOST_BARS and axes[few] not in ("h", "w") and not small and not one.keys:
        others = [place for place in range(len(axes)) if place != few]
        found, how = _reduced(values, others, [axes[place] for place in others])
        said = f"{axes[few]} {shape[few]}{how}: {_range(found)}"
        return Panel(one.path, one.node, said, "bars", found)
    others = list(range(len(axes) - 2))
    found, how = _reduced(values, others, [axes[place] for place in others])
    said = f"{axes[-2]}, {axes[-1]} {_sizes(found)}{how}: {_range(found)}"
    return Panel(one.path, one.node, said, "matrix", found)


def _sizes(values: Tensor) -> str:
    return "×".join(map(str, values.shape))


def _range(values: Tensor) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.3g} to {high:.3g}" if high > low else f"{low:.3g} everywhere"
