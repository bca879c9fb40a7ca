"""A spec in its paper's network, built without memory for the weights."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from math import prod

import torch
from torch import nn

from composer.analysis.probe import Probe, probe
from composer.certificate.claim import CanonicalPlace
from composer.language.expressions import Value
from composer.lower.build import build
from composer.measure.cost import parameters
from composer.models.model_string import ModelString
from composer.models.open import open_backbone
from composer.primitives import Spec
from composer.surgery.insert import apply
from composer.surgery.plan import Plan, plan

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


class Canonical:
    """The sites that a spec selects by default, and the network with the spec at each of them."""

    def __init__(
        self,
        spec: Spec,
        place: CanonicalPlace,
        params: Mapping[str, Value],
        replaces: str | None = None,
    ) -> None:
        self.spec, self.place, self.params, self.replaces = spec, place, params, replaces

    @cached_property
    def _opened(self) -> nn.Module:
        with torch.device("meta"):
            return open_backbone(ModelString.parse(self.place.backbone))

    @cached_property
    def plan(self) -> Plan:
        """The sites.

        Raises:
            ComposerError: there are none, or the spec does not fit them.
        """
        if self.replaces is None:
            return plan(self._opened, self.spec, params=self.params)
        return plan(
            self._opened, self.spec, "module", params=self.params, replace=True, type=self.replaces
        )

    @cached_property
    def paths(self) -> list[str]:
        """The sites, in order."""
        if not self.place.instead:
            return [site.path for site in self.plan.sites]
        deep = self.place.paths.count(".")
        paths = [path for path, _ in self._opened.named_modules() if path.count(".") == deep]
        return [path for path in paths if fnmatchcase(path, self.place.paths)]

    @cached_property
    def model(self) -> nn.Module:
        """The composed network."""
        if not self.place.instead:
            return apply(self._opened, self.plan)
        width = self.place.width or int(self._opened.num_features)  # type: ignore[arg-type]
        for path in self.paths:
            with torch.device("meta"):
                self._opened.set_submodule(path, build(self.spec, width, params=self.params))
        return self._opened

    @property
    def parameters(self) -> int:
        """The number of its parameters."""
        return parameters(self.model)

    @property
    def statistics(self) -> int:
        """The number of running statistics in its norms."""
        kept = ("running_mean", "running_var")
        return sum(b.numel() for key, b in self.model.named_buffers() if key.endswith(kept))

    @cached_property
    def _ran(self) -> Probe:
        return probe(self.model)

    @property
    def flops(self) -> int:
        """Multiply-adds for one image of the network's default size, including those of norms."""
        return self._ran.flops

    @property
    def flops_of_norms(self) -> int:
        """The multiply-adds of norms."""
        of_norms = (c for c in self._ran.calls if isinstance(self._at(c.path), _NORMS))
        return sum(2 * prod(call.shape or ()) for call in of_norms)

    def _at(self, path: str) -> nn.Module:
        return self.model.get_submodule(path)
