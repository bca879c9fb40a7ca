"""How an edited model is told from its original: marks on what was inserted and derived."""

from __future__ import annotations

from torch import fx, nn

#: In the `meta` of an inserted module: the name of its spec.
MARK = "composer_inserted"
#: On a derived class: the class it was derived from.
ORIGINAL = "composer_original"


def is_inserted(module: nn.Module) -> bool:
    """Return whether an edit put this module where it is."""
    return isinstance(module, fx.GraphModule) and MARK in module.meta


def class_before_edits(module: nn.Module) -> type[nn.Module]:
    """Return the module's class as the backbone made it."""
    original: type[nn.Module] = getattr(type(module), ORIGINAL, type(module))
    return original
