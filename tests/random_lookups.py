"""What a random spec may do next: attention, kernels that are values, and back from windows."""

from __future__ import annotations

from typing import Any

from random_graphs import MOST, Axes, Size, Sketch, at, elements
from random_layers import act, each_of, slide
from random_ops import OF_ONE


def parameter_of(s: Sketch, axes: Axes) -> dict[str, Any]:
    items = list(axes.items())
    s.rng.shuffle(items)
    init = s.one([0, 1, "conv", "kaiming", "xavier", {"normal": 0.02}, {"uniform": 0.1}, 0.3])
    written = {axis: s.size(size) for axis, size in items}
    return {"op": "parameter", "axes": written, "init": init}


def constant_of(s: Sketch, axes: Axes, value: Any) -> dict[str, Any]:
    written = {axis: s.size(size) for axis, size in axes.items()}
    return {"op": "constant", "axes": written, "value": value}


def attention(s: Sketch) -> None:
    x = s.node(lambda a: len(a) >= 2)
    if x is None:
        return
    axes = s.values[x]
    free = [a for a in axes if a != s.batch]
    if len(free) < 2:
        return
    along = s.one(free)
    over = s.some([a for a in free if a != along], least=s.one([1, 2]), most=2)
    fields: dict[str, Any] = {"op": "attention", "q": x, "k": x, "v": x}
    more: dict[str, Any] = {}
    relative = len(over) == 2 and s.chance(0.6) and s.know(*(axes[a] for a in (*over, along)))
    own = {axis: s.axis({*axes}) for axis in over}
    if len(set(own.values())) < len(own):
        return
    keys: list[str] = []
    if s.chance(0.7):  # the same, in another way
        fields["k"] = s.add({"op": "apply", "fn": "tanh"}, axes, x)
    if s.chance(0.4):
        fields["v"] = _values(s, x, over, {*own.values()})
    if not relative and s.chance(0.5):
        keys = list(own.values())
        renamed = {own.get(a, a): z for a, z in axes.items()}
        if s.chance(0.7):
            fields["k"] = s.add({"op": "rename", "axes": own}, renamed, fields["k"])
            there = {own.get(a, a): z for a, z in s.values[fields["v"]].items()}
            fields["v"] = s.add({"op": "rename", "axes": own}, there, fields["v"])
    if keys or s.chance(0.3):
        keys = keys or list(own.values())
        more["keys"] = keys[0] if len(keys) == 1 else keys
        known = {**{a: axes[a] for a in over}, **{own[a]: axes[a] for a in over}}
        kept = [a for a in known if s.chance(0.7) or a == keys[0]]
        for word in ("bias", "mask"):
            logits = {a: known[a] for a in kept}
            if s.chance(0.6) and elements(logits) <= 300:
                more[word] = _of_logits(s, word, logits)
    if s.chance(0.3):
        more["scale"] = s.number(0.3, 1, True)
    if relative:
        more["position"] = "relative"
        if s.chance(0.5):
            more["scale_position"] = s.flag(s.chance(0.5))
    fields |= {"over": over[0] if len(over) == 1 else over, "along": along, **more}
    logits = elements(axes) // axes[along].n
    for axis in over:
        logits *= axes[axis].n
    if logits > 3 * MOST:
        return
    features = {a: z for a, z in s.values[fields["v"]].items() if a not in own.values()}
    kept_axes = {a: z for a, z in axes.items() if a != along}
    s.add(fields, {**features, **kept_axes})


def _values(s: Sketch, x: str, over: list[str], taken: set[str]) -> str:
    """Add values that have other features than queries and keys, or fewer axes that ride along."""
    axes = s.values[x]
    gone = [a for a in axes if a not in over and a != s.batch]
    if s.chance(0.5):
        rest = {a: z for a, z in axes.items() if a not in gone}
        return s.add({"op": "pool", "over": gone}, rest, x)
    name = s.axis({*axes, *taken})
    both = s.add({"op": "stack", "of": [x, x], "axis": name}, {**axes, name: Size("2", 2)})
    return s.add({"op": "roll", "over": [name, over[0]], "by": 1}, s.values[both])


def _of_logits(s: Sketch, word: str, axes: Axes) -> str:
    """Add what is added to the logits, or a mask."""
    names = list(axes)
    if s.chance(0.4) and s.know(*axes.values()):
        return s.add(parameter_of(s, axes), axes)
    a, b = names[0], names[-1]
    value = f"1 if {b} <= {a} + 1 else 0" if word == "mask" else f"0.3 * {a} - 0.2 * {b}"
    if word == "mask" and s.chance(0.3):
        value = f"({a} + {b}) % 2"
    return s.add(constant_of(s, axes, value), axes)


