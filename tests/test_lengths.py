"""Lengths, values divided by them, and weighted totals, beside torch's own; in any memory order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from probe import random
from torch import Tensor, fx
from torch.nn import functional

from composer.kernels import memory
from composer.kernels.deviation import variance
from composer.kernels.length import length, normalized
from composer.kernels.weighed_sum import in_order
from composer.kernels.weighed_total import weighed_total

ORDERS = {
    "maps": lambda: random(3, 4, 5, 6),
    "channels last": lambda: random(3, 5, 6, 4).permute(0, 3, 1, 2),
    "a view of tokens": lambda: random(3, 6, 12, 5)[:, :, ::3].permute(0, 2, 3, 1),
}
AXES = [(1,), (-1,), (2, 3), (0, 2), (0, 1, 2, 3)]


def gradients(y: Tensor, x: Tensor) -> Tensor:
    dy = random(y.numel(), seed=99).view(y.shape)
    return torch.autograd.grad(y, x, dy)[0]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("order", ORDERS)
def test_a_length_is_torch_s(order: str, axes: tuple[int, ...]) -> None:
    x = ORDERS[order]()
    x[0, :, 1] = 0  # its length along some axes is zero, where the root has no derivative
    x.requires_grad_()
    mine, its = length(x, axes), torch.linalg.vector_norm(x, 2, axes)
    torch.testing.assert_close((mine, gradients(mine, x)), (its, gradients(its, x)))


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("order", ORDERS)
def test_values_by_their_length_are_torch_s(order: str, axes: tuple[int, ...]) -> None:
    x = ORDERS[order]()
    x[0, :, 1] = 0
    x[1, :, 1] *= 1e-5  # shorter than eps
    x.requires_grad_()
    mine, its = normalized(x, axes, 1e-3), functional.normalize(x, dim=axes, eps=1e-3)
    torch.testing.assert_close((mine, gradients(mine, x)), (its, gradients(its, x)))
    torch.testing.assert_close(normalized(x.detach(), axes, 1e-3), its.detach())


def test_gradients_of_both_orders() -> None:
    x = random(2, 3, 4).requires_grad_()
    for function in (lambda x: normalized(x, (1,), 1e-12), lambda x: length(x, (1,))):
        assert torch.autograd.gradcheck(function, x)
        assert torch.autograd.gradgradcheck(function, x)
        each = torch.func.vmap(lambda one, f=function: f(one[None])[0])(x)
        torch.testing.assert_close(each, function(x))


def test_what_is_made_of_it_may_be_changed_in_place() -> None:
    x = random(2, 3, 4).requires_grad_()
    y = normalized(x, (1,), 1e-12)
    y += x
    expected = functional.normalize(x, dim=1) + x
    torch.testing.assert_close(gradients(y, x), gradients(expected, x))


def test_a_trace_can_be_saved(tmp_path: Path) -> None:
    x = random(2, 3, 4).requires_grad_()
    traced = torch.jit.trace(lambda x: normalized(x, (1,), 1e-12) * variance(x, (0,)), x)
    traced.save(str(tmp_path / "traced.pt"))
    again = torch.jit.load(str(tmp_path / "traced.pt"))
    torch.testing.assert_close(again(x), functional.normalize(x, dim=1) * x.var(0, correction=0))


def test_what_is_not_a_number_stays_so() -> None:
    x = torch.tensor([[[1.0, float("nan")], [2.0, 3.0]]])
    assert length(x, (1,)).isnan().tolist() == [[False, True]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_kinds_of_tensor(dtype: torch.dtype) -> None:
    x = random(2, 3, 4).to(dtype)
    assert length(x, (1,)).dtype == normalized(x, (1,), 1e-12).dtype == dtype
    traced = fx.symbolic_trace(lambda x: normalized(x, (1,), 1e-12) * length(x, (0,)))
    kernels = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert normalized in kernels and length in kernels
    compiled = torch.compile(
        lambda x: normalized(x, (1,), 1e-12), fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(x), functional.normalize(x, dim=1))


# ------------------------------------------------------------------------------------ totals


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every map for a large one, of which the caches hold but a few numbers."""
    monkeypatch.setattr(memory, "LARGE", 0)
    monkeypatch.setattr(memory, "CACHED", 64)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 4, 1, 1), (3, 1, 5, 6), (1, 4, 5, 6), ()])
@pytest.mark.parametrize("order", ORDERS)
def test_a_total(in_parts: None, order: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x, by = ORDERS[order](), random(*shape, seed=3) if shape else torch.tensor(3.0).double()
    want = (x * by).sum(axes)
    torch.testing.assert_close(weighed_total(x, by, axes), want)
    x.requires_grad_()
    torch.testing.assert_close(
        gradients(weighed_total(x, by, axes), x), gradients((x * by).sum(axes), x)
    )


@pytest.mark.parametrize("order", ORDERS)
def test_a_small_weight_is_read_in_the_order_of_the_map(order: str) -> None:
    x = ORDERS[order]()
    axes = sorted(range(4), key=lambda axis: -x.stride()[axis])
    for by in (
        random(5, 6),
        random(6, 5).t(),
        random(1, 4, 1, 6),
        random(1, 6, 1, 4).transpose(1, 3),
    ):
        found = in_order(x, by)
        torch.testing.assert_close(x * found, x * by)
        full = found[(None,) * (4 - found.dim())]
        steps = [full.stride()[axis] for axis in axes if full.shape[axis] > 1]
        assert steps == sorted(steps, reverse=True)


@pytest.mark.parametrize("gradients", [False, True])
def test_a_total_under_autocast(in_parts: None, gradients: bool) -> None:
    """In half precision, as a convolution; of double precision as it is."""
    x, by = random(2, 3, 4, 5).float().requires_grad_(gradients), random(3, 4, 5, seed=1).float()
    total = torch.compile(
        lambda x: weighed_total(x, by, (2, 3)), fullgraph=True, backend="aot_eager"
    )
    with torch.autocast("cpu", torch.bfloat16):
        for found in (weighed_total(x, by, (2, 3)), total(x)):
            assert found.dtype == torch.bfloat16
            torch.testing.assert_close(found.float(), (x * by).sum((2, 3)), rtol=0.05, atol=0.05)
        assert weighed_total(x.double(), by.double(), (2, 3)).dtype == torch.float64
        assert weighed_total(x.long(), by.long(), (2, 3)).dtype == torch.int64
    with torch.autocast("cpu", torch.float16):
        assert weighed_total(300 * x, 300 * by.abs(), (2, 3)).isfinite().all()
    assert weighed_total(x.to("meta"), by.to("meta"), (2, 3)).shape == (2, 3)
