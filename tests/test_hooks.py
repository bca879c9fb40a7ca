"""Hooks on an inserted module keep what it gave, though its block adds to that in place."""

from __future__ import annotations

import copy
import pickle

import pytest
import timm
import torch
from torch import nn

import composer

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["resnet18", "resnet50"])
def model(request) -> nn.Module:
    torch.manual_seed(0)
    made = composer.insert(timm.create_model(request.param, num_classes=4), "cbam")
    for norm in (m for m in made.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)  # timm's fresh branches are silent
    return made.eval()


def inserted(model: nn.Module) -> list[nn.Module]:
    return [m for path, m in model.named_modules() if path.endswith(".cbam")]


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("how", ["eager", "compiled", "copied", "pickled", "everywhere"])
def test_a_forward_hook_keeps_what_the_module_gave(model, how):
    with torch.no_grad():
        wanted = model(IMAGES)
    model = copy.deepcopy(model)
    kept: list[tuple[nn.Module, torch.Tensor, torch.Tensor]] = []

    def keep(module, args, given):
        kept.append((module, args[0], given))

    modules = inserted(model)
    if how == "everywhere":
        handles = [nn.modules.module.register_module_forward_hook(keep)]
    else:
        handles = [module.register_forward_hook(keep) for module in modules]
    if how == "copied":
        model = copy.deepcopy(model)
    elif how == "pickled":
        for handle in handles:
            handle.remove()
        model = pickle.loads(pickle.dumps(model))
        handles = [module.register_forward_hook(keep) for module in inserted(model)]
    runs = torch.compile(model, fullgraph=True, backend="aot_eager") if how == "compiled" else model
    with torch.no_grad():
        given = runs(IMAGES)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(given, wanted)
    kept = [one for one in kept if type(one[0]).__name__ == "Cbam"]
    assert len(kept) == len(modules)
    for module, x, held in kept:
        with torch.no_grad():
            torch.testing.assert_close(held, module.forward(x))


@pytest.mark.long
def test_a_full_backward_hook_runs_where_the_block_adds_in_place(model):
    model = copy.deepcopy(model)
    gradients: list[torch.Tensor] = []
    for module in inserted(model):
        module.register_full_backward_hook(lambda _, __, given: gradients.append(given[0]))
    model(IMAGES).sum().backward()
    assert len(gradients) == len(inserted(model))
    assert all(bool(one.abs().sum() > 0) for one in gradients)


@pytest.mark.long
def test_without_a_hook_nothing_is_copied(model):
    module = inserted(model)[0]
    kept: list[torch.Tensor] = []
    forward = type(module).forward
    module.forward = lambda x: kept.append(forward(module, x)) or kept[-1]
    try:
        with torch.no_grad():
            given = module(torch.randn(1, module.channel.excite.fc1.in_features, 4, 4))
        assert given is kept[0]
    finally:
        del module.forward
