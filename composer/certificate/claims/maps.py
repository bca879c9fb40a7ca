"""Channel and spatial attention: CBAM with its two halves, BAM."""

from __future__ import annotations

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Count
from composer.certificate.claims.channel import MLP, RESNET50
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed, under

LAYERS = {"excite.fc1": "mlp.0", "excite.fc2": "mlp.2"}
MAP = renamed({"locate.conv": "conv"}, WEIGHTS)
NORMED = {**MAP, **renamed({"locate.norm": "bn"}, NORM)}
CHANNEL = under("channel.", "channel.", renamed(LAYERS, BIASED))

CONVS = {
    "channel.fc1": "mc.0",
    "channel.fc2": "mc.3",
    "reduce.conv": "ms.0",
    "context1.conv": "ms.3",
    "context2.conv": "ms.6",
    "spatial.conv": "ms.9",
}
NORMS = {
    "channel.norm": "mc.1",
    "reduce.norm": "ms.1",
    "context1.norm": "ms.4",
    "context2.norm": "ms.7",
}
BAM = {**renamed(CONVS, BIASED), **renamed(NORMS, NORM)}
BAM_SIZE = "3 * c * hidden + c + 18 * hidden ** 2 + 13 * hidden + 1"

CLAIMS = (
    Claim(
        "cbam_channel",
        "arXiv:1807.06521, equation 2",
        (
            Case(
                lambda at: oracles.CBAMChannel(at.channels),
                MLP,
                renamed(LAYERS, BIASED),
                hidden="c // 16",
                width=64,
            ),
            Case(
                lambda at: oracles.CBAMChannel(at.channels, reduction=8, bias=False),
                "2 * c * hidden",
                renamed(LAYERS, WEIGHTS),
                {"reduction": 8, "bias": False},
                hidden="c // 8",
            ),
        ),
        RESNET50,
        (Count("28,088,024", "as SE: the MLP has the same size"),),
        defaults={"reduction": 16},
    ),
    Claim(
        "cbam_spatial",
        "arXiv:1807.06521, equation 3, and the authors' code",
        (
            Case(lambda _: oracles.CBAMSpatial(), "2 * 7 ** 2 + 2", NORMED),
            Case(
                lambda _: oracles.CBAMSpatial(kernel=3, norm=False),
                "2 * 3 ** 2",
                MAP,
                {"kernel": 3, "norm": "none"},
            ),
        ),
        RESNET50,
        (Count("25,558,632", "the plain ResNet-50 and 100 at each of 16 sites"),),
        deviations=("norm",),
        defaults={"kernel": 7},
    ),
    Claim(
        "cbam",
        "arXiv:1807.06521, equations 1 to 3, and the authors' code",
        (
            Case(
                lambda at: oracles.CBAM(at.channels),
                f"{MLP} + 2 * 7 ** 2 + 2",
                {**CHANNEL, **under("spatial.", "spatial.", NORMED)},
                hidden="c // 16",
                width=64,
            ),
            Case(
                lambda at: oracles.CBAM(at.channels, norm=False),
                f"{MLP} + 2 * 7 ** 2",
                {**CHANNEL, **under("spatial.", "spatial.", MAP)},
                {"spatial_norm": "none"},
                hidden="c // 16",
            ),
            Case(
                lambda at: oracles.CBAM(at.channels, least=5),
                f"{MLP} + 2 * 7 ** 2 + 2",
                {**CHANNEL, **under("spatial.", "spatial.", NORMED)},
                {"min_width": 5},
                hidden="max(c // 16, 5)",
                width=8,
                widths=(8, 64, 256),
            ),
        ),
        RESNET50,
        (Count("28,089,624", "the authors' code"),),
        deviations=("norm",),
        defaults={"reduction": 16, "kernel": 7},
    ),
    Claim(
        "bam",
        "arXiv:1807.06514, equations 1 to 4, and the authors' code",
        (
            Case(lambda at: oracles.BAM(at.channels), BAM_SIZE, BAM, hidden="c // 16", width=64),
            Case(
                lambda at: oracles.BAM(at.channels, total=True),
                BAM_SIZE,
                BAM,
                {"combine": "total"},
                hidden="c // 16",
                width=64,
            ),
            Case(
                lambda at: oracles.BAM(at.channels, least=5),
                BAM_SIZE,
                BAM,
                {"min_width": 5},
                hidden="max(c // 16, 5)",
                width=8,
                widths=(8, 64, 256),
            ),
        ),
        CanonicalPlace("resnet50", 3, "layer?", "after stages 1, 2 and 3", "output"),
        (Count("25,915,099", "the authors' code"),),
        (Count("4.20 G", "4.11 G of the plain ResNet-50, its stride on the 3×3, and BAM", 0.01),),
        deviations=("adds",),
        defaults={"reduction": 16, "dilation": 4},
    ),
)
