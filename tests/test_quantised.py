"""Quantisation by torchao, pruning by torch and LoRA by PEFT of composed models."""

from __future__ import annotations

import copy
import re
from importlib.util import find_spec

import pytest
import quantised
import torch
from shipped import SHIPPED, STANDS_FOR
from torch import nn
from torch.nn.utils import prune

import composer
from composer.errors import ComposerError
from composer.language.library import shipped_names

needs_torchao = pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not there")
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not there")

FIRST = ["cbam", "sk"]


@pytest.mark.long
@needs_torchao
@pytest.mark.quick(1)
@pytest.mark.parametrize("name", [*FIRST, *(n for n in shipped_names() if n not in FIRST)])
def test_a_mechanism_quantises(name):
    apart, steps = quantised.measured(name)
    assert apart > 15 and steps > 2  # dB; a random int8 network alone has about 37


@pytest.mark.quick(3, then="long")
@pytest.mark.parametrize("name", ["se", "cbam", "eca", "sk", "bam"])
def test_weights_of_what_is_inserted_are_pruned_and_made_plain(name, tmp_path):
    model = quantised.composed(name)
    images = torch.randn(2, 3, quantised.SIDE, quantised.SIDE)
    layers = [
        module for path, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d))
        and _inserted(model, path)
    ]  # fmt: skip
    assert layers
    for layer in layers:
        prune.l1_unstructured(layer, "weight", amount=0.5)
    with torch.no_grad():
        masked = model(images)
    with pytest.raises(ComposerError, match=r"make them plain first.*prune\.remove"):
        composer.recipe(model)
    for layer in layers:
        prune.remove(layer, "weight")
        assert float((layer.weight == 0).float().mean()) >= 0.4
    with torch.no_grad():
        torch.testing.assert_close(model(images), masked)


def _inserted(model: nn.Module, path: str) -> bool:
    from composer.surgery.composition import inserted_prefixes

    return f"{path}.".startswith(inserted_prefixes(model))


def test_channels_are_pruned_out_of_what_is_inserted():
    """Half of the channels go out of SE's layers, as a tool for structured pruning takes them."""
    module = composer.build("se", channels=64).eval()
    kept = torch.arange(0, 64, 2)
    x = torch.randn(2, 64, 5, 5)
    fc1, fc2 = module.excite.fc1, module.excite.fc2
    gate = torch.sigmoid(fc2(torch.relu(fc1(x.mean((2, 3)) * torch.eye(64)[kept].sum(0)))))
    wanted = (x * gate[..., None, None])[:, kept]
    fc1.weight = nn.Parameter(fc1.weight[:, kept])
    fc2.weight, fc2.bias = nn.Parameter(fc2.weight[kept]), nn.Parameter(fc2.bias[kept])
    torch.testing.assert_close(module(x[:, kept]), wanted)


_SHAPED = re.compile(r"\.(?:view|reshape|expand|unflatten)\(([^()]*(?:\([^()]*\))?[^()]*)\)")
#: Where two axes are as large as the channels say, one of them is written: no other is left to
#: infer it from. Axial attention and MLCA take a merged axis apart in another way than it came.
WRITTEN = {"axial", "axial_height", "cond_conv", "dynamic_conv", "mlca", "od_conv"}


@pytest.mark.parametrize("name", SHIPPED)
def test_no_size_of_channels_is_in_a_reshape(name):
    like = nn.Conv2d(192, 192, 3, padding=1) if STANDS_FOR[name] == "conv2d" else None
    with torch.device("meta"):
        module = composer.build(name, None if like else 192, like=like, size=(7, 7))
    sizes = " ".join(_SHAPED.findall(module.code))
    assert bool(re.search(r"\b192\b", sizes)) is (name in WRITTEN), sizes


def test_outputs_are_pruned_out_of_a_kernel_for_each_sample():
    torch.manual_seed(0)
    module = composer.build("cond_conv", like=nn.Conv2d(8, 6, 3, padding=1, bias=False)).eval()
    x = torch.randn(2, 8, 7, 7)
    wanted = module(x)[:, ::2]
    experts = module.kernels.shape[0]
    kept = module.kernels.detach().view(experts, 6, -1)[:, ::2].reshape(experts, -1)
    module.kernels = nn.Parameter(kept)
    torch.testing.assert_close(module(x), wanted)


@needs_peft
def test_lora_learns_in_what_is_inserted_and_is_merged(tmp_path):
    from peft import LoraConfig, get_peft_model

    model = quantised.composed("se")
    plain = copy.deepcopy(model)
    names = r".*\.se\.excite\.fc[12]"
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=names, init_lora_weights=False))
    learned = [name for name, p in tuned.named_parameters() if p.requires_grad]
    assert learned and all(".se.excite.fc" in name for name in learned)
    images = torch.randn(4, 3, quantised.SIDE, quantised.SIDE)
    optimizer = torch.optim.SGD([p for p in tuned.parameters() if p.requires_grad], lr=0.1)
    tuned.eval()
    before = tuned(images).square().mean()
    before.backward()
    optimizer.step()
    after = tuned(images)
    assert float(after.detach().square().mean()) < float(before.detach())
    merged = tuned.merge_and_unload()
    torch.testing.assert_close(merged(images), after)
    assert merged.state_dict().keys() == plain.state_dict().keys()
    assert composer.attention_maps(merged, images)
