"""A block's own forward as an fx graph, every child a leaf; and the residual add inside it."""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from composer.analysis.edited import before_stand_in, is_inserted
from composer.analysis.probe import Call
from composer.errors import listing
from composer.measure.cost import FakeRun, untouched

_ADDS: tuple[Any, ...] = (
    operator.add, operator.iadd, torch.add, "add", "add_",
    operator.sub, operator.isub, torch.sub, "sub", "sub_",
)  # fmt: skip


_RECORDS = ("output_", "return_dict", "use_cache")


class Untraceable(Exception):  # noqa: N818 - a finding, which the plan reports
    """A forward that fx cannot read; the message says why."""


@dataclass(frozen=True)
class Forward:
    """A module's forward as fx graphs, in training and in evaluation mode."""

    training: fx.Graph
    evaluation: fx.Graph


@dataclass(frozen=True)
class Branch:
    """Where a residual branch ends: its last node, and the nodes that read it there.

    `add` is the residual add, or None where the block has no skip and the branch is all of it.
    """

    end: fx.Node
    readers: tuple[fx.Node, ...]
    add: fx.Node | None
    of: int = 1


def code(graph: fx.Graph) -> str:
    """Return the Python source of a graph."""
    return graph.python_code("self").src


def as_method(module: nn.Module, graph: fx.Graph) -> Callable[..., Any]:
    """Return a graph as a method; its source can be read by debuggers and by torch.compile."""
    function: Callable[..., Any] = type(fx.GraphModule(module, graph)).forward
    return function


def trace(module: nn.Module, call: Call) -> Forward:
    """Return the forward of `module` as it runs in `call`, for both modes.

    Raises:
        Untraceable: the forward depends on values, or keeps or makes tensors of its own.
    """
    fixed = _fixed_arguments(module, call)
    needed = {name: value for name, value in fixed.items() if not _passed_on(module, fixed, name)}
    return Forward(_trace(module, needed, training=True), _trace(module, needed, training=False))


def _passed_on(module: nn.Module, fixed: dict[str, Any], name: str) -> bool:
    """Return whether a forward only gives on an argument that was None, such as a mask.

    So it does where the trace with the argument open, None put in, is that with it fixed.
    """
    if fixed[name] is not None:
        return False
    without = {other: value for other, value in fixed.items() if other != name}
    try:
        graphs = [_trace(module, some, training=False) for some in (without, fixed)]
    except Untraceable:
        return False
    numbers: dict[str, int] = {}
    known = {name: fixed[name]}
    opened, closed = (
        list(_numbered(graph, numbers, known).values())[-1] for graph in graphs
    )
    return opened == closed


@dataclass
class Traces:
    """The forwards of one model's modules, each traced once."""

    model: nn.Module
    _done: dict[str, Forward | Untraceable] = field(default_factory=dict)
    _skips: dict[str, bool] = field(default_factory=dict)

    def of(self, call: Call) -> Forward:
        """Return the forward of the module that was called.

        Raises:
            Untraceable: see `trace`.
        """
        if call.path not in self._done:
            try:
                self._done[call.path] = trace(self.model.get_submodule(call.path), call)
            except Untraceable as why:
                self._done[call.path] = why
        found = self._done[call.path]
        if isinstance(found, Untraceable):
            raise Untraceable(*found.args)
        return found

    def skips(self, call: Call) -> bool:
        """Return whether the module's own forward ends in a residual add."""
        if call.path not in self._skips:
            try:
                graph = self.of(call).evaluation
            except Untraceable:
                return False
            branch = branch_end(self.model.get_submodule(call.path), graph, call.index)
            self._skips[call.path] = branch is not None and branch.add is not None
        return self._skips[call.path]


class _ChildrenAreLeaves(fx.Tracer):
    """Takes every child as a leaf, and some arguments at the values they have in a call."""

    def __init__(self, fixed: dict[str, Any]) -> None:
        super().__init__(param_shapes_constant=True)
        self.fixed = fixed

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        function, args = super().create_args_for_root(root_fn, is_module, concrete_args)
        names = [str(arg.node.target) if isinstance(arg, fx.Proxy) else "" for arg in args]
        if any(name.startswith("*") for name in names):
            function = _called_by_name(root_fn, names)
        return function, [self._fix(arg) if isinstance(arg, fx.Proxy) else arg for arg in args]

    def _fix(self, arg: fx.Proxy) -> Any:
        name = str(arg.node.target)
        if name not in self.fixed:
            return arg
        shown = name.lstrip("*")
        self.create_proxy("call_function", must_be, (arg, self.fixed[name], shown), {})
        return self.fixed[name]


