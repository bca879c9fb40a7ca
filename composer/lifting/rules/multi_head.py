"""Torch's multi-head attention, which is one call: only self-attention."""

from __future__ import annotations

from typing import Any

from composer.lifting.draft import Draft
from composer.lifting.given import Given, Rule
from composer.lifting.rules.layers import dense
from composer.lifting.rules.parts import picked
from composer.lifting.rules.products import attended
from composer.lifting.rules.shapes import reshaped
from composer.lifting.values import Missing, Value

#: Further arguments that are not supported, with the values that mean their absence.
_UNUSED = ("bias_k", "bias_v", "key_padding_mask", "attn_mask", "q_proj_weight", "static_k",
           "static_v")  # fmt: skip


def _multi_head(draft: Draft, given: Given) -> tuple[Any, ...]:
    """Add the self-attention of [n, b, c]: a layer to q, k and v, and an output layer."""
    x, heads = given.x, given.get(4, "num_heads")
    if given.value(1, "key") != x or given.value(2, "value") != x:
        raise Missing("its queries, keys and values are not one tensor")
    for name in _UNUSED:
        if given.kwargs.get(name) is not None:
            raise Missing(f"it has {name!r}")
    dropped = given.get(10, "dropout_p") and given.kwargs.get("training", True)
    if dropped or given.get(9, "add_zero_attn") or given.kwargs.get("is_causal"):
        raise Missing("it has attention dropout or a mask")
    n, b, c = (x.size(dim, draft.runs) for dim in range(3))
    count, three = (heads,) * draft.runs, (3,) * draft.runs
    hint = draft.hint
    draft.hint = "qkv"
    wide = tuple(3 * size for size in c)
    qkv = dense(draft, x, 2, wide, given.value(5, "in_proj_weight"),
                given.optional(6, "in_proj_bias"), 1)  # fmt: skip
    width = tuple(size // heads for size in c)
    qkv = reshaped(draft, qkv, (n, b, three, count, width))
    qkv = qkv.at(qkv.dims[dim] for dim in (2, 1, 3, 0, 4))
    draft.hint = "part"
    q, k, v = (picked(draft, qkv, 0, index) for index in range(3))
    draft.hint = "attend"
    made = attended(draft, q, k, v, None, None)
    made = reshaped(draft, made.at(made.dims[dim] for dim in (2, 0, 1, 3)), (n, b, c))
    draft.hint = hint
    weight, bias = given.value(11, "out_proj_weight"), given.optional(12, "out_proj_bias")
    made = dense(draft, made, 2, c, weight, bias, 1)
    return made, Value("", ((), (), ()), unknown=True)


RULES: dict[str, Rule] = {"multi_head_attention_forward": _multi_head}
