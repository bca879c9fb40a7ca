"""Which tensors of a pass depend on the images; in CLIP, those of the text don't."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


class ImageFlow(TorchFunctionMode):
    """Follows tensors through all functions of torch that are called inside it."""

    def __init__(self) -> None:
        super().__init__()
        self._known = WeakIdKeyDictionary()

    def begin(self, image: Tensor | None, given: Any) -> None:
        """Follow an image, and other inputs with as many axes, such as a second image."""
        for leaf in tree_leaves(given):
            if image is not None and isinstance(leaf, Tensor) and leaf.dim() == image.dim():
                self._known[leaf] = True

    def reaches(self, value: Any) -> bool:
        """Return whether any tensor in a value depends on the followed ones."""
        return any(isinstance(leaf, Tensor) and leaf in self._known for leaf in tree_leaves(value))

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, and follow its output."""
        kwargs = kwargs or {}
        function: Callable[..., Any] = func
        out = function(*args, **kwargs)
        if self.reaches((args, kwargs)):
            written = args[:1] if out is None else out  # as x[0] = y writes into x
            for leaf in tree_leaves(written):
                if isinstance(leaf, Tensor):
                    self._known[leaf] = True
        return out