def _called_by_name(function: Any, names: list[str]) -> Any:
    """Return a function of as many values as there are names, ``**`` and ``*`` among them.

    fx would rewrite the function itself, which it can't where that is wrapped in another.
    """
    parameters = inspect.signature(function).parameters

    def call(*values: Any) -> Any:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, value in zip(names, values, strict=True):
            if name.startswith("**"):
                kwargs |= value
            elif name.startswith("*"):
                args += value
            elif name and parameters[name].kind is inspect.Parameter.KEYWORD_ONLY:
                kwargs[name] = value
            else:
                args.append(value)
        return function(*args, **kwargs)

    return call


def must_be(given: Any, value: Any, name: str) -> None:
    """Refuse an argument of a traced forward that is not what it was when it was traced.

    Of further keywords those that only ask for records of what passes change no number.
    """
    if isinstance(value, dict) and isinstance(given, dict):
        given = {k: v for k, v in given.items() if k in value or not k.startswith(_RECORDS)}
    if type(given) is not type(value) or given != value:
        shown = f"a {type(given).__name__}" if isinstance(given, Tensor) else repr(given)
        raise ValueError(f"this block was composed for {name}={value!r}, and {shown} was given")


def _trace(module: nn.Module, fixed: dict[str, Any], training: bool) -> fx.Graph:
    modes = [(inside, inside.training) for inside in module.modules()]
    for inside, _ in modes:
        inside.training = training
    try:
        with untouched(module) as changed:
            graph = _ChildrenAreLeaves(fixed).trace(module)
    except Exception as failure:
        said = str(failure).strip().splitlines()
        why = said[0].partition(". ")[0] if said else type(failure).__name__
        raise Untraceable(why) from None
    finally:
        for inside, mode in modes:
            inside.training = mode
    if any(name.startswith("_tensor_constant") for name in changed):
        raise Untraceable("it makes a tensor of its own")
    if changed:
        raise Untraceable(f"it sets {', '.join(sorted(set(changed)))} on itself")
    return graph


def _fixed_arguments(module: nn.Module, call: Call) -> dict[str, Any]:
    """Return the arguments that a trace takes as they are: flags, and defaults left alone."""
    signature = inspect.signature(module.forward)
    try:
        given = signature.bind(*call.args, **call.kwargs).arguments
    except TypeError:
        return {}
    defaults = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if name not in given and isinstance(parameter.default, (bool, int, float, str, NoneType))
    }
    flags = {n: v for n, v in given.items() if isinstance(v, (bool, str, NoneType))}
    more: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            more[f"**{name}"] = given.get(name, {})
        elif parameter.kind is parameter.VAR_POSITIONAL:
            more[f"*{name}"] = given.get(name, ())
    plain = (bool, int, float, str, NoneType)
    more = {n: v for n, v in more.items() if all(isinstance(x, plain) for x in tree_leaves(v))}
    return defaults | flags | more


def disagreement(
    module: nn.Module,
    forward: Forward,
    call: Call,
    spatial: tuple[int, ...],
) -> str | None:
    """Return why a traced forward can't stand for the module's own, or None where it can.

    Both run on the same random input, on copies of the module and with the same seed, and must
    give the same bits in both modes. The input is small along its `spatial` axes, where the
    module takes that.
    """
    gpus = list({p.device for p in module.parameters() if p.is_cuda})
    why: str | None = None
    for most, batch in ((8, 2), (None, 2), (None, 1)):
        try:
            own, other = copy.deepcopy(module), copy.deepcopy(module)
        except RuntimeError:
            return "it holds what can't be copied"
        with torch.random.fork_rng(gpus), torch.no_grad():
            for training, graph in ((False, forward.evaluation), (True, forward.training)):
                args, kwargs = _random_inputs(module, call, spatial, most, batch)
                _seed(gpus)
                try:
                    expected = own.train(training).forward(  # without the hooks on it
                        *copy.deepcopy(args), **copy.deepcopy(kwargs)
                    )
                except Exception as failure:
                    why = f"its forward fails on random numbers: {failure}"
                    break
                _seed(gpus)
                other.train(training)
                why = _difference(other, graph, args, kwargs, expected)
                if why:
                    return why
            else:
                return None
    return why


def _difference(
    module: nn.Module, graph: fx.Graph, args: Any, kwargs: Any, expected: Any
) -> str | None:
    try:
        traced = as_method(module, graph)(module, *args, **kwargs)
    except Exception as failure:
        return f"the traced forward fails: {type(failure).__name__}"
    wanted, got = tree_leaves(expected), tree_leaves(traced)
    if len(wanted) != len(got) or not all(map(_same, wanted, got)):
        return "the traced forward gives other numbers"
    return None


def _same(wanted: Any, got: Any) -> bool:
    if not isinstance(wanted, Tensor) or not isinstance(got, Tensor):
        return bool(wanted == got)
    numbers = (torch.nan_to_num(t.float()) for t in (wanted, got))
    return wanted.shape == got.shape and torch.equal(*numbers)


