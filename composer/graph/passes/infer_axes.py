"""Infer the axes of every value by the rule of its primitive; used specs are expanded here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from composer.errors import Diagnostic
from composer.graph.budget import parts, too_long
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.graph.passes.use import back_again, names_inside, used_graph
from composer.graph.sizes import sizes_of
from composer.language.budget import MAX_AXES, MAX_EXPRESSION_PARTS, over
from composer.language.expressions import MAX_PARTS, Expr, constant
from composer.primitives.axes import Axes, AxisOrder
from composer.primitives.base import AxisProblem
from composer.primitives.rename import Rename
from composer.primitives.structure import Alias
from composer.primitives.use import Use


def infer_axes(graph: Graph) -> Graph:
    """Return the graph with axes on every node whose operands have them.

    New axes are appended to the memory order as they first appear.
    """
    return _inferred_all(graph, {})


#: Used specs by the axes of their value and their params: each is inferred once. The flag says
#: whether that succeeded.
_Made = dict[object, tuple[Graph, bool]]


def _inferred_all(graph: Graph, made: _Made) -> Graph:
    axes: dict[str, Axes | None] = {INPUT: graph.input_axes}
    order = _extended(graph.order, graph.input_axes)
    nodes: dict[str, tuple[GraphNode, ...]] = {}
    problems: list[Diagnostic] = []
    alike: dict[object, Axes] = {}
    room, operations = graph.settings.room - len(graph.nodes), 0

    def known(ref: Expr) -> Axes:
        found = axes[str(ref)]
        assert found is not None
        return found

    for node in graph.in_order():
        axes[node.name] = None
        nodes[node.name] = (node,)
        if node.op is None or any(axes[name] is None for name in node.operands):
            continue
        if operations > MAX_EXPRESSION_PARTS:
            continue
        try:
            new, found = _inferred(graph, node, known, order, problems, room, made, alike)
        except AxisProblem as problem:
            if node.name.split(".")[0] not in graph.unreached:
                where = graph.where(node, problem.field)
                problems.append(Diagnostic(problem.code, problem.message, problem.help, where))
            continue
        nodes[node.name] = new
        axes[node.name] = new[-1].axes
        room -= len(new) - 1
        operations += sum(parts(size for _, size in one.axes.sizes) for one in new if one.axes)
        if operations > MAX_EXPRESSION_PARTS:
            problems.append(too_long(graph, node, operations))
        order = _extended(order, (*found, *(new[-1].axes or ())))
    placed = tuple(new for node in graph.nodes for new in nodes[node.name])
    return replace(graph, nodes=placed, order=order).with_problems(problems)


def _inferred(
    graph: Graph,
    node: GraphNode,
    known: Callable[[Expr], Axes],
    order: AxisOrder,
    problems: list[Diagnostic],
    room: int,
    made: _Made,
    alike: dict[object, Axes],
) -> tuple[tuple[GraphNode, ...], tuple[str, ...]]:
    """Return the node with its axes, or the nodes of the spec it uses with itself as their output.

    Also return the axes that were added inside that spec, in memory order.

    Raises:
        AxisProblem: the axes of the operands do not fit.
    """
    assert node.op is not None
    if not isinstance(node.op, Use):
        reads = tuple([known(constant(name)) for name in node.operand_places])
        key = node.fields, reads, order  # nodes that are alike are inferred once
        if (axes := alike.get(key)) is None:
            axes = alike[key] = _of_a_length(node.op.infer(known, order))
        return (node.with_axes(axes),), ()
    if node.op.spec not in graph.spec.used:
        return (node,), ()  # it could not be read, which is already noted
    assert node.op.x is not None
    inner, is_sound = _used(graph, node.op, known, order, room, made)
    problems += inner.problems
    if not is_sound:
        return (node,), ()
    new_name = {one.name: f"{node.name}.{one.name}" for one in inner.nodes}
    names = names_inside(node.op, known)
    entries = {INPUT: node.op.x, **node.op.inputs}
    entry: list[GraphNode] = []
    for one, ref in entries.items():
        of_it = {axis: there for axis, there in names.items() if axis in known(ref)}
        if not of_it:
            new_name[one] = str(ref)
            continue
        new_name[one] = f"{node.name}.{one}"
        taken = Rename.model_construct(op="rename", x=ref, axes=of_it)
        renamed = inner.axes_of(one)
        entry.append(replace(node, name=new_name[one], op=taken, axes=renamed, weights=None))
    placed = [
        _renamed(one, inner, node, new_name) for one in inner.nodes if one.name not in entries
    ]
    output = new_name[inner.output]
    axes = inner.by_name[inner.output].axes
    result = replace(node, op=Alias(x=constant(output)), axes=axes)
    if names and axes is not None and (back := back_again(names, axes)):
        given = Rename.model_construct(op="rename", x=constant(output), axes=back)
        result = replace(node, op=given, axes=given.infer(lambda _: axes, inner.order))
    return (*entry, *placed, result), inner.order.added


def _used(
    graph: Graph,
    op: Use,
    known: Callable[[Expr], Axes],
    order: AxisOrder,
    room: int,
    made: _Made,
) -> tuple[Graph, bool]:
    """Return the graph of the spec that a node uses, and whether it is valid and has axes."""
    assert op.x is not None
    reads = tuple((name, known(ref)) for name, ref in (("x", op.x), *op.inputs.items()))
    chosen = graph.settings
    layer = tuple(sizes_of(graph).items()) if graph.spec.stands_for is not None else ()
    key = (
        id(graph.spec), op.spec, reads, tuple(op.params.items()), tuple(op.axes.items()), order,
        chosen.places, graph.is_spread, layer,
    )  # fmt: skip
    found = made.get(key)
    if found is None or len(found[0].nodes) > room:
        inner = used_graph(graph, op, known, order, room)
        found = (inner, False) if inner.errors else (_inferred_all(inner, made), True)
        made[key] = found
    return found


def _extended(order: AxisOrder, axes: Iterable[str]) -> AxisOrder:
    """Return the memory order with missing axes appended."""
    new = dict.fromkeys(axis for axis in axes if axis not in (*order.input, *order.added))
    return AxisOrder(order.input, (*order.added, *new)) if new else order


def _of_a_length(axes: Axes) -> Axes:
    """Return the axes if their number and sizes are within the limits.

    Raises:
        AxisProblem: a size has become too long an expression, as a hundred strides may make it; or
            there are more axes than torch supports.
    """
    if len(axes) > MAX_AXES:
        problem = over("axes", len(axes), MAX_AXES, "merge some of them", None)
        raise AxisProblem(problem.code, problem.message, (), problem.help)
    if long := [axis for axis, size in axes.sizes if size.is_long]:
        raise AxisProblem(
            "value-too-large",
            f"the size of the axis {long[0]!r} has more than {MAX_PARTS} operations here",
            (),
            "change it in fewer consecutive nodes",
        )
    return axes


def _renamed(one: GraphNode, inner: Graph, user: GraphNode, new_name: dict[str, str]) -> GraphNode:
    """Return a node of a used spec, renamed under the node that uses it."""
    weights = new_name[one.weights] if one.weights else None
    if user.weights:
        weights = f"{user.weights}.{one.weights or one.name}"
    return replace(
        one,
        name=new_name[one.name],
        op=one.op.redirected(new_name) if one.op is not None else None,
        source=one.source or inner.source,
        weights=weights,
    )
