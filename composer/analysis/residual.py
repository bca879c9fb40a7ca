"""Where a block's residual branch ends: the last add whose operands both come from its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from composer.analysis.paths import is_inside
from composer.analysis.recording import numbered
from composer.analysis.traces import Forward
from composer.analysis.weight_layers import calls_inserted, changes_nothing, layers_of
from composer.errors import listing

_JOINS = ("cat", "concat", "concatenate")
_ADDS = ("add", "add_", "__radd__", "sub", "sub_", "__rsub__")


@dataclass(frozen=True)
class Branch:
    """Where a residual branch ends: its last node, and the nodes that read it there.

    `add` is the residual add, or None where the block has no skip and is all branch;
    `of` counts the residual branches of the block up to this one.
    """

    end: fx.Node
    readers: tuple[fx.Node, ...]
    add: fx.Node | None
    of: int = 1


class NoSuchBranch(Exception):  # noqa: N818 - a finding, which the plan reports
    """A block without the requested residual branch; the message says which there are."""


def branch_ends(
    module: nn.Module, forward: Forward, index: int | None = None, which: str | None = None
) -> tuple[Branch, Branch] | None:
    """Return where the residual branch ends, in training and in evaluation mode.

    What only training adds after the branch, such as drop path written out in the forward, stays
    after the insertion: the end is the same value in both modes where both have it.

    Args:
        module: the block.
        forward: its forward.
        index: the index of its value in the output, if that is a tuple.
        which: of several branches, the number of one from 1, or a child in it; by default the
            last.

    Raises:
        NoSuchBranch: there is no such branch.
    """
    training = branch_end(module, forward.training, index, which)
    evaluation = branch_end(module, forward.evaluation, index, which)
    if training is None or evaluation is None:
        return None
    numbers: dict[str, int] = {}
    number = numbered(forward.evaluation, numbers)[evaluation.end]
    for node, its in numbered(forward.training, numbers).items():
        if its == number and node is not training.end and node in _ancestors(training.end):
            on_the_way = {training.end, *training.readers} | _ancestors(training.end)
            readers = tuple(user for user in node.users if user in on_the_way)
            return Branch(node, readers, training.add, training.of), evaluation
    return training, evaluation


def returned(graph: fx.Graph, index: int | None) -> fx.Node | None:
    """Return the output of a forward, or its item at an index of a tuple.

    None where the forward does not build that tuple itself.
    """
    value: Any = next(node for node in graph.nodes if node.op == "output").args[0]
    if index is not None:
        value = value[index] if isinstance(value, (tuple, list)) and index < len(value) else None
    return value if isinstance(value, fx.Node) else None


def branch_end(
    module: nn.Module, graph: fx.Graph, index: int | None = None, which: str | None = None
) -> Branch | None:
    """Return where the residual branch of a forward ends.

    The residual add is the last one whose operands both come from the block's input, with no
    layer of weights after it except inserted ones. The operand with more layers of weights is the
    branch; None where both have as many. Dropout and drop path at the end of the branch stay
    after the insertion, as in the papers' code. A block without such an add is all branch.

    Raises:
        NoSuchBranch: there is no branch `which`.
    """
    output = next(node for node in graph.nodes if node.op == "output")
    value = returned(graph, index)
    if value is None:
        return None
    last = _without_layers_behind(module, value)
    adds = (node for node in last if _adds_two_of_the_input(node))
    add = next((node for node in adds if _all_comes_by(node, value)), None)
    if which is not None:
        add = _chosen(add, which)
    if add is None:
        return _before_dropout(module, value, output, None)
    left, right = _operands(add)
    layers = _own_layers(module, left, right), _own_layers(module, right, left)
    if layers[0] == layers[1]:
        return None
    found = _before_dropout(module, left if layers[0] > layers[1] else right, add, add)
    return Branch(found.end, found.readers, add, 1 if which else len(_adds_up_to(add)))


def ends_beside_input(
    module: nn.Module, forward: Forward, index: int | None = None
) -> tuple[Branch, Branch] | None:
    """Return where a block's new value ends, in both modes, if its output includes its input.

    As in a dense layer: ``cat([x, new])``.
    """
    training = _beside_input(module, forward.training, index)
    evaluation = _beside_input(module, forward.evaluation, index)
    return None if training is None or evaluation is None else (training, evaluation)


def _beside_input(module: nn.Module, graph: fx.Graph, index: int | None) -> Branch | None:
    value = returned(graph, index)
    if value is None or getattr(value.target, "__name__", "") not in _JOINS:
        return None
    given = next(node for node in graph.nodes if node.op == "placeholder")
    others = [node for node in value.all_input_nodes if node is not given]
    if given not in value.all_input_nodes or len(others) != 1 or given not in _ancestors(others[0]):
        return None
    return _before_dropout(module, others[0], value, value)


def takes_two_ways(node: fx.Node) -> bool:
    """Return whether a step calls a child with several values derived from the input."""
    given = set(node.graph.find_nodes(op="placeholder"))
    ways = [way for way in node.all_input_nodes if given & (_ancestors(way) | {way})]
    return node.op == "call_module" and len(ways) > 1


def adds_two_values(add: fx.Node) -> bool:
    """Return whether an add is of two values derived from different inputs."""
    made_of = [
        {node for node in {operand, *_ancestors(operand)} if node.op == "placeholder"}
        for operand in _operands(add)
    ]
    return made_of[0].isdisjoint(made_of[1])


def joins_ways(graph: fx.Graph, child: str) -> bool:
    """Return whether a forward concatenates a child's output with what bypasses the child."""
    after: set[fx.Node] = set()
    from_input: set[fx.Node] = set()
    for node in graph.nodes:
        inputs = node.all_input_nodes
        if node.op == "placeholder" or not from_input.isdisjoint(inputs):
            from_input.add(node)
        called = node.op == "call_module" and is_inside(child, str(node.target))
        if called or not after.isdisjoint(inputs):
            after.add(node)
        ways = [way for way in inputs if way in from_input]
        joins = getattr(node.target, "__name__", "") in _JOINS and node in after
        if joins and any(way not in after for way in ways):
            return True
    return False


