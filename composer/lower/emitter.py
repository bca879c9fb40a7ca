"""Emits the fx nodes of one graph, with the provenance of each in its `meta`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from composer.errors import ComposerError, Diagnostic
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.graph.rewriting import readers
from composer.kernels.table import table
from composer.language.expressions import Expr, Value, constant, is_whole
from composer.language.operations import OPERATIONS
from composer.lower.grid import TokenAxis, needed_size
from composer.lower.mechanism import Mechanism
from composer.lower.paths import module_at
from composer.lower.provenance import mark
from composer.lower.run_time import evaluated, of_size
from composer.lower.schedule import Schedule
from composer.lower.table import Table
from composer.primitives.axes import Axes
from composer.primitives.base import AxisProblem, Primitive, whole
from composer.primitives.constant import index_of
from composer.primitives.pick import Pick

_TRACEABLE = frozenset({"constant", "name", "+", "-", "*", "/", "//", "%", "**", "negative"})


class FxEmitter:
    """The target of the primitives' lowering.

    Modules and parameters are registered under the name of their node, so that a checkpoint key is
    ``excite.fc1.weight``; fx nodes are also named after it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.root = nn.Module()
        self.fx = fx.Graph()
        self.x = self.fx.placeholder("x", type_expr=Tensor)
        tokens = graph.settings.tokens
        self.tokens = None if tokens is None else TokenAxis(graph, self.fx, tokens)
        taken = self.x if self.tokens is None else self.tokens.taken(self.x)
        self.written: dict[str, fx.Node] = {INPUT: self._of_one_size(taken)}
        self.order = tuple(graph.in_order())
        self._readers = readers(graph)
        self._sizes: dict[str, fx.Node] = {}  # of the input, cached once read
        self._shared: dict[tuple[Any, ...], fx.Node] = {}
        self._passed_by: dict[fx.Node, None] = {}  # permutes whose input was sliced instead
        self._node: GraphNode | None = None

    def write(self, node: GraphNode) -> None:
        """Emit one node of the graph.

        Raises:
            ComposerError: it needs a size that is not known.
        """
        self._node = node
        assert node.op is not None
        try:
            node.op.need_known()
            self.written[node.name] = node.op.lower(self)
        except AxisProblem as problem:
            where = self.graph.where(node, problem.field)
            raise ComposerError(
                Diagnostic(problem.code, problem.message, problem.help, where)
            ) from None

    def end(self) -> None:
        """Make the graph's output the value of the graph."""
        y = self.written[self.graph.output]
        for permuted in self._passed_by:
            if permuted is not y and not permuted.users:
                self.fx.erase_node(permuted)
        self.fx.output(y if self.tokens is None else self.tokens.given(self.x, y), type_expr=Tensor)

    def finish(self, name: str) -> fx.GraphModule:
        """Return the module that gives the graph's output."""
        self.end()
        self.fx.lint()
        return Mechanism(self.root, self.fx, class_name=name)

    @property
    def here(self) -> Expr:
        """The node being lowered, as a reference."""
        assert self._node is not None
        return constant(self._node.name)

    @property
    def as_written(self) -> Primitive | None:
        """The op of the node being lowered as written in the spec, before binding."""
        assert self._node is not None
        return self._node.written

    def axes(self, ref: Expr) -> Axes:
        """Return the axes of an operand, or of the node being lowered."""
        axes = self.graph.axes_of(str(ref.value))
        assert axes is not None
        return axes

    def node(self, ref: Expr) -> fx.Node:
        """Return the fx node of an operand."""
        return self.written[str(ref.value)]

    def size(self, size: Expr) -> int | fx.Node:
        """Return a size if it is known, else emit its computation from the input's sizes.

        Raises:
            AxisProblem: it depends on more than the input's sizes.
        """
        whole_size = size if size.is_constant or is_whole(size) else Expr("floor", 0, (size,))
        value = self.number(whole_size)
        return value if isinstance(value, fx.Node) else int(value)

    def number(self, number: Expr) -> Value | fx.Node:
        """Return a number if it is known, else emit its computation from the input's sizes.

        Raises:
            AxisProblem: it depends on more than the input's sizes.
        """
        if number.is_constant:
            return number.value
        if not number.names <= set(self.graph.input_axes):
            whole(number)
        return self._computed(number)

    def _computed(self, number: Expr) -> Value | fx.Node:
        """Emit an expression whose names are all sizes of the input.

        Each operation is a node, except what fx can't trace again, such as a conditional.
        """
        if number.is_constant:
            return number.value
        if number.kind == "name":
            return self._read(str(number.value))
        if any(part.kind not in _TRACEABLE for part in number.walk()):
            sizes = {name: self._read(name) for name in sorted(number.names)}
            return self.function(evaluated, _tree(number), **sizes)
        return self.function(OPERATIONS[number.kind], *map(self._computed, number.args))

    def _read(self, axis: str) -> fx.Node:
        """Emit one read of an open size of the input, shared by everything that depends on it."""
        if axis not in self._sizes:
            where = self.graph.input_axes.index(axis)
            self._sizes[axis] = self.method("size", self.written[INPUT], where)
        return self._sizes[axis]

    def _of_one_size(self, x: fx.Node) -> fx.Node:
        """Emit a check of the input's size, if the module is lowered for one size only."""
        if (size := needed_size(self.graph)) is None:
            return x
        of_map = (*self.graph.settings.places, "n")
        places = [axis for axis in of_map if axis in self.graph.input_axes]
        axes = tuple(map(self.graph.input_axes.index, places))[: len(size)]
        taken: tuple[Any, ...] = (x, axes, size, self.graph.spec.name)
        if len(size) == len(self.graph.settings.places) == 1 and "n" not in places:
            taken = (*taken, "places")
        node = self.fx.create_node("call_function", of_size, taken, {}, name="input_of_size")
        mark(node, self.graph)
        return node

    def function(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Emit a call of a function."""
        return self._create("call_function", target, target.__name__, args, kwargs)

    def method(self, target: str, *args: Any, **kwargs: Any) -> fx.Node:
        """Emit a call of a tensor's method."""
        return self._create("call_method", target, target, args, kwargs)

    def module(self, local: str, module: nn.Module, x: fx.Node) -> fx.Node:
        """Emit a call of a module that is registered under this node's name.

        Raises:
            AxisProblem: it shares the weights of an earlier node whose module is different.
        """
        keeper = self._keeper if module.state_dict() else self._name
        path = f"{keeper}.{local}"
        owner, name = self._place(path)
        if hasattr(owner, name):  # it shares the weights of an earlier node
            self._need_same(str(getattr(owner, name)), str(module))
        else:
            owner.add_module(name, module)
        return self._create("call_module", path, local, (x,), {})

    def parameter(self, tensor: Tensor, local: str | None = None) -> fx.Node:
        """Emit a read of a parameter with this node's name, or of its attribute `local`.

        One without axes is stored with one element, because sharded training takes no scalars.
        """
        path = f"{self._keeper}.{local}" if local else self._keeper
        owner, name = self._place(path)
        if hasattr(owner, name):
            kept = getattr(owner, name)
            self._need_same(f"{[*kept.shape]}", f"{[*(tensor.shape or (1,))]}")
        else:
            owner.register_parameter(name, nn.Parameter(tensor.reshape(tensor.shape or (1,))))
        node = self._create("get_attr", path, local or "value", (), {})
        return node if tensor.dim() else self.method("squeeze", node, 0)

    def _need_same(self, first: str, this: str) -> None:
        """Refuse a layer that shares the weights of a different layer.

        Raises:
            AxisProblem: code ``invalid-value``.
        """
        if first == this:
            return
        raise AxisProblem(
            "invalid-value",
            f"{self._name!r} shares the weights of {self._keeper!r}, but is {this}, not {first}",
            (),
            "make each step the same layer, or omit 'shared'",
        )

    def schedule(self, begin: float, end: float, steps: int) -> fx.Node:
        """Emit a read of a number that `composer.lower.schedule.advance` changes."""
        owner, name = self._place(self._keeper)
        if not hasattr(owner, name):
            owner.add_module(name, Schedule(begin, end, steps))
        return self._create("call_module", self._keeper, "value", (), {})

    def table(self, value: Expr, axes: Axes) -> fx.Node:
        """Emit a table of constants: stored, or computed from open sizes.

        Raises:
            AxisProblem: it is undefined somewhere, or depends on more than the input's sizes.
        """
        names = tuple(map(index_of, axes))
        lengths = tuple(self.size(size) for _, size in axes.sizes)
        open_names = sorted(value.names - set(names))
        sizes = {name: self.number(Expr("name", name)) for name in open_names}
        tree = _tree(value)
        if sizes or any(isinstance(length, fx.Node) for length in lengths):
            return self.function(table, self.written[INPUT], tree, names, lengths, **sizes)
        path = f"{self._name}.table"
        owner, local = self._place(path)
        owner.add_module(local, Table(value, tree, axes))
        return self._create("call_module", path, local, (), {})

    def given(self) -> fx.Node:
        """Emit this node's value as an additional input of the module."""
        with self.fx.inserting_after(list(self.fx.find_nodes(op="placeholder"))[-1]):
            return self.fx.placeholder(self._name, type_expr=Tensor)

    def arrange(self, x: fx.Node, have: tuple[str, ...], want: tuple[str, ...]) -> fx.Node:
        """Emit a permute and unsqueeze from one order of axes to another; new axes have size 1.

        A value without axes broadcasts without this.
        """
        if not have:
            return x
        shared = tuple(axis for axis in want if axis in have)
        if shared != have:
            x = self.method("permute", x, *(have.index(axis) for axis in shared))
        for position, axis in enumerate(want):
            if axis not in have:
                x = self.method("unsqueeze", x, position)
        return x

    def spread(self, ref: Expr, want: tuple[str, ...]) -> fx.Node:
        """Emit the conversion of an operand to the wanted axes, in one step if they are adjacent.

        No size of the operand is fixed, so that it works after pruning.
        """
        have = self.axes(ref).names
        around = _around_one(have, want) if len(want) - len(have) > 1 else None
        if around is None:
            return self.arrange(self.node(ref), have, want)
        axis, sizes = around
        return self.method("unflatten", self.node(ref), have.index(axis), sizes)

    def slices(self, ref: Expr, axis: str) -> tuple[fx.Node, tuple[int, ...]] | None:
        """Emit all slices of an operand along an axis, if several nodes pick some of them.

        Also return the order into which to bring the axes of each: they are taken before a permute,
        so that the gradient, which stacks them again, has the memory layout of the value.
        """
        name, axes = str(ref.value), self.axes(ref)
        picks = [it for it in self._readers[name] if isinstance(it.op, Pick) and it.op.axis == axis]
        if len(picks) < 2 or not axes[axis].is_constant:
            return None
        value, order = self.written[name], tuple(range(len(axes)))
        if value.op == "call_method" and value.target == "permute":
            self._passed_by[value] = None
            order = tuple(int(str(place)) for place in value.args[1:])
            (value,) = value.all_input_nodes
        where = order[axes.index(axis)]
        slices = self.once(("unbind", name, axis), lambda: self.method("unbind", value, where))
        rest = (place for place in order if place != where)
        return slices, tuple(place - (place > where) for place in rest)

    def once(self, key: tuple[Any, ...], write: Callable[[], fx.Node]) -> fx.Node:
        """Return what `write` emitted for the first of the nodes that share a key."""
        if key not in self._shared:
            self._shared[key] = write()
        return self._shared[key]

    def is_spent(self, ref: Expr) -> bool:
        """Return whether an operand is the module's own new tensor, and last read here.

        The output of a layer is not: hooks may keep it.
        """
        name = str(ref.value)
        if name == INPUT or name == self.graph.output:
            return False
        node, readers = self.graph.by_name[name], self._readers[name]
        made = [it.op for it in (node, *readers)]
        if readers[-1] is not self._node or node.op is None or node.op.draws_weights:
            return False
        return all(op is not None and op.makes_anew for op in made)

    @property
    def _name(self) -> str:
        assert self._node is not None
        return self._node.name

    @property
    def _keeper(self) -> str:
        """The node that owns the weights: this one, unless it shares another's."""
        assert self._node is not None
        return self._node.weights or self._node.name

    def _place(self, path: str) -> tuple[nn.Module, str]:
        """Return the module that holds the attribute at a path, and the attribute's name."""
        parent, _, name = path.rpartition(".")
        return module_at(self.root, parent), name

    def _create(
        self, op: str, target: Any, what: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> fx.Node:
        node = self.fx.create_node(op, target, args, kwargs, name=f"{self._name}_{what}")
        mark(node, self.graph, self._node)
        return node


def _tree(number: Expr) -> Any:
    """Return an expression as nested tuples of an operation and its arguments."""
    return (number.kind, *map(_tree, number.args)) if number.args else number.value


def _around_one(have: tuple[str, ...], want: tuple[str, ...]) -> tuple[str, tuple[int, ...]] | None:
    """Return the axis next to which all missing axes go, and the sizes of it and them."""
    if have != tuple(axis for axis in want if axis in have):
        return None
    missing = [place for place, axis in enumerate(want) if axis not in have]
    first, last = missing[0], missing[-1]
    there = [axis for axis in want[first : last + 1] if axis in have]
    if not there and have:
        first, last = (first - 1, last) if first else (first, last + 1)
        there = [want[first] if first < missing[0] else want[last]]
    if len(there) != 1:
        return None
    sizes = (-1 if axis == there[0] else 1 for axis in want[first : last + 1])
    return there[0], tuple(sizes)
