"""The library call that makes a backbone."""

from __future__ import annotations

import inspect
import json
from keyword import iskeyword
from typing import Any

from torch import nn

from composer.analysis.edited import class_before_edits
from composer.artifact.in_config import KEY as RECIPE
from composer.errors import error
from composer.exporting.python.code import literal
from composer.models.library import library
from composer.models.model_string import INPUT_SIZE, ModelString

#: Fields of a transformers config that record the run that wrote it, and the recipe.
_NOTES = {"transformers_version", "dtype", "torch_dtype", RECIPE}


def backbone_call(backbone: str, model: nn.Module) -> tuple[str, tuple[str, ...]]:
    """Return the call that makes a backbone with fresh weights, and its imports.

    Args:
        backbone: the MODEL string of the model.
        model: the composed model; one of transformers has its config.

    Raises:
        ComposerError: code ``no-plain-form``: no library call makes it.
    """
    source = ModelString.parse(backbone)
    is_module = source.library == "module"
    arguments = {key: value for key, value in source.arguments if key != INPUT_SIZE}
    words = [*arguments, *(source.name.replace(":", ".").split(".") if is_module else ())]
    if odd := [word for word in words if not word.isidentifier() or iskeyword(word)]:
        message = f"{odd[0]!r} in {backbone!r} is not a Python identifier"
        raise error("no-plain-form", message, "export to pt2 or onnx")
    if source.library == "timm":
        given = _shown({"pretrained": False} | arguments)
        return f"timm.create_model({literal(source.name)}, {given})", ("import timm",)
    if source.library == "torchvision":
        builder = library("torchvision.models").get_model_builder(source.name)
        takes = inspect.signature(builder).parameters
        fresh = {key: None for key in ("weights", "weights_backbone") if key in takes}
        given = _shown(fresh | arguments)
        comma = ", " if given else ""
        call = f"torchvision.models.get_model({literal(source.name)}{comma}{given})"
        return call, ("import torchvision",)
    if source.library == "hf":
        return _by_config(model), ("import transformers",)
    if source.library == "ultralytics":
        given = _shown({"verbose": False} | arguments)
        kind = class_before_edits(model)
        imported = f"from {kind.__module__} import {kind.__name__}"
        return f"{kind.__name__}({literal(source.name)}, {given})", (imported,)
    if is_module:
        module, _, name = source.name.rpartition(":")
        return f"{name}({_shown(arguments)})", (f"from {module} import {name}",)
    raise error(
        "no-plain-form",
        f"{backbone} is made by a local file, not by a library call",
        "import its factory from a package (package.module:factory), or export to pt2 or onnx",
    )


def _by_config(model: Any) -> str:
    """Return the call that makes a model of transformers from its config."""
    written = json.loads(json.dumps(model.config.to_diff_dict()))  # keys as in config.json
    kept = {key: value for key, value in written.items() if key not in _NOTES}
    config = f"transformers.{type(model.config).__name__}.from_dict({kept!r})"
    return f"transformers.{class_before_edits(model).__name__}({config})"


def _shown(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in arguments.items())


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return literal(value) if isinstance(value, str) else repr(value)
