"""One gate for each channel: SE, its variants, eSE, ECA."""

from __future__ import annotations

from dataclasses import replace

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Count
from composer.certificate.claims.keys import BIASED, WEIGHTS, renamed

RESNET50 = CanonicalPlace(
    "resnet50", 16, "layer?.?", "the end of the residual branch of every block, before the add"
)
PLAIN = "the plain ResNet-50 with its stride on the 3×3, and little more"
MLP = "2 * c * hidden + hidden + c"
LAYERS = {"excite.fc1": "w1", "excite.fc2": "w2"}

CLAIMS = (
    Claim(
        "se",
        "arXiv:1709.01507, equations 2 to 4",
        (
            Case(
                lambda at: oracles.SE(at.channels),
                MLP,
                renamed(LAYERS, BIASED),
                hidden="c // 16",
                width=64,
            ),
            Case(
                lambda at: oracles.SE(at.channels, reduction=4, bias=False),
                "2 * c * hidden",
                renamed(LAYERS, WEIGHTS),
                {"reduction": 4, "bias": False},
                hidden="c // 4",
            ),
            Case(
                lambda at: oracles.SE(at.channels, least=5),
                MLP,
                renamed(LAYERS, BIASED),
                {"min_width": 5},
                hidden="max(c // 16, 5)",
                width=8,
                widths=(8, 64, 256),
            ),
        ),
        RESNET50,
        (
            Count("28,088,024", "the authors' Caffe models and timm's seresnet50"),
            Count("28,071,976", "equation 3, which has no biases", params={"bias": False}),
        ),
        (Count("4.11 G", PLAIN, 0.01),),
        deviations=("biases",),
        defaults={"reduction": 16},
    ),
    Claim(
        "se_var1",
        "arXiv:1910.03151, table 2",
        (Case(lambda _: oracles.SEVar1(), "0", {}),),
        RESNET50,
        (Count("25,557,032", "the plain ResNet-50: it has no parameters"),),
        (Count("4.11 G", PLAIN, 0.01),),
    ),
    Claim(
        "se_var2",
        "arXiv:1910.03151, table 2",
        (Case(lambda at: oracles.SEVar2(at.channels), "c", {"weight": "w"}),),
        RESNET50,
        (Count("25,572,136", "the plain ResNet-50 and c at each site, 15,104 in all"),),
        (Count("4.11 G", PLAIN, 0.01),),
        deviations=("initial weights",),
    ),
    Claim(
        "se_var3",
        "arXiv:1910.03151, table 2",
        (Case(lambda at: oracles.SEVar3(at.channels), "c * c", {"excite.linear.weight": "w"}),),
        RESNET50,
        (Count("45,676,584", "the plain ResNet-50 and c² at each site, 20,119,552 in all"),),
        (Count("4.11 G", PLAIN, 0.01),),
    ),
    Claim(
        "ese",
        "arXiv:1911.06667, and the authors' code",
        (
            Case(
                lambda at: oracles.ESE(at.channels),
                "c * c + c",
                renamed({"excite.linear": "fc"}, BIASED),
                tolerance=1e-6,  # torch's hardsigmoid has a float32 1/6 in its gradient
            ),
        ),
        replace(RESNET50, source="the spec's own choice, because ResNet has no OSA module"),
        (Count("45,691,688", "the plain ResNet-50 and c² + c at each site, 20,134,656 in all"),),
        deviations=("relu6",),
    ),
    Claim(
        "eca",
        "arXiv:1910.03151, the size of the kernel with γ = 2 and b = 1",
        (
            Case(
                lambda at: oracles.ECA(at.channels),
                "odd(abs((log2(c) + 1) / 2))",
                {"interact.conv.weight": "w"},
                width=128,
                widths=(16, 24, 40, 64, 96, 100, 128, 255, 256, 512, 960, 2048, 4096),
            ),
        ),
        RESNET50,
        (
            Count("25,557,118", "the plain ResNet-50 and kernels of 5, 5, 5 and 7 by stage"),
            Count("24.37 Mi", "arXiv:1910.03151, which counts in 2²⁰"),
        ),
        (Count("4.11 G", PLAIN, 0.01),),
        defaults={"gamma": 2, "beta": 1},
    ),
)
