"""`build`: from a spec and sizes to a `torch.fx.GraphModule`."""

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
    """Return the module for a graph after all passes.

    Each fx node records the spec's node it comes from, under ``meta["composer"]``.
    """
    words = graph.spec.name.split("_")
    return _written(graph).finish("".join(word[:1].upper() + word[1:] for word in words))


def _written(graph: Graph) -> FxEmitter:
    emitter = FxEmitter(graph)
    for node in emitter.order:
        emitter.write(node)
    return emitter


def compiled(spec: Spec, settings: Settings) -> Graph:
    """Return the graph of a spec, with the sizes of the map left open if it can be lowered so.

    A spec that needs these sizes keeps the numbers, and its module refuses any other size; see
    `composer.lower.grid.needed_size`. Errors at these sizes are reported in either case.

    Args:
        spec: the spec to compile.
        settings: with the sizes at its site; the graph's settings hold open ones as `planned`.

    Raises:
        ComposerError: the spec does not fit these settings.
    """
    opened = settings.opened
    if opened.planned == settings.planned:  # no map size is given
        return compile_graph(graph_of(spec, settings))
    analyse(graph_of(spec, settings)).sound()
    graph = compile_graph(graph_of(spec, opened))
    return graph if _lowers(graph) else compile_graph(graph_of(spec, settings))


def _lowers(graph: Graph) -> bool:
    """Return whether a graph can be lowered without the open sizes; no Python code is generated."""
    try:
        with (
            unset_fake_temporarily(),
            torch.device("meta"),
        ):  # the caller's fake mode may be for a GPU
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
    compile: bool = False,  # noqa: A002 - torch's name for it
) -> fx.GraphModule:
    """Build the module of a spec.

    Args:
        spec: a spec, the name of a shipped one, a path, or the text itself.
        channels: the size of the axis ``c`` of the input.
        like: the layer that a stand-in replaces, such as an ``nn.Conv2d`` (or ``nn.Conv1d`` or
            ``nn.Conv3d``); it gives the channels, kernel, stride and so on.
        size: the sizes of ``h`` and ``w``. Needed only by a spec that is built for one size of the
            map, for example with a weight for each position; other specs take maps of any size in
            any case. For tokens ``[b, n, c]``, n is the number of positions of the map. Three
            numbers are the sizes of a map ``[b, c, d, h, w]``, and one number is that of
            ``[b, c, t]``; a spec that uses h and w together also works on these.
        params: other values for the spec's params; for a stand-in built without `like`, also
            values for ``out``, ``kernel``, ``stride``, ``padding``, ``dilation``, ``groups`` and
            ``bias``.
        layout: the order of the input's axes in memory, such as ``("b", "h", "w", "c")``; by
            default the order in which the spec names them. If a spec takes tokens ``[b, n, c]``, a
            map's axes are merged into ``n``; if it takes a map, ``n`` in the layout holds the
            positions of a map of the given `size`, in row-major order.
        prefix: the number of tokens before those of the map, such as a class token; they are
            passed through.
        init: ``"paper"``, or ``"identity"`` for a module that starts as the identity; with `like`,
            for one that starts as that layer.
        device: the device of the parameters.
        dtype: the dtype of the parameters.
        compile: whether to wrap the module with ``torch.compile(fullgraph=True)``.

    Returns:
        A module whose input and output are tensors with the axes of the spec's input and output.
        One that is built for one size refuses another with a `ValueError` that names both; a
        tensor with other channels raises torch's own error. A batch norm after a global pool needs
        more than one sample in training mode, as everywhere in torch.

    Raises:
        ComposerError: the spec has errors, or does not fit these sizes and params; or the module
            does not fit in memory, or torch does not know the device or dtype. A compiled module
            also raises one if its first call fails, or if torch can't compile it.
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
    """Return the settings of a module outside a backbone; the arguments are those of `build`.

    Raises:
        ComposerError: they do not fit the spec.
    """
    if init not in get_args(Init):
        raise error("invalid-init", f"{init!r} is not an init", "use 'paper' or 'identity'")
    order, tokens, places = _checked_layout(spec, layout, prefix, size, like)
    if tokens is not None and "n" not in (order or ("n",)) and size is None:
        raise error(
            "missing-size",
            f"{spec.name!r} needs the height and width of the map that the tokens represent",
            f"pass them, as in build({spec.name!r}, channels=64, size=(14, 14))",
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
    """Return a stand-in that computes the same as the layer; on the CPU."""
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
            f"channels is {channels}, but the layer in `like` takes {told}",
            "omit channels: it follows from the layer",
        )
    return told


def _checked_layout(
    spec: Spec,
    layout: tuple[str, ...] | None,
    prefix: int,
    size: tuple[int, ...] | None,
    like: nn.Module | None,
) -> tuple[tuple[str, ...] | None, Tokens | None, tuple[str, ...]]:
    """Return the layout of the map, how it is held by tokens if it is, and its spatial axes."""
    named = spec.input if layout is None else layout
    if isinstance(prefix, bool) or not isinstance(prefix, int) or prefix < 0:
        raise error("invalid-size", f"prefix is {prefix!r}, not a whole number from 0")
    tokens: Tokens | None = Tokens(prefix)
    if "n" not in named:
        if prefix:
            message = f"the layout {list(named)} has no axis for {prefix} prefix tokens"
            raise error("invalid-layout", message, "write layout=('b', 'n', 'c')")
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
    """Return the layout of a map under the spec's names, and its spatial axes.

    Raises:
        ComposerError: the layout does not have the axes of the spec.
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
            f"the layout {list(layout)} does not have the axes of {spec.name!r}",
            f"write these axes in some order: {', '.join(spec.input)}",
        )
    return order, places
