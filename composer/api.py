"""The public calls that take a MODEL string take a folder that `save` wrote, too."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from torch import nn

from composer.artifact.folder import load
from composer.artifact.output import is_composition
from composer.surgery import insert as _insert
from composer.surgery import plan as _plan
from composer.surgery import sites as _sites

P = ParamSpec("P")
R = TypeVar("R")
_Call = Callable[Concatenate[nn.Module | str, P], R]


def _opens_folders(function: _Call[P, R]) -> _Call[P, R]:
    @wraps(function)
    def call(model: nn.Module | str, *args: P.args, **kwargs: P.kwargs) -> R:
        if isinstance(model, str) and is_composition(Path(model)):
            model = load(model)
        return function(model, *args, **kwargs)

    return cast("_Call[P, R]", call)


insert = _opens_folders(_insert.insert)
plan = _opens_folders(_plan.plan)
sites = _opens_folders(_sites.sites)
