"""`eject`: the model as it was before every edit, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from composer.surgery.composition import EditedSite, composed, inserted_sites, remember
from composer.surgery.copied import copy_of
from composer.surgery.edited_class import put_edits
from composer.surgery.rebuilt import unguard_yaml
from composer.surgery.replace import put_back


def eject(model: nn.Module, *, inplace: bool = False) -> nn.Module:
    """Return the model without the insertions: with its original classes, keys and tensors.

    Args:
        model: a composed model; it is copied.
        inplace: undo the edits on the model itself instead.

    Raises:
        ComposerError: nothing was inserted into this model.
    """
    composed(model)
    model = model if inplace else copy_of(model)
    undo(model, inserted_sites(model))
    unguard_yaml(model)
    remember(model, None)
    return model


def undo(model: nn.Module, sites: Sequence[EditedSite]) -> None:
    """Remove the modules at these sites, the last first."""
    for site in reversed(sites):
        if site.name is None:
            put_back(model, site)
        for path, edits in site.edits:
            put_edits(model.get_submodule(path), edits)
        if site.name is not None:
            owner = model.get_submodule(site.path)
            owner._modules.pop(site.name, None)  # it is missing where inserting it failed
