"""Kernels: LKA, LSK, MixConv, EPSA, ODConv; and global response normalization."""

from __future__ import annotations

from dataclasses import replace

from composer.certificate import oracles
from composer.certificate.claim import CanonicalPlace, Case, Claim, Conv, Count
from composer.certificate.claims.channel import RESNET50
from composer.certificate.claims.keys import BIASED, NORM, WEIGHTS, renamed

OWN = replace(RESNET50, source="the spec's own choice, because its paper has no ResNet")
LKA = renamed({"local.conv": "dw", "long_range.conv": "dwd", "attention.linear": "pw"}, BIASED)


def _mix_conv(conv: Conv, width: int = 32) -> Case:
    sizes = (3, 5, 7, 9)
    return Case(
        lambda at: oracles.MixConv(at.conv),
        "9 * (out - 3 * (out // 4)) + 155 * (out // 4)" + (" + out" if conv.bias else ""),
        renamed(
            {f"conv{size}.conv": f"convs.{k}" for k, size in enumerate(sizes)},
            BIASED if conv.bias else WEIGHTS,
        ),
        conv=conv,
        width=width,
    )


def _epsa(branches: int, conv: Conv, width: int = 64, reduction: int = 16) -> Case:
    numbers = range(branches)
    groups = [1 if k == 0 else 2 ** (k + 1) for k in numbers]
    kernels = " + ".join(
        f"{(2 * k + 3) ** 2} * c // {groups[k]} * (out // branches)" for k in numbers
    )
    return Case(
        lambda at: oracles.EPSA(at.conv, branches, reduction),
        f"{kernels} + 2 * hidden * (out // branches) + hidden + out // branches",
        {
            **renamed({f"pyramid.{k}.conv": f"pyramid.{k}" for k in numbers}, WEIGHTS),
            **renamed({"excite.fc1": "w0", "excite.fc2": "w1"}, BIASED),
        },
        {"branches": branches, "reduction": reduction},
        "out // branches // reduction",
        conv,
        width,
        (64, 256, 512),
    )


def _od_conv(experts: int, conv: Conv, temperature: float = 30) -> Case:
    gates = {"logits_c.linear": "channel"}
    sizes = ["c"]
    if conv.groups:
        gates["logits_f.linear"] = "filter"
        sizes.append("out")
    if conv.kernel > 1:
        gates["logits_s.linear"] = "place"
        sizes.append("kernel ** 2")
    if experts > 1:
        gates["logits_w.linear"] = "expert"
        sizes.append("experts")
    return Case(
        lambda at: oracles.ODConv(at.conv, experts, temperature=temperature),
        "experts * kernel ** 2 * c // groups * out "
        f"+ c * hidden + 2 * hidden + (hidden + 1) * ({' + '.join(sizes)})",
        {
            "kernels": "kernels",
            "z.linear.weight": "fc.weight",
            **renamed({"z.norm": "bn"}, NORM),
            **renamed(gates, BIASED),
            "heat.value": "temperature",
            "heat.step": "epoch",
        },
        {"experts": experts, "temperature": temperature},
        "max(c // 16, 16)",
        conv,
    )


CLAIMS = (
    Claim(
        "lka",
        "arXiv:2202.09741, equations 1 and 2",
        (
            Case(lambda at: oracles.LKA(at.channels), "c ** 2 + 77 * c", LKA),
            Case(
                lambda at: oracles.LKA(at.channels, 35, 5),
                "c ** 2 + (81 + 49 + 3) * c",
                LKA,
                {"kernel": 35, "dilation": 5},
            ),
        ),
        OWN,
        (Count("46,839,592", "the plain ResNet-50 and c² + 77c at each of 16 sites"),),
        defaults={"kernel": 21, "dilation": 3},
    ),
    Claim(
        "lsk",
        "arXiv:2303.09030, and the authors' code",
        (
            Case(
                lambda at: oracles.LSK(at.channels),
                "76 * c + 3 * c * (c // 2) + 2 * (c // 2) + c + 198",
                renamed(
                    {
                        "near.conv": "dw5",
                        "far.conv": "dw7",
                        "near_u.linear": "f1",
                        "far_u.linear": "f2",
                        "logits.conv": "masks",
                        "mix.linear": "f",
                    },
                    BIASED,
                ),
            ),
        ),
        OWN,
        (Count("56,917,640", "the plain ResNet-50 and 3c² / 2 + 78c + 198 at each of 16 sites"),),
        deviations=("halves",),
    ),
    Claim(
        "grn",
        "arXiv:2301.00808, algorithm 1",
        (
            Case(
                lambda at: oracles.GRN(at.channels),
                "2 * c",
                {"gamma": "gamma", "beta": "beta"},
            ),
        ),
        CanonicalPlace(
            "convnext_tiny",
            18,
            "stages.?.blocks.?.mlp",
            "after the GELU of every MLP",
            "after:act",
        ),
        (
            Count(
                "28,642,120",
                "timm's convnextv2_tiny, and the 6,624 layer scales that it no longer has",
            ),
        ),
        deviations=("mean",),
    ),
    Claim(
        "mix_conv",
        "arXiv:1907.09595, equation 2",
        (
            _mix_conv(Conv(groups=0)),
            _mix_conv(Conv(groups=0, stride=2, bias=True)),
            _mix_conv(Conv(groups=0, dilation=2, widen=2)),
            _mix_conv(Conv(groups=0), 30),
        ),
        CanonicalPlace("mobilenetv2_100", 17, "blocks.*.conv_dw", "every depthwise 3×3", "replace"),
        (Count("3,733,224", "MobileNetV2's 3,504,872; 32c more at each of 17 sites, c / 4 each"),),
    ),
    Claim(
        "epsa",
        "arXiv:2105.14447, and the authors' code",
        (
            _epsa(4, Conv()),
            _epsa(4, Conv(stride=2, widen=2)),
            _epsa(2, Conv(dilation=2), 32, 4),
        ),
        CanonicalPlace("resnet50", 16, "layer?.?*", "the 3×3 of every block", "replace"),
        (
            Count("22.56 M", "the authors' EPSANet-50 (Small)"),
            Count("22,561,715", "the plain ResNet-50 and a pyramid for each 3×3"),
        ),
        (Count("3.62 G", "the authors' EPSANet-50 (Small)", 0.01),),
        deviations=("last to the first",),
        defaults={"branches": 4, "reduction": 16},
    ),
    Claim(
        "od_conv",
        "arXiv:2209.07947, equation 2, and the authors' code",
        (
            _od_conv(4, Conv(widen=2)),
            _od_conv(3, Conv(stride=2, groups=4), 1),
            _od_conv(4, Conv(kernel=1, widen=2), 2),
            _od_conv(2, Conv(kernel=5, groups=0, dilation=2)),
            _od_conv(1, Conv()),
            _od_conv(1, Conv(kernel=1)),
        ),
        CanonicalPlace(
            "resnet50", 48, "layer?.?*", "the two 1×1 and the 3×3 of every block", "replace"
        ),
        (
            Count("90.67 M", "the authors' ResNet50 + ODConv (4×)"),
            Count("28.64 M", "the authors' ResNet50 + ODConv (1×)", params={"experts": 1}),
        ),
        deviations=("share", "1×1"),
        schedule={0: 30, 1: 27.1, 5: 15.5, 10: 1, 20: 1},
        defaults={"experts": 4, "reduction": 16, "temperature": 30, "epochs": 10},
    ),
)
