"""Whether traced forwards can stand for the modules' own; modules of equal structure tried once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from composer.analysis.forward import Forward, code, disagreement
from composer.analysis.probe import Call


@dataclass
class Trials:
    """Runs traced forwards against the modules of one model, and keeps what came of it."""

    _tried: dict[tuple[Any, ...], str | None] = field(default_factory=dict)

    def disagreement(
        self,
        module: nn.Module,
        forward: Forward,
        call: Call,
        spatial: tuple[int, ...],
    ) -> str | None:
        """Return why a traced forward can't stand for the module's own, or None where it can.

        A model without numbers has none to compare; see `composer.analysis.forward.disagreement`.
        """
        if any(p.is_meta for p in module.parameters()):
            return None
        codes = code(forward.training), code(forward.evaluation)
        key = (type(module), *codes)
        if key not in self._tried:
            self._tried[key] = disagreement(module, forward, call, spatial)
        return self._tried[key]
