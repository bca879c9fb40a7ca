"""The number of multiply-adds of a torch operator, from the shapes of its inputs.

Which operators a model runs depends on the device, on whether gradients are recorded, and on
torch's fast paths; what they compute does not. So each operator has its count here, whatever the
path: `nn.MultiheadAttention` and `nn.TransformerEncoderLayer` cost the same in one operator as in
twenty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils.flop_counter import flop_registry

#: Multiply-adds of one call, from its arguments in order, keyword ones with defaults, and result.
Count = Callable[..., int]

#: Torch's names of norm operators; the values come first. Each costs two per element.
_NORMS = (
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
    "native_layer_norm",
    "native_group_norm",
)


def multiply_adds(
    operator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
) -> int | None:
    """Return the multiply-adds of one call of an operator; None for one that has no count.

    Args:
        operator: an overload packet, such as ``torch.ops.aten.mm``.
        args: its positional arguments.
        kwargs: its keyword arguments.
        out: its output.
    """
    own = _COUNTS.get(operator.__name__)
    if own is not None:
        return own(*args, out=out, **kwargs)
    if operator in flop_registry:
        return int(flop_registry[operator](*args, **kwargs, out_val=out)) // 2
    return None


def _norm(x: Tensor, *_: Any, **__: Any) -> int:
    return 2 * x.numel()


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    # queries by keys, and their weights by values; keys and values may serve several heads
    return query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _multi_head(query: Tensor, key: Tensor, value: Tensor, width: int, *_: Any, **__: Any) -> int:
    # four projections of `nn.MultiheadAttention`, all of equal width, and attention between
    queries, keys, values = (x.numel() // width for x in (query, key, value))
    projected = (2 * queries + keys + values) * width * width
    return projected + 2 * queries * key.shape[-2] * width


def _encoder_layer(x: Tensor, width: int, *rest: Any, **_: Any) -> int:
    # attention, two norms and the two layers after it
    layers: tuple[Tensor, Tensor] = (rest[12], rest[14])
    after = x.numel() // width * sum(weight.numel() for weight in layers)
    return _multi_head(x, x, x, width) + 2 * _norm(x) + after


def _layers_of_rnn(x: Tensor, weights: list[Tensor]) -> int:
    steps = x.numel() // x.shape[-1]
    return steps * sum(weight.numel() for weight in weights if weight.dim() == 2)


def _rnn(x: Tensor, *args: Any, **_: Any) -> int:
    return _layers_of_rnn(x, list(args[:2]))


def _cudnn_rnn(x: Tensor, weights: list[Tensor], *_: Any, **__: Any) -> int:
    return _layers_of_rnn(x, weights)


def _second(_: Tensor, x: Tensor, *__: Any, **___: Any) -> int:
    return x.numel()


def _first(x: Tensor, *_: Any, **__: Any) -> int:
    return x.numel()


def _summed_products(_: Tensor, a: Tensor, b: Tensor, **__: Any) -> int:
    return a.numel() * b.shape[-1]


def _product(a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    return a.numel() * b.shape[-1]


def _grouped_product(a: Tensor, b: Tensor, *_: Any, **__: Any) -> int:
    # each row, column or summand belongs to one group, unless both have a matrix for each group
    groups = a.shape[0] if a.dim() == b.dim() == 3 else 1
    return groups * a.shape[-2] * a.shape[-1] * b.shape[-1]


def _convolution(_: Tensor, weight: Tensor, *__: Any, out: Tensor, **___: Any) -> int:
    # a kernel [out, in, height, width] at each place of each image
    return out.numel() * weight[0].numel()


def _row_convolution(_: Tensor, weight: Tensor, *__: Any, out: Tensor, **___: Any) -> int:
    # a kernel [width, in, out]
    return out.numel() * weight[..., 0].numel()


def _bilinear(*args: Any, **_: Any) -> int:
    sizes = []
    for x, missing in zip(args[:3], args[3:6], strict=True):
        shape = list(x.shape)
        for axis in missing:
            shape.insert(axis, 1)
        sizes.append(shape)
    return math.prod(map(max, zip(*sizes, strict=True)))


_COUNTS: dict[str, Count] = {
    **dict.fromkeys(_NORMS, _norm),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
    "_scaled_dot_product_attention_math_for_mps": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_native_multi_head_attention": _multi_head,
    "_triton_multi_head_attention": _multi_head,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "mkldnn_rnn_layer": _rnn,
    "_cudnn_rnn": _cudnn_rnn,
    "mv": _first,
    "addmv": _second,
    "dot": _first,
    "vdot": _first,
    "addbmm": _summed_products,
    "_addmm_activation": _summed_products,
    "_int_mm": _product,
    "_grouped_mm": _grouped_product,
    "conv_tbc": _row_convolution,
    "deform_conv2d": _convolution,
    "_trilinear": _bilinear,
}
