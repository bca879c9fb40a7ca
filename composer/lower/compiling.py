"""A module compiled by torch whose failures are Composer's errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import fx, nn

from composer.lower.of_torch import torch_told

_SMALLER = "give it a smaller input, or choose smaller sizes"
_SHARED_CODE = "_codes_of_compiled_calls"  # on a class, by the sizes of the module's tensors
_PLAIN = "choose another dtype, device or sizes, or build it without compile=True"


@cache
def limit_exceptions() -> tuple[type[BaseException], ...]:
    """Return dynamo's exceptions at the ninth kind of input, named otherwise in torch 2.7."""
    from torch._dynamo import exc  # half a second, of those who compile

    names = ("FailOnRecompileLimitHit", "FailOnCacheLimitHit")
    return tuple(getattr(exc, name) for name in names if hasattr(exc, name))


def call_of(module: nn.Module, code: CodeType | None = None) -> Callable[..., Any]:
    """Return the call of a module as a function with a separate code object, or with this one.

    Dynamo caches at most eight results per code object, and all modules share that of
    `nn.Module._call_impl`, those of one class that of their forward: the ninth would fail.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        return module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

    own = code or call.__code__.replace(co_name=f"call_{type(module).__name__}")
    return FunctionType(own, call.__globals__, own.co_name, None, call.__closure__)


def compile_whole(module: fx.GraphModule, name: str) -> None:
    """Let a module be compiled by ``torch.compile(fullgraph=True)`` when it is first called.

    Modules of equal code and sizes share what was compiled. At the ninth kind of input (another
    dtype, mode or memory format), which dynamo refuses, the module starts a cache of its own.

    What the first call raises, and what compiling raises in any later one, is a `ComposerError`
    with torch's own as its cause. What a compiled module raises later while it runs is torch's,
    so that a loop that catches `torch.OutOfMemoryError` goes on.

    Args:
        module: is changed in place; its class, its attributes and its keys stay.
        name: of its spec, for messages.
    """
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    kind = type(module)
    if _SHARED_CODE not in vars(kind):
        setattr(kind, _SHARED_CODE, {})
    codes: dict[tuple[Any, ...], CodeType] = vars(kind)[_SHARED_CODE]
    sizes = tuple((key, tensor.shape) for key, tensor in module.state_dict().items())
    own = call_of(module, codes.get(sizes))
    codes[sizes] = own.__code__
    call: Callable[..., Any] = torch.compile(own, fullgraph=True)
    has_run = False

    def run(*args: Any, **kwargs: Any) -> Any:
        nonlocal call
        try:
            return call(*args, **kwargs)
        except limit_exceptions():
            call = torch.compile(call_of(module), fullgraph=True)
            return call(*args, **kwargs)

    def told(*args: Any, **kwargs: Any) -> Any:
        nonlocal has_run
        if torch.compiler.is_compiling():  # a model around it, which says itself what fails
            return call(*args, **kwargs)
        try:
            given = run(*args, **kwargs)
        except Exception as failure:
            if has_run and not isinstance(failure, (TorchDynamoException, InductorError)):
                raise
            with torch_told(f"the compiled kernels of {name!r}", _SMALLER, _PLAIN, "run"):
                raise
        has_run = True
        return given

    module._compiled_call_impl = told
