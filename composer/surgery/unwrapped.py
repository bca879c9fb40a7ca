"""The model inside what wraps it for several devices."""

from __future__ import annotations

import warnings

from torch import nn
from torch.nn.parallel import DistributedDataParallel


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside ``DataParallel`` or ``DistributedDataParallel``, with a warning.

    They know the parameters of the model that they were given, and of no others.
    """
    if not isinstance(model, (nn.DataParallel, DistributedDataParallel)):
        return model
    kind, inner = type(model).__name__, model.module
    warnings.warn(
        f"{kind} is taken off, as it knows only the parameters that were there: this is about the "
        f"{type(inner).__name__} inside it; wrap the composed model anew",
        stacklevel=3,
    )
    assert isinstance(inner, nn.Module)
    return inner
