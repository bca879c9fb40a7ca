"""Which parameters take no weight decay.

Weight decay pulls a weight to zero, which is right for weights summed over many inputs, and wrong
for scales and positions. As in timm and in DeiT's code it is omitted for

- scalars and vectors: biases, the weights of norms, LayerScale's γ, the `a` of an identity start;
- the parameters that the model lists in ``no_weight_decay()``;
- learned tables of positions, as for timm's ``relative_position_bias_table`` and ``pos_embed``.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from composer.graph.graph import Graph
from composer.primitives.attention import Attention
from composer.primitives.initialise import WORDS
from composer.primitives.parameter import Parameter
from composer.training.graphs import inserted_graphs

_BIASES = ("bias", "biases")


def without_decay(model: nn.Module) -> set[str]:
    """Return the names of a model's parameters that take no weight decay."""
    named = _named_by_model(model) | {
        f"{site.module}.{name}"
        for _, site, graph in inserted_graphs(model)
        for name in position_tables(graph)
    }
    return {
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.dim() <= 1 or name.rpartition(".")[2] in _BIASES or name in named
    }


def position_tables(graph: Graph) -> Iterator[str]:
    """Yield the parameters of a graph's module that are learned per place or distance.

    These are each `parameter` of a spec without channels that is not initialised like a layer's
    weights, and the relative positions of `attention`.
    """
    for node in graph.nodes:
        match node.op:
            case Parameter(axes=axes, init=init):
                drawn = init.value is not None and init.value.value in WORDS
                if "c" not in axes and not drawn:
                    yield node.name
            case Attention(position=position) if str(position) == "relative":
                yield from (f"{node.name}.height", f"{node.name}.width")


def _named_by_model(model: nn.Module) -> set[str]:
    """Return the names listed by the outermost modules that define it, as timm's models do."""
    names: set[str] = set()
    asked: list[str] = []
    for path, module in model.named_modules():
        if not hasattr(module, "no_weight_decay") or f"{path}.".startswith(tuple(asked)):
            continue
        prefix = f"{path}." if path else ""
        asked.append(prefix)
        names |= {f"{prefix}{name}" for name in module.no_weight_decay()}
    return names
