"""Whether a mechanism is the identity at initialisation: x + γ f(x), with γ initialised to zero.

The graph shows γ as a factor that is a parameter initialised to 0, or as a norm whose weight is. A
second zero factor around it would leave both without a gradient.
"""

from __future__ import annotations

from composer.graph.graph import INPUT, Graph
from composer.language.expressions import Expr
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.conv2d import Conv2d
from composer.primitives.linear import Linear
from composer.primitives.norm import Normalize
from composer.primitives.parameter import Parameter


def begins_as_input(graph: Graph) -> bool:
    """Return whether the output equals the input until training starts."""
    return _is_input(graph, graph.output)


def _is_input(graph: Graph, name: str) -> bool:
    if name == INPUT:
        return True
    op = graph.by_name[name].op
    if not isinstance(op, Arithmetic) or op.op != "add" or op.numbers:
        return False
    rest = [name for name in map(str, op.of) if not _is_zero(graph, name)]
    return len(rest) == 1 and _is_input(graph, rest[0])


def _is_zero(graph: Graph, name: str) -> bool:
    """Return whether a value is zero at initialisation and can learn."""
    if name == INPUT:
        return False
    op = graph.by_name[name].op
    if isinstance(op, Parameter):
        return _zero(op.init.value)
    if isinstance(op, Arithmetic) and op.op == "mul":
        return any(_is_zero(graph, operand) for operand in graph.by_name[name].operands)
    if isinstance(op, Linear | Conv2d):
        return op.norm.is_on and op.norm.has_weights and _zero(op.norm.scale) and _plain(op.act)
    if isinstance(op, Normalize):
        return bool(op.weights_along) and _zero(op.scale) and _plain(op.act)
    return False


def _zero(number: Expr | None) -> bool:
    return number is not None and number.is_constant and number.value == 0


def _plain(act: Expr) -> bool:
    return act.value == "none"
