"""The kernels of the Fourier transform: in any layout, in half precision, and their gradients."""

from __future__ import annotations

import pytest
import torch
from probe import random
from torch import Tensor

from composer.kernels.fourier import complex_mul, irfft, rfft

#: Pairs [3, 4, 2] in memory: as torch's complex numbers lie, and in ways that they can't.
LAID: dict[str, Tensor] = {
    "as pairs": random(3, 4, 2),
    "the parts first": random(2, 3, 4).permute(1, 2, 0),
    "an odd step": random(27).as_strided((3, 4, 2), (9, 2, 1)),
    "an odd beginning": random(25)[1:].view(3, 4, 2),
    "every other": random(3, 4, 4)[..., ::2],
    "reversed axes": random(4, 3, 2).transpose(0, 1),
}


@pytest.mark.parametrize("right", LAID)
@pytest.mark.parametrize("left", LAID)
def test_complex_numbers_are_multiplied_wherever_they_lie(left: str, right: str) -> None:
    (a, b), (c, d) = LAID[left].unbind(-1), LAID[right].unbind(-1)
    expected = torch.stack([a * c - b * d, a * d + b * c], -1)
    torch.testing.assert_close(complex_mul(LAID[left], LAID[right]), expected)


@pytest.mark.parametrize("laid", LAID)
@pytest.mark.parametrize("size", [6, 7])
def test_the_inverse_takes_any_layout(laid: str, size: int) -> None:
    x = LAID[laid]
    expected = torch.fft.irfft(torch.complex(x[..., 0], x[..., 1]), size, norm="ortho")
    torch.testing.assert_close(irfft(x, (1,), size), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_back(dtype: torch.dtype) -> None:
    x = random(2, 3, 5, 6).to(dtype)
    found = rfft(x, (2, 3))
    assert found.dtype == dtype and found.shape == (2, 3, 5, 4, 2)
    found = complex_mul(found, torch.tensor([2.0, 0.0], dtype=dtype))
    again = irfft(found, (2, 3), 6)
    assert again.dtype == dtype
    torch.testing.assert_close(again, 2 * x, atol=0.1, rtol=0.02)


def test_gradients_of_both_orders() -> None:
    x, by = random(2, 3, 4).requires_grad_(), random(3, 3, 2).requires_grad_()

    def filtered(x: Tensor, by: Tensor) -> Tensor:
        return irfft(complex_mul(rfft(x, (1, 2)), by), (1, 2), 4)

    assert torch.autograd.gradcheck(filtered, (x, by))
    assert torch.autograd.gradgradcheck(filtered, (x, by))
    each = torch.func.vmap(lambda one: filtered(one[None], by)[0])(x)
    torch.testing.assert_close(each, filtered(x, by))


def test_it_is_compiled_as_one_graph() -> None:
    x, by = random(2, 3, 4), random(3, 3, 2)

    def filtered(x: Tensor, by: Tensor) -> Tensor:
        return irfft(complex_mul(rfft(x, (1, 2)), by), (1, 2), 4)

    compiled = torch.compile(filtered, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, by), filtered(x, by))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 3, 4)])
def test_nothing_has_no_frequencies(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, requires_grad=True)
    found = rfft(x, (-2 % x.dim(), x.dim() - 1))
    assert found.shape == (*shape[:-1], 3, 2)
    again = irfft(complex_mul(found, found), (-2 % x.dim(), x.dim() - 1), 4)
    assert again.shape == shape
    again.sum().backward()
    assert x.grad is not None and x.grad.shape == shape
