"""Token mixers in place of attention: pools, gates, filters; and branch scaling."""

from __future__ import annotations

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Count
from composer.certificate.claims.heads import GAP, IN_GAP, IN_VIT
from composer.certificate.claims.keys import BIASED, renamed
from composer.certificate.claims.tokens import LAYERS, TOKENS

FOCAL = renamed({"project.linear": "project", "mix.linear": "h", "out.linear": "out"}, BIASED)
LEVELS = {f"level{n + 1}.conv.weight": f"contexts.{n}.weight" for n in range(3)}
GMLP = {
    **renamed({"expand.linear": "u", "norm.norm": "norm", "out.linear": "v"}, BIASED),
    "spatial.linear.weight": "weight",
    "spatial.linear.bias": "bias",
}
AFT = {**LAYERS, "u": "u", "w": "w"}

CLAIMS = (
    Claim(
        "pool_former",
        "arXiv:2111.11418, equation 4",
        (
            Case(lambda _: oracles.PoolFormer(), "0", {}),
            Case(lambda _: oracles.PoolFormer(5), "0", {}, {"kernel": 5}),
        ),
        IN_GAP,
        (
            Count("58,217,704", "ViT-B/16 without a class token, less 4c² + 4c at 12 sites"),
            Count(
                "11,915,176",
                "the authors' PoolFormer-S12, 11.9 M in the paper",
                backbone="poolformer_s12",
                replaces="Pooling",
            ),
        ),
        defaults={"kernel": 3},
    ),
    Claim(
        "layer_scale",
        "arXiv:2103.17239, equation 4",
        (Case(lambda at: oracles.LayerScale(at.channels), "c", {"scale": "diagonal"}),),
        CanonicalPlace(GAP, 12, "blocks.*", "the end of the last residual branch of each block"),
        (Count("86,575,336", "ViT-B/16 without a class token, and c at each of 12 sites"),),
        defaults={"begin": 1e-5},
    ),
    Claim(
        "focal_modulation",
        "arXiv:2203.11926, equations 3 to 6",
        (
            Case(
                lambda at: oracles.FocalModulation(at.channels),
                "(2 * c + 3) * (c + 1) + 2 * (c ** 2 + c) + c * (9 + 25)",
                {**FOCAL, **{k: LEVELS[k] for k in list(LEVELS)[:2]}},
            ),
            Case(
                lambda at: oracles.FocalModulation(at.channels, 3, 5),
                "(2 * c + 4) * (c + 1) + 2 * (c ** 2 + c) + c * (25 + 49 + 81)",
                {**FOCAL, **LEVELS},
                {"field": "large", "window": 5},
            ),
        ),
        IN_GAP,
        (
            Count("86,907,148", "ViT-B/16 without a class token, and 37c + 3 at each of 12 sites"),
            Count(
                "28.4 M",
                "arXiv:2203.11926, table 1, FocalNet-T (SRF)",
                0.002,
                backbone="focalnet_tiny_srf",
                replaces="FocalModulation",
            ),
            Count(
                "28.6 M",
                "arXiv:2203.11926, table 1, FocalNet-T (LRF)",
                0.002,
                params={"field": "large"},
                backbone="focalnet_tiny_lrf",
                replaces="FocalModulation",
            ),
        ),
        defaults={"window": 3},
    ),
    Claim(
        "gmlp",
        "arXiv:2105.08050, equations 1 to 4",
        (
            Case(
                lambda at: oracles.GMLP(at.channels, at.size[0] * at.size[1]),
                "6 * c * (c + 1) + 6 * c + (h * w) ** 2 + h * w + 3 * c ** 2 + c",
                GMLP,
                shapes=TOKENS,
                sized=True,
            ),
            Case(
                lambda at: oracles.GMLP(at.channels, at.size[0] * at.size[1], 2),
                "2 * c * (c + 1) + 2 * c + (h * w) ** 2 + h * w + c ** 2 + c",
                GMLP,
                {"expansion": 2},
                shapes=TOKENS,
                sized=True,
            ),
        ),
        IN_VIT,
        (
            Count("122,508,112", "ViT-B/16 with 9c² + 13c + 197² + 197 for 4c² + 4c at 12 sites"),
            Count(
                "19,422,656",
                "timm's gMLP-S/16, 20 M in the paper",
                backbone="gmlp_s16_224",
                replaces="GatedMlp",
            ),
        ),
        deviations=("norm",),
        defaults={"expansion": 6},
    ),
    Claim(
        "aft",
        "arXiv:2105.14103, equation 2",
        (
            Case(
                lambda at: oracles.AFT(at.channels, at.size[0] * at.size[1]),
                "4 * (c ** 2 + c) + 2 * 128 * h * w",
                AFT,
                shapes=TOKENS,
                sized=True,
            ),
            Case(
                lambda at: oracles.AFT(at.channels, at.size[0] * at.size[1], 3),
                "4 * (c ** 2 + c) + 2 * 3 * h * w",
                AFT,
                {"rank": 3},
                shapes=TOKENS,
                sized=True,
            ),
        ),
        IN_VIT,
        (Count("87,172,840", "ViT-B/16 and 2 · 128 · 197 at each of 12 sites"),),
        defaults={"rank": 128},
    ),
    Claim(
        "global_filter",
        "arXiv:2107.00645, equations 3 to 5",
        (
            Case(
                lambda at: oracles.GlobalFilter(at.channels, at.size),
                "2 * c * h * (w // 2 + 1)",
                {"filter": "filter"},
                shapes=((3, 7, 9), (2, 4, 6), (2, 5, 8)),
                sized=True,
            ),
        ),
        IN_GAP,
        (
            Count(
                "60,282,088", "ViT-B/16 without a class token, 2 · 14 · 8c for 4c² + 4c at 12 sites"
            ),
        ),
    ),
)
