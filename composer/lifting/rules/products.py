"""Matrix products, and attention."""

from __future__ import annotations

from typing import Any

from composer.lifting.aligned import aligned, met
from composer.lifting.draft import Draft
from composer.lifting.given import Given, Rule
from composer.lifting.rules.elementwise import binary
from composer.lifting.rules.parts import picked
from composer.lifting.rules.reductions import reduced
from composer.lifting.values import Missing, Value


def _matmul(draft: Draft, given: Given) -> Value:
    a, b = given.value(0, "input"), given.value(1, "other")
    if given.call.op == "rmatmul":
        a, b = b, a
    return contracted(draft, a, b)


def contracted(draft: Draft, a: Value, b: Value) -> Value:
    """Return the matrix product, whose leading dimensions broadcast."""
    if len(a.dims) < 2 or len(b.dims) < 2:
        raise Missing("it is a product of vectors")
    letters = "zyxwvuts"
    lead_a, lead_b = len(a.dims) - 2, len(b.dims) - 2
    lead = max(lead_a, lead_b)
    batch = letters[:lead]
    of_a, of_b = f"{batch[lead - lead_a :]}ik", f"{batch[lead - lead_b :]}kj"
    return labelled(draft, a, of_a, b, of_b, f"{batch}ij")


def labelled(draft: Draft, a: Value, of_a: str, b: Value, of_b: str, out: str) -> Value:
    """Return the product of two values whose positions have letters, as in an einsum."""
    if len({*of_a}) < len(of_a) or len({*of_b}) < len(of_b):
        raise Missing("it takes a diagonal")
    letters = [*dict.fromkeys(of_a + of_b)]
    a, b = (
        value.at(value.dims[own.index(it)] if it in own else () for it in letters)
        for value, own in ((a, of_a), (b, of_b))
    )
    for it in letters:
        dim = letters.index(it)
        if it in out or (a.dims[dim] and b.dims[dim]):
            continue
        if a.dims[dim]:
            a = reduced(draft, a, (dim,), "sum", True)
        elif b.dims[dim]:
            b = reduced(draft, b, (dim,), "sum", True)
    a, b = aligned(draft, a, b)
    both = met(a, b)
    over = [axis for it in letters if it not in out for axis in both.dims[letters.index(it)]]
    dims = tuple(both.dims[letters.index(it)] for it in out)
    if not over:
        made = binary(draft, "mul", a, b)
        return made.at(dims)
    a, b = draft.filled(a, over), draft.filled(b, over)
    return draft.write("product", {"of": [a.node, b.node], "sum": over}, both.at(dims))


def _einsum(draft: Draft, given: Given) -> Value:
    text = given.get(0, "equation")
    values = given.args[1:]
    if len(values) == 1 and isinstance(values[0], tuple):
        values = values[0]
    if not isinstance(text, str) or "." in text:
        raise Missing("its equation is not written with letters")
    inputs, arrow, out = text.replace(" ", "").partition("->")
    words = inputs.split(",")
    if not arrow or len(words) != len(values) or len(words) > 2:
        raise Missing(f"its equation is {text!r}", "write one of two values, with its output")
    operands = [given.value(place + 1, "operand") if given.args[1:] == values else values[place]
                for place in range(len(values))]  # fmt: skip
    if len(words) == 2:
        return labelled(draft, operands[0], words[0], operands[1], words[1], out)
    x = operands[0]
    gone = tuple(at for at, it in enumerate(words[0]) if it not in out)
    if gone:
        x = reduced(draft, x, gone, "sum", True)
    return x.at(x.dims[words[0].index(it)] for it in out)


