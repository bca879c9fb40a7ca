"""A gate per position, or per value: scSE, SimAM, SGE, MLCA, shuffle attention, EMA."""

from __future__ import annotations

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Count
from composer.certificate.claims.channel import MLP, RESNET50
from composer.certificate.claims.keys import BIASED, renamed
from composer.certificate.claims.recalibration import OWN

SCSE = renamed({"excite.fc1": "w1", "excite.fc2": "w2", "project.conv": "sq"}, BIASED)
SGE = {"transform.linear.weight": "gamma", "transform.linear.bias": "beta"}
MLCA = {"far.conv.weight": "conv.weight", "near.conv.weight": "conv_local.weight"}
SHUFFLE = {
    "weigh1.linear.weight": "w1",
    "weigh1.linear.bias": "b1",
    **renamed({"norm.norm": "gn"}, BIASED),
    "weigh2.linear.weight": "w2",
    "weigh2.linear.bias": "b2",
}
EMA = renamed({"mix.linear": "conv1", "fine.norm": "gn", "coarse.conv": "conv3"}, BIASED)

CLAIMS = (
    Claim(
        "scse",
        "arXiv:1803.02579",
        (
            Case(lambda at: oracles.SCSE(at.channels), f"{MLP} + c + 1", SCSE, hidden="c // 2"),
            Case(
                lambda at: oracles.SCSE(at.channels, reduction=16, largest=True),
                f"{MLP} + c + 1",
                SCSE,
                {"reduction": 16, "combine": "max"},
                hidden="c // 16",
            ),
        ),
        CanonicalPlace(
            "resnet50", 4, "layer?", "after every stage, each an encoder block", "output"
        ),
        (Count("31,137,196", "the plain ResNet-50 and c² + 5c/2 + 1 after each stage"),),
        deviations=("adds",),
        defaults={"reduction": 2, "combine": "add"},
    ),
    Claim(
        "simam",
        "ICML 2021 (Yang et al.), equation 5 and figure 3",
        (
            Case(lambda _: oracles.SimAM(), "0", {}),
            Case(lambda _: oracles.SimAM(eps=0.5), "0", {}, {"eps": 0.5}),
        ),
        CanonicalPlace(
            "resnet50",
            16,
            "layer?.?",
            "after the 3×3 convolution of every block, before its norm",
            "after:conv2",
        ),
        (
            Count("25,557,032", "the plain ResNet-50: it has no parameters"),
            Count("25.56 M", "the authors' table of trained models"),
            Count("11.69 M", "the same", backbone="resnet18"),
        ),
        (
            Count("4.11 G", "the same", 0.01),
            Count("1.82 G", "the same", 0.01, backbone="resnet18"),
        ),
        deviations=("one less",),
        defaults={"eps": 1e-4},
    ),
    Claim(
        "sge",
        "arXiv:1905.09646, and the authors' code",
        (
            Case(lambda _: oracles.SGE(), "2 * 64", SGE, width=128),
            Case(lambda _: oracles.SGE(groups=4), "2 * groups", SGE, {"groups": 4}, widths=(4, 20)),
        ),
        RESNET50,
        (
            Count("25,559,080", "the plain ResNet-50 and 128 at each of 16 sites"),
            Count("25.56 M", "the authors' table of trained models"),
        ),
        (Count("4.127 G", "the authors' table, whose plain ResNet-50 has 4.122 G", 0.01),),
        deviations=("as norms do",),
        defaults={"groups": 64},
    ),
    Claim(
        "mlca",
        "EAAI 2023 (Wan et al.), and the authors' code",
        (
            Case(
                lambda at: oracles.MLCA(at.channels),
                "2 * odd(abs((log2(c) + 1) / 2))",
                MLCA,
                width=128,
                shapes=((3, 7, 9), (2, 5, 3), (2, 12, 20)),
            ),
            Case(
                lambda at: oracles.MLCA(at.channels, size=3, share=0.2),
                "2 * odd(abs((log2(c) + 1) / 2))",
                MLCA,
                {"size": 3, "share": 0.2},
            ),
        ),
        OWN,
        (Count("25,557,204", "the plain ResNet-50 and two kernels of 5, 5, 5 and 7 by stage"),),
        defaults={"size": 5, "share": 0.5, "gamma": 2, "beta": 1},
    ),
    Claim(
        "shuffle_attention",
        "arXiv:2102.00240, equations 1 to 3, and the authors' code",
        (
            Case(
                lambda at: oracles.ShuffleAttention(at.channels),
                "3 * c / 64",
                SHUFFLE,
                width=256,
                widths=(128, 256, 512, 2048),
            ),
            Case(
                lambda at: oracles.ShuffleAttention(at.channels, groups=3),
                "c",
                SHUFFLE,
                {"groups": 3},
                width=24,
                widths=(6, 24, 66),
            ),
        ),
        RESNET50,
        (Count("25,557,740", "the plain ResNet-50 and 3c/64 at each of 16 sites"),),
        defaults={"groups": 64},
    ),
    Claim(
        "ema",
        "arXiv:2305.13563, and the authors' code",
        (
            Case(
                lambda at: oracles.EMA(at.channels),
                "10 * (c / 32) ** 2 + 4 * (c / 32)",
                EMA,
                width=96,
            ),
            Case(
                lambda at: oracles.EMA(at.channels, groups=4),
                "10 * (c / groups) ** 2 + 4 * (c / groups)",
                EMA,
                {"groups": 4},
                width=24,
                widths=(4, 24, 64),
            ),
        ),
        OWN,
        (Count("25,755,400", "the plain ResNet-50 and 10(c/32)² + c/8 at each of 16 sites"),),
        defaults={"groups": 32},
    ),
)
