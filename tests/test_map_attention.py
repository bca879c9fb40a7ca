"""What is written for a map, in the place of an attention module: on the map its tokens hold."""

from __future__ import annotations

import pytest
import torch
from timm import create_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import composer
from composer.errors import ComposerError

MEAN = """name: mean
stands_for: attention
input: [b, c, h, w]
nodes:
  out: {op: pool, over: [h, w], kernel: 3}
insert: {at: attention}
"""
HEADS = MEAN.replace("stands_for", "params: {heads: 1}\nstands_for").replace(
    "out: {op: pool", "by_head: {op: linear, over: c, out: heads * c // heads}\n  out: {op: pool"
)


def vit(**more: object) -> nn.Module:
    torch.manual_seed(0)
    return VisionTransformer(32, 4, num_classes=5, embed_dim=24, depth=2, num_heads=3,
                             **more).eval()  # fmt: skip


def pooled(x: Tensor) -> Tensor:
    """Return the tokens of a map of 8×8, averaged over 3×3."""
    x = x.mT.unflatten(2, (8, 8))
    return nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False).flatten(2).mT


@pytest.mark.quick(2, then="long")
@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_it_works_on_the_map_and_passes_the_other_tokens(prefix: int) -> None:
    """A class token, and registers, take no part."""
    model = vit(class_token=prefix > 0, reg_tokens=max(prefix - 1, 0),
                global_pool="token" if prefix else "avg")  # fmt: skip
    found = composer.plan(model, MEAN)
    assert [site.path for site in found.sites] == ["blocks.0.attn", "blocks.1.attn"]
    notes = {0: None, 1: "its 1 prefix token takes no part", 3: "its 3 prefix tokens take no part"}
    assert {(site.size, site.channels, site.note) for site in found.sites} == {
        ((8, 8), 24, notes[prefix])
    }
    layer = composer.insert(model, MEAN).blocks[0].attn
    x = torch.randn(2, prefix + 64, 24)
    y = layer(x, attn_mask=None)
    torch.testing.assert_close(y[:, prefix:], pooled(x[:, prefix:]))
    assert torch.equal(y[:, :prefix], x[:, :prefix])


def test_it_takes_the_heads_of_what_it_stands_for() -> None:
    found = composer.plan(vit(), HEADS)
    assert {site.graph.settings.params["heads"] for site in found.sites} == {3}
    other = composer.plan(vit(), HEADS, params={"heads": 6})
    assert {site.graph.settings.params["heads"] for site in other.sites} == {6}


def test_it_is_put_back() -> None:
    model = composer.insert(vit(class_token=False, global_pool="avg"), MEAN)
    x = torch.randn(1, 3, 32, 32)
    original = vit(class_token=False, global_pool="avg")
    back = composer.eject(model)
    assert torch.equal(back(x), original(x)) and not torch.equal(model(x), original(x))


@pytest.mark.long
def test_windows_hold_no_map() -> None:
    """Swin's attention takes the tokens of windows, but for the last stage, which is one window."""
    swin = create_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1)).eval()
    found = composer.plan(swin, MEAN)
    assert [site.path for site in found.sites] == ["layers.3.blocks.0.attn"]
    reasons = {miss.reason for miss in found.near_misses if not miss.by_choice}
    assert len(reasons) == 3 and all(why.startswith("its tokens form no map: ") for why in reasons)


def test_neighbours_of_joined_tokens_are_refused() -> None:
    with pytest.raises(ComposerError) as refused:
        composer.plan(vit(), MEAN, prefix_tokens="join")
    assert "'out' uses neighbours in a map, and prefix tokens have none" in str(refused.value)
