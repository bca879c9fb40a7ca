"""A block's own forward as an fx graph, every child a leaf; and the residual add inside it."""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map_only

from composer.backbones.probe import Call

_ADDS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")


class Untraceable(Exception):  # noqa: N818 - a finding, which the plan reports
    """A forward that fx cannot read; the message says why."""


@dataclass(frozen=True)
class Forward:
    """A module's forward as fx graphs, in training and in evaluation mode.

    `same` tells that both read the same, so that one serves both modes.
    """

    training: fx.Graph
    evaluation: fx.Graph

    @property
    def same(self) -> bool:
        """Whether both modes run the same code."""
        return code(self.training) == code(self.evaluation)


@dataclass(frozen=True)
class Branch:
    """Where a residual branch ends: its last node, and the node that reads it there.

    `add` is the residual add, or None where the block has no skip and the branch is all of it.
    """

    end: fx.Node
    reader: fx.Node
    add: fx.Node | None
    of: int = 1


def code(graph: fx.Graph) -> str:
    """Return the Python source of a graph."""
    return graph.python_code("self").src


def trace(module: nn.Module, call: Call) -> Forward:
    """Return the forward of `module` as it runs in `call`, for both modes.

    Raises:
        Untraceable: the forward depends on values, or makes tensors of its own.
    """
    was = module.training
    try:
        module.training = True
        training = _trace(module, call)
        module.training = False
        evaluation = _trace(module, call)
    finally:
        module.training = was
    return Forward(training, evaluation)


class _ChildrenAreLeaves(fx.Tracer):
    def __init__(self) -> None:
        super().__init__(param_shapes_constant=True)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _trace(module: nn.Module, call: Call) -> fx.Graph:
    before = set(vars(module)) | set(module._buffers)
    try:
        graph = _ChildrenAreLeaves().trace(module, concrete_args=_defaults(module, call))
    except Exception as failure:
        said = str(failure).strip().splitlines()
        raise Untraceable(said[0] if said else type(failure).__name__) from None
    finally:
        made = (set(vars(module)) | set(module._buffers)) - before
        for name in made:
            delattr(module, name)
    if made:
        raise Untraceable("it makes a tensor of its own")
    return graph


def _defaults(module: nn.Module, call: Call) -> dict[str, Any]:
    """Return the arguments that the call left at their defaults; the trace takes them as fixed."""
    signature = inspect.signature(module.forward)
    try:
        given = signature.bind(*call.args, **call.kwargs).arguments
    except TypeError:
        return {}
    return {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if name not in given and parameter.default is not inspect.Parameter.empty
    }


