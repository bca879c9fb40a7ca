"""`insert`: a spec's module at every site of a plan, on a copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace as with_fields
from typing import Any

import torch
from torch import Tensor, fx, nn

from composer.analysis.one_thread import one_thread
from composer.errors import counted, error
from composer.graph.graph import Graph, Init
from composer.language.expressions import Value
from composer.lower.build import lower
from composer.lower.identity import begin
from composer.lower.identity_checked import identical_to
from composer.lower.of_torch import torch_told
from composer.measure.cost import floating_dtype
from composer.measure.inputs import remember_inputs
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.primitives import Spec
from composer.surgery.change import put
from composer.surgery.composition import (
    At,
    Composition,
    Edit,
    EditedSite,
    PrefixTokens,
    composition,
    own_shapes,
    remember,
)
from composer.surgery.copied import copy_of
from composer.surgery.edited_class import Edits, edits_of
from composer.surgery.eject import undo
from composer.surgery.origin import check_origin
from composer.surgery.own_modules import own_modules
from composer.surgery.placement import Chosen
from composer.surgery.plan import plan
from composer.surgery.rebuilt import guard_yaml, warn_if_rebuilt
from composer.surgery.replace import Replacement, put_shared
from composer.surgery.site import Addition, Plan, SharedSite, Site
from composer.surgery.unwrapped import unwrapped


def insert(
    model: nn.Module | str,
    spec: Spec | str,
    at: At | None = None,
    *,
    position: str | None = None,
    stages: Chosen = None,
    blocks: Chosen = None,
    every: int | None = None,
    select: str | Sequence[str] | None = None,
    match: Mapping[str, object] | None = None,
    params: Mapping[str, Value] | None = None,
    init: Init = "paper",
    prefix_tokens: PrefixTokens = "pass",
    expect: int | None = None,
    pretrained: bool = False,
    backbone: str | None = None,
    inplace: bool = False,
    example_inputs: Any = None,
    replace: bool = False,
    type: str | Sequence[str] | None = None,  # noqa: A002 - as in `plan`
    trust_code: bool = False,  # noqa: ARG001 - `composer.api` opens the folder with it
) -> nn.Module:
    """Put a spec's module at every site of the model, and return the composed model.

    Every key and tensor of the model's state dict is kept, except those of replaced layers, which
    come back when the insertion is ejected; the new keys are under the block they serve, or under
    the path of what they replace. The model keeps its class and its methods. Each site has its own
    weights, on the device, in the dtype and in the memory format of its block.

    Args:
        model: a model, which is copied, or a MODEL string such as ``"resnet50"``.
        spec: a spec, the name of a shipped one, a path, or the text itself.
        at: see `plan`, also for the following arguments.
        position: ``"residual"``, ``"residual:attn"``, ``"input"``, ``"output"`` or
            ``"after:conv2"``.
        stages: which stages, from 1.
        blocks: which blocks of each stage.
        every: keep the first of these sites, and every n-th after it.
        select: module paths, globs over them, or regular expressions after ``re:``.
        match: which convolutions.
        params: other values for the spec's params.
        init: ``"paper"`` or ``"identity"``.
        prefix_tokens: ``"pass"`` or ``"join"``.
        expect: the number of sites that there must be.
        pretrained: for a MODEL string, whether to load the library's published weights.
        backbone: the MODEL string of a given model, kept in the recipe.
        inplace: edit the model itself instead of a copy.
        example_inputs: inputs of the model's forward; the composed model remembers them.
        replace: with ``at="module"``, replace the modules.
        type: which modules to replace, by the name of their class.
        trust_code: for a folder, whether code that its recipe names may be run; see
            `composer.load`.

    Raises:
        ComposerError: no site matches, or the spec does not suit the sizes at a site.
    """
    if isinstance(model, str):
        source = ModelString.parse(model)
        model, backbone, inplace = open_backbone(source, pretrained), str(source), True
    elif pretrained:
        raise error(
            "invalid-value",
            "pretrained is for a MODEL string, and a model is given",
            "load the weights into the model, or give its name",
        )
    elif backbone is not None:
        check_origin(model, backbone)
    model = unwrapped(model)
    warn_if_rebuilt(model)
    model = model if inplace else copy_of(model)
    found = plan(
        model,
        spec,
        at,
        position=position,
        stages=stages,
        blocks=blocks,
        every=every,
        select=select,
        match=match,
        params=params,
        init=init,
        prefix_tokens=prefix_tokens,
        expect=expect,
        example_inputs=example_inputs,
        replace=replace,
        type=type,
    )
    return apply(model, found, backbone)


@one_thread()
def apply(model: nn.Module, found: Plan, backbone: str | None = None) -> nn.Module:
    """Apply a plan to the model it was made for, in place; return the model.

    Raises:
        ComposerError: a site cannot be edited, or a stand-in does not start as it should; the
            model is then unchanged.
    """
    if found.inputs.are_examples:
        remember_inputs(model, found.inputs)
    before = composition(model) or Composition(
        backbone, shapes=own_shapes(model), modules=own_modules(model)
    )
    work = _Work(model, found)
    try:
        work.do()
    except BaseException:
        undo(model, (*work.shared, *work.sites))
        raise
    edit = Edit(
        found.spec,
        found.at,
        found.position,
        dict(found.params),
        found.init,
        found.prefix_tokens,
        tuple(work.sites),
        tuple(work.shared),
    )
    guard_yaml(model)
    remember(model, with_fields(before, edits=(*before.edits, edit)))
    return model


class _Work:
    """Applies one plan, and records the steps so that they can be undone."""

    def __init__(self, model: nn.Module, found: Plan) -> None:
        self.model, self.found = model, found
        self.is_meta = any(p.is_meta for p in model.parameters())
        self.sites: list[EditedSite] = []
        self.shared: list[EditedSite] = []
        self.values: dict[
            str, tuple[fx.GraphModule, Graph]
        ] = {}  # values shared in blocks, in float64

    def do(self) -> None:
        """Edit every site; shared modules come first, since stand-ins start from their value."""
        for shared in self.found.shared:
            self._put_shared(shared)
        for site in self.found.sites:
            if isinstance(site.how, Addition):
                self._add(site, site.how)
            else:
                self._replace(site, site.how)

    def _add(self, site: Site, how: Addition) -> None:
        owner = self.model.get_submodule(site.path)
        assert site.name is not None
        module = self._suited(site, self._made(site, site.graph), owner)
        edits = ((site.path, edits_of(owner)),)
        self.sites.append(_edited(site, edits=edits))
        put(owner, how.place.change, site.name, module)

    def _replace(self, site: Site, how: Replacement) -> None:
        layer = self.model.get_submodule(site.path)
        module = self._made(site, site.graph)
        if self.found.init == "identity" and not self.is_meta:
            original, value = how.original(self.model), self.values.get(how.caller.path)
            dtype = _dtype(layer, self.model)
            with torch.device("cpu"):
                module = identical_to(module, site.graph, original, value, dtype, site.path)
        module = self._suited(site, module, layer)
        self.sites.append(
            _edited(site, edits=how.edits(self.model), replaced=how.replaced(self.model))
        )
        how.put(self.model, module)

    def _put_shared(self, shared: SharedSite) -> None:
        owner = self.model.get_submodule(shared.path)
        module = self._made(shared, shared.graph)
        if self.found.init == "identity" and not self.is_meta:
            module = module.double()
            begin(module, shared.graph, None, shared.path)
            self.values[shared.path] = copy.deepcopy(module), shared.graph
        module = self._suited(shared, module, owner)
        edits = ((shared.path, edits_of(owner)),)
        self.shared.append(_edited(shared, edits=edits))
        users = [path.removeprefix(f"{shared.path}.") for path in shared.users]
        put_shared(owner, shared.block.call, shared.inside, shared.name, module, users)

    def _made(self, site: Site | SharedSite, graph: Graph) -> fx.GraphModule:
        """Make a module on the CPU, or on the meta device for a model that is there."""
        with _room(site), torch.device("meta" if self.is_meta else "cpu"):
            return lower(graph)

    def _suited(
        self, site: Site | SharedSite, module: fx.GraphModule, owner: nn.Module
    ) -> fx.GraphModule:
        """Give a module the device, dtype, memory format and mode of its owner."""
        near: Tensor | None = next(owner.parameters(), next(self.model.parameters(), None))
        with _room(site):
            if near is not None:
                module = module.to(device=near.device, dtype=_dtype(owner, self.model))
            for axes, memory_format in _LAST.items():
                if _channels_last(owner, axes, memory_format):
                    for kernel in (p for p in module.parameters() if p.dim() == axes):
                        kernel.data = kernel.data.to(memory_format=memory_format)
        return module.train(owner.training)


def _edited(
    site: Site | SharedSite,
    edits: tuple[tuple[str, Edits], ...],
    replaced: tuple[tuple[str, nn.Module], ...] = (),
) -> EditedSite:
    return EditedSite(
        path=site.path,
        name=site.name,
        position=site.position,
        channels=site.channels,
        size=site.size,
        edits=edits,
        settings=site.graph.settings,
        replaced=replaced,
    )


def _room(site: Site | SharedSite) -> AbstractContextManager[None]:
    """Add the site to torch's out-of-memory error, which gives only the size."""
    what = f"{counted(site.parameters, 'parameter')} at {site.path}"
    return torch_told(what, "choose other params, or fewer sites")


def _dtype(owner: nn.Module, model: nn.Module) -> torch.dtype:
    has_own = any(p.is_floating_point() for p in owner.parameters())
    return floating_dtype(owner if has_own else model)


#: The memory formats with the channels last, by the axes of a kernel.
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def _channels_last(owner: nn.Module, axes: int, memory_format: torch.memory_format) -> bool:
    kernels = [p for p in owner.parameters() if p.dim() == axes and p.shape[1] > 1]
    kernels = [p for p in kernels if p.shape[2] > 1]
    return bool(kernels) and all(p.is_contiguous(memory_format=memory_format) for p in kernels)
