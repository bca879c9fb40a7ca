"""Attention with heads: in windows, across channels, in linear time, with relative positions."""

from __future__ import annotations

from dataclasses import replace

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Conv, Count
from composer.certificate.claims.channel import RESNET50
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed, under
from composer.certificate.claims.tokens import LAYERS, TOKENS, VIT

#: ViT-B/16 without a class token: all of its tokens are positions of a map.
GAP = "vit_base_patch16_gap_224"
IN_VIT = CanonicalPlace(
    VIT, 12, "blocks.*", "the attention module of each of ViT's blocks", "replace",
    source="the paper, in place of a transformer's attention",
)  # fmt: skip
IN_GAP = CanonicalPlace(
    GAP, 12, "blocks.*", "the attention module of each of ViT's blocks", "replace",
    source="the paper, in place of a transformer's attention",
)  # fmt: skip
AS_LARGE = (Count("86,567,656", "timm's ViT-B/16, whose own attention has the same size"),)
PROJECTED = renamed({"qkv.linear": "qkv", "out.linear": "proj"}, BIASED)
FULL = "4 * (c ** 2 + c)"

COLUMN = {
    "qkv.linear.weight": "qkv.weight",
    "table": "relative",
    **renamed(
        {"qkv.norm": "bn_qkv", "normed.norm": "bn_similarity", "again.norm": "bn_output"}, NORM
    ),
}
AXIAL = {**under("height.", "height.", COLUMN), **under("width.", "width.", COLUMN)}
OF_COLUMN = "2 * c ** 2 + 8 * c + 6 * {heads} + 2 * c / {heads} * (2 * h - 1)"
OF_BOTH = "2 * c * out + 2 * out ** 2 + 16 * out + 12 * {heads} + 4 * out / {heads} * (h + w - 1)"

