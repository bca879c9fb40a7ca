"""softmax(s q kᵀ + bias) v where torch's fast attention does not run, or is slower.

With a learned bias torch also looks through all logits for queries that see no key; here the output
tells. A few keys of many features, as of channels, are weighted by plain products. For values of
another width than the queries', the queries are processed part by part, so that the weights W of a
part stay in the caches. Backward they are computed again. With the gradient ∂y,

    ∂v = Wᵀ ∂y
    ∂L = W ⊙ (∂y vᵀ - Σ W ⊙ ∂y vᵀ)      the sum over the keys
    ∂q = s ∂L k
    ∂k = s ∂Lᵀ q

So memory grows with the number of queries and of keys, not with their product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_variadic

from composer.kernels.features import features_last
from composer.kernels.memory import CACHED, LARGE, is_plain, needs_gradient
from composer.kernels.precision import FULL, autocast_to

#: From so many bytes of weights on, computing them twice takes less time than storing them.
LARGE_TO_STORE = 16 * LARGE


def attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Return the values of all keys, weighted for each query, as torch's attention does.

    Args:
        q: ``[batch, heads, queries, features]``.
        k: ``[batch, heads, keys, features]``.
        v: ``[batch, heads, keys, features of the values]``.
        attn_mask: added to the logits, or False where a query does not see a key; it broadcasts to
            ``[batch, heads, queries, keys]``.
        scale: the factor on q kᵀ; 1/√features by default.
    """
    given = (q, k, v) if attn_mask is None else (q, k, v, attn_mask)
    if has_torch_function_variadic(*given):
        return handle_torch_function(attention, given, q, k, v, attn_mask, scale=scale)
    factor = _default(q) if scale is None else scale
    if _are_plain(*given):
        if attn_mask is None and q.shape[-1] != v.shape[-1] and _is_large(q, k, v):
            return _by_parts(q, k, v, factor)
        if attn_mask is not None and needs_gradient(attn_mask):
            y = ((q * factor) @ k.mT).add_(attn_mask).softmax(-1) @ v
            if not y.detach().sum().isnan():  # else a query sees no key, and torch returns 0
                return y
    q, k, v = map(features_last, (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask, scale=scale)


def attention_of_few(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    """Return the same for fewer keys than features, as of channels, whose weights are small.

    In half precision it is torch's, which keeps the logits in full precision.
    """
    if has_torch_function_variadic(q, k, v):
        return handle_torch_function(attention_of_few, (q, k, v), q, k, v, scale=scale)
    if q.dtype not in FULL or autocast_to(q) is not None:
        return attention(q, k, v, scale=scale)
    factor = _default(q) if scale is None else scale
    return ((q * factor) @ k.mT).softmax(-1) @ v


def _default(q: Tensor) -> float:
    """Return 1/√features, also of none; a size that a compiler leaves open is not compared."""
    width: int = q.shape[-1] if torch.compiler.is_compiling() else max(q.shape[-1], 1)
    return width**-0.5  # type: ignore[no-any-return]


def _are_plain(*tensors: Tensor) -> bool:
    """Return whether these are plain tensors of one dtype, of full precision."""
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    dtype = tensors[0].dtype
    if dtype not in FULL:
        return False
    return all(t.dtype == dtype and t.is_cpu and is_plain(t) for t in tensors)


def _by_parts(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    apply = _Attention.apply if needs_gradient(q, k, v) else _forward
    out: Tensor = apply(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), scale)
    return out.view(*q.shape[:2], *out.shape[1:])


def _is_large(q: Tensor, k: Tensor, v: Tensor) -> bool:
    stored = q.shape[:-1].numel() * k.shape[-2] * q.element_size()
    return stored >= (LARGE_TO_STORE if needs_gradient(q, k, v) else LARGE)


def _forward(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    y = q.new_empty(*q.shape[:-1], v.shape[-1])
    for some, part in _parts(q, k):
        torch.bmm(_weights(q[some, part], k[some], scale), v[some], out=y[some, part])
    return y


def _weights(q: Tensor, k: Tensor, scale: float) -> Tensor:
    return (q * scale).bmm(k.mT).softmax(-1)


def _parts(q: Tensor, k: Tensor) -> Iterator[tuple[slice, slice]]:
    """Yield batch entries and queries whose weights fit into the caches at once."""
    batch, queries, keys = q.shape[0], q.shape[1], k.shape[1]
    room = max(CACHED * torch.get_num_threads() // q.element_size() // keys, 1)
    entries, length = max(room // queries, 1), min(room, queries)
    for first in range(0, batch, entries):
        for begin in range(0, queries, length):
            yield slice(first, first + entries), slice(begin, begin + length)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        return _forward(q, k, v, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        *tensors, ctx.scale = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        q, k, v = ctx.saved_tensors
        if torch.is_grad_enabled() or not is_plain(dy):  # a double or batched backward
            return *_gradients(q, k, v, dy, ctx.scale), None
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for some, part in _parts(q, k):
            found = _gradients(q[some, part], k[some], v[some], dy[some, part], ctx.scale)
            dq[some, part] = found[0]
            dk[some] += found[1]
            dv[some] += found[2]
        return dq, dk, dv, None


def _gradients(
    q: Tensor, k: Tensor, v: Tensor, dy: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    weights = _weights(q, k, scale)
    products = weights * (dy @ v.mT)
    logits = products - weights * products.sum(-1, keepdim=True)
    return logits @ k * scale, logits.mT @ (q * scale), weights.mT @ dy
