"""`attention_maps`: what each inserted mechanism attends to, on given images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from composer.analysis.copies import shell_of
from composer.artifact.run import in_mode, pass_failed
from composer.errors import error, listing
from composer.looking.as_written import AsWritten, Kind, Seen, need_same_state
from composer.surgery.composition import EditedSite, composed
from composer.surgery.unwrapped import unwrapped
from composer.turns import TURN


@dataclass(frozen=True)
class AttentionMap:
    """What a node of an inserted mechanism attends to.

    Attributes:
        path: the inserted module in the model, ``layer1.0.cbam``.
        node: the node of its spec, ``channel.gate``.
        kind: ``"gate"``, or ``"attention"`` for the attention weights.
        axes: the names of the axes of `values`, in order: ``("b", "c")``. If attention's keys have
            the same axes as its queries, those of the keys are ``key_h`` and ``key_w``.
        values: the values, without gradients.
        keys: for attention, the axes of the keys, along which the weights sum to 1.
        size: the height and width of the map that the mechanism was planned for; for tokens,
            those of their map.
    """

    path: str
    node: str
    kind: Kind
    axes: tuple[str, ...]
    values: Tensor
    keys: tuple[str, ...]
    size: tuple[int, ...]

    def __str__(self) -> str:
        sizes = "×".join(map(str, self.values.shape))
        return f"{self.path}.{self.node}  [{', '.join(self.axes)}]  {sizes}"


def attention_maps(model: nn.Module, images: Any) -> dict[str, AttentionMap]:
    """Return what each inserted mechanism attends to, on given images.

    These are, for each mechanism, the values of all `gate` nodes (a sigmoid, a softmax and so on),
    and the weights softmax(q k / √d) of each `attention` node, with its bias and mask; for a
    mechanism with neither, the factors of its `reweight` nodes.

    The model runs once, in evaluation mode and without gradients; then its mode is restored. Each
    mechanism runs a second time, node by node as in its spec, since the optimised module may never
    compute these values. Attention weights have a value for each query and key, which the model
    itself does not keep.

    Args:
        model: a model returned by `insert` or `load`.
        images: the model's input: a batch, a tuple of arguments, or a mapping of keyword
            arguments.

    Returns:
        The maps by name, such as ``layer1.0.cbam.spatial.gate``, in the order of computation. If
        the model runs a mechanism twice, the name of the second run ends in ``@2``.

    Raises:
        ComposerError: nothing was inserted, no mechanism has a gate or attention, or the model
            does not run on the images.
    """
    model = unwrapped(getattr(model, "_orig_mod", model))  # from torch.compile
    model = shell_of(model)
    record = composed(model)
    found: dict[str, AttentionMap] = {}
    sites = [(edit.spec, site) for edit in record.edits for site in edit.inserted]
    written = [AsWritten.of(spec, site.settings) for spec, site in sites]
    if not any(one.gates or one.attention for one in written):
        names = listing(list(dict.fromkeys(spec.name for spec, _ in sites)))
        raise error(
            "no-maps",
            f"no gate, attention or reweight in {names}, so there is nothing to show",
            "read other values with forward hooks on the inserted modules",
        )
    with _hooks(model, [site for _, site in sites], written, found):
        try:
            with TURN, in_mode(model, training=False), torch.no_grad(), _not_compiled():
                _run(model, images)
        except Exception as failure:
            raise pass_failed("forward", failure) from None
    return found


def _run(model: nn.Module, images: Any) -> None:
    match images:
        case Mapping():
            model(**images)
        case tuple() | list():
            model(*images)
        case _:
            model(images)


@contextmanager
def _hooks(
    model: nn.Module,
    sites: Sequence[EditedSite],
    written: Sequence[AsWritten],
    found: dict[str, AttentionMap],
) -> Iterator[None]:
    """Record what each mechanism attends to, before it runs, inside this context."""
    handles = []
    try:
        for site, one in zip(sites, written, strict=True):
            module = _inserted(model, site)
            need_same_state(module, one, site.module)
            handles.append(module.register_forward_pre_hook(partial(_note, site, one, found)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _inserted(model: nn.Module, site: EditedSite) -> fx.GraphModule:
    try:
        module = model.get_submodule(site.module)
    except AttributeError:
        module = nn.Identity()
    if isinstance(module, fx.GraphModule):
        return module
    raise error(
        "changed-since",
        f"{site.module} is no longer the module that was inserted there",
        "use the model as returned by composer.insert or composer.load",
    )


def _note(
    site: EditedSite,
    written: AsWritten,
    found: dict[str, AttentionMap],
    module: fx.GraphModule,
    args: tuple[Any, ...],
) -> None:
    for one in written.seen(module, args):
        found[_free(found, f"{site.module}.{one.node}")] = _of(site, one)


def _free(found: Mapping[str, AttentionMap], name: str) -> str:
    times = 1 + sum(key == name or key.startswith(f"{name}@") for key in found)
    return name if times == 1 else f"{name}@{times}"


def _of(site: EditedSite, seen: Seen) -> AttentionMap:
    return AttentionMap(
        site.module, seen.node, seen.kind, seen.axes, seen.values, seen.keys, site.size
    )


def _not_compiled() -> Any:
    """Run modules that were compiled in place uncompiled, so that the hooks are called."""
    return torch.compiler.set_stance("force_eager")
