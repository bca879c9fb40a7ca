"""The model inside its wrappers for several devices or for compilation."""

from __future__ import annotations

import warnings

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from composer.errors import error


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside ``DataParallel`` or ``DistributedDataParallel``, with a warning.

    They handle only the parameters that the model had when it was wrapped.

    Raises:
        ComposerError: it is inside ``FullyShardedDataParallel``, whose parameters are flat.
    """
    _check_not_flat(model)
    if not isinstance(model, (nn.DataParallel, DistributedDataParallel)):
        return model
    kind, inner = type(model).__name__, model.module
    warnings.warn(
        f"{kind} is removed, since it handles only the earlier parameters: this applies to the "
        f"{type(inner).__name__} inside it; wrap the composed model again",
        stacklevel=3,
    )
    assert isinstance(inner, nn.Module)
    return inner


def bare(model: nn.Module) -> tuple[nn.Module, str]:
    """Return the model inside all wrappers, and the prefix that they add to its keys.

    The wrappers are ``DataParallel``, ``DistributedDataParallel`` and that of ``torch.compile``.
    ``fully_shard`` adds no wrapper.

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
            "FullyShardedDataParallel keeps the parameters flattened and sharded, so they have no "
            "names of their own",
            "load its full state dict into the unwrapped model, and pass that; or shard with "
            "fully_shard (FSDP2), which keeps every name",
        )


def _is(model: nn.Module, package: str, name: str) -> bool:
    """Return whether a model is of a torch class that may be slow to import."""
    kind = type(model)
    return kind.__name__ == name and kind.__module__.startswith(package)
