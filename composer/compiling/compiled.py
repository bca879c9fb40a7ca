"""Calls of a module through compiled code."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from composer.lower.compiling import call_of, limit_exceptions


class Compiled:
    """Calls a module through its compiled code, or directly while something traces or counts it.

    So `composer.sites`, `torch.export` and operation counters see the module itself.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._code = torch.compile(call_of(module), fullgraph=True)

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
        except limit_exceptions():
            return self.module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]
