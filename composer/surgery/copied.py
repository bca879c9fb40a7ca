"""A copy of a model to edit, or a refusal where torch can't copy it."""

from __future__ import annotations

from torch import nn

from composer.analysis.copies import copied
from composer.errors import error


def copy_of(model: nn.Module) -> nn.Module:
    """Return a copy; what a forward pass left in the model is a constant in the copy.

    Raises:
        ComposerError: it holds what can't be copied.
    """
    try:
        return copied(model)
    except (RuntimeError, TypeError) as failure:  # of torch, or of what can't be pickled
        raise error(
            "no-copy",
            f"this {type(model).__name__} can't be copied: {str(failure).splitlines()[0][:120]}",
            "give a fresh model, or edit this one: inplace=True",
        ) from None
