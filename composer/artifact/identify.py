"""The origin of a model, if it can be found: a MODEL string that makes the same model again."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from composer.errors import ComposerError
from composer.models.model_string import LOADING, Argument, ModelString
from composer.models.open import open_backbone
from composer.surgery.composition import composed, composition, own_shapes
from composer.surgery.eject import eject
from composer.surgery.origin import difference_from

#: Attributes that a trainer may change, and nothing else depends on.
_SWITCHES = ("training", "grad_checkpointing")


def identify(model: nn.Module) -> str | None:
    """Return a MODEL string whose model has the same structure, or None where none is found.

    timm's models carry their name and arguments; for torchvision's, the builders beside their class
    are tried. A candidate counts only if it prints like the model, and each of its modules has the
    same settings, keys and shapes; so a changed head, drop rate or stride is never silently lost.
    """
    plain = eject(model) if composition(model) else model
    wanted = _structure(plain)
    for candidate in dict.fromkeys(_candidates(plain)):
        try:
            with torch.device("meta"):
                made = open_backbone(ModelString.parse(candidate))
        except (ComposerError, RuntimeError, NotImplementedError):
            continue
        if _structure(made) == wanted:
            return candidate
    return None


def with_its_head(model: nn.Module) -> str | None:
    """Return the MODEL string of a composed model whose head was replaced later, or None.

    It is that of the original backbone, with another number of classes.
    """
    record = composed(model)
    if record.backbone is None:
        return None
    now = own_shapes(model)
    changed = [key for key, shape in now.items() if shape != record.shapes.get(key)]
    gone = record.shapes.keys() - now.keys()
    classes = {now[key][0] for key in changed if now[key]} or ({0} if gone else set())
    for number in sorted(classes):
        candidate = _written(ModelString.parse(record.backbone), {"num_classes": number})
        try:
            if candidate is not None and difference_from(model, candidate) is None:
                return candidate
        except (ComposerError, RuntimeError, NotImplementedError):
            continue
    return None


def _candidates(model: nn.Module) -> Iterator[str]:
    module = type(model).__module__
    config = getattr(model, "pretrained_cfg", None)
    name = config.get("architecture") if isinstance(config, dict) else None
    if module.startswith("timm.") and isinstance(name, str):
        found = (_written(ModelString("timm", name), given) for given in _arguments(model))
        yield from (candidate for candidate in found if candidate is not None)
    elif module.startswith("torchvision.models"):
        heads = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
        for builder, value in vars(sys.modules[module]).items():
            if inspect.isfunction(value) and builder.islower() and not builder.startswith("_"):
                yield f"torchvision:{builder}"
                if heads:
                    yield f"torchvision:{builder}?num_classes={heads[-1]}"


def _arguments(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Yield arguments that a model of timm may have been made with, the likeliest first."""
    kept = getattr(model, "_model_args", None)  # newer versions of timm keep them
    given = {k: v for k, v in kept.items() if k not in LOADING} if isinstance(kept, dict) else {}
    classes, channels = _classes(model), getattr(model, "in_chans", None)
    drop, paths = getattr(model, "drop_rate", 0), _largest_drop_path(model)
    head = {"num_classes": classes} if isinstance(classes, int) else {}
    seen = {
        **head,
        **({"in_chans": channels} if isinstance(channels, int) and channels != 3 else {}),
        **({"drop_rate": drop} if isinstance(drop, float) and drop else {}),
        **({"drop_path_rate": paths} if paths else {}),
    }
    yield from ({}, head, given, {**given, **head}, {**given, **seen}, seen)


def _classes(model: nn.Module) -> int | None:
    """Return the number of classes of a model's head, replaced by hand or not."""
    asked = getattr(model, "get_classifier", None)
    head = asked() if callable(asked) else None
    classes = getattr(head, "out_features", getattr(model, "num_classes", None))
    return classes if isinstance(classes, int) else None


def _largest_drop_path(model: nn.Module) -> float:
    rates = [getattr(module, "drop_prob", None) for module in model.modules()]
    return round(max((rate for rate in rates if isinstance(rate, float)), default=0.0), 6)


def _written(source: ModelString, more: Mapping[str, Any]) -> str | None:
    """Return a MODEL string with further arguments; None where one of them can't be written."""
    arguments: dict[str, Argument] = {**dict(source.arguments)}
    for key, value in more.items():
        arguments[key] = tuple(value) if isinstance(value, list) else value
    made = ModelString(source.library, source.name, tuple(arguments.items()))
    try:
        return str(made) if ModelString.parse(str(made)) == made else None
    except ComposerError:
        return None


def _structure(model: nn.Module) -> tuple[str, list[object], list[tuple[str, torch.Size]]]:
    """Return all that must agree between two models of the same structure."""
    settings: list[object] = [
        (name, _settings(module, is_whole=not name)) for name, module in model.named_modules()
    ]
    shapes = [(key, tensor.shape) for key, tensor in model.state_dict().items()]
    return repr(model), settings, shapes


def _settings(module: nn.Module, is_whole: bool) -> dict[str, object]:
    """Return a module's plain attributes; for others, such as a replaced forward, only the name.

    The model's number of classes is omitted, since replacing a head by hand does not change it.
    """
    left = (*_SWITCHES, "num_classes") if is_whole else _SWITCHES
    return {
        name: value if _is_plain(value) else None
        for name, value in vars(module).items()
        if not name.startswith("_") and name not in left
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
