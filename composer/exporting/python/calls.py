"""Torch calls in idiomatic form: ``x.transpose(1, 2)``, ``gate[:, :, None, None]``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from composer.exporting.python.code import (
    PRODUCT,
    SIGN,
    SUM,
    Code,
    binary,
    literal,
)
from composer.exporting.python.formula import power
from composer.exporting.python.layers import no_plain_form
from composer.kernels.attention import attention, attention_of_few
from composer.kernels.conv_of_each import conv_of_each
from composer.kernels.deviation import deviation, variance
from composer.kernels.fourier import complex_mul, irfft, rfft
from composer.kernels.largest import largest
from composer.kernels.length import length, normalized
from composer.kernels.mean import mean
from composer.kernels.mean_and_max import mean_and_max
from composer.kernels.row_conv1d import row_conv1d
from composer.kernels.squares import squares
from composer.kernels.weighed_sum import weighed, weighed_in_place, weighed_sum
from composer.kernels.weighed_total import weighed_total
from composer.kernels.weighed_windows import weighed_windows
from composer.kernels.windows import fold, unfold
from composer.lower.grid import grid

Args = Sequence[Any]
Kwargs = Mapping[str, Any]
Written = Callable[[Args, Kwargs], Code]

_SIGNS: dict[Any, tuple[str, int]] = {
    operator.add: ("+", SUM), operator.sub: ("-", SUM), operator.mul: ("*", PRODUCT),
    operator.truediv: ("/", PRODUCT), operator.floordiv: ("//", PRODUCT),
    operator.mod: ("%", PRODUCT), operator.matmul: ("@", PRODUCT), weighed: ("*", PRODUCT),
    weighed_in_place: ("*", PRODUCT), torch.add: ("+", SUM), torch.sub: ("-", SUM),
    torch.mul: ("*", PRODUCT), torch.div: ("/", PRODUCT), torch.matmul: ("@", PRODUCT),
}  # fmt: skip
_SIGNS_OF_METHODS = {
    "mul": ("*", PRODUCT), "add": ("+", SUM), "sub": ("-", SUM), "div": ("/", PRODUCT),
    "matmul": ("@", PRODUCT),
}  # fmt: skip
#: What gives the same values in place, or in less memory.
_ELSEWHERE: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.relu_: torch.relu, torch.sigmoid_: torch.sigmoid, torch.tanh_: torch.tanh,
    functional.relu_: functional.relu,
    attention: functional.scaled_dot_product_attention,
    attention_of_few: functional.scaled_dot_product_attention,
}  # fmt: skip


def shown(value: Any) -> str:
    """Return an argument as Python: tuples and lists of code as tuples."""
    if isinstance(value, tuple):
        inside = ", ".join(map(shown, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, slice):
        ends = ["" if end is None else shown(end) for end in (value.start, value.stop)]
        return ":".join(ends) if value.step is None else ":".join([*ends, shown(value.step)])
    if isinstance(value, str):
        return literal(value)
    return str(value)


def called(name: str, args: Args, kwargs: Kwargs) -> Code:
    """Return a call."""
    given = [*map(shown, args), *(f"{key}={shown(value)}" for key, value in kwargs.items())]
    return Code(f"{name}({', '.join(given)})")


def function(target: Callable[..., Any], args: Args, kwargs: Kwargs) -> Code:
    """Return the call of a function in plain torch.

    Raises:
        ComposerError: code ``no-plain-form``.
    """
    if target in _SIGNS and len(args) == 2 and not kwargs:
        sign, level = _SIGNS[target]
        return binary(args[0], sign, args[1], level)
    if target in _OURS:
        return _OURS[target](args, kwargs)
    target = _ELSEWHERE.get(target, target)
    return called(_torch_name(target), args, kwargs)


def method(name: str, args: Args, kwargs: Kwargs) -> Code:
    """Return the call of a tensor's method."""
    x, *rest = args
    if name in _SIGNS_OF_METHODS and len(rest) == 1 and not kwargs:
        sign, level = _SIGNS_OF_METHODS[name]
        return binary(x, sign, rest[0], level)
    if name == "permute":
        order = [int(str(axis)) for axis in rest]
        moved = [axis for axis, place in enumerate(order) if axis != place]
        if len(moved) == 2:
            name, rest = "transpose", [Code(str(axis)) for axis in moved]
    if name == "split_with_sizes":
        name = "split"
    if name == "size":
        return Code(f"{x.at(9)}.shape[{rest[0]}]")
    return called(f"{x.at(9)}.{name}", rest, kwargs)


