"""Networks of Ultralytics, which its trainer rebuilds from ``model.yaml`` alone.

Insertions would be silently lost. So the ``yaml`` of a composed network refuses to be built from,
and inserting into the network of a ``YOLO`` gives a warning that says how to train it.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

from torch import nn

from composer.errors import error

_WAY_OUT = (
    "use a trainer whose get_model inserts it: docs/recipes.md, 'In Ultralytics', has one of "
    "ten lines"
)


class ComposedYaml(dict[str, Any]):
    """The configuration of the plain network, which may be read but not built from."""

    def __copy__(self) -> dict[str, Any]:
        """Return the plain configuration, for callers that know what they do."""
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> ComposedYaml:
        """Return a copy, as part of a copy of the network.

        Raises:
            ComposerError: it is copied alone, as when a network is built from it.
        """
        if not memo:
            message = "a network built from the yaml of a composed one would lack the insertions"
            raise error("rebuilt", message, _WAY_OUT)
        return ComposedYaml(copy.deepcopy(dict(self), memo))


def guard_yaml(model: nn.Module) -> None:
    """Prevent building a network from the configuration of this composed one."""
    if _is_ultralytics(model):
        vars(model)["yaml"] = ComposedYaml(vars(model)["yaml"])


def unguard_yaml(model: nn.Module) -> None:
    """Restore the plain configuration."""
    if isinstance(vars(model).get("yaml"), ComposedYaml):
        vars(model)["yaml"] = dict(vars(model)["yaml"])


def warn_if_rebuilt(model: nn.Module) -> None:
    """Warn on insertion into the network of a ``YOLO``, whose training builds a new one."""
    if _is_ultralytics(model) and "task" in vars(model):
        warnings.warn(
            "YOLO.train rebuilds the network, without the insertions: " + _WAY_OUT,
            stacklevel=4,
        )


def _is_ultralytics(model: nn.Module) -> bool:
    owners = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    return "ultralytics" in owners and isinstance(vars(model).get("yaml"), dict)
