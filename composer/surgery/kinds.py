"""Which modules are a norm, an MLP, or the global pool of a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from composer.analysis.edited import class_before_edits
from composer.analysis.maps import MapShape
from composer.analysis.probe import Call
from composer.language.stand_in import StandsFor
from composer.measure.cost import parameters

_CLASSES: Mapping[StandsFor, re.Pattern[str]] = {
    "norm": re.compile(r"Norm(Act)?[123]?[dD]?$"),
    "mlp": re.compile(r"(Mlp|MLP|MLPBlock|SwiGLU|SwiGLUFFN|SwiGLUPacked|FeedForward|FFN)$"),
    "pool": re.compile(r"Pool"),
}


def may_be(stands_for: StandsFor, module: nn.Module) -> bool:
    """Return whether a stand-in of a kind may replace a module.

    A norm and an MLP are recognised by their classes; a global pool may be any module without
    parameters, and is recognised by its output: see `pools_all`.
    """
    named = any(_CLASSES[stands_for].search(name) for name in class_names(module))
    return named or (stands_for == "pool" and not parameters(module))


def pools_all(call: Call, taken: MapShape | None) -> bool:
    """Return whether a call gave one value per channel of its input map."""
    given = call.output
    if taken is None or not isinstance(given, Tensor) or given.dim() < 2:
        return False
    several = any(size > 1 for size in taken.size)
    return several and tuple(given.shape[1:]) == (taken.channels, *(1 for _ in given.shape[2:]))


def pooled(call: Call) -> Callable[[Tensor], Tensor]:
    """Return a function with the output shape of a pool, for any batch."""
    given: Tensor = call.output
    shape = given.shape[1:]
    return lambda x: x.flatten(1).sum(1).reshape(-1, *(1 for _ in shape)).expand(-1, *shape).clone()


def class_names(module: nn.Module) -> set[str]:
    """Return the names of a module's class and of its base classes."""
    return {kind.__name__ for kind in class_before_edits(module).__mro__} - {"Module", "object"}


def activation_of(module: nn.Module) -> str | None:
    """Return the class of the activation in a norm, or None."""
    act = getattr(module, "act", None)
    return None if act is None or isinstance(act, nn.Identity) else type(act).__name__
