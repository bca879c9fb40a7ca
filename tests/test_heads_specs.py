"""Attention with heads against timm's modules, and where the counts of its claims come from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import timm
import torch
from claimed_counts import check_closed, check_timm
from probe import random, randomise
from timm.layers import RelPosBiasTf
from timm.models.cait import TalkingHeadAttn
from timm.models.maxxvit import Attention2d
from timm.models.mobilevit import LinearSelfAttention
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.xcit import XCA
from torch import Tensor, nn

import composer
from composer.certificate.claims.keys import BIASED, renamed

C, HEADS = 64, 4


class Swin(nn.Module):
    """timm's window attention with what its block does around it: windows, shift and mask."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.block = SwinTransformerBlock(C, (8, 12), num_heads=2, window_size=4, shift_size=shift)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block._attn(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


SWIN = {
    **renamed({"qkv.linear": "block.attn.qkv", "out.linear": "block.attn.proj"}, BIASED),
    "table": "block.attn.relative_position_bias_table",
}
PROJECTED = renamed({"qkv.linear": "qkv", "out.linear": "proj"}, BIASED)

#: spec, params, size, timm's module, its key of each of our tensors.
KNOWN = {
    "xca": (
        "xca", {"heads": HEADS}, None, lambda: XCA(C, HEADS, qkv_bias=True),
        {**PROJECTED, "temperature": "temperature"},
    ),
    "talking_heads": (
        "talking_heads", {"heads": HEADS}, None, lambda: TalkingHeadAttn(C, HEADS, qkv_bias=True),
        {**PROJECTED, **renamed({"talk1.linear": "proj_l", "talk2.linear": "proj_w"}, BIASED)},
    ),
    "swin_window": ("swin_window", {"window": 4}, (8, 12), lambda: Swin(0), SWIN),
    "swin_window, shifted": (
        "swin_window", {"window": 4, "shift": 2}, (8, 12), lambda: Swin(2), SWIN,
    ),
    "coatnet_attention": (
        "coatnet_attention", {}, (5, 6),
        lambda: Attention2d(C, head_first=False, rel_pos_cls=partial(RelPosBiasTf, (5, 6))),
        {**PROJECTED, "table": "rel_pos.relative_position_bias_table"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_timm_gives_the_same_numbers(name: str) -> None:
    spec, params, size, make, keys = KNOWN[name]
    ours = randomise(composer.build(spec, C, size=size, params=params).double())
    theirs = make().double().eval()
    state, shapes = ours.state_dict(), {k: v.shape for k, v in theirs.state_dict().items()}
    assert set(state) == set(keys) and set(keys.values()) <= set(shapes)
    theirs.load_state_dict(
        {there: state[here].reshape(shapes[there]) for here, there in keys.items()}, strict=False
    )
    x = random(3, C, *size) if size else random(3, 10, C)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)


def test_separable_attention_is_that_of_timm() -> None:
    """timm has one layer for the score, the key and the value, and patches: here of one pixel."""
    ours = randomise(composer.build("separable_attention", C).double())
    theirs, state = LinearSelfAttention(C).double(), ours.state_dict()
    rows = {"score": 1, "key": C, "value": C}
    weight, bias = (
        torch.cat([state[f"{name}.linear.{kind}"].reshape(n, -1) for name, n in rows.items()])
        for kind in ("weight", "bias")
    )
    theirs.load_state_dict({
        "qkv_proj.weight": weight[:, :, None, None],
        "qkv_proj.bias": bias.flatten(),
        "out_proj.weight": state["out.linear.weight"][:, :, None, None],
        "out_proj.bias": state["out.linear.bias"],
    })  # fmt: skip
    x = random(3, 10, C)
    given = theirs(x.mT[:, :, None])[:, :, 0].mT
    torch.testing.assert_close(ours(x), given, rtol=1e-10, atol=1e-10)


def test_a_shifted_window_sees_no_other_end() -> None:
    """What is far on the map and near in a moved window has no gradient there."""
    module = randomise(composer.build("swin_window", C, params={"window": 4, "shift": 2}).double())
    x = random(1, C, 8, 8).requires_grad_()
    (seen,) = torch.autograd.grad(module(x)[0, :, 0, 0].sum(), x)
    places = seen[0].abs().sum(0).nonzero().tolist()
    assert places == [[y, z] for y in range(2) for z in range(2)]


def test_positions_begin_as_the_authors_have_them() -> None:
    torch.manual_seed(0)
    table = composer.build("axial_height", 256, size=(32, 4)).table
    assert abs(table.std().item() * (256 / 8) ** 0.5 - 1) < 0.05


def vit(more: Callable[[int, int], int], name: str = "vit_base_patch16_224") -> int:
    """ViT-B/16 with what each of its 12 blocks gains, by width and heads."""
    model = timm.create_model(name)
    width, heads = model.num_features, model.blocks[0].attn.num_heads
    return sum(p.numel() for p in model.parameters()) + 12 * more(width, heads)


def axial_resnet() -> int:
    """Two layers of attention in place of each 3×3 of ResNet-50 and its norm."""
    model = timm.create_model("resnet50")
    gained = 0
    for stage, size in zip((1, 2, 3, 4), (56, 28, 14, 7), strict=True):
        for number, block in enumerate(model.get_submodule(f"layer{stage}")):
            width = block.conv2.out_channels
            side = size * 2 if number == 0 and stage > 1 else size  # before its stride
            each = 2 * width**2 + 8 * width + 48 + 2 * width // 8 * (2 * side - 1)
            gained += 2 * each - 9 * width**2 - 2 * width
    return sum(p.numel() for p in model.parameters()) + gained


def axial_height() -> int:
    """ResNet-50 and attention along the height at the end of each block."""
    model = timm.create_model("resnet50")
    gained = 0
    for stage, size in zip((1, 2, 3, 4), (56, 28, 14, 7), strict=True):
        blocks = model.get_submodule(f"layer{stage}")
        width = blocks[0].conv3.out_channels
        gained += len(blocks) * (2 * width**2 + 8 * width + 48 + width // 4 * (2 * size - 1))
    return sum(p.numel() for p in model.parameters()) + gained


GAP = "vit_base_patch16_gap_224"

#: Counts of whole networks that are no paper's, worked out again from the plain network.
CLOSED = {
    "axial": axial_resnet,
    "axial_height": axial_height,
    "swin_window": lambda: vit(lambda _, heads: 13**2 * heads, GAP),
    "coatnet_attention": lambda: vit(lambda _, heads: 27**2 * heads, GAP),
    "xca": lambda: vit(lambda _, heads: heads),
    "linear_attention": lambda: vit(lambda c, heads: 0),
    "talking_heads": lambda: vit(lambda _, heads: 2 * (heads**2 + heads)),
    "separable_attention": lambda: vit(lambda c, _: 3 * c**2 + 4 * c + 1 - 4 * c**2 - 4 * c),
}
#: Networks of timm that have the mechanism themselves.
OWN = {
    "xca": "xcit_small_12_p16_224", "talking_heads": "cait_xxs24_224",
    "coatnet_attention": "coatnet_0_224",
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_counts_of_no_paper_follow_from_the_plain_network(name: str) -> None:
    check_closed(name, CLOSED[name])


@pytest.mark.parametrize("name", OWN)
def test_counts_of_timm_are_timms(name: str) -> None:
    check_timm(name, OWN[name])
