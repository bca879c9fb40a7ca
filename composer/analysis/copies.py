"""Copies of modules to try things on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypeVar

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

M = TypeVar("M", bound=nn.Module)


def copied(module: M) -> M:
    """Return a copy of a module; what a forward pass left in it is a constant in the copy.

    A pass with gradients leaves tensors that torch does not copy, as in LeViT's attention biases.

    Raises:
        RuntimeError: it holds something else that can't be copied.
    """
    left = {id(tensor): tensor.detach().clone() for tensor in _left_in(module)}
    return copy.deepcopy(module, dict(left))


def _left_in(module: nn.Module) -> Iterator[Tensor]:
    """Yield the tensors that are results of others among the attributes of all modules inside."""
    for part in module.modules():
        own = {name: value for name, value in vars(part).items() if name not in _KEPT}
        for leaf in tree_leaves(own):
            if isinstance(leaf, Tensor) and not leaf.is_leaf:
                yield leaf


_KEPT = ("_parameters", "_modules")
