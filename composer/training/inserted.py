"""`inserted_parameters`: the parameters that insertions added to a model, by name."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from composer.surgery.composition import composed, inserted_prefixes
from composer.surgery.unwrapped import bare


def inserted_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield name and parameter of all inserted modules, as `named_parameters` does.

    The names are those that ``model.named_parameters()`` gives, wrapped or not::

        model.requires_grad_(False)
        for _, parameter in composer.inserted_parameters(model):
            parameter.requires_grad_(True)

    Args:
        model: a composed model; it may be in ``DistributedDataParallel``, compiled, or sharded by
            ``fully_shard``.

    Raises:
        ComposerError: nothing was inserted, or its parameters have no names of their own.
    """
    inner, wrapper = bare(model)
    composed(inner)
    prefixes = inserted_prefixes(inner)
    found = [
        (f"{wrapper}{name}", parameter)
        for name, parameter in inner.named_parameters()
        if name.startswith(prefixes)
    ]
    return iter(found)
