"""`reset`: what was inserted begins anew, as where a model was made without memory at first."""

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
    """Let all that was inserted begin anew, in place: as its spec, and the `init` it has, say.

    Devices, dtypes and shards stay. The random numbers are drawn as `insert` draws them, so they
    are the same after the same ``torch.manual_seed``. The backbone's weights are left as they are::

        with torch.device("meta"):
            model = composer.insert(timm.create_model("resnet50"), "se")
        model.to_empty(device="cuda")
        composer.reset(model)
        model.load_state_dict(weights_of_resnet50, strict=False)

    Buffers of the backbone that no state dict holds, such as tables of positions, are lost by
    `to_empty`, whatever was inserted.

    Args:
        model: a composed model; it may be wrapped, or sharded by ``fully_shard``.

    Raises:
        ComposerError: nothing was inserted, what was inserted has no memory yet, or a stand-in
            begins as a layer whose weights are not there.
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
            "say model.to_empty(device='cpu') first",
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
    """Return each inserted module's path, with one that is as fresh."""
    if not any(edit.init == "identity" and _replaces(edit.sites) for edit in record.edits):
        with torch.device("cpu"):
            return [(site.module, lower(graph)) for _, site, graph in inserted_graphs(model)]
    for path, module in replaced_modules(model).named_modules():
        if any(tensor.is_meta for tensor in module.parameters(recurse=False)):
            raise error(
                "no-numbers",
                f"what stands in for {path} begins as it, and the weights of {path} are not there",
                "insert into the model after its weights are loaded, or begin as the paper does: "
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
    """Copy a value into a tensor, wherever that is; into its shards where it has such."""
    with torch.no_grad():
        if isinstance(tensor, DTensor):
            mesh = tensor.device_mesh
            there = value.to(device=mesh.device_type, dtype=tensor.dtype)
            tensor.copy_(distribute_tensor(there, mesh, tensor.placements))
        else:
            tensor.copy_(value)
