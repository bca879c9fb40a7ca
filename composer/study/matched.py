"""The control of the same capacity: plain convolutions where the mechanism would be.

Two 1×1 convolutions with a ReLU between, added to the map as a residual branch. How wide they are
is chosen so that the network has the parameters, or the multiply-adds, that it has with the
mechanism. Where the narrowest are already too much, they go to some of the sites alone: to those
that together come nearest. What was reached is part of the result; an exact match is often out of
reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from composer.errors import ComposerError
from composer.graph.graph import Init
from composer.surgery.plan import plan
from composer.surgery.site import Plan

SPEC = """\
composer: 1
name: plain_conv
params: {ratio: 1.0}
input: [b, c, h, w]
nodes:
  reduce:  {op: conv2d, out: "max(1, round(c * ratio))", kernel: 1, act: relu}
  restore: {op: conv2d, out: c, kernel: 1}
  out:     {op: add, of: [input, restore]}
insert: {at: block}
"""
By = Literal["parameters", "multiply-adds"]
_STEPS = 60
_SUMS = 20_000  # of the costs of some sites, that are looked at


@dataclass(frozen=True)
class Place:
    """A site: its channels, and the number of its places, height times width.

    `blend` is 1 with an identity start, whose learned scalar is one more parameter.
    """

    path: str
    channels: int
    area: int
    blend: int = 0

    def cost(self, ratio: float, by: By) -> int:
        """Return the parameters, or the multiply-adds, of the two convolutions."""
        hidden = max(1, round(self.channels * ratio))
        if by == "parameters":
            return 2 * self.channels * hidden + hidden + self.channels + self.blend
        return 2 * self.channels * hidden * self.area


@dataclass(frozen=True)
class Match:
    """How the convolutions are chosen: their width as a share of the channels, and their sites.

    `sites` are the paths where they go; None for all.
    """

    ratio: float
    sites: tuple[str, ...] | None
    wanted: int
    reached: int


def match(places: Sequence[Place], wanted: int, by: By) -> Match:
    """Return the choice whose cost comes nearest to `wanted` (at least 1)."""
    narrowest = sum(place.cost(0.0, by) for place in places)
    if narrowest > wanted:
        return _at_some(places, wanted, by)
    low, high = 0.0, 1.0
    while sum(place.cost(high, by) for place in places) < wanted:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if sum(place.cost(middle, by) for place in places) < wanted:
            low = middle
        else:
            high = middle
    best = min((low, high), key=lambda ratio: abs(_total(places, ratio, by) - wanted))
    return Match(best, None, wanted, _total(places, best, by))


def _at_some(places: Sequence[Place], wanted: int, by: By) -> Match:
    """Choose the sites whose narrowest convolutions together come nearest to `wanted`."""
    costs = [place.cost(0.0, by) for place in places]
    sums: dict[int, tuple[int, ...]] = {0: ()}
    for index, cost in enumerate(costs):
        for total, chosen in list(sums.items()):
            if total + cost <= 2 * wanted and len(sums) < _SUMS:
                sums.setdefault(total + cost, (*chosen, index))
    del sums[0]
    if not sums:
        cheapest = min(range(len(costs)), key=costs.__getitem__)
        sums = {costs[cheapest]: (cheapest,)}
    best = min(sums, key=lambda total: (abs(total - wanted), total))
    return Match(0.0, tuple(places[index].path for index in sums[best]), wanted, best)


def _total(places: Sequence[Place], ratio: float, by: By) -> int:
    return sum(place.cost(ratio, by) for place in places)


def plan_convolutions(
    model: nn.Module, arguments: dict[str, Any], init: Init, wanted: int, by: By
) -> tuple[Plan, Match]:
    """Plan plain convolutions that cost `wanted` in a model.

    Args:
        model: the plain backbone.
        arguments: where the mechanism goes; in place of a layer, convolutions go to the blocks.
        init: how the mechanism starts, and they do.
        wanted: what the mechanism adds: parameters or multiply-adds.
        by: which of the two.

    Raises:
        ComposerError: they fit nowhere.
    """
    where = dict(arguments)
    if where.get("at") not in (None, "block", "stage", "stem", "head", "module"):
        where = {}
    where.pop("match", None)
    where.setdefault("at", "block")
    ratio: dict[str, Any] = {"params": {"ratio": 1.0}, "init": init}
    try:
        found = plan(model, SPEC, **where, **ratio)
    except ComposerError:
        if where == {"at": "block"}:
            raise
        where = {"at": "block"}
        found = plan(model, SPEC, **where, **ratio)
    places = []
    for site in found.sites:
        area = 1
        for length in site.size:
            area *= length
        places.append(Place(site.path, site.channels, area, int(init == "identity")))
    chosen = match(places, wanted, by)
    if chosen.sites is not None:
        where["select"] = list(chosen.sites)
    ratio["params"] = {"ratio": chosen.ratio}
    return plan(model, SPEC, **where, **ratio), chosen