def kernel_by_value(s: Sketch) -> None:
    x = s.node(lambda a: {"h", "w"} <= set(a))
    if x is None:
        return
    axes = s.values[x]
    width = axes.get("c", Size("1", 1))
    if not s.know(width):
        return
    drawn = slide(s, axes, ["h", "w"])
    if drawn is None:
        return
    more, found, kernel = drawn
    groups = s.divisor(width.n) if s.chance(0.3) else 1
    out = groups * s.one([1, 2])
    own: Axes = {}
    for axis, n in zip(("o", "i", "kh", "kw"), (out, width.n // groups, *kernel), strict=True):
        own[axis] = Size(str(n), n)
    if width.is_open:
        own["i"] = Size(width.text if groups == 1 else f"{at(width)} / {groups}", width.n // groups)
    if s.batch in axes and not s.depth and s.chance(0.6):  # for each sample
        weight = s.add(parameter_of(s, own), own)
        over = [a for a in axes if a != s.batch]
        by = s.add({"op": "pool", "over": over}, {s.batch: axes[s.batch]}, x)
        own = {s.batch: axes[s.batch], **own}
        weight = s.add({"op": "mul", "of": [by, weight]}, own)
    else:
        weight = s.add(parameter_of(s, own), own)
    fields: dict[str, Any] = {"op": "conv2d", "x": x, "weight": weight, **more}
    if groups > 1:
        fields["groups"] = groups
    if s.chance(0.3):
        fields["act"] = act(s)
    s.add(fields, {**found, "c": Size(str(out), out)})


def there_and_back(s: Sketch) -> None:
    """Windows, and their sum at each place."""
    x = s.node(lambda a: elements(a) < 200 and len([n for n in a if n != s.batch]) >= 1)
    if x is None:
        return
    axes = s.values[x]
    over = s.some([a for a in axes if a != s.batch], most=2)
    drawn = slide(s, axes, over)
    if drawn is None:
        return
    more, found, kernel = drawn
    into: Axes = {}
    for n in kernel:
        into[s.axis({*found, *into})] = Size(str(n), n)
    if elements({**found, **into}) > MOST:
        return
    wide = s.add({"op": "unfold", "over": over, "kernel": each_of(s, kernel), "into": list(into),
                  **more}, {**found, **into}, x)  # fmt: skip
    drawn_one = OF_ONE[s.one(["apply", "gate", "scale"])](s, s.values[wide])
    if drawn_one is not None:
        wide = s.add(*drawn_one, wide)
    s.add({"op": "fold", "axes": list(into), "over": over, "like": x, **more}, axes, wide)


def spectrum(s: Sketch) -> None:
    """A Fourier transform, something done to the frequencies, and its inverse."""
    x = s.node(lambda a: elements(a) < 300 and len(a) > 1)
    drawn = None if x is None else OF_ONE["rfft"](s, s.values[x])
    if x is None or drawn is None:
        return
    fields, axes = drawn
    found = s.add(fields, axes, x)
    if s.chance(0.6):
        parts = fields["parts"]
        own = {a: z for a, z in axes.items() if a == parts or (not z.is_open and s.chance(0.5))}
        by = s.add(parameter_of(s, own), own) if s.chance(0.7) else found
        found = s.add({"op": "complex_mul", "of": [found, by], "parts": parts}, axes)
    over = fields["over"]
    last = s.values[x][over if isinstance(over, str) else over[-1]]
    s.add({**fields, "op": "irfft", "size": s.size(last)}, s.values[x], found)


def resize(s: Sketch) -> None:
    x = s.node(lambda a: len(a) >= 2)
    if x is None:
        return
    over = s.rng.sample(sorted(s.values[x]), 2)
    like = s.node(lambda a: set(over) <= set(a))
    assert like is not None
    if s.chance(0.6):  # smaller first
        fields = {"op": "pool", "over": over, "kernel": s.one([2, 3]), "stride": 2}
        fields["stride"] = fields["kernel"]
        k = fields["kernel"]
        small = {
            a: z if a not in over else Size(
                f"({z.text} - 1) // {k} + 1" if z.is_open else str((z.n - 1) // k + 1),
                (z.n - 1) // k + 1,
            )
            for a, z in s.values[x].items()
        }  # fmt: skip
        like, x = x, s.add(fields, small, x)
    axes = {**s.values[x], **{a: s.values[like][a] for a in over}}
    if elements(axes) <= MOST:
        s.add({"op": "resize", "over": over, "like": like}, axes, x)
