"""The law of every primitive: axes, parameters and numbers, in any layout, extra axes riding along.

A row holds the nodes (the last one is probed), the input's axes, the axes of the result, a
reference in plain torch on positions, and the number of parameters from the sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probe import lowered, random, randomise, spec_text
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from composer.errors import ComposerError
from composer.graph.frontend import check_text, graph_of, load_spec
from composer.graph.graph import Settings
from composer.graph.passes import compile_graph
from composer.lower.build import lower
from composer.primitives import own_ops
from composer.primitives.activations import FUNCTIONS, OF_NUMBERS
from composer.primitives.structure import Structure
from composer.primitives.use import Use
from composer.testing import Case, check_op
from composer.testing.case import Sizes, Weights


@dataclass(frozen=True)
class Row(Case):
    """One use of a primitive; it has no parameters unless it counts them."""

    count: Callable[[Sizes], int] = lambda sizes: 0


MAP, FIVE = "b c h w", "b k c h w"


def slide(x: Tensor, weight: Tensor, axis: int) -> Tensor:
    """Return the sum of shifted copies of x, each times one weight."""
    half, x = weight.numel() // 2, x.movedim(axis, -1)
    padded = F.pad(x, (half, half))
    shifted = [w * padded[..., i : i + x.shape[-1]] for i, w in enumerate(weight.flatten())]
    return torch.stack(shifted).sum(0).movedim(-1, axis)


def each(x: Tensor, axis: int, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the function of every slice of x along an axis, side by side on the same axis."""
    return torch.stack([function(part) for part in x.unbind(axis)], axis)


def batch_norm(p: Weights, x: Tensor, axis: int) -> Tensor:
    """Return x normalised over all axes but one, by this batch's own statistics."""
    x = x.movedim(axis, -1)
    over = tuple(range(x.dim() - 1))
    mean, var = x.mean(over), x.var(over, unbiased=False)
    y = (x - mean) / (var + 1e-5).sqrt() * p["probe.norm.weight"] + p["probe.norm.bias"]
    return y.movedim(-1, axis)


def turned(x: Tensor, axis: int, kept: int | None = None, sign: int = -1) -> Tensor:
    """Return the first frequencies along an axis, by the definition of the transform."""
    count = x.shape[axis]
    angle = torch.outer(torch.arange(kept or count), torch.arange(count)).double() * (
        2 * math.pi / count
    )
    wave = torch.polar(torch.full_like(angle, count**-0.5), sign * angle.double())
    return torch.einsum("...n,kn->...k", x.movedim(axis, -1), wave).movedim(-1, axis)


def real(x: Tensor, axis: int, size: int) -> Tensor:
    """Return the values along an axis, of which x has the frequencies from zero on."""
    kept = x.shape[axis]
    angle = torch.outer(torch.arange(size), torch.arange(kept)).double() * (2 * math.pi / size)
    twice = torch.tensor([1.0 if k == 0 or 2 * k == size else 2.0 for k in range(kept)]).double()
    x = x.movedim(axis, -1)
    y = x.real @ (twice * angle.cos()).T - x.imag @ (twice * angle.sin()).T
    return (y / size**0.5).movedim(-1, axis)


def pairs(x: Tensor) -> Tensor:
    """Return the parts of complex numbers on a second axis."""
    return torch.stack([x.real, x.imag], 1)


def matrix(p: Weights, x: Tensor, layer: str = "probe.linear") -> Tensor:
    """Return a fully connected layer on the last axis."""
    y = torch.einsum("...i,oi->...o", x, p[f"{layer}.weight"])
    return y + p[f"{layer}.bias"] if f"{layer}.bias" in p else y


def grouped(p: Weights, x: Tensor, groups: int) -> Tensor:
    """Return the probe's fully connected layer on the last axis, group by group."""
    weights = p["probe.linear.weight"].squeeze(2).chunk(groups)
    parts = [y @ w.T for y, w in zip(x.chunk(groups, -1), weights, strict=True)]
    return torch.cat(parts, -1) + p.get("probe.linear.bias", 0)


def conv(p: Weights, x: Tensor, **options: int) -> Tensor:
    """Return the probe's convolution of [b, c, h, w]."""
    weight = p["probe.conv.weight"]
    same = options.get("dilation", 1) * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, p.get("probe.conv.bias"), padding=same, **options)


def conv1d(p: Weights, x: Tensor, **options: int) -> Tensor:
    """Return the probe's convolution of [b, c, n]."""
    weight = p["probe.conv.weight"]
    same = weight.shape[-1] // 2
    return F.conv1d(x, weight, p.get("probe.conv.bias"), padding=same, **options)


