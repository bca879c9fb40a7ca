"""Calls of a module in training through compiled code, at first compared with the module."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from composer.compiling.agreeing import Agreement, apart, tensors
from composer.compiling.compiled import Compiled
from composer.turns import TURN


class Learning(Compiled):
    """Calls a module through its compiled code, and compares the first call at each size.

    The module itself runs twice first, without gradients; then its buffers and the random number
    generators are restored. If the two runs differ, the module is random, as with dropout, and
    compiled code draws other numbers: then only the shapes are compared.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self._agreement = Agreement(module)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the compiled code.

        Raises:
            ComposerError: its results differ from the module's.
        """
        if not self._agreement.is_due(args, kwargs):
            return super().run(*args, **kwargs)
        with TURN:  # a compiler in one thread sees modes that are active in another
            with torch.random.fork_rng(), torch.no_grad():
                once, again = (self._own(args, kwargs) for _ in range(2))
            torch.clear_autocast_cache()  # its entries were cast without gradients
            pairs = zip(tensors(once), tensors(again), strict=True)
            found = super().run(*args, **kwargs)
        drawn = any(apart(*pair) for pair in pairs)
        self._agreement.check(once, found, args, kwargs, numbers=not drawn)
        return found

    def _own(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        held = [(inside._buffers, dict(inside._buffers)) for inside in self.module.modules()]
        kept = {key: buffer.clone() for key, buffer in self.module.named_buffers()}
        try:
            return self._agreement.own(args, kwargs)
        finally:
            for buffers, before in held:
                buffers.update(before)
            for key, buffer in self.module.named_buffers():
                buffer.copy_(kept[key])
