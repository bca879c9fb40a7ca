"""One spec lowered at several sizes and params, to find what its numbers depend on.

The trap is a number with two possible expressions, such as ``channels // 16`` and a constant 4 at
64 channels: so each size and param is varied on its own, to several values, and all together. A
name that changes the calls themselves, and not only their numbers, can't be an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import unset_fake_temporarily

from composer.errors import ComposerError
from composer.exporting.python.written import Written, written
from composer.graph.frontend import graph_of
from composer.graph.graph import Graph, Settings
from composer.graph.params import bind_params
from composer.language.expressions import Expr, Value
from composer.lower.build import lower
from composer.lower.inputs import input_shapes
from composer.primitives import Spec

Compile = Callable[[Spec, Settings], Graph]

_ENOUGH = 2  # values of each size and param


@dataclass(frozen=True)
class Sample:
    """A spec lowered under some settings: its numbers, and the value of every name."""

    settings: Settings
    numbers: tuple[Value, ...]
    known: Mapping[str, Value]


@dataclass
class Samples:
    """The lowered form of a spec, and its numbers at several sizes and params.

    `written`, `graph` and the first sample are those of the requested settings. Other values of the
    names in `fixed` change the calls.
    """

    spec: Spec
    graph: Graph
    written: Written
    samples: list[Sample]
    varied: list[str] = field(default_factory=list)
    fixed: list[str] = field(default_factory=list)

    @property
    def asked(self) -> Sample:
        """The requested settings."""
        return self.samples[0]


def samples_of(spec: Spec, settings: Settings, compiled: Compile) -> Samples:
    """Return a spec lowered under these settings and some others.

    Args:
        spec: the spec to lower.
        settings: with all sizes.
        compiled: `composer.lower.build.compiled`, or a replacement.

    Raises:
        ComposerError: it can't be lowered, or has no form in plain torch.
    """
    graph = compiled(spec, settings)
    found, numbers = written(on_meta(graph), graph)
    samples = Samples(spec, graph, found, [Sample(settings, numbers, known_under(spec, settings))])
    chosen: dict[str, Value] = {}
    for name in [*settings.sizes, *spec.params]:
        _vary(samples, name, chosen, compiled)
    together = _settings_with(spec, settings, chosen)
    if isinstance(sample := _sample(samples, together, compiled), Sample):
        samples.samples.append(sample)
    if "out" in samples.varied and all(s.known["out"] == s.known["c"] for s in samples.samples):
        samples.varied.remove("out")
    return samples


def _vary(samples: Samples, name: str, chosen: dict[str, Value], compiled: Compile) -> None:
    """Lower the spec with other values of one name."""
    asked = samples.asked
    is_open = name in samples.graph.settings.planned and samples.graph.settings.tokens is None
    if name not in asked.known or is_open:
        return
    taken: list[Sample] = []
    for value in _others(name, asked.known[name], samples.spec):
        tried = []
        for values in _with_others(name, value, asked.settings):
            settings = _settings_with(samples.spec, asked.settings, values)
            tried.append((values, _sample(samples, settings, compiled)))
        fits = [(values, sample) for values, sample in tried if isinstance(sample, Sample)]
        if not fits and any(sample == "other" for _, sample in tried):
            samples.fixed.append(name)
            return
        if fits:
            chosen |= {n: v for n, v in fits[0][0].items() if n not in chosen}
            taken.append(fits[0][1])
        if len(taken) == _ENOUGH:
            break
    (samples.varied if taken else samples.fixed).append(name)
    samples.samples += taken


def _with_others(name: str, value: Value, settings: Settings) -> Iterator[dict[str, Value]]:
    """Yield a value of a name alone, then with what a shape-preserving layer also needs."""
    yield {name: value}
    sizes: dict[str, Any] = {**settings.sizes, name: value}
    if "out" not in sizes:
        return
    if name in ("kernel", "dilation"):
        yield {name: value, "padding": sizes["dilation"] * (sizes["kernel"] // 2)}
    elif name in ("c", "out"):
        yield {"c": value, "out": value}


def _sample(samples: Samples, settings: Settings, compiled: Compile) -> Sample | str | None:
    """Return a sample, "other" if the calls differ, or None if it can't be lowered."""
    try:
        graph = compiled(samples.spec, settings)
        found, numbers = written(on_meta(graph), graph)
        known = known_under(samples.spec, settings)
    except (ComposerError, ValueError, RuntimeError):
        return None
    if found != samples.written or len(numbers) != len(samples.asked.numbers):
        return "other"
    return Sample(settings, numbers, known)


def _others(name: str, value: Value, spec: Spec) -> Iterator[Value]:
    """Yield other values of a name, the most informative first."""
    param = spec.params.get(name)
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, str):
        yield from (choice for choice in (param.choices if param else ()) if choice != value)
    elif isinstance(value, float):
        yield from (value * 2, value / 2, value + 0.25)
    elif name == "kernel":
        yield from (value + 2, value + 4, value + 1)
    elif name in ("stride", "dilation", "padding"):
        yield from (value + 1, value + 2)
    elif name in ("h", "w", "d", "t", "n"):
        yield from (value + 1, 2 * value, value + 5)
    elif value == 0:
        yield from (1000, 2)
    else:
        more = (2 * value, 3 * value, value // 2, value + 1, value + 2, 48, 4 * value)
        yield from (other for other in dict.fromkeys(more) if other > 0 and other != value)


def _settings_with(spec: Spec, settings: Settings, values: Mapping[str, Value]) -> Settings:
    sizes = {n: v for n, v in values.items() if n not in spec.params}
    params = {n: v for n, v in values.items() if n in spec.params}
    return replace(
        settings,
        sizes={**settings.sizes, **sizes},  # type: ignore[dict-item]
        params={**settings.params, **params},
    )


def known_under(spec: Spec, settings: Settings) -> dict[str, Value]:
    """Return the value of every size and param under some settings."""
    scope: Mapping[str, Any] = bind_params(graph_of(spec, settings), [])
    bound = {n: v.value if isinstance(v, Expr) and v.is_constant else v for n, v in scope.items()}
    known = {n: v for n, v in bound.items() if not isinstance(v, Expr)}
    return {**settings.sizes, **settings.planned, **known}


def on_meta(graph: Graph) -> fx.GraphModule:
    """Return the module of a graph without weights, each node with the axes of its value."""
    with unset_fake_temporarily(), torch.device("meta"):
        module = lower(graph)
        inputs = [torch.empty(shape) for shape in input_shapes(graph, batch=2)]
        _Ranks(module.eval()).run(*inputs)
    return module


class _Ranks(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        n.meta["rank"] = value.dim() if isinstance(value, Tensor) else -1
        return value
