"""softmax(s · q kᵀ + m) v, written in parts, becomes one call of torch's attention.

The parts are a matrix product over the features, an optional `scale` and bias, a softmax over the
keys, and the product with the values. The map of all pairs is not stored.
"""

from __future__ import annotations

from dataclasses import dataclass

from composer.graph.graph import Graph, GraphNode
from composer.graph.rewriting import Rewriting, read_once
from composer.language.expressions import Expr, constant
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.attention import Attention
from composer.primitives.gate import Gate
from composer.primitives.product import Product
from composer.primitives.scale import Scale


def recognise_attention(graph: Graph) -> Graph:
    """Return the graph with attention that is written in parts as one node."""
    work, once = Rewriting(graph), read_once(graph)
    for node in graph.nodes:
        if isinstance(mixed := node.op, Product):
            for weights, values in (mixed.of, mixed.of[::-1]):
                found = _attention(work, once, mixed, weights, values)
                if found is not None:
                    work.change(node, found)
                    break
    return work.done()


@dataclass(frozen=True)
class _Logits:
    """The argument of a softmax: a matrix product, its scale, and what is added."""

    product: Product
    scale: float
    bias: Expr | None


def _attention(
    work: Rewriting, once: dict[str, GraphNode], mixed: Product, weights: Expr, values: Expr
) -> Attention | None:
    gate = work.op(str(weights)) if str(weights) in once else None
    if not isinstance(gate, Gate) or gate.fn.value != "softmax" or mixed.sum != gate.over:
        return None
    if len(mixed.sum) != 1:
        return None
    logits = _logits(work, once, gate.x)
    if logits is None or len(logits.product.sum) != 1:
        return None
    (keys,), (along,) = mixed.sum, logits.product.sum
    q, k = logits.product.of
    if keys in work.axes(q):
        q, k = k, q
    over = work.axes(q).without([*work.axes(k), along]).names
    have = set(work.axes(values))
    if keys in work.axes(q) or not over or keys not in have or have & set(over):
        return None
    if logits.bias and not _suits(work, logits, keys):
        return None
    return Attention.model_construct(
        op="attention", q=q, k=k, v=values, over=over, keys=(keys,), along=along,
        bias=logits.bias, scale=constant(logits.scale),
    )  # fmt: skip


def _suits(work: Rewriting, logits: _Logits, keys: str) -> bool:
    """Return whether the bias has the axis of the keys, and only axes of the product."""
    assert logits.bias is not None
    q, k = map(work.axes, logits.product.of)
    bias = set(work.axes(logits.bias))
    return keys in bias and bias <= {*q, *k} - set(logits.product.sum)


def _logits(work: Rewriting, once: dict[str, GraphNode], x: Expr | None) -> _Logits | None:
    """Return the parts of the logits x; the bias is added last, so it is not scaled."""
    scale, bias = 1.0, None
    while x is not None and str(x) in once:
        op = work.op(str(x))
        if isinstance(op, Product):
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
    return isinstance(op, Product)
