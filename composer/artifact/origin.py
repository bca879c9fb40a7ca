"""The origin of a model, found at insertion and not only when it is saved."""

from __future__ import annotations

import warnings

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from composer.artifact.identify import identify
from composer.errors import UnknownOriginWarning
from composer.surgery.composition import composition


def origin_of(model: nn.Module) -> str | None:
    """Return the MODEL string of a plain model, if one is found that makes the same model."""
    if isinstance(model, (nn.DataParallel, DistributedDataParallel)):
        return origin_of(model.module)  # `insert` works on this
    if hasattr(model, "save_pretrained"):  # it carries the recipe in its config
        return None
    return identify(model) if composition(model) is None else None


def warn_of_unknown_origin(model: nn.Module, stacklevel: int) -> None:
    """Warn where `save` will not know how to make the composed model's backbone."""
    record = composition(model)
    if record is None or record.backbone or len(record.edits) > 1:
        return
    if hasattr(model, "save_pretrained"):  # it carries the recipe in its config
        return
    warnings.warn(
        f"it is not known how this {type(model).__name__} was made, so composer.save will refuse "
        "it: name its MODEL, as in insert(model, spec, backbone='file.py:factory'); its "
        "state_dict() can be saved in either case",
        UnknownOriginWarning,
        stacklevel=stacklevel + 1,
    )
