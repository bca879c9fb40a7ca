"""What inserted mechanisms attend to, beside the formulas of their papers in plain torch."""

from __future__ import annotations

import linecache
import math
import runpy
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from command import NET
from shipped import SHIPPED, STANDS_FOR, WIDE
from torch import nn

import composer
from composer.errors import ComposerError
from composer.looking.as_written import AsWritten, need_same_state
from composer.lower.build import compiled, lower, settings_for


@cache
def factory() -> Any:
    """Return what makes the tiny network, from a file, so that its forward has a source."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "looked_at_net.py")
        file.write_text(NET)
        linecache.getlines(str(file))
        return runpy.run_path(str(file))["tiny"]


def tiny() -> nn.Module:
    torch.manual_seed(0)
    model = factory()()
    assert isinstance(model, nn.Module)
    return model


def given_to(model: nn.Module, path: str, images: torch.Tensor) -> torch.Tensor:
    """Return what a module takes, in evaluation."""
    kept = []
    hook = model.get_submodule(path).register_forward_pre_hook(lambda _, args: kept.append(args[0]))
    with torch.no_grad():
        model.eval()(images)
    hook.remove()
    return kept[0]


def channel_gate(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """CBAM, equation 2: σ(MLP(mean) + MLP(max))."""
    fc1, fc2 = module.channel.excite.fc1, module.channel.excite.fc2
    mlp = [fc2(torch.relu(fc1(pooled))) for pooled in (x.mean((2, 3)), x.amax((2, 3)))]
    return torch.sigmoid(mlp[0] + mlp[1])


@pytest.mark.long
def test_cbam_is_seen_as_its_paper_has_it():
    images = torch.randn(2, 3, 64, 64)
    model = composer.insert(tiny(), "cbam", params={"min_width": 4}).train()
    path = next(p for p, m in model.named_modules() if p.endswith("cbam"))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    maps = composer.attention_maps(model, images)
    assert all(m.training for m in model.modules())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(m._forward_pre_hooks for m in model.modules())
    channel, spatial = maps[f"{path}.channel.gate"], maps[f"{path}.spatial.gate"]
    assert (channel.path, channel.node, channel.kind) == (path, "channel.gate", "gate")
    assert (channel.axes, spatial.axes) == (("b", "c"), ("b", "h", "w"))
    module, x = model.get_submodule(path), given_to(model, path, images)
    with torch.no_grad():
        wanted = channel_gate(module, x)
        x = x * wanted[..., None, None]
        both = torch.stack([x.mean(1), x.amax(1)], 1)  # equation 3
        conv, norm = (one for one in module.spatial.modules() if not list(one.children()))
        orders = [torch.sigmoid(norm(conv(both))), torch.sigmoid(norm(conv(both.flip(1))))]
    torch.testing.assert_close(channel.values, wanted)
    assert min(float((one[:, 0] - spatial.values).abs().max()) for one in orders) < 1e-5
    assert not channel.values.requires_grad and spatial.size == (56, 56)
    assert str(channel) == f"{path}.channel.gate  [b, c]  2×{channel.values.shape[1]}"


def test_the_weights_of_attention_are_those_that_torch_never_gives():
    model = timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=3)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        model.blocks[0].attn.fused_attn = False
        rows = []
        model.blocks[0].attn.attn_drop.register_forward_hook(lambda *call: rows.append(call[2]))
        model.eval()(images)
    model.blocks[0].attn.attn_drop._forward_hooks.clear()
    weights = model.blocks[0].attn.state_dict()
    model = composer.insert(model, "mhsa", params={"heads": 3})
    own = model.blocks[0].attn
    with torch.no_grad():
        for mine, his in zip(own.parameters(), weights.values(), strict=True):
            assert mine.numel() == his.numel()
            mine.copy_(his.reshape(mine.shape))
    (found,) = composer.attention_maps(model, images).values()
    assert (found.kind, found.axes) == ("attention", ("b", "head", "n", "key_n"))
    torch.testing.assert_close(found.values, rows[0])


def test_a_mask_a_bias_and_a_scale_are_in_the_weights():
    text = """
name: masked
input: [b, n, c]
nodes:
  near: {op: constant, axes: {n: n, m: n}, value: 1 if abs(n - m) <= 1 else 0}
  far:  {op: constant, axes: {n: n, m: n}, value: n - m}
  out:  {op: attention, q: input, k: input, v: input, over: n, keys: m, along: c, bias: far,
         mask: near, scale: 0.5}
