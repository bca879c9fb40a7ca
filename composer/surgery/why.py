"""Why a module is a block, a stage, or neither."""

from __future__ import annotations

from torch import nn

from composer.analysis.edited import is_inserted, is_stand_in
from composer.analysis.parts import LAYERS_OF_A_BLOCK, Anatomy
from composer.analysis.paths import is_inside
from composer.analysis.recording import Untraceable
from composer.analysis.weight_layers import weight_layers
from composer.errors import ComposerError, Diagnostic, counted, listing, suggestion

_SHOWN = 12


def why(model: nn.Module, known: Anatomy, path: str) -> list[str]:
    """Return what was seen of a module, and how it is classified, in sentences.

    Raises:
        ComposerError: there is no such module.
    """
    modules = dict(model.named_modules())
    if path not in modules or not path:
        raise _unknown(path, [p for p in modules if p])
    module = modules[path]
    if is_inserted(module) or is_stand_in(module):
        return ["it was inserted by an earlier edit"]
    if any(is_inside(path, p) for p, m in modules.items() if p != path and is_inserted(m)):
        return ["it is inside what an earlier edit inserted"]
    if not known.knows(path):
        return ["it does not run in the forward pass of an image"]
    return [*_given(known, path), *_role(known, path), *_against(module, known, path)]


def _given(known: Anatomy, path: str) -> list[str]:
    part = known.part(path)
    if part.shape is None:
        return [part.refusal or "its output is not a map"]
    shape = part.shape
    size = "×".join(map(str, shape.size))
    what = f"a map of {shape.channels} channels, {size}, as [{', '.join(shape.layout)}]"
    prefix = f", after {counted(shape.prefix, 'prefix token')}" if shape.prefix else ""
    several = ", the first of several values" if part.call.index is not None else ""
    return [f"it outputs {what}{prefix}{several}"]


def _role(known: Anatomy, path: str) -> list[str]:
    said = []
    for stage in known.stages:
        if stage.whole.path == path:
            said.append(f"it is where stage {stage.number} ends")
        for number, block in enumerate(stage.blocks, start=1):
            where = f"block {number} of stage {stage.number}"
            if block.path == path:
                said.append(f"it is {where}")
            elif is_inside(path, block.path):
                said.append(f"it is inside {block.path}, which is {where}")
            elif is_inside(block.path, path) and stage.whole.path != path and number == 1:
                said.append(f"it holds blocks of stage {stage.number}")
    return said


def _against(module: nn.Module, known: Anatomy, path: str) -> list[str]:
    """Return why a module is not a block."""
    if any(block.path == path for block in known.blocks):
        return [_ending(known, path)]
    layers = weight_layers(module)
    if layers < LAYERS_OF_A_BLOCK:
        held = counted(layers, "layer") if layers else "no layer"
        return [f"it holds {held} of weights, and a block holds two or more"]
    if known.part(path).shape is None or _around(known, path) or _holds(known, path):
        return []
    if known.skips(known.part(path).call):
        return []
    return ["it has no residual add, and no sibling of its kind runs"]


def _ending(known: Anatomy, path: str) -> str:
    call = known.part(path).call
    try:
        known.traces.of(call)
    except Untraceable as reason:
        return f"its forward can't be traced ({reason})"
    skips = known.skips(call)
    return "its forward ends in a residual add" if skips else "it has no residual add"


def _around(known: Anatomy, path: str) -> bool:
    return any(is_inside(path, block.path) for block in known.blocks)


def _holds(known: Anatomy, path: str) -> bool:
    return any(is_inside(block.path, path) for block in known.blocks)


def _unknown(path: str, paths: list[str]) -> ComposerError:
    parent = path
    while parent and parent not in paths:
        parent = parent.rpartition(".")[0]
    below = [p for p in paths if p.rpartition(".")[0] == parent]
    beside = below[:_SHOWN]
    label = f"Modules in {parent!r}" if parent else "Modules"
    more = [f"{len(below) - _SHOWN} more"] if len(below) > _SHOWN else []
    way_out = f"{label}: {listing([*beside, *more])}" if more else suggestion(path, below, label)
    return ComposerError(Diagnostic("unknown-module", f"no module at {path!r}", way_out))
