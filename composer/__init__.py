"""Composer: write an attention mechanism as a short YAML spec, put it inside any vision backbone.

    spec   = composer.load_spec("cbam")
    module = composer.build(spec, channels=256)
    model  = composer.insert("resnet50", spec, init="identity")
    composer.save(model, "cbam-resnet50")

Nothing here imports torch until it is called for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from composer.api import insert, plan, sites
    from composer.artifact.folder import load, save
    from composer.artifact.recipe import recipe
    from composer.errors import ComposerError
    from composer.graph.frontend import load_spec
    from composer.lower.build import build
    from composer.lower.schedule import advance
    from composer.picture import render
    from composer.rewrite.eject import eject
    from composer.rewrite.optimize import optimize

__version__ = "0.1.0"

_HOME = {
    "ComposerError": "composer.errors",
    "advance": "composer.lower.schedule",
    "build": "composer.lower.build",
    "eject": "composer.rewrite.eject",
    "insert": "composer.api",
    "load": "composer.artifact.folder",
    "load_spec": "composer.graph.frontend",
    "optimize": "composer.rewrite.optimize",
    "plan": "composer.api",
    "recipe": "composer.artifact.recipe",
    "render": "composer.picture",
    "save": "composer.artifact.folder",
    "sites": "composer.api",
}

__all__ = [
    "ComposerError",
    "advance",
    "build",
    "eject",
    "insert",
    "load",
    "load_spec",
    "optimize",
    "plan",
    "recipe",
    "render",
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