def value_at(module: nn.Module, graph: fx.Graph, node: fx.Node, call: Call) -> Tensor | None:
    """Return a value of a traced forward as it is in `call`, without its numbers.

    None where the traced forward does not run so.
    """
    up_to, places = fx.Graph(), dict[fx.Node, fx.Node]()
    up_to.graph_copy(graph, places)
    up_to.output(places[node])
    found: list[Tensor] = []
    runs = _Runs(module, as_method(module, up_to), found.append)

    try:
        FakeRun.of(runs)(
            runs, lambda: blank(call.args), nullcontext(), lambda: blank(call.kwargs)
        )
    except Exception:
        return None
    return found[0] if found else None


def blank(given: Any) -> Any:
    """Return what a call was given with tensors of the same sizes, whose numbers are none."""
    return tree_map_only(
        Tensor, lambda t: torch.empty(t.shape, dtype=t.dtype, device=t.device), given
    )


class _Runs(nn.Module):
    """Runs a method of a module, and notes what it gives."""

    def __init__(
        self, module: nn.Module, method: Callable[..., Any], note: Callable[[Tensor], None]
    ) -> None:
        super().__init__()
        self.module, self.method, self.note = module, method, note

    def forward(self, *args: Any, **kwargs: Any) -> None:
        given = self.method(self.module, *args, **kwargs)
        if isinstance(given, Tensor):
            self.note(given)


def _random_inputs(
    module: nn.Module, call: Call, spatial: tuple[int, ...], most: int | None, batch: int
) -> tuple[Any, Any]:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))

    def real(fake: Tensor) -> Tensor:
        shape = list(fake.shape)
        if fake.dim() > 1 and shape[0] == 1:  # else it is of no image
            shape[0] = batch
        if fake.dim() == 4 and most:
            for nth, axis in enumerate(spatial):
                shape[axis] = min(shape[axis], most + nth)  # not square: a mix-up shows
        return torch.randn(shape, device=device).to(fake.dtype)

    result: tuple[Any, Any] = tree_map_only(Tensor, real, (call.args, call.kwargs))
    return result


def _seed(gpus: list[torch.device]) -> None:
    torch.default_generator.manual_seed(1)
    for gpu in gpus:
        with torch.cuda.device(gpu):
            torch.cuda.manual_seed(1)


# ------------------------------------------------------------------------------ residual branch


class NoSuchBranch(Exception):  # noqa: N818 - a finding, which the plan reports
    """A block without the residual branch that is wanted; the message says which there are."""


def branch_ends(
    module: nn.Module, forward: Forward, index: int | None = None, which: str | None = None
) -> tuple[Branch, Branch] | None:
    """Return where the residual branch ends, in training and in evaluation mode.

    What only training adds behind the branch, such as drop path written out in the forward, stays
    behind what is inserted: the end is the same value in both modes where both have it.

    Args:
        module: the block.
        forward: its traced forward.
        index: where its value stands in what it returns, where that is a tuple.
        which: of several branches, the number of one from 1, or a child in it; the last unless
            told.

    Raises:
        NoSuchBranch: there is none such.
    """
    training = branch_end(module, forward.training, index, which)
    evaluation = branch_end(module, forward.evaluation, index, which)
    if training is None or evaluation is None:
        return None
    numbers: dict[str, int] = {}
    number = _numbered(forward.evaluation, numbers)[evaluation.end]
    for node, its in _numbered(forward.training, numbers).items():
        if its == number and node is not training.end and node in _ancestors(training.end):
            on_the_way = {training.end, *training.readers} | _ancestors(training.end)
            readers = tuple(user for user in node.users if user in on_the_way)
            return Branch(node, readers, training.add, training.of), evaluation
    return training, evaluation


def _numbered(
    graph: fx.Graph, numbers: dict[str, int], known: dict[str, Any] | None = None
) -> dict[fx.Node, int]:
    """Give equal computations equal numbers, whatever the mode; some arguments may be known."""
    found: dict[fx.Node, int] = {}

    def shown(node: fx.Node) -> Any:
        is_known = node.op == "placeholder" and known and node.target in known
        return known[str(node.target)] if known and is_known else f"%{found[node]}"

    for node in graph.nodes:
        kwargs = {k: v for k, v in node.kwargs.items() if k != "training"}
        inputs = fx.node.map_arg((node.args, kwargs), shown)
        text = f"{node.op} {node.target} {inputs!r}"
        found[node] = numbers.setdefault(text, len(numbers))
    return found


