"""How an edited model is told from its original: marks on what was inserted and derived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from torch import fx, nn

#: In the `meta` of an inserted module: the name of its spec.
MARK = "composer_inserted"
#: In the `meta` of a module that took a layer's place: what there is to know of that layer.
STAND_IN = "composer_stand_in"
#: On a derived class: the class it was derived from, what was edited, and the class in whose
#: methods a forward's own steps are, below those that only go around it.
ORIGINAL, EDITS, INNER = "composer_original", "composer_edits", "composer_inner"


@dataclass(frozen=True)
class Before:
    """The layer that was there: the channels that a convolution takes, its layers of weights."""

    in_channels: int | None
    layers: int


def is_inserted(module: nn.Module) -> bool:
    """Return whether an edit put this module where nothing was."""
    return isinstance(module, fx.GraphModule) and MARK in module.meta


def is_stand_in(module: nn.Module) -> bool:
    """Return whether an edit put this module in place of a layer."""
    return before_stand_in(module) is not None


def before_stand_in(module: nn.Module) -> Before | None:
    """Return what there is to know of the layer that a module took the place of, if it did."""
    found = module.meta.get(STAND_IN) if isinstance(module, fx.GraphModule) else None
    return found if isinstance(found, Before) else None


def class_before_edits(module: nn.Module) -> type[nn.Module]:
    """Return the module's class as the backbone made it."""
    original: type[nn.Module] = getattr(type(module), ORIGINAL, type(module))
    return original


def is_edited(module: nn.Module) -> bool:
    """Return whether an edit changed this module, or put something into it."""
    inserted = any(is_inserted(m) or is_stand_in(m) for m in module.modules())
    return inserted or class_before_edits(module) is not type(module)


def own_methods(kind: type[nn.Module]) -> dict[str, FunctionType]:
    """Return the methods of a class of modules that its instances run, by name.

    Left out are those of `nn.Module`, and what an edit put around a forward.
    """
    found: dict[str, FunctionType] = {}
    for base in getattr(kind, INNER, kind).__mro__:
        if base in (nn.Module, object):
            break
        for name, value in vars(base).items():
            if isinstance(value, FunctionType):
                found.setdefault(name, value)
    return found


def own_forward(module: nn.Module) -> Callable[..., Any]:
    """Return the forward that a module's class had before edits went around it."""
    forward: Callable[..., Any] = getattr(type(module), INNER, type(module)).forward
    return forward
