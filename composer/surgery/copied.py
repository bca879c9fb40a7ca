"""A copy of a model to edit, or an error where torch can't copy it."""

from __future__ import annotations

from torch import nn

from composer.analysis.copies import copied
from composer.errors import error


def copy_of(model: nn.Module) -> nn.Module:
    """Return a copy; tensors that a forward pass left in the model are constants in the copy.

    Raises:
        ComposerError: it holds something that can't be copied.
    """
    try:
        return copied(model)
    except (RuntimeError, TypeError) as failure:  # from torch, or from what can't be pickled
        raise error(
            "no-copy",
            f"this {type(model).__name__} can't be copied: {str(failure).splitlines()[0][:120]}",
            "give a fresh model, or edit this one: inplace=True",
        ) from None
