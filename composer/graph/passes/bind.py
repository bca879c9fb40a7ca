"""Substitute params and sizes into every expression, and fold constants.

A node that stands for several, such as `branch`, is expanded here, because its parts have their own
names. What the output does not reach under these params need not have a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from composer.errors import Diagnostic, listing, suggestion
from composer.graph.budget import parts, too_large_sizes, too_long, too_many_nodes
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.graph.params import bind_params, check_words, clashes, unused_params
from composer.graph.places import node_at_places, refusal, written_name
from composer.graph.reach import unreached_nodes
from composer.graph.scope import Scope, all_known, node_instead
from composer.graph.sizes import sizes_of
from composer.language import expressions
from composer.language.budget import CODE, MAX_EXPRESSION_PARTS
from composer.language.expressions import Expr, ExpressionError, leaves
from composer.language.fields import Kind
from composer.language.source import YamlPath
from composer.primitives.base import AxisProblem, refers, replaced
from composer.primitives.structure import Part, Repeating, Structure

#: Problems that depend on the values of params and sizes, and so on whether a node is reached.
OF_VALUES = frozenset({
    "size-too-small", "invalid-value", "no-value", "division-by-zero", "value-too-large",
    "does-not-divide", "open-choice", "two-dimensional", CODE,
})  # fmt: skip


def bind(graph: Graph) -> Graph:
    """Return the graph with every expression bound; a node that cannot be bound has no op."""
    problems = clashes(graph)
    known = bind_params(graph, problems)
    graph = replace(graph, output=_output(graph, known, problems))
    unreached = unreached_nodes(graph, lambda ref: _named(ref, known))
    nodes: dict[str, GraphNode] = {}
    if (excess := too_many_nodes(graph, known)) is not None:
        return _none_bound(graph, unreached, [*problems, excess])
    operations = 0
    for node in graph.nodes:
        found: list[Diagnostic] = []
        for bound in _bind_all(graph, node, known, found):
            nodes.setdefault(bound.name, bound)
            operations += 0 if bound.op is None else parts(e for *_, e in bound.op.expressions())
            if operations > MAX_EXPRESSION_PARTS:
                excess = too_long(graph, node, operations)
                return _none_bound(graph, unreached, [*problems, excess])
        lenient = unreached.issuperset(node.names)
        problems += [p for p in found if not (lenient and p.code in OF_VALUES)]
    if not (problems or graph.errors):  # a faulty node may be the one that reads it
        problems = unused_params(graph)
    graph = replace(graph, nodes=tuple(nodes.values()), unreached=unreached)
    return graph.with_problems(problems)


def _none_bound(graph: Graph, unreached: frozenset[str], problems: list[Diagnostic]) -> Graph:
    """Return the graph, which exceeds a limit, without ops on which later checks could report."""
    nodes = tuple(replace(node, op=None) for node in graph.nodes)
    return replace(graph, nodes=nodes, unreached=unreached).with_problems(problems)


def _output(graph: Graph, known: Scope, problems: list[Diagnostic]) -> str:
    """Return the name of the output, which may depend on params."""
    written = graph.spec.output
    if written is None or graph.settings.part == "shared":
        return graph.output
    nodes = [name for node in graph.nodes for name in node.names]
    known_here = {*nodes, INPUT, *graph.spec.params}
    try:
        for leaf in leaves(written):  # a branch that is not taken is also checked
            if leaf.kind == "name" and leaf.value not in known_here:
                message = f"no node named {str(leaf)!r}"
                stretch = (leaf.start, len(str(leaf)))
                way_out = suggestion(str(leaf), nodes, "Nodes")
                raise ExpressionError("unknown-node", message, *stretch, way_out)
        return str(_settle(written, Kind("node"), known, "output"))
    except ExpressionError as failure:
        where = graph.source.within(("output",), failure.start, failure.length)
        problems.append(Diagnostic(failure.code, failure.message, failure.help, where))
        return graph.nodes[-1].name


def _named(ref: Expr, known: Scope) -> set[str]:
    """Return the node that a reference names under these params, or all candidates."""
    try:
        return {str(_settle(ref, Kind("node"), known, ""))}
    except ExpressionError:
        return {str(leaf) for leaf in leaves(ref)}


def _bind_all(
    graph: Graph, node: GraphNode, known: Scope, problems: list[Diagnostic]
) -> Iterator[GraphNode]:
    """Yield the bound node, or the nodes that it expands to."""
    if node.op is None or (len(node.names) > 1 and not isinstance(node.op, Structure)):
        yield from (replace(node, name=name, op=None) for name in node.names)
        return
    if isinstance(node.op, Repeating) and (clash := _counter_clash(graph, node, node.op)):
        problems.append(clash)
        yield replace(node, op=None)
        return
    node = node_at_places(graph, node, problems)
    bound = node if node.op is None else _bind_node(graph, node, known, problems)
    if not isinstance(bound.op, Structure):
        large = [*too_large_sizes(graph, bound)]
        problems += large
        yield bound.with_op(None) if large else bound
        return
    try:
        made = bound.op.parts(node.name)
    except AxisProblem as problem:
        where = graph.where(node, problem.field)
        problems.append(Diagnostic(problem.code, problem.message, problem.help, where))
        yield from (replace(node, name=name, op=None) for name in node.names)
        return
    first: GraphNode | None = None
    alike = _steps_alike(bound.op)
    for part in made:
        path = (*node.path, *part.path)
        if first is not None and part.path and (step := _another(first, node, part)):
            yield step
            continue
        inside = replace(
            node, name=part.name, op=part.op, written=part.op, path=path,
            weights=_weights_of(node, part),
        )  # fmt: skip
        if part.bound:  # a name in it may mean something else here, such as an axis of a used spec
            yield inside
            continue
        steps = [*_bind_all(graph, inside, known.within(part.names), problems)]
        if alike and len(steps) == 1 and steps[0].name == part.name:
            first = steps[0]
        yield from steps


def _steps_alike(op: Structure) -> bool:
    """Return whether each step of a repeat is a single op, independent of the step number."""
    if not isinstance(op, Repeating) or isinstance(op.each, Structure):
        return False
    counter = str(getattr(op, op.counter))
    return all(counter not in expr.names for *_, expr in op.each.every_expression())


def _another(first: GraphNode, node: GraphNode, part: Part) -> GraphNode | None:
    """Return a step bound like the first one, from which only its operand differs.

    None if it has to be bound separately.
    """
    reads = part.op.x  # type: ignore[attr-defined]  # `each` of a repeat has it
    if first.op is None or first.written is None or reads.kind not in ("name", "constant"):
        return None
    x = reads if reads.is_constant else replace(reads, kind="constant")
    step = replace(
        first, name=part.name, op=first.op.model_copy(update={"x": x}),
        written=first.written.model_copy(update={"x": reads}), weights=_weights_of(node, part),
    )  # fmt: skip
    vars(step)["fields"] = first.fields  # x is not among them
    return step


def _weights_of(node: GraphNode, part: Part) -> str | None:
    """Return the node whose weights a part has; for a node that shares weights, the same part."""
    if node.weights is None:
        return part.weights
    return node.weights + (part.weights or part.name).removeprefix(node.name)


def _counter_clash(graph: Graph, node: GraphNode, op: Repeating) -> Diagnostic | None:
    """Return a problem if the name of the counter already means something else."""
    name = str(getattr(op, op.counter))
    if name == INPUT:
        whose = "the input"
    elif name in graph.spec.params:
        whose = "a param"
    elif name in sizes_of(graph):
        whose = "a size"
    else:
        return None
    message = f"{op.counter} {name!r} numbers each {op.op}, but is also the name of {whose}"
    where = graph.where(node, (op.counter,))
    return Diagnostic("name-clash", message, f"choose another name: '{op.counter}: …'", where)


def _bind_node(
    graph: Graph, node: GraphNode, known: Scope, problems: list[Diagnostic]
) -> GraphNode:
    assert node.op is not None
    new: dict[YamlPath, Expr] = {}
    faulty = False
    for path, kind, expr in node.op.expressions():
        here = known.indexed(indices) if (indices := node.op.indices(path)) else known
        try:
            if expr.args:
                check_words(graph, expr)
                if kind.name == "operand":
                    _check_numbers(graph, expr, known)
            if (settled := _settle(expr, kind, here, str(path[-1]))) is not expr:
                new[path] = settled
        except ExpressionError as failure:
            faulty = True
            if failure.code == "open-choice" and expr.names & graph.broken_params:
                continue  # the fault is in the param
            where = graph.within(node, path, failure.start, failure.length)
            said = failure.message, failure.help or _given(expr, here)
            message, way_out = node_instead(graph, path, expr, kind, failure) or said
            problems.append(Diagnostic(failure.code, message, way_out, where))
    if faulty:
        return node.with_op(None)
    bound = replaced(node.op, new)
    if graph.is_spread and (why := bound.flat()) is not None:
        field, said = why
        problems.append(refusal(graph, f"{written_name(node)!r} {said}", node, field))
        return node.with_op(None)
    return node.with_op(bound)


def _check_numbers(graph: Graph, operand: Expr, known: Scope) -> None:
    """Refuse ``gate * 2`` as an operand: expressions take numbers, and `gate` is a node.

    Raises:
        ExpressionError: code ``not-a-number``.
    """
    if operand.kind in ("name", "constant"):
        return
    tests = [part.args[0] for part in operand.walk() if part.kind == "if"]
    for inside in (*tests, *(leaf for leaf in leaves(operand) if leaf.args)):
        for name in sorted(inside.names & graph.names - known.keys()):
            message = f"{name!r} is a node, and expressions take only numbers, sizes and params"
            way_out = f"write a node for {inside}, such as twice: {{op: mul, of: [{name}, 2]}}"
            raise ExpressionError("not-a-number", message, inside.start, inside.length, way_out)


def _settle(expr: Expr, kind: Kind, known: Scope, field: str) -> Expr:
    """Return `expr` bound: a constant, or an expression over the sizes that are still open."""
    if kind.name == "node":
        if not expr.args:
            return _word(str(expr.value), expr)
        chosen = _chosen(expr, known)
        bound = expressions.bind(chosen, {} if chosen.kind == "name" else known)
        return _settled_word(bound, kind, expr)
    if kind.name == "operand":
        return _settled_operand(expr, known, field)
    if kind.name == "setting":
        if expr.kind == "name" and expr.value not in known:
            return replace(expr, kind="constant")  # a word, which may be a choice of the param
        return all_known(expressions.bind(expr, known), known, "Known here")
    if kind.name == "word":
        if not expr.args and expr.value in kind.words and expr.value not in known:
            return _word(str(expr.value), expr)
        for leaf in leaves(expr):  # a branch that is not taken is also checked
            if leaf.kind == "name" and leaf.value not in known:
                _settled_word(leaf, kind, leaf)
        chosen = _chosen(expr, known)
        bare = chosen.kind == "name" and chosen.value in kind.words
        bound = chosen if bare else expressions.bind(chosen, known)
        return _settled_word(bound, kind, expr)
    bound = expr
    if expr.kind != "constant":
        bound = all_known(expressions.bind(expr, known), known, "Known here")
    if bound.is_constant and (refusal := kind.refusal(bound.value)):
        raise _misfit(expr, bound, kind, known, field, refusal)
    if kind.name == "size" and bound.is_constant and type(bound.value) is not int:
        return replace(bound, value=int(bound.value))
    return bound


def _settled_operand(expr: Expr, known: Scope, field: str) -> Expr:
    """Return an operand as a node or a number; `connect` reports a name that is neither.

    Raises:
        ExpressionError: it is a word, or the choice depends on an open size.
    """
    if expr.kind == "name" and expr.value not in known:
        return replace(expr, kind="constant")
    bound = expressions.bind(expr, known)
    if refers(bound):
        if refers(expr):
            return _settled_word(_chosen(bound, known), Kind("node"), expr)
        message = f"expected a node or a number, but {expr} is the word {bound}"
        raise ExpressionError("invalid-value", message, expr.start, expr.length)
    return _settle(expr, Kind("number"), known, field)


def _chosen(expr: Expr, known: Scope) -> Expr:
    """Return the chosen word or node, not bound: a node may have the name of a size.

    While a stand-in has no convolution yet, the choice is the one for a generic convolution.
    """
    while expr.kind == "if":
        test = expressions.bind(expressions.bind(expr.args[0], known), known.general)
        if not test.is_constant:
            return expr
        expr = expr.args[1] if test.value else expr.args[2]
    return expr


def _word(value: str, written: Expr) -> Expr:
    """Return a word, with the stretch of what is written there."""
    length = max(written.length, len(str(written.value)))
    if written.is_constant and written.value == value and written.length == length:
        return written
    return Expr("constant", value, (), written.start, length)


def _settled_word(bound: Expr, kind: Kind, written: Expr) -> Expr:
    stretch = (written.start, max(written.length, len(str(written.value))))
    if bound.kind == "if":
        open_names = listing(sorted(bound.args[0].names))
        raise ExpressionError(
            "open-choice",
            f"this depends on {open_names}, which is not known before the module is built",
            *stretch,
            "a choice between words or nodes may depend only on params",
        )
    if bound.kind not in ("name", "constant"):
        way_out = "name a node, or 'input'" if kind.name == "node" else None
        raise ExpressionError("invalid-value", f"{written} is not a {kind.name}", *stretch, way_out)
    value = str(bound.value)
    if kind.name == "word" and (refusal := kind.refusal(value)):
        message, way_out = refusal
        raise ExpressionError("unknown-word", message, *stretch, way_out)
    return Expr("constant", value, (), *stretch)


def _given(expr: Expr, known: Scope) -> str | None:
    """Return the values of an expression's names: ``here c = 8, reduction = 16``."""
    values = {n: known.get(n, n) for n in sorted(expr.names)}
    given = ", ".join(f"{n} = {v}" for n, v in values.items() if str(v) != n)
    return f"here {given}" if given else None