def branches(module: nn.Module, graph: fx.Graph, index: int | None = None) -> list[list[str]]:
    """Return the children in each residual branch of a forward, in the order of the adds."""
    last = branch_end(module, graph, index)
    adds = _adds_up_to(last.add) if last is not None and last.add is not None else []
    return [_children_in_the_branch(add) for add in adds]


def _adds_up_to(add: fx.Node) -> list[fx.Node]:
    """Return the residual adds of a block in the order they run, the last of which is `add`."""
    before = _ancestors(add)
    earlier = [
        node
        for node in add.graph.nodes
        if node in before and _adds_two_of_the_input(node) and _all_comes_by(node, add)
    ]
    return [*earlier, add]


def _chosen(last: fx.Node | None, which: str) -> fx.Node:
    """Return the residual add of one branch.

    Raises:
        NoSuchBranch: there is no such branch.
    """
    adds = _adds_up_to(last) if last is not None else []
    inside = [_children_in_the_branch(add) for add in adds]
    for number, (add, children) in enumerate(zip(adds, inside, strict=True), start=1):
        if which == str(number) or which in children:
            return add
    shown = [f"{n} ({', '.join(children)})" for n, children in enumerate(inside, start=1)]
    raise NoSuchBranch(f"it has no residual branch {which!r}, but {listing(shown) or 'none'}")


def _children_in_the_branch(add: fx.Node) -> list[str]:
    left, right = _operands(add)
    mine = _ancestors(left) ^ _ancestors(right) ^ {left, right}
    called = [n for n in add.graph.nodes if n in mine and n.op == "call_module"]
    return list(dict.fromkeys(str(n.target).partition(".")[0] for n in called))


def _without_layers_behind(module: nn.Module, value: fx.Node) -> list[fx.Node]:
    """Return what a value is made of, the last first, up to the layers of weights."""
    found: list[fx.Node] = [value]
    needed = _ancestors(value) | {value}
    behind = set() if layers_of(module, value) and not calls_inserted(module, value) else {value}
    for node in reversed(value.graph.nodes):
        users = [user for user in node.users if user in needed]
        if users and all(user in behind for user in users):
            found.append(node)
            if not layers_of(module, node) or calls_inserted(module, node):
                behind.add(node)
    return found


def _all_comes_by(node: fx.Node, value: fx.Node) -> bool:
    """Return whether a value depends on the block's input only through a node.

    A sum that is then joined with others, as in an Inception block, is not a residual add.
    """
    first = next(n for n in node.graph.nodes if n.op == "placeholder")
    waiting, seen = [value], {node}
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        if current is first:
            return False
        seen.add(current)
        waiting.extend(current.all_input_nodes)
    return True


def _operands(node: fx.Node) -> list[Any]:
    """Return the operands of an add, however it is written."""
    named = [node.kwargs[key] for key in ("input", "other") if key in node.kwargs]
    return [*node.args[:2], *named][:2]


def _adds_two_of_the_input(node: fx.Node) -> bool:
    if node.op != "call_function" or getattr(node.target, "__name__", "") not in _ADDS:
        return False
    operands = _operands(node)
    if len(operands) != 2 or operands[0] is operands[1]:
        return False
    return all(
        isinstance(o, fx.Node) and any(n.op == "placeholder" for n in _ancestors(o) | {o})
        for o in operands
    )


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found: set[fx.Node] = set()
    waiting = list(node.all_input_nodes)
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(current.all_input_nodes)
    return found


def _own_layers(module: nn.Module, node: fx.Node, other: fx.Node) -> int:
    mine = (_ancestors(node) | {node}) - (_ancestors(other) | {other})
    return sum(layers_of(module, n) for n in mine)


def _before_dropout(
    module: nn.Module, node: fx.Node, reader: fx.Node, add: fx.Node | None
) -> Branch:
    """Step back over what changes nothing in evaluation mode: dropout, drop path, identity."""
    while len(node.all_input_nodes) == 1 and changes_nothing(module, node):
        node, reader = node.all_input_nodes[0], node
    return Branch(node, (reader,), add)
