"""timm's networks with attention of its own, against its plain ones with our spec inserted.

Every weight of timm's network is copied under our name for it, all norms hold random statistics,
and both must give the same numbers in both modes. timm's code is not ours: it is the oracle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from backbones import enlivened
from timm import create_model
from torch import Tensor, nn

import composer


@dataclass(frozen=True)
class Network:
    """timm's network, the plain one, the spec, and what timm's keys are in ours.

    `names` are patterns over timm's keys, each with what takes its place; `turned` marks keys of
    ours whose first two channels timm stacks the other way round.
    """

    theirs: str
    ours: str
    spec: str
    sites: int
    names: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    theirs_with: Mapping[str, Any] = field(default_factory=dict)
    turned: str = "-"

    def __str__(self) -> str:
        return f"{self.theirs}+{self.spec}" if self.theirs == self.ours else self.theirs


_CONV_NORM = {
    r"(layer\d\.\d+)\.conv([13])\.conv\.": r"\1.conv\2.",
    r"(layer\d\.\d+)\.conv([13])\.bn\.": r"\1.bn\2.",
}
NETWORKS = [
    Network(
        "seresnet50", "resnet50", "se", 16,
        {r"\.se\.fc([12])\.": r".se_2.excite.fc\1."},
    ),
    Network(
        "ecaresnet50d", "resnet50d", "eca", 16,
        {r"\.se\.conv\.": ".eca.interact.conv."},
    ),
    Network(
        "resnet50", "resnet50", "eca", 16,
        {r"\.se\.conv\.": ".eca.interact.conv."},
        theirs_with={"block_args": {"attn_layer": "eca"}},
    ),
    Network(
        "resnet50", "resnet50", "cbam", 16,
        {r"\.se\.channel\.fc([12])\.": r".cbam.channel.excite.fc\1.",
         r"\.se\.spatial\.conv\.conv\.": ".cbam.spatial.locate.conv.",
         r"\.se\.spatial\.conv\.bn\.": ".cbam.spatial.locate.norm."},
        {"bias": False},
        {"block_args": {"attn_layer": "cbam"}},
        turned="spatial.locate.conv.weight",  # mean and max there, max and mean at the authors'
    ),
    Network(
        "skresnext50_32x4d", "resnext50_32x4d", "sk", 16,
        {**_CONV_NORM,
         r"\.conv2\.paths\.(\d)\.conv\.": r".conv2.split.\1.conv.",
         r"\.conv2\.paths\.(\d)\.bn\.": r".conv2.split.\1.norm.",
         r"\.conv2\.attn\.fc_reduce\.": ".conv2.z.linear.",
         r"\.conv2\.attn\.bn\.": ".conv2.z.norm.",
         r"\.conv2\.attn\.fc_select\.": ".conv2.logits.linear."},
    ),
    Network(
        "resnest50d", "resnet50d", "split_attention", 16,
        {r"\.conv2\.conv\.": ".conv2.splits.conv.",
         r"\.conv2\.bn0\.": ".conv2.splits.norm.",
         r"\.conv2\.fc1\.": ".conv2.z.linear.",
         r"\.conv2\.bn1\.": ".conv2.z.norm.",
         r"\.conv2\.fc2\.": ".conv2.logits.linear."},
    ),
    Network(
        "efficientnet_cc_b0_4e", "efficientnet_b0", "cond_conv", 24,
        {r"(blocks\.[456]\.\d+\.conv_\w+)\.weight": r"\1.kernels",
         r"\.routing_fn\.": ".cond_conv.logits.linear."},
        {"experts": 4},
    ),
]  # fmt: skip


def run(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = model(x)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_same_numbers(network: Network) -> None:
    reference = enlivened(create_model(network.theirs, **network.theirs_with)).double()
    composed = composer.insert(
        create_model(network.ours), network.spec, params=network.params, expect=network.sites
    ).double()
    assert sum(p.numel() for p in composed.parameters()) == sum(
        p.numel() for p in reference.parameters()
    )
    shapes = {key: tensor.shape for key, tensor in composed.state_dict().items()}
    state = {}
    for key, tensor in reference.state_dict().items():
        for pattern, name in network.names.items():
            key = re.sub(pattern, name, key)
        turned = tensor.flip(1) if key.endswith(network.turned) else tensor
        state[key] = turned.reshape(shapes[key])
    assert state.keys() == shapes.keys()
    composed.load_state_dict(state)
    x = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    for mode in (False, True):
        ours, theirs = run(composed.train(mode), x), run(reference.train(mode), x)
        assert theirs.std() > 1e-3  # else anything would agree
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)
