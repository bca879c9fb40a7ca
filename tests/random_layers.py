"""What a random spec may do next: layers, norms and pools, with any of their options."""

from __future__ import annotations

import math
from typing import Any

from random_graphs import Axes, Size, Sketch, at, elements

Fields = dict[str, Any]
Drawn = tuple[Fields, Axes] | None

SMOOTH = ("gelu", "silu", "sigmoid", "tanh", "softplus", "mish", "elu", "selu")

KINKED = ("relu", "relu6", "hard_sigmoid", "hard_swish", "leaky_relu")

ACTS = (*SMOOTH, *KINKED)

INITS = (0, 0.5, "conv", "kaiming", "xavier", {"normal": 0.02}, {"trunc_normal": 0.02},
         {"uniform": 0.1}, {"value": 1})  # fmt: skip


def act(s: Sketch) -> str:
    return s.word(s.one(ACTS), "relu")


def conv1d(s: Sketch, x: Axes) -> Drawn:
    if not x:
        return None
    fields: Fields = {"op": "conv1d", "along": s.one(sorted(x)), "kernel": s.int(s.one([1, 3, 5]))}
    return _layer(s, fields), x


def _layer(s: Sketch, fields: Fields) -> Fields:
    """Add a bias, and how weights begin."""
    if s.chance(0.4):
        fields["bias"] = s.flag(s.chance(0.5))
    if s.chance(0.3):
        fields["init"] = s.one(INITS)
    has = fields.get("bias", "norm" not in fields or fields["op"] == "mlp")
    if s.chance(0.5) and has is True:
        fields["bias_init"] = s.number(-1, 1)
    return fields


def _norm(s: Sketch, fields: Fields, channels: int, rest: Axes, places: tuple[str, ...]) -> None:
    """Add a norm after a layer whose value has so many channels, and the axes `rest`."""
    if s.chance(0.4):
        return
    fns = ["layer", "rms", "l2", "none"]
    count = math.prod(size.n for size in rest.values())
    if count > 1:
        fns += ["batch"] * 3
    on_map = math.prod(rest[axis].n for axis in places)
    if places and on_map > 1:
        fns += ["instance"] * 2
    riding = [*s.riding, *(a for a in rest if a != s.batch and a in s.input)]
    groups = s.divisor(channels)
    if (places or not riding) and on_map * channels // groups > 1:
        fns += ["group"] * 4
    fn = s.one(fns)
    if fn == "none":
        fields["norm"] = "none"
        return
    norm: Fields = {"fn": fn}
    if fn == "group":
        norm["groups"] = s.int(groups)
    if fn == "batch" and s.chance(0.5):
        norm["momentum"] = s.one([0.01, 0.3, 1, 0])
    affine = fn not in ("instance", "l2")
    if s.chance(0.6):
        affine = s.chance(0.5)
        norm["affine"] = affine
    if s.chance(0.3):
        norm["eps"] = s.one([1e-3, "1e-4", 0.1])
    if affine and s.chance(0.2):
        norm["scale"] = s.one([0, 0.5, 1])
    fields["norm"] = fn if norm == {"fn": fn} else norm
    if fn == "batch" and "fn" in norm and len(norm) > 1 and s.chance(0.3):
        del norm["fn"]


