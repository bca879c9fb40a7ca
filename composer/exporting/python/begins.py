"""The initialisation of a layer's tensors, read from the op that made it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from composer.graph.graph import Graph
from composer.language.expressions import Expr, Value
from composer.lower.schedule import Schedule
from composer.lower.table import Table
from composer.primitives.attention import Attention
from composer.primitives.base import Primitive
from composer.primitives.initialise import WORDS, Init
from composer.primitives.normalization import Norm
from composer.primitives.parameter import Parameter


@dataclass(frozen=True)
class Begin:
    """The initialisation of a tensor: constant, normal, trunc_normal or uniform, with a number."""

    how: str
    numbers: tuple[Any, ...]


def begins(path: str, kept: nn.Module | nn.Parameter, graph: Graph) -> Iterator[tuple[str, Begin]]:
    """Yield the initialisation of a layer's tensors where it differs from torch's; see `Begin`.

    A parameter is its own tensor, named "".
    """
    op = _op_of(path, graph)
    if isinstance(kept, (Table, Schedule)) or op is None:
        return
    if isinstance(kept, nn.Parameter):
        yield "", _of_parameter(path, kept, op)
    elif "Norm" in type(kept).__name__:
        if getattr(kept, "weight", None) is not None:
            yield "weight", Begin("constant", (_scale(op),))
    elif getattr(kept, "weight", None) is not None:
        init, bias = getattr(op, "init", None), getattr(op, "bias_init", None)
        assert isinstance(kept.weight, nn.Parameter)
        if isinstance(init, Init) and init.is_on:
            yield "weight", _drawn(init, kept.weight.shape)
        if bias is not None and kept.bias is not None:
            yield "bias", Begin("constant", (bias.value,))


def _op_of(path: str, graph: Graph) -> Primitive | None:
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        if (node := graph.by_name.get(".".join(parts[:count]))) is not None:
            return node.op
    return None


def _of_parameter(path: str, kept: nn.Parameter, op: Primitive) -> Begin:
    if isinstance(op, Parameter):
        written = list(op.axes)
        shape = dict(zip(written, op.shape, strict=True))
        outputs = written.index("o") if "o" in written else 0
        return _drawn(op.init, [shape[axis] for axis in written[outputs:]])
    if isinstance(op, Attention):  # over distances; see `Attention._distances`
        return Begin("normal", (kept.shape[-1] ** -0.5,))
    return Begin("constant", (_scale(op) if path.endswith(".weight") else 0,))


def _scale(op: Primitive) -> Value:
    norm = getattr(op, "norm", op)
    scale = norm.scale if isinstance(norm, Norm) else getattr(op, "scale", None)
    return scale.value if isinstance(scale, Expr) else 1


def _drawn(init: Init, sizes: Sequence[int]) -> Begin:
    for how in ("normal", "trunc_normal", "uniform"):
        if (spread := getattr(init, how)) is not None:
            return Begin(how, (float(spread.value),))
    assert init.value is not None
    value = init.value.value
    if value not in WORDS:
        return Begin("constant", (value,))
    inputs, outputs = math.prod(sizes[1:]), math.prod([*sizes[:1], *sizes[2:]])
    if value == "kaiming":
        return Begin("normal", ((2 / inputs) ** 0.5,))
    return Begin("uniform", (inputs**-0.5 if value == "conv" else (6 / (inputs + outputs)) ** 0.5,))
