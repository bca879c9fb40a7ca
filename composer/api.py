"""The public functions that edit a model: they accept folders, and keep the recipe in a config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as with_fields
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from torch import nn

from composer.artifact.folder import load
from composer.artifact.in_config import keep_in_config
from composer.artifact.origin import origin_of, warn_of_unknown_origin
from composer.artifact.output import is_composition
from composer.surgery import eject as _eject
from composer.surgery import insert as _insert
from composer.surgery import plan as _plan
from composer.surgery import sites as _sites
from composer.surgery.composition import composition, remember

P = ParamSpec("P")
R = TypeVar("R")
_Call = Callable[Concatenate[nn.Module | str, P], R]


def _opens_folders(function: _Call[P, R]) -> _Call[P, R]:
    @wraps(function)
    def call(model: nn.Module | str, *args: P.args, **kwargs: P.kwargs) -> R:
        if isinstance(model, str) and is_composition(Path(model)):
            model = load(model, trust_code=bool(kwargs.get("trust_code")))
        return function(model, *args, **kwargs)

    return cast("_Call[P, R]", call)


def _finds_origin(function: Callable[P, nn.Module]) -> Callable[P, nn.Module]:
    """Record the MODEL string of a composed model's backbone, or warn that none is known."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> nn.Module:
        model = args[0] if args else kwargs.get("model")
        asked = isinstance(model, nn.Module) and kwargs.get("backbone") is None
        origin = origin_of(model) if asked and isinstance(model, nn.Module) else None
        made = function(*args, **kwargs)
        record = composition(made)
        if origin is not None and record is not None:
            remember(made, with_fields(record, backbone=origin))
        warn_of_unknown_origin(made, stacklevel=2)
        return made

    return call


def _keeps_recipe(function: Callable[P, nn.Module]) -> Callable[P, nn.Module]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> nn.Module:
        model = function(*args, **kwargs)
        keep_in_config(model)
        return model

    return call


insert = _finds_origin(_keeps_recipe(_opens_folders(_insert.insert)))
eject = _keeps_recipe(_eject.eject)
plan = _opens_folders(_plan.plan)
sites = _opens_folders(_sites.sites)
