"""The cost of a graph, counted before it is made: nodes, sizes, parameters, elements, text.

All counts are integers. An open size counts as its planned value, else as 1, and is counted again
once it is known. The limits are in `composer.language.budget`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from composer.errors import ComposerError, Diagnostic
from composer.graph.costs import node_cost
from composer.graph.from_spec import inner_graph
from composer.graph.graph import Graph, GraphNode
from composer.graph.params import bind_params
from composer.graph.scope import Scope
from composer.language.budget import (
    MAX_ELEMENTS,
    MAX_EXPANDED,
    MAX_EXPRESSION_PARTS,
    MAX_PARAMETERS,
    MAX_REACH,
    MAX_SIZE,
    over,
)
from composer.language.expressions import Expr, ExpressionError, Value, bind, evaluate, name
from composer.language.source import YamlPath
from composer.primitives import Spec
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import Primitive
from composer.primitives.constant import Constant
from composer.primitives.parameter import Parameter
from composer.primitives.structure import Repeating
from composer.primitives.use import Use
from composer.primitives.windows import OF_WINDOWS

# ----------------------------------------------------------------------------------------- nodes


def too_many_nodes(graph: Graph, known: Scope) -> Diagnostic | None:
    """Return the problem of a graph that would expand to too many nodes.

    Args:
        graph: before expansion.
        known: the names that its expressions may use.
    """
    counting = _Counting(graph.settings.room)
    counts = [
        1 if node.op is None else max(len(node.names), counting.of_op(graph, node.op, known))
        for node in graph.nodes
    ]
    if sum(counts) <= graph.settings.room:
        return None
    most = graph.nodes[counts.index(max(counts))]
    deepest = isinstance(most.op, Repeating)
    return over(
        "nodes",
        sum(counts),
        graph.settings.room,
        f"use fewer repeats or specs: the limit is {MAX_EXPANDED:,} more nodes than are written",
        graph.where(most, ("times",) if deepest else ()),
        at_least=counting.ended,
    )


@dataclass
class _Counting:
    """Counts the nodes that ops expand to; a spec that is used often is counted once.

    Summing over the steps of a repeat stops at `most`, where the limit is exceeded in any case.
    """

    most: int
    found: dict[object, int] = field(default_factory=dict)
    ended: bool = False

    def of_op(self, graph: Graph, op: Primitive, known: Scope) -> int:
        if isinstance(op, Use):
            return self._of_use(graph, op, known)
        if not isinstance(op, Repeating):
            return 1
        times = evaluate(vars(op)["times"], known)
        if isinstance(times, (bool, str)) or times is None or times < 1:
            return 1
        counter, number = str(getattr(op, op.counter)), int(times)
        if not isinstance(op.each, (Repeating, Use)):
            return number + 1
        if counter not in _named(op.each):
            return number * self.of_op(graph, op.each, known) + 1
        total = 1
        for step in range(number):
            if total > self.most:
                self.ended = True
                break
            total += self.of_op(graph, op.each, known.within({counter: step}))
        return total

    def _of_use(self, graph: Graph, op: Use, known: Scope) -> int:
        spec = graph.spec.used.get(op.spec)
        if not isinstance(spec, Spec):
            return 1
        params: dict[str, Value | Expr] = {}
        for param, value in op.params.items():
            if param in spec.params:
                try:
                    params[param] = bind(value, known)
                except ExpressionError:
                    return 1  # a separate problem
        key = (id(spec), tuple(params.items()))
        if key not in self.found:
            axes = Axes(tuple((axis, name(axis)) for axis in spec.input))
            inner = inner_graph(spec, params, axes, AxisOrder(spec.input), graph.settings.places)
            inside = bind_params(inner, [])
            self.found[key] = 1 + sum(
                self.of_op(inner, node.op, inside) for node in inner.nodes if node.op is not None
            )
        return self.found[key]


def _named(op: Primitive) -> set[str]:
    """Return the names on which the number of nodes that an op expands to may depend."""
    if isinstance(op, Repeating):
        return set(vars(op)["times"].names) | _named(op.each)
    if isinstance(op, Use):
        return {one for value in op.params.values() for one in value.names}
    return set()


# ----------------------------------------------------------------------------------------- sizes


def too_large_sizes(graph: Graph, node: GraphNode) -> Iterator[Diagnostic]:
    """Yield the problems of a bound node with sizes too large for any machine."""
    if node.op is None:
        return
    reach: dict[str, tuple[int, YamlPath]] = {}
    for path, kind, expr in node.op.expressions():
        if kind.name != "size" or not expr.is_constant or isinstance(expr.value, str):
            continue
        size = int(expr.value)
        slides = path[-1 if isinstance(path[-1], str) else -2] in OF_WINDOWS
        if size > (limit := MAX_REACH if slides else MAX_SIZE):
            where = graph.where(node, path)
            what = "places" if slides else "values along one axis"
            yield over(what, size, limit, "choose a smaller size", where)
        elif slides and size > reach.get(str(path[0]), (0, ()))[0]:
            reach[str(path[0])] = size, path
    (kernel, _), (dilation, path) = (reach.get(f, (1, ())) for f in ("kernel", "dilation"))
    if kernel * dilation > MAX_REACH:
        way_out = "choose a smaller kernel or dilation"
        yield over("places", kernel * dilation, MAX_REACH, way_out, graph.where(node, path))


# -------------------------------------------------------------------------- parameters, elements


def too_much_memory(graph: Graph) -> Iterator[Diagnostic]:
    """Yield the problems of a graph whose values or parameters are too large for any machine."""
    known = _counted_as(graph)
    learned: dict[str, int] = {}
    asked: dict[object, int] = {}  # one entry for all nodes that are alike
    for node in graph.nodes:
        if node.op is None or node.axes is None:
            continue
        elements = prod(_number(size, known) for _, size in node.axes.sizes)
        if elements > MAX_ELEMENTS and not isinstance(node.op, Parameter):
            way_out = "pool, stride or split earlier, or choose smaller sizes"
            yield over("elements", elements, MAX_ELEMENTS, way_out, graph.where(node))
        key = node.fields, graph.reads_of(node), node.axes, node.weights in (None, node.name)
        if key not in asked:
            asked[key] = _learned(graph, node, elements, known)
        learned[node.name] = asked[key]
    total = sum(learned.values())
    if total > MAX_PARAMETERS:
        most = graph.by_name[max(learned, key=learned.__getitem__)]
        way_out = "choose smaller sizes, or share the weights"
        yield over("parameters", total, MAX_PARAMETERS, way_out, graph.where(most))


def _learned(graph: Graph, node: GraphNode, elements: int, known: Mapping[str, int]) -> int:
    """Return how many numbers a node stores: learned parameters and constant tables."""
    op = node.op
    if isinstance(op, Constant):
        return elements if all(size.is_constant for size in op.axes.values()) else 0
    if op is None or type(op).cost is Primitive.cost:
        return 0
    try:
        return node_cost(graph, node, known).parameters
    except (ComposerError, ExpressionError):  # it depends on a size that is open
        return 0


def _counted_as(graph: Graph) -> dict[str, int]:
    """Return the assumed value of each open size of the input."""
    return {**dict.fromkeys(graph.input_axes, 1), **graph.settings.planned}


def _number(size: Expr, known: Mapping[str, int]) -> int:
    if size.kind == "name":
        return known.get(str(size.value), 1)
    value = size.value if size.is_constant else evaluate(size, known)
    return max(1, int(value)) if isinstance(value, (int, float)) else 1


# ----------------------------------------------------------------------------------- expressions


def parts(exprs: Iterable[Expr]) -> int:
    """Return how many operations, names and numbers expressions have; a bare one does not count."""
    return sum(expr.parts for expr in exprs if expr.args)


def too_long(graph: Graph, node: GraphNode, total: int) -> Diagnostic:
    """Return the problem of a graph whose sizes and numbers have too many operations."""
    way_out = "let fewer params and sizes depend on one another"
    what = "operations in its sizes"
    return over(what, total, MAX_EXPRESSION_PARTS, way_out, graph.where(node))
