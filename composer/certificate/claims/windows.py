"""Window weights generated at each position: involution, CoT, outlook attention."""

from __future__ import annotations

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Conv, Count
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed


def _involution(conv: Conv, window: int = 7, group_width: int = 16, reduction: int = 4) -> Case:
    wide = {"wide.linear": "initial"} if conv.widen > 1 else {}
    return Case(
        lambda at: oracles.Involution(at.conv, window, group_width, reduction),
        "c * hidden + 2 * hidden + (hidden + 1) * window ** 2 * out // group_width"
        + (" + c * out" if wide else ""),
        {
            **renamed({"reduce.linear": "w0", **wide}, WEIGHTS),
            **renamed({"reduce.norm": "bn"}, NORM),
            **renamed({"kernels.linear": "w1"}, BIASED),
        },
        {"window": window, "group_width": group_width, "reduction": reduction},
        "c // reduction",
        conv,
    )


def _cot(conv: Conv, key_groups: int = 4, share: int = 8) -> Case:
    return Case(
        lambda at: oracles.CoT(at.conv, key_groups, share),
        "kernel ** 2 * c // key_groups * out + (c + out) * (out // 2) + 2 * (out // 2) "
        "+ (out // 2 + 3) * kernel ** 2 * out // share + c * out + 6 * out "
        "+ out * hidden + 3 * hidden + 2 * out * hidden + 2 * out",
        {
            **renamed(
                {
                    "static.conv": "key",
                    "theta.linear": "theta",
                    "values.linear": "value",
                },
                WEIGHTS,
            ),
            **renamed(
                {
                    "delta.linear": "delta",
                    "attend.norm": "delta_gn",
                    "z.linear": "fc1",
                    "logits.linear": "fc2",
                },
                BIASED,
            ),
            **renamed(
                {
                    "static.norm": "key_bn",
                    "theta.norm": "theta_bn",
                    "values.norm": "value_bn",
                    "dynamic.norm": "bn",
                    "z.norm": "fc1_bn",
                },
                NORM,
            ),
        },
        {"key_groups": key_groups, "share": share},
        "max(out // 2, 32)",
        conv,
    )


def _outlook(heads: int, kernel: int = 3, stride: int = 2, bias: bool = False) -> Case:
    return Case(
        lambda at: oracles.Outlook(at.channels, heads, kernel, stride, bias),
        "2 * c ** 2 + c + (c + 1) * heads * kernel ** 4" + (" + c" if bias else ""),
        {
            **renamed({"values.linear": "v"}, BIASED if bias else WEIGHTS),
            **renamed({"logits.linear": "a", "out.linear": "proj"}, BIASED),
        },
        {"heads": heads, "kernel": kernel, "stride": stride, "bias": bias},
        width=48,
        widths=(48, 192),
        shapes=((3, 7, 9), (2, 6, 4)),
    )


CLAIMS = (
    Claim(
        "involution",
        "arXiv:2103.06255, and the authors' code",
        (
            _involution(Conv()),
            _involution(Conv(stride=2, widen=2)),
            _involution(Conv(dilation=2), 3, 8, 2),
        ),
        CanonicalPlace("resnet50", 16, "layer?.?*", "the 3×3 of every block", "replace"),
        (
            Count("15.54 M", "the authors' RedNet-50, which has another stem"),
            Count("15,530,356", "the plain ResNet-50 and an involution for each 3×3"),
        ),
        defaults={"window": 7, "group_width": 16, "reduction": 4},
    ),
    Claim(
        "cot",
        "arXiv:2107.12292, and the authors' code",
        (
            _cot(Conv()),
            _cot(Conv(stride=2, widen=2)),
            _cot(Conv(kernel=5), 2, 16),
        ),
        CanonicalPlace(
            "resnet50",
            16,
            "layer?.?*",
            "the 3×3 of every block, its norm and ReLU",
            "replace",
            ("norm", "act"),
        ),
        (
            Count("22.2 M", "arXiv:2107.12292, rounded (this figure from memory)", 0.0025),
            Count("22,222,416", "the plain ResNet-50 and a CoT block for each 3×3"),
        ),
        (Count("3.3 G", "arXiv:2107.12292, rounded (this figure from memory)", 0.02),),
        deviations=("norm", "stride"),
        defaults={"key_groups": 4, "share": 8},
    ),
    Claim(
        "outlook",
        "arXiv:2106.13112, and the authors' code",
        (
            _outlook(6),
            _outlook(2, 3, 1, bias=True),
            _outlook(3, 5, 2),
        ),
        CanonicalPlace(
            "volo_d1_224",
            4,
            "network.0.?.attn",
            "the attention of every Outlooker, replacing its own",
            instead=True,
            width=192,
        ),
        (Count("26,632,040", "timm's volo_d1_224"),),
        defaults={"kernel": 3, "stride": 2},
    ),
)
