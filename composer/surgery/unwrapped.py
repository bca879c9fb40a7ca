"""The model inside what wraps it for several devices, or to be compiled."""

from __future__ import annotations

import warnings

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from composer.errors import error


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside ``DataParallel`` or ``DistributedDataParallel``, with a warning.

    They know the parameters of the model that they were given, and of no others.

    Raises:
        ComposerError: it is inside ``FullyShardedDataParallel``, whose parameters are flat.
    """
    _check_not_flat(model)
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


def bare(model: nn.Module) -> tuple[nn.Module, str]:
    """Return the model inside every wrapper, and what they put before each of its keys.

    The wrappers are ``DataParallel``, ``DistributedDataParallel`` and what ``torch.compile``
    returns. ``fully_shard`` wraps nothing.

    Raises:
        ComposerError: it is inside ``FullyShardedDataParallel``, whose parameters are flat.
    """
    prefix = ""
    while True:
        if isinstance(model, (nn.DataParallel, DistributedDataParallel)):
            name = "module"
        elif _is(model, "torch._dynamo", "OptimizedModule"):
            name = "_orig_mod"
        else:
            break
        model, prefix = model.get_submodule(name), f"{prefix}{name}."
    _check_not_flat(model)
    return model, prefix


def _check_not_flat(model: nn.Module) -> None:
    if _is(model, "torch.distributed.fsdp", "FullyShardedDataParallel"):
        raise error(
            "sharded",
            "FullyShardedDataParallel keeps the parameters flat and in parts, so they have no "
            "names of their own",
            "load its full state dict into the model as it was before it was wrapped, and give "
            "that; or shard by fully_shard (FSDP2), which keeps every name",
        )


def _is(model: nn.Module, package: str, name: str) -> bool:
    """Return whether a model is of a class of torch, which may take long to import."""
    kind = type(model)
    return kind.__name__ == name and kind.__module__.startswith(package)