def _torch_name(target: Callable[..., Any]) -> str:
    name = getattr(target, "__name__", "")
    for prefix, module in (("torch", torch), ("functional", functional),
                           ("torch.linalg", torch.linalg), ("torch.fft", torch.fft)):  # fmt: skip
        for word in (name, name.removeprefix("linalg_"), name.removeprefix("fft_")):
            if getattr(module, word, None) is target:
                return f"{prefix}.{word}"
    raise no_plain_form(f"{getattr(target, '__module__', '')}.{name}")


def _getitem(args: Args, _kwargs: Kwargs) -> Code:
    x, index = args
    parts = index if isinstance(index, tuple) else (index,)
    inside = ", ".join(map(shown, parts))
    return Code(f"{x.at(9)}[{inside}]")


def _over(axes: Sequence[Any]) -> Code:
    """Return the axes of a reduction: a single one without its tuple."""
    return Code(shown(axes[0] if len(axes) == 1 else axes))


def _mean_and_max(args: Args, _kwargs: Kwargs) -> Code:
    x, axes, at, mean_first = args
    over = _over(axes)
    both = [f"{x.at(9)}.mean({over})", f"{x.at(9)}.amax({over})"]
    pooled = both if str(mean_first) == "True" else both[::-1]
    return Code(f"torch.stack(({', '.join(pooled)}), {at})")


def _mean(args: Args, _kwargs: Kwargs) -> Code:
    x, axes = args
    return Code(f"{x.at(9)}.mean({shown(axes)})")


def _squares(args: Args, _kwargs: Kwargs) -> Code:
    x, axes = args
    over = _over(axes)
    return Code(f"({x.at(PRODUCT)} * {x.at(PRODUCT + 1)}).sum({over})")


def _weighed_total(args: Args, _kwargs: Kwargs) -> Code:
    x, by, axes = args
    over = _over(axes)
    return Code(f"({binary(x, '*', by, PRODUCT)}).sum({over})")


def _length(args: Args, _kwargs: Kwargs) -> Code:
    x, axes = args
    return called("torch.linalg.vector_norm", [x], {"dim": _over(axes)})


def _normalized(args: Args, _kwargs: Kwargs) -> Code:
    x, axes, eps = args
    given = {"dim": _over(axes)}
    return called(
        "functional.normalize", [x], given if float(str(eps)) == 1e-12 else {**given, "eps": eps}
    )


def _rfft(args: Args, _kwargs: Kwargs) -> Code:
    x, over = args
    spectrum = called("torch.fft.rfftn", [x], {"dim": over, "norm": "ortho"})
    return called("torch.view_as_real", [spectrum], {})


def _irfft(args: Args, _kwargs: Kwargs) -> Code:
    x, over, size = args
    sizes = (*(Code("-1") for _ in over[:-1]), size)
    return called("torch.fft.irfftn", [_complex(x)], {"s": sizes, "dim": over, "norm": "ortho"})


def _complex_mul(args: Args, _kwargs: Kwargs) -> Code:
    product = binary(_complex(args[0]), "*", _complex(args[1]), PRODUCT)
    return called("torch.view_as_real", [product], {})


def _complex(x: Code) -> Code:
    return called("torch.view_as_complex", [Code(f"{x.at(9)}.contiguous()")], {})


def _largest(args: Args, _kwargs: Kwargs) -> Code:
    x, axes = args
    return Code(f"{x.at(9)}.amax({_over(axes)})")


