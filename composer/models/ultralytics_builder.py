"""``ultralytics:NAME.yaml``: a network of Ultralytics, made from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from composer.measure.inputs import Inputs, remember_inputs
from composer.models.library import library
from composer.models.trusted import shipped_network
from composer.models.ultralytics_name import check_ultralytics_name

#: Height and width of the images that Ultralytics trains on by default, and for classifiers.
_SIZE, _SIZE_OF_CLASSIFIERS = 640, 224


def ultralytics_factory(name: str, shipped: bool = False) -> Callable[..., nn.Module]:
    """Return the function that makes a network from its configuration, such as ``yolov8n.yaml``.

    Args:
        name: of the configuration.
        shipped: whether to use the one that Ultralytics ships, whatever is in the current folder.

    Raises:
        ComposerError: it is not a configuration.
        MissingPartError: Ultralytics is not installed.
    """
    check_ultralytics_name(name)
    runner = library("ultralytics").YOLO

    file = shipped_network(name) if shipped else name

    def create(**arguments: Any) -> nn.Module:
        usual = runner(file, verbose=False).model
        model: nn.Module = type(usual)(dict(usual.yaml), verbose=False, **arguments)
        size = _SIZE_OF_CLASSIFIERS if usual.task == "classify" else _SIZE
        channels = dict(usual.yaml).get("channels", arguments.get("ch", 3))
        remember_inputs(model, Inputs.images(model, (channels, size, size)))
        return model

    return create