CLAIMS = (
    Claim(
        "axial_height",
        "arXiv:2003.07853, equation 4, and the authors' code",
        (
            Case(
                lambda at: oracles.AxialHeight(at.channels, at.channels, at.size[0]),
                OF_COLUMN.format(heads=8),
                COLUMN,
                sized=True,
            ),
            Case(
                lambda at: oracles.AxialHeight(at.channels, at.channels, at.size[0], 4),
                OF_COLUMN.format(heads=4),
                COLUMN,
                {"heads": 4},
                sized=True,
            ),
        ),
        replace(RESNET50, source="the spec's own choice: the paper has it along both axes"),
        (Count("66,028,648", "ResNet-50 and 2c² + 8c + 48 + c (2h - 1) / 4 at each of 16 sites"),),
        deviations=("norms",),
        defaults={"heads": 8},
    ),
    Claim(
        "axial",
        "arXiv:2003.07853, equation 4 and figure 2, and the authors' code",
        (
            Case(
                lambda at: oracles.Axial(at.conv, at.size),
                OF_BOTH.format(heads=8),
                AXIAL,
                conv=Conv(widen=2),
                sized=True,
            ),
            Case(
                lambda at: oracles.Axial(at.conv, at.size, 4),
                OF_BOTH.format(heads=4),
                AXIAL,
                {"heads": 4},
                conv=Conv(stride=2),
                shapes=((3, 6, 8), (2, 5, 3)),
                sized=True,
            ),
        ),
        CanonicalPlace("resnet50", 16, "layer?.?*", "the 3×3 of each block", "replace", ("norm",)),
        (
            Count(
                "19,390,280",
                "ResNet-50 without its 3×3 and their norms, and both axes at each site",
            ),
        ),
        deviations=("norms",),
        defaults={"heads": 8},
    ),
    Claim(
        "swin_window",
        "arXiv:2103.14030, equation 4 and section 3.2",
        (
            Case(
                lambda at: oracles.SwinWindow(at.channels),
                "4 * (c ** 2 + c) + 13 ** 2 * (c / 32)",
                {
                    **renamed({"qkv.linear": "qkv", "out.linear": "proj"}, BIASED),
                    "table": "table",
                },
                width=64,
            ),
            Case(
                lambda at: oracles.SwinWindow(at.channels, 4, 2, 2),
                "4 * (c ** 2 + c) + 7 ** 2 * 2",
                {
                    **renamed({"qkv.linear": "qkv", "out.linear": "proj"}, BIASED),
                    "table": "table",
                },
                {"window": 4, "shift": 2, "heads": 2},
                shapes=((2, 8, 12), (2, 7, 5)),
            ),
        ),
        IN_GAP,
        (Count("86,598,568", "ViT-B/16 without a class token, and 13² · 16 at each of 12 sites"),),
        defaults={"window": 7},
    ),
    Claim(
        "xca",
        "arXiv:2106.09681, equation 2",
        (
            Case(
                lambda at: oracles.XCA(at.channels),
                f"{FULL} + 8",
                {"temperature": "temperature", **PROJECTED},
                shapes=TOKENS,
            ),
            Case(
                lambda at: oracles.XCA(at.channels, 4, bias=False),
                "4 * c ** 2 + c + 4",
                {
                    "temperature": "temperature",
                    "qkv.linear.weight": "qkv.weight",
                    **renamed({"out.linear": "proj"}, BIASED),
                },
                {"heads": 4, "bias": False},
                shapes=TOKENS,
            ),
        ),
        IN_VIT,
        (
            Count("86,567,800", "ViT-B/16 and 12 temperatures at each of 12 sites"),
            Count(
                "26,253,304",
                "the authors' XCiT-S12/16, 26 M in the paper",
                backbone="xcit_small_12_p16_224",
                replaces="XCA",
            ),
        ),
        deviations=("temperature",),
        defaults={"heads": 8},
    ),
    Claim(
        "separable_attention",
        "arXiv:2206.02680, equation 3",
        (
            Case(
                lambda at: oracles.SeparableAttention(at.channels),
                "3 * (c ** 2 + c) + c + 1",
                renamed(
                    {
                        "score.linear": "to_score",
                        "key.linear": "to_key",
                        "value.linear": "to_value",
                        "out.linear": "out",
                    },
                    BIASED,
                ),
                shapes=TOKENS,
            ),
        ),
        IN_VIT,
        (Count("79,489,780", "ViT-B/16 with 3c² + 4c + 1 for 4c² + 4c at each of 12 sites"),),
    ),
    Claim(
        "linear_attention",
        "arXiv:2006.16236, equations 4 to 7",
        (
            Case(lambda at: oracles.LinearAttention(at.channels), FULL, LAYERS, shapes=TOKENS),
            Case(
                lambda at: oracles.LinearAttention(at.channels, 4, 0.01),
                FULL,
                LAYERS,
                {"heads": 4, "eps": 0.01},
                shapes=TOKENS,
            ),
        ),
        IN_VIT,
        AS_LARGE,
        deviations=("1e-6",),
        defaults={"heads": 8},
    ),
    Claim(
        "talking_heads",
        "arXiv:2003.02436, section 4",
        (
            Case(
                lambda at: oracles.TalkingHeads(at.channels),
                f"{FULL} + 2 * (8 ** 2 + 8)",
                {
                    **LAYERS,
                    **renamed({"talk1.linear": "logits", "talk2.linear": "weights"}, BIASED),
                },
                shapes=TOKENS,
            ),
            Case(
                lambda at: oracles.TalkingHeads(at.channels, 4, bias=False),
                f"{FULL} + 2 * 4 ** 2",
                {
                    **LAYERS,
                    **renamed({"talk1.linear": "logits", "talk2.linear": "weights"}, WEIGHTS),
                },
                {"heads": 4, "talk_bias": False},
                shapes=TOKENS,
            ),
        ),
        IN_VIT,
        (
            Count("86,571,400", "ViT-B/16 and two layers across 12 heads at each of 12 sites"),
            Count(
                "11,956,264",
                "the authors' CaiT-XXS24, 12.0 M in arXiv:2103.17239",
                params={"heads": 4},
                backbone="cait_xxs24_224",
                replaces="TalkingHeadAttn",
            ),
        ),
        deviations=("bias",),
        defaults={"heads": 8},
    ),
    Claim(
        "coatnet_attention",
        "arXiv:2106.04803, equation 3",
        (
            Case(
                lambda at: oracles.CoatNetAttention(at.channels, at.size),
                f"{FULL} + (c / 32) * (2 * h - 1) * (2 * w - 1)",
                {**PROJECTED, "table": "table"},
                width=64,
                sized=True,
            ),
            Case(
                lambda at: oracles.CoatNetAttention(at.channels, at.size, 4),
                f"{FULL} + 4 * (2 * h - 1) * (2 * w - 1)",
                {**PROJECTED, "table": "table"},
                {"heads": 4},
                sized=True,
            ),
        ),
        IN_GAP,
        (
            Count("86,706,088", "ViT-B/16 without a class token, and 27² · 16 at each of 12 sites"),
            Count(
                "25,036,820",
                "timm's CoAtNet-0, 25 M in the paper",
                backbone="coatnet_0_224",
                replaces="Attention2d",
            ),
        ),
    ),
)
