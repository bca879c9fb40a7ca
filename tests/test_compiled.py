"""What is compiled: one graph, for every batch size after the first and every schedule step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from shipped import ANYWHERE, SHIPPED, SIZED, STANDS_FOR, TOKENS
from timm import create_model
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

import composer

pytestmark = pytest.mark.slow  # compiling takes most of its time

BATCHES = (2, 3, 7)
MOST_TYPICAL = ("cbam", "cond_conv")


@pytest.fixture(autouse=True)
def nothing_compiled_yet() -> None:
    torch.manual_seed(0)
    torch.compiler.reset()


def frames(module: nn.Module, run: Callable[[Callable[[Tensor], Tensor]], None]) -> int:
    """Return how often a module is compiled, to one graph each time, while `run` calls it."""
    counter = CompileCounter()
    run(torch.compile(module, fullgraph=True, backend=counter))
    return int(counter.frame_count)


def over_batches(module: nn.Module, *shape: int) -> int:
    """Return how often a module is compiled for several batch sizes; its numbers must stay."""

    def run(compiled: Callable[[Tensor], Tensor]) -> None:
        for batch in BATCHES:
            x = torch.randn(batch, *shape)
            torch.manual_seed(1)
            made = compiled(x)
            torch.manual_seed(1)
            torch.testing.assert_close(made, module(x), rtol=1e-4, atol=1e-4)

    return frames(module, run)


def standalone(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    if name in TOKENS:
        return composer.build(name, 32, size=(4, 4)), (16, 32)
    if STANDS_FOR[name] == "conv2d":
        conv = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        return composer.build(name, like=conv, size=(8, 8)), (32, 8, 8)
    return composer.build(name, 32, size=(8, 8)), (32, 8, 8)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_spec_is_one_graph_for_every_batch(name: str, mode: str) -> None:
    module, shape = standalone(name)
    assert over_batches(module.train(mode == "train"), *shape) <= 2


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n in MOST_TYPICAL else pytest.mark.slow)
        for n in (param.values[0] for param in ANYWHERE)
    ],
)
def test_a_composed_network_is_one_graph_for_every_batch(name: str) -> None:
    of_tokens = name in TOKENS or STANDS_FOR[name] == "attention"
    deep = {"layers": (1, 6, 2, 1)} if name == "double_attention" else {}  # goes to blocks 2, 4, 6
    base = create_model("test_vit" if of_tokens else "test_resnet", **deep)
    edited = composer.insert(base, name).eval()
    side = 160 if of_tokens or name in SIZED else 64
    assert over_batches(edited, 3, side, side) <= 2


@pytest.mark.parametrize(
    "name", ["sk", *(pytest.param(name, marks=pytest.mark.slow) for name in ("se", "dynamic_conv"))]
)
def test_a_training_step_is_one_graph_for_every_batch(name: str) -> None:
    edited = composer.insert(create_model("test_resnet"), name).train()

    def run(compiled: Callable[[Tensor], Tensor]) -> None:
        optimizer = torch.optim.SGD(edited.parameters(), lr=0.01)
        for batch in BATCHES:
            compiled(torch.randn(batch, 3, 64, 64)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

    assert frames(edited, run) <= 2


def test_no_step_of_a_schedule_compiles_anew() -> None:
    edited = composer.insert(create_model("test_resnet"), "dynamic_conv").eval()

    def run(compiled: Callable[[Tensor], Tensor]) -> None:
        x, before = torch.randn(2, 3, 64, 64), None
        for _ in range(4):
            made = compiled(x)
            torch.testing.assert_close(made, edited(x))
            assert before is None or not torch.equal(made, before)
            before = made
            composer.advance(edited)

    assert frames(edited, run) == 1


def frames_block_by_block(model: nn.Module) -> int:
    counter = CompileCounter()
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        assert isinstance(stage, nn.Sequential)
        for block in stage:
            block.compile(fullgraph=True, backend=counter, dynamic=False)
    model(torch.randn(2, 3, 64, 64))
    return int(counter.frame_count)


def test_blocks_of_equal_shape_are_compiled_once_where_each_is_compiled() -> None:
    model = create_model("test_resnet", layers=(3, 1, 1, 1)).eval()
    assert frames_block_by_block(composer.insert(model, "se")) == frames_block_by_block(model)
