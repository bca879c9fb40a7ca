"""A gate per channel from its statistics: GC, SRM, GCT, LCT, FcaNet, NAM."""

from __future__ import annotations

from dataclasses import replace

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Count
from composer.certificate.claims.channel import RESNET50
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed

OWN = replace(RESNET50, source="the spec's own choice")
GC_KEYS = renamed(
    {
        "mask.conv": "mask",
        "reduce.linear": "transform.0",
        "reduce.norm": "transform.1",
        "expand.linear": "transform.3",
    },
    BIASED,
)
GC_SIZE = "2 * c * hidden + 2 * c + 3 * hidden + 1"

CLAIMS = (
    Claim(
        "global_context",
        "arXiv:1904.11492, equation 5",
        (
            Case(
                lambda at: oracles.GlobalContext(at.channels),
                GC_SIZE,
                GC_KEYS,
                hidden="c // 16",
                width=64,
            ),
            Case(
                lambda at: oracles.GlobalContext(at.channels, reduction=4, mul=True),
                GC_SIZE,
                GC_KEYS,
                {"reduction": 4, "fuse": "mul"},
                hidden="c // 4",
            ),
        ),
        CanonicalPlace(
            "resnet50",
            13,
            "layer[234].?",
            "the end of the residual branch of every block of stages 2 to 4",
        ),
        (
            Count("28,078,773", "the plain ResNet-50 and 2c²/16 + 35c/16 + 1 at each of 13 sites"),
            Count("28.08 M", "arXiv:1904.11492, the table of ImageNet (this figure from memory)"),
        ),
        defaults={"reduction": 16, "fuse": "add"},
    ),
    Claim(
        "srm",
        "arXiv:1903.10829",
        (
            Case(
                lambda at: oracles.SRM(at.channels),
                "4 * c",
                {"weight": "cfc", **renamed({"norm.norm": "bn"}, NORM)},
            ),
        ),
        RESNET50,
        (
            Count("25,617,448", "the plain ResNet-50 and 4c at each of 16 sites"),
            Count("25.62 M", "arXiv:1903.10829 (this figure from memory)"),
        ),
        (Count("4.11 G", "the plain ResNet-50 with its stride on the 3×3, and little more", 0.01),),
        deviations=("one less",),
    ),
    Claim(
        "gct",
        "arXiv:1909.11519, and the authors' code",
        (
            Case(
                lambda at: oracles.GCT(at.channels),
                "3 * c",
                {"alpha": "alpha", "gamma.norm.weight": "gamma", "beta": "beta"},
            ),
        ),
        OWN,
        (Count("25,602,344", "the plain ResNet-50 and 3c at each of 16 sites"),),
        deviations=("before each convolution",),
        defaults={"eps": 1e-5},
    ),
    Claim(
        "lct",
        "arXiv:1909.03834",
        (
            Case(
                lambda at: oracles.LCT(at.channels),
                "2 * c",
                {"transform.linear.weight": "w", "transform.linear.bias": "b"},
                width=256,
            ),
            Case(
                lambda at: oracles.LCT(at.channels, groups=4),
                "2 * c",
                {"transform.linear.weight": "w", "transform.linear.bias": "b"},
                {"groups": 4},
                widths=(4, 20, 256),
            ),
        ),
        RESNET50,
        (Count("25,587,240", "the plain ResNet-50 and 2c at each of 16 sites"),),
        deviations=("not checked",),
        defaults={"groups": 64},
    ),
    Claim(
        "fca",
        "arXiv:2012.11879, and the authors' code",
        (
            Case(
                lambda at: oracles.FCA(at.channels),
                "2 * c * hidden",
                renamed({"excite.fc1": "w1", "excite.fc2": "w2"}, WEIGHTS),
                hidden="c // 16",
                width=64,
                shapes=((3, 7, 9), (2, 14, 15), (2, 5, 3)),
            ),
            Case(
                lambda at: oracles.FCA(at.channels, reduction=4, size=14),
                "2 * c * hidden",
                renamed({"excite.fc1": "w1", "excite.fc2": "w2"}, WEIGHTS),
                {"reduction": 4, "size": 14},
                hidden="c // 4",
                shapes=((2, 14, 14), (2, 20, 15)),
            ),
        ),
        RESNET50,
        (
            Count("28,071,976", "as SE without biases: a DCT has no parameters"),
            Count("28.07 M", "arXiv:2012.11879 (this figure from memory)"),
        ),
        deviations=("whole map",),
        defaults={"reduction": 16, "parts": 16},
    ),
    Claim(
        "nam",
        "arXiv:2111.12419, equations 1 and 2, and the authors' code",
        (
            Case(
                lambda at: oracles.NAM(at.channels),
                "2 * c",
                {
                    "gamma": "bn.weight",
                    "beta": "bn.bias",
                    **renamed({"plain.norm": "bn"}, NORM[2:]),
                },
            ),
        ),
        RESNET50,
        (Count("25,587,240", "the plain ResNet-50 and 2c at each of 16 sites"),),
        deviations=("size of each", "ReLU", "channels alone"),
    ),
)
