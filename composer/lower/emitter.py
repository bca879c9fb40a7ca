"""Writes the fx nodes of one graph, with the provenance of each in its `meta`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from composer.errors import ComposerError, Diagnostic
from composer.graph.graph import INPUT, Graph, GraphNode
from composer.graph.rewriting import readers
from composer.language.expressions import Expr, constant
from composer.lower.grid import TokenAxis
from composer.lower.mechanism import Mechanism
from composer.lower.paths import module_at
from composer.lower.schedule import Schedule
from composer.primitives.axes import Axes
from composer.primitives.base import AxisProblem, whole
from composer.primitives.pick import Pick


class FxEmitter:
    """What the primitives write their lowering to.

    Modules and parameters live under the name of the node that draws them, so that a checkpoint
    reads ``excite.fc1.weight``; fx nodes are named after it too.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.root = nn.Module()
        self.fx = fx.Graph()
        self.x = self.fx.placeholder("x", type_expr=Tensor)
        tokens = graph.settings.tokens
        self.tokens = None if tokens is None else TokenAxis(graph, self.fx, tokens)
        taken = self.x if self.tokens is None else self.tokens.taken(self.x)
        self.written: dict[str, fx.Node] = {INPUT: taken}
        self.order = tuple(graph.in_order())
        self._readers = readers(graph)
        self._slices: dict[tuple[str, str], fx.Node] = {}
        self._passed_by: dict[fx.Node, None] = {}  # permutes whose value was sliced before them
        self._node: GraphNode | None = None

    def write(self, node: GraphNode) -> None:
        """Write one node of the graph.

        Raises:
            ComposerError: it needs a size that is not known.
        """
        self._node = node
        assert node.op is not None
        try:
            self.written[node.name] = node.op.lower(self)
        except AxisProblem as problem:
            where = self.graph.where(node, problem.field)
            raise ComposerError(
                Diagnostic(problem.code, problem.message, problem.help, where)
            ) from None

    def finish(self, name: str) -> fx.GraphModule:
        """Return the module that gives the graph's output."""
        y = self.written[self.graph.output]
        for permuted in self._passed_by:
            if permuted is not y and not permuted.users:
                self.fx.erase_node(permuted)
        self.fx.output(y if self.tokens is None else self.tokens.given(self.x, y), type_expr=Tensor)
        self.fx.lint()
        return Mechanism(self.root, self.fx, class_name=name)

    @property
    def here(self) -> Expr:
        """The node being written, as a reference to itself."""
        assert self._node is not None
        return constant(self._node.name)

    def axes(self, ref: Expr) -> Axes:
        """Return the axes of an operand, or of the node being written."""
        axes = self.graph.axes_of(str(ref.value))
        assert axes is not None
        return axes

    def node(self, ref: Expr) -> fx.Node:
        """Return the fx node of an operand."""
        return self.written[str(ref.value)]

    def size(self, size: Expr) -> int | fx.Node:
        """Return a size where it is known, else write a read of the input's.

        Raises:
            AxisProblem: it is neither known nor a size of the input.
        """
        for position, (_, its) in enumerate(self.graph.input_axes.sizes):
            if its == size and not size.is_constant:
                return self.method("size", self.written[INPUT], position)
        return whole(size)

    def function(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Write a call of a function."""
        return self._create("call_function", target, target.__name__, args, kwargs)

    def method(self, target: str, *args: Any, **kwargs: Any) -> fx.Node:
        """Write a call of a tensor's method."""
        return self._create("call_method", target, target, args, kwargs)

    def module(self, local: str, module: nn.Module, x: fx.Node) -> fx.Node:
        """Write a call of a module that lives under this node's name."""
        path = f"{self._keeper}.{local}"
        owner, name = self._place(path)
        if not hasattr(owner, name):  # else it shares the weights of an earlier node
            owner.add_module(name, module)
        return self._create("call_module", path, local, (x,), {})

    def parameter(self, tensor: Tensor, local: str | None = None) -> fx.Node:
        """Write a read of a parameter that carries this node's name, or lives under it as `local`.

        One without axes is kept as one element, since sharded training takes no scalar.
        """
        path = f"{self._keeper}.{local}" if local else self._keeper
        owner, name = self._place(path)
        if not hasattr(owner, name):
            owner.register_parameter(name, nn.Parameter(tensor.reshape(tensor.shape or (1,))))
        node = self._create("get_attr", path, local or "value", (), {})
        return node if tensor.dim() else self.method("squeeze", node, 0)

    def schedule(self, begin: float, end: float, steps: int) -> fx.Node:
        """Write a read of a number that `composer.lower.schedule.advance` moves."""
        owner, name = self._place(self._keeper)
        if not hasattr(owner, name):
            owner.add_module(name, Schedule(begin, end, steps))
        return self._create("call_module", self._keeper, "value", (), {})

    def given(self) -> fx.Node:
        """Write this node's value as one more input of the module."""
        with self.fx.inserting_after(list(self.fx.find_nodes(op="placeholder"))[-1]):
            return self.fx.placeholder(self._name, type_expr=Tensor)

    def arrange(self, x: fx.Node, have: tuple[str, ...], want: tuple[str, ...]) -> fx.Node:
        """Write what brings axes from one order to another, adding those missing with size 1.

        A value without axes meets any other as it is.
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
        """Write what brings an operand to the axes wanted, in one step where its sizes allow."""
        axes = self.axes(ref)
        missing, known = len(want) - len(axes), [s.is_constant for _, s in axes.sizes]
        if missing < 2 or known.count(False) > 1 or axes.names != tuple(
            axis for axis in want if axis in axes
        ):
            return self.arrange(self.node(ref), axes.names, want)
        sizes = (axes[axis] if axis in axes else constant(1) for axis in want)
        return self.method(
            "reshape", self.node(ref), *(whole(s) if s.is_constant else -1 for s in sizes)
        )

    def slices(self, ref: Expr, axis: str) -> tuple[fx.Node, tuple[int, ...]] | None:
        """Write all slices of an operand along an axis, where several nodes pick some of them.

        With them comes the order to bring the axes of each into: they are taken before a permute,
        so that the gradient, which puts them side by side again, lies in memory as the value does.
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
        if (name, axis) not in self._slices:
            self._slices[name, axis] = self.method("unbind", value, where)
        rest = (place for place in order if place != where)
        return self._slices[name, axis], tuple(place - (place > where) for place in rest)

    def is_spent(self, ref: Expr) -> bool:
        """Return whether an operand is a new tensor of the module's own, and read here last.

        What a layer gives is not: hooks may hold it.
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
        """The node that keeps the weights: this one, unless it shares another's."""
        assert self._node is not None
        return self._node.weights or self._node.name

    def _place(self, path: str) -> tuple[nn.Module, str]:
        """Return the module that holds what is at a path, and what it is called there."""
        parent, _, name = path.rpartition(".")
        return module_at(self.root, parent), name

    def _create(
        self, op: str, target: Any, what: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> fx.Node:
        node = self.fx.create_node(op, target, args, kwargs, name=f"{self._name}_{what}")
        assert self._node is not None
        place = self.graph.where(self._node)
        node.meta["composer"] = {
            "spec": self.graph.spec.name,
            "node": self._name,
            "file": place.file if place else None,
            "line": place.line if place else None,
        }
        if place is not None:
            node.meta["stack_trace"] = (
                f'  File "{place.file}", line {place.line}, in {self._name}\n'
                f"    {place.text.strip()}\n"
            )
        return node
