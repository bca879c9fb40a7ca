"""The call of a library that makes a backbone."""

from __future__ import annotations

import inspect
from keyword import iskeyword
from typing import Any

from composer.errors import error
from composer.exporting.python.code import literal
from composer.models.library import library
from composer.models.model_string import INPUT_SIZE, ModelString


def backbone_call(backbone: str) -> tuple[str, tuple[str, ...]]:
    """Return the call that makes a backbone with fresh weights, and the imports that it needs.

    Raises:
        ComposerError: code ``no-plain-form``: no call of a library makes it.
    """
    source = ModelString.parse(backbone)
    is_module = source.library == "module"
    arguments = {key: value for key, value in source.arguments if key != INPUT_SIZE}
    words = [*arguments, *(source.name.replace(":", ".").split(".") if is_module else ())]
    if odd := [word for word in words if not word.isidentifier() or iskeyword(word)]:
        message = f"{odd[0]!r} in {backbone!r} is not a name of Python"
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
    if is_module:
        module, _, name = source.name.rpartition(":")
        return f"{name}({_shown(arguments)})", (f"from {module} import {name}",)
    raise error(
        "no-plain-form",
        f"{backbone} is made of a file that lies here, not by a call of a library",
        "import its factory from a package (package.module:factory), or export to pt2 or onnx",
    )


def _shown(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in arguments.items())


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return literal(value) if isinstance(value, str) else repr(value)
