"""Compares compiled code with its module, on the first inputs of each size."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from composer.errors import error

#: Number of input sizes to compare: code for one, for any, for a batch of one, and one more.
MOST_SIZES = 4
#: Tolerance relative to the largest output of the module, by dtype.
TOLERANCE = {8: 1e-6, 4: 1e-2, 2: 0.1, 1: 0.5}


class Agreement:
    """Compares the output of compiled code with that of its module, for the first few sizes."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._seen: set[tuple[Any, ...]] = set()

    def is_due(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return whether inputs of these sizes still need comparing, in the module's mode."""
        return self._case(args, kwargs) not in self._seen and len(self._seen) < MOST_SIZES

    def own(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the output of the module's own code."""
        return self.module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

    def check(
        self,
        wanted: Any,
        found: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        numbers: bool = True,
    ) -> None:
        """Refuse an output of the code that differs from the module's.

        Raises:
            ComposerError: they differ in shape or, if requested, in values.
        """
        for ours, theirs in zip(tensors(wanted), tensors(found), strict=True):
            if said := apart(ours, theirs, numbers=numbers):
                sizes = [tuple(t.shape) for t in tensors((args, kwargs))]
                shapes = ", ".join("×".join(map(str, size)) for size in sizes)
                raise error(
                    "compiled-differs",
                    f"this {type(self.module).__name__}, compiled, {said} on an input of {shapes}",
                    "use the original model, and report this with the spec: the bug is in the "
                    "compiler or in Composer",
                )
        self._seen.add(self._case(args, kwargs))

    def _case(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        return (self.module.training, *(tuple(t.shape) for t in tensors((args, kwargs))))


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors inside a value, in order."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def apart(ours: Tensor, theirs: Tensor, *, numbers: bool = True) -> str | None:
    """Return how a tensor of the code differs from the module's, beyond rounding."""
    if ours.shape != theirs.shape:
        shapes = ["×".join(map(str, t.shape)) for t in (theirs, ours)]
        return f"returns {shapes[0]} instead of {shapes[1]}"
    if not numbers or not ours.is_floating_point() or not ours.numel():
        return None
    scale = float(ours.detach().abs().max())
    off = float((ours - theirs).detach().abs().max())
    if not math.isfinite(scale) or off <= TOLERANCE[ours.element_size()] * scale:
        return None
    return f"differs by {off:.3g} from the model, whose values reach {scale:.3g},"
