"""Every shipped spec on a GPU: on fake tensors anywhere, and on a real one where there is one."""

from __future__ import annotations

import pytest
import torch
from probe import random, randomise
from shipped import SHIPPED
from torch._subclasses.fake_tensor import FakeTensorMode

from composer.lower.build import build

WIDTH = 32
MAP = ("b", "c", "h", "w")


@pytest.mark.quick(12)
@pytest.mark.parametrize("layout", [MAP, ("b", "h", "w", "c")])
@pytest.mark.parametrize("init", ["paper", "identity"])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", SHIPPED)
def test_on_a_fake_gpu(name: str, mode: str, init: str, layout: tuple[str, ...]) -> None:
    with FakeTensorMode():
        module = build(
            name,
            WIDTH,
            size=(7, 5),
            init=init,
            device="cuda",
            layout=layout,  # type: ignore[arg-type]
        )
        module.train(mode == "train")
        assert all(t.device.type == "cuda" for t in module.state_dict().values())
        sizes = {"b": 2, "c": WIDTH, "h": 7, "w": 5}
        x = torch.randn([sizes[axis] for axis in layout], device="cuda")
        y = module(x)
        assert y.device.type == "cuda" and y.shape == x.shape


def test_a_cpu_tensor_on_the_way_is_caught() -> None:
    with FakeTensorMode():
        module = build("se_var2", WIDTH, device="cuda")
        module.weight = torch.nn.Parameter(torch.ones(WIDTH))
        with pytest.raises(RuntimeError, match="device"):
            module(torch.randn(2, WIDTH, 7, 5, device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", SHIPPED)
def test_on_a_real_gpu(name: str, mode: str) -> None:
    here = randomise(build(name, WIDTH, size=(7, 5), layout=MAP).double()).train(mode == "train")
    there = build(name, WIDTH, size=(7, 5), layout=MAP, device="cuda", dtype=torch.float64).train(
        here.training
    )
    there.load_state_dict(here.state_dict())
    x = random(2, WIDTH, 7, 5)
    y = there(x.cuda())
    assert y.device.type == "cuda"
    torch.testing.assert_close(y.cpu(), here(x), rtol=1e-8, atol=1e-8)
