"""`build`: a spec and the sizes it meets, to a `torch.fx.GraphModule`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from typing import get_args

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from composer.errors import ComposerError, error
from composer.graph.frontend import graph_of, load_spec
from composer.graph.graph import Graph, Init, Settings, Tokens
from composer.graph.passes import analyse, compile_graph
from composer.graph.places import input_at, layout_at, names_for
from composer.graph.sizes import sizes_for
from composer.language.collecting import uncollected
from composer.language.expressions import Value
from composer.lower.compiling import compile_whole
from composer.lower.emitter import FxEmitter
from composer.lower.identity import Original, check_can_be_identical
from composer.lower.identity_checked import identical_to
from composer.lower.like import ANY_CONVOLUTION, sizes_like
from composer.lower.of_torch import torch_told
from composer.primitives import Spec
from composer.primitives.places import PLACES
from composer.turns import in_turn


@in_turn  # weights are drawn
@uncollected()
def lower(graph: Graph) -> fx.GraphModule:
    """Return the module of a graph that has been through every pass.

    Each fx node knows the spec's node it comes from, under ``meta["composer"]``.
    """
    words = graph.spec.name.split("_")
    return _written(graph).finish("".join(word[:1].upper() + word[1:] for word in words))


def _written(graph: Graph) -> FxEmitter:
    emitter = FxEmitter(graph)
    for node in emitter.order:
        emitter.write(node)
    return emitter


def compiled(spec: Spec, settings: Settings) -> Graph:
    """Return the graph of a spec, where the sizes of the map stay open if it lowers so.

    A spec that can't do without them keeps the numbers, and its module refuses any other size; see
    `composer.lower.grid.needed_size`. What is wrong at these sizes is refused in either case.

    Args:
        spec: what is compiled.
        settings: with the sizes where it goes; the graph's have as `planned` those left open.

    Raises:
        ComposerError: the spec does not suit.
    """
    opened = settings.opened
    if opened.planned == settings.planned:  # no size of a map is given
        return compile_graph(graph_of(spec, settings))
    analyse(graph_of(spec, settings)).sound()
    graph = compile_graph(graph_of(spec, opened))
    return graph if _lowers(graph) else compile_graph(graph_of(spec, settings))


def _lowers(graph: Graph) -> bool:
    """Return whether a graph does without the sizes that are open; no Python is made of it."""
    try:
        with unset_fake_temporarily(), torch.device("meta"):  # the caller's may be of a GPU
            _ends(graph)
    except ComposerError as failure:
        if any(problem.code != "open-size" for problem in failure.diagnostics):
            raise
        return False
    return True


@in_turn
@uncollected()
def _ends(graph: Graph) -> None:
    _written(graph).end()


def build(
    spec: Spec | str,
    channels: int | None = None,
    *,
    like: nn.Module | None = None,
    size: tuple[int, ...] | None = None,
    params: Mapping[str, Value] | None = None,
    layout: tuple[str, ...] | None = None,
    prefix: int = 0,
    init: Init = "paper",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    compile: bool = False,  # noqa: A002 - the word torch uses
) -> fx.GraphModule:
    """Build the module of a spec.

    Args:
        spec: a spec, the name of a shipped one, a path, or the text itself.
        channels: the size of the axis ``c`` of the input.
        like: the layer that a stand-in takes the place of, such as an ``nn.Conv2d`` (or one of one
            or three dimensions); it tells the channels, kernel, stride and so on.
        size: the sizes of ``h`` and ``w``, for a spec that is built for one size of the map, as
            with a weight for each place; other specs take maps of any size even so. Tokens
            ``[b, n, c]`` are as many as the map has places. Three numbers are those of a map
            ``[b, c, d, h, w]``, and one that of ``[b, c, t]``: what such a spec says of h and w
            together holds for these.
        params: other values for the spec's params; for a stand-in built without `like`, values
            for ``out``, ``kernel``, ``stride``, ``padding``, ``dilation``, ``groups`` and ``bias``
            too.
        layout: the order of the input's axes in memory, such as ``("b", "h", "w", "c")``;
            the order in which the spec names them unless told. Where a spec takes tokens
            ``[b, n, c]``, a map's axes are folded into ``n``; where it takes a map, ``n`` in the
            layout is the map's places, of the `size` given, row by row.
        prefix: how many of the tokens, such as a class token, stand before those of the map; they
            are passed through.
        init: ``"paper"``, or ``"identity"`` for a module that begins as its own input; with `like`,
            as that layer.
        device: where the parameters lie.
        dtype: what the parameters are.
        compile: whether to wrap the module by ``torch.compile(fullgraph=True)``.

    Returns:
        A module that takes and gives tensors with the axes of the spec's input and output. One
        that is built for one size refuses another by a `ValueError` that names both; a tensor of
        other channels fails in torch's words. A batch norm behind a global pool needs more than
        one sample in training mode, as everywhere in torch.

    Raises:
        ComposerError: the spec is at fault, or does not suit these sizes and params; or torch has
            no room for the module, or does not know the device or dtype. A compiled module raises
            one, too, when its first call fails, or when torch can't compile it.
    """
    spec = load_spec(spec)
    settings = settings_for(spec, channels, like, size, params, layout, prefix, init)
    as_layer = like if init == "identity" else None
    graph = compiled(spec, settings)
    with torch_told(f"the tensors of {spec.name!r}", "choose smaller sizes or other params"):
        if as_layer is not None:
            module = _identical(graph, as_layer, dtype)
            if device is not None:
                module = module.to(device)
        else:
            with nullcontext() if device is None else torch.device(device):
                module = lower(graph)
            if dtype is not None:
                module = module.to(dtype)
        if compile:
            compile_whole(module, spec.name)
    return module


def settings_for(
    spec: Spec,
    channels: int | None = None,
    like: nn.Module | None = None,
    size: tuple[int, ...] | None = None,
    params: Mapping[str, Value] | None = None,
    layout: tuple[str, ...] | None = None,
    prefix: int = 0,
    init: Init = "paper",
) -> Settings:
    """Return what is chosen for a module that stands alone; the arguments are those of `build`.

    Raises:
        ComposerError: they do not suit the spec.
    """
    if init not in get_args(Init):
        raise error("invalid-init", f"{init!r} is not a way to begin", "say 'paper' or 'identity'")
    order, tokens, places = _checked_layout(spec, layout, prefix, size, like)
    if tokens is not None and "n" not in (order or ("n",)) and size is None:
        raise error(
            "missing-size",
            f"{spec.name!r} needs the height and width of the map that the tokens hold",
            f"say build({spec.name!r}, channels=64, size=(14, 14))",
        )
    params = dict(params or {})
    told: dict[str, int] = {}
    if like is not None:
        told = sizes_like(spec, like)
        params = {n: v for n, v in told.items() if n in spec.params} | params
        channels = _agreed(channels, told["c"])
    sizes = {**told, **sizes_for(spec, channels, size, order, places)}
    sizes = {n: v for n, v in sizes.items() if n not in spec.params}
    begins: Init = "paper" if like is not None else init
    return Settings(sizes, params, order, tokens, begins, places=places)


def _identical(graph: Graph, like: nn.Module, dtype: torch.dtype | None) -> fx.GraphModule:
    """Return a stand-in that computes what the layer does; on the CPU."""
    here = f"this {type(like).__name__}"
    check_can_be_identical(graph, here)
    like = copy.deepcopy(like).to("cpu", torch.float64)
    with torch.device("cpu"):
        module = lower(graph)
        original = Original(like, steps=(like,))
        return identical_to(module, graph, original, None, dtype or torch.get_default_dtype(), here)


def _agreed(channels: int | None, told: int) -> int:
    if channels not in (None, told):
        raise error(
            "size-conflict",
            f"channels is {channels}, and the layer it is like takes {told}",
            "leave channels away: the layer tells",
        )
    return told


def _checked_layout(
    spec: Spec,
    layout: tuple[str, ...] | None,
    prefix: int,
    size: tuple[int, ...] | None,
    like: nn.Module | None,
) -> tuple[tuple[str, ...] | None, Tokens | None, tuple[str, ...]]:
    """Return the layout of the map, how it comes where it comes as tokens, and its places."""
    named = spec.input if layout is None else layout
    if isinstance(prefix, bool) or not isinstance(prefix, int) or prefix < 0:
        raise error("invalid-size", f"prefix is {prefix!r}, not a whole number from 0")
    tokens: Tokens | None = Tokens(prefix)
    if "n" not in named:
        if prefix:
            message = f"{prefix} prefix tokens stand in no layout {list(named)}"
            raise error("invalid-layout", message, "say layout=('b', 'n', 'c')")
        tokens = None
    elif "n" in spec.input:
        tokens = tokens if prefix else None
    else:
        place, count = named.index("n"), len(size) if isinstance(size, (tuple, list)) else 2
        places = names_for(spec, count if count in PLACES else 2)
        layout = (*named[:place], *places, *named[place + 1 :])
    dimensions = len(like.kernel_size) if isinstance(like, ANY_CONVOLUTION) else None
    order, places = _of_maps(spec, layout, size, dimensions)
    return order, tokens, places


def _of_maps(
    spec: Spec,
    layout: tuple[str, ...] | None,
    size: tuple[int, ...] | None,
    dimensions: int | None,
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the layout of a map under the spec's names, and its places.

    Raises:
        ComposerError: the layout does not hold the axes of the spec.
    """
    order, places = layout_at(spec, layout, size, dimensions)
    if order is None or layout is None:
        return order, places
    wanted = input_at(spec, places)
    missing = [axis for axis in wanted if axis not in order]
    tokens = missing == ["n"] and sorted(set(order) - set(wanted)) == sorted(places)
    fits = tokens or not (missing or len(order) > len(wanted))
    if not fits or len(set(order)) < len(order):
        raise error(
            "invalid-layout",
            f"the layout {list(layout)} does not hold the axes of {spec.name!r}",
            f"put these in order: {', '.join(spec.input)}",
        )
    return order, places
