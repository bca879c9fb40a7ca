"""The layer number of each parameter, counted from the input, for layer-wise decay.

Layers are the model's own: those of timm's ``group_matcher``, else its stem, its blocks and what
comes after them. Insertions don't change the numbers: they take that of what they serve. (timm's
expressions, written for the names of the plain model, would assign a module after a stage to the
head.)
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from types import SimpleNamespace

from torch import nn

from composer.analysis.anatomy import anatomy
from composer.analysis.copies import shell_of
from composer.errors import error
from composer.models.library import library
from composer.surgery.composition import (
    EditedSite,
    inserted_prefixes,
    inserted_sites,
    replaced_modules,
)


def layer_numbers(model: nn.Module) -> dict[str, int]:
    """Return the layer number of each parameter; 0 is the stem, and the last one the head.

    Raises:
        ComposerError: the model doesn't define its layers, and no blocks are found in it.
    """
    inserted = inserted_prefixes(model)
    every = [name for name, _ in model.named_parameters()]
    kept = [name for name in every if not name.startswith(inserted)]
    replaced = [name for name, _ in replaced_modules(model).named_parameters()]
    own = _own_numbers(model, [*kept, *replaced])
    numbers = {name: own[name] for name in kept}
    for site in inserted_sites(model):
        number = _served(site, own, every)
        prefix = f"{site.module}."
        numbers |= {name: number for name in every if name.startswith(prefix)}
    return {name: numbers.get(name, max(own.values())) for name in every}


def _own_numbers(model: nn.Module, names: list[str]) -> dict[str, int]:
    """Return the layers of the plain model's parameters."""
    for path, module in model.named_modules():
        if not hasattr(module, "group_matcher"):
            continue
        prefix = f"{path}." if path else ""
        inside = [name for name in names if name.startswith(prefix)]
        matcher = module.group_matcher(coarse=False)
        pairs = [(name.removeprefix(prefix), name) for name in inside]
        plain = SimpleNamespace(named_parameters=lambda pairs=pairs: pairs)  # all that is used
        groups = library("timm.models").group_parameters(plain, matcher, return_values=True)
        found = {name: number for number, group in groups.items() for name in group}
        last = max(found.values(), default=0)
        return {name: found.get(name, last) for name in names}
    return _by_blocks(model, names)


def _by_blocks(model: nn.Module, names: list[str]) -> dict[str, int]:
    stages = anatomy(shell_of(model)).stages
    blocks = [f"{block.path}." for stage in stages for block in stage.blocks]
    if not blocks:
        raise error(
            "no-layers",
            f"no blocks are found in this {type(model).__name__}, and it has no group_matcher() "
            "that defines its layers",
            "omit layer_decay, or give the model a group_matcher() as timm's have",
        )
    of_block = {
        name: number
        for number, prefix in enumerate(blocks, 1)
        for name in names
        if name.startswith(prefix)
    }
    numbers, now = {}, 0
    order = {name: place for place, (name, _) in enumerate(model.named_parameters())}
    last = max((order.get(name, 0) for name in of_block), default=0)
    for name in names:
        now = of_block.get(name, now)
        numbers[name] = now if order.get(name, 0) <= last else len(blocks) + 1
    return numbers


def _served(site: EditedSite, own: Mapping[str, int], every: list[str]) -> int:
    """Return the layer of a site's part: its first one for an input position, else its last."""
    prefix = f"{site.path}." if site.path else ""
    there = [number for name, number in own.items() if name.startswith(prefix)]
    if there:
        return min(there) if site.position in ("input", "shared") else max(there)
    before = 0  # a part without parameters, such as a pool: the layer before it
    for name in every:
        if name.startswith(f"{site.module}."):
            break
        before = own.get(name, before)
    return before


def scales(numbers: Mapping[str, int], decay: float) -> dict[str, float]:
    """Return the factor of each parameter's learning rate: 1 for the head, less before it."""
    last = max(chain(numbers.values(), (0,)))
    return {name: decay ** (last - number) for name, number in numbers.items()}
