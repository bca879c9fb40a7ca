"""How edits are recognised: marks on inserted modules and derived classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import update_wrapper
from types import CellType, FunctionType
from typing import Any, cast

from torch import fx, nn

from composer.language.place import Place

#: In the `meta` of an inserted module: the name of its spec.
MARK = "composer_inserted"
#: In the `meta` of a stand-in: the properties of the replaced layer.
STAND_IN = "composer_stand_in"
#: On a derived class: the class it was derived from, what was edited, and the class in whose
#: methods a forward's own steps are, below those that only go around it.
ORIGINAL, EDITS, INNER = "composer_original", "composer_edits", "composer_inner"


@dataclass(frozen=True)
class Before:
    """The replaced layer: its layers of weights, and for a convolution its input channels.

    `at` is the kind of place; `dimensions` are those of a convolution's map.
    """

    in_channels: int | None
    layers: int
    at: Place
    dimensions: int = 2


def is_inserted(module: nn.Module) -> bool:
    """Return whether an edit added this module."""
    return isinstance(module, fx.GraphModule) and MARK in _meta(module)


def _meta(module: fx.GraphModule) -> dict[str, Any]:
    """Return the `meta` of a graph module; some of torchvision's have no such attribute."""
    return getattr(module, "meta", {})


def is_stand_in(module: nn.Module) -> bool:
    """Return whether an edit put this module in place of a layer."""
    return before_stand_in(module) is not None


def before_stand_in(module: nn.Module) -> Before | None:
    """Return the properties of the layer that a module replaced, if it did."""
    found = _meta(module).get(STAND_IN) if isinstance(module, fx.GraphModule) else None
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
    """Return the methods of a module class and of its base classes, undecorated.

    Each is named by its class, such as ``timm.models.resnet.Bottleneck.forward``; the first of a
    name is the one that an instance runs. Omitted are those of `nn.Module`, and the wrappers
    that edits put around a forward.
    """
    return {name: undecorated(value) for name, value in decorated_methods(kind).items()}


def decorated_methods(kind: type[nn.Module]) -> dict[str, FunctionType]:
    """Return the methods of `own_methods` with their decorators."""
    found: dict[str, FunctionType] = {}
    for base in getattr(kind, INNER, kind).__mro__:
        if base in (nn.Module, object):
            break
        for name, value in vars(base).items():
            if isinstance(value, FunctionType):
                found.setdefault(f"{base.__module__}.{base.__qualname__}.{name}", value)
    return found


def run_as(kind: type[nn.Module], name: str) -> str | None:
    """Return the method of `own_methods` that an instance runs under a name."""
    return next((key for key in own_methods(kind) if key.rpartition(".")[2] == name), None)


def undecorated(function: FunctionType) -> FunctionType:
    """Return the function that a decorator wraps, where it declares it."""
    inner = vars(function).get("__wrapped__")
    held = [cell for cell in function.__closure__ or () if _holds(cell, inner)]
    return undecorated(inner) if held and isinstance(inner, FunctionType) else function


def redecorated(function: FunctionType, made: FunctionType) -> FunctionType:
    """Return a decorated function with its inner function replaced."""
    if undecorated(function) is function:
        return made
    inner = vars(function)["__wrapped__"]
    made = redecorated(inner, made)
    cells = tuple(CellType(made) if _holds(c, inner) else c for c in function.__closure__ or ())
    copied = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return cast("FunctionType", update_wrapper(copied, made))


def _holds(cell: CellType, value: Any) -> bool:
    try:
        return value is not None and cell.cell_contents is value
    except ValueError:  # it is empty
        return False
