"""`insert`: a spec's module at every site of a plan, on a copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from composer.backbones.model_string import ModelString
from composer.backbones.open import open_backbone
from composer.errors import counted, error
from composer.graph.graph import Begin, Graph
from composer.lower.build import lower
from composer.measure.cost import floating_dtype
from composer.primitives import Spec
from composer.rewrite.composition import (
    At,
    Composition,
    Edit,
    EditedSite,
    Position,
    composition,
    difference_of_shapes,
    own_shapes,
    remember,
)
from composer.rewrite.edit import Editor
from composer.rewrite.eject import undo
from composer.rewrite.plan import Chosen, Plan, plan
from composer.spec.expressions import Value


def insert(
    model: nn.Module | str,
    spec: Spec | str,
    at: At | None = None,
    *,
    position: Position | None = None,
    stages: Chosen = None,
    blocks: Chosen = None,
    every: int | None = None,
    select: str | Sequence[str] | None = None,
    params: Mapping[str, Value] | None = None,
    init: Begin = "paper",
    expect: int | None = None,
    pretrained: bool = False,
    backbone: str | None = None,
    inplace: bool = False,
) -> nn.Module:
    """Put a spec's module at every site of the model, and return the composed model.

    Every key and tensor of the model's state dict stays; the new keys stand under the block they
    serve. The model keeps its class and its methods. Each site has its own weights, on the
    device, in the dtype and in the memory format of its block.

    Args:
        model: a model, which is copied, or a MODEL string such as ``"resnet50"``.
        spec: a spec, the name of a shipped one, a path, or the text itself.
        at: see `plan`, as for those that follow.
        position: ``"residual"`` or ``"output"``.
        stages: which stages, from 1.
        blocks: which blocks of each stage.
        every: keep the first of these sites, and each n-th after it.
        select: globs over module paths.
        params: other values for the spec's params.
        init: ``"paper"`` or ``"identity"``.
        expect: how many sites there must be.
        pretrained: for a MODEL string, whether its library loads its published weights.
        backbone: the MODEL string that a given model came from, kept in the recipe.
        inplace: edit the model itself instead of a copy.

    Raises:
        ComposerError: no site matches, or the spec does not suit the sizes at a site.
    """
    if isinstance(model, str):
        source = ModelString.parse(model)
        model, backbone, inplace = open_backbone(source, pretrained), str(source), True
    elif pretrained:
        raise error(
            "invalid-value",
            "pretrained is for a MODEL string, and a model was given",
            "load the weights into the model, or give its name",
        )
    elif backbone is not None:
        _check_origin(model, backbone)
    model = model if inplace else copy.deepcopy(model)
    found = plan(
        model,
        spec,
        at,
        position=position,
        stages=stages,
        blocks=blocks,
        every=every,
        select=select,
        params=params,
        init=init,
        expect=expect,
    )
    return apply(model, found, backbone)


def apply(model: nn.Module, found: Plan, backbone: str | None = None) -> nn.Module:
    """Carry out a plan on the model it was made for, in place; return the model.

    Raises:
        ComposerError: a site cannot be edited; the model is as it was before.
    """
    before = composition(model) or Composition(backbone, shapes=own_shapes(model))
    editor = Editor()
    done: list[EditedSite] = []
    for site in found.sites:
        owner = model.get_submodule(site.path)
        edited = EditedSite(
            site.path, site.name, site.position, site.channels, site.size, type(owner)
        )
        try:
            module = _suited(site.graph, owner, model)
        except RuntimeError as failure:  # of torch's allocators
            undo(model, done)
            raise error(
                "out-of-memory",
                f"{counted(site.parameters, 'parameter')} at {site.path} find no room: "
                f"{str(failure).splitlines()[0][:120]}",
                "choose other params, or fewer sites",
            ) from None
        done.append(edited)
        try:
            editor.put(owner, site.part, site.place, site.name, module)
        except Exception:
            undo(model, done)
            raise
    edit = Edit(
        found.spec, found.at, found.position, dict(found.params), found.init, tuple(done)
    )
    remember(model, replace(before, edits=(*before.edits, edit)))
    return model


def _check_origin(model: nn.Module, backbone: str) -> None:
    """Refuse a MODEL string that makes another model than the one given."""
    with torch.device("meta"):
        made = open_backbone(ModelString.parse(backbone))
    other = difference_of_shapes(own_shapes(model), own_shapes(made))
    if other:
        raise error(
            "another-backbone",
            f"{backbone} makes another model than the {type(model).__name__} given: {other}",
            "name the MODEL that the given model came from, with its arguments",
        )


def _suited(graph: Graph, owner: nn.Module, model: nn.Module) -> fx.GraphModule:
    """Make a module with the device, dtype, memory format and mode of its owner."""
    near: Tensor | None = next(owner.parameters(), next(model.parameters(), None))
    with torch.device("meta" if near is not None and near.is_meta else "cpu"):
        module = lower(graph)
    if near is not None:
        module = module.to(device=near.device, dtype=_dtype(owner, model))
    if _channels_last(owner):
        module = module.to(memory_format=torch.channels_last)
    return module.train(owner.training)


def _dtype(owner: nn.Module, model: nn.Module) -> torch.dtype:
    has_own = any(p.is_floating_point() for p in owner.parameters())
    return floating_dtype(owner if has_own else model)


def _channels_last(owner: nn.Module) -> bool:
    kernels = [p for p in owner.parameters() if p.dim() == 4 and p.shape[1] > 1]
    kernels = [p for p in kernels if p.shape[2] > 1]
    return bool(kernels) and all(
        p.is_contiguous(memory_format=torch.channels_last) for p in kernels
    )
