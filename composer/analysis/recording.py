"""A module's own forward, recorded while it runs: an fx graph, every child a leaf.

The forward runs as its author wrote it, on fake tensors or on real ones, under a mode that torch
gives every function call to, for this thread alone. So nothing is patched, another thread goes on
undisturbed, and what depends on a shape or a flag simply takes its way. Each node knows the calls
that led to it (`Instruction`), from which `composer.surgery.source` finds its expression.

The graph is there to be read, and never run.
"""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_flatten_with_path, tree_iter, tree_map

from composer.analysis.edited import own_methods
from composer.lower.mechanism import Onlooker
from composer.turns import TURN

#: In the `meta` of a node: the tensor that it gives, and where the forward made it.
VALUE, INSTRUCTIONS = "composer_value", "composer_instructions"
#: In the `meta` of the output: whether random numbers were drawn on the way.
DRAWS = "composer_draws"


class Untraceable(Exception):  # noqa: N818 - a finding, which the plan reports
    """A forward that can't be recorded; the message says why."""


@dataclass(frozen=True)
class Instruction:
    """An instruction of a module's method: the name among `own_methods`, the code, the offset."""

    method: str
    code: CodeType
    offset: int


def record(
    module: nn.Module,
    run: Callable[[], Any],
    seed: int = 0,
    gives: Mapping[str, Callable[[], Any]] | None = None,
) -> fx.Graph:
    """Return the graph of what a module's forward does while `run` calls the module once.

    Args:
        module: whose forward it is.
        run: calls it.
        seed: of random numbers.
        gives: what some of the children give, by their paths, so that they need not run.

    Placeholders are the tensors that it is given, named as the forward names them; a tensor that
    a child or a function returns among others is an item of what that gives. A value that is
    written in place is the node that wrote it last.

    Raises:
        Untraceable: the run fails, or a value comes from where torch's functions don't show.
    """
    recorder = _Recorder(module, gives or {})
    try:
        with seeded(seed), recorder.watching():
            before = _states()
            run()
            drew = not _same_states(before, _states())
    except Untraceable:
        raise
    except Exception as failure:
        said = str(failure).strip().splitlines()
        why = said[0].partition(". ")[0] if said else type(failure).__name__
        raise Untraceable(why) from None
    if not recorder.is_done:
        raise Untraceable("its forward does not run")
    next(iter(recorder.graph.find_nodes(op="output"))).meta[DRAWS] = drew
    return recorder.graph


def draws(graph: fx.Graph) -> bool:
    """Return whether a forward drew random numbers while it was recorded."""
    return any(node.meta[DRAWS] for node in graph.find_nodes(op="output"))


def _states() -> tuple[Any, ...]:
    """Return the states of Python's, NumPy's and torch's random numbers."""
    numpy = sys.modules.get("numpy")
    of_numpy = numpy.random.get_state() if numpy is not None else None
    return random.getstate(), of_numpy, torch.random.get_rng_state()