def returned(graph: fx.Graph, index: int | None) -> fx.Node | None:
    """Return the value that a traced forward gives, at a place of its tuple where it gives one.

    None where the forward does not make that tuple itself.
    """
    value: Any = next(node for node in graph.nodes if node.op == "output").args[0]
    if index is not None:
        value = value[index] if isinstance(value, (tuple, list)) and index < len(value) else None
    return value if isinstance(value, fx.Node) else None


def branch_end(
    module: nn.Module, graph: fx.Graph, index: int | None = None, which: str | None = None
) -> Branch | None:
    """Return where the residual branch of a traced forward ends.

    The residual add is the last one both of whose operands come from the block's input, with no
    layer of weights behind it but inserted ones. Of its operands the branch is the one with more
    layers of weights; None where both have as many. Dropout and drop path at the end of the
    branch stay behind what is inserted, as the papers' code has them. A block without such an
    add is all branch.

    Raises:
        NoSuchBranch: there is no such one as `which`.
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


def branches(module: nn.Module, graph: fx.Graph, index: int | None = None) -> list[list[str]]:
    """Return the children in each residual branch of a traced forward, in the order of the adds."""
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
        NoSuchBranch: there is none such.
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
    """Return what a value is made of, the last first, up to where layers of weights come."""
    found: list[fx.Node] = [value]
    needed = _ancestors(value) | {value}
    behind = set() if _layers(module, value) and not inserted(module, value) else {value}
    for node in reversed(value.graph.nodes):
        users = [user for user in node.users if user in needed]
        if users and all(user in behind for user in users):
            found.append(node)
            if not _layers(module, node) or inserted(module, node):
                behind.add(node)
    return found


def _all_comes_by(node: fx.Node, value: fx.Node) -> bool:
    """Return whether all that a value has of the block's input comes by a node on its way.

    A sum that is then joined with others, as in an Inception block, is no residual add.
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
    """Return what an add adds, however it is written."""
    named = [node.kwargs[key] for key in ("input", "other") if key in node.kwargs]
    return [*node.args[:2], *named][:2]


def _adds_two_of_the_input(node: fx.Node) -> bool:
    if node.op not in ("call_function", "call_method") or node.target not in _ADDS:
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


def inserted(module: nn.Module, node: fx.Node) -> bool:
    """Return whether a node calls what an edit inserted."""
    return node.op == "call_module" and is_inserted(module.get_submodule(str(node.target)))


def _own_layers(module: nn.Module, node: fx.Node, other: fx.Node) -> int:
    mine = (_ancestors(node) | {node}) - (_ancestors(other) | {other})
    return sum(_layers(module, n) for n in mine)


def _layers(module: nn.Module, node: fx.Node) -> int:
    """Return the number of layers with a matrix or kernel of weights inside a node."""
    if node.op != "call_module":
        return 0
    return weight_layers(module.get_submodule(str(node.target)))


def weight_layers(module: nn.Module) -> int:
    """Return the number of modules inside that hold a matrix or kernel of weights.

    What stands in for a layer counts as that layer.
    """
    standing = {m: b.layers for m in module.modules() if (b := before_stand_in(m)) is not None}
    inside = {part for m in standing for part in m.modules()}
    return sum(standing.values()) + sum(
        any(p is not None and p.dim() > 1 for p in m._parameters.values())
        for m in module.modules()
        if m not in inside
    )


def _before_dropout(
    module: nn.Module, node: fx.Node, reader: fx.Node, add: fx.Node | None
) -> Branch:
    """Step back over what changes nothing in evaluation mode: dropout, drop path, identity."""
    while len(node.all_input_nodes) == 1 and changes_nothing(module, node):
        node, reader = node.all_input_nodes[0], node
    return Branch(node, (reader,), add)


def changes_nothing(module: nn.Module, node: fx.Node) -> bool:
    """Return whether a node of one input gives it back in evaluation mode."""
    if inserted(module, node):
        return False
    try:
        with torch.device("cpu"):
            x = torch.linspace(-2, 2, 72).reshape(2, 4, 3, 3)
            result = _run_alone(module, node, x)
            return isinstance(result, Tensor) and result.shape == x.shape and torch.equal(result, x)
    except Exception:
        return False


def _run_alone(module: nn.Module, node: fx.Node, x: Tensor) -> Any:
    """Run a node in evaluation mode on `x`; None where it has weights, or no such mode."""
    if node.op == "call_module":
        child = module.get_submodule(str(node.target))
        if any(True for _ in child.parameters()) or any(True for _ in child.buffers()):
            return None
        return copy.deepcopy(child).eval()(x.clone())
    if node.op == "call_function" and callable(node.target):
        bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)
        if "training" not in bound.arguments:
            return None
        bound.arguments["training"] = False
        args, kwargs = fx.node.map_arg((bound.args, bound.kwargs), lambda _: x.clone())
        return node.target(*args, **kwargs)
    return None
