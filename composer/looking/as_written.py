"""An inserted mechanism lowered as written in its spec, so that each value can be read by name.

The module that runs is optimised: a product by a gate may be fused into a sum, and a softmax into
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
from composer.kernels.attention import attention, attention_of_few
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

    For attention, `keys` are the axes of the keys, along which the weights sum to 1.
    """

    node: str
    kind: Kind
    axes: tuple[str, ...]
    values: Tensor
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class AsWritten:
    """A mechanism's own nodes as an fx graph, and those that show what is attended to.

    These are its gates and its attention; if it has neither, the factors of its reweights.
    """

    graph: fx.Graph
    gates: Mapping[fx.Node, tuple[str, tuple[str, ...]]]
    attention: Mapping[fx.Node, _Attention]

    @classmethod
    def of(cls, spec: Spec, settings: Settings) -> AsWritten:
        """Lower a spec as it is written, without weights.

        Raises:
            ComposerError: the spec is faulty.
        """
        graph = compile_graph(graph_of(spec, settings), as_written=True)
        with torch.device("meta"):
            emitter = FxEmitter(graph)
            for node in emitter.order:
                emitter.write(node)
            emitter.finish("AsWritten")
        calls = {
            call.meta["composer"]["node"]: call
            for target in (attention, attention_of_few)
            for call in emitter.fx.find_nodes(op="call_function", target=target)
        }
        attentions = {
            calls[node.name]: _Attention.of(node.name, node.op, emitter)
            for node in emitter.order if isinstance(node.op, Attention)
        }  # fmt: skip
        names = [node.name for node in emitter.order if isinstance(node.op, Gate)]
        if not names and not attentions:
            weights = (str(n.op.by) for n in emitter.order if isinstance(n.op, Reweight))
            names = [name for name in dict.fromkeys(weights) if name != INPUT]
        gates = {emitter.written[n]: (n, emitter.axes(constant(n)).names) for n in names}
        return cls(emitter.fx, gates, attentions)

    def seen(self, module: fx.GraphModule, args: tuple[Any, ...]) -> list[Seen]:
        """Run it with the weights of the inserted module, on that module's input."""
        run = _Run(module, self)
        run.run(*args)
        return run.found


@dataclass(frozen=True)
class _Attention:
    """The operands of attention, each with its axes, and the axes of its weights."""

    name: str
    values: tuple[tuple[fx.Node, tuple[str, ...]], ...]
    queries: tuple[str, ...]  # with the shared axes before them
    keys: tuple[str, ...]
    named: tuple[str, ...]  # names of the keys, where the queries have the same axes

    @classmethod
    def of(cls, name: str, op: Attention, emitter: FxEmitter) -> _Attention:
        order = AxisOrder(emitter.axes(constant(name)).names)
        parts = op.parts(emitter.axes, order)
        values = tuple((emitter.node(ref), emitter.axes(ref).names) for ref in (op.q, op.k, op.v))
        own = tuple(f"key_{key}" if key in parts.over else key for key in parts.keys)
        return cls(name, values, (*parts.riding, *parts.over), parts.in_keys, own)

    def seen(self, weights: Tensor, env: Mapping[fx.Node, Tensor]) -> Seen:
        """Return weights of [batch, heads, queries, keys] with their own axes."""
        sizes: dict[str, int] = {}
        for node, axes in self.values:
            for axis, size in zip(axes, env[node].shape, strict=True):
                sizes[axis] = max(size, sizes.get(axis, 1))
        shape = [sizes[axis] for axis in (*self.queries, *self.keys)]
        axes = (*self.queries, *self.named)
        return Seen(self.name, "attention", axes, weights.reshape(shape), self.named)


class _Run(fx.Interpreter):
    """Runs the nodes of a mechanism with the weights of the inserted one."""

    def __init__(self, module: fx.GraphModule, written: AsWritten) -> None:
        super().__init__(module, graph=written.graph)
        self.written, self.found = written, list[Seen]()
        self.kept = dict[fx.Node, Tensor]()  # the others are freed
        self.keep = {n for one in written.attention.values() for n, _ in one.values}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node, and keep its output if requested."""
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
    """Return the weights of attention, [batch, heads, queries, keys].

    Unit vectors as values give the weights, so that mask, bias and scale are its own.
    """
    one = torch.eye(k.shape[-2], dtype=k.dtype, device=k.device)
    return _ATTENTION(q, k, one.expand(*k.shape[:-1], k.shape[-2]), **options)


def need_same_state(module: fx.GraphModule, written: AsWritten, path: str) -> None:
    """Refuse a module that does not match its spec, for example after another tool changed it.

    Raises:
        ComposerError: code ``changed-since``.
    """
    names = {n for n, _ in module.named_modules()} | {n for n, _ in module.named_parameters()}
    for node in written.graph.nodes:
        if node.op in ("call_module", "get_attr") and node.target not in names:
            raise error(
                "changed-since",
                f"{path} was changed after it was inserted: it has no {node.target!r}",
                "use the model as returned by composer.insert or composer.load",
            )