def _attention(draft: Draft, given: Given) -> Value:
    q, k, v = (given.value(place, name) for place, name in enumerate(("query", "key", "value")))
    mask, p = given.optional(3, "attn_mask"), given.get(4, "dropout_p", 0.0)
    if p:
        raise Missing("it has attention dropout", "dropout_p=0")
    if given.get(5, "is_causal", False):
        raise Missing("it is causal")
    scale = given.kwargs.get("scale")
    if len(q.dims) < 3:
        raise Missing("its values have no batch")
    return attended(draft, q, k, v, mask, scale)


def attended(draft: Draft, q: Value, k: Value, v: Value, mask: Value | None, scale: Any) -> Value:
    """Add attention of queries [.., n, d] over keys [.., m, d] with values [.., m, e]."""
    q, along = draft.single(q, len(q.dims) - 1)
    q = draft.filled(q, q.dims[-2])
    if not q.dims[-2]:
        wide = draft.with_axis(q, len(q.dims) - 2, draft.axis("query", q.axes))
        made = attended(draft, wide, k, v, mask, scale)
        return picked(draft, made, len(q.dims) - 2, 0, keep=True)
    same = k.dims[-2] == q.dims[-2] and all(k.sizes[a] == q.sizes[a] for a in k.dims[-2])
    if same:
        q, k = aligned(draft, q, k)
    else:
        wide_q = q.at((*q.dims[:-2], q.dims[-2], (), q.dims[-1]))
        wide_k = k.at((*k.dims[:-2], (), k.dims[-2], k.dims[-1]))
        wide_q, wide_k = aligned(draft, wide_q, wide_k)
        q = wide_q.at((*wide_q.dims[:-2], wide_q.dims[-1]))
        k = wide_k.at((*wide_k.dims[:-3], *wide_k.dims[-2:]))
    # the values share axes with the keys, but not their features with the queries
    wide_k = k.at((*k.dims[:-1], ()))
    features = v.dims[-1]
    rest = v.at((*v.dims[:-1], ()))
    wide_k, rest = aligned(draft, wide_k, rest)
    names = dict(zip((a for d in v.dims[:-1] for a in d), rest.axes, strict=False))
    v = draft.rename(v, names)
    if not features:
        raise Missing("its values have a single feature")
    k = draft.filled(k, (*k.dims[-2], along))
    v = draft.filled(v, (*v.dims[-2], *v.dims[-1]))
    q = draft.filled(q, q.own)
    sizes = {**k.sizes, **v.sizes, **q.sizes, **{a: v.sizes[a] for a in v.dims[-1]}}
    dims = (*(a or b for a, b in zip(q.dims[:-2], k.dims[:-2], strict=True)), q.dims[-2],
            v.dims[-1])  # fmt: skip
    fields = {
        "q": q.node, "k": k.node, "v": v.node, "over": list(q.dims[-2]), "along": along,
        "keys": None if same else list(k.dims[-2]),
        "scale": None if scale is None else _scale(draft, scale, q.sizes[along]),
    }  # fmt: skip
    if mask is not None:
        raise Missing("it has a mask or a bias")
    made = Value("", dims, {axis: sizes[axis] for dim in dims for axis in dim})
    return draft.write("attention", fields, made)


def _scale(draft: Draft, scale: Any, width: tuple[int, ...]) -> Any:
    numbers = tuple(scale) if isinstance(scale, tuple) else (scale,) * draft.runs
    if all(abs(s * n**0.5 - 1) < 1e-9 for s, n in zip(numbers, width, strict=True)):
        return None
    return draft.formulas.number(numbers)


def _baddbmm(draft: Draft, given: Given) -> Value:
    if given.kwargs.get("alpha", 1) != 1 or given.kwargs.get("beta", 1) != 1:
        raise Missing("it has a factor")
    made = contracted(draft, given.value(1, "batch1"), given.value(2, "batch2"))
    return binary(draft, "add", given.x, made)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("matmul", "bmm", "mm", "rmatmul"), _matmul),
    "einsum": _einsum, "scaled_dot_product_attention": _attention,
    "baddbmm": _baddbmm, "addmm": _baddbmm,
}  # fmt: skip
