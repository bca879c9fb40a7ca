"""softmax(s · q kᵀ + m) v, written in its parts, is one call of torch's attention.

The parts are a product of matrices over the features, a `scale` and a bias added, each or none,
a softmax over the keys, and the product with the values. No map of all pairs is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from composer.graph.graph import Graph, GraphNode
from composer.graph.rewriting import Rewriting, read_once
from composer.language.expressions import Expr, constant
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.contraction import Contraction
from composer.primitives.dot_product_attention import DotProductAttention
from composer.primitives.gate import Gate
from composer.primitives.scale import Scale


def recognise_attention(graph: Graph) -> Graph:
    """Return the graph with attention that is written in its parts as one node."""
    work, once = Rewriting(graph), read_once(graph)
    for node in graph.nodes:
        if isinstance(mixed := node.op, Contraction):
            for weights, values in ((mixed.a, mixed.b), (mixed.b, mixed.a)):
                found = _attention(work, once, mixed, weights, values)
                if found is not None:
                    work.change(node, found)
                    break
    return work.done()


@dataclass(frozen=True)
class _Logits:
    """What a softmax is taken of: a product of matrices, by how much, and what is added."""

    product: Contraction
    scale: float
    bias: Expr | None


def _attention(
    work: Rewriting, once: dict[str, GraphNode], mixed: Contraction, weights: Expr, values: Expr
) -> DotProductAttention | None:
    gate = work.op(str(weights)) if str(weights) in once else None
    if not isinstance(gate, Gate) or gate.fn.value != "softmax" or mixed.over != (gate.over,):
        return None
    logits = _logits(work, once, gate.x)
    if logits is None or len(logits.product.over) != 1:
        return None
    keys, (along,) = str(gate.over), logits.product.over
    q, k = logits.product.a, logits.product.b
    if keys in work.axes(q):
        q, k = k, q
    riding = set(work.axes(k)) - {keys, along}
    queries, features = set(work.axes(q)) - riding - {along}, set(work.axes(values)) - riding
    features -= {keys}
    if keys in work.axes(q) or len(queries) != 1 or len(features) != 1 or queries == features:
        return None
    if not riding <= set(work.axes(q)) & set(work.axes(values)):
        return None
    if logits.bias and not set(work.axes(logits.bias)) <= {*riding, *queries, keys}:
        return None
    return DotProductAttention.model_construct(
        q=q, k=k, v=values, bias=logits.bias, queries=queries.pop(), keys=keys, along=along,
        features=features.pop(), scale=constant(logits.scale),
    )  # fmt: skip


def _logits(work: Rewriting, once: dict[str, GraphNode], x: Expr | None) -> _Logits | None:
    """Return what the logits x are made of; the bias is added last, so it is not scaled."""
    scale, bias = 1.0, None
    while x is not None and str(x) in once:
        op = work.op(str(x))
        if isinstance(op, Contraction):
            return _Logits(op, scale, bias)
        if isinstance(op, Scale) and op.by.is_constant:
            scale, x = scale * float(op.by.value), op.x
        elif isinstance(op, Arithmetic) and op.op == "add" and len(op.of) == 2 and bias is None:
            if scale != 1.0 or op.numbers:
                return None
            x, bias = op.of if _leads_to_product(work, op.of[0]) else op.of[::-1]
        else:
            return None
    return None


def _leads_to_product(work: Rewriting, x: Expr) -> bool:
    op = work.op(str(x))
    while isinstance(op, Scale):
        op = work.op(str(op.x))
    return isinstance(op, Contraction)
