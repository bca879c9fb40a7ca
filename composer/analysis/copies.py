"""Copies of modules for trials and for inspection."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypeVar

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

M = TypeVar("M", bound=nn.Module)


def copied(module: M) -> M:
    """Return a copy of a module; tensors that a forward pass left in it are constants in the copy.

    A pass with gradients leaves tensors that torch does not copy, as in LeViT's attention biases.

    Raises:
        RuntimeError: it holds something else that can't be copied.
    """
    left = {id(tensor): tensor.detach().clone() for tensor in _left_in(module)}
    return copy.deepcopy(module, dict(left))


def shell_of(model: M) -> M:
    """Return a copy of all modules of a model that shares the model's tensors.

    It is for inspecting a model that may run meanwhile in another thread: hooks, modes and fake
    tensors are put on the copy. What can't be copied, or is not a model, is returned as is.
    """
    try:
        held = (*model.parameters(), *model.buffers(), *_left_in(model))
        return copy.deepcopy(model, {id(tensor): tensor for tensor in held})
    except Exception:  # whatever its own __deepcopy__ raises, as after fully_shard
        return model


def _left_in(module: nn.Module) -> Iterator[Tensor]:
    """Yield the non-leaf tensors among the attributes of all modules inside."""
    for part in module.modules():
        own = {name: value for name, value in list(vars(part).items()) if name not in _KEPT}
        for leaf in tree_leaves(own):
            if isinstance(leaf, Tensor) and not leaf.is_leaf:
                yield leaf


_KEPT = ("_parameters", "_modules")
