"""What each op without weights does, for the interpreter: written from the page of the language."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from named_values import (
    Value,
    contracted,
    meet,
    number,
    padded,
    union,
    unwindowed,
    windows,
)
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from named_axes import Here


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def root(x: Tensor) -> Tensor:
    """Return the root of what is never below zero, flat where that is zero."""
    return torch.where(x > 0, torch.where(x > 0, x, 1.0) ** 0.5, 0.0)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def relu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.zeros_like(x))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": relu,
    "relu6": lambda x: torch.where((x > 0) & (x < 6), x, 6.0 * (x >= 6)),
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "sigmoid": torch.sigmoid,  # whose gradient, from its value, rounds to zero far from zero
    "hard_sigmoid": functional.hardsigmoid,  # torch's own gradient has 1 / 6 in single precision
    "hard_swish": lambda x: x * torch.clamp(x + 3, 0, 6) / 6,
    "tanh": torch.tanh,
    "softplus": lambda x: torch.where(x > 20, x, _softplus(x)),  # torch's is straight from 20 on
    "elu": elu,
    "leaky_relu": leaky_relu,
    "selu": lambda x: 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717),
    "mish": lambda x: x * torch.tanh(_softplus(x)),
}
OF_NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "sqrt": lambda x: x**0.5,
    "rsqrt": lambda x: x**-0.5,
    "exp": torch.exp,
    "log": torch.log,
    "abs": torch.abs,
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "sign": torch.sign,
    "sin": torch.sin,
    "cos": torch.cos,
}


def arithmetic(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Here], Value]:
    def evaluate(here: Here) -> Value:
        total, *others = here.operands("of")
        for other in others:
            total = meet(total, other, function)
        return total

    return evaluate


def apply(here: Here) -> Value:
    fn, x = here.word("fn"), here.x
    if fn == "pow":
        return x.each(lambda t: t ** here.number("exponent"))
    if fn == "clamp":
        low, high = here.number("low", -math.inf), here.number("high", math.inf)
        return x.each(lambda t: torch.where(t < low, low, torch.where(t > high, high, t)))
    if fn == "elu":
        return x.each(lambda t: elu(t, here.number("alpha", 1)))
    if fn == "leaky_relu":
        return x.each(lambda t: leaky_relu(t, here.number("slope", 0.01)))
    return x.each({**ACTIVATIONS, **OF_NUMBERS}[fn])


def gate(here: Here) -> Value:
    fn, x = here.word("fn", "sigmoid"), here.x
    return softmax(here, x, here.axes("over")) if fn == "softmax" else x.each(ACTIVATIONS[fn])


def softmax(here: Here, x: Value, over: tuple[str, ...]) -> Value:
    most = x.reduced(over, lambda t: t.detach().amax(-1))
    raised = meet(x, most, lambda a, b: torch.exp(a - b))
    total = here.world.off(raised.reduced(over, lambda t: t.sum(-1)))
    return meet(raised, total, torch.div)


def branch(here: Here) -> Value:
    axis = here.name("axis")
    parts = [here.part(number, {axis: number}) for number in range(here.size("times"))]
    return stacked(parts, axis)


def repeat(here: Here) -> Value:
    value, shared = here.x, here.flag("shared", False)
    for step in range(here.size("times")):
        names = {here.name("index", "i"): step}
        value = here.part(step, names, x=value, weights=0 if shared else step)
    return value


def stacked(values: list[Value], axis: str) -> Value:
    axes = values[0].axes
    return Value(torch.stack([value.to(axes) for value in values], -1), (*axes, axis))


def stack(here: Here) -> Value:
    return stacked(here.values("of"), here.name("axis"))


def concat(here: Here) -> Value:
    axis, values = here.name("axis"), here.values("of")
    axes = values[0].axes
    return Value(torch.cat([value.to(axes) for value in values], axes.index(axis)), axes)


def chunk(here: Here) -> list[Value]:
    axis, x = here.name("axis"), here.x
    equal = [x.size(axis) // len(here.names)] * len(here.names)
    sizes = here.sizes("sizes") if "sizes" in here.fields else equal
    assert sum(sizes) == x.size(axis) and len(sizes) == len(here.names)
    ends = list(itertools.accumulate(sizes))
    return [
        x.taken(axis, torch.arange(end - size, end)) for end, size in zip(ends, sizes, strict=True)
    ]


def unstack(here: Here) -> list[Value]:
    axis = here.name("axis")
    assert here.x.size(axis) == len(here.names)
    return [here.x.at(axis, place) for place in range(len(here.names))]


def pick(here: Here) -> Value:
    axis = here.name("axis")
    assert "of" not in here.fields or here.size("of") == here.x.size(axis)
    return here.x.at(axis, here.size("index"))


def constant(here: Here) -> Value:
    sizes = here.mapping("axes")
    ranges = [range(size) for size in sizes.values()]
    found = [
        float(here.evaluated("value", dict(zip(sizes, place, strict=True))))
        for place in itertools.product(*ranges)
    ]
    data = torch.tensor(found, dtype=torch.float64).reshape(tuple(sizes.values()))
    return Value(data, tuple(sizes))


def to_size(here: Here) -> Value:
    """`pad` and `crop`."""
    x = here.x
    for axis, size in here.mapping("to").items():
        assert (size >= x.size(axis)) if here.fields["op"] == "pad" else (size <= x.size(axis))
        x = padded(x, axis, 0, max(size - x.size(axis), 0)).taken(axis, torch.arange(size))
    return x


def dropout(here: Here) -> Value:
    p = here.number("p")
    if not here.training or p == 0:
        return here.x
    assert p == 1, "what is drawn can't be compared"
    return here.x.each(lambda t: t * 0)


def flip(here: Here) -> Value:
    x = here.x
    for axis in here.axes("over"):
        x = x.taken(axis, torch.arange(x.size(axis) - 1, -1, -1))
    return x


def roll(here: Here) -> Value:
    x, over = here.x, here.axes("over")
    for axis, by in zip(over, here.for_each("by", over), strict=True):
        count = x.size(axis)
        x = x.taken(axis, torch.tensor([(place - int(by)) % count for place in range(count)]))
    return x


def _turned(re: Value, im: Value, axis: str, sign: int, kept: int) -> tuple[Value, Value]:
    """Return Σₙ x[n] exp(sign · 2πi · kn / N) / √N for the first k along an axis."""
    count = re.size(axis)
    angle = torch.outer(torch.arange(count), torch.arange(kept)).to(re.data.dtype)
    angle = angle * (2 * math.pi * sign / count)
    cos, sin = (
        Value(fn(angle) / math.sqrt(count), (axis, f"{axis}~")) for fn in (torch.cos, torch.sin)
    )
    out = tuple(f"{axis}~" if name == axis else name for name in re.axes)
    at = [[contracted([x, table], out) for table in (cos, sin)] for x in (re, im)]
    found = meet(at[0][0], at[1][1], torch.sub), meet(at[0][1], at[1][0], torch.add)
    return found[0].renamed({f"{axis}~": axis}), found[1].renamed({f"{axis}~": axis})


def rfft(here: Here) -> Value:
    re, over = here.x, here.axes("over")
    im = re.each(torch.zeros_like)
    for axis in over:
        count = re.size(axis)
        re, im = _turned(re, im, axis, -1, count // 2 + 1 if axis == over[-1] else count)
    return stacked([re, im], here.name("parts"))


def irfft(here: Here) -> Value:
    parts, over = here.name("parts"), here.axes("over")
    re, im = here.x.at(parts, 0), here.x.at(parts, 1)
    for axis in over[:-1]:
        re, im = _turned(re, im, axis, 1, re.size(axis))
    axis, size = over[-1], here.size("size")
    assert re.size(axis) == size // 2 + 1
    # the other frequencies are the conjugates of these, from the last to the first
    others = torch.arange((size - 1) // 2, 0, -1)
    whole = [
        Value(torch.cat([x.last(axis).data, sign * x.taken(axis, others).last(axis).data], -1),
              x.last(axis).axes)
        for x, sign in ((re, 1), (im, -1))
    ]  # fmt: skip
    alone = torch.zeros(size, dtype=re.data.dtype)
    alone[1 : (size + 1) // 2] = 1
    alone[size // 2 + 1 :] = 1  # of zero, and of the middle, the imaginary part is not read
    whole[1] = meet(whole[1], Value(alone, (axis,)), torch.mul)
    return _turned(whole[0], whole[1], axis, 1, size)[0]


def complex_mul(here: Here) -> Value:
    parts, (a, b) = here.name("parts"), here.values("of")
    (re, im), (re_b, im_b) = ([x.at(parts, place) for place in (0, 1)] for x in (a, b))
    real = meet(meet(re, re_b, torch.mul), meet(im, im_b, torch.mul), torch.sub)
    imaginary = meet(meet(re, im_b, torch.mul), meet(im, re_b, torch.mul), torch.add)
    return stacked([real, imaginary], parts)


def rename(here: Here) -> Value:
    return here.x.renamed(here.fields["axes"])


def merge(here: Here) -> Value:
    return here.x.merged(here.axes("axes"), here.name("into"))


def split(here: Here) -> Value:
    return here.x.apart(here.name("axis"), here.mapping("into"))


def scale(here: Here) -> Value:
    return here.x.each(lambda t: t * here.number("by"))


def schedule(here: Here) -> Value:
    begin, end, steps = here.number("begin"), here.number("end"), here.size("steps")
    way = min(here.world.advanced, steps) / steps
    return number(begin + way * (end - begin), here.world.like)


def product(here: Here) -> Value:
    values, gone = here.values("of"), here.axes("sum")
    return contracted(values, [axis for axis in union(values) if axis not in gone])


def reweight(here: Here) -> Value:
    x, by, gone = here.value("x"), here.value("by"), here.axes("sum", ())
    found = meet(x, by, torch.mul)
    return found.reduced(gone, lambda t: t.sum(-1)) if gone else found


def resize(here: Here) -> Value:
    x, like = here.x, here.value("like")
    for axis in here.axes("over"):
        old, new = x.size(axis), like.size(axis)
        x = x.taken(axis, torch.tensor([place * old // new for place in range(new)]))
    return x


def unfold(here: Here) -> Value:
    x, over = here.x, here.axes("over")
    kernel, stride, padding, dilation = here.slide(over, here.for_each("kernel", over))
    for place, (axis, into) in enumerate(zip(over, here.axes("into"), strict=True)):
        around = (padding[place], padding[place])
        x = windows(x, axis, into, kernel[place], stride[place], around, dilation[place])
    return x


def fold(here: Here) -> Value:
    x, over, inner, like = here.x, here.axes("over"), here.axes("axes"), here.value("like")
    sizes = [x.size(axis) for axis in inner]
    _, stride, padding, dilation = here.slide(over, sizes)
    for place, (axis, into) in enumerate(zip(over, inner, strict=True)):
        numbers = (stride[place], padding[place], dilation[place])
        x = unwindowed(x, axis, into, like.size(axis), *numbers)
    return x


def pool(here: Here) -> Value:
    x, over, reduce = here.x, here.axes("over"), here.word("reduce", "mean")
    if "kernel" in here.fields:
        return _pooled_windows(here, x, over, reduce)
    if "to" in here.fields:
        for axis, count in zip(over, here.for_each("to", over), strict=True):
            x = _shares(x, axis, int(count), reduce)
        return x
    if reduce == "power":
        (p,) = here.operands("exponent")
        raised = meet(x.each(lambda t: t.clamp(min=1e-6)), p, torch.pow)
        return meet(raised.reduced(over, lambda t: t.mean(-1)), p, lambda a, b: a ** (1 / b))
    return x.reduced(over, _REDUCTIONS[reduce])


def _variance(x: Tensor) -> Tensor:
    return ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1)


_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda t: t.mean(-1),
    "sum": lambda t: t.sum(-1),
    "max": lambda t: t.amax(-1),
    "min": lambda t: t.amin(-1),
    "var": _variance,
    "std": lambda t: root(_variance(t)),
    "length": lambda t: root((t * t).sum(-1)),
    "median": lambda t: t.sort(-1).values[..., (t.shape[-1] - 1) // 2],
}


def _shares(x: Value, axis: str, count: int, reduce: str) -> Value:
    """Return each value's share of an axis, reduced."""
    size, parts = x.size(axis), []
    for place in range(count):
        share = torch.arange(place * size // count, -((place + 1) * size // -count))
        parts.append(x.taken(axis, share).reduced([axis], _REDUCTIONS[reduce]))
    return stacked(parts, axis)


def _pooled_windows(here: Here, x: Value, over: tuple[str, ...], reduce: str) -> Value:
    """Return windows around each place, or side by side, reduced."""
    inner = tuple(f"{axis}~" for axis in over)
    inside, count = x.each(torch.ones_like), number(1, x.data)
    counted = here.flag("count_padding", False)
    numbers = zip(here.for_each("kernel", over), here.for_each("stride", over, 1), strict=True)
    for axis, into, (kernel, stride) in zip(over, inner, numbers, strict=True):
        # odd windows lie around each place; even ones side by side, the last of them cut
        around = (kernel // 2, kernel // 2) if kernel % 2 else (0, -x.size(axis) % kernel)
        ones = Value(x.data.new_ones(x.size(axis)), (axis,))
        here_inside = windows(ones, axis, into, kernel, stride, around, 1)
        if counted and kernel % 2:
            here_inside = here_inside.each(torch.ones_like)
        count = meet(count, here_inside.reduced([into], lambda t: t.sum(-1)), torch.mul)
        x = windows(x, axis, into, kernel, stride, around, 1)
        inside = windows(inside, axis, into, kernel, stride, around, 1)
    if reduce == "max":
        x = Value(torch.where(inside.to(x.axes) > 0, x.data, -math.inf), x.axes)
        return x.reduced(inner, lambda t: t.amax(-1))
    return meet(x.reduced(inner, lambda t: t.sum(-1)), count, torch.div)


OPS: dict[str, Callable[[Here], Value | list[Value]]] = {
    "add": arithmetic(torch.add), "sub": arithmetic(torch.sub),
    "mul": arithmetic(torch.mul), "div": arithmetic(torch.div),
    "apply": apply, "branch": branch, "chunk": chunk, "complex_mul": complex_mul,
    "concat": concat, "constant": constant, "rfft": rfft, "irfft": irfft,
    "crop": to_size, "pad": to_size, "dropout": dropout, "flip": flip, "fold": fold, "gate": gate,
    "merge": merge, "pick": pick, "pool": pool, "product": product, "rename": rename,
    "repeat": repeat, "resize": resize, "reweight": reweight, "roll": roll, "scale": scale,
    "schedule": schedule, "split": split, "stack": stack, "unfold": unfold, "unstack": unstack,
}  # fmt: skip
