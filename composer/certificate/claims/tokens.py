"""Self-attention: on tokens, on a map with relative position, and the layer of ViT."""

from __future__ import annotations

from dataclasses import replace

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Conv, Count
from composer.certificate.claims.channel import RESNET50
from composer.certificate.claims.keys import BIASED, renamed

LAYERS = renamed({"qkv.linear": "qkv", "out.linear": "out"}, BIASED)
LAYER = renamed(
    {
        "norm1.norm": "norm1",
        "attend.qkv.linear": "attend.qkv",
        "attend.out.linear": "attend.out",
        "norm2.norm": "norm2",
        "mlp.fc1": "fc1",
        "mlp.fc2": "fc2",
    },
    BIASED,
)
BOT = {"qkv.linear.weight": "qkv.weight", "attend.height": "height", "attend.width": "width"}
BOT_SIZE = "3 * c * out + (2 * h - 1 + 2 * w - 1) * out / 4"
TOKENS = ((3, 10), (2, 5))
VIT = "vit_base_patch16_224"

CLAIMS = (
    Claim(
        "sa",
        "arXiv:1706.03762, equation 1",
        (
            Case(
                lambda at: oracles.SA(at.channels),
                "3 * (c * 64 + 64) + 64 * c + c",
                LAYERS,
                shapes=TOKENS,
            ),
            Case(
                lambda at: oracles.SA(at.channels, 24),
                "3 * (c * 24 + 24) + 24 * c + c",
                LAYERS,
                {"width": 24},
                shapes=TOKENS,
            ),
        ),
        replace(RESNET50, source="the spec's own choice, because its paper has no ResNet"),
        (Count("29,441,832", "the plain ResNet-50 and 257c + 192 at each of 16 sites"),),
    ),
    Claim(
        "mhsa",
        "arXiv:1706.03762, section 3.2.2",
        (
            Case(lambda at: oracles.MHSA(at.channels), "4 * (c ** 2 + c)", LAYERS, shapes=TOKENS),
            Case(
                lambda at: oracles.MHSA(at.channels, 4),
                "4 * (c ** 2 + c)",
                LAYERS,
                {"heads": 4},
                shapes=TOKENS,
            ),
        ),
        CanonicalPlace(
            VIT, 12, "blocks.*", "the attention module of each of ViT's blocks", "replace"
        ),
        (Count("86,567,656", "timm's ViT-B/16, whose own attention has the same size"),),
        defaults={"heads": 8},
    ),
    Claim(
        "transformer_layer",
        "arXiv:2010.11929, equations 2 and 3",
        (
            Case(
                lambda at: oracles.TransformerLayer(at.channels),
                "2 * 2 * c + 4 * (c ** 2 + c) + 2 * 4 * c ** 2 + 4 * c + c",
                LAYER,
                shapes=TOKENS,
            ),
            Case(
                lambda at: oracles.TransformerLayer(at.channels, 4, 2),
                "2 * 2 * c + 4 * (c ** 2 + c) + 2 * 2 * c ** 2 + 2 * c + c",
                LAYER,
                {"heads": 4, "expansion": 2},
                shapes=TOKENS,
            ),
        ),
        CanonicalPlace(
            VIT, 12, "blocks.*", "the layers of ViT-B/16, replacing its own", instead=True
        ),
        (Count("86,567,656", "timm's ViT-B/16, whose own layers have the same size"),),
        defaults={"expansion": 4},
    ),
    Claim(
        "bot_mhsa",
        "arXiv:2101.11605, figure 4",
        (
            Case(
                lambda at: oracles.BotMHSA(at.conv, at.size),
                BOT_SIZE,
                BOT,
                conv=Conv(widen=2),
                sized=True,
            ),
            Case(
                lambda at: oracles.BotMHSA(at.conv, at.size, scaled=False),
                BOT_SIZE,
                BOT,
                {"scale_position": False},
                conv=Conv(),
                sized=True,
            ),
            Case(
                lambda at: oracles.BotMHSA(at.conv, at.size),
                BOT_SIZE,
                BOT,
                conv=Conv(stride=2),
                shapes=((3, 6, 8), (2, 4, 2)),
                sized=True,
            ),
        ),
        CanonicalPlace(
            "resnet50", 3, "layer4.?*", "the 3×3 of the three blocks of the last stage", "replace"
        ),
        (
            Count(
                "20,852,008",
                "ResNet-50 less 3 · 9 · 512², and 3 · 512² and 128 (2h - 1 + 2w - 1) at each site",
            ),
            Count(
                "20.8 M",
                "arXiv:2101.11605, which gives one decimal",
                0.005,
            ),
        ),
        deviations=("1/√d",),
        defaults={"heads": 4},
    ),
)
