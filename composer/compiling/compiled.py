"""Calls of a module through compiled code."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch._dynamo import exc
from torch.utils._python_dispatch import _get_current_dispatch_mode

#: dynamo's exception at the ninth kind of input; it has another name in torch 2.7.
_LIMIT: tuple[type[BaseException], ...] = tuple(
    getattr(exc, name)
    for name in ("FailOnRecompileLimitHit", "FailOnCacheLimitHit")
    if hasattr(exc, name)
)


class Compiled:
    """Calls a module through its compiled code, or directly while something traces or counts it.

    So `composer.sites`, `torch.export` and operation counters see the module itself.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._code = torch.compile(_call_of(module), fullgraph=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        # torch's mode flag is shared by all threads; this stack is per thread
        if torch.compiler.is_compiling() or _get_current_dispatch_mode() is not None:
            return self.module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self.run(*args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the compiled code, or the module itself once dynamo's cache is full."""
        try:
            return self._code(*args, **kwargs)
        except _LIMIT:
            return self.module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]


def _call_of(module: nn.Module) -> Callable[..., Any]:
    """Return the call of a module as a function with a separate code object.

    Dynamo caches at most eight results per code object, and models of one class share the code of
    their forward: the ninth ResNet of a process would fail.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        return module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

    own = call.__code__.replace(co_name=f"call_{type(module).__name__}")
    return FunctionType(own, call.__globals__, own.co_name, None, call.__closure__)
