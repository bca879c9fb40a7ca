"""Position-aware gates: coordinate and triplet attention, strip pooling, GAM, ParNet, PSA."""

from __future__ import annotations

from dataclasses import replace

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Count
from composer.certificate.claims.channel import RESNET50
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed, under

COORDINATE = {"mix.linear": "f1", "g_h.linear": "fh", "g_w.linear": "fw"}
MIXED = renamed({"mix.norm": "bn"}, NORM)

GATE = {
    **renamed({"locate.conv": "conv"}, WEIGHTS),
    **renamed({"locate.norm": "bn"}, NORM),
}
TRIPLET = {k: v for p in ("cw", "hc", "hw") for k, v in under(f"plane_{p}.", f"{p}.", GATE).items()}

STRIPS = {
    **renamed({"down.conv": "down", "across.conv": "across"}, WEIGHTS),
    **renamed({"down.norm": "down_bn", "across.norm": "across_bn"}, NORM),
    **renamed({"scale.linear": "scale"}, BIASED),
}

GAM = {
    **renamed({"mix.fc1": "mlp.0", "mix.fc2": "mlp.2"}, BIASED),
    **renamed({"reduce.conv": "conv1", "expand.conv": "conv2"}, BIASED),
    **renamed({"reduce.norm": "bn1", "expand.norm": "bn2"}, NORM),
}

PARNET = {
    **renamed({"gate.linear": "fc", "point.conv": "conv1", "dense.conv": "conv3"}, WEIGHTS),
    **renamed({"skip.norm": "bn", "point.norm": "bn1", "dense.norm": "bn3"}, NORM),
}

POLARISED = renamed(
    {
        "q_ch.linear": "q_right",
        "v_ch.linear": "v_right",
        "q_sp.linear": "q_left",
        "v_sp.linear": "v_left",
    },
    WEIGHTS,
)
SEQUENTIAL = {
    **POLARISED,
    **renamed({"excite.fc1": "up.0", "excite.norm": "up.1", "excite.fc2": "up.3"}, BIASED),
}
AFTER_THE_3X3 = CanonicalPlace(
    "resnet50", 16, "layer?.?", "after the 3×3 of every block and its ReLU", "after:act2"
)
STAGES = CanonicalPlace("resnet50", 4, "layer?", "after every stage", "output")


def _coordinate(words: dict[str, int | bool], hidden: str, suffixes: tuple[str, ...]) -> Case:
    biases = " + hidden + 2 * c" if "bias" in suffixes else ""
    return Case(
        lambda at: oracles.Coordinate(
            at.channels, int(words.get("reduction", 32)), bias="bias" in suffixes
        ),
        f"3 * c * hidden + 2 * hidden{biases}",
        {**renamed(COORDINATE, suffixes), **MIXED},
        words,
        hidden,
    )


def _gam(words: dict[str, int], reduction: int, kernel: int) -> Case:
    return Case(
        lambda at: oracles.GAM(at.channels, reduction, kernel),
        f"2 * (1 + {kernel} ** 2) * c * hidden + 4 * hidden + 4 * c",
        GAM,
        words,
        f"c // {reduction}",
    )


CLAIMS = (
    Claim(
        "coordinate",
        "arXiv:2103.02907, equations 4 to 9",
        (
            _coordinate({}, "max(c // 32, 8)", BIASED),
            _coordinate({"reduction": 4, "bias": False}, "max(c // 4, 8)", WEIGHTS),
        ),
        CanonicalPlace(
            "mobilenetv2_100",
            16,
            "blocks.?.?",
            "after the depthwise convolution of every block that expands",
            "after:bn2",
        ),
        (
            Count("3.95 M", "the authors' repository"),
            Count("3,950,648", "the authors' code in MobileNetV2"),
        ),
        defaults={"reduction": 32, "min_width": 8},
    ),
    Claim(
        "triplet",
        "arXiv:2010.03045, section 3",
        (
            Case(lambda _: oracles.Triplet(), "3 * (2 * 7 ** 2 + 2)", TRIPLET),
            Case(lambda _: oracles.Triplet(3), "3 * (2 * 3 ** 2 + 2)", TRIPLET, {"kernel": 3}),
        ),
        RESNET50,
        (
            Count("25,561,832", "the plain ResNet-50 and 300 at each of 16 sites"),
            Count("25.56 M", "the authors' repository"),
        ),
        (Count("4.169 G", "the authors' repository", 0.01),),
        defaults={"kernel": 7},
    ),
    Claim(
        "strip_pooling",
        "arXiv:2003.13328, section 3.1, and the authors' code",
        (Case(lambda at: oracles.StripPooling(at.channels), "7 * c ** 2 + 5 * c", STRIPS),),
        CanonicalPlace(
            "resnet50",
            4,
            "layer?.?",
            "after the 3×3 of the last block of every stage",
            "after:act2",
        ),
        (Count("27,998,952", "the plain ResNet-50 and 7c² + 5c at each of 4 sites"),),
        deviations=("no norm and no ReLU",),
    ),
    Claim(
        "gam",
        "arXiv:2112.05561, equations 1 and 2",
        (_gam({}, 4, 7), _gam({"reduction": 8, "kernel": 3}, 8, 3)),
        replace(STAGES, source="the spec's own choice, because the paper names no place"),
        (Count("164,840,232", "the plain ResNet-50, and an MLP and two 7×7 at each of 4 sites"),),
        deviations=("names no norm",),
        defaults={"reduction": 4, "kernel": 7},
    ),
    Claim(
        "parnet",
        "arXiv:2110.07641, section 3.1, and the authors' code",
        (Case(lambda at: oracles.ParNet(at.channels), "11 * c ** 2 + 6 * c", PARNET),),
        replace(STAGES, source="the spec's own choice, because ParNet is a network of such blocks"),
        (Count("86,856,232", "the plain ResNet-50 and 11c² + 6c at each of 4 sites"),),
    ),
    Claim(
        "polarised_parallel",
        "arXiv:2107.00782, section 3, and the authors' code",
        (
            Case(
                lambda at: oracles.PolarisedParallel(at.channels),
                "4 * (c // 2) * c + c",
                {**POLARISED, "a_ch.linear.weight": "up.weight"},
            ),
        ),
        AFTER_THE_3X3,
        (Count("28,075,752", "the plain ResNet-50 and 2c² + c at each of 16 sites"),),
        deviations=("softmax", "LayerNorm"),
    ),
    Claim(
        "polarised_sequential",
        "arXiv:2107.00782, section 3, and the authors' code",
        (
            Case(
                lambda at: oracles.PolarisedSequential(at.channels),
                "3 * (c // 2) * c + c + (c // 2) * hidden + 3 * hidden + hidden * c + c",
                SEQUENTIAL,
                hidden="c // 8",
            ),
        ),
        AFTER_THE_3X3,
        (
            Count(
                "27,687,984",
                "the plain ResNet-50, and the layers of both gates at each of 16 sites",
            ),
        ),
        deviations=("softmax", "LayerNorm"),
    ),
)
