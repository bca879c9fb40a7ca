"""Every shipped spec in the network of its paper, forward and backward, at two sizes."""

from __future__ import annotations

import pytest
import torch

import composer
from composer.analysis.edited import is_inserted, is_stand_in
from composer.certificate.claims import CLAIMS
from composer.models.model_string import ModelString
from composer.models.open import open_backbone

SIDES = (128, 192)
#: What takes images of one size alone, unless it is made for another.
FIXED = ("vit_", "deit_", "swin_", "cait_", "xcit_", "gmlp_", "mixer_")


def backbone_for(model: str, side: int) -> str:
    """Return the MODEL string for images of a size."""
    name = ModelString.parse(model).name
    key = "img_size" if name.startswith(FIXED) else "input_size"
    value = side if key == "img_size" else f"3,{side},{side}"
    return f"{model}{'&' if '?' in model else '?'}{key}={value}"


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "name", [name for name, claim in CLAIMS.items() if not claim.place.instead]
)
def test_forward_and_backward(name: str, side: int) -> None:
    torch.manual_seed(0)
    claim = CLAIMS[name]
    size = 224 if "swin" in claim.place.backbone and side == 192 else side
    model = open_backbone(ModelString.parse(backbone_for(claim.place.backbone, size)))
    model = composer.insert(model, name, expect=claim.place.sites)
    x = torch.randn(2, 3, size, size, requires_grad=True)
    out = model.train()(x)
    (out if isinstance(out, torch.Tensor) else out[0]).square().sum().backward()
    assert out.shape[0] == 2 and out.isfinite().all()
    made = [m for m in model.modules() if is_inserted(m) or is_stand_in(m)]
    assert len(made) >= claim.place.sites
    for module in made:
        for key, weight in module.named_parameters():
            assert weight.grad is not None and weight.grad.isfinite().all(), key
