"""Records the torch function calls of a module on one input, with real tensors.

The forward runs unchanged, under a mode to which torch passes every function call. So each call has
the name that its author used, such as ``conv2d`` or ``view``, with its module and its line of
source. A result that depends on no input and no weight is a constant: only its value is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from composer.errors import ComposerError, Diagnostic, Location
from composer.lifting.place import location

_TORCH = str(Path(torch.__file__).parent)
_HERE = str(Path(__file__).parent)

#: Calls by which Python reads a value from a tensor.
_READS = {
    "__bool__": "its truth value is used in a condition", "is_nonzero": "its truth value is read",
    "equal": "its truth value is read", "allclose": "its truth value is read",
    "item": "its value is read", "tolist": "its values are read", "numpy": "its array is read",
    "__int__": "its value is read", "__float__": "its value is read",
    "__index__": "its value is read", "nonzero": "the positions of its nonzero values are read",
}  # fmt: skip
#: Functions that make a constant from the shape of a value.
_LIKE = frozenset({
    "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "new_tensor",
})  # fmt: skip
_RANDOM = frozenset({
    "rand", "randn", "rand_like", "randn_like", "bernoulli", "bernoulli_", "normal", "normal_",
    "uniform_", "randint", "randperm", "multinomial", "exponential_", "random_", "trunc_normal_",
})  # fmt: skip

LeafKind = Literal["input", "parameter", "buffer", "constant", "unknown"]


@dataclass(frozen=True)
class Ref:
    """A tensor of the recording, by number."""

    index: int


@dataclass(frozen=True)
class Leaf:
    """A tensor that no recorded call returned."""

    kind: LeafKind
    name: str
    tensor: Tensor


@dataclass(frozen=True)
class Call:
    """One call of a torch function; tensors among its arguments and results are `Ref`."""

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    path: str
    kind: str
    where: Location | None
    in_place: bool = False


@dataclass
class Recording:
    """One run of a module."""

    leaves: dict[int, Leaf] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    output: Any = None


def record(module: nn.Module, x: Tensor, name: str) -> Recording:
    """Return the recorded run of the module on x.

    Raises:
        ComposerError: its output is not a tensor, or it branches on the values in x.
        Exception: whatever the module raises.
    """
    recorder = _Recorder(module, x)
    with recorder.following(module), torch.no_grad(), recorder:
        y = module(x)
    if not isinstance(y, Tensor):
        raise ComposerError(
            Diagnostic(
                "not-a-tensor",
                f"{name} returns {type(y).__name__}, but a spec has one output",
                "lift a module whose forward returns one tensor",
            )
        )
    recorder.recording.output = recorder.ref(y)
    return recorder.recording


class _Recorder(TorchFunctionMode):
    def __init__(self, module: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.recording = Recording()
        self._known: dict[int, int] = {}
        self._kept: list[Tensor] = []  # so that no id is reused
        self._stack: list[tuple[str, str]] = []
        self._names: dict[int, Leaf] = {id(x): Leaf("input", "input", x)}
        for kind, named in (
            ("parameter", module.named_parameters(remove_duplicate=True)),
            ("buffer", module.named_buffers(remove_duplicate=True)),
        ):
            for path, tensor in named:
                self._names.setdefault(id(tensor), Leaf(kind, path, tensor))  # type: ignore[arg-type]

    @contextmanager
    def following(self, module: nn.Module) -> Iterator[None]:
        """Track which module's forward is running."""
        hooks = []
        for path, child in module.named_modules():
            here = path, type(child).__name__

            def begin(_m: Any, _a: Any, here: tuple[str, str] = here) -> None:
                self._stack.append(here)

            def end(*_: Any) -> None:
                self._stack.pop()

            hooks.append(child.register_forward_pre_hook(begin))
            hooks.append(child.register_forward_hook(end, always_call=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def ref(self, tensor: Tensor) -> Ref:
        """Return the number of a tensor, which is a leaf if no call returned it."""
        if id(tensor) not in self._known:
            index = self._new(tensor)
            leaf = self._names.get(id(tensor))
            self.recording.leaves[index] = leaf or Leaf("unknown", "", tensor)
        return Ref(self._known[id(tensor)])

    def _new(self, tensor: Tensor) -> int:
        index = len(self._kept)
        self._kept.append(tensor)
        self._known[id(tensor)] = index
        self.recording.shapes[index] = tuple(tensor.shape)
        return index

    def _is_live(self, tensor: Tensor) -> bool:
        leaf = self.recording.leaves.get(self.ref(tensor).index)
        return leaf is None or leaf.kind not in ("buffer", "constant")

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = _name_of(func)
        given = list(_tensors((args, kwargs)))
        live = [tensor for tensor in given if self._is_live(tensor)]
        if name in _READS and live:
            self._refuse_reading(name)
        given_args = tuple(_replaced(one, self.ref) for one in args)
        given_kwargs = {key: _replaced(one, self.ref) for key, one in kwargs.items()}
        made = func(*args, **kwargs)
        results = list(_tensors(made))
        if not results and name != "__setitem__":
            return made
        if name in _RANDOM or (live and name not in _LIKE):
            in_place = any(one is other for one in results for other in given)
            target = results or [args[0]]
            for tensor in target:
                self._new(tensor)
            result = _replaced(made if results else args[0], self.ref)
            path, kind = self._stack[-1] if self._stack else ("", "")
            self.recording.calls.append(
                Call(
                    _plain(name), given_args, given_kwargs, result, path, kind, _source(), in_place
                )
            )
            return made
        for tensor in results or [args[0]]:
            if id(tensor) not in self._names or results == []:
                self.recording.leaves[self._new(tensor)] = Leaf("constant", "", tensor.clone())
        return made

    def _refuse_reading(self, name: str) -> None:
        raise ComposerError(
            Diagnostic(
                "depends-on-data",
                f"the forward depends on the values in a tensor: {_READS[name]}",
                "a spec does the same for every input: write it without reading values",
                _source(),
            )
        )


def _name_of(func: Callable[..., Any]) -> str:
    """Return the last part of torch's name for a function or property."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return (resolve_name(func) or "").removesuffix(".__get__").rpartition(".")[2]
    return name or str(func)


def _plain(name: str) -> str:
    """Return ``add`` for ``__add__``, ``add_`` and ``__iadd__``."""
    word = name.strip("_") or name
    in_place = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "idiv": "div"}
    return in_place.get(word, word)


def _source() -> Location | None:
    """Return the current line of the innermost code outside torch."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_TORCH, _HERE, "<")):
            return location(file, frame.f_lineno)
        frame = frame.f_back
    return None


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for one in tree:
            yield from _tensors(one)
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))
    elif isinstance(tree, slice):
        yield from _tensors((tree.start, tree.stop, tree.step))


def _replaced(tree: Any, ref: Callable[[Tensor], Ref]) -> Any:
    """Return nested values with each tensor as its `Ref`; named tuples become tuples."""
    if isinstance(tree, Tensor):
        return ref(tree)
    if isinstance(tree, (list, tuple)):
        return tuple(_replaced(one, ref) for one in tree)
    if isinstance(tree, dict):
        return {key: _replaced(one, ref) for key, one in tree.items()}
    if isinstance(tree, slice):
        return slice(*(_replaced(one, ref) for one in (tree.start, tree.stop, tree.step)))
    return tree
