"""What a random spec may do next: nodes of several values, of none, and of whole specs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from random_graphs import MOST, Axes, Size, Sketch, elements, fits
from random_lookups import (
    attention,
    constant_of,
    kernel_by_value,
    parameter_of,
    resize,
    spectrum,
    there_and_back,
)
from random_ops import OF_ONE


def grow(s: Sketch, count: int) -> None:
    """Add about so many nodes to a sketch, at least one."""
    often = ("conv2d", "pool", "norm", "linear", "arithmetic", "attention", "apply", "unstack",
             "to_size", "there_and_back", "use", "use", "use")  # fmt: skip
    ways = [*OF_ONE, *OF_SEVERAL, *often]
    left = 40
    while (len(s.nodes) < count or not s.nodes) and left:
        left -= 1
        way = ways[s.turn % len(ways)] if left == 39 else s.one(ways)
        if way in OF_SEVERAL:
            OF_SEVERAL[way](s)
            continue
        x = s.node()
        assert x is not None
        drawn = OF_ONE[way](s, s.values[x])
        if drawn is not None and elements(drawn[1]) <= MOST:
            s.add(*drawn, x)
    last = list(s.nodes.values())[-1]["op"] if s.nodes else "repeat"
    if last == "repeat":  # none, or maybe of no step, which would give the input back
        s.add({"op": "scale", "by": 2}, s.output)


def met(*axes: Axes) -> Axes:
    return {axis: size for one in axes for axis, size in one.items()}


def partner(s: Sketch, x: str) -> str:
    """Return a node that meets another."""
    return s.node(lambda axes: fits(s.values[x], axes)) or x


def positive(s: Sketch) -> str:
    """Add nodes that come to numbers above zero."""
    x = s.node() or "input"
    axes = s.values[x]
    fn = s.one(["square", "softplus", "sigmoid"])
    inner = s.add({"op": "apply", "fn": fn}, axes, x)
    return s.add({"op": "add", "of": s.one([[inner, 0.4], ["0.3 + 0.1", inner]])}, axes)


def arithmetic(s: Sketch) -> None:
    op = s.one(["add", "sub", "mul", "div"])
    left = s.node() or "input"
    if op == "div":
        below = positive(s) if s.chance(0.6) else s.number(0.5, 2, True)
        if not fits(s.values[left], s.values.get(below, {})):
            left = below
        s.add({"op": "div", "of": [left, below]}, met(s.values[left], s.values.get(below, {})))
        return
    of: list[Any] = [left]
    axes = s.values[left]
    for _ in range(1 if op == "sub" else s.one([1, 1, 2])):
        if s.chance(0.25):
            of.append(s.number(-2, 2, True))
            continue
        other = s.node(lambda a: fits(axes, a))  # noqa: B023
        if other is not None:
            of.append(other)
            axes = met(axes, s.values[other])
    if len(of) < 2:
        of.append(0.5)
    s.rng.shuffle(of)
    if s.chance(0.1) and isinstance(of[0], str) and of[0] in s.values:
        of[0] = f"{of[0]} if {s.int(1)} == 1 else 7"
    s.add({"op": op, "of": of}, axes)


def squeeze(s: Sketch) -> None:
    """A layer of one vector for each sample."""
    x = s.node(lambda axes: {s.batch, "c"} <= set(axes))
    if x is None or not s.know(s.values[x]["c"]):
        return
    over = [axis for axis in s.values[x] if axis not in (s.batch, "c")]
    kept = {axis: s.values[x][axis] for axis in (s.batch, "c")}
    if over:
        x = s.add({"op": "pool", "over": over}, kept, x)
    drawn = OF_ONE[s.one(["linear", "mlp"])](s, kept)
    if drawn is not None:
        s.add(*drawn, x)


def domain(s: Sketch) -> None:
    """A function that has no value everywhere, or grows fast."""
    fn = s.one(["sqrt", "rsqrt", "log", "reciprocal", "pow", "exp"])
    if fn == "exp":
        x = s.node() or "input"
        inner = s.add({"op": "apply", "fn": "tanh"}, s.values[x], x)
        s.add({"op": "apply", "fn": "exp"}, s.values[inner])
        return
    x = positive(s)
    more = {"exponent": s.number(-2, 3, True)} if fn == "pow" else {}
    s.add({"op": "apply", "fn": fn, **more}, s.values[x])


def concat(s: Sketch) -> None:
    x = s.node(bool)
    if x is None:
        return
    axes = s.values[x]
    axis = s.one([a for a in axes if a != s.batch] or sorted(axes))
    rest = {a: size for a, size in axes.items() if a != axis}
    of = [x]
    for _ in range(s.one([0, 1, 1, 2])):
        found = s.node(lambda a: axis in a and {**a, axis: axes[axis]} == axes)
        of.append(found or x)
    sizes = [s.values[one][axis] for one in of]
    n = sum(size.n for size in sizes)
    text = " + ".join(size.text for size in sizes)
    new = {**rest, axis: Size(text if any(z.is_open for z in sizes) else str(n), n)}
    if elements(new) <= MOST and len(text) < 40 and axis != s.batch:
        s.add({"op": "concat", "of": of, "axis": axis}, new)


def stack(s: Sketch) -> None:
    x = s.node(lambda a: len(a) < 6)
    if x is None:
        return
    axes = s.values[x]
    of = [x, *(s.node(lambda a: a == axes) or x for _ in range(s.one([0, 1, 1, 2])))]
    axis = "c" if "c" not in axes and s.chance(0.5) else s.axis(axes)
    if elements(axes) * len(of) <= MOST and axis not in axes:
        s.add({"op": "stack", "of": of, "axis": axis}, {**axes, axis: Size(str(len(of)), len(of))})


def unstack(s: Sketch) -> None:
    def few(axes: Axes) -> list[str]:
        return [axis for axis, size in axes.items() if 1 < size.n < 5 and not size.is_open]

    x = s.node(lambda axes: bool(few(axes)))
    if x is None:  # the parts of a layer
        x = s.node(lambda axes: any(s.know(axes[axis]) for axis in axes))
        if x is None:
            return
        axes = s.values[x]
        over, part = s.one([axis for axis in axes if s.know(axes[axis])]), s.axis(axes)
        new = {part: Size("2", 2), over: Size("3", 3)}
        fields = {"op": "linear", "over": over, "out": {axis: size.n for axis, size in new.items()}}
        if elements({**axes, **new}) > MOST:
            return
        x = s.add(fields, {**axes, **new}, x)
    axes = s.values[x]
    axis = s.one(few(axes))
    rest = {a: z for a, z in axes.items() if a != axis}
    names = s.add_all({"op": "unstack", "axis": axis}, [rest] * axes[axis].n, x)
    s.add({"op": s.one(["add", "mul", "sub"]), "of": names[:2]}, rest)


def chunk(s: Sketch) -> None:
    x = s.node(lambda a: any(z.n > 1 and a_ != s.batch for a_, z in a.items()))
    if x is None:
        return
    axes = s.values[x]
    axis = s.one([a for a, z in axes.items() if z.n > 1 and a != s.batch])
    size = axes[axis]
    if len(size.text) > 16:
        return
    fields: dict[str, Any] = {"op": "chunk", "axis": axis}
    if s.chance(0.5) and size.n % 2 == 0:
        parts = [Size(f"({size.text}) / 2" if size.is_open else str(size.n // 2), size.n // 2)] * 2
    else:
        first = s.rng.randint(1, size.n - 1)
        rest = Size(f"({size.text}) - {first}", size.n - first)
        parts = [Size(str(first), first), rest if size.is_open else Size(str(rest.n), rest.n)]
        fields["sizes"] = [s.size(part) for part in parts]
    names = s.add_all(fields, [{**axes, axis: part} for part in parts], x)
    if "sizes" not in fields:
        s.add({"op": s.one(["add", "mul"]), "of": names}, {**axes, axis: parts[0]})
    else:
        x = s.one(names)
        s.add({"op": "gate"}, s.values[x], x)


def product(s: Sketch) -> None:
    x = s.node(bool)
    if x is None:
        return
    y = partner(s, x)
    if s.chance(0.5):  # the values of another, with an axis that does not meet
        drawn = OF_ONE["rename"](s, s.values[y])
        if drawn is not None:
            y = s.add(*drawn, y)
    a, b = s.values[x], s.values[y]
    shared = [axis for axis in a if axis in b and axis != s.batch]
    if not shared or not fits(a, b):
        return
    gone = s.some(shared)
    axes = {axis: size for axis, size in met(a, b).items() if axis not in gone}
    s.add({"op": "product", "of": [x, y], "sum": gone if len(gone) > 1 else gone[0]}, axes)


def complex_mul(s: Sketch) -> None:
    x = s.node(lambda a: any(z.text == "2" for axis, z in a.items() if axis != s.batch))
    if x is None:
        return
    axes = s.values[x]
    parts = s.one([axis for axis, z in axes.items() if axis != s.batch and z.text == "2"])
    by = s.node(lambda a: parts in a and a[parts].text == "2" and fits(axes, a))
    if by is None or s.chance(0.3):
        own = {axis: z for axis, z in axes.items() if not z.is_open and s.chance(0.7)}
        by = s.add(parameter_of(s, {**own, parts: axes[parts]}), {**own, parts: axes[parts]})
    of = [x, by] if s.chance(0.5) else [by, x]
    s.add({"op": "complex_mul", "of": of, "parts": parts}, met(axes, s.values[by]))


def reweight(s: Sketch) -> None:
    x = s.node() or "input"
    axes = s.values[x]
    more = set() if s.depth else {s.batch}  # what rides along with the batch has no place there
    by = s.node(lambda a: fits(a, axes) and set(a) <= {*axes, *more})
    if by is None:
        return
    fields: dict[str, Any] = {"op": "reweight", "x": x, "by": by}
    axes = met(axes, s.values[by])
    if axes and s.chance(0.5):
        fields["sum"] = s.some([a for a in axes if a != s.batch] or axes, most=2)
        axes = {axis: size for axis, size in axes.items() if axis not in fields["sum"]}
    s.add(fields, axes)


def mixture(s: Sketch) -> None:
    """Learned values, weighted for each sample."""

    def known(axes: Axes) -> list[str]:
        return [axis for axis, size in axes.items() if axis != s.batch and not size.is_open]

    x = s.node(lambda axes: s.batch in axes and bool(known(axes)))
    if x is None or s.depth:
        return
    axis = s.one(known(s.values[x]))
    over = [a for a in s.values[x] if a not in (s.batch, axis)]
    if over:
        x = s.add({"op": "pool", "over": over}, {a: s.values[x][a] for a in (s.batch, axis)}, x)
    size = s.values[x][axis]
    own = {s.axis([axis]): Size("2", 2), axis: size}
    if s.chance(0.5):
        own["o"] = Size("3", 3)
    learned = s.add(parameter_of(s, own), own)
    rest = {a: z for a, z in own.items() if a != axis}
    fields = {"op": "reweight", "x": learned, "by": x, "sum": axis}
    s.add(fields, {s.batch: s.values[x][s.batch], **rest})


def learned(s: Sketch) -> None:
    x = s.node() or "input"
    axes = {a: z for a, z in s.values[x].items() if s.chance(0.5) and s.know(z)}
    if s.chance(0.3):
        axes[s.axis(s.values[x])] = Size("2", 2)
    if not fits(axes, s.values[x]) or len(axes) > 5:
        return
    own = s.add(parameter_of(s, axes), axes)
    s.add({"op": s.one(["add", "mul"]), "of": [x, own]}, met(s.values[x], axes))


def table(s: Sketch) -> None:
    x = s.node() or "input"
    axes = {a: z for a, z in s.values[x].items() if s.chance(0.5) and a != s.batch}
    axes = {a: z for a, z in axes.items() if not z.names & {s.batch, "t"} and len(z.text) < 20}
    if s.chance(0.3):
        axes[s.axis(s.values[x])] = Size("3", 3)
    if not fits(axes, s.values[x]):
        return
    names = list(axes) or [n for n in s.input if n != s.batch]
    a, b = s.one(names), s.one(names)
    value = s.one([
        f"1 if {a} <= {b} else 0", f"cos(pi * {a} / 3) + {b}", f"0.5 * ({a} + 1) - {b}",
        f"{a} == {b}" if axes else 1, f"exp(-abs({a} - {b})) / (1 + {a})", 0.7, f"{a} % 2",
        f"max({a}, 1.5) ** 0.5", f"{a} // 2 - sqrt({b})",
    ])  # fmt: skip
    made = s.add(constant_of(s, axes, value), axes)
    s.add({"op": s.one(["add", "mul"]), "of": [x, made]}, met(s.values[x], axes))


def schedule(s: Sketch) -> None:
    x = s.node() or "input"
    fields = {"op": "schedule", "begin": s.number(3, 9), "end": s.number(0.5, 2),
              "steps": s.int(s.rng.randint(1, 6))}  # fmt: skip
    made = s.add(fields, {})
    s.add({"op": s.one(["div", "mul", "sub"]), "of": [x, made]}, s.values[x])


def use(s: Sketch) -> None:
    from random_specs import used

    used(s)


OF_SEVERAL: dict[str, Callable[[Sketch], None]] = {
    "squeeze": squeeze,
    "arithmetic": arithmetic, "domain": domain, "concat": concat, "stack": stack,
    "unstack": unstack, "chunk": chunk, "product": product, "reweight": reweight,
    "complex_mul": complex_mul,
    "mixture": mixture, "learned": learned, "table": table, "schedule": schedule,
    "attention": attention, "kernel_by_value": kernel_by_value, "there_and_back": there_and_back,
    "resize": resize, "use": use, "spectrum": spectrum,
}  # fmt: skip
