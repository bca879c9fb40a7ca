"""The kinds of a backbone's own modules, which show whether it still computes the same.

A changed stride or a removed pool leaves every key and shape of the state dict as it was.
Whatever does not change the output in evaluation is omitted: dropout and its rates, the momentum
of norms, and whether a batch norm synchronises its statistics over devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from composer.analysis.edited import class_before_edits
from composer.surgery.composition import inserted_prefixes, replaced_modules

#: Types whose repr is the same in every process.
_LIBRARIES = ("torch", "torchvision", "timm")


def own_modules(model: nn.Module) -> dict[str, str]:
    """Return the kind of each module, as if nothing had been inserted."""
    inserted = tuple(prefix.removesuffix(".") for prefix in inserted_prefixes(model))
    kept = (
        (path, module)
        for path, module in model.named_modules()
        if not any(path == one or path.startswith(f"{one}.") for one in inserted)
    )
    replaced = {
        path: module
        for path, module in replaced_modules(model).named_modules()
        if type(module) is not nn.Module  # a bare container
    }
    every = {**dict(kept), **replaced}
    return {path: _kind(module) for path, module in every.items() if not _is_silent(module)}


def difference_of_modules(now: Mapping[str, str], then: Mapping[str, str]) -> str | None:
    """Return the first different module in words, or None where all agree."""
    for path in chain(then, now):
        if now.get(path) != then.get(path):
            here, there = (kinds.get(path, "missing") for kinds in (now, then))
            return f"{path or 'the model'!r} is {here} here and {there} there"
    return None


def _is_silent(module: nn.Module) -> bool:
    """Return whether a module changes nothing in evaluation."""
    return isinstance(module, (nn.Identity, _DropoutNd)) or hasattr(module, "drop_prob")


def _kind(module: nn.Module) -> str:
    if isinstance(module, _BatchNorm):
        return f"BatchNorm({module.num_features}, eps={module.eps:g})"
    name = class_before_edits(module).__name__
    if name.startswith("FSDP") and hasattr(module, "unshard"):
        name = name.removeprefix("FSDP")  # fully_shard's prefix
    owner = getattr(type(module).extra_repr, "__module__", "")
    settings = module.extra_repr() if owner.startswith(_LIBRARIES) else ""
    return f"{name}({settings})" if settings else name
