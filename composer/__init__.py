"""Composer: write an attention mechanism as a short YAML spec and insert it into a vision backbone.

    spec   = composer.load_spec("cbam")
    module = composer.build(spec, channels=256)
    model  = composer.insert("resnet50", spec, init="identity")
    composer.save(model, "cbam-resnet50")

Nothing here imports torch until it is needed.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from composer.api import eject, insert, plan, sites
    from composer.artifact.folder import load, save
    from composer.artifact.held_weights import load_weights
    from composer.artifact.recipe import recipe
    from composer.artifact.register import register
    from composer.compiling.optimize import optimize
    from composer.drawing.picture import render
    from composer.errors import ComposerError
    from composer.exporting.exported import export
    from composer.graph.frontend import load_spec
    from composer.lifting.lift import lift
    from composer.looking.attention_maps import attention_maps
    from composer.lower.build import build
    from composer.lower.schedule import advance
    from composer.training.groups import parameter_groups
    from composer.training.inserted import inserted_parameters
    from composer.training.reset import reset

__version__ = "0.1.0"

_HOME = {
    "ComposerError": "composer.errors",
    "advance": "composer.lower.schedule",
    "attention_maps": "composer.looking.attention_maps",
    "build": "composer.lower.build",
    "eject": "composer.api",
    "export": "composer.exporting.exported",
    "insert": "composer.api",
    "inserted_parameters": "composer.training.inserted",
    "lift": "composer.lifting.lift",
    "load": "composer.artifact.folder",
    "load_spec": "composer.graph.frontend",
    "load_weights": "composer.artifact.held_weights",
    "optimize": "composer.compiling.optimize",
    "parameter_groups": "composer.training.groups",
    "plan": "composer.api",
    "recipe": "composer.artifact.recipe",
    "register": "composer.artifact.register",
    "render": "composer.drawing.picture",
    "reset": "composer.training.reset",
    "save": "composer.artifact.folder",
    "sites": "composer.api",
}

__all__ = [
    "ComposerError",
    "advance",
    "attention_maps",
    "build",
    "eject",
    "export",
    "insert",
    "inserted_parameters",
    "lift",
    "load",
    "load_spec",
    "load_weights",
    "optimize",
    "parameter_groups",
    "plan",
    "recipe",
    "register",
    "render",
    "reset",
    "save",
    "sites",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'composer' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


#: Types shown as pictures in Jupyter: the module of a type, and its name.
_PICTURED = (
    ("composer.primitives", "Spec"),
    ("composer.graph.graph", "Graph"),
    ("composer.surgery.site", "Plan"),
    ("torch.nn.modules.module", "Module"),  # if something was inserted
)


def load_ipython_extension(shell: Any) -> None:
    """Let Jupyter show specs, graphs, plans and composed models as pictures.

    Importing composer in a notebook does this automatically.
    """

    def shown(value: Any) -> str | None:
        picture: str | None = import_module("composer.drawing.notebook").shown(value)
        return picture

    for module, name in _PICTURED:
        shell.display_formatter.formatters["text/html"].for_type_by_name(module, name, shown)


if "IPython" in sys.modules and (_shell := sys.modules["IPython"].get_ipython()) is not None:
    load_ipython_extension(_shell)