def _new(s: Sketch, axis: str, size: Size, rest: Axes, groups: int, none: bool) -> tuple[Any, Axes]:
    """Return an `out`, and the axes that it stands for; None for the same size."""
    if s.chance(0.35):
        return None, {axis: size}
    if none and groups == 1 and s.chance(0.2):
        return {}, {}
    n = groups * s.rng.randint(1, max(1, 6 // groups))
    if s.chance(0.55):
        return s.int(n), {axis: Size(str(n), n)}
    first = s.one([groups, n])
    sizes = [first, n // first, *([s.rng.randint(1, 2)] if s.chance(0.2) else [])]
    new: Axes = {}
    for count in sizes:
        name = axis if axis not in new and s.chance(0.3) else s.axis({*rest, *new})
        new[name] = Size(str(count), count)
    return {name: s.int(one.n) for name, one in new.items()}, new


def linear(s: Sketch, x: Axes) -> Drawn:
    over = s.one(sorted(x)) if x else None
    if over is None or not s.know(x[over]):
        return None
    rest = {axis: size for axis, size in x.items() if axis != over}
    groups = s.divisor(x[over].n) if s.chance(0.3) else 1
    out, new = _new(s, over, x[over], rest, groups, none=True)
    fields: Fields = {"op": "linear", "over": over}
    if out is not None:
        fields["out"] = out
    if groups > 1:
        fields["groups"] = s.int(groups)
    _norm(s, fields, math.prod(size.n for size in new.values()), rest, ())
    _layer(s, fields)
    if s.chance(0.4):
        fields["act"] = act(s)
    return fields, {**rest, **new}


def mlp(s: Sketch, x: Axes) -> Drawn:
    over = s.one(sorted(x)) if x else None
    if over is None or not s.know(x[over]):
        return None
    rest = {axis: size for axis, size in x.items() if axis != over}
    out, new = _new(s, over, x[over], rest, 1, none=True)
    hidden = s.rng.randint(1, 5)
    fields: Fields = {"op": "mlp", "over": over, "hidden": s.int(hidden)}
    if out is not None:
        fields["out"] = out
    _norm(s, fields, hidden, rest, ())
    _layer(s, fields)
    if s.chance(0.5):
        fields["act"] = s.one([act(s), "none"])
    return fields, {**rest, **new}


def each_of(s: Sketch, values: list[int], index: bool = False) -> Any:
    """Return a number for each axis, or one for all where they are the same."""
    if len(set(values)) == 1 and s.chance(0.6):
        return s.int(values[0], index)
    return [s.int(value) for value in values]


def windowed(size: Size, kernel: int, stride: int, padding: int | None, dilation: int) -> Size:
    """Return how many windows there are."""
    less = 0 if padding is None else dilation * (kernel - 1) - 2 * padding
    n = size.n - less
    text = size.text
    if less:
        text = f"{at(size)} - {less}" if less > 0 else f"{at(size)} + {-less}"
    if not size.is_open:
        text = str(n)
    if stride == 1:
        return Size(text, n)
    count = (n - 1) // stride + 1
    return Size(f"({text} - 1) // {stride} + 1" if size.is_open else str(count), count)


def slide(
    s: Sketch, x: Axes, over: list[str], kernels: list[int] | None = None
) -> tuple[Fields, Axes, list[int]] | None:
    """Return the fields of windows over some axes, the sizes of these, and the kernel."""
    count = len(over)
    free = s.chance(0.4)  # a padding is given
    kernel = kernels or [s.one([1, 2, 3, 4] if free else [1, 3, 3, 5])] * count
    if kernels is None and s.chance(0.4):
        kernel = [s.one([1, 2, 3] if free else [1, 3]) for _ in over]
    if not free and any(k % 2 == 0 for k in kernel):
        free = True
    stride = [s.one([1, 1, 2, 3])] * count if s.chance(0.6) else [s.one([1, 2]) for _ in over]
    dilation = [1] * count if s.chance(0.6) else [s.one([1, 2, 3]) for _ in over]
    padding = [s.rng.randint(0, 3)] * count if s.chance(0.5) else [s.one([0, 1, 2]) for _ in over]
    found = {
        axis: windowed(x[axis], kernel[i], stride[i], padding[i] if free else None, dilation[i])
        for i, axis in enumerate(over)
    }
    if any(size.n < 1 for size in found.values()):
        return None
    fields: Fields = {}
    if set(stride) != {1} or s.chance(0.1):
        fields["stride"] = each_of(s, stride)
    if free:
        fields["padding"] = each_of(s, padding)
    if set(dilation) != {1}:
        fields["dilation"] = each_of(s, dilation)
    elif not free and s.indices and not s.sharing and s.chance(0.5):
        fields["dilation"] = f"{s.indices[-1]} + 1"
    return fields, {**x, **found}, kernel


def conv2d(s: Sketch, x: Axes) -> Drawn:
    if len(x) < 2:
        return None
    axes = sorted(x)
    over = ["h", "w"] if {"h", "w"} <= set(x) and s.chance(0.6) else s.rng.sample(axes, 2)
    over = [axis for axis in over if axis != s.batch]
    over = over[:1] if s.chance(0.2) else over
    rest = [axis for axis in axes if axis not in over and axis != s.batch]
    if not over:
        return None
    channels = "c" if "c" in rest and s.chance(0.8) else s.one([*rest, s.axis(x)])
    width = x.get(channels, Size("1", 1))
    drawn = slide(s, x, over)
    if drawn is None or not s.know(width):
        return None
    more, found, kernel = drawn
    riding = {axis: size for axis, size in found.items() if axis != channels}
    groups = s.divisor(width.n) if s.chance(0.4) else 1
    out, new = _new(s, channels, width, riding, groups, none=True)
    fields: Fields = {"op": "conv2d"}
    if over != ["h", "w"] or s.chance(0.2):
        fields["over"] = over
    if channels != "c" or s.chance(0.1):
        fields["channels"] = channels
    fields["kernel"] = each_of(s, kernel)
    if out is not None:
        fields["out"] = out
    if groups > 1:
        fields["groups"] = s.size(width) if groups == width.n else s.int(groups)
    fields |= more
    _norm(s, fields, math.prod(size.n for size in new.values()), riding, tuple(over))
    _layer(s, fields)
    if s.chance(0.4):
        fields["act"] = act(s)
    return fields, {**riding, **new}


def pool(s: Sketch, x: Axes) -> Drawn:
    if not x:
        return None
    way = s.rng.random()
    if way < 0.5:
        most = [axis for axis in x if axis != s.batch or s.chance(0.05)]
        over = s.some(most or x)
        how = s.in_turn(["mean", "max", "sum", "min", "std", "var", "median", "length", "power"])
        fields: Fields = {"op": "pool", "over": over[0] if len(over) == 1 else over}
        if how != "mean" or s.chance(0.3):
            fields["reduce"] = s.word(how, "mean") if how != "power" else how
        if how == "power":
            fields["exponent"] = s.one([s.number(1, 4), 3, -1, 2])
        return fields, {axis: size for axis, size in x.items() if axis not in over}
    how = s.one(["mean", "max"])
    fields = {"op": "pool", "reduce": how}
    if way < 0.7:
        over = s.some(x)
        sizes = [s.one([1, 2, 3, x[axis].n]) for axis in over]
        kept = s.chance(0.2) and s.batch not in over
        fields |= {"over": over, "to": each_of(s, sizes)}
        found = {axis: Size(str(n), n) for axis, n in zip(over, sizes, strict=True)}
        if kept:
            fields["to"] = [s.one([1, x[axis].text]) for axis in over]
            found = {
                axis: x[axis] if to != 1 else Size("1", 1)
                for axis, to in zip(over, fields["to"], strict=True)
            }
        return fields, {**x, **found}
    if len(x) < 2:
        return None
    over = s.rng.sample(sorted(x), 2)
    strides = [s.one([1, 2, 3]) for _ in over] if s.chance(0.5) else [s.one([1, 2, 3])] * 2
    kernels = [s.one([1, 3, 3, 5, stride]) for stride in strides]
    if s.chance(0.3):
        kernels = list(strides)
    fields |= {"over": over, "kernel": each_of(s, kernels)}
    if set(strides) != {1} or s.chance(0.3):
        fields["stride"] = each_of(s, strides)
    if s.chance(0.5):
        fields["count_padding"] = s.flag(s.chance(0.7))
    pairs = zip(over, strides, strict=True)
    return fields, {**x, **{a: windowed(x[a], 1, stride, None, 1) for a, stride in pairs}}


def norm(s: Sketch, x: Axes) -> Drawn:
    if not x:
        return None
    fn = s.in_turn(["batch", "layer", "group", "instance", "rms", "l2"])
    if fn == "batch":
        over = [s.one(sorted(x))]
        few = elements(x) // x[over[0]].n < 2
    else:
        over = s.some([axis for axis in x if axis != s.batch] or x)
        few = fn in ("instance", "group") and math.prod(x[axis].n for axis in over) < 2
        few |= elements(x) < 2  # which torch's group norm refuses, too
    if few:
        return None
    fields: Fields = {"op": "norm", "over": over[0] if len(over) == 1 else over}
    if fn != "batch" or s.chance(0.3):
        fields["fn"] = fn
    weights = {"instance": [], "l2": [], "group": over[:1]}.get(fn, over)
    if fn == "group":
        groups = s.divisor(x[over[0]].n)
        on_map = [axis for axis in x if axis not in over and axis in s.input and axis != s.batch]
        if (len(over) == 1 and on_map) or math.prod(x[a].n for a in over) // groups < 2:
            return None
        fields["groups"] = s.int(groups)
    if s.chance(0.4):
        weights = s.some(x, least=0) if fn != "batch" else s.one([over, []])
        fields["affine"] = weights[0] if len(weights) == 1 else weights or "none"
    channels = over[:1] if fn in ("batch", "group") else []
    if not s.know(*(x[axis] for axis in (*weights, *channels))):
        return None
    if s.chance(0.3):
        fields["eps"] = s.one([1e-3, "1e-4", 0.1])
    if fn == "batch" and s.chance(0.4):
        fields["momentum"] = s.one([0.01, 0.3, 1, 0])
    if weights and s.chance(0.2):
        fields["scale"] = s.one([0, 0.5, 1])
    if s.chance(0.3):
        fields["act"] = act(s)
    return fields, x