"""
    spec = composer.load_spec(text)
    graph = compiled(spec, settings_for(spec, 4, size=(2, 3)))
    x = torch.randn(2, 6, 4)
    (found,) = AsWritten.of(spec, graph.settings).seen(lower(graph), (x,))
    place = torch.arange(6)
    far = (place[:, None] - place).float()
    logits = (0.5 * x @ x.mT + far).masked_fill(far.abs() > 1, -math.inf)
    assert found.axes == ("b", "n", "m")
    torch.testing.assert_close(found.values, logits.softmax(-1))


def test_stand_ins_show_their_branches_and_their_routing():
    images = torch.randn(2, 3, 64, 64)
    model = composer.insert(tiny(), "cond_conv", match={"kernel": 3}, stages="1")
    path, found = next(iter(composer.attention_maps(model, images).items()))
    module, x = model.get_submodule(found.path), given_to(model, found.path, images)
    (linear,) = (m for m in module.modules() if isinstance(m, nn.Linear))
    assert (path, found.axes) == (f"{found.path}.route", ("b", "n"))
    torch.testing.assert_close(found.values, torch.sigmoid(linear(x.mean((2, 3)))).detach())
    model = composer.insert(tiny(), "sk", match={"kernel": 3}, stages="1")
    found = next(iter(composer.attention_maps(model, images).values()))
    assert found.axes == ("b", "k", "c")
    torch.testing.assert_close(found.values.sum(1), torch.ones_like(found.values[:, 0]))


@pytest.mark.parametrize("name", [one for one in SHIPPED if one.values[0] not in WIDE])
def test_a_mechanism_as_it_is_written_computes_what_runs(name):
    spec = composer.load_spec(name)
    like = nn.Conv2d(64, 64, 3, padding=1) if STANDS_FOR[name] == "conv2d" else None
    torch.manual_seed(0)
    graph = compiled(spec, settings_for(spec, None if like else 64, like, (8, 8)))
    module = lower(graph).eval()
    x = torch.randn(2, 64, 8, 8) if "n" not in spec.input else torch.randn(2, 64, 64)
    written = AsWritten.of(spec, graph.settings)
    need_same_state(module, written, name)
    with torch.no_grad():
        torch.testing.assert_close(torch.fx.Interpreter(module, graph=written.graph).run(x),
                                   module(x), atol=1e-4, rtol=1e-4)  # fmt: skip
        for one in written.seen(module, (x,)):
            assert one.values.dim() == len(one.axes)


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("how", ["in place", "around"])
def test_a_compiled_model_is_looked_at_as_well(how):
    images = torch.randn(1, 3, 64, 64)
    model = composer.insert(tiny(), "se", params={"min_width": 4})
    wanted = composer.attention_maps(model, images)
    if how == "in place":
        model.compile(backend="eager")
        model.eval()(images)
    else:
        model = torch.compile(model, backend="eager")
    found = composer.attention_maps(model, images)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name].values, wanted[name].values) for name in wanted)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = tiny()

    def forward(self, x):
        return self.net(x) + self.net(x.flip(-1))


def test_a_second_run_has_a_name_of_its_own():
    model = composer.insert(Twice(), "eca", example_inputs=torch.randn(1, 3, 64, 64))
    names = list(composer.attention_maps(model, torch.randn(1, 3, 64, 64)))
    assert len(names) % 2 == 0
    assert [f"{name}@2" for name in names if "@" not in name] == [n for n in names if "@" in n]


def other_module(model: nn.Module) -> nn.Module:
    path = next(p for p, m in model.named_modules() if p.endswith(".eca"))
    model.get_submodule(path.rpartition(".")[0]).eca = nn.Identity()
    return model


@pytest.mark.parametrize(
    ("make", "images", "wanted"),
    [
        (lambda: tiny(), 3, "error[not-composed]: nothing was inserted into this Net\n"
         "  help: give a model returned by composer.insert or composer.load"),
        (lambda: composer.insert(tiny(), "pool_former", at="block"), 3,
         "error[no-maps]: no gate, attention or reweight in pool_former, so there is nothing to "
         "show\n  help: read other values with forward hooks on the inserted modules"),
        (lambda: composer.insert(tiny(), "eca"), 5,
         "error[forward-failed]: the forward pass of the composed model fails: Given groups=1, "
         "weight of size [16, 3, 4, 4], expected input[1, 5, 64, 64] to have 3 channels, but got 5 "
         "channels instead"),
        (lambda: other_module(composer.insert(tiny(), "eca")), 3,
         "is no longer the module that was inserted there\n  help: use the model as returned by "
         "composer.insert or composer.load"),
    ],
    ids=["plain", "no gates", "other images", "changed"],
)  # fmt: skip
def test_what_cannot_be_looked_at_says_so(make, images, wanted):
    model = make()
    with pytest.raises(ComposerError) as failure:
        composer.attention_maps(model, torch.randn(1, images, 64, 64))
    assert wanted in str(failure.value)
    assert not any(m._forward_pre_hooks for m in model.modules())
