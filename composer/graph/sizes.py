"""The sizes that an expression may name: those of the input, and of the layer it stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping

from composer.errors import error
from composer.graph.graph import Graph, Settings
from composer.graph.places import layout_at, places_of
from composer.language.expressions import Expr, Value, bind
from composer.language.stand_in import open_names, usual
from composer.primitives import Spec
from composer.primitives.channels import product
from composer.primitives.places import HW

_EXAMPLES = {1: (100,), 3: (8, 14, 14)}


def sizes_for(
    spec: Spec,
    channels: int | None,
    size: tuple[int, ...] | None,
    layout: tuple[str, ...] | None = None,
    places: tuple[str, ...] = HW,
) -> dict[str, int]:
    """Return the known sizes of the axes.

    Args:
        spec: the spec to build.
        channels: the size of the axis ``c``.
        size: the spatial sizes of the map, such as height and width; the number of tokens is their
            product.
        layout: the axes of the input, if they are not those that the spec names.
        places: the axes of `size`.

    Raises:
        ComposerError: the channels are missing, or a size is not a positive integer.
    """
    sizes: dict[str, int] = {}
    axes = layout or spec.input
    if "c" in axes:
        if channels is None:
            raise error(
                "missing-size",
                f"{spec.name!r} needs the number of channels",
                f"pass it, as in build({spec.name!r}, channels=64)",
            )
        sizes["c"] = channels
    if size is not None:
        lengths = dict(zip(places, checked_size(size, places), strict=True))
        sizes |= {axis: n for axis, n in lengths.items() if axis in axes}
        if "n" in axes:
            sizes["n"] = math.prod(lengths.values())
    for axis, n in sizes.items():
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            message = f"the size of {axis!r} must be a whole number from 1, not {n!r}"
            raise error("invalid-size", message)
    return sizes


def settings_at(
    spec: Spec, channels: int | None, size: tuple[int, ...], params: Mapping[str, Value]
) -> Settings:
    """Return the settings for inspecting a spec on a map of a given size.

    Raises:
        ComposerError: see `sizes_for`.
    """
    layout, places = layout_at(spec, None, size)
    known = places_of(spec.input) or "n" in spec.input
    sizes = sizes_for(spec, channels, size if known else None, layout, places)
    return Settings(sizes, params, layout, places=places)


def checked_size(size: object, places: tuple[str, ...]) -> tuple[int, ...]:
    """Return the spatial sizes of a map.

    Raises:
        ComposerError: their number differs from that of the axes.
    """
    if isinstance(size, (tuple, list)) and len(size) == len(places):
        return tuple(size)
    if places == HW:
        message, way_out = f"the size {size!r} is not a height and a width", "write size=(14, 14)"
    else:
        message = f"the size {size!r} is not that of a map [{', '.join(places)}]"
        way_out = f"write size={_EXAMPLES[len(places)]}"
    raise error("invalid-size", message, way_out)


def sizes_of(graph: Graph) -> dict[str, Value | Expr]:
    """Return the size of each axis of the input: a number if known, else its name.

    For a stand-in, the known sizes of the layer it stands for are included.
    """
    sizes: dict[str, Value | Expr] = dict(graph.input_axes.without(graph.spec.input[:1]).sizes)
    if (folded := folded_axis(graph)) is not None:
        axis, parts = folded
        sizes[axis] = product({part: graph.input_axes[part] for part in parts})
    spec, settings = graph.spec, graph.settings
    match = spec.insert.match if spec.insert else None
    met = bool(settings.sizes or settings.planned) or settings.inside
    layer = (usual if met else open_names)(spec.stands_for, match.kernel if match else None)
    outside: dict[str, Value | Expr] = {}
    for told in (settings.sizes, settings.params):
        outside |= {n: v for n, v in told.items() if n in layer}
    layer |= outside
    known = sizes | {n: v for n, v in layer.items() if not isinstance(v, Expr)}
    return known | {
        n: v if n in outside else bind(v, known) for n, v in layer.items() if isinstance(v, Expr)
    }


def folded_axis(graph: Graph) -> tuple[str, tuple[str, ...]] | None:
    """Return the one axis of the spec that the input lacks, and the axes that make it up."""
    missing = [axis for axis in graph.input if axis not in graph.input_axes]
    if len(missing) != 1 or graph.settings.inside:
        return None
    return missing[0], tuple(a for a in graph.input_axes if a not in graph.input)
