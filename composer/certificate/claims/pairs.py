"""Attention between positions: non-local, DANet, A², external and criss-cross attention."""

from __future__ import annotations

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Count
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed, under

NON_LOCAL = {
    **renamed(
        {"theta.linear": "theta", "phi.linear": "phi", "g.linear": "g", "z.linear": "wz"}, BIASED
    ),
    **renamed({"z.norm": "bn"}, NORM),
}
POSITION = {
    **renamed({"query.linear": "b", "key.linear": "c", "value.linear": "d"}, BIASED),
    "alpha": "alpha",
}
DOUBLE = renamed(
    {
        "features.linear": "phi",
        "gather.linear": "theta",
        "distribute.linear": "rho",
        "expand.linear": "expand",
    },
    BIASED,
)
EXTERNAL = {
    **renamed({"query.linear": "query"}, BIASED),
    "key.linear.weight": "mk",
    "value.linear.weight": "mv",
    **renamed({"project.linear": "project"}, WEIGHTS),
    **renamed({"project.norm": "bn"}, NORM),
}
CROSS = {
    **renamed({"query.linear": "q", "key.linear": "k", "value.linear": "v"}, BIASED),
    "gamma": "gamma",
}
THREE_LAYERS = "c ** 2 + 2 * c * hidden + 2 * hidden + c + 1"
LAST = CanonicalPlace(
    "resnet50",
    1,
    "layer4",
    "after the last stage, whose 2048 channels the paper first reduces to 512",
    "output",
)


def _non_local(words: dict[str, int | float | str], width: str, of: int) -> Case:
    scale = words.get("scale")
    return Case(
        lambda at: oracles.NonLocal(
            at.channels,
            int(words.get("width", at.channels // of)),
            None if scale is None else float(scale),
            dot=words.get("function") == "dot",
        ),
        "4 * c * hidden + 3 * hidden + 3 * c",
        NON_LOCAL,
        words,
        width,
    )


def _reduced(reduction: int) -> dict[str, int]:
    return {} if reduction == 8 else {"reduction": reduction}


def _position(reduction: int) -> Case:
    return Case(
        lambda at: oracles.DANetPosition(at.channels, reduction),
        THREE_LAYERS,
        POSITION,
        _reduced(reduction),
        f"c // {reduction}",
    )


def _cross(reduction: int) -> Case:
    return Case(
        lambda at: oracles.CrissCross(at.channels, reduction),
        THREE_LAYERS,
        CROSS,
        _reduced(reduction),
        f"c // {reduction}",
    )


def _rcca(recurrence: int, words: dict[str, int]) -> Case:
    return Case(
        lambda at: oracles.RCCA(at.channels, recurrence),
        THREE_LAYERS,
        under("cross.0.", "cross.", CROSS),
        words,
        "c // 8",
        shapes=((2, 4, 5), (2, 3, 2)),
    )


def _double(words: dict[str, int], reduction: int) -> Case:
    return Case(
        lambda at: oracles.DoubleAttention(at.channels, reduction),
        "4 * c * hidden + 3 * hidden + c",
        DOUBLE,
        words,
        f"c // {reduction}",
    )


def _external(words: dict[str, int], memory: int) -> Case:
    return Case(
        lambda at: oracles.ExternalAttention(at.channels, memory),
        f"2 * c ** 2 + 2 * {memory} * c + 3 * c",
        EXTERNAL,
        words,
    )


CLAIMS = (
    Claim(
        "non_local",
        "arXiv:1711.07971, equations 1 to 6, and the authors' code",
        (
            _non_local({}, "c // 2", 2),
            _non_local({"width": 12, "scale": 1}, "12", 2),
            _non_local({"function": "dot"}, "c // 2", 2),
        ),
        CanonicalPlace(
            "resnet50", 1, "layer3.4", "right before the last block of the third stage", "output"
        ),
        (Count("27,658,792", "the plain ResNet-50 and 2c² + 9c/2 at c = 1024"),),
        deviations=("factor on its logits", "halve the map"),
    ),
    Claim(
        "danet_position",
        "arXiv:1809.02983, equations 1 and 2",
        (_position(8), _position(4)),
        LAST,
        (Count("30,802,473", "the plain ResNet-50 and 5c²/4 + 5c/4 + 1 at c = 2048"),),
        defaults={"reduction": 8},
    ),
    Claim(
        "danet_channel",
        "arXiv:1809.02983, equations 3 and 4, and the authors' code",
        (Case(lambda _: oracles.DANetChannel(), "1", {"beta": "beta"}),),
        LAST,
        (Count("25,557,033", "the plain ResNet-50 and one factor"),),
        deviations=("dissimilar",),
    ),
    Claim(
        "double_attention",
        "arXiv:1810.11579, section 3",
        (_double({}, 4), _double({"reduction": 8}, 8)),
        CanonicalPlace(
            "resnet50",
            5,
            "layer[23].?",
            "after every other block of the second and the third stage",
            "output",
            source="the spec's own choice, as many as in non-local networks",
        ),
        (Count("29,234,216", "the plain ResNet-50 and c² + 7c/4 at each of 5 sites"),),
        defaults={"reduction": 4},
    ),
    Claim(
        "external_attention",
        "arXiv:2105.02358, section 3.2, and the authors' code",
        (_external({}, 64), _external({"memory": 16}, 16)),
        LAST,
        (Count("34,213,928", "the plain ResNet-50 and 2c² + 131c at c = 2048"),),
        deviations=("one memory",),
        defaults={"memory": 64},
    ),
    Claim(
        "criss_cross",
        "arXiv:1811.11721, equations 1 and 2, and the authors' code",
        (_cross(8), _cross(4)),
        LAST,
        (Count("30,802,473", "the plain ResNet-50 and 5c²/4 + 5c/4 + 1 at c = 2048"),),
        deviations=("no factor",),
        defaults={"reduction": 8},
    ),
    Claim(
        "rcca",
        "arXiv:1811.11721, section 3.3, and the authors' code",
        (_rcca(2, {}), _rcca(1, {"recurrence": 1})),
        LAST,
        (Count("30,802,473", "as criss-cross attention: the steps share their weights"),),
        defaults={"recurrence": 2},
    ),
)
