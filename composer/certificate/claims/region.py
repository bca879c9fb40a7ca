"""Gather-Excite, which gathers over `extent` pixels, or over all."""

from __future__ import annotations

import math

from composer.certificate import oracles
from composer.certificate.claim import Case, Claim, Count
from composer.certificate.claims.channel import MLP, RESNET50
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed

PAPER = "arXiv:1810.12348"
EXTENTS = (0, 2, 4, 8)


def _gather(extent: int) -> tuple[str, dict[str, str]]:
    """Return the formula and the keys of a learned gather: one filter, or a chain of them."""
    if not extent:
        keys = {"filter": "convs.0.weight", **renamed({"all.norm": "norms.0"}, NORM)}
        return "c * h * w + 2 * c", keys
    steps = range(int(math.log2(extent)))
    return "log2(extent) * (3 ** 2 * c + 2 * c)", {
        **renamed({f"near.{i}.conv": f"convs.{i}" for i in steps}, WEIGHTS),
        **renamed({f"near.{i}.norm": f"norms.{i}" for i in steps}, NORM),
    }


def _theta_minus(extent: int) -> Case:
    return Case(lambda _: oracles.GEThetaMinus(extent), "0", {}, {"extent": extent})


def _theta(extent: int) -> Case:
    formula, keys = _gather(extent)
    return Case(
        lambda at: oracles.GETheta(at.channels, extent, at.size),
        formula,
        keys,
        {"extent": extent},
        sized=not extent,
    )


def _theta_plus(extent: int) -> Case:
    formula, keys = _gather(extent)
    return Case(
        lambda at: oracles.GEThetaPlus(at.channels, extent, at.size),
        f"{formula} + {MLP}",
        {**keys, **renamed({"excite.fc1": "w1", "excite.fc2": "w2"}, BIASED)},
        {"extent": extent},
        "c // 16",
        sized=not extent,
    )


CLAIMS = (
    Claim(
        "ge_theta_minus",
        f"{PAPER}, section 3.1",
        tuple(map(_theta_minus, EXTENTS)),
        RESNET50,
        (Count("25,557,032", "the plain ResNet-50: it has no parameters"),),
        defaults={"extent": 0},
    ),
    Claim(
        "ge_theta",
        f"{PAPER}, section 3.2",
        tuple(map(_theta, EXTENTS)),
        RESNET50,
        (
            Count("31,106,600", "the plain ResNet-50 and c·h·w + 2c at each of 16 sites"),
            Count("31.11 M", f"{PAPER}, without the norms' statistics, which the paper counts"),
            Count("31.2 M", f"{PAPER}, with statistics (this figure from memory)", statistics=True),
        ),
        defaults={"extent": 0},
    ),
    Claim(
        "ge_theta_plus",
        f"{PAPER}, section 3.3, and the authors' code",
        tuple(map(_theta_plus, EXTENTS)),
        RESNET50,
        (
            Count("33,637,592", "as θ, and SE's two layers at each site"),
            Count("33.64 M", f"{PAPER}, without the norms' statistics, which the paper counts"),
            Count("33.7 M", f"{PAPER}, with statistics (this figure from memory)", statistics=True),
        ),
        deviations=("ReLU",),
        defaults={"extent": 0, "reduction": 16},
    ),
)