def layer_norm(p: Weights, x: Tensor, axis: int, eps: float = 1e-5) -> Tensor:
    """Return x normalised along one axis."""
    x = x.movedim(axis, -1)
    spread = (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
    y = (x - x.mean(-1, keepdim=True)) / spread * p["probe.norm.weight"] + p["probe.norm.bias"]
    return y.movedim(-1, axis)


def standard(x: Tensor, *over: int, eps: float = 1e-5, centred: bool = True) -> Tensor:
    """Return x divided by the deviation over some axes, or by the root of the mean square."""
    if centred:
        x = x - x.mean(over, keepdim=True)
    return x / (x.square().mean(over, keepdim=True) + eps).sqrt()


def scaled(p: Weights, x: Tensor, *axes: int) -> Tensor:
    """Return x times the probe's weight along some axes, and with its bias where it has one."""
    for name, function in (("weight", torch.mul), ("bias", torch.add)):
        if f"probe.norm.{name}" in p:
            learned = p[f"probe.norm.{name}"].reshape([x.shape[axis] for axis in axes])
            learned = learned.permute(sorted(range(len(axes)), key=axes.__getitem__))
            sizes = iter(learned.shape)
            shape = [next(sizes) if axis in axes else 1 for axis in range(x.dim())]
            x = function(x, learned.reshape(shape))
    return x


def in_groups(x: Tensor, groups: int, axis: int, *others: int) -> Tensor:
    """Return x normalised over each group of an axis, together with the others."""
    return torch.cat([standard(part, axis, *others) for part in x.chunk(groups, axis)], axis)


def windows(
    x: Tensor,
    kernel: int | tuple[int, int],
    stride: int | tuple[int, int],
    reduce: str = "mean",
    counted: bool = False,
) -> Tensor:
    """Return what each window of the last two axes comes to, cell by cell."""
    high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
    down, across = (stride, stride) if isinstance(stride, int) else stride

    def cell(i: int, j: int) -> Tensor:
        top = i * down - (high // 2 if high % 2 else 0)
        left = j * across - (wide // 2 if wide % 2 else 0)
        part = x[..., max(top, 0) : top + high, max(left, 0) : left + wide]
        if reduce == "max":
            return part.amax((-2, -1))
        return part.sum((-2, -1)) / (high * wide if counted else part.shape[-2] * part.shape[-1])

    height, width = (x.shape[-2] - 1) // down + 1, (x.shape[-1] - 1) // across + 1
    rows = [torch.stack([cell(i, j) for j in range(width)], -1) for i in range(height)]
    return torch.stack(rows, -2)


def shares(x: Tensor, axis: int, size: int, reduce: str = "mean") -> Tensor:
    """Return an axis at another size, each value made of its share, by torch's formula."""
    n, x = x.shape[axis], x.movedim(axis, 0)
    parts = [x[i * n // size : -((i + 1) * -n // size)] for i in range(size)]
    return torch.stack([getattr(part, reduce)(0) for part in parts]).movedim(0, axis)


def nearest(x: Tensor, height: int, width: int) -> Tensor:
    """Return the last two axes at other sizes, each value a copy of the one at its place."""
    rows = [i * x.shape[-2] // height for i in range(height)]
    return x[..., rows, :][..., [j * x.shape[-1] // width for j in range(width)]]


def by_sample(x: Tensor, kernels: Tensor, **options: int) -> Tensor:
    """Return each sample's convolution by a kernel of its own, padded to keep the size."""
    same = tuple(options.get("dilation", 1) * (k // 2) for k in kernels.shape[-2:])
    return torch.cat([
        F.conv2d(one[None], kernel, padding=same, **options)
        for one, kernel in zip(x, kernels, strict=True)
    ])  # fmt: skip


def mixed(p: Weights, x: Tensor, *sizes: int) -> Tensor:
    """Return a sum of learned kernels of these sizes for each sample, weighed by its route."""
    kernels = p["kernels"].unflatten(1, sizes)
    return torch.einsum("bn,noixy->boixy", matrix(p, x, "route.linear"), kernels)


def around(
    x: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """Return [..., *kernel, rows, columns]: each window of the last two axes, value by value."""
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    rows, columns = (
        range(0, n - d * (k - 1), s)
        for n, k, s, d in zip(x.shape[-2:], kernel, stride, dilation, strict=True)
    )
    windows = [
        x[..., i : i + dilation[0] * (kernel[0] - 1) + 1 : dilation[0],
          j : j + dilation[1] * (kernel[1] - 1) + 1 : dilation[1]]
        for i in rows for j in columns
    ]  # fmt: skip
    return torch.stack(windows, -1).unflatten(-1, (len(rows), len(columns)))


def added(
    windows: Tensor,
    like: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """Return the sum of windows [..., *kernel, rows, columns] at each place of the last two axes.

    It is the transpose of `around`, whose matrix is read off the places of one map.
    """
    places = torch.arange(1.0, like.shape[-2:].numel() + 1, dtype=like.dtype)
    kernel = (windows.shape[-4], windows.shape[-3])
    sources = around(places.view(like.shape[-2:]), kernel, stride, padding, dilation)
    matrix = (sources.flatten()[:, None] == places).to(like.dtype)
    return (windows.flatten(-4) @ matrix).unflatten(-1, like.shape[-2:])


def zeros_after(x: Tensor, axis: int, size: int) -> Tensor:
    """Return x with zeros after its values along an axis."""
    shape = list(x.shape)
    shape[axis] = size - shape[axis]
    return torch.cat([x, x.new_zeros(shape)], axis)


def moved_on(x: Tensor, axis: int, by: int) -> Tensor:
    """Return x with each value `by` places further along an axis, around the end."""
    n = x.shape[axis]
    return torch.stack([x.select(axis, (i - by) % n) for i in range(n)], axis)


ROUTE = """squeeze: {op: pool, over: [h, w]}
        route: {op: linear, over: c, out: {n: 2}}"""
MIX = "kernel: {op: reweight, x: kernels, by: route, sum: n}"


def attend(q: Tensor, k: Tensor, v: Tensor, more: Tensor | float = 0.0) -> Tensor:
    """Return softmax(q k / √d + more) v of [..., tokens, features]."""
    logits = torch.einsum("...qd,...kd->...qk", q, k) / q.shape[-1] ** 0.5 + more
    weights = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return torch.einsum("...qk,...kd->...qd", weights, v)


def softmax_of(logits: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the softmax over some axes."""
    return logits.exp() / logits.exp().sum(axes, keepdim=True)


def masked_rows(x: Tensor) -> Tensor:
    """Return the attention of rows of relu(x) to rows of their mean over k, where both are > 0."""
    rows = x.clamp(min=0).mean((1, 2, 4))
    seen = (rows[:, :, None] + rows[:, None]) != 0
    logits = torch.einsum("bkchw,bcmw->bkwhm", x.clamp(min=0), x.mean(1)) / x.shape[2] ** 0.5
    weights = logits.exp() * seen[:, None, None]
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.einsum("bkwhm,bkcmw->bkchw", weights.nan_to_num(), x)


def distances(p: Weights, q: Tensor, height: int, width: int) -> Tensor:
    """Return q (r_h + r_w) of [..., tokens, features], one pair of tokens after the other."""
    places = [(i, j) for i in range(height) for j in range(width)]
    logits = q.new_zeros(*q.shape[:-1], len(places))
    for one, (i, j) in enumerate(places):
        for other, (there, across) in enumerate(places):
            r = p["probe.height"][there - i + height - 1] + p["probe.width"][across - j + width - 1]
            logits[..., one, other] = q[..., one, :] @ r
    return logits


def on_map(x: Tensor, scaled: bool, p: Weights) -> Tensor:
    """Return the attention of [..., height, width, features] to itself, with positions."""
    height, width, features = x.shape[-3:]
    tokens = x.flatten(-3, -2)
    more = distances(p, tokens, height, width) * (features**-0.5 if scaled else 1)
    return attend(tokens, tokens, tokens, more).unflatten(-2, (height, width))


ROWS = [
    # ------------------------------------------------------------------------------- arithmetic
    Row("add", """other: {op: pool, over: [h, w]}
        probe: {op: add, of: [other, input]}""", MAP, MAP,
        lambda p, x: x.mean((2, 3), keepdim=True) + x),
    Row("sub", """other: {op: pool, x: input, over: c}
        probe: {op: sub, of: [other, input]}""", MAP, MAP,
        lambda p, x: x.mean(1, keepdim=True) - x),
    Row("mul", """rows: {op: pool, x: input, over: [c, w]}
        columns: {op: pool, x: input, over: [c, h]}
        depth: {op: pool, x: input, over: [h, w], reduce: max}
        probe: {op: mul, of: [columns, depth, rows]}""", MAP, MAP,
        lambda p, x: torch.einsum("bw,bc,bh->bchw", x.mean((1, 2)), x.amax((2, 3)), x.mean((1, 3)))
        ),
    Row("div", """scale: {op: parameter, axes: {}, init: 2}
        probe: {op: div, of: [input, scale]}""", MAP, MAP,
        lambda p, x: x / p["scale"], lambda s: 1),
    Row("mul", """scale: {op: parameter, axes: {w: w, c: c}, init: 2}
        probe: {op: mul, of: [scale, input]}""", MAP, MAP,
        lambda p, x: torch.einsum("bchw,wc->bchw", x, p["scale"]), lambda s: s["c"] * s["w"]),
    Row("add", """var: {op: pool, over: [h, w]}
        probe: {op: add, of: [var, 1e-5]}""", MAP, "b c", lambda p, x: x.mean((2, 3)) + 1e-5),
    Row("sub", "probe: {op: sub, of: [1, input]}", FIVE, FIVE, lambda p, x: 1 - x),
    Row("mul", "probe: {op: mul, of: [2, c - 1, input, h / w]}", MAP, MAP,
        lambda p, x: 2 * (x.shape[1] - 1) * x * (x.shape[2] / x.shape[3])),
    Row("div", """h: {op: pool, over: w, reduce: max}
        probe: {op: div, of: [input, h]}""", MAP, MAP,
        lambda p, x: x / x.amax(3, keepdim=True)),  # the node, for the name is also a size's
    Row("div", """h: {op: pool, over: w, reduce: max}
        probe: {op: div, of: ["w if 1 > 2 else h", "sqrt(h) * (c if h > w else 3)"]}""", MAP,
        "b c h", lambda p, x: x.amax(3) / x.shape[2] ** 0.5 / (
            x.shape[1] if x.shape[2] > x.shape[3] else 3)),
    # ------------------------------------------------------------------------------------ apply
    Row("apply", "probe: {op: apply, fn: square}", MAP, MAP, lambda p, x: x * x),
    Row("apply", "probe: {op: apply, fn: pow, exponent: 3}", FIVE, FIVE, lambda p, x: x * x * x),
    Row("apply", "probe: {op: apply, fn: clamp, low: -1 / h, high: 0.5}", MAP, MAP,
        lambda p, x: x.where(x < 0.5, 0.5).where(x > -1 / x.shape[2], -1 / x.shape[2])),
    Row("apply", "probe: {op: apply, fn: clamp, high: 1 / c}", MAP, MAP,
        lambda p, x: x.where(x < 1 / x.shape[1], 1 / x.shape[1])),
    Row("apply", """flat: {op: pool, over: [h, w]}
        probe: {op: apply, fn: leaky_relu, slope: 0.3}""", MAP, "b c",
        lambda p, x: x.mean((2, 3)).clamp(min=0) + 0.3 * x.mean((2, 3)).clamp(max=0)),
    Row("apply", "probe: {op: apply, fn: elu, alpha: 0.7}", MAP, MAP,
        lambda p, x: x.clamp(min=0) + 0.7 * (x.clamp(max=0).exp() - 1)),
    # -------------------------------------------------------------------------------- attention
    Row("attention", "probe: {op: attention, q: input, k: input, v: input, over: h, along: c}",
        MAP, MAP, lambda p, x: attend(*3 * [x.permute(0, 3, 2, 1)]).permute(0, 3, 2, 1)),
    Row("attention", "probe: {op: attention, q: input, k: input, v: input, over: c, along: b}",
        "b c", "b c", lambda p, x: attend(x.T, x.T, x.T).T),
    Row("attention", """qkv: {op: linear, over: c, out: {part: 3, g: 2, d: 3}}
        q: {op: pick, x: qkv, axis: part, index: 0}
        k: {op: pick, x: qkv, axis: part, index: 1}
        v: {op: pick, x: qkv, axis: part, index: 2}
        probe: {op: attention, q: q, k: k, v: v, over: [h, w], along: d}""", MAP, "b g=2 d=3 h w",
        lambda p, x: attend(*matrix(p, x.movedim(1, -1), "qkv.linear").unflatten(3, (3, 2, 3))
        .permute(3, 0, 4, 1, 2, 5).flatten(3, 4)).mT.unflatten(3, x.shape[2:]),
        lambda s: 18 * s["c"] + 18),
    Row("attention", """values: {op: linear, over: c, out: 5, bias: false}
        probe: {op: attention, q: input, k: input, v: values, over: [w, k, h], along: c}""",
        FIVE, "b k c=5 h w",
        lambda p, x: attend(*2 * [x.permute(0, 4, 1, 3, 2).flatten(1, 3)], matrix(
            p, x.movedim(2, -1), "values.linear").permute(0, 3, 1, 2, 4).flatten(1, 3))
        .unflatten(1, [x.shape[i] for i in (4, 1, 3)]).permute(0, 2, 4, 3, 1),
        lambda s: 5 * s["c"]),
    Row("attention", """probe: {op: attention, q: input, k: input, v: input, over: [h, w],
        along: c, position: relative}""".replace("\n", " "), FIVE, FIVE,
        lambda p, x: on_map(x.movedim(2, -1), True, p).movedim(-1, 2),
        lambda s: (2 * s["h"] + 2 * s["w"] - 2) * s["c"]),
    Row("attention", """probe: {op: attention, q: input, k: input, v: input, over: [w, h],
        along: c, position: relative, scale_position: false}""".replace("\n", " "), MAP, MAP,
        lambda p, x: on_map(x.permute(0, 3, 2, 1), False, p).permute(0, 3, 2, 1),
        lambda s: (2 * s["h"] + 2 * s["w"] - 2) * s["c"]),
    Row("attention", """rows: {op: pool, over: h}
        keys: {op: merge, axes: w, into: m}
        probe: {op: attention, q: input, k: keys, v: keys, over: [h, w], keys: m, along: c}""",
        MAP, MAP, lambda p, x: attend(
            x.flatten(2).mT, x.mean(2).mT, x.mean(2).mT).mT.unflatten(2, x.shape[2:])),
    Row("attention", """wide: {op: linear, over: c, out: {e: 2, f: 3}, bias: false}
        bias: {op: parameter, axes: {k: k, w: w, mw: w}, init: 1}
        probe: {op: attention, q: input, k: input, v: wide, over: [h, w], keys: [mh, mw],
         along: c, bias: bias, scale: 0.25}""".replace("\n         ", " "), FIVE,
        "b e=2 f=3 k h w", lambda p, x: torch.einsum(
            "bkhwyx,bkyxef->befkhw", softmax_of(
                torch.einsum("bkchw,bkcyx->bkhwyx", x, x) / 4 + p["bias"][:, None, :, None],
                (-2, -1)),
            matrix(p, x.movedim(2, -1), "wide.linear").unflatten(-1, (2, 3))),
        lambda s: 6 * s["c"] + s["k"] * s["w"] ** 2),
    Row("attention", """learned: {op: parameter, axes: {n: 3, c: c}, init: 1}
        flat: {op: pool, x: input, over: c}
        probe: {op: attention, q: learned, k: input, v: flat, over: n, keys: [w, h],
         along: c, scale: 1 / c}""".replace("\n         ", " "), MAP, "b n=3",
        lambda p, x: torch.einsum("bnhw,bhw->bn", softmax_of(torch.einsum(
            "nc,bchw->bnhw", p["learned"], x) / x.shape[1], (-2, -1)), x.mean(1)),
        lambda s: 3 * s["c"], batch_first=True),
    Row("attention", """one: {op: pool, over: k}
        near: {op: gate, x: input, fn: relu}
        rows: {op: pool, x: near, over: [k, w, c]}
        keys: {op: merge, axes: h, into: m}
        mask: {op: add, of: [rows, keys]}
        probe: {op: attention, q: near, k: one, v: input, over: h, keys: m, along: c,
         mask: mask}""".replace("\n         ", " "), FIVE, FIVE,
        lambda p, x: masked_rows(x)),
    # --------------------------------------------------------------------------------- constant
    Row("constant", 'probe: {op: constant, axes: {y: 3, r: 5, k: 3}, '
        'value: "1 if r == y - k + 2 else 0"}', MAP, "y=3 r=5 k=3",
        lambda p, x: torch.tensor([[[float(r == y - k + 2) for k in range(3)] for r in range(5)]
                                   for y in range(3)], dtype=x.dtype)),
    Row("constant", 'probe: {op: constant, axes: {c: c, m: 3}, value: "sin(c / 10 ** m) + h / w"}',
        MAP, "m=3 c", lambda p, x: torch.tensor(
            [[math.sin(c / 10**m) + x.shape[2] / x.shape[3] for c in range(x.shape[1])]
             for m in range(3)], dtype=x.dtype)),
    Row("constant", "probe: {op: constant, axes: {}, value: pi / 3}", MAP, "",
        lambda p, x: torch.tensor(math.pi / 3, dtype=x.dtype)),
    Row("constant", 'probe: {op: constant, axes: {h: h, w: w}, value: "-max(h, w) // 3 % 4"}',
        MAP, "h w", lambda p, x: torch.tensor(
            [[-max(h, w) // 3 % 4 for w in range(x.shape[3])] for h in range(x.shape[2])],
            dtype=x.dtype)),
    Row("constant", """table: {op: constant, axes: {w: w, n: 2}, value: n < w}
        probe: {op: mul, of: [input, table]}""", MAP, "b n=2 c h w",
        lambda p, x: torch.stack([
            torch.stack([x[..., w] * (n < w) for w in range(x.shape[3])], -1)
            for n in range(2)], 1)),
    # -------------------------------------------------------------------------------------- concat
    Row("concat", """part: {op: linear, over: c, out: 3}
        probe: {op: concat, of: [part, input, part], axis: c}""", FIVE, "b k c=c+6 h w",
        lambda p, x: torch.cat([
            y := matrix(p, x.movedim(2, -1), "part.linear").movedim(-1, 2), x, y], 2),
        lambda s: 3 * s["c"] + 3),
    Row("concat", """one, two: {op: chunk, axis: c}
        probe: {op: concat, of: [two, one], axis: c}""", MAP, MAP,
        lambda p, x: x.roll(x.shape[1] // 2, 1)),
    Row("concat", """one, two: {op: chunk, axis: c, sizes: [1, c - 1]}
        three: {op: merge, x: two, axes: [h, w], into: w}
        probe: {op: concat, of: [three, three], axis: w}""", FIVE, "b k c=c-1 w=2*h*w",
        lambda p, x: x[:, :, 1:].flatten(3).repeat(1, 1, 1, 2)),
    Row("concat", """twice: {op: concat, of: [input, input], axis: h}
        one, two: {op: chunk, axis: h, sizes: [1, 2 * h - 1]}
        probe: {op: concat, of: [two, input, one], axis: h}""", MAP, "b c h=3*h w",
        lambda p, x: torch.cat([x[:, :, 1:], x, x, x[:, :, :1]], 2)),
    Row("concat", "probe: {op: concat, of: [input], axis: c}", MAP, MAP, lambda p, x: x),
    # ----------------------------------------------------------------------------------- conv1d
    Row("conv1d", "probe: {op: conv1d, along: c, kernel: 3}", "b c", "b c",
        lambda p, x: slide(x, p["probe.conv.weight"], 1) + p["probe.conv.bias"], lambda s: 4),
    Row("conv1d", "probe: {op: conv1d, along: c, kernel: 5, bias: false}", FIVE, FIVE,
        lambda p, x: slide(x, p["probe.conv.weight"], 2), lambda s: 5),
    Row("conv1d", "probe: {op: conv1d, along: w, kernel: 1, bias: false}", MAP, MAP,
        lambda p, x: x * p["probe.conv.weight"], lambda s: 1),
    Row("conv1d", """learned: {op: parameter, axes: {c: c}, init: 1}
        probe: {op: conv1d, along: c, kernel: 3, bias: false}""", MAP, "c",
        lambda p, x: slide(p["learned"], p["probe.conv.weight"], 0), lambda s: s["c"] + 3),
    # ----------------------------------------------------------------------------------- conv2d
    Row("conv2d", "probe: {op: conv2d, kernel: 3}", MAP, MAP, conv,
        lambda s: 9 * s["c"] ** 2 + s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: 5, stride: 2, dilation: 2, groups: 2, out: 6}",
        MAP, "b c=6 h=(h-1)//2+1 w=(w-1)//2+1",
        lambda p, x: conv(p, x, stride=2, dilation=2, groups=2),
        lambda s: 25 * s["c"] * 3 + 6),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, stride: 3, groups: c, bias: false}",
        FIVE, "b k c h=(h-1)//3+1 w=(w-1)//3+1",
        lambda p, x: each(x, 1, lambda y: conv(p, y, stride=3, groups=y.shape[1])),
        lambda s: 9 * s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, dilation: 2, out: {m: 2, d: 3}, groups: 2}",
        FIVE, "b m=2 d=3 k h w",
        lambda p, x: each(x, 1, lambda y: conv(p, y, dilation=2, groups=2))
        .unflatten(2, (2, 3)).permute(0, 2, 3, 1, 4, 5),
        lambda s: 9 * s["c"] * 3 + 6),
    Row("conv2d", "probe: {op: conv2d, kernel: 1, out: {}}", FIVE, "b k h w",
        lambda p, x: each(x, 1, lambda y: conv(p, y)[:, 0]), lambda s: s["c"] + 1),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, out: {}, norm: batch}", FIVE, "b k h w",
        lambda p, x: batch_norm(p, each(x, 1, lambda y: conv(p, y)), 2)[:, :, 0],
        lambda s: 9 * s["c"] + 2),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, norm: batch, act: relu, out: 2 * c}",
        FIVE, "b k c=2*c h w",
        lambda p, x: batch_norm(p, each(x, 1, lambda y: conv(p, y)), 2).clamp(min=0),
        lambda s: 18 * s["c"] ** 2 + 4 * s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, over: [w, h], norm: batch, bias: true}", MAP, MAP,
        lambda p, x: batch_norm(p, conv(p, x.mT).mT, 1), lambda s: 9 * s["c"] ** 2 + 3 * s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, over: [c, h], channels: k}", FIVE, FIVE,
        lambda p, x: each(x, 4, lambda y: conv(p, y)), lambda s: 9 * s["k"] ** 2 + s["k"]),
    Row("conv2d", """flat: {op: pool, over: c}
        probe: {op: conv2d, kernel: 3, out: 2}""", MAP, "b c=2 h w",
        lambda p, x: conv(p, x.mean(1, keepdim=True)), lambda s: 20),
    Row("conv2d", """learned: {op: parameter, axes: {c: c, h: h, w: w}, init: 1}
        probe: {op: conv2d, kernel: 3, out: {}}""", MAP, "h w",
        lambda p, x: conv(p, p["learned"][None])[0, 0],
        lambda s: s["c"] * s["h"] * s["w"] + 9 * s["c"] + 1),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, padding: 2, bias: false}", MAP,
        "b c h=h+2 w=w+2",
        lambda p, x: F.conv2d(x, p["probe.conv.weight"], padding=2), lambda s: 9 * s["c"] ** 2),
    Row("conv2d", "probe: {op: conv2d, kernel: 4, padding: 4, stride: 2, dilation: 2, bias: false}",
        MAP, "b c h=(h+1)//2+1 w=(w+1)//2+1",
        lambda p, x: F.conv2d(x, p["probe.conv.weight"], padding=4, stride=2, dilation=2),
        lambda s: 16 * s["c"] ** 2),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, padding: 1, stride: 2, groups: c, bias: false}",
        MAP, "b c h=(h-1)//2+1 w=(w-1)//2+1",
        lambda p, x: conv(p, x, stride=2, groups=x.shape[1]), lambda s: 9 * s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: [1, 7], groups: c, bias: false}", FIVE, FIVE,
        lambda p, x: each(x, 1, lambda y: F.conv2d(
            y, p["probe.conv.weight"], padding=(0, 3), groups=y.shape[1])), lambda s: 7 * s["c"]),
    Row("conv2d", "probe: {op: conv2d, over: [w, h], kernel: [5, 3], stride: [1, 2], dilation: "
        "[1, 2], bias: false}", MAP, "b c h=(h-1)//2+1 w",
        lambda p, x: F.conv2d(x.mT, p["probe.conv.weight"], stride=(1, 2), padding=(2, 2),
                              dilation=(1, 2)).mT, lambda s: 15 * s["c"] ** 2),
    Row("conv2d", "probe: {op: conv2d, over: h, kernel: 3, out: 2}", MAP, "b c=2 h w",
        lambda p, x: each(x, 3, lambda y: conv1d(p, y)), lambda s: 6 * s["c"] + 2),
    Row("conv2d", "probe: {op: conv2d, over: w, kernel: 5, stride: 2, groups: c, norm: batch, "
        "act: relu}", FIVE, "b k c h w=(w-1)//2+1",
        lambda p, x: batch_norm(p, each(x, 1, lambda y: each(y, 2, lambda row: conv1d(
            p, row, stride=2, groups=row.shape[1]))), 2).clamp(min=0), lambda s: 7 * s["c"]),
    Row("conv2d", """rows: {op: pool, over: w}
        probe: {op: conv2d, over: h, kernel: 3, norm: batch}""", MAP, "b c h",
        lambda p, x: batch_norm(p, conv1d(p, x.mean(3)), 1),
        lambda s: 3 * s["c"] ** 2 + 2 * s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: [2, 1], padding: [1, 0], out: 3}", MAP,
        "b c=3 h=h+1 w",
        lambda p, x: F.conv2d(x, p["probe.conv.weight"], p["probe.conv.bias"], padding=(1, 0)),
        lambda s: 6 * s["c"] + 3),
    Row("conv2d", "probe: {op: conv2d, kernel: [3, 5], padding: 2, norm: batch, act: relu}", MAP,
        "b c h=h+2 w",
        lambda p, x: batch_norm(p, F.conv2d(x, p["probe.conv.weight"], padding=2), 1)
        .clamp(min=0), lambda s: 15 * s["c"] ** 2 + 2 * s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: 7, dilation: 3, groups: c, out: 2 * c}", FIVE,
        "b k c=2*c h w",  # as in arXiv:2202.09741, with two filters for each channel
        lambda p, x: each(x, 1, lambda y: conv(p, y, dilation=3, groups=y.shape[1])),
        lambda s: 100 * s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, norm: layer, act: relu}", FIVE, FIVE,
        lambda p, x: scaled(p, standard(each(x, 1, lambda y: conv(p, y)), 2), 2).clamp(min=0),
        lambda s: 9 * s["c"] ** 2 + 2 * s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: 1, out: {m: 2, d: 3}, norm: {fn: group, groups: 2}}",
        FIVE, "b m=2 d=3 k h w",
        lambda p, x: scaled(p, in_groups(each(x, 1, lambda y: conv(p, y)), 2, 2, 3, 4), 2)
        .unflatten(2, (2, 3)).permute(0, 2, 3, 1, 4, 5), lambda s: 6 * s["c"] + 12),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, over: [w, h], padding: 2, norm: "
        "{fn: instance, affine: true, eps: 0.1}}", MAP, "b c h=h+2 w=w+2",
        lambda p, x: scaled(p, standard(
            F.conv2d(x.mT, p["probe.conv.weight"], padding=2).mT, 2, 3, eps=0.1), 1),
        lambda s: 9 * s["c"] ** 2 + 2 * s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: 3, bias: true, norm: instance, act: relu}", FIVE,
        FIVE, lambda p, x: standard(each(x, 1, lambda y: conv(p, y)), 3, 4).clamp(min=0),
        lambda s: 9 * s["c"] ** 2 + s["c"]),
    Row("conv2d", "probe: {op: conv2d, kernel: 1, norm: rms}", MAP, MAP,
        lambda p, x: scaled(p, standard(conv(p, x), 1, centred=False), 1),
        lambda s: s["c"] ** 2 + s["c"]),
    # ------------------------------------------------------------- conv2d whose kernel is a value
    Row("conv2d", """kernel: {op: parameter, axes: {kw: 1, o: 4, kh: 3, i: c / 2}, init: 1}
        probe: {op: conv2d, x: input, weight: kernel, groups: 2, stride: 2, act: relu}""",
        FIVE, "b k c=4 h=(h-1)//2+1 w=(w-1)//2+1",
        lambda p, x: each(x, 1, lambda y: F.conv2d(
            y, p["kernel"].reshape(1, 4, 3, -1).permute(1, 3, 2, 0), stride=2, groups=2,
            padding=(1, 0))).clamp(min=0),
        lambda s: 6 * s["c"], batch_first=True),
    Row("conv2d", f"""{ROUTE}
        kernels: {{op: parameter, axes: {{n: 2, o: 6, i: c / 2, kh: 3, kw: 5}}, init: 1}}
        {MIX}
        probe: {{op: conv2d, x: input, weight: kernel, groups: 2, stride: 2}}""",
        MAP, "b c=6 h=(h-1)//2+1 w=(w-1)//2+1",
        lambda p, x: by_sample(x, mixed(p, x.mean((2, 3)), 6, -1, 3, 5), groups=2,
                                stride=2),
        lambda s: 2 * s["c"] + 2 + 90 * s["c"], batch_first=True),
    Row("conv2d", f"""{ROUTE}
        kernels: {{op: parameter, axes: {{n: 2, o: 3, i: c, kh: 1, kw: 1}}, init: 1}}
        {MIX}
        probe: {{op: conv2d, x: input, weight: kernel, stride: 2}}""",
        MAP, "b c=3 h=(h-1)//2+1 w=(w-1)//2+1",
        lambda p, x: by_sample(x, mixed(p, x.mean((2, 3)), 3, -1, 1, 1), stride=2),
        lambda s: 8 * s["c"] + 2, batch_first=True),
    Row("conv2d", f"""flat: {{op: pool, over: k}}
        {ROUTE}
        kernels: {{op: parameter, axes: {{n: 2, o: 3, i: c, kh: 1, kw: 1}}, init: 1}}
        {MIX}
        probe: {{op: conv2d, x: input, weight: kernel}}""", FIVE, "b k c=3 h w",
        lambda p, x: each(x, 1, lambda y: by_sample(
            y, mixed(p, x.mean((1, 3, 4)), 3, -1, 1, 1))),
        lambda s: 8 * s["c"] + 2, batch_first=True),
    Row("conv2d", f"""flat: {{op: pool, over: k}}
        {ROUTE}
        kernels: {{op: parameter, axes: {{n: 2, kh: 3, o: 2, i: c, kw: 3}}, init: 1}}
        {MIX}
        probe: {{op: conv2d, x: input, weight: kernel, dilation: 2}}""", FIVE, "b k c=2 h w",
        lambda p, x: each(x, 1, lambda y: by_sample(y, torch.einsum(
            "bn,nxoiy->boixy", matrix(p, x.mean((1, 3, 4)), "route.linear"),
            p["kernels"].unflatten(1, (3, 2, -1, 3))), dilation=2)),
        lambda s: 38 * s["c"] + 2, batch_first=True),
    Row("conv2d", f"""{ROUTE}
        kernels: {{op: parameter, axes: {{n: 2, o: 3, i: c, kh: 1, kw: 1}}, init: 1}}
        {MIX}
        probe: {{op: conv2d, x: input, weight: kernel, stride: [1, 2]}}""",
        MAP, "b c=3 h w=(w-1)//2+1",
        lambda p, x: by_sample(x[..., ::2], mixed(p, x.mean((2, 3)), 3, -1, 1, 1)),
        lambda s: 8 * s["c"] + 2, batch_first=True),
    Row("conv2d", f"""{ROUTE}
        kernels: {{op: parameter, axes: {{n: 2, o: 2, i: c, kh: 3, kw: 3}}, init: 1}}
        {MIX}
        probe: {{op: conv2d, x: input, weight: kernel, dilation: [2, 1], stride: [2, 1],
         padding: [2, 1]}}""".replace("\n         ", " "), MAP, "b c=2 h=(h-1)//2+1 w",
        lambda p, x: torch.cat([
            F.conv2d(one[None], kernel, stride=(2, 1), padding=(2, 1), dilation=(2, 1))
            for one, kernel in zip(x, mixed(p, x.mean((2, 3)), 2, -1, 3, 3), strict=True)]),
        lambda s: 38 * s["c"] + 2, batch_first=True),
    # ------------------------------------------------------------------------------------- dropout
    Row("dropout", "probe: {op: dropout, p: 0}", FIVE, FIVE, lambda p, x: x),
    Row("dropout", "probe: {op: dropout, p: 1}", MAP, MAP, lambda p, x: torch.zeros_like(x)),
    Row("dropout", "probe: {op: dropout, p: 1, share: [h, w]}", FIVE, FIVE,
        lambda p, x: torch.zeros_like(x)),
    # ---------------------------------------------------------------------------------------- flip
    Row("flip", "probe: {op: flip, over: w}", MAP, MAP,
        lambda p, x: torch.stack(x.unbind(3)[::-1], 3)),
    Row("flip", "probe: {op: flip, over: [w, k]}", FIVE, FIVE,
        lambda p, x: torch.stack(torch.stack(x.unbind(4)[::-1], 4).unbind(1)[::-1], 1)),
    # ---------------------------------------------------------------------------------------- fold
    Row("fold", """near: {op: unfold, over: [h, w], kernel: 3, into: [m, n]}
        probe: {op: fold, axes: [m, n], over: [h, w], like: input}""", MAP, MAP,
        lambda p, x: added(around(x, (3, 3), (1, 1), (1, 1), (1, 1)), x, (1, 1), (1, 1), (1, 1))),
    Row("fold", """near: {op: unfold, over: [w, k], kernel: [3, 2], stride: [2, 1],
        padding: [2, 1], dilation: [2, 1], into: [m, n]}
        probe: {op: fold, axes: [m, n], over: [w, k], like: input, stride: [2, 1],
        padding: [2, 1], dilation: [2, 1]}""".replace(",\n", ","), FIVE, FIVE,
        lambda p, x: added(
            around(y := x.permute(0, 2, 3, 4, 1), (3, 2), (2, 1), (2, 1), (2, 1)), y,
            (2, 1), (2, 1), (2, 1)).permute(0, 4, 1, 2, 3)),
    Row("fold", """learned: {op: parameter, axes: {w: w, m: 3}, init: 1}
        probe: {op: fold, axes: m, over: w, like: input}""", MAP, "w",
        lambda p, x: added(
            p["learned"].T[None, :, None], x.new_zeros(1, x.shape[3]),
            (1, 1), (0, 1), (1, 1))[0], lambda s: 3 * s["w"]),
    # ------------------------------------------------------------------------------------- gate
    Row("gate", "probe: {op: gate}", MAP, MAP, lambda p, x: 1 / (1 + (-x).exp())),
    Row("gate", "probe: {op: gate, fn: hard_sigmoid}", MAP, MAP,
        lambda p, x: (x + 3).clamp(0, 6) / 6),
    Row("gate", "probe: {op: gate, fn: softmax, over: k}", FIVE, FIVE,
        lambda p, x: x.exp() / x.exp().sum(1, keepdim=True)),
    Row("gate", """both: {op: stack, of: [input, input], axis: k}
        probe: {op: gate, fn: softmax, over: k}""", MAP, "b k=2 c h w",
        lambda p, x: torch.full((len(x), 2, *x.shape[1:]), 0.5, dtype=x.dtype)),
    Row("gate", "probe: {op: gate, fn: softmax, over: [h, w]}", FIVE, FIVE,
        lambda p, x: x.exp() / x.exp().sum((3, 4), keepdim=True)),
    Row("gate", "probe: {op: gate, fn: softmax, over: [w, k, c]}", FIVE, FIVE,
        lambda p, x: x.exp() / x.exp().sum((1, 2, 4), keepdim=True)),
    # ----------------------------------------------------------------------------------- linear
    Row("linear", """squeeze: {op: pool, over: [h, w]}
        probe: {op: linear, over: c}""", MAP, "b c",
        lambda p, x: matrix(p, x.mean((2, 3))), lambda s: s["c"] ** 2 + s["c"]),
    Row("linear", "probe: {op: linear, over: c, out: 3, bias: false}", MAP, "b c=3 h w",
        lambda p, x: matrix(p, x.movedim(1, -1)).movedim(-1, 1), lambda s: 3 * s["c"]),
    Row("linear", "probe: {op: linear, over: h, act: gelu}", FIVE, FIVE,
        lambda p, x: F.gelu(matrix(p, x.mT).mT), lambda s: s["h"] ** 2 + s["h"]),
    Row("linear", "probe: {op: linear, over: c, norm: batch, act: relu, out: 5}", FIVE,
        "b k c=5 h w",
        lambda p, x: batch_norm(p, matrix(p, x.movedim(2, -1)), -1).clamp(min=0).movedim(-1, 2),
        lambda s: 5 * s["c"] + 10),
    Row("linear", """squeeze: {op: pool, over: [h, w]}
        probe: {op: linear, over: c, out: {m: 2, c: c}}""", MAP, "b m=2 c",
        lambda p, x: matrix(p, x.mean((2, 3))).unflatten(1, (2, -1)),
        lambda s: 2 * s["c"] ** 2 + 2 * s["c"]),
    Row("linear", "probe: {op: linear, over: c, out: {}, norm: batch}", MAP, "b h w",
        lambda p, x: batch_norm(p, matrix(p, x.movedim(1, -1)), -1)[..., 0],
        lambda s: s["c"] + 2),
    Row("linear", """learned: {op: parameter, axes: {c: c}, init: 1}
        probe: {op: linear, over: c, out: {m: 2, d: 2}}""", MAP, "m=2 d=2",
        lambda p, x: matrix(p, p["learned"]).view(2, 2), lambda s: s["c"] + 4 * s["c"] + 4),
    Row("linear", "probe: {op: linear, over: c, groups: 2, out: 4, norm: batch, bias: true}",
        FIVE, "b k c=4 h w",
        lambda p, x: batch_norm(p, grouped(p, x.movedim(2, -1), 2), -1).movedim(-1, 2),
        lambda s: 2 * s["c"] + 4 + 8),
    Row("linear", """squeeze: {op: pool, over: [h, w]}
        probe: {op: linear, over: c, groups: 2, out: {g: 2, d: 3}, bias: false}""", MAP,
        "b g=2 d=3",
        lambda p, x: grouped(p, x.mean((2, 3)), 2).unflatten(1, (2, 3)), lambda s: 3 * s["c"]),
    Row("linear", """learned: {op: parameter, axes: {c: c}, init: 1}
        probe: {op: linear, over: c, groups: c, act: tanh}""", MAP, "c",
        lambda p, x: grouped(p, p["learned"], x.shape[1]).tanh(), lambda s: 3 * s["c"]),
    Row("linear", "probe: {op: linear, over: c, out: 5, norm: layer, act: gelu}", FIVE,
        "b k c=5 h w",
        lambda p, x: F.gelu(scaled(p, standard(
            matrix(p, x.movedim(2, -1)).movedim(-1, 2), 2), 2)), lambda s: 5 * s["c"] + 10),
    Row("linear", "probe: {op: linear, over: c, out: {m: 3}, norm: {fn: l2, affine: true}}", MAP,
        "b m=3 h w",
        lambda p, x: scaled(p, F.normalize(matrix(p, x.movedim(1, -1)).movedim(-1, 1)), 1),
        lambda s: 3 * s["c"] + 3),
    Row("linear", """squeeze: {op: pool, over: [h, w]}
        probe: {op: linear, over: c, out: 6, norm: {fn: group, groups: 2}}""", MAP, "b c=6",
        lambda p, x: scaled(p, in_groups(matrix(p, x.mean((2, 3))), 2, 1), 1),
        lambda s: 6 * s["c"] + 12, batch_first=True),
    # ------------------------------------------------------------------------------------ merge
    Row("merge", "probe: {op: merge, axes: [h, w], into: n}", MAP, "b n=h*w c",
        lambda p, x: x.flatten(2).mT),
    Row("merge", "probe: {op: merge, axes: [w, k, c], into: c}", FIVE, "b c=w*k*c h",
        lambda p, x: torch.stack([
            x[:, k, c, :, w] for w in range(x.shape[4]) for k in range(x.shape[1])
            for c in range(x.shape[2])], 1)),
    Row("merge", "probe: {op: merge, axes: h, into: m}", MAP, "b m=h c w",
        lambda p, x: x.permute(0, 2, 1, 3)),
    # -------------------------------------------------------------------------------------- mlp
    Row("mlp", """squeeze: {op: pool, over: [h, w]}
        probe: {op: mlp, over: c, hidden: 3}""", MAP, "b c",
        lambda p, x: matrix(
            p, matrix(p, x.mean((2, 3)), "probe.fc1").clamp(min=0), "probe.fc2"),
        lambda s: 6 * s["c"] + 3 + s["c"]),
    Row("mlp", "probe: {op: mlp, over: c, hidden: 3, norm: batch, act: tanh, out: 2, bias: false}",
        FIVE, "b k c=2 h w",
        lambda p, x: matrix(p, batch_norm(p, matrix(
            p, x.movedim(2, -1), "probe.fc1"), -1).tanh(), "probe.fc2").movedim(-1, 2),
        lambda s: 3 * s["c"] + 6 + 6),
    Row("mlp", """both: {op: stack, of: [input, input], axis: k}
        squeeze: {op: pool, over: [h, w]}
        probe: {op: mlp, over: c, hidden: c // 2, norm: batch}""", MAP, "b k=2 c",
        lambda p, x: matrix(p, batch_norm(p, matrix(
            p, torch.stack([x, x], 1).mean((3, 4)), "probe.fc1"), -1).clamp(min=0), "probe.fc2"),
        lambda s: s["c"] ** 2 + s["c"] // 2 + s["c"] + s["c"]),
    Row("mlp", "probe: {op: mlp, over: c, hidden: 3, out: {n: 2, m: 2}, bias: false}", MAP,
        "b n=2 m=2 h w",
        lambda p, x: matrix(p, matrix(p, x.movedim(1, -1), "probe.fc1").clamp(min=0), "probe.fc2")
        .unflatten(3, (2, 2)).permute(0, 3, 4, 1, 2), lambda s: 3 * s["c"] + 12),
    Row("mlp", "probe: {op: mlp, over: c, hidden: 3, norm: rms, bias: false}", MAP, MAP,
        lambda p, x: matrix(p, scaled(p, standard(
            matrix(p, x.movedim(1, -1), "probe.fc1"), 3, centred=False), 3).clamp(min=0),
            "probe.fc2").movedim(-1, 1), lambda s: 6 * s["c"] + 3),
    # ------------------------------------------------------------------------------------- norm
    Row("norm", "probe: {op: norm, over: c}", MAP, MAP,
        lambda p, x: batch_norm(p, x, 1), lambda s: 2 * s["c"]),
    Row("norm", "probe: {op: norm, over: h, act: relu}", FIVE, FIVE,
        lambda p, x: batch_norm(p, x, 3).clamp(min=0), lambda s: 2 * s["h"]),
    Row("norm", """both: {op: stack, of: [input, input], axis: s}
        probe: {op: norm, over: s}""", FIVE, "b s=2 k c h w",
        lambda p, x: batch_norm(p, torch.stack([x, x], 1), 1), lambda s: 4),
    Row("norm", """squeeze: {op: pool, over: [h, w]}
        probe: {op: norm, over: c}""", MAP, "b c",
        lambda p, x: batch_norm(p, x.mean((2, 3)), 1), lambda s: 2 * s["c"]),
    Row("norm", "probe: {op: norm, over: c, fn: layer, eps: 0.5, act: silu}", FIVE, FIVE,
        lambda p, x: F.silu(layer_norm(p, x, 2, 0.5)), lambda s: 2 * s["c"]),
    Row("norm", """learned: {op: parameter, axes: {c: c}, init: 1}
        probe: {op: norm, over: c, fn: layer}""", MAP, "c",
        lambda p, x: layer_norm(p, p["learned"], 0), lambda s: 3 * s["c"]),
    Row("norm", "probe: {op: norm, over: c, affine: none, act: relu}", FIVE, FIVE,
        lambda p, x: standard(x, 0, 1, 3, 4).clamp(min=0)),
    Row("norm", "probe: {op: norm, over: [c, w, h], fn: layer, affine: c}", MAP, MAP,
        lambda p, x: scaled(p, standard(x, 1, 2, 3), 1), lambda s: 2 * s["c"]),
    Row("norm", "probe: {op: norm, over: [w, h], fn: layer, eps: 0.5}", FIVE, FIVE,
        lambda p, x: scaled(p, standard(x, 3, 4, eps=0.5), 4, 3), lambda s: 2 * s["h"] * s["w"]),
    Row("norm", "probe: {op: norm, over: [k, c, h, w], fn: layer, scale: 2, act: tanh}", FIVE, FIVE,
        lambda p, x: scaled(p, standard(x, 1, 2, 3, 4), 1, 2, 3, 4).tanh(),
        lambda s: 2 * s["k"] * s["c"] * s["h"] * s["w"]),
    Row("norm", "probe: {op: norm, over: [h, c], fn: layer, affine: none}", FIVE, FIVE,
        lambda p, x: standard(x, 2, 3)),
    Row("norm", "probe: {op: norm, over: [c, h, w], fn: layer, affine: [w, c]}", MAP, MAP,
        lambda p, x: scaled(p, standard(x, 1, 2, 3), 3, 1), lambda s: 2 * s["c"] * s["w"]),
    Row("norm", "probe: {op: norm, over: [c, k], fn: layer, affine: [h, c]}", FIVE, FIVE,
        lambda p, x: scaled(p, standard(x, 1, 2), 3, 2), lambda s: 2 * s["c"] * s["h"]),
    Row("norm", """both: {op: stack, of: [input, input], axis: s}
        probe: {op: norm, over: [c, w, s, h], fn: group, groups: 2, act: relu}""",
        FIVE, "b s=2 k c h w",
        lambda p, x: scaled(p, in_groups(torch.stack([x, x], 1), 2, 3, 1, 4, 5), 3).clamp(min=0),
        lambda s: 2 * s["c"]),
    Row("norm", """both: {op: stack, of: [input, input], axis: s}
        probe: {op: norm, over: [c, s], fn: group, groups: 2, affine: [h, s], eps: 1e-5}""",
        MAP, "b s=2 c h w",
        lambda p, x: scaled(p, in_groups(torch.stack([x, x], 1), 2, 2, 1), 3, 1),
        lambda s: 4 * s["h"]),
    Row("norm", "probe: {op: norm, over: [c, h], fn: group, groups: 1, affine: none}", MAP, MAP,
        lambda p, x: in_groups(x, 1, 1, 2)),
    Row("norm", """squeeze: {op: pool, over: [h, w]}
        more: {op: linear, over: c, out: 6, bias: false}
        probe: {op: norm, over: c, fn: group, groups: 3}""", MAP, "b c=6",
        lambda p, x: scaled(p, in_groups(
            matrix(p, x.mean((2, 3)), "more.linear"), 3, 1), 1),
        lambda s: 6 * s["c"] + 12, batch_first=True),
    Row("norm", "probe: {op: norm, over: [w, h], fn: instance}", FIVE, FIVE,
        lambda p, x: standard(x, 3, 4)),
    Row("norm", """both: {op: stack, of: [input, input], axis: s}
        probe: {op: norm, over: [w, s, h], fn: instance, affine: c, scale: 0}""",
        FIVE, "b s=2 k c h w",
        lambda p, x: scaled(p, standard(torch.stack([x, x], 1), 1, 4, 5), 3),
        lambda s: 2 * s["c"]),
    Row("norm", "probe: {op: norm, over: c, fn: rms, act: sigmoid}", FIVE, FIVE,
        lambda p, x: scaled(p, standard(x, 2, centred=False), 2).sigmoid(), lambda s: s["c"]),
    Row("norm", "probe: {op: norm, over: [h, w], fn: rms, affine: c, eps: 0.1}", MAP, MAP,
        lambda p, x: scaled(p, standard(x, 2, 3, eps=0.1, centred=False), 1), lambda s: s["c"]),
    Row("norm", "probe: {op: norm, over: [h, k], fn: rms, affine: none}", FIVE, FIVE,
        lambda p, x: standard(x, 1, 3, centred=False)),
    Row("norm", "probe: {op: norm, over: c, fn: l2}", MAP, MAP,
        lambda p, x: x / x.square().sum(1, keepdim=True).sqrt()),
    Row("norm", "probe: {op: norm, over: [c, w], fn: l2, affine: [h, c], eps: 1, act: relu}",
        FIVE, FIVE,
        lambda p, x: scaled(p, x / x.square().sum((2, 4), keepdim=True).sqrt().clamp(min=1), 3, 2)
        .clamp(min=0), lambda s: s["c"] * s["h"]),
    # ----------------------------------------------------------------------------------------- pad
    Row("pad", "probe: {op: pad, to: {h: 4 * ceil(h / 4), k: 'max(k, 3)'}}", FIVE,
        "b k=3 c h=-(-h//4)*4 w",
        lambda p, x: zeros_after(zeros_after(x, 1, 3), 3, -(-x.shape[3] // 4) * 4)),
    Row("crop", "probe: {op: crop, to: {h: (h + 1) // 2, c: 2}}", FIVE, "b k c=2 h=(h+1)//2 w",
        lambda p, x: torch.stack(torch.stack(x.unbind(2)[:2], 2)
        .unbind(3)[: (x.shape[3] + 1) // 2], 3)),
    Row("crop", """more: {op: pad, to: {w: 7 * ceil(w / 7), h: 7 * ceil(h / 7)}}
        probe: {op: crop, to: {h: h, w: w}}""", MAP, MAP, lambda p, x: x),
    # -------------------------------------------------------------------------------- parameter
    Row("parameter", "probe: {op: parameter, axes: {c: c, m: 3}, init: 0.5}", MAP, "m=3 c",
        lambda p, x: p["probe"].T, lambda s: 3 * s["c"]),
    Row("parameter", "probe: {op: parameter, axes: {}, init: 1}", MAP, "",
        lambda p, x: p["probe"][0], lambda s: 1),
    Row("parameter", "probe: {op: parameter, axes: {o: 2, c: c, m: 3}, init: conv}", MAP,
        "o=2 m=3 c", lambda p, x: p["probe"].mT, lambda s: 6 * s["c"]),
    # ------------------------------------------------------------------------------------- pick
    Row("pick", "probe: {op: pick, axis: c, index: 1}", MAP, "b h w", lambda p, x: x[:, 1]),
    Row("pick", """both: {op: stack, of: [input, input], axis: s}
        probe: {op: pick, axis: s, index: 1, of: 2}""", FIVE, FIVE, lambda p, x: x),
    # ------------------------------------------------------------------------------------- pool
    Row("pool", "probe: {op: pool, over: [h, w]}", MAP, "b c", lambda p, x: x.mean((2, 3))),
    Row("pool", "probe: {op: pool, over: c, reduce: max}", MAP, "b h w",
        lambda p, x: x.max(1).values),
    Row("pool", "probe: {op: pool, over: [w, k], reduce: max}", FIVE, "b c h",
        lambda p, x: x.max(4).values.max(1).values),
    Row("pool", "probe: {op: pool, over: [w, k, h], reduce: sum}", FIVE, "b c",
        lambda p, x: torch.einsum("bkchw->bc", x)),
    Row("pool", "probe: {op: pool, over: [h, c, w]}", FIVE, "b k",
        lambda p, x: x.flatten(2).mean(2)),
    Row("pool", "probe: {op: pool, over: [b, c, h, w]}", MAP, "", lambda p, x: x.mean()),
    Row("pool", "probe: {op: pool, over: [h, w], kernel: 3}", MAP, MAP,
        lambda p, x: windows(x, 3, 1)),
    Row("pool", "probe: {op: pool, over: [w, h], kernel: 3, stride: 2, count_padding: true}",
        MAP, "b c h=(h-1)//2+1 w=(w-1)//2+1",
        lambda p, x: windows(x, 3, 2, counted=True)),
    Row("pool", "probe: {op: pool, over: [h, w], kernel: 2, stride: 2}",
        FIVE, "b k c h=(h-1)//2+1 w=(w-1)//2+1", lambda p, x: windows(x, 2, 2)),
    Row("pool", "probe: {op: pool, over: [h, w], kernel: 5, stride: 3, reduce: max}",
        MAP, "b c h=(h-1)//3+1 w=(w-1)//3+1", lambda p, x: windows(x, 5, 3, "max")),
    Row("pool", "probe: {op: pool, over: [k, h], kernel: 4, stride: 4, reduce: max}",
        FIVE, "b k=(k-1)//4+1 c h=(h-1)//4+1 w",
        lambda p, x: windows(x.transpose(1, 4), 4, 4, "max").transpose(1, 4)),
    Row("pool", "probe: {op: pool, over: [h, w], kernel: 1, stride: 2}",
        MAP, "b c h=(h-1)//2+1 w=(w-1)//2+1", lambda p, x: x[..., ::2, ::2]),
    Row("pool", "probe: {op: pool, over: [h, w], kernel: [1, 3], reduce: max}", MAP, MAP,
        lambda p, x: windows(x, (1, 3), 1, "max")),
    Row("pool", "probe: {op: pool, over: [w, h], kernel: [5, 3], stride: [1, 2]}",
        MAP, "b c h=(h-1)//2+1 w",
        lambda p, x: windows(x, (3, 5), (2, 1))),
    Row("pool", "probe: {op: pool, over: [h, w], kernel: [2, 3], stride: [2, 3]}",
        FIVE, "b k c h=(h-1)//2+1 w=(w-1)//3+1",
        lambda p, x: windows(x, (2, 3), (2, 3))),
    Row("pool", "probe: {op: pool, over: [h, w], kernel: [4, 3], stride: [4, 2], count_padding: "
        "true}", MAP, "b c h=(h-1)//4+1 w=(w-1)//2+1",
        lambda p, x: windows(windows(x, (4, 1), (4, 1)), (1, 3), (1, 2), counted=True)),
    Row("pool", """rows: {op: pool, over: [b, c]}
        probe: {op: pool, over: [h, w], kernel: 3}""", MAP, "h w",
        lambda p, x: windows(x.mean((0, 1))[None, None], 3, 1)[0, 0]),
    Row("pool", """flat: {op: pool, over: c}
        probe: {op: pool, over: [h, w], kernel: 3, reduce: max}""", MAP, "b h w",
        lambda p, x: windows(x.mean(1, keepdim=True), 3, 1, "max")[:, 0]),
    # ---------------------------------------------------------------------------------- product
    Row("product", """keys: {op: merge, axes: [h, w], into: m}
        probe: {op: product, of: [input, keys], sum: c}""", MAP, "b m=h*w h w",
        lambda p, x: torch.einsum("bchw,bcm->bmhw", x, x.flatten(2))),
    Row("product", """weigh: {op: pool, over: c}
        probe: {op: product, of: [input, weigh], sum: [w, h]}""", MAP, "b c",
        lambda p, x: torch.einsum("bchw,bhw->bc", x, x.mean(1))),
    Row("product", """weigh: {op: pool, over: [h, w]}
        probe: {op: product, of: [weigh, input], sum: c}""", FIVE, "b k h w",
        lambda p, x: torch.einsum("bkchw,bkc->bkhw", x, x.mean((3, 4)))),
    Row("product", """weigh: {op: pool, over: k}
        probe: {op: product, of: [input, weigh], sum: c}""", FIVE, "b k h w",
        lambda p, x: torch.einsum("bkchw,bchw->bkhw", x, x.mean(1))),
    Row("product", "probe: {op: product, of: [input, input], sum: [c, w]}", MAP, "b h",
        lambda p, x: torch.einsum("bchw->bh", x * x)),
    Row("product", """learned: {op: parameter, axes: {m: 3, h: h, c: c}, init: 1}
        probe: {op: product, of: [input, learned], sum: [c, h]}""", FIVE, "b m=3 k w",
        lambda p, x: torch.einsum("bkchw,mhc->bmkw", x, p["learned"]),
        lambda s: 3 * s["h"] * s["c"]),
    Row("pool", "probe: {op: pool, over: [h, w], reduce: var}", MAP, "b c",
        lambda p, x: (x - x.mean((2, 3), keepdim=True)).square().mean((2, 3))),
    Row("pool", "probe: {op: pool, over: [w, k], reduce: std}", FIVE, "b c h",
        lambda p, x: ((x * x).mean((1, 4)) - x.mean((1, 4)) ** 2).clamp(min=0).sqrt()),
    Row("pool", "probe: {op: pool, over: c, reduce: min}", MAP, "b h w",
        lambda p, x: -(-x).amax(1)),
    Row("pool", "probe: {op: pool, over: [w, k], reduce: min}", FIVE, "b c h",
        lambda p, x: -(-x).amax((1, 4))),
    Row("pool", "probe: {op: pool, over: [h, w], reduce: median}", MAP, "b c",
        lambda p, x: x.flatten(2).sort(2).values[..., (x[0, 0].numel() - 1) // 2]),
    Row("pool", "probe: {op: pool, over: [c, k, w], reduce: median}", FIVE, "b h",
        lambda p, x: x.movedim(3, 1).flatten(2).sort(2).values[
            ..., (x[0, :, :, 0].numel() - 1) // 2]),
    Row("pool", "probe: {op: pool, over: k, reduce: median}", FIVE, MAP,
        lambda p, x: x.sort(1).values[:, (x.shape[1] - 1) // 2]),
    Row("pool", "probe: {op: pool, over: [h, w], reduce: length}", MAP, "b c",
        lambda p, x: (x * x).sum((2, 3)).sqrt()),
    Row("pool", "probe: {op: pool, over: [w, k], reduce: length}", FIVE, "b c h",
        lambda p, x: (x * x).sum((1, 4)).sqrt()),
    Row("pool", "probe: {op: pool, over: [h, w], reduce: power, exponent: 3}", MAP, "b c",
        lambda p, x: x.clamp(min=1e-6).pow(3).mean((2, 3)) ** (1 / 3)),
    Row("pool", "probe: {op: pool, over: [w, k], reduce: power, exponent: 1 + h / c}", FIVE,
        "b c h", lambda p, x: (x.clamp(min=1e-6) ** (1 + x.shape[3] / x.shape[2])).mean((1, 4))
        ** (1 / (1 + x.shape[3] / x.shape[2]))),
    Row("pool", """p: {op: parameter, axes: {}, init: 3}
        probe: {op: pool, x: input, over: [h, w], reduce: power, exponent: p}""", MAP, "b c",
        lambda p, x: x.clamp(min=1e-6).pow(p["p"]).mean((2, 3)) ** (1 / p["p"]), lambda s: 1),
    Row("pool", """p: {op: parameter, axes: {h: h, c: c}, init: 3}
        probe: {op: pool, x: input, over: [k, w], reduce: power, exponent: p}""", FIVE, "b c h",
        lambda p, x: x.clamp(min=1e-6).pow(p["p"].T[..., None]).mean((1, 4)) ** (1 / p["p"].T),
        lambda s: s["c"] * s["h"]),
    Row("pool", "probe: {op: pool, over: [h, w], to: [1, w]}", MAP, "b c h=1 w",
        lambda p, x: x.mean(2, keepdim=True)),
    Row("pool", "probe: {op: pool, over: [w, h], to: 1, reduce: max}", FIVE, "b k c h=1 w=1",
        lambda p, x: x.amax((3, 4), keepdim=True)),
    Row("pool", "probe: {op: pool, over: [w, h], to: [3, 2]}", MAP, "b c h=2 w=3",
        lambda p, x: shares(shares(x, 2, 2), 3, 3)),
    Row("pool", "probe: {op: pool, over: [h, w], to: 2, reduce: max}", FIVE, "b k c h=2 w=2",
        lambda p, x: shares(shares(x, 3, 2, "amax"), 4, 2, "amax")),
    Row("pool", "probe: {op: pool, over: [h, k], to: ['h // 2 + 1', k]}", FIVE,
        "b k c h=h//2+1 w", lambda p, x: shares(x, 3, x.shape[3] // 2 + 1)),
    Row("pool", "probe: {op: pool, over: [k, h, w], to: [2, 1, 3]}", FIVE, "b k=2 c h=1 w=3",
        lambda p, x: shares(shares(shares(x, 1, 2), 3, 1), 4, 3)),
    # -------------------------------------------------------------------------------------- rename
    Row("rename", "probe: {op: rename, axes: {h: y, w: x}}", MAP, "b y=h x=w c",
        lambda p, x: x.permute(0, 2, 3, 1)),
    Row("rename", "probe: {op: rename, axes: {h: w, w: h}}", FIVE, "b k c h=w w=h",
        lambda p, x: x.mT),
    Row("rename", """other: {op: rename, axes: {h: m}}
        probe: {op: sub, of: [input, other]}""", "b h", "b m=h h",
        lambda p, x: x[:, None, :] - x[:, :, None]),
    # ----------------------------------------------------------------------------------- resize
    Row("resize", """small: {op: pool, over: [h, w], kernel: 3, stride: 2}
        probe: {op: resize, over: [h, w], like: input}""", FIVE, FIVE,
        lambda p, x: nearest(windows(x, 3, 2), *x.shape[3:])),
    Row("resize", """small: {op: pool, over: [h, w], kernel: 5, stride: 4}
        probe: {op: resize, x: input, over: [w, h], like: small}""",
        MAP, "b c h=(h-1)//4+1 w=(w-1)//4+1",
        lambda p, x: nearest(x, *((n - 1) // 4 + 1 for n in x.shape[2:]))),
    Row("resize", """learned: {op: parameter, axes: {h: 2, w: 3}, init: 1}
        probe: {op: resize, over: [h, w], like: input}""", MAP, "h w",
        lambda p, x: nearest(p["learned"], *x.shape[2:]), lambda s: 6),
    # --------------------------------------------------------------------------------- reweight
    Row("reweight", """scale: {op: pool, over: [h, w]}
        probe: {op: reweight, x: input, by: scale}""", MAP, MAP,
        lambda p, x: torch.einsum("bchw,bc->bchw", x, x.mean((2, 3)))),
    Row("reweight", """scale: {op: pool, over: [c, h], reduce: max}
        probe: {op: reweight, x: input, by: scale, sum: k}""", FIVE, MAP,
        lambda p, x: torch.einsum("bkchw,bkw->bchw", x, x.amax((2, 3)))),
    Row("reweight", """scale: {op: parameter, axes: {}, init: 1}
        probe: {op: reweight, x: input, by: scale, sum: [h, k]}""", FIVE, "b c w",
        lambda p, x: x.sum((1, 3)) * p["scale"], lambda s: 1),
    Row("reweight", """squeeze: {op: pool, over: [h, w]}
        weigh: {op: linear, over: c, out: {n: 3}}
        learned: {op: parameter, axes: {n: 3, o: 2, c: c}, init: 1}
        probe: {op: reweight, x: learned, by: weigh, sum: n}""", MAP, "b o=2 c",
        lambda p, x: torch.einsum(
            "bn,noc->boc", matrix(p, x.mean((2, 3)), "weigh.linear"), p["learned"]),
        lambda s: 9 * s["c"] + 3, batch_first=True),
    Row("reweight", """weigh: {op: linear, over: c, out: {n: 2}}
        route: {op: pool, over: w}
        learned: {op: parameter, axes: {m: 3, h: h, c: c, n: 2}, init: 1}
        probe: {op: reweight, x: learned, by: route, sum: [n, h]}""", MAP, "b m=3 c",
        lambda p, x: torch.einsum("bhn,mhcn->bmc", matrix(
            p, x.mean(3).mT, "weigh.linear"), p["learned"]),
        lambda s: 2 * s["c"] + 2 + 6 * s["h"] * s["c"], batch_first=True),
    Row("reweight", """squeeze: {op: pool, over: [h, w]}
        learned: {op: parameter, axes: {c: c}, init: 1}
        probe: {op: reweight, x: learned, by: squeeze, sum: c}""", MAP, "b",
        lambda p, x: x.mean((2, 3)) @ p["learned"], lambda s: s["c"], batch_first=True),
    # ---------------------------------------------------------------------------------------- roll
    Row("roll", "probe: {op: roll, over: [w, h], by: [1, -2]}", MAP, MAP,
        lambda p, x: moved_on(moved_on(x, 3, 1), 2, -2)),
    Row("roll", "probe: {op: roll, over: [w, h], by: [0, 2]}", MAP, MAP,
        lambda p, x: moved_on(x, 2, 2)),
    Row("roll", "probe: {op: roll, over: [w, h], by: 0}", MAP, MAP, lambda p, x: x),
    Row("roll", "probe: {op: roll, over: [k, w], by: -w // 2}", FIVE, FIVE,
        lambda p, x: moved_on(moved_on(x, 1, -x.shape[4] // 2), 4, -x.shape[4] // 2)),
    # ---------------------------------------------------------------------------- rfft and irfft
    Row("rfft", "probe: {op: rfft, over: [h, w], parts: z}", MAP, "b z=2 c h w=w//2+1",
        lambda p, x: pairs(turned(turned(x.to(torch.complex128), 2), 3, x.shape[3] // 2 + 1))),
    Row("rfft", "probe: {op: rfft, over: [k, h], parts: z}", FIVE, "b z=2 k c h=h//2+1 w",
        lambda p, x: pairs(turned(turned(x.to(torch.complex128), 1), 3, x.shape[3] // 2 + 1))),
    Row("irfft", """wave: {op: rfft, over: [c, w], parts: z}
        probe: {op: irfft, over: [c, w], parts: z, size: w}""", MAP, MAP, lambda p, x: x),
    Row("irfft", """wave: {op: rfft, over: h, parts: z}
        probe: {op: irfft, over: [w, h], parts: z, size: h}""", MAP, MAP,
        lambda p, x: real(turned(
            turned(x.to(torch.complex128), 2, x.shape[2] // 2 + 1), 3, sign=1), 2, x.shape[2])),
    Row("complex_mul", """wave: {op: rfft, over: w, parts: z}
        filter: {op: parameter, axes: {c: c, z: 2, w: w // 2 + 1}, init: 1}
        probe: {op: complex_mul, of: [filter, wave], parts: z}""", MAP, "b z=2 c h w=w//2+1",
        lambda p, x: pairs(
            turned(x.to(torch.complex128), 3, x.shape[3] // 2 + 1)
            * torch.complex(p["filter"][:, 0], p["filter"][:, 1])[:, None]),
        lambda s: 2 * s["c"] * (s["w"] // 2 + 1)),
    # ------------------------------------------------------------------------------------ scale
    Row("scale", "probe: {op: scale, by: 3 ** -0.5}", FIVE, FIVE, lambda p, x: x / 3**0.5),
    Row("scale", "probe: {op: scale, by: c * 2}", MAP, MAP, lambda p, x: x * 2 * x.shape[1]),
    # --------------------------------------------------------------------------------- schedule
    Row("schedule", "probe: {op: schedule, begin: 30, end: 1, steps: 10}", MAP, "",
        lambda p, x: p["probe.value"]),
    Row("schedule", """heat: {op: schedule, begin: 0, end: 1, steps: 2}
        probe: {op: mul, of: [input, heat]}""", MAP, MAP, lambda p, x: x * p["heat.value"]),
    # ------------------------------------------------------------------------------------ split
    Row("split", "probe: {op: split, axis: c, into: {g: 2, d: c / 2}}", FIVE, "b g=2 d=c//2 k h w",
        lambda p, x: torch.stack([
            torch.stack([x[:, :, g * (x.shape[2] // 2) + d] for d in range(x.shape[2] // 2)], 1)
            for g in range(2)], 1)),
    Row("split", "probe: {op: split, axis: c, into: {m: c / 2, c: 2}}", MAP, "b m=c//2 c=2 h w",
        lambda p, x: x.unflatten(1, (-1, 2))),
    Row("split", "probe: {op: split, axis: h, into: {m: h}}", MAP, "b m=h c w",
        lambda p, x: x.transpose(1, 2)),
    # ------------------------------------------------------------------------------------ stack
    Row("stack", """one: {op: pool, over: [h, w]}
        two: {op: pool, x: input, over: [h, w], reduce: max}
        probe: {op: stack, of: [one, two, one], axis: s}""", MAP, "b s=3 c",
        lambda p, x: torch.stack([x.mean((2, 3)), x.amax((2, 3)), x.mean((2, 3))], 1)),
    Row("stack", """one: {op: pool, over: c}
        two: {op: pool, x: input, over: c, reduce: max}
        probe: {op: stack, of: [two, one], axis: c}""", MAP, "b c=2 h w",
        lambda p, x: torch.stack([x.amax(1), x.mean(1)], 1)),
    Row("stack", "probe: {op: stack, of: [input], axis: k}", MAP, "b k=1 c h w",
        lambda p, x: x[:, None]),
    Row("stack", """scale: {op: parameter, axes: {}, init: 1}
        probe: {op: stack, of: [scale, scale], axis: k}""", MAP, "k=2",
        lambda p, x: p["scale"].expand(2), lambda s: 1),
    # -------------------------------------------------------------------------------------- unfold
    Row("unfold", "probe: {op: unfold, over: [h, w], kernel: 3, into: [kh, kw]}", MAP,
        "b kh=3 kw=3 c h w",
        lambda p, x: around(x, (3, 3), (1, 1), (1, 1), (1, 1)).permute(0, 2, 3, 1, 4, 5)),
    Row("unfold", """probe: {op: unfold, over: [w, k], kernel: [3, 5], stride: [2, 1],
        dilation: [1, 2], into: [n, m]}""".replace("\n", " "), FIVE,
        "b n=3 m=5 k c h w=(w-1)//2+1",
        lambda p, x: around(x.permute(0, 2, 3, 4, 1), (3, 5), (2, 1), (1, 4), (1, 2))
        .permute(0, 3, 4, 6, 1, 2, 5)),
    Row("unfold", "probe: {op: unfold, over: [h, w], kernel: 2, stride: 3, padding: [1, 2],"
        " into: [m, n]}", FIVE, "b m=2 n=2 k c h=h//3+1 w=(w+2)//3+1",
        lambda p, x: around(x, (2, 2), (3, 3), (1, 2), (1, 1)).permute(0, 3, 4, 1, 2, 5, 6)),
    Row("unfold", "probe: {op: unfold, over: c, kernel: 2, stride: 2, padding: 0, into: m}",
        MAP, "b m=2 c=(c-2)//2+1 h w",
        lambda p, x: x.unflatten(1, (-1, 2)).transpose(1, 2)),
]  # fmt: skip

SIZES = st.fixed_dictionaries({
    "b": st.integers(2, 3), "k": st.integers(1, 3), "c": st.sampled_from([2, 4, 6]),
    "h": st.integers(1, 6), "w": st.integers(1, 6),
})  # fmt: skip
few = settings(
    max_examples=3, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


def test_every_primitive_has_a_row() -> None:
    expanded = (Structure, Use)
    ops = {op for op, p in own_ops().items() if not issubclass(p, expanded)}
    assert {row.op for row in ROWS} == ops


@pytest.mark.parametrize("row", ROWS, ids=str)
@few
@given(sizes=SIZES)
def test_the_law(row: Row, sizes: dict[str, int]) -> None:
    check_op(row.op, row, only=("parameters", "axes", "values", "layouts"), sizes=sizes)


FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: x * (x > 0),
    "relu6": lambda x: x.clamp(0, 6),
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + (-x).exp()),
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "hard_sigmoid": lambda x: (x + 3).clamp(0, 6) / 6,
    "hard_swish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "softplus": lambda x: (1 + x.exp()).log(),
    "elu": lambda x: x.where(x > 0, x.exp() - 1),
    "leaky_relu": lambda x: x.where(x > 0, 0.01 * x),
    "selu": lambda x: 1.0507009873554805 * x.where(x > 0, 1.6732632423543772 * (x.exp() - 1)),
    "mish": lambda x: x * ((1 + x.exp()) ** 2 - 1) / ((1 + x.exp()) ** 2 + 1),
}
#: What `apply` has besides; taken of |x| where that is needed.
OF_POSITIVE: dict[str, Callable[[Tensor], Tensor]] = {
    "sqrt": lambda x: x**0.5, "rsqrt": lambda x: x**-0.5, "log": lambda x: x.log2() * math.log(2),
    "exp": lambda x: math.e**x, "abs": lambda x: x.where(x > 0, -x), "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x, "sign": lambda x: x.where(x == 0, x / (x * x) ** 0.5),
    "sin": lambda x: torch.cos(x - math.pi / 2), "cos": lambda x: torch.sin(x + math.pi / 2),
}  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_of_one_element(function: str) -> None:
    x = 4 * random(2, 3, 4, 5)
    gate = lowered(spec_text(f"probe: {{op: gate, fn: {function}}}"), {"c": 3})
    torch.testing.assert_close(gate(x), FORMULAS[function](x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("function", [*FUNCTIONS, *OF_NUMBERS])
def test_what_is_applied_to_each_element(function: str) -> None:
    if function in ("pow", "clamp"):  # see their rows
        return
    x = 4 * random(2, 3, 4, 5)
    x = x.abs() if function in ("sqrt", "rsqrt", "log") else x
    module = lowered(spec_text(f"probe: {{op: apply, fn: {function}}}"), {"c": 3})
    want = {**FORMULAS, **OF_POSITIVE}[function](x)
    torch.testing.assert_close(module(x), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_activation_of_a_layer(function: str) -> None:
    x = 4 * random(2, 3, 4, 5)
    layer = randomise(lowered(spec_text("probe: {op: linear, over: c}"), {"c": 3}))
    text = spec_text(f"probe: {{op: linear, over: c, act: {function}}}")
    with_act = lowered(text, {"c": 3})
    with_act.load_state_dict(layer.state_dict())
    torch.testing.assert_close(with_act(x), FORMULAS[function](layer(x)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("op", ["linear", "mlp", "conv2d", "norm"])
def test_settings_of_a_norm_reach_torch(op: str) -> None:
    norm = "norm: {momentum: 0.25, eps: 0.5, scale: 3}"
    rest = {
        "linear": f"over: c, {norm}", "mlp": f"over: c, hidden: 2, {norm}",
        "conv2d": f"kernel: 1, {norm}", "norm": "over: c, momentum: 0.25, eps: 0.5, scale: 3",
    }[op]  # fmt: skip
    module = lowered(spec_text(f"probe: {{op: {op}, {rest}}}"), {"c": 4})
    built = module.get_submodule("probe.norm")
    assert (built.momentum, built.eps) == (0.25, 0.5)
    assert (built.weight == 3).all() and (built.bias == 0).all()


def test_settings_of_a_layer_norm_reach_torch() -> None:
    text = spec_text("probe: {op: norm, over: c, fn: layer, eps: 0.5, scale: 3}")
    built = lowered(text, {"c": 4}).get_submodule("probe.norm")
    assert isinstance(built, torch.nn.LayerNorm)
    assert (built.normalized_shape, built.eps) == ((4,), 0.5)
    assert (built.weight == 3).all() and (built.bias == 0).all()


@pytest.mark.parametrize(("node", "kind", "settings"), [
    ("norm, over: [w, h], fn: layer, eps: 0.5", "LayerNorm", {"normalized_shape": (5, 3)}),
    ("norm, over: [c, h, w], fn: group, groups: 2, eps: 0.5", "GroupNorm", {"num_groups": 2}),
    ("norm, over: [c, h, w], fn: layer, affine: c, eps: 0.5", "GroupNorm", {"num_groups": 1}),
    ("norm, over: [h, w], fn: instance, affine: c, eps: 0.5", "GroupNorm", {"num_groups": 4}),
    ("norm, over: c, fn: rms, eps: 0.5", "RMSNorm", {"normalized_shape": (4,)}),
    ("norm, over: c, affine: none, eps: 0.5, momentum: 0.25", "BatchNorm2d",
     {"momentum": 0.25, "affine": False}),
    ("conv2d, kernel: 1, norm: {fn: group, groups: 2, eps: 0.5}", "GroupNorm", {"num_groups": 2}),
    ("linear, over: c, norm: {fn: batch, affine: false, eps: 0.5}", "BatchNorm2d",
     {"affine": False}),
])  # fmt: skip
def test_a_norm_is_torch_s_module_where_it_has_one(
    node: str, kind: str, settings: dict[str, object]
) -> None:
    module = lowered(spec_text(f"probe: {{op: {node}}}"), {"c": 4, "h": 3, "w": 5})
    built = module.get_submodule("probe.norm")
    assert type(built).__name__ == kind and built.eps == 0.5
    assert {name: getattr(built, name) for name in settings} == settings


@pytest.mark.parametrize("node", [
    "norm, over: [c, h, w], fn: layer, affine: c", "norm, over: [h, c], fn: layer, affine: none",
    "norm, over: [c, w], fn: group, groups: 2, affine: none", "norm, over: [w, h], fn: instance",
    "norm, over: [h, w], fn: rms, affine: c", "norm, over: [h, w], fn: l2",
    "gate, fn: softmax, over: [h, w]", "gate, fn: softmax, over: [w, c]",
    "conv2d, kernel: [1, 7], norm: instance, groups: c",
])  # fmt: skip
def test_any_size_of_a_map_goes_through(node: str) -> None:
    text = spec_text(f"probe: {{op: {node}}}")
    module = lowered(text, {"c": 4})
    for size in ((3, 5), (7, 2)):
        x = random(2, 4, *size)
        same = lowered(text, {"c": 4, "h": size[0], "w": size[1]})
        same.load_state_dict(module.state_dict())
        torch.testing.assert_close(module(x), same(x))


DRAWN: dict[str, tuple[float, float]] = {
    # how they begin: the deviation, and the largest; of 48 channels in, with a kernel of 9 places
    "{normal: 0.3}": (0.3, 1.5), "{trunc_normal: 1}": (0.8796, 2.0), "{uniform: 0.4}":
    (0.4 / 3**0.5, 0.4), "kaiming": ((2 / 432) ** 0.5, 0.34), "xavier":
    ((2 / (432 + 576)) ** 0.5, (6 / (432 + 576)) ** 0.5), "conv": (1296**-0.5, 432**-0.5),
    "2 * c": (0.0, 96.0),
}  # fmt: skip


@pytest.mark.parametrize("node", [
    "conv2d, kernel: 3, out: 64", "parameter, axes: {n: 1, o: 64, i: c, kh: 3, kw: 3}",
])  # fmt: skip
@pytest.mark.parametrize("init", DRAWN)
def test_how_weights_begin(init: str, node: str) -> None:
    torch.manual_seed(0)
    module = lowered(spec_text(f"probe: {{op: {node}, init: {init}}}"), {"c": 48})
    weight = module.get_parameter("probe.conv.weight" if "conv2d" in node else "probe").detach()
    deviation, largest = DRAWN[init]
    assert float(weight.std()) == pytest.approx(deviation, rel=0.02)
    assert 0.85 * largest < float(weight.abs().max()) <= 1.0001 * largest
    assert init == "2 * c" or abs(float(weight.mean())) < 0.02 * deviation


@pytest.mark.parametrize(("node", "layers", "make"), [
    ("linear, over: c, out: 3", {"linear"}, lambda: torch.nn.Linear(4, 3)),
    ("linear, over: c, groups: 2", {"linear"}, lambda: torch.nn.Conv1d(4, 4, 1, groups=2)),
    ("conv1d, along: c, kernel: 3", {"conv"}, lambda: torch.nn.Conv1d(1, 1, 3)),
    ("conv2d, kernel: [1, 3]", {"conv"}, lambda: torch.nn.Conv2d(4, 4, (1, 3))),
    ("mlp, over: c, hidden: 4", {"fc1", "fc2"}, lambda: torch.nn.Linear(4, 4)),
])  # fmt: skip
def test_a_layer_begins_as_torch_draws_it_unless_the_spec_says_how(
    node: str, layers: set[str], make: Callable[[], torch.nn.Module]
) -> None:
    def begun(more: str) -> dict[str, Tensor]:
        torch.manual_seed(0)
        text = spec_text(f"probe: {{op: {node}{more}}}")
        return lowered(text, {"c": 4}).state_dict()

    plain, zero, set_bias = begun(""), begun(", init: 0"), begun(", init: 0.5, bias_init: 1")
    torch.manual_seed(0)
    drawn = make().double()
    first = f"probe.{min(layers)}"
    assert torch.equal(plain[f"{first}.weight"], drawn.weight)
    assert torch.equal(plain[f"{first}.bias"], drawn.bias)
    assert {key.split(".")[1] for key in plain} == layers
    for key, tensor in plain.items():
        if key.endswith("bias"):
            assert torch.equal(zero[key], tensor) and (set_bias[key] == 1).all()
        else:
            assert (zero[key] == 0).all() and (set_bias[key] == 0.5).all()


def test_a_param_may_say_how_a_layer_begins() -> None:
    nodes = "probe: {op: linear, over: c, init: begin}"
    for value, text in ((0, "{begin: 0}"), (None, "{begin: {default: xavier, choices: [xavier]}}")):
        weight = lowered(spec_text(nodes, params=text), {"c": 9}).get_parameter(
            "probe.linear.weight"
        )
        assert (weight == 0).all() if value == 0 else weight.abs().max() > 3**-0.5 * 0.8


@pytest.mark.parametrize(("groups", "shape"), [(1, (6, 4)), (2, (6, 2, 1))])
def test_groups_keep_the_keys_of_a_linear_layer(groups: int, shape: tuple[int, ...]) -> None:
    text = spec_text(f"probe: {{op: linear, over: c, out: 6, groups: {groups}}}")
    state = lowered(text, {"c": 4}).state_dict()
    assert {key: tuple(t.shape) for key, t in state.items()} == {
        "probe.linear.weight": shape, "probe.linear.bias": (6,),
    }  # fmt: skip


@pytest.mark.parametrize(("axes", "inputs"), [
    ("{n: 3, o: 64, i: c, kh: 3, kw: 5}", 15 * 32), ("{i: c, kw: 4, o: 99, kh: 3}", 3),
    ("{c: c, h: 7, w: 9}", 63), ("{w: 7, h: 9, c: c}", 9 * 32), ("{m: 4000}", 1),
])  # fmt: skip
def test_a_parameter_is_drawn_as_a_convolution_is(axes: str, inputs: int) -> None:
    torch.manual_seed(0)
    text = spec_text(f"probe: {{op: parameter, axes: {axes}, init: conv}}")
    drawn = lowered(text, {"c": 32}, layout=("b", "w", "h", "c")).get_parameter("probe")
    torch_draws = torch.nn.Conv2d(inputs, 512, 1).weight
    for one in (drawn.detach(), torch_draws.detach()):
        bound = inputs**-0.5
        assert 0.98 * bound < one.abs().max() <= bound
        assert abs(float(one.mean())) < 0.05 * bound
        assert float(one.std()) == pytest.approx(bound / 3**0.5, rel=0.05)


def test_a_param_may_say_how_a_parameter_begins() -> None:
    nodes = "probe: {op: parameter, axes: {c: 400}, init: begin}"
    text = spec_text(nodes, params="{begin: {default: conv, choices: [conv]}}")
    assert len(lowered(text, {"c": 400}).get_parameter("probe").unique()) > 300


def test_nodes_that_differ_in_order_alone_are_kept_apart() -> None:
    nodes = """one: {op: split, x: input, axis: c, into: {g: 2, d: c / 2}}
        two: {op: split, x: input, axis: c, into: {d: c / 2, g: 2}}
        same: {op: split, x: input, axis: c, into: {g: 2, d: c / 2}}
        sum: {op: add, of: [one, two, same]}
        probe: {op: merge, axes: [g, d], into: c}"""
    graph = compile_graph(graph_of(load_spec(spec_text(nodes)), Settings({"c": 4})))
    assert [n.name for n in graph.nodes] == ["one", "two", "sum", "probe"]
    assert graph.nodes[0].op != graph.nodes[1].op
    x = random(2, 4, 3, 3)
    torch.testing.assert_close(lower(graph).double()(x), 2 * x + x[:, [0, 2, 1, 3]])


@pytest.mark.parametrize(("over", "method", "where"), [
    ("[h, w]", "flatten", (2, 3)), ("[w, h]", "flatten", (2, 3)), ("[c, w]", "mean", (1, 3)),
])  # fmt: skip
def test_neighbouring_axes_are_pooled_as_one(
    over: str, method: str, where: tuple[int, int]
) -> None:
    module = lowered(spec_text(f"probe: {{op: pool, over: {over}}}"), {"c": 4})
    first = next(n for n in module.graph.nodes if n.op.startswith("call"))
    assert getattr(first.target, "__name__", first.target) == method
    assert first.args[1:] in [where, (where,)]


SELF = "probe: {op: attention, q: input, k: input, v: input, over: h, along: c"
WRONG = [
    ("probe: {op: pool, over: [h, q]}", "unknown-axis", "q"),
    ("probe: {op: pool, over: [h, h]}", "duplicate-axis", "h"),
    ("probe: {op: conv1d, along: q, kernel: 3}", "unknown-axis", "q"),
    ("probe: {op: conv1d, along: c, kernel: 4}", "even-kernel", "4"),
    ("probe: {op: conv2d, kernel: 2}", "even-kernel", "2"),
    ("probe: {op: conv2d, kernel: [3, 2]}", "even-kernel", "2"),
    ("probe: {op: conv2d, kernel: [3, 0]}", "invalid-value", "0"),
    ("probe: {op: conv2d, kernel: [3, 3, 3]}", "wrong-number", "[3, 3, 3]"),
    ("probe: {op: conv2d, kernel: 3, stride: [1, 2, 3]}", "wrong-number", "[1, 2, 3]"),
    ("probe: {op: conv2d, kernel: 3, padding: same}", "invalid-value", None),
    ("probe: {op: conv2d, kernel: 3, padding: [1, -1]}", "invalid-value", "-1"),
    ("probe: {op: conv2d, kernel: 1, over: [h, h]}", "duplicate-axis", "h"),
    ("probe: {op: conv2d, kernel: 1, over: [h, c]}", "duplicate-axis", None),
    ("probe: {op: conv2d, kernel: 1, over: [h, q]}", "unknown-axis", "q"),
    ("probe: {op: conv2d, kernel: 1, over: []}", "invalid-value", "[]"),
    ("probe: {op: conv2d, kernel: 1, out: {h: 3}}", "axis-exists", "3"),
    ("probe: {op: conv2d, kernel: 1, out: 5, groups: 2}", "groups-do-not-divide", "2"),
    ("probe: {op: conv2d, kernel: 1, out: {m: 3, d: 3}, groups: 2}", "groups-do-not-divide", "2"),
    ("probe: {op: conv2d, kernel: 1, out: {}, groups: 2}", "groups-do-not-divide", "2"),
    ("""flat: {op: pool, over: c}
        probe: {op: conv2d, kernel: 1, out: 2, groups: 2}""", "groups-do-not-divide", "2"),
    ("probe: {op: pool, over: [h, w], stride: 2}", "invalid-value", None),
    ("probe: {op: pool, over: [h, w], count_padding: true}", "invalid-value", None),
    ("probe: {op: pool, over: [c, h, w], kernel: 3}", "invalid-value", None),
    ("probe: {op: pool, over: [h, w], kernel: 2}", "even-kernel", "2"),
    ("probe: {op: pool, over: [h, w], kernel: 3, reduce: sum}", "invalid-value", "sum"),
    ("probe: {op: pool, over: [h, w], kernel: 3, reduce: std}", "invalid-value", "std"),
    ("probe: {op: pool, over: [h, w], reduce: power}", "invalid-value", None),
    ("probe: {op: pool, over: [h, w], exponent: 3}", "invalid-value", None),
    ("probe: {op: pool, over: [h, w], reduce: power, exponent: 0}", "invalid-value", "0"),
    ("probe: {op: pool, over: [h, w], reduce: power, exponent: input}", "unknown-axis", "input"),
    ("""p: {op: parameter, axes: {k: 2}, init: 3}
        probe: {op: pool, x: input, over: [h, w], reduce: power, exponent: p}""", "unknown-axis",
     "p"),
    ("probe: {op: pool, over: [h, w], reduce: power, exponent: nope}", "unknown-node", "nope"),
    ("probe: {op: pool, over: [h, w], to: [1, 2, 3]}", "wrong-number", "[1, 2, 3]"),
    ("probe: {op: pool, over: [h, w], to: []}", "invalid-value", "[]"),
    ("probe: {op: pool, over: [h, w], to: 0}", "invalid-value", "0"),
    ("probe: {op: pool, over: [h, w], to: 7, kernel: 3}", "invalid-value", None),
    ("probe: {op: pool, over: [b, c, h, w], to: 7}", "invalid-value", None),
    ("probe: {op: pool, over: [h, w], to: 7, reduce: median}", "invalid-value", "median"),
    ("probe: {op: apply}", "missing-field", None),
    ("probe: {op: apply, fn: sqr}", "unknown-word", "sqr"),
    ("probe: {op: apply, fn: softmax}", "unknown-word", "softmax"),
    ("probe: {op: apply, fn: pow}", "invalid-value", None),
    ("probe: {op: apply, fn: clamp}", "invalid-value", None),
    ("probe: {op: apply, fn: clamp, low: 2, high: 1}", "invalid-value", "2"),
    ("probe: {op: apply, fn: relu, slope: 0.1}", "invalid-value", None),
    ("probe: {op: apply, fn: sqrt, exponent: 2}", "invalid-value", None),
    ("probe: {op: constant, axes: {y: 3}, value: y + q}", "unknown-name", "q"),
    ("probe: {op: constant, axes: {y: 3}, value: log(y)}", "no-value", "log(y)"),
    ("probe: {op: constant, axes: {y: 3}, value: 1 / (2 - y)}", "division-by-zero", "1 / (2 - y)"),
    ("probe: {op: constant, axes: {y: 99}, value: exp(y)}", "value-too-large", "exp(y)"),
    ("probe: {op: constant, axes: {y: 9999, x: 1001}, value: 1}", "value-too-large", "{y: 9999"),
    ("probe: {op: constant, axes: {y: 3}}", "missing-field", None),
    ("probe: {op: constant, axes: {y: 0}, value: 1}", "invalid-value", "0"),
    ("probe: {op: constant, axes: {y: 3}, value: true}", "invalid-value", "true"),
    ("probe: {op: resize, over: [h, w]}", "missing-field", None),
    ("probe: {op: resize, over: h, like: input}", "invalid-value", "h"),
    ("""flat: {op: pool, over: h}
        probe: {op: resize, x: input, over: [h, w], like: flat}""", "unknown-axis", "h"),
    ("""flat: {op: pool, over: w}
        probe: {op: resize, over: [h, w], like: input}""", "unknown-axis", "w"),
    ("probe: {op: norm, over: q}", "unknown-axis", "q"),
    ("probe: {op: norm, over: c, fn: layer, momentum: 0.5}", "invalid-value", None),
    ("probe: {op: norm, over: []}", "invalid-value", "[]"),
    ("probe: {op: norm, over: [c, h]}", "invalid-value", "[c, h]"),
    ("probe: {op: norm, over: c, affine: h}", "invalid-value", "h"),
    ("probe: {op: norm, over: c, fn: layer, affine: q}", "unknown-axis", "q"),
    ("probe: {op: norm, over: c, fn: l2, affine: [c, c]}", "duplicate-axis", "c"),
    ("probe: {op: norm, over: c, fn: layer, affine: true}", "invalid-value", "true"),
    ("probe: {op: norm, over: c, fn: rms, groups: 2}", "invalid-value", None),
    ("probe: {op: norm, over: [c, h, w], fn: group}", "invalid-value", None),
    ("probe: {op: norm, over: c, fn: group, groups: 2}", "invalid-value", "c"),
    ("""part: {op: linear, over: c, out: 6}
        probe: {op: norm, over: [c, h, w], fn: group, groups: 4}""", "groups-do-not-divide", "4"),
    ("probe: {op: norm, over: c, fn: l2, scale: 2}", "invalid-value", None),
    ("probe: {op: linear, over: c, norm: instance}", "invalid-value", "instance"),
    ("probe: {op: linear, over: c, norm: {fn: group, groups: 2}}", "invalid-value", "group"),
    ("probe: {op: mlp, over: c, hidden: 6, norm: {fn: group, groups: 4}}", "groups-do-not-divide",
     "4"),
    ("probe: {op: conv2d, kernel: 1, norm: {fn: instance, momentum: 0.5}}", "invalid-value",
     "{fn"),
    ("probe: {op: conv2d, kernel: 1, norm: batch, bias_init: 0}", "invalid-value", None),
    ("probe: {op: mlp, over: c, hidden: 2, bias: false, bias_init: 0}", "invalid-value", None),
    ("probe: {op: linear, over: c, init: {}}", "invalid-value", "{}"),
    ("probe: {op: linear, over: c, init: {normal: 1, uniform: 1}}", "invalid-value", "{normal"),
    ("probe: {op: linear, over: c, init: {uniform: -1}}", "invalid-value", "-1"),
    ("probe: {op: linear, over: c, init: orthogonal}", "unknown-name", "orthogonal"),
    ("probe: {op: linear, over: c, init: ones}", "invalid-value", "ones"),
    ("probe: {op: split, axis: q, into: {a: 1}}", "unknown-axis", "q"),
    ("probe: {op: split, axis: c, into: {}}", "invalid-value", "{}"),
    ("probe: {op: split, axis: c, into: {g: 2, h: c / 2}}", "axis-exists", "c / 2"),
    ("probe: {op: split, axis: c, into: {g: 2, d: c // 3}}", "size-conflict", "{g: 2"),
    ("probe: {op: merge, axes: [c, q], into: c}", "unknown-axis", "q"),
    ("probe: {op: merge, axes: [c, c], into: c}", "duplicate-axis", "c"),
    ("probe: {op: merge, axes: [c, h], into: w}", "axis-exists", "w"),
    ("probe: {op: pick, axis: q, index: 0}", "unknown-axis", "q"),
    ("""both: {op: stack, of: [input, input], axis: k}
        probe: {op: pick, axis: k, index: 2}""", "index-out-of-range", "2"),
    ("""both: {op: stack, of: [input, input], axis: k}
        probe: {op: pick, axis: k, index: 0, of: 3}""", "size-conflict", "3"),
    ("probe: {op: conv2d}", "invalid-value", None),
    ("probe: {op: conv2d, weight: input, kernel: 3}", "invalid-value", None),
    ("probe: {op: conv2d, weight: input, out: 3}", "invalid-value", None),
    ("probe: {op: conv2d, weight: input, bias: false}", "invalid-value", None),
    ("probe: {op: conv2d, weight: input, norm: batch}", "invalid-value", None),
    ("probe: {op: conv2d, weight: input}", "unknown-axis", "input"),
    ("""kernel: {op: parameter, axes: {o: 2, i: 3, kh: 1, kw: 1}, init: conv}
        probe: {op: conv2d, x: input, weight: kernel}""", "size-conflict", "kernel"),
    ("""kernel: {op: parameter, axes: {n: 2, o: 2, i: c, kh: 1, kw: 1}, init: conv}
        probe: {op: conv2d, x: input, weight: kernel}""", "surplus-axis", "kernel"),
    ("""kernel: {op: parameter, axes: {o: 2, i: c, kh: 1, kw: 2}, init: conv}
        probe: {op: conv2d, x: input, weight: kernel}""", "even-kernel", "kernel"),
    ("""kernel: {op: parameter, axes: {o: 3, i: c / 2, kh: 1, kw: 1}, init: conv}
        probe: {op: conv2d, x: input, weight: kernel, groups: 2}""", "groups-do-not-divide", "2"),
    ("""learned: {op: parameter, axes: {h: 4, w: 4}, init: 0}
        each: {op: linear, x: input, over: w, out: {o: 1, i: 1, kh: 1, kw: 1}}
        kernel: {op: pool, over: [c, h]}
        probe: {op: conv2d, x: learned, weight: kernel}""", "unknown-axis", "learned"),
    ("probe: {op: attention, q: input, k: input, v: input, over: h, along: q}", "unknown-axis",
     "q"),
    ("probe: {op: attention, q: input, k: input, v: input, over: [h, q], along: c}",
     "unknown-axis", "q"),
    ("probe: {op: attention, q: input, k: input, v: input, over: [h, h], along: c}",
     "duplicate-axis", "h"),
    ("probe: {op: attention, q: input, k: input, v: input, over: [c, h], along: c}",
     "duplicate-axis", "c"),
    ("probe: {op: attention, q: input, k: input, v: input, over: h, along: c, position: relative}",
     "invalid-value", "h"),
    ("""flat: {op: pool, over: h}
        probe: {op: attention, q: input, k: input, v: flat, over: h, along: c}""", "unknown-axis",
     "flat"),
    ("""flat: {op: pool, over: c}
        probe: {op: attention, q: input, k: flat, v: input, over: h, along: c}""", "unknown-axis",
     "flat"),
    (f"{SELF}, keys: [h, m]}}", "duplicate-axis", "h"),
    (f"{SELF}, keys: c}}", "duplicate-axis", "c"),
    (f"{SELF}, keys: [m, m]}}", "duplicate-axis", "m"),
    (f"{SELF}, keys: w}}", "surplus-axis", "w"),
    (f"{SELF}, keys: [m, n]}}", "invalid-value", "[m, n]"),
    (f"{SELF}, bias: input}}", "missing-field", "input"),
    (f"{SELF}, mask: input}}", "missing-field", "input"),
    (f"{SELF}, keys: m, bias: input}}", "surplus-axis", "input"),
    (f"""near: {{op: pool, over: c}}
        {SELF}, keys: m, mask: near}}""", "unknown-axis", "near"),
    (f"""near: {{op: parameter, axes: {{m: 5}}, init: 1}}
        {SELF}, keys: m, bias: near}}""", "size-conflict", "near"),
    ("""more: {op: stack, of: [input, input], axis: m}
        probe: {op: attention, q: input, k: more, v: more, over: h, keys: m, along: c}""",
     "surplus-axis", "more"),
    ("""rows: {op: merge, axes: [h, w], into: m}
        probe: {op: attention, q: input, k: rows, v: input, over: h, keys: m, along: c}""",
     "unknown-axis", "input"),
    ("""rows: {op: merge, axes: h, into: m}
        other: {op: merge, axes: w, into: n}
        probe: {op: attention, q: input, k: other, v: other, over: [h, w], keys: [m, n], along: c,
         position: relative}""".replace("\n         ", " "), "invalid-value", "relative"),
    ("probe: {op: product, of: [input, input], sum: q}", "unknown-axis", "q"),
    ("probe: {op: product, of: [input, input], sum: [c, c]}", "duplicate-axis", "c"),
    ("probe: {op: product, of: [input, input, input], sum: c}", "invalid-value", None),
    ("probe: {op: product, of: [input], sum: c}", "invalid-value", None),
    ("""flat: {op: pool, over: c}
        probe: {op: product, of: [input, flat], sum: [h, c]}""", "unknown-axis", "c"),
    ("""part: {op: linear, over: c, out: 3}
        probe: {op: product, of: [input, part], sum: h}""", "size-conflict", "part"),
    ("""part: {op: linear, over: c, out: 3}
        probe: {op: attention, q: input, k: part, v: input, over: w, along: c}""", "size-conflict",
     "part"),
    ("""part: {op: linear, over: w, out: 3}
        probe: {op: attention, q: input, k: input, v: part, over: w, along: c}""", "size-conflict",
     "part"),
    ("probe: {op: schedule, begin: 1, end: 0, steps: 0}", "invalid-value", "0"),
    ("probe: {op: parameter, axes: {c: c}, init: cov}", "unknown-name", "cov"),
    ("probe: {op: linear, over: q}", "unknown-axis", "q"),
    ("probe: {op: linear, over: c, out: 6, groups: 4}", "groups-do-not-divide", "4"),
    ("probe: {op: linear, over: c, out: {c: 2, w: 3}}", "axis-exists", "3"),
    ("probe: {op: mlp, over: q, hidden: 2}", "unknown-axis", "q"),
    ("probe: {op: mlp, over: c, hidden: 2, out: {h: 2}}", "axis-exists", "2"),
    ("probe: {op: gate, fn: softmax}", "invalid-value", None),
    ("probe: {op: gate, fn: sigmoid, over: c}", "invalid-value", None),
    ("probe: {op: gate, fn: softmax, over: q}", "unknown-axis", "q"),
    ("probe: {op: gate, fn: softmax, over: [h, q]}", "unknown-axis", "q"),
    ("probe: {op: gate, fn: softmax, over: [h, h]}", "duplicate-axis", "h"),
    ("probe: {op: gate, fn: softmax, over: []}", "invalid-value", None),
    ("probe: {op: gate, fn: sigmod}", "unknown-word", "sigmod"),
    ("probe: {op: stack, of: [input, input], axis: c}", "axis-exists", "c"),
    ("""flat: {op: pool, over: c}
        probe: {op: stack, of: [input, flat], axis: k}""", "axes-differ", "flat"),
    ("""part: {op: linear, over: c, out: 3}
        probe: {op: stack, of: [input, part], axis: k}""", "size-conflict", "part"),
    ("""part: {op: linear, over: c, out: 3}
        probe: {op: mul, of: [input, part]}""", "size-conflict", "part"),
    ("""part: {op: conv2d, kernel: 3, stride: 2}
        probe: {op: add, of: [input, part]}""", "size-conflict", "part"),
    ("""part: {op: linear, over: c, out: 3}
        probe: {op: reweight, x: input, by: part}""", "size-conflict", "part"),
    ("""more: {op: stack, of: [input, input], axis: k}
        probe: {op: reweight, x: input, by: more}""", "unknown-axis", "more"),
    ("""learned: {op: parameter, axes: {c: c}, init: 1}
        probe: {op: reweight, x: learned, by: input}""", "unknown-axis", "input"),
    ("""flat: {op: pool, over: c}
        probe: {op: reweight, x: input, by: flat, sum: k}""", "unknown-axis", "k"),
    ("""flat: {op: pool, over: c}
        probe: {op: reweight, x: input, by: flat, sum: [h, h]}""", "duplicate-axis", "h"),
    ("probe: {op: sub, of: [input, input, input]}", "invalid-value", None),
    ("probe: {op: add, of: [1, 2]}", "invalid-value", "[1, 2]"),
    ("probe: {op: add, of: [1, 'c / 2']}", "invalid-value", "[1"),
    ("probe: {op: add, of: [input, true]}", "invalid-value", "true"),
    ("probe: {op: add, of: [input, [1]]}", "invalid-value", "[1]"),
    ("probe: {op: add, of: [input, inptu]}", "unknown-node", "inptu"),
    ("probe: {op: add, of: [input, input if 2 > 1 else inptu]}", "unknown-node", "inptu"),
    ("probe: {op: add, of: [input, b]}", "unknown-node", "b"),
    ("probe: {op: add, of: [input, c + nope]}", "unknown-name", "nope"),
    ("probe: {op: add, of: [input, input * 2]}", "not-a-number", "input * 2"),
    ("probe: {op: add, of: [input, 1 if input > 2 else 3]}", "not-a-number", "input > 2"),
    ("probe: {op: div, of: [input, 0]}", "division-by-zero", "0"),
    ("probe: {op: div, of: [input, 0 * 3]}", "division-by-zero", "0 * 3"),
    ("""flat: {op: pool, over: c}
        probe: {op: concat, of: [input, flat], axis: h}""", "axes-differ", "flat"),
    ("probe: {op: concat, of: [input, input], axis: q}", "unknown-axis", "q"),
    ("""part: {op: conv2d, kernel: 3, stride: 2}
        probe: {op: concat, of: [input, part], axis: c}""", "size-conflict", "part"),
    ("probe: {op: concat, of: [], axis: c}", "invalid-value", "[]"),
    ("""q, k: {op: chunk, axis: c, sizes: [1, c - 1, 1]}
        probe: {op: gate, x: q}""", "wrong-number", "[1"),
    ("""q, k: {op: chunk, axis: c, sizes: [1, c]}
        probe: {op: gate, x: q}""", "size-conflict", "[1"),
    ("""q, k: {op: chunk, axis: q}
        probe: {op: concat, of: [q, k], axis: c}""", "unknown-axis", "q"),
    ("probe: {op: dropout, p: -1}", "invalid-value", "-1"),
    ("probe: {op: dropout, p: 0.5, share: [h, q]}", "unknown-axis", "q"),
    ("probe: {op: flip, over: [h, h]}", "duplicate-axis", "h"),
    ("probe: {op: roll, over: [h, w], by: [1, 2, 3]}", "wrong-number", "[1"),
    ("probe: {op: roll, over: h, by: w / 2}", "invalid-value", "w / 2"),
    ("probe: {op: roll, over: h}", "missing-field", None),
    ("probe: {op: rfft, over: [h, q], parts: z}", "unknown-axis", "q"),
    ("probe: {op: rfft, over: [h, h], parts: z}", "duplicate-axis", "h"),
    ("probe: {op: rfft, over: h, parts: w}", "axis-exists", "w"),
    ("probe: {op: rfft, over: h, parts: z, size: h}", "unknown-field", "size"),
    ("probe: {op: rfft, over: h}", "missing-field", None),
    ("probe: {op: irfft, over: h, parts: c}", "missing-field", None),
    ("probe: {op: irfft, over: h, parts: q, size: h}", "unknown-axis", "q"),
    ("probe: {op: irfft, over: h, parts: c, size: h}", "wrong-number", "c"),
    ("""wave: {op: rfft, over: h, parts: z}
        probe: {op: irfft, over: h, parts: z, size: h + 2}""", "size-conflict", "h + 2"),
    ("""wave: {op: rfft, over: h, parts: z}
        probe: {op: irfft, over: [h, z], parts: z, size: h}""", "duplicate-axis", "z"),
    ("probe: {op: complex_mul, of: [input], parts: c}", "invalid-value", None),
    ("probe: {op: complex_mul, of: [input, input], parts: q}", "unknown-axis", "q"),
    ("probe: {op: complex_mul, of: [input, input], parts: c}", "wrong-number", "c"),
    ("""wave: {op: rfft, over: h, parts: z}
        less: {op: rfft, x: input, over: w, parts: z}
        probe: {op: complex_mul, of: [wave, less], parts: z}""", "size-conflict", "less"),
    ("probe: {op: rename, axes: {h: w}}", "axis-exists", "w"),
    ("probe: {op: rename, axes: {q: w}}", "unknown-axis", "w"),
    ("probe: {op: rename, axes: {}}", "invalid-value", "{}"),
    ("probe: {op: unfold, over: h, kernel: 2, into: m}", "even-kernel", "2"),
    ("probe: {op: unfold, over: h, kernel: 3, into: w}", "axis-exists", "w"),
    ("probe: {op: unfold, over: [h, w], kernel: 3, into: m}", "wrong-number", "m"),
    ("probe: {op: unfold, over: h, kernel: 3, padding: [1, 1], into: m}", "wrong-number", "[1"),
    ("""near: {op: unfold, over: h, kernel: 3, into: m}
        probe: {op: fold, axes: m, over: h, like: input, stride: 2}""", "size-conflict", "input"),
    ("""near: {op: unfold, over: h, kernel: 3, into: m}
        probe: {op: fold, axes: m, over: [h, w], like: input}""", "wrong-number", "m"),
    ("""near: {op: unfold, over: h, kernel: 3, into: m}
        probe: {op: fold, axes: w, over: w, like: input}""", "duplicate-axis", "w"),
    ("probe: {op: pad, to: {h: 14}}", "size-conflict", "14"),
    ("probe: {op: pad, to: {h: h - 1}}", "size-conflict", "h - 1"),
    ("probe: {op: crop, to: {h: h + 1}}", "size-conflict", "h + 1"),
    ("probe: {op: crop, to: {q: 1}}", "unknown-axis", "1"),
    ("probe: {op: parameter, axes: {k: 0}, init: 1}", "invalid-value", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "code", "marked"), WRONG)
def test_wrong_inputs(nodes: str, code: str, marked: str | None) -> None:
    _, problems = check_text(spec_text(nodes), "probe.yaml")
    errors = [p for p in problems if p.severity == "error"]
    assert [p.code for p in errors] == [code]
    where = errors[0].where
    assert where is not None and errors[0].message
    if marked is not None:
        assert where.text[where.column - 1 :][: where.length].startswith(marked)


#  what is sound while sizes are open, and wrong at the sizes it is built for
@pytest.mark.parametrize(
    ("nodes", "sizes", "code"),
    [
        ("probe: {op: conv2d, kernel: c}", {"c": 4}, "even-kernel"),
        ("probe: {op: conv2d, kernel: 1, groups: 4}", {"c": 6}, "groups-do-not-divide"),
        ("probe: {op: conv2d, kernel: 1, out: {m: c, d: 2}, groups: c}", {"c": 3}, None),
        ("probe: {op: linear, over: h}", {"c": 3}, "open-size"),
        ("probe: {op: mlp, over: c, hidden: w}", {"c": 3, "h": 2}, "open-size"),
        ("probe: {op: parameter, axes: {h: h}, init: 1}", {"c": 3}, "open-size"),
        ("probe: {op: mlp, over: c, hidden: c // 16}", {"c": 8}, "size-too-small"),
        ("probe: {op: linear, over: c, groups: 4}", {"c": 6}, "groups-do-not-divide"),
        ("probe: {op: pool, over: [h, w], kernel: c, stride: 2}", {"c": 4}, "even-kernel"),
        ("probe: {op: pool, over: [h, w], kernel: c, stride: c}", {"c": 4}, None),
        ("probe: {op: split, axis: c, into: {g: 4, d: c / 4}}", {"c": 6}, "does-not-divide"),
        ("probe: {op: split, axis: c, into: {g: 2, d: c / 2}}", {"c": 6}, None),
        ("probe: {op: split, axis: c, into: {g: w, d: c / w}}", {"c": 6}, None),
        ("probe: {op: pick, axis: c, index: 6}", {"c": 6}, "index-out-of-range"),
        ("probe: {op: pick, axis: h, index: 6}", {"c": 6}, None),
        ("probe: {op: conv2d, kernel: 7, padding: 0}", {"c": 4, "h": 6, "w": 9}, "size-too-small"),
        ("probe: {op: conv2d, kernel: 4, padding: 1, stride: 2}", {"c": 4}, None),
        ("probe: {op: norm, over: w}", {"c": 4}, "open-size"),
        ("probe: {op: norm, over: [h, w], fn: layer}", {"c": 4}, "open-size"),
        ("probe: {op: norm, over: [h, w], fn: layer, affine: none}", {"c": 4}, None),
        ("probe: {op: norm, over: [c, h, w], fn: group, groups: 2}", {"c": 4}, None),
        (
            "probe: {op: norm, over: [c, h, w], fn: group, groups: 3}",
            {"c": 4},
            "groups-do-not-divide",
        ),
        ("probe: {op: norm, over: [h, w], fn: l2, affine: h}", {"c": 4}, "open-size"),
        (
            "probe: {op: conv2d, kernel: [1, 9], padding: [0, 1]}",
            {"c": 4, "h": 6, "w": 6},
            "size-too-small",
        ),
        ("probe: {op: constant, axes: {y: 9}, value: 1 / (y - c)}", {"c": 4}, "division-by-zero"),
        ("probe: {op: constant, axes: {y: c, x: c}, value: 1}", {"c": 3200}, "value-too-large"),
        ("probe: {op: pool, over: [h, w], to: [c - 4, 1]}", {"c": 4}, "size-too-small"),
        ("probe: {op: parameter, axes: {c: c, h: h}, init: conv}", {"c": 3}, "open-size"),
    ],
)
def test_wrong_sizes(nodes: str, sizes: dict[str, int], code: str | None) -> None:
    text = spec_text(nodes)
    assert check_text(text, "probe.yaml")[0] is not None
    if code is None:
        lowered(text, sizes)
        return
    with pytest.raises(ComposerError) as failure:
        lowered(text, sizes)
    (problem,) = failure.value.diagnostics
    assert problem.code == code and problem.where is not None and problem.help