def _weighed_sum(args: Args, _kwargs: Kwargs) -> Code:
    pairs = zip(*args, strict=True)
    terms = [binary(x, "*", by, PRODUCT) for x, by in pairs]
    return Code(" + ".join(term.at(PRODUCT) for term in terms), SUM)


def _conv_of_each(args: Args, _kwargs: Kwargs) -> Code:
    x, kernel, stride, padding, dilation, groups = args
    if len(padding) > 2:
        raise no_plain_form("a convolution of volumes with one kernel per sample")
    name = {1: "conv1d", 2: "conv2d"}[len(padding)]
    count = f"{kernel.at(9)}.shape[0]"
    many = count if str(groups) == "1" else f"{count} * {groups.at(PRODUCT + 1)}"
    alike = shown(padding[0]) if len({str(one) for one in padding}) == 1 else shown(padding)
    one = x.text.removesuffix(".unsqueeze(0)")
    flat = f"{one}.flatten(0, 1).unsqueeze(0)"
    side_by_side = flat if one != x.text else f"{x.at(9)}.flatten(1, 2)"
    settings = {"stride": shown(stride), "padding": alike, "dilation": shown(dilation)}
    usual = {"stride": "1", "padding": "0", "dilation": "1"}
    given = {n: Code(v) for n, v in settings.items() if v != usual[n]} | {"groups": Code(many)}
    tensors = [Code(side_by_side), Code(f"{kernel.at(9)}.flatten(0, 1)")]
    made = called(f"functional.{name}", tensors, given)
    return Code(f"{made}.unflatten(1, {kernel.at(9)}.shape[:2])")


def _statistic(name: str) -> Written:
    def written(args: Args, _kwargs: Kwargs) -> Code:
        x, axes = args
        over = _over(axes)
        return Code(f"{x.at(9)}.{name}({over}, correction=0)")

    return written


def _weighed_windows(args: Args, _kwargs: Kwargs) -> Code:
    x, by, *numbers = args
    if len(numbers[0]) != 2:
        raise no_plain_form("windows of volumes or signals, each with its own weights")
    given = ", ".join([str(x), f"{by.at(9)}.shape[-4:-2]", *map(shown, numbers)])
    return Code(f"(unfold({given}) * {by.at(PRODUCT + 1)}).sum((-4, -3))")


def _row_conv1d(args: Args, _kwargs: Kwargs) -> Code:
    rows, weight, *bias = args
    given = ", ".join([f"{rows.at(9)}.unsqueeze(1)", str(weight), *map(str, bias)])
    return Code(f"functional.conv1d({given}, padding={weight.at(9)}.shape[2] // 2).squeeze(1)")


def _negative(args: Args, _kwargs: Kwargs) -> Code:
    return Code(f"-{args[0].at(SIGN)}", SIGN)


def _power(args: Args, _kwargs: Kwargs) -> Code:
    return power(args[0], args[1])


_OURS: dict[Any, Written] = {
    operator.getitem: _getitem, operator.neg: _negative, operator.pow: _power,
    mean: _mean, mean_and_max: _mean_and_max, largest: _largest, weighed_sum: _weighed_sum,
    squares: _squares, weighed_total: _weighed_total, length: _length, normalized: _normalized,
    rfft: _rfft, irfft: _irfft, complex_mul: _complex_mul,
    deviation: _statistic("std"), variance: _statistic("var"),
    weighed_windows: _weighed_windows, conv_of_each: _conv_of_each, row_conv1d: _row_conv1d,
    unfold: lambda args, kwargs: called("unfold", args, kwargs),
    fold: lambda args, kwargs: called("fold", args, kwargs),
    grid: lambda args, kwargs: called("grid", args, kwargs),
}  # fmt: skip
#: Which of these call a function that the file must define.
HELPERS = {unfold: "unfold", weighed_windows: "unfold", fold: "fold", grid: "grid"}