def disagreement(
    module: nn.Module, graph: fx.Graph, end: fx.Node, call: Call, training: bool
) -> str | None:
    """Return why a traced forward can't stand for the module's own, or None where it can.

    Both run on the same random input, on copies of the module and with the same seed, and must
    give the same bits; and at `end` the value must have the shape of the output.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        args, kwargs = _random_inputs(module, call)
        try:
            torch.manual_seed(1)
            own = copy.deepcopy(module).train(training)(*copy.deepcopy(args), **copy.deepcopy(kwargs))
            torch.manual_seed(1)
            watch = _Watch(fx.GraphModule(copy.deepcopy(module).train(training), graph), end)
            bound = inspect.signature(module.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            traced = watch.run(*bound.args, *bound.kwargs.values())
        except Exception as failure:
            return f"the traced forward fails: {type(failure).__name__}"
    if not (isinstance(own, Tensor) and isinstance(traced, Tensor)):
        return "the forward does not give one tensor"
    if own.shape != traced.shape or not torch.equal(
        torch.nan_to_num(own.float()), torch.nan_to_num(traced.float())
    ):
        return "the traced forward gives other numbers"
    if watch.shape != tuple(own.shape):
        sizes = "×".join(map(str, watch.shape[1:]))
        return f"the branch ends as {sizes} and the block as {'×'.join(map(str, own.shape[1:]))}"
    return None


class _Watch(fx.Interpreter):
    """Runs a traced forward and keeps the shape of one value on the way."""

    def __init__(self, module: fx.GraphModule, node: fx.Node) -> None:
        super().__init__(module)
        self.name, self.shape = node.name, ()

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.name == self.name and isinstance(result, Tensor):
            self.shape: tuple[int, ...] = tuple(result.shape)
        return result


def _random_inputs(module: nn.Module, call: Call) -> tuple[Any, Any]:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))

    def real(fake: Tensor) -> Tensor:
        shape = (2, *fake.shape[1:]) if fake.dim() > 1 else tuple(fake.shape)
        return torch.randn(shape, device=device).to(fake.dtype)

    result: tuple[Any, Any] = tree_map_only(Tensor, real, (call.args, call.kwargs))
    return result


# ------------------------------------------------------------------------------ residual branch


def branch_end(module: nn.Module, graph: fx.Graph) -> Branch | None:
    """Return where the residual branch of a traced forward ends.

    The residual add is the last one both of whose operands come from the block's input, with no
    layer of weights behind it. Of its operands the branch is the one with more layers of weights;
    None where both have as many. Dropout and drop path at the end of the branch stay behind
    what is inserted, as the papers' code has them. A block without such an add is all branch.
    """
    output = next(node for node in graph.nodes if node.op == "output")
    value = output.args[0]
    if not isinstance(value, fx.Node):
        return None
    adds = [node for node in graph.nodes if _is_residual_add(module, node, output)]
    if not adds:
        return _before_dropout(module, value, output, None)
    add = adds[-1]
    left, right = (arg for arg in add.args[:2] if isinstance(arg, fx.Node))
    layers = _own_layers(module, left, right), _own_layers(module, right, left)
    if layers[0] == layers[1]:
        return None
    found = _before_dropout(module, left if layers[0] > layers[1] else right, add, add)
    return Branch(found.end, found.reader, add, len(adds))


def _is_residual_add(module: nn.Module, node: fx.Node, output: fx.Node) -> bool:
    if node.op not in ("call_function", "call_method") or node.target not in _ADDS:
        return False
    operands = node.args[:2]
    if len(operands) != 2 or not all(isinstance(o, fx.Node) for o in operands):
        return False
    if operands[0] is operands[1]:
        return False
    made_of = [_ancestors(o) | {o} for o in operands if isinstance(o, fx.Node)]
    if not all(any(n.op == "placeholder" for n in a) for a in made_of):
        return False
    behind = [n for n in _ancestors(output) if node in _ancestors(n)]
    return node in _ancestors(output) and not any(_layers(module, n) for n in behind)


def has_skip(module: nn.Module, call: Call) -> bool:
    """Return whether the module's own forward ends in a residual add."""
    was = module.training
    module.training = False
    try:
        graph = _trace(module, call)
    except Untraceable:
        return False
    finally:
        module.training = was
    branch = branch_end(module, graph)
    return branch is not None and branch.add is not None


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
    return sum(_layers(module, n) for n in mine)


def _layers(module: nn.Module, node: fx.Node) -> int:
    """Return the number of layers with a matrix or kernel of weights inside a node."""
    if node.op != "call_module":
        return 0
    return weight_layers(module.get_submodule(str(node.target)))


def weight_layers(module: nn.Module) -> int:
    """Return the number of modules inside that hold a matrix or kernel of weights."""
    return sum(
        any(p is not None and p.dim() > 1 for p in m._parameters.values())
        for m in module.modules()
    )


def _before_dropout(
    module: nn.Module, node: fx.Node, reader: fx.Node, add: fx.Node | None
) -> Branch:
    """Step back over what changes nothing in evaluation mode: dropout, drop path, identity."""
    while len(node.all_input_nodes) == 1 and _changes_nothing(module, node):
        node, reader = node.all_input_nodes[0], node
    return Branch(node, reader, add)


def _changes_nothing(module: nn.Module, node: fx.Node) -> bool:
    x = torch.randn(2, 4, 3, 3)
    try:
        if node.op == "call_module":
            child = module.get_submodule(str(node.target))
            if any(True for _ in child.parameters()) or any(True for _ in child.buffers()):
                return False
            run: Callable[..., Any] = copy.deepcopy(child).eval()
            result = run(x)
        elif node.op == "call_function" and callable(node.target):
            bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)
            if "training" not in bound.arguments:
                return False
            bound.arguments["training"] = False
            args, kwargs = fx.node.map_arg((bound.args, bound.kwargs), lambda _: x)
            result = node.target(*args, **kwargs)
        else:
            return False
    except Exception:
        return False
    return isinstance(result, Tensor) and result.shape == x.shape and torch.equal(result, x)
