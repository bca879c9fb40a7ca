"""What a random spec may do next to one value, of any op that reads one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from random_graphs import MOST, Axes, Size, Sketch, at, elements
from random_layers import (
    ACTS,
    Drawn,
    Fields,
    act,
    conv1d,
    conv2d,
    each_of,
    linear,
    mlp,
    norm,
    pool,
    slide,
)


def apply(s: Sketch, x: Axes) -> Drawn:
    of_numbers = ("abs", "square", "sign", "sin", "cos")
    with_settings = ("pow", "clamp", "clamp", "elu", "leaky_relu")
    fn = s.one(s.one([ACTS, ACTS, of_numbers, with_settings]))
    if s.chance(0.5):
        fn = s.in_turn([*ACTS, *of_numbers, *with_settings])
    fields: Fields = {"op": "apply", "fn": fn}
    if fn == "pow":
        fields["exponent"] = s.one([2, 3, 1, s.param(2, 3)])
    elif fn == "clamp":
        bounds = {"low": s.number(-0.9, -0.2, True), "high": s.number(0.2, 0.9, True)}
        gone = s.one([None, "low", "high"])
        fields |= {bound: number for bound, number in bounds.items() if bound != gone}
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
        return {"op": "gate", "fn": "softmax", "over": plain}, x
    return ({"op": "gate", "fn": act(s)} if s.chance(0.7) else {"op": "gate"}), x


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
    by = [s.rng.randint(-8, 8) for _ in over]
    if s.chance(0.4):
        by = by[:1] * len(over)
    written = each_of(s, by, index=True)
    first = x[over[0]]
    plain = len(first.text) < 20 and "/" not in first.text.replace("//", "") and not s.depth
    if s.chance(0.2) and over[0] != s.batch and plain:
        written = f"{at(first)} // 2"
    return {"op": "roll", "over": over, "by": written}, x


def rfft(s: Sketch, x: Axes) -> Drawn:
    found = [axis for axis in x if axis != s.batch and len(x[axis].text) < 16]
    if not found or elements(x) > 300:
        return None
    over, parts = s.some(found, most=3), s.axis(x)
    last = x[over[-1]]
    n = last.n // 2 + 1
    half = Size(f"{at(last)} // 2 + 1" if last.is_open else str(n), n)
    fields = {"op": "rfft", "over": over[0] if len(over) == 1 else over, "parts": parts}
    return fields, {**x, over[-1]: half, parts: Size("2", 2)}


def irfft(s: Sketch, x: Axes) -> Drawn:
    parts = [axis for axis, size in x.items() if axis != s.batch and size.text == "2"]
    found = [axis for axis in x if axis != s.batch and axis not in parts[:1]]
    halves = {axis: re.fullmatch(r"\(?(\w+)\)? // 2 \+ 1", x[axis].text) for axis in found}
    found = [axis for axis in found if halves[axis] or not x[axis].is_open]
    if not parts or not found:
        return None
    over = s.some(found, most=2)
    n, half = x[over[-1]].n, halves[over[-1]]
    size = Size(str(m := max(2 * n - s.one([1, 2]), 1)), m)
    if half is not None and x[over[-1]].is_open:
        size = s.input[half[1]]
    fields = {"op": "irfft", "over": over[0] if len(over) == 1 else over, "parts": parts[0],
              "size": s.size(size)}  # fmt: skip
    rest = {axis: z for axis, z in x.items() if axis != parts[0]}
    return fields, {**rest, over[-1]: size}


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
            (f"{at(size)} + {by}", size.n + by),
            (f"{at(size)} + -{at(size)} % 3", size.n + -size.n % 3),
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
              "into": next(iter(into)) if alone else list(into), **more}  # fmt: skip
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
    shared = s.chance(0.3)
    s.sharing += shared
    drawn = _inside(s, x, index, same=True)
    s.sharing -= shared
    if drawn is None:
        return None
    fields: Fields = {"op": "repeat", "times": s.int(s.one([0, 1, 2, 2, 3])), "each": drawn[0]}
    if index != "i" or s.chance(0.2):
        fields["index"] = index
    if shared or s.chance(0.2):
        fields["shared"] = s.flag(shared)
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
    "rfft": rfft, "irfft": irfft,
    "merge": merge, "split": split, "scale": scale, "to_size": to_size, "unfold": unfold,
    "pick": pick, "branch": branch, "repeat": repeat,
}  # fmt: skip
