"""``torchvision:NAME``: its builder, without implicit downloads or silently ignored arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from composer.models.library import library
from composer.models.names import unknown_name

#: What mobilenet_v3 takes besides the arguments of its class.
TAKEN_INSIDE = {"width_mult", "reduced_tail", "dilated"}


def torchvision_factory(name: str) -> Callable[..., Any]:
    """Return the builder of a model for images, video or flow.

    For a detector or a segmenter, the weights of its backbone are not loaded either, unless those
    of the whole model, which include them, are requested.

    Raises:
        ComposerError: torchvision has no such model.
        MissingPartError: torchvision is not installed.
    """
    models = library("torchvision.models")
    names: list[str] = models.list_models()
    if name not in names:
        raise unknown_name(name, names, "torchvision")
    builder: Callable[..., Any] = models.get_model_builder(name)
    takes = inspect.signature(builder).parameters
    fresh = {key: None for key in ("weights", "weights_backbone") if key in takes}

    def create(**arguments: Any) -> Any:
        _check_taken(name, builder, arguments)
        return builder(**fresh | arguments)

    return create


def _check_taken(name: str, builder: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Raise a TypeError where torchvision would silently ignore an argument.

    The builders of its segmenters do so, and those whose class takes any keyword.
    """
    signature = inspect.signature(builder)
    kind = signature.return_annotation
    if not isinstance(kind, type):
        return
    if "segmentation" in kind.__module__:
        known = set(signature.parameters)
    elif _takes_all(kind):
        inits = [inspect.signature(base).parameters for base in kind.__mro__[:-1]]
        known = set(signature.parameters).union(TAKEN_INSIDE, *inits)
    else:
        return
    for key in arguments:
        if key not in known:
            raise TypeError(f"{name}() got an unexpected keyword argument {key!r}")


def _takes_all(kind: type) -> bool:
    parameters = inspect.signature(kind).parameters.values()
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
