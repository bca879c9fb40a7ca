"""Parameters and multiply-adds, counted as vision papers count them.

Multiply-adds are those of every convolution and matrix product, and two for each element of a
norm. ResNet-50 at 224 comes to 4.11 G. Reductions, activations and elementwise products are
omitted, as in the papers; so are those of a norm written in elementwise products.
"""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from composer.errors import error
from composer.measure.caches import nothing_fake_remembered
from composer.measure.inside import Inside
from composer.measure.operators import multiply_adds
from composer.turns import TURN


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the multiply-adds of all that runs inside it; see the head of this file."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the op and count it."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.total += multiply_adds(func._overloadpacket, args, kwargs, out) or 0
        return out


_CONTAINERS = (dict, OrderedDict, list, set)


@contextmanager
def untouched(model: nn.Module) -> Iterator[list[str]]:
    """Undo what a forward pass leaves on the modules: caches, counters, flags.

    Yields a list that afterwards holds the names of the changed attributes.
    """
    changed: list[str] = []
    saved = [(m, dict(vars(m)), _contents(m)) for m in model.modules()]
    try:
        yield changed
    finally:
        for module, attributes, contents in saved:
            now = vars(module)
            every = {**now, **attributes}
            names = [n for n in every if now.get(n, now) is not attributes.get(n, now)]
            for name, (container, items) in contents.items():
                if (container or items) and not _same(container, items):
                    names.append(name)
                    container.clear()
                    put = container.extend if isinstance(container, list) else container.update
                    put(items)
            changed += names
            for name in names:
                if name in attributes:
                    now[name] = attributes[name]
                else:
                    now.pop(name, None)


def _contents(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Return the containers of a module, each with its contents; most are empty."""
    return {
        name: (value, value.copy() if value else ())
        for name, value in vars(module).items()
        if type(value) in _CONTAINERS
    }


def _same(container: Any, items: Any) -> bool:
    if len(container) != len(items):
        return False
    if isinstance(container, dict):
        return all(k in container and container[k] is v for k, v in items.items())
    if isinstance(container, list):
        return all(a is b for a, b in zip(container, items, strict=True))
    return bool(container == items)


@dataclass(frozen=True)
class FakeRun:
    """Runs a model on fake tensors: shapes without values or memory."""

    mode: FakeTensorMode
    state: dict[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> FakeRun:
        """Prepare fake copies of all parameters and buffers; the model is not changed.

        Raises:
            ComposerError: some of them have no size yet.
        """
        tensors = dict([*model.named_parameters(), *model.named_buffers()])
        for name in (name for name, tensor in tensors.items() if is_lazy(tensor)):
            path, _, _ = name.rpartition(".")
            kind = type(model.get_submodule(path)).__name__
            raise error(
                "lazy-model",
                f"{path} is a {kind} that has not seen an image, so its sizes are not known",
                "first run the model once on a batch of images",
            )
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with torch.inference_mode(False):  # a caller's; tensors made in it record no gradients
            return cls(mode, {name: mode.from_tensor(t) for name, t in tensors.items()})

    def inside(self, path: str) -> FakeRun:
        """Return the run of a module inside the model; the model itself at an empty path."""
        if not path:
            return self
        start = len(path) + 1
        return FakeRun(self.mode, {k[start:]: self.state[k] for k in self._inside.of(path)})

    @cached_property
    def _inside(self) -> Inside:
        return Inside(self.state)

    def without(self, path: str) -> FakeRun:
        """Return the run of the model with a module inside it replaced."""
        state = {k: t for k, t in self.state.items() if not k.startswith(f"{path}.")}
        return FakeRun(self.mode, state)

    def __call__(
        self,
        model: nn.Module,
        inputs: Callable[[], tuple[Any, ...]],
        watch: AbstractContextManager[Any],
        named: Callable[[], dict[str, Any]] = dict,
        training: bool = False,
        gradients: bool = False,
    ) -> Any:
        """Run the forward pass inside `watch`; inputs are made fake.

        Args:
            model: the prepared model.
            inputs: makes its inputs.
            watch: the context around the pass.
            named: makes its keyword arguments.
            training: the mode of the model and all modules inside.
            gradients: whether the pass records them.
        """
        # in a caller's inference mode whole layers would reach `watch`, not their operators
        with TURN, nothing_fake_remembered(), untouched(model), torch.inference_mode(False):
            for module in model.modules():
                module.training = training
                without_checkpointing(module)
                _run_uncompiled(module)
            grad = torch.set_grad_enabled(gradients)
            with _quietly(), self.mode, grad, watch:
                return torch.func.functional_call(model, self.state, inputs(), named())


#: Names of the flag by which a forward saves memory, such as checkpointing.
_CHECKPOINTING = ("grad_checkpointing", "gradient_checkpointing", "use_checkpoint", "with_cp")


def without_checkpointing(module: nn.Module) -> None:
    """Run a module without saving memory: its operations are the same."""
    for name in _CHECKPOINTING:
        if vars(module).get(name) is True:
            setattr(module, name, False)


def _run_uncompiled(module: nn.Module) -> None:
    """Run a compiled module uncompiled, since fake tensors have no values.

    torch's own switch for this applies to all threads, and a compiled model may serve in another.
    """
    if module._compiled_call_impl is not None:
        module._compiled_call_impl = None


def on_numbers(
    model: nn.Module, args: Any, kwargs: Any, watch: AbstractContextManager[Any]
) -> None:
    """Run a model on real tensors in evaluation inside `watch`; the model is left unchanged."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        plain = torch.inference_mode(False)  # see FakeRun
        with TURN, untouched(model), plain, torch.no_grad(), torch.random.fork_rng([]), watch:
            for module in model.modules():
                without_checkpointing(module)
            torch.func.functional_call(model.eval(), buffers, args, kwargs)
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence torch's log of a traceback where a model refuses a size; the exception is enough."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    was, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was


def parameters(module: nn.Module) -> int:
    """Return the number of parameters, each shared one counted once."""
    return sum(p.numel() for p in module.parameters())


def flops(model: nn.Module, *shapes: tuple[int, ...]) -> int:
    """Return the multiply-adds of one forward pass on inputs of these shapes."""
    counter = FlopCounter()
    tensors = itertools.chain(model.parameters(), model.buffers())
    device = next((t.device for t in tensors), torch.device("cpu"))
    dtype = floating_dtype(model)

    def inputs() -> tuple[Tensor, ...]:
        return tuple(torch.empty(shape, device=device, dtype=dtype) for shape in shapes)

    FakeRun.of(model)(model, inputs, counter)
    return counter.total


def floating_dtype(model: nn.Module) -> torch.dtype:
    """Return the dtype of the model's first floating-point parameter, else float32."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
