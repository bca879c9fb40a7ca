"""What a random spec may do next: for each op, nodes of it with any of its options."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from random_graphs import MOST, Axes, Size, Sketch, at, elements, fits

Fields = dict[str, Any]
Drawn = tuple[Fields, Axes] | None

SMOOTH = ("gelu", "silu", "sigmoid", "tanh", "softplus", "mish", "elu", "selu")
KINKED = ("relu", "relu6", "hard_sigmoid", "hard_swish", "leaky_relu")
ACTS = (*SMOOTH, *KINKED)
INITS = (0, 0.5, "conv", "kaiming", "xavier", {"normal": 0.02}, {"trunc_normal": 0.02},
         {"uniform": 0.1}, {"value": 1})  # fmt: skip


def act(s: Sketch) -> str:
    return s.word(s.one(ACTS), "relu")


# ------------------------------------------------------------------------ of one value, x


def apply(s: Sketch, x: Axes) -> Drawn:
    fn = s.one([*ACTS, "abs", "square", "sign", "sin", "cos"])
    if s.chance(0.35):
        fn = s.one(["pow", "clamp", "clamp", "elu", "leaky_relu"])
    fields: Fields = {"op": "apply", "fn": fn}
    if fn == "pow":
        fields["exponent"] = s.one([2, 3, 1, s.param(2, 3)])
    elif fn == "clamp":
        bounds = {"low": s.number(-0.9, -0.2, True), "high": s.number(0.2, 0.9, True)}
        fields |= bounds if s.chance(0.6) else dict([s.one(sorted(bounds.items(), key=str))])
    elif fn == "elu" and s.chance(0.7):
        fields["alpha"] = s.number(0.5, 2, True)
    elif fn == "leaky_relu" and s.chance(0.7):
        fields["slope"] = s.number(0.1, 0.5, True)
    elif s.chance(0.1):
        fields["fn"] = s.word(fn, "tanh") if fn not in ("elu", "leaky_relu") else fn
    return fields, x


def gate(s: Sketch, x: Axes) -> Drawn:
    if x and s.chance(0.6):
        over = s.some(x)
        plain = over[0] if len(over) == 1 and s.chance(0.7) else over
        return {"op": "gate", "fn": s.word("softmax", "sigmoid") if s.chance(0) else "softmax",
                "over": plain}, x  # fmt: skip
    return ({"op": "gate", "fn": act(s)} if s.chance(0.7) else {"op": "gate"}), x


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
    if s.chance(0.3) and has is True:
        fields["bias_init"] = s.number(-1, 1)
    return fields


def _norm(s: Sketch, fields: Fields, channels: int, rest: Axes, places: tuple[str, ...]) -> None:
    """Add a norm after a layer whose value has so many channels, and the axes `rest`."""
    if s.chance(0.55):
        return
    fns = ["layer", "rms", "l2", "none"]
    count = math.prod(size.n for size in rest.values())
    if count > 1:
        fns += ["batch"] * 3
    on_map = math.prod(rest[axis].n for axis in places)
    if places and on_map > 1:
        fns += ["instance"] * 2
    riding = [a for a in rest if a != s.batch and a in s.input]
    groups = s.divisor(channels)
    if (places or not riding) and on_map * channels // groups > 1:
        fns += ["group"] * 2
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
    if s.chance(0.4):
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
    text = size.text if less == 0 else f"{at(size)} - {less}" if less > 0 else f"{at(size)} + {-less}"
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
    elif not free and s.indices and s.chance(0.5):
        fields["dilation"] = f"{s.indices[-1]} + 1"
    return fields, {**x, **found}, kernel


def conv2d(s: Sketch, x: Axes) -> Drawn:
    if len(x) < 2:
        return None
    axes = sorted(x)
    over = ["h", "w"] if {"h", "w"} <= set(x) and s.chance(0.6) else s.rng.sample(axes, 2)
    over = [axis for axis in over if axis != s.batch]
    rest = [axis for axis in axes if axis not in over and axis != s.batch]
    if len(over) < 2:
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
        how = s.one(["mean", "max", "sum", "min", "std", "var", "median", "power"])
        fields: Fields = {"op": "pool", "over": over[0] if len(over) == 1 else over}
        if how != "mean" or s.chance(0.3):
            fields["reduce"] = s.word(how, "mean") if how != "power" else how
        if how == "power":
            fields["exponent"] = s.one([s.number(1, 4), 3, -1, 2])
        return fields, {axis: size for axis, size in x.items() if axis not in over}
    how = s.one(["mean", "max"])
    fields = {"op": "pool", "reduce": how}
    if way < 0.75:
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
    if s.chance(0.3):
        fields["count_padding"] = s.flag(s.chance(0.7))
    sizes = [windowed(x[axis], 1, stride, None, 1) for axis, stride in zip(over, strides, strict=True)]
    return fields, {**x, **dict(zip(over, sizes, strict=True))}


def norm(s: Sketch, x: Axes) -> Drawn:
    if not x:
        return None
    fn = s.one(["batch", "layer", "group", "instance", "rms", "l2"])
    if fn == "batch":
        over = [s.one(sorted(x))]
        few = elements(x) // x[over[0]].n < 2
    else:
        over = s.some([axis for axis in x if axis != s.batch] or x)
        few = fn in ("instance", "group") and math.prod(x[axis].n for axis in over) < 2
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
    if not s.know(*(x[axis] for axis in {*weights, *(over[:1] if fn in ("batch", "group") else [])})):
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


def dropout(s: Sketch, x: Axes) -> Drawn:
    p = s.one([0, 0, 1, 0.3])
    s.draws |= p == 0.3
    fields: Fields = {"op": "dropout", "p": p}
    if x and s.chance(0.5):
        fields["share"] = s.some(x)
    return fields, x


def flip(s: Sketch, x: Axes) -> Drawn:
    return ({"op": "flip", "over": s.some(x)}, x) if x else None


def roll(s: Sketch, x: Axes) -> Drawn:
    if not x:
        return None
    over = s.some(x)
    by = [s.rng.randint(-8, 8) for _ in over] if s.chance(0.6) else [s.rng.randint(-3, 3)] * len(over)
    written = each_of(s, by, index=True)
    if s.chance(0.2) and over[0] != s.batch and len(x[over[0]].text) < 20:
        written = f"{at(x[over[0]])} // 2"
    return {"op": "roll", "over": over, "by": written}, x


def rename(s: Sketch, x: Axes) -> Drawn:
    old = [axis for axis in x if axis != s.batch]
    if not old:
        return None
    old = s.some(old)
    if len(old) > 1 and s.chance(0.5):
        names = dict(zip(old, [*old[1:], old[0]], strict=True))  # in a circle
    else:
        names = {}
        for axis in old:
            names[axis] = s.axis({*x, *names.values()})
    return {"op": "rename", "axes": names}, {names.get(a, a): size for a, size in x.items()}


def merge(s: Sketch, x: Axes) -> Drawn:
    if len(x) < 2:
        return None
    gone = s.some([axis for axis in x if axis != s.batch] or x)
    rest = {axis: size for axis, size in x.items() if axis not in gone}
    into = s.one([gone[0], gone[-1], s.axis(rest)])
    n = math.prod(x[axis].n for axis in gone)
    text = " * ".join(at(x[axis]) for axis in gone)
    if len(text) > 40:
        return None
    fields = {"op": "merge", "axes": gone if len(gone) > 1 else gone[0], "into": into}
    return fields, {**rest, into: Size(text if any(x[a].is_open for a in gone) else str(n), n)}


def split(s: Sketch, x: Axes) -> Drawn:
    found = [axis for axis in x if axis != s.batch and len(x[axis].text) < 20]
    if not found:
        return None
    axis = s.one(found)
    rest = {other: size for other, size in x.items() if other != axis}
    first = s.divisor(x[axis].n)
    counts = [Size(str(first), first), Size(f"{at(x[axis])} / {first}", x[axis].n // first)]
    if s.chance(0.2):
        counts.append(Size("1", 1))
    s.rng.shuffle(counts)
    into: Axes = {}
    for size in counts:
        plain = size if size.is_open else Size(str(size.n), size.n)
        into[axis if axis not in into and s.chance(0.4) else s.axis({*rest, *into})] = plain
    written = {name: s.size(size) for name, size in into.items()}
    return {"op": "split", "axis": axis, "into": written}, {**rest, **into}


def scale(s: Sketch, x: Axes) -> Drawn:
    return {"op": "scale", "by": s.number(-2, 2)}, x


def to_size(s: Sketch, x: Axes) -> Drawn:
    found = [axis for axis in x if axis != s.batch and len(x[axis].text) < 16]
    if not found:
        return None
    over, op = s.some(found, most=2), s.one(["pad", "crop"])
    new: Axes = {}
    for axis in over:
        size, by = x[axis], s.rng.randint(0, 3)
        ways = [
            (f"{at(size)} + {by}", size.n + by), (f"{at(size)} + -{at(size)} % 3", size.n + -size.n % 3),
        ] if op == "pad" else [
            (f"max({size.text} - {by}, 1)", max(size.n - by, 1)),
            (f"({size.text} + 1) // 2", (size.n + 1) // 2), (size.text, size.n),
        ]  # fmt: skip
        text, n = s.one(ways)
        new[axis] = Size(text if size.is_open else str(n), n)
    fields = {"op": op, "to": {axis: s.size(size) for axis, size in new.items()}}
    return fields, {**x, **new}


def unfold(s: Sketch, x: Axes) -> Drawn:
    found = [axis for axis in x if axis != s.batch]
    if not found or elements(x) > 300:
        return None
    over = s.some(found, most=2)
    drawn = slide(s, x, over)
    if drawn is None:
        return None
    more, axes, kernel = drawn
    into: Axes = {}
    for size in kernel:
        into[s.axis({*axes, *into})] = Size(str(size), size)
    alone = len(over) == 1 and s.chance(0.5)
    fields = {"op": "unfold", "over": over[0] if alone else over, "kernel": each_of(s, kernel),
              "into": list(into)[0] if alone else list(into), **more}  # fmt: skip
    return fields, {**axes, **into}


def pick(s: Sketch, x: Axes) -> Drawn:
    found = [axis for axis in x if axis != s.batch]
    if not found:
        return None
    axis = s.one(found)
    index = 0 if x[axis].is_open else s.rng.randrange(x[axis].n)
    fields: Fields = {"op": "pick", "axis": axis, "index": index}
    if s.chance(0.4):
        fields["of"] = s.size(x[axis])
    return fields, {other: size for other, size in x.items() if other != axis}


def branch(s: Sketch, x: Axes) -> Drawn:
    axis, times = s.axis(x), s.rng.randint(1, 3)
    if axis in s.indices or elements(x) * times > 600:
        return None
    drawn = _inside(s, x, axis, same=False)
    if drawn is None or axis in drawn[1]:
        return None
    fields = {"op": "branch", "axis": axis, "times": s.int(times), "each": drawn[0]}
    return fields, {**drawn[1], axis: Size(str(times), times)}


def repeat(s: Sketch, x: Axes) -> Drawn:
    index = s.one(["i", "i", "step", "j"])
    if index in s.indices or index in x:
        return None
    drawn = _inside(s, x, index, same=True)
    if drawn is None:
        return None
    fields: Fields = {"op": "repeat", "times": s.int(s.one([0, 1, 2, 2, 3])), "each": drawn[0]}
    if index != "i" or s.chance(0.2):
        fields["index"] = index
    if s.chance(0.4):
        fields["shared"] = s.flag(s.chance(0.7))
    return fields, x


def _inside(s: Sketch, x: Axes, index: str, same: bool) -> Drawn:
    """Return an op of x to stand inside another, which gives the axes of x where `same`."""
    s.indices.append(index)
    try:
        for _ in range(12):
            name = s.one(list(OF_ONE))
            if name in ("branch", "repeat") and (len(s.indices) > 2 or s.chance(0.3)):
                continue
            drawn = OF_ONE[name](s, x)
            if drawn is not None and (not same or drawn[1] == x) and elements(drawn[1]) <= MOST:
                return drawn
        return None
    finally:
        s.indices.pop()


OF_ONE: dict[str, Callable[[Sketch, Axes], Drawn]] = {
    "apply": apply, "gate": gate, "conv1d": conv1d, "linear": linear, "mlp": mlp, "conv2d": conv2d,
    "pool": pool, "norm": norm, "dropout": dropout, "flip": flip, "roll": roll, "rename": rename,
    "merge": merge, "split": split, "scale": scale, "to_size": to_size, "unfold": unfold,
    "pick": pick, "branch": branch, "repeat": repeat,
}  # fmt: skip
