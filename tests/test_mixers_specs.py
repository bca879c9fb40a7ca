"""Token mixers against timm's modules and torch, and where the counts of their claims come from."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from claimed_counts import check_closed, check_timm
from probe import random, randomise
from test_heads_specs import GAP, vit
from timm.layers import GatedMlp, LayerScale
from timm.models.focalnet import FocalModulation
from timm.models.metaformer import Pooling
from timm.models.mlp_mixer import SpatialGatingUnit

import composer
from composer.certificate.claims.keys import BIASED, renamed

C, N = 24, 10
SIZE = (7, 6)
LEVELS = {f"level{n + 1}.conv.weight": f"focal_layers.{n}.0.weight" for n in range(3)}
FOCAL = renamed({"project.linear": "f", "mix.linear": "h", "out.linear": "proj"}, BIASED)

#: spec, params, tokens, timm's module, its key of each of our tensors.
KNOWN = {
    "pool_former": ("pool_former", {}, False, Pooling, {}),
    "pool_former, 5×5": ("pool_former", {"kernel": 5}, False, lambda: Pooling(5), {}),
    "layer_scale": ("layer_scale", {}, True, lambda: LayerScale(C), {"scale": "gamma"}),
    "focal_modulation": (
        "focal_modulation", {}, False, lambda: FocalModulation(C, 3, 2),
        {**FOCAL, **{key: LEVELS[key] for key in list(LEVELS)[:2]}},
    ),
    "focal_modulation, large": (
        "focal_modulation", {"field": "large", "window": 5}, False,
        lambda: FocalModulation(C, 5, 3), {**FOCAL, **LEVELS},
    ),
    "gmlp": (
        "gmlp", {}, True, lambda: GatedMlp(
            C, 6 * C, gate_layer=partial(SpatialGatingUnit, seq_len=N)),
        renamed({"expand.linear": "fc1", "norm.norm": "gate.norm", "spatial.linear": "gate.proj",
                 "out.linear": "fc2"}, BIASED),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_timm_gives_the_same_numbers(name: str) -> None:
    spec, params, tokens, make, keys = KNOWN[name]
    layout = ("b", "n", "c") if tokens else None
    size = (1, N) if tokens else None
    ours = composer.build(spec, C, size=size, params=params, layout=layout).double()
    randomise(ours)
    theirs, state = make().double(), ours.state_dict()
    assert set(state) == set(keys)
    shapes = {k: v.shape for k, v in theirs.state_dict().items()}
    theirs.load_state_dict({there: state[here].reshape(shapes[there]) for here, there in
                            keys.items()})  # fmt: skip
    x = random(3, N, C) if tokens else random(3, C, *SIZE)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)


def test_gmlp_begins_as_the_authors_do() -> None:
    """The spatial layer begins near a gate of ones, so near a plain MLP."""
    layer = composer.build("gmlp", C, size=(4, 4)).spatial.linear
    assert (layer.bias == 1).all() and 0 < layer.weight.abs().max() < 1e-5


def test_layer_scale_begins_small() -> None:
    module = composer.build("layer_scale", C)
    assert torch.equal(module.scale, torch.full((C,), 1e-5))
    x = random(2, C, *SIZE).float()
    torch.testing.assert_close(module(x), x * 1e-5)


@pytest.mark.parametrize("size", [(4, 4), (5, 3), (1, 1), (2, 7)], ids=str)
def test_a_filter_of_ones_changes_nothing(size: tuple[int, int]) -> None:
    module = composer.build("global_filter", 3, size=size).double()
    with torch.no_grad():
        module.filter.copy_(torch.tensor([1.0, 0.0]).expand_as(module.filter))
    x = random(2, 3, *size)
    torch.testing.assert_close(module(x), x, rtol=1e-10, atol=1e-10)


def test_aft_of_large_keys_stays_finite() -> None:
    """exp(K) by itself is beyond float32."""
    module = composer.build("aft", C, size=(1, N))
    assert torch.isfinite(module(1e4 * random(2, N, C).float())).all()


#: Counts of whole networks that are no paper's, worked out again from the plain network.
CLOSED = {
    "pool_former": lambda: vit(lambda c, _: -4 * (c**2 + c), GAP),
    "layer_scale": lambda: vit(lambda c, _: c, GAP),
    "focal_modulation": lambda: vit(lambda c, _: 37 * c + 3, GAP),
    "global_filter": lambda: vit(lambda c, _: 2 * 14 * 8 * c - 4 * (c**2 + c), GAP),
    "gmlp": lambda: vit(lambda c, _: 5 * c**2 + 9 * c + 197**2 + 197),
    "aft": lambda: vit(lambda c, _: 2 * 128 * 197),
}
OWN = {"pool_former": "poolformer_s12", "gmlp": "gmlp_s16_224"}


@pytest.mark.parametrize("name", CLOSED)
def test_counts_of_no_paper_follow_from_the_plain_network(name: str) -> None:
    check_closed(name, CLOSED[name])


@pytest.mark.parametrize("name", OWN)
def test_counts_of_timm_are_timms(name: str) -> None:
    check_timm(name, OWN[name])
