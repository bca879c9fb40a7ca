"""Gather-Excite, whose gather looks at `extent` pixels, or at all."""

from __future__ import annotations

from composer.certificate import oracles
from composer.certificate.claim import Case, Claim, Count
from composer.certificate.claims.channel import RESNET50
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed

PAPER = "arXiv:1810.12348"
EXTENTS = {2: 1, 4: 2, 8: 3}  # and how many convolutions of stride 2 each takes
ALL = {"filter": "convs.0.weight", **renamed({"all.norm": "norms.0"}, NORM)}
MLP = renamed({"excite.fc1": "w1", "excite.fc2": "w2"}, BIASED)
SE = "2 * c * (c // 16) + c // 16 + c"


def _near(times: int) -> dict[str, str]:
    """Return the keys of a chain of convolutions, each with its norm."""
    steps = range(times)
    return {
        **renamed({f"near.{i}.conv": f"convs.{i}" for i in steps}, WEIGHTS),
        **renamed({f"near.{i}.norm": f"norms.{i}" for i in steps}, NORM),
    }


CLAIMS = (
    Claim(
        "ge_theta_minus",
        f"{PAPER}, section 3.1",
        (
            Case(lambda _: oracles.GEThetaMinus(), "0", {}),
            *(
                Case(lambda _, e=extent: oracles.GEThetaMinus(e), "0", {}, {"extent": extent})
                for extent in EXTENTS
            ),
        ),
        RESNET50,
        (Count("25,557,032", "the plain ResNet-50: it has no parameters"),),
    ),
    Claim(
        "ge_theta",
        f"{PAPER}, section 3.2",
        (
            Case(
                lambda at: oracles.GETheta(at.channels, size=at.size),
                "c * h * w + 2 * c",
                ALL,
                sized=True,
            ),
            *(
                Case(
                    lambda at, e=extent: oracles.GETheta(at.channels, e),
                    "log2(extent) * (3 ** 2 * c + 2 * c)",
                    _near(times),
                    {"extent": extent},
                )
                for extent, times in EXTENTS.items()
            ),
        ),
        RESNET50,
        (
            Count("31,106,600", "the plain ResNet-50 and c·h·w + 2c at each of 16 sites"),
            Count("31.11 M", f"{PAPER}, less the norms' statistics, which the paper counts"),
        ),
    ),
    Claim(
        "ge_theta_plus",
        f"{PAPER}, section 3.3, and the authors' code",
        (
            Case(
                lambda at: oracles.GEThetaPlus(at.channels, size=at.size),
                f"c * h * w + 2 * c + {SE}",
                {**ALL, **MLP},
                sized=True,
            ),
            *(
                Case(
                    lambda at, e=extent: oracles.GEThetaPlus(at.channels, e),
                    f"log2(extent) * (3 ** 2 * c + 2 * c) + {SE}",
                    {**_near(times), **MLP},
                    {"extent": extent},
                )
                for extent, times in EXTENTS.items()
            ),
        ),
        RESNET50,
        (
            Count("33,637,592", "that of θ, and SE's two layers at each site"),
            Count("33.64 M", f"{PAPER}, less the norms' statistics, which the paper counts"),
        ),
        deviations=("ReLU",),
    ),
)