def _misfit(
    expr: Expr,
    bound: Expr,
    kind: Kind,
    known: Scope,
    field: str,
    refusal: tuple[str, str | None],
) -> ExpressionError:
    message, way_out = refusal
    stretch = (expr.start, expr.length)
    if kind.name == "size" and expr.kind == "/" and isinstance(bound.value, float):
        left, right = (expressions.bind(arg, known) for arg in expr.args)
        shown = [
            str(value) if arg.is_constant else f"{arg} = {value}"
            for arg, value in zip(expr.args, (left, right), strict=True)
        ]
        said = f"{shown[1]} does not divide {shown[0]}"
        way_out = f"choose a value of {expr.args[1]} that divides {left}"
        if expr.args[1].is_constant:
            way_out = f"choose other params, so that {expr} is a whole number"
        return ExpressionError("does-not-divide", said, *stretch, way_out)
    if kind.name != "size" or isinstance(bound.value, (bool, str)) or bound.value >= kind.low:
        return ExpressionError("invalid-value", message, *stretch, _given(expr, known) or way_out)
    given = _given(expr, known)
    said = f"{field} is {expr} = {bound}" if given else f"{field} is {bound}"
    said += f", and a size must be at least {kind.low}"
    if given:
        floor = "" if expr.kind == "max" else f", or write max({expr}, {kind.low})"
        way_out = f"{given}; choose other params{floor}"
    return ExpressionError("size-too-small", said, *stretch, way_out)
