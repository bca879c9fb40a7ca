"""`eject`: the model as it was before every edit, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from composer.rewrite.composition import EditedSite, composed, remember


def eject(model: nn.Module, *, inplace: bool = False) -> nn.Module:
    """Return the model without what was inserted: its classes, keys and tensors of before.

    Args:
        model: a composed model; it is copied.
        inplace: undo the edits on the model itself instead.

    Raises:
        ComposerError: nothing was inserted into this model.
    """
    record = composed(model)
    model = model if inplace else copy.deepcopy(model)
    for edit in reversed(record.edits):
        undo(model, edit.sites)
    remember(model, None)
    return model


def undo(model: nn.Module, sites: Sequence[EditedSite]) -> None:
    """Take what stands at these sites out again, the last first."""
    for site in reversed(sites):
        owner = model.get_submodule(site.path)
        owner.__class__ = site.previous
        delattr(owner, site.name)
