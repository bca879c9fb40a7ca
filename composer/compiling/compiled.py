"""Calls of a module through compiled code."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch._dynamo import exc
from torch.utils._python_dispatch import _get_current_dispatch_mode

#: What dynamo raises at the ninth kind of input; its name is another in torch 2.7.
_LIMIT: tuple[type[BaseException], ...] = tuple(
    getattr(exc, name)
    for name in ("FailOnRecompileLimitHit", "FailOnCacheLimitHit")
    if hasattr(exc, name)
)


class Compiled:
    """Calls a module through its compiled code, or its own where something traces or counts it.

    So `composer.sites`, `torch.export` and a count of operations read the module as it is.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._code = torch.compile(_call_of(module), fullgraph=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        # torch's own flag of modes is one for all threads; this stack is one of each
        if torch.compiler.is_compiling() or _get_current_dispatch_mode() is not None:
            return self.module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self.run(*args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the compiled code, or the module's own where dynamo keeps no more results."""
        try:
            return self._code(*args, **kwargs)
        except _LIMIT:
            return self.module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]


def _call_of(module: nn.Module) -> Callable[..., Any]:
    """Return the call of a module as a function with code of its own.

    Dynamo keeps what it compiled by the code it read, at most eight results for each, and models
    of one class share the code of their forward: the ninth ResNet of a process would fail.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        return module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

    own = call.__code__.replace(co_name=f"call_{type(module).__name__}")
    return FunctionType(own, call.__globals__, own.co_name, None, call.__closure__)
