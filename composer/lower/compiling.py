"""A module compiled by torch whose failures are Composer's errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from composer.lower.of_torch import torch_told

_SMALLER = "give it a smaller input, or choose smaller sizes"
_PLAIN = "choose another dtype, device or sizes, or build it without compile=True"


def compile_whole(module: fx.GraphModule, name: str) -> None:
    """Let a module be compiled by ``torch.compile(fullgraph=True)`` when it is first called.

    What the first call raises, and what compiling raises in any later one, is a `ComposerError`
    with torch's own as its cause. What a compiled module raises later while it runs is torch's,
    so that a loop that catches `torch.OutOfMemoryError` goes on.

    Args:
        module: is changed in place; its class, its attributes and its keys stay.
        name: of its spec, for messages.
    """
    from torch._dynamo.exc import TorchDynamoException  # half a second, of those who compile
    from torch._inductor.exc import InductorError

    module.compile(fullgraph=True)
    call: Callable[..., Any] | None = module._compiled_call_impl
    assert call is not None
    has_run = False

    def told(*args: Any, **kwargs: Any) -> Any:
        nonlocal has_run
        if torch.compiler.is_compiling():  # a model around it, which says itself what fails
            return call(*args, **kwargs)
        try:
            given = call(*args, **kwargs)
        except Exception as failure:
            if has_run and not isinstance(failure, (TorchDynamoException, InductorError)):
                raise
            with torch_told(f"the compiled kernels of {name!r}", _SMALLER, _PLAIN, "run"):
                raise
        has_run = True
        return given

    module._compiled_call_impl = told
