"""The Fourier transform of real values, with complex numbers as pairs of real ones.

A pair lies along the last axis, so that torch's own complex tensors are views of it. The transform
divides by the square root of the number of values in both directions (``norm="ortho"``).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.overrides import (
    handle_torch_function,
    has_torch_function_unary,
    has_torch_function_variadic,
)

from composer.kernels.memory import is_plain
from composer.kernels.precision import in_full


def rfft(x: Tensor, over: tuple[int, ...]) -> Tensor:
    """Return the non-negative half of the frequencies along the last axis of `over`; new axis last.

    Torch transforms no bfloat16, so it is computed in float32.
    """
    if has_torch_function_unary(x):
        return handle_torch_function(rfft, (x,), x, over)
    if _is_empty(x):
        half = [n // 2 + 1 if axis == over[-1] else n for axis, n in enumerate(x.shape)]
        return x.new_zeros(*half, 2) + x.sum()
    found = torch.fft.rfftn(in_full(x), dim=over, norm="ortho")
    return torch.view_as_real(found).to(x.dtype)


def irfft(x: Tensor, over: tuple[int, ...], size: int) -> Tensor:
    """Return the real values with this transform; `size` is that of the last axis of `over`."""
    if has_torch_function_unary(x):
        return handle_torch_function(irfft, (x,), x, over, size)
    if _is_empty(x):
        whole = [size if axis == over[-1] else n for axis, n in enumerate(x.shape[:-1])]
        return x.new_zeros(whole) + x.sum()
    sizes = (*(-1 for _ in over[:-1]), size)  # the others stay
    found: Tensor = torch.fft.irfftn(_complex(x), s=sizes, dim=over, norm="ortho")
    return found.to(x.dtype)


def complex_mul(x: Tensor, by: Tensor) -> Tensor:
    """Return the product of complex numbers whose parts are along the last axis of both."""
    if has_torch_function_variadic(x, by):
        return handle_torch_function(complex_mul, (x, by), x, by)
    if _is_empty(x) or _is_empty(by):
        return x * by
    dtype = torch.promote_types(x.dtype, by.dtype)
    return torch.view_as_real(_complex(x) * _complex(by)).to(dtype)


def _is_empty(x: Tensor) -> bool:
    """Return whether there are no values, which torch's transforms and views refuse."""
    return not torch.compiler.is_compiling() and x.numel() == 0


def _complex(x: Tensor) -> Tensor:
    """Return pairs as complex numbers: a view where they lie as such, else a copy."""
    x = in_full(x)
    if _lies_in_pairs(x):
        return torch.view_as_complex(x)
    return torch.complex(*x.unbind(-1))


def _lies_in_pairs(x: Tensor) -> bool:
    """Return whether torch's complex numbers may be a view; a compiler can't tell."""
    if torch.compiler.is_compiling() or not is_plain(x) or x.stride(-1) != 1:
        return False
    return not any(step % 2 for step in (x.storage_offset(), *x.stride()[:-1]))