def _same_states(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    numpy = one[1] is None or (
        one[1][2:] == other[1][2:] and bool((one[1][1] == other[1][1]).all())
    )
    return numpy and one[0] == other[0] and torch.equal(one[2], other[2])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw Python's, NumPy's and torch's random numbers from a seed; give back what they were.

    A process has one generator of each. What other threads than Composer's draw meanwhile comes of
    the seed, too, and what they draw afterwards goes on from before.
    """
    with TURN:
        yield from _seeded(seed)


def _seeded(seed: int) -> Iterator[None]:
    state = random.getstate()
    numpy = sys.modules.get("numpy")
    of_numpy = numpy.random.get_state() if numpy is not None else None
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(gpus):
        random.seed(seed)
        if _beside_the_cpu(gpus):
            torch.manual_seed(seed)
        else:  # of a GPU not begun yet torch would seed it later, and keep the whole call stack
            torch.default_generator.manual_seed(seed)
        if numpy is not None:
            numpy.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(state)
            if numpy is not None:
                numpy.random.set_state(of_numpy)


def _beside_the_cpu(gpus: Sequence[int]) -> bool:
    """Return whether random numbers may be drawn elsewhere than on the CPU."""
    return bool(gpus) or torch.backends.mps.is_available() or torch.xpu.is_available()


class _Recorder(TorchFunctionMode):
    """Writes one node for each function that is called, and for each child."""

    def __init__(self, module: nn.Module, gives: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__()
        self.module, self.gives, self.graph = module, gives, fx.Graph()
        self.is_done = False
        self._depth = -1  # of calls of children; -1 while the forward itself does not run
        self._known: dict[int, fx.Node | tuple[fx.Node, Any]] = {}
        self._kept: list[Any] = []  # so that no id is given away
        self._own: dict[int, str] | None = None
        self._methods = {
            function.__code__: name for name, function in own_methods(type(module)).items()
        }

    # ------------------------------------------------------------------------------ children

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record the calls of the module's children, and what runs between them."""
        with ExitStack() as stack:
            for path, child in self._seen("", self.module, set()):
                begin, end = self._around(path)
                before = child.register_forward_pre_hook(begin, with_kwargs=True, prepend=True)
                stack.callback(before.remove)
                after = child.register_forward_hook(Onlooker(end), with_kwargs=True)
                stack.callback(after.remove)
                if path in self.gives and path:
                    stack.enter_context(_instead_of_forward(child, self.gives[path]))
            stack.enter_context(self)
            yield

    def _seen(
        self, path: str, module: nn.Module, known: set[nn.Module]
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield the module and those inside it, but for what is in those that need not run."""
        known.add(module)
        yield path, module
        if path in self.gives and path:
            return
        for name, child in module.named_children():
            if child not in known:
                yield from self._seen(f"{path}.{name}" if path else name, child, known)

    def _around(self, path: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
        def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
            if module is self.module:
                self._begin(args, kwargs)
            elif self._depth >= 0:
                self._depth += 1

        def end(module: nn.Module, args: Any, kwargs: Any, given: Any) -> Any:
            if module is self.module:
                return self._end(given)
            if self._depth < 0:
                return None
            self._depth -= 1
            if self._depth == 0:
                return self._write("call_module", path, args, kwargs, given)
            return None

        return begin, end

    def _begin(self, args: Any, kwargs: Any) -> None:
        if self._depth >= 0 or self.is_done:
            raise Untraceable("it runs itself again")
        self._depth = 0
        for name, tensor in _named_tensors(self.module, args, kwargs):
            if id(tensor) not in self._known:
                node = self.graph.placeholder(name)
                self._knows(tensor, node)

    def _end(self, given: Any) -> None:
        self.graph.output(self._argument(given))
        self._depth, self.is_done = -1, True

    # ----------------------------------------------------------------------------- functions

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function; note it where the forward itself called it."""
        kwargs = kwargs or {}
        given = func(*args, **kwargs)
        if self._depth != 0:
            return given
        if isinstance(given, Tensor):
            return self._write("call_function", func, args, kwargs, given)
        if isinstance(given, (tuple, list)) and any(isinstance(t, Tensor) for t in given):
            return self._write("call_function", func, args, kwargs, given)
        return given  # a size, a flag: the way that the forward takes shows itself

    def _write(self, op: str, target: Any, args: Any, kwargs: Any, given: Any) -> Any:
        node_args, node_kwargs = self._argument(args), self._argument(kwargs)
        name = target if isinstance(target, str) else getattr(target, "__name__", "value")
        name = name.strip("_")
        node = self.graph.create_node(op, target, node_args, node_kwargs, name=name)
        node.meta[INSTRUCTIONS] = self._instructions()
        if isinstance(given, Tensor):
            if not _writes_in_place(op, target):
                given = self._apart(given)
            self._knows(given, node)
            return given
        if op == "call_module":
            given = tree_map(lambda v: self._apart(v) if isinstance(v, Tensor) else v, given)
        for path, leaf in tree_flatten_with_path(given)[0]:
            if isinstance(leaf, Tensor):
                self._kept.append(leaf)
                self._known[id(leaf)] = node, path
        return given

    def _apart(self, tensor: Tensor) -> Tensor:
        """Return a tensor that is no other's object: an identity gives its very input back."""
        if id(tensor) not in self._known:
            return tensor
        with torch._C.DisableTorchFunction():
            return tensor.view_as(tensor)

    # -------------------------------------------------------------------------------- values

    def _knows(self, tensor: Tensor, node: fx.Node) -> None:
        self._kept.append(tensor)
        self._known[id(tensor)] = node
        node.meta[VALUE] = tensor

    def _argument(self, value: Any) -> Any:
        """Return an argument with nodes for tensors; what fx can't hold is told by its type."""
        if isinstance(value, Tensor):
            return self._node(value)
        if isinstance(value, (tuple, list)):
            items = map(self._argument, value)
            return list(items) if isinstance(value, list) else tuple(items)
        if isinstance(value, dict):
            return {str(key): self._argument(item) for key, item in value.items()}
        if isinstance(value, slice):
            return slice(*map(self._argument, (value.start, value.stop, value.step)))
        if isinstance(value, (bool, int, float, complex, str, type(None), type(Ellipsis))):
            return value
        if isinstance(value, (torch.dtype, torch.device, torch.memory_format)):
            return value
        inside = [leaf for leaf in tree_iter(value) if isinstance(leaf, Tensor)]
        return tuple(map(self._node, inside)) if inside else type(value).__name__

    def _node(self, tensor: Tensor) -> fx.Node:
        found = self._known.get(id(tensor))
        if isinstance(found, fx.Node):
            return found
        if found is not None:
            node, path = found
            for key in path:
                item = getattr(key, "idx", getattr(key, "key", getattr(key, "name", None)))
                node = self.graph.create_node("call_function", _item, (node, item), name="item")
        elif (name := self._held(tensor)) is not None:
            node = self.graph.create_node("get_attr", name, name="attribute")
        else:
            raise Untraceable("a value of its comes from code that torch's functions don't show")
        self._knows(tensor, node)
        return node

    def _held(self, tensor: Tensor) -> str | None:
        """Return the name of a tensor that the module holds; None for any other."""
        if self._own is None:
            self._own = _held_tensors(self.module)
        return self._own.get(id(tensor))

    def _instructions(self) -> tuple[Instruction, ...]:
        """Return the instructions of the module's own methods that run now, the outermost first."""
        found: list[Instruction] = []
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            name = self._methods.get(frame.f_code)
            if name is not None and frame.f_locals.get(_first_name(frame.f_code)) is self.module:
                found.append(Instruction(name, frame.f_code, frame.f_lasti))
            if frame.f_code is record.__code__:
                break
            frame = frame.f_back
        return tuple(reversed(found))


@contextmanager
def _instead_of_forward(module: nn.Module, gives: Callable[[], Any]) -> Iterator[None]:
    """Let a module give something without running."""
    held = vars(module)
    own = held.get("forward")
    held["forward"] = lambda *_, **__: gives()
    try:
        yield
    finally:
        del held["forward"]
        if own is not None:
            held["forward"] = own


def _first_name(code: CodeType) -> str:
    return code.co_varnames[0] if code.co_varnames else ""


def _item(value: Any, key: Any) -> Any:
    """Return one of several values."""
    return value[key]


def _writes_in_place(op: str, target: Any) -> bool:
    name = getattr(target, "__name__", "")
    return op == "call_function" and name.endswith("_") and not name.endswith("__")


def _named_tensors(module: nn.Module, args: Any, kwargs: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that a forward is given, by the names that it has for them."""
    try:
        bound = dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
    except TypeError:
        bound = {"args": args, **kwargs}
    for name, value in bound.items():
        for tensor in tree_iter(value):
            if isinstance(tensor, Tensor):
                yield name, tensor


def _held_tensors(module: nn.Module) -> dict[int, str]:
    """Return the tensors that a module and those inside it hold, registered or not, by id."""
    found: dict[int, str] = {}
    for path, inside in module.named_modules():
        at = f"{path}." if path else ""
        for name, value in vars(inside).items():
            if name in ("_parameters", "_buffers"):
                found |= {id(t): f"{at}{key}" for key, t in value.items() if t is not None}
            elif not name.startswith("_") and name != "training":
                for leaf in tree_iter(value):
                    if isinstance(leaf, Tensor):
                        found[id(leaf)] = f"{at}{name}"
    return found


def numbered(
    graph: fx.Graph, numbers: dict[str, int], without: str | None = None
) -> dict[fx.Node, int]:
    """Give equal computations equal numbers, in one graph or in several that share `numbers`.

    Whether a function is called for training is not looked at.

    Args:
        graph: a recorded graph.
        numbers: those given so far; new ones are added.
        without: a child whose calls count as what they are given.
    """
    found: dict[fx.Node, int] = {}

    def shown(node: fx.Node) -> Any:
        return f"%{found[node]}"

    for node in graph.nodes:
        if without is not None and node.op == "call_module" and node.target == without:
            found[node] = found[node.all_input_nodes[0]]
            continue
        kwargs = {k: v for k, v in node.kwargs.items() if k != "training"}
        args, kwargs = fx.node.map_arg((node.args, kwargs), shown)
        text = f"{node.op} {told(node.target)} {args!r} {kwargs!r}"
        found[node] = numbers.setdefault(text, len(numbers))
    return found


def told(target: Any) -> str:
    """Return what a node calls, by a name that is the same in each run."""
    if isinstance(target, str):
        return target
    return str(resolve_name(target) or getattr(target, "__qualname__", type(target).__name__))
