"""Blocks of equal structure compile once, and no structure uses up the cache of another."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from timm.models.resnet import BasicBlock, ResNet
from torch import fx
from torch._dynamo.utils import counters

import composer

X = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _empty_caches() -> Iterator[None]:
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the graphs that dynamo captures uncompiled, which is what takes the time."""
    compile_ = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda call, **told: compile_(call, **told, backend="eager")
    )


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def network(attention: str | None = None) -> ResNet:
    torch.manual_seed(0)
    told = {"attn_layer": attention} if attention else {}
    return ResNet(BasicBlock, (3, 3, 1, 1), block_args=told).eval()


@pytest.mark.quick(1, then="long")
@pytest.mark.parametrize("spec", ["se", "eca", "cbam", {"dynamic_conv": 2}], ids=str)
def test_blocks_of_one_stage_compile_as_often_as_those_of_the_plain_network(spec: object) -> None:
    def captured(model: ResNet) -> int:
        counters.clear()
        for block in (*model.layer1, *model.layer2):
            block.compile(fullgraph=True, backend="eager")
        with torch.no_grad():
            model(torch.zeros(2, 3, 32, 32))
        return graphs()

    if isinstance(spec, dict):
        ((name, count),) = spec.items()
        composed = composer.insert(network(), name, params={"experts": count})
    else:
        composed = composer.insert(network(), spec)
    assert captured(network()) == 3  # of 64 channels, between the stages, of 128
    assert captured(composed) == 3


@pytest.mark.usefixtures("counted")
def test_modules_of_equal_code_share_what_was_compiled() -> None:
    modules = [composer.build("se", channels=16, compile=True).eval() for _ in range(3)]
    with torch.no_grad():
        outs = [module(X) for module in modules]
        assert graphs() == 1
        for module, out in zip(modules, outs, strict=True):  # each with its own weights
            torch.testing.assert_close(out, copy.deepcopy(module)(X))
    assert not torch.equal(outs[0], outs[1])


@pytest.mark.usefixtures("counted")
def test_more_structures_compile_than_dynamo_keeps_of_one_code() -> None:
    for reduction in range(1, 12):
        params = {"reduction": reduction}
        module = composer.build("se", channels=64, params=params, compile=True).eval()
        with torch.no_grad():
            module(torch.zeros(1, 64, 4, 4))
    assert graphs() == 11


@pytest.mark.usefixtures("counted")
def test_a_ninth_kind_of_input_is_compiled_too() -> None:
    module = composer.build("se", channels=16, compile=True)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        module.to(dtype)
        for x in (X, X.to(memory_format=torch.channels_last)):
            for gradients in (True, False):
                with torch.set_grad_enabled(gradients):
                    assert module(x.to(dtype)).dtype == dtype
    assert graphs() > 8


def test_an_edited_module_leaves_those_of_equal_code_alone() -> None:
    module, other = (composer.build("se", channels=16) for _ in range(2))
    other.load_state_dict(module.state_dict())
    assert type(module) is type(other)
    before = other(X)
    graph = module.graph
    with graph.inserting_before(graph.output_node()):
        graph.output_node().args = (graph.call_function(torch.neg, graph.output_node().args),)
    module.recompile()
    assert type(module) is not type(other)
    assert torch.equal(other(X), before)
    assert torch.equal(module(X), -before)


def _pickled(module: fx.GraphModule) -> fx.GraphModule:
    twin: fx.GraphModule = pickle.loads(pickle.dumps(module))
    return twin


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, _pickled])
def test_a_copy_has_the_class_of_its_original(again: Callable[[Any], Any]) -> None:
    module = composer.build("cbam", channels=32)
    assert type(again(module)) is type(module)
    assert isinstance(module, fx.GraphModule)


def test_modules_of_other_code_have_other_classes() -> None:
    kinds = {
        type(composer.build(spec, channels=channels))
        for spec in ("se", "eca")
        for channels in (32, 512)
    }
    assert len(kinds) == 2  # sizes are those of weights, not of the code
