"""Stand-ins for convolutions: SK, split attention, CondConv, dynamic convolution."""

from __future__ import annotations

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Conv, Count
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed


def _sk(branches: int, conv: Conv) -> Case:
    numbers = range(branches)
    return Case(
        lambda at: oracles.SK(at.conv, branches),
        "branches * (kernel ** 2 * c // groups * out + 2 * out) + hidden * out + 2 * hidden "
        "+ branches * out * hidden",
        {
            **renamed({f"split.{k}.conv": f"branches.{k}.0" for k in numbers}, WEIGHTS),
            **renamed({f"split.{k}.norm": f"branches.{k}.1" for k in numbers}, NORM),
            "z.linear.weight": "fc.weight",
            **renamed({"z.norm": "bn"}, NORM),
            "logits.linear.weight": "select",
        },
        {"branches": branches},
        "max(out // 16, 32)",
        conv,
    )


def _split_attention(radix: int, conv: Conv) -> Case:
    return Case(
        lambda at: oracles.SplitAttention(at.conv, radix),
        "kernel ** 2 * c // groups * out + 2 * radix * out + hidden * out // groups + 3 * hidden "
        "+ radix * out * hidden // groups + radix * out",
        {
            "splits.conv.weight": "conv",
            **renamed({"splits.norm": "bn0", "z.norm": "bn1"}, NORM),
            **renamed({"z.linear": "fc1", "logits.linear": "fc2"}, BIASED),
        },
        {"radix": radix},
        "max(c * radix // 4, 32)",
        conv,
    )


def _experts(conv: Conv) -> tuple[str, dict[str, str]]:
    """Return the formula and the keys of kernels, and of biases if the convolution has one."""
    kernels = "experts * kernel ** 2 * c // groups * out"
    if not conv.bias:
        return kernels, {"kernels": "mixed.kernels"}
    return f"{kernels} + experts * out", {"kernels": "mixed.kernels", "biases": "mixed.biases"}


def _cond_conv(experts: int, conv: Conv) -> Case:
    formula, keys = _experts(conv)
    return Case(
        lambda at: oracles.CondConv(at.conv, experts),
        f"{formula} + experts * c + experts",
        {**keys, **renamed({"logits.linear": "router"}, BIASED)},
        {"experts": experts},
        conv=conv,
    )


def _dynamic_conv(experts: int, temperature: float, conv: Conv) -> Case:
    formula, keys = _experts(conv)
    return Case(
        lambda at: oracles.DynamicConv(at.conv, experts, temperature=temperature),
        f"{formula} + c * hidden + hidden + experts * hidden + experts",
        {
            **keys,
            **renamed({"logits.fc1": "w1", "logits.fc2": "w2"}, BIASED),
            "heat.value": "temperature",
            "heat.step": "epoch",
        },
        {"experts": experts, "temperature": temperature},
        "c // 4",
        conv,
    )


NORM_AND_ACTIVATION = ("norm", "act")

CLAIMS = (
    Claim(
        "sk",
        "arXiv:1903.06586, equations 1 to 6",
        (
            _sk(2, Conv(groups=32, widen=2)),
            _sk(2, Conv(stride=2)),
            _sk(3, Conv(groups=8)),
        ),
        CanonicalPlace(
            "resnext50_32x4d",
            16,
            "layer?.?*",
            "the grouped 3×3 of every block, its norm and ReLU",
            "replace",
            NORM_AND_ACTIVATION,
        ),
        (
            Count("27.48 M", "arXiv:1903.06586"),
            Count("27,479,784", "timm's skresnext50_32x4d"),
        ),
        (Count("4.47 G", "arXiv:1903.06586", 0.01),),
        deviations=("5×5",),
        defaults={"branches": 2, "reduction": 16, "min_width": 32},
    ),
    Claim(
        "split_attention",
        "arXiv:2004.08955, equations 1 to 3, and the authors' code",
        (
            _split_attention(2, Conv(widen=2)),
            _split_attention(2, Conv(groups=2)),
            _split_attention(2, Conv(stride=2)),
            _split_attention(4, Conv(groups=2, dilation=2)),
            _split_attention(1, Conv()),
        ),
        CanonicalPlace(
            "resnet50d",
            16,
            "layer?.?*",
            "the 3×3 of every block, its norm and ReLU",
            "replace",
            NORM_AND_ACTIVATION,
        ),
        (Count("27,483,240", "timm's resnest50d, which holds the authors' weights"),),
        (Count("5.40 G", "arXiv:2004.08955", 0.01),),
        deviations=("least width",),
        defaults={"radix": 2, "reduction": 4},
    ),
    Claim(
        "cond_conv",
        "arXiv:1904.04971, equations 1 and 2",
        (
            _cond_conv(8, Conv(widen=2)),
            _cond_conv(4, Conv(stride=2, groups=4)),
            _cond_conv(8, Conv(kernel=1, bias=True, widen=2)),
            _cond_conv(8, Conv(kernel=5, groups=0, dilation=2)),
        ),
        CanonicalPlace(
            "efficientnet_b0",
            24,
            "blocks.[456].*",
            "expand, depthwise and project of the blocks of the last three stages, which share a "
            "router",
            "replace",
            shares=True,
        ),
        (
            Count("24.0 M", "arXiv:1904.04971"),
            Count("24,013,284", "timm's efficientnet_cc_b0_8e"),
            Count("13,314,116", "timm's efficientnet_cc_b0_4e", params={"experts": 4}),
        ),
        (Count("0.41 G", "arXiv:1904.04971", 0.01, norms=False),),
        defaults={"experts": 8},
    ),
    Claim(
        "dynamic_conv",
        "arXiv:1912.03458, equations 2 and 3",
        (
            _dynamic_conv(4, 30, Conv(widen=2)),
            _dynamic_conv(3, 1, Conv(stride=2, groups=4)),
            _dynamic_conv(4, 2, Conv(kernel=1, bias=True)),
        ),
        CanonicalPlace("mobilenetv2_100", 51, "*", "every convolution except the first", "replace"),
        (
            Count(
                "12,404,540",
                "MobileNetV2's 3,504,872; three more kernels and a router at each of 51 sites",
            ),
        ),
        (
            Count(
                "0.313 G",
                "Papers with Code, which lists 626 M, counting each multiply-add as two",
                0.01,
                norms=False,
            ),
        ),
        schedule={0: 30, 1: 27.1, 5: 15.5, 10: 1, 20: 1},
        defaults={"experts": 4, "reduction": 4, "temperature": 30, "epochs": 10},
    ),
)
