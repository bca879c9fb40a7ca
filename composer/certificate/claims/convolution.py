"""In place of a convolution: SK, split attention, CondConv, dynamic convolution."""

from __future__ import annotations

from composer.certificate import oracles
from composer.certificate.claim import Case, Claim, Conv, Count, Place
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed


def _sk(branches: int) -> dict[str, str]:
    """Return the keys of SK with so many branches."""
    numbers = range(branches)
    return {
        **renamed({f"split.{k}.conv": f"branches.{k}.0" for k in numbers}, WEIGHTS),
        **renamed({f"split.{k}.norm": f"branches.{k}.1" for k in numbers}, NORM),
        "z.linear.weight": "fc.weight",
        **renamed({"z.norm": "bn"}, NORM),
        "logits.linear.weight": "select",
    }


SK = (
    "branches * (kernel ** 2 * c // groups * out + 2 * out) + max(out // 16, 32) * out "
    "+ 2 * max(out // 16, 32) + branches * out * max(out // 16, 32)"
)
SPLIT = (
    "kernel ** 2 * c // groups * out + 2 * radix * out + max(c * radix // 4, 32) * out // groups "
    "+ 3 * max(c * radix // 4, 32) + radix * out * max(c * radix // 4, 32) // groups + radix * out"
)
SPLIT_KEYS = {
    "splits.conv.weight": "conv",
    **renamed({"splits.norm": "bn0", "z.norm": "bn1"}, NORM),
    **renamed({"z.linear": "fc1", "logits.linear": "fc2"}, BIASED),
}
EXPERTS = "experts * kernel ** 2 * c // groups * out"
COND = f"{EXPERTS} + experts * c + experts"
DYNAMIC = f"{EXPERTS} + c * (c // 4) + c // 4 + experts * (c // 4) + experts"
KERNELS = {"kernels": "mixed.kernels"}
BIASES = {"biases": "mixed.biases"}
COND_KEYS = {**KERNELS, **renamed({"logits.linear": "router"}, BIASED)}
DYNAMIC_KEYS = {
    **KERNELS,
    **renamed({"logits.fc1": "w1", "logits.fc2": "w2"}, BIASED),
    "heat.value": "temperature",
    "heat.step": "epoch",
}

CLAIMS = (
    Claim(
        "sk",
        "arXiv:1903.06586, equations 1 to 6",
        (
            Case(
                lambda at: oracles.SK(at.conv),
                SK,
                _sk(2),
                {"branches": 2},
                Conv(groups=32, widen=2),
            ),
            Case(lambda at: oracles.SK(at.conv, 3), SK, _sk(3), {"branches": 3}, Conv(groups=8)),
            Case(lambda at: oracles.SK(at.conv), SK, _sk(2), {"branches": 2}, Conv(stride=2)),
        ),
        Place(
            "resnext50_32x4d", 16, "layer?.?*", "the grouped 3×3 of every block, its norm and ReLU"
        ),
        (
            Count("27.48 M", "arXiv:1903.06586, table 2"),
            Count("27,479,784", "timm's skresnext50_32x4d"),
        ),
        (Count("4.47 G", "arXiv:1903.06586, table 2", 0.01),),
    ),
    Claim(
        "split_attention",
        "arXiv:2004.08955, equations 1 to 3, and the authors' code",
        (
            Case(
                lambda at: oracles.SplitAttention(at.conv),
                SPLIT,
                SPLIT_KEYS,
                {"radix": 2},
                Conv(widen=2),
            ),
            Case(
                lambda at: oracles.SplitAttention(at.conv),
                SPLIT,
                SPLIT_KEYS,
                {"radix": 2},
                Conv(groups=2),
            ),
            Case(
                lambda at: oracles.SplitAttention(at.conv, 4),
                SPLIT,
                SPLIT_KEYS,
                {"radix": 4},
                Conv(groups=2, dilation=2),
            ),
            Case(
                lambda at: oracles.SplitAttention(at.conv, 1),
                SPLIT,
                SPLIT_KEYS,
                {"radix": 1},
                Conv(),
            ),
            Case(
                lambda at: oracles.SplitAttention(at.conv),
                SPLIT,
                SPLIT_KEYS,
                {"radix": 2},
                Conv(stride=2),
            ),
        ),
        Place("resnet50d", 16, "layer?.?*", "the 3×3 of every block, its norm and ReLU"),
        (Count("27,483,240", "timm's resnest50d, which holds the authors' weights"),),
        (Count("5.40 G", "arXiv:2004.08955, table 1", 0.01),),
    ),
    Claim(
        "cond_conv",
        "arXiv:1904.04971, equations 1 and 2",
        (
            Case(
                lambda at: oracles.CondConv(at.conv),
                COND,
                COND_KEYS,
                {"experts": 8},
                Conv(widen=2),
            ),
            Case(
                lambda at: oracles.CondConv(at.conv, 4),
                COND,
                COND_KEYS,
                {"experts": 4},
                Conv(stride=2, groups=4),
            ),
            Case(
                lambda at: oracles.CondConv(at.conv),
                f"{COND} + experts * out",
                {**COND_KEYS, **BIASES},
                {"experts": 8},
                Conv(kernel=1, bias=True, widen=2),
            ),
            Case(
                lambda at: oracles.CondConv(at.conv),
                COND,
                COND_KEYS,
                {"experts": 8},
                Conv(kernel=5, groups=0, dilation=2),
            ),
        ),
        Place(
            "efficientnet_b0",
            24,
            "blocks.[456].*",
            "expand, depthwise and project of the blocks of the last three stages",
        ),
        (
            Count("24.0 M", "arXiv:1904.04971, table 3"),
            Count("24,013,284", "timm's efficientnet_cc_b0_8e"),
            Count("13,314,116", "timm's efficientnet_cc_b0_4e", params={"experts": 4}),
        ),
        (Count("0.413 G", "arXiv:1904.04971, abstract", 0.01),),
    ),
    Claim(
        "dynamic_conv",
        "arXiv:1912.03458, equations 2 and 3",
        (
            Case(
                lambda at: oracles.DynamicConv(at.conv),
                DYNAMIC,
                DYNAMIC_KEYS,
                {"experts": 4},
                Conv(widen=2),
            ),
            Case(
                lambda at: oracles.DynamicConv(at.conv, 3, temperature=1),
                DYNAMIC,
                DYNAMIC_KEYS,
                {"experts": 3, "temperature": 1},
                Conv(stride=2, groups=4),
            ),
            Case(
                lambda at: oracles.DynamicConv(at.conv),
                f"{DYNAMIC} + experts * out",
                {**DYNAMIC_KEYS, **BIASES},
                {"experts": 4},
                Conv(kernel=1, bias=True),
            ),
        ),
        Place("mobilenetv2_100", 51, "*", "every convolution but the first"),
        (
            Count(
                "12,404,540",
                "MobileNetV2's 3,504,872; three more kernels and a router at each of 51 sites",
            ),
        ),
        (Count("0.313 G", "Papers with Code: 0.626 GFLOPs, two for a multiply-add", 0.01),),
        schedule={0: 30, 1: 27.1, 5: 15.5, 10: 1, 20: 1},
    ),
)
