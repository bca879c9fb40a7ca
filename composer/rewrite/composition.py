"""What was done to a model, kept on the model itself as a plain value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from composer.errors import error
from composer.graph.graph import Begin
from composer.primitives import Spec
from composer.spec.expressions import Value

At = Literal["block", "stage"]
Position = Literal["residual", "output"]

_ATTRIBUTE = "_composition"


@dataclass(frozen=True)
class EditedSite:
    """One inserted module: its owner's path, its name there, its position, the class before."""

    path: str
    name: str
    position: Position
    channels: int
    size: tuple[int, int]
    previous: type[nn.Module]


@dataclass(frozen=True)
class Edit:
    """One insertion of a spec, as it was asked for, with all its sites."""

    spec: Spec
    at: At
    position: Position
    params: Mapping[str, Value]
    init: Begin
    sites: tuple[EditedSite, ...]


@dataclass(frozen=True)
class Composition:
    """The edits of a model in order, and the MODEL string it came from where that is known.

    `shapes` are those of the backbone's own state dict when the first edit was made.
    """

    backbone: str | None
    edits: tuple[Edit, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def composition(model: nn.Module) -> Composition | None:
    """Return what was done to a model, or None for one as its library made it."""
    found = vars(model).get(_ATTRIBUTE)
    return found if isinstance(found, Composition) else None


def composed(model: nn.Module) -> Composition:
    """Return what was done to a model.

    Raises:
        ComposerError: nothing was.
    """
    record = composition(model)
    if record is None:
        raise error(
            "not-composed",
            f"nothing was inserted into this {type(model).__name__}",
            "give a model that composer.insert or composer.load returned",
        )
    return record


def remember(model: nn.Module, record: Composition | None) -> None:
    """Keep the record on the model; None forgets it."""
    if record is None:
        vars(model).pop(_ATTRIBUTE, None)
    else:
        vars(model)[_ATTRIBUTE] = record


def inserted_prefixes(model: nn.Module) -> tuple[str, ...]:
    """Return what the keys of everything inserted begin with, such as ``layer1.0.cbam.``."""
    record = composition(model)
    edits = record.edits if record else ()
    return tuple(f"{site.path}.{site.name}." for edit in edits for site in edit.sites)


def own_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's state dict, without what was inserted."""
    inserted = inserted_prefixes(model)
    return {
        key: tuple(tensor.shape)
        for key, tensor in model.state_dict().items()
        if not key.startswith(inserted)
    }


def difference_of_shapes(
    now: Mapping[str, tuple[int, ...]], then: Mapping[str, tuple[int, ...]]
) -> str | None:
    """Return the first key that two state dicts do not share in words, or None where all agree."""
    for key in [*then, *now]:
        if now.get(key) != then.get(key):
            sizes = ["×".join(map(str, s[key])) if key in s else "missing" for s in (now, then)]
            return f"{key!r} is {sizes[0]} here and {sizes[1]} there"
    return None
