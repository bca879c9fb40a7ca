"""Networks of Ultralytics, which its trainer builds anew from ``model.yaml``, and from that alone.

What was inserted would be gone without a word. So a composed network's ``yaml`` refuses to be
built from, and who inserts into the network of a ``YOLO`` is told how to train it.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

from torch import nn

from composer.errors import error

_WAY_OUT = (
    "train with a trainer whose get_model inserts it: docs/recipes.md, 'In Ultralytics', has one "
    "of ten lines"
)


class ComposedYaml(dict[str, Any]):
    """The configuration of the plain network, which may be read and not be built from."""

    def __copy__(self) -> dict[str, Any]:
        """Return the configuration as it was, for who knows what is done."""
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> ComposedYaml:
        """Return a copy, as a part of the network's.

        Raises:
            ComposerError: it is copied alone, as where a network is built from it.
        """
        if not memo:
            message = "a network built from the yaml of a composed one has not what was inserted"
            raise error("rebuilt", message, _WAY_OUT)
        return ComposedYaml(copy.deepcopy(dict(self), memo))


def guard_yaml(model: nn.Module) -> None:
    """Let no network be built from the configuration of this one, which is composed."""
    if _is_ultralytics(model):
        vars(model)["yaml"] = ComposedYaml(vars(model)["yaml"])


def unguard_yaml(model: nn.Module) -> None:
    """Give back the configuration as it was."""
    if isinstance(vars(model).get("yaml"), ComposedYaml):
        vars(model)["yaml"] = dict(vars(model)["yaml"])


def warn_if_rebuilt(model: nn.Module) -> None:
    """Warn who inserts into the network of a ``YOLO``, whose training builds another one."""
    if _is_ultralytics(model) and "task" in vars(model):
        warnings.warn(
            "YOLO.train builds the network anew, without what is inserted: " + _WAY_OUT,
            stacklevel=4,
        )


def _is_ultralytics(model: nn.Module) -> bool:
    owners = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    return "ultralytics" in owners and isinstance(vars(model).get("yaml"), dict)
