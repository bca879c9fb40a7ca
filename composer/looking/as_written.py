"""An inserted mechanism as its spec has it, so that each value of the spec can be read by name.

The module that runs was made fast: a product by a gate may be fused into a sum, and a softmax into
one call of torch's attention. Its spec, lowered without those passes, uses the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx

from composer.errors import error
from composer.graph.from_spec import graph_of
from composer.graph.graph import INPUT, Settings
from composer.graph.passes import compile_graph
from composer.language.expressions import constant
from composer.lower.emitter import FxEmitter
from composer.primitives import Spec
from composer.primitives.attention import Attention
from composer.primitives.axes import AxisOrder
from composer.primitives.gate import Gate
from composer.primitives.reweight import Reweight

_ATTENTION = torch.nn.functional.scaled_dot_product_attention

Kind = Literal["gate", "attention"]


@dataclass(frozen=True)
class Seen:
    """One value of a mechanism: the name of its node, its axes in order, its numbers.

    Of attention, `keys` are those of the axes that the keys have, along which the weights sum to 1.
    """

    node: str
    kind: Kind
    axes: tuple[str, ...]
    values: Tensor
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class AsWritten:
    """A mechanism's own nodes as an fx graph, and those of them that say what is attended to.

    These are its gates and its attention; where it has neither, what its reweights multiply by.
    """

    graph: fx.Graph
    gates: Mapping[fx.Node, tuple[str, tuple[str, ...]]]
    attention: Mapping[fx.Node, _Attention]

    @classmethod
    def of(cls, spec: Spec, settings: Settings) -> AsWritten:
        """Lower a spec as it is written; nothing in it has numbers.

        Raises:
            ComposerError: the spec is at fault.
        """
        graph = compile_graph(graph_of(spec, settings), as_written=True)
        with torch.device("meta"):
            emitter = FxEmitter(graph)
            for node in emitter.order:
                emitter.write(node)
            emitter.finish("AsWritten")
        calls = {
            call.meta["composer"]["node"]: call
            for call in emitter.fx.find_nodes(op="call_function", target=_ATTENTION)
        }
        attention = {
            calls[node.name]: _Attention.of(node.name, node.op, emitter)
            for node in emitter.order if isinstance(node.op, Attention)
        }  # fmt: skip
        names = [node.name for node in emitter.order if isinstance(node.op, Gate)]
        if not names and not attention:
            weights = (str(n.op.by) for n in emitter.order if isinstance(n.op, Reweight))
            names = [name for name in dict.fromkeys(weights) if name != INPUT]
        gates = {emitter.written[n]: (n, emitter.axes(constant(n)).names) for n in names}
        return cls(emitter.fx, gates, attention)

    def seen(self, module: fx.GraphModule, args: tuple[Any, ...]) -> list[Seen]:
        """Run it with the weights of the module that was inserted, on what that is given."""
        run = _Run(module, self)
        run.run(*args)
        return run.found


@dataclass(frozen=True)
class _Attention:
    """Attention's values, each with its axes, and the axes that its weights have."""

    name: str
    values: tuple[tuple[fx.Node, tuple[str, ...]], ...]
    queries: tuple[str, ...]  # with those that ride along before them
    keys: tuple[str, ...]
    named: tuple[str, ...]  # what the keys are called, where the queries have the same axes

    @classmethod
    def of(cls, name: str, op: Attention, emitter: FxEmitter) -> _Attention:
        order = AxisOrder(emitter.axes(constant(name)).names)
        parts = op.parts(emitter.axes, order)
        values = tuple((emitter.node(ref), emitter.axes(ref).names) for ref in (op.q, op.k, op.v))
        own = tuple(f"key_{key}" if key in parts.over else key for key in parts.keys)
        return cls(name, values, (*parts.riding, *parts.over), parts.in_keys, own)

    def seen(self, weights: Tensor, env: Mapping[fx.Node, Tensor]) -> Seen:
        """Return weights of [batch, heads, queries, keys] by their own axes."""
        sizes: dict[str, int] = {}
        for node, axes in self.values:
            for axis, size in zip(axes, env[node].shape, strict=True):
                sizes[axis] = max(size, sizes.get(axis, 1))
        shape = [sizes[axis] for axis in (*self.queries, *self.keys)]
        axes = (*self.queries, *self.named)
        return Seen(self.name, "attention", axes, weights.reshape(shape), self.named)


class _Run(fx.Interpreter):
    """Runs the nodes of a mechanism on the weights of the one that was inserted."""

    def __init__(self, module: fx.GraphModule, written: AsWritten) -> None:
        super().__init__(module, graph=written.graph)
        self.written, self.found = written, list[Seen]()
        self.kept = dict[fx.Node, Tensor]()  # while the others are let go
        self.keep = {n for one in written.attention.values() for n, _ in one.values}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node, and note what it gives where that is wanted."""
        value = super().run_node(n)
        if n in self.keep:
            self.kept[n] = value
        if n in self.written.gates:
            name, axes = self.written.gates[n]
            self.found.append(Seen(name, "gate", axes, value.clone()))
        if n in self.written.attention:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            weights = _weights(*cast("tuple[Tensor, Tensor]", args[:2]), **kwargs)
            self.found.append(self.written.attention[n].seen(weights, self.kept))
        return value


def _weights(q: Tensor, k: Tensor, **options: Any) -> Tensor:
    """Return what attention multiplies its values by, [batch, heads, queries, keys].

    It takes them from the keys' unit vectors as values, so that mask, bias and scale are its own.
    """
    one = torch.eye(k.shape[-2], dtype=k.dtype, device=k.device)
    return _ATTENTION(q, k, one.expand(*k.shape[:-1], k.shape[-2]), **options)


def need_same_state(module: fx.GraphModule, written: AsWritten, path: str) -> None:
    """Refuse a module that has not what its spec asks for, as after another tool changed it.

    Raises:
        ComposerError: code ``changed-since``.
    """
    names = {n for n, _ in module.named_modules()} | {n for n, _ in module.named_parameters()}
    for node in written.graph.nodes:
        if node.op in ("call_module", "get_attr") and node.target not in names:
            raise error(
                "changed-since",
                f"{path} was changed after it was inserted: it has no {node.target!r}",
                "look at the model as composer.insert or composer.load gave it",
            )
