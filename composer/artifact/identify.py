"""Where a model came from, where it can be told: a MODEL string that makes the same again."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator

import torch
from torch import nn

from composer.errors import ComposerError
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.surgery.composition import composition
from composer.surgery.eject import eject


def identify(model: nn.Module) -> str | None:
    """Return a MODEL string whose model has the same structure, or None where none is found.

    timm's models carry their name, and torchvision's are tried by the builders beside their class.
    A candidate counts only if it prints as the model does, and each of its modules has the same
    settings, keys and shapes; so a changed head, drop rate or stride is never lost without a word.
    """
    plain = eject(model) if composition(model) else model
    for candidate in _candidates(plain):
        source = ModelString.parse(candidate)
        try:
            with torch.device("meta"):
                made = open_backbone(source)
        except (ComposerError, RuntimeError, NotImplementedError):
            continue
        if _structure(made) == _structure(plain):
            return str(source)
    return None


def _candidates(model: nn.Module) -> Iterator[str]:
    module = type(model).__module__
    config = getattr(model, "pretrained_cfg", None)
    name = config.get("architecture") if isinstance(config, dict) else None
    if module.startswith("timm.") and isinstance(name, str):
        classes = getattr(model, "num_classes", None)
        yield name
        if isinstance(classes, int):
            yield f"{name}?num_classes={classes}"
    elif module.startswith("torchvision.models"):
        heads = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
        for builder, value in vars(sys.modules[module]).items():
            if inspect.isfunction(value) and builder.islower() and not builder.startswith("_"):
                yield f"torchvision:{builder}"
                if heads:
                    yield f"torchvision:{builder}?num_classes={heads[-1]}"


def _structure(model: nn.Module) -> tuple[str, list[object], list[tuple[str, torch.Size]]]:
    """Return all that must agree between two models of one structure."""
    settings: list[object] = [(name, _settings(m)) for name, m in model.named_modules()]
    shapes = [(key, tensor.shape) for key, tensor in model.state_dict().items()]
    return repr(model), settings, shapes


def _settings(module: nn.Module) -> dict[str, object]:
    """Return a module's plain attributes; of others, such as a replaced forward, the name."""
    return {
        name: value if _is_plain(value) else None
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "training"
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
