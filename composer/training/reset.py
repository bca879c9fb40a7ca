"""`reset`: initialise inserted modules again, for example after building on the meta device."""

from __future__ import annotations

import warnings
from itertools import chain

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from composer.errors import counted, error
from composer.lower.build import lower
from composer.surgery.composition import (
    Composition,
    composed,
    inserted_prefixes,
    inserted_sites,
    replaced_modules,
)
from composer.surgery.eject import eject
from composer.surgery.insert import apply
from composer.surgery.plan import plan_again
from composer.surgery.unwrapped import bare
from composer.training.graphs import inserted_graphs


def reset(model: nn.Module) -> None:
    """Initialise all inserted modules again, in place, by their specs and their `init`.

    Devices, dtypes and shards are kept. Random numbers are drawn as in `insert`, so they are the
    same after the same ``torch.manual_seed``. The backbone's weights are not changed::

        with torch.device("meta"):
            model = composer.insert(timm.create_model("resnet50"), "se")
        model.to_empty(device="cuda")
        composer.reset(model)
        model.load_state_dict(weights_of_resnet50, strict=False)

    `to_empty` loses buffers of the backbone that are not in its state dict, such as position
    tables, with or without insertions.

    Args:
        model: a composed model; it may be wrapped, or sharded by ``fully_shard``.

    Raises:
        ComposerError: nothing was inserted, the insertions are on the meta device, or a stand-in
            starts from a layer whose weights are missing.
    """
    inner, _ = bare(model)
    record = composed(inner)
    inserted = inserted_prefixes(inner)
    named = dict(chain(inner.named_parameters(), inner.named_buffers()))
    empty = [name for name, tensor in named.items() if tensor.is_meta]
    if own := [name for name in empty if name.startswith(inserted)]:
        raise error(
            "no-numbers",
            f"{own[0]} is on the meta device, without memory",
            "call model.to_empty(device='cpu') first",
        )
    for path, module in _fresh(inner, record):
        place = inner.get_submodule(path)
        values = dict(chain(module.named_parameters(), module.named_buffers()))
        for name, tensor in chain(place.named_parameters(), place.named_buffers()):
            _put(tensor, values[name].detach())
    if empty:
        warnings.warn(
            f"{counted(len(empty), 'tensor')} of the backbone, {empty[0]} the first, are on the "
            "meta device and need weights of their own: load_state_dict(…, assign=True)",
            stacklevel=2,
        )


def _fresh(model: nn.Module, record: Composition) -> list[tuple[str, nn.Module]]:
    """Return the path of each inserted module, with a freshly initialised one."""
    if not any(edit.init == "identity" and _replaces(edit.sites) for edit in record.edits):
        with torch.device("cpu"):
            return [(site.module, lower(graph)) for _, site, graph in inserted_graphs(model)]
    for path, module in replaced_modules(model).named_modules():
        if any(tensor.is_meta for tensor in module.parameters(recurse=False)):
            raise error(
                "no-numbers",
                f"the stand-in for {path} starts from its weights, and these are missing",
                "insert into the model after its weights are loaded, or start as in the paper: "
                "init='paper'",
            )
    plain = eject(model)
    for edit in record.edits:
        paths = [site.path for site in edit.sites]
        found = plan_again(
            plain, edit.spec, edit.at, edit.position, paths, edit.params, edit.init,
            edit.prefix_tokens,
        )  # fmt: skip
        apply(plain, found)
    return [(site.module, plain.get_submodule(site.module)) for site in inserted_sites(model)]


def _replaces(sites: tuple[object, ...]) -> bool:
    return any(getattr(site, "name", None) is None for site in sites)


def _put(tensor: Tensor, value: Tensor) -> None:
    """Copy a value into a tensor on any device, or into its shards."""
    with torch.no_grad():
        if isinstance(tensor, DTensor):
            mesh = tensor.device_mesh
            there = value.to(device=mesh.device_type, dtype=tensor.dtype)
            tensor.copy_(distribute_tensor(there, mesh, tensor.placements))
        else:
            tensor.copy_(value)
