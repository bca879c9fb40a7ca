"""What a random spec may use: a shipped spec, or one drawn for it, on some of its axes."""

from __future__ import annotations

import re
from typing import Any

from random_graphs import MOST, Axes, Size, Sketch, elements


def used(s: Sketch) -> None:
    """Add a node that uses another spec."""
    x = s.node(lambda a: s.batch in a and len(a) >= 3)
    if x is None:
        return
    if s.chance(0.3):
        _shipped(s, x)
    elif s.depth < 2:
        _drawn(s, x)


def _names(s: Sketch, x: Axes, wanted: list[str]) -> dict[str, str] | None:
    """Return which axes of x a spec takes, by the names it has for them."""
    free = [axis for axis in x if axis != s.batch]
    if len(free) < len(wanted):
        return None
    if set(wanted) <= set(free) and s.chance(0.6):
        return {axis: axis for axis in wanted}
    return dict(zip(wanted, s.rng.sample(free, len(wanted)), strict=True))


def _node(s: Sketch, spec: str, names: dict[str, str], params: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {"op": "use", "spec": spec}
    axes = {there: here for there, here in names.items() if there != here or s.chance(0.1)}
    if axes:
        fields["axes"] = axes
    if params:
        fields["params"] = params
    return fields


#: A shipped spec of maps, with params under which it takes any number of channels.
OF_MAPS: dict[str, dict[str, Any]] = {
    "eca": {"kernel": 3}, "se": {"reduction": 2, "min_width": 1}, "ese": {}, "se_var1": {},
    "se_var2": {}, "se_var3": {}, "cbam_spatial": {"kernel": 3},
    "cbam_channel": {"reduction": 2, "min_width": 1}, "ge_theta_minus": {"extent": 2},
    "cbam": {"min_width": 1},
}  # fmt: skip
OF_TOKENS: dict[str, dict[str, Any]] = {
    "sa": {"width": 4}, "mhsa": {"heads": 1}, "transformer_layer": {"heads": 1, "expansion": 2},
}  # fmt: skip


def _shipped(s: Sketch, x: str) -> None:
    axes = s.values[x]
    on_map = s.chance(0.6)
    names = _names(s, axes, ["c", "h", "w"] if on_map else ["n", "c"])
    spec = s.one(sorted(OF_MAPS if on_map else OF_TOKENS))
    if names is None or not s.know(axes[names["c"]]):
        return
    if {"s", "d", "head", "part"} & set(axes):  # axes that these specs make
        return
    least = axes[names["h"]].n * axes[names["w"]].n if on_map else 2
    if spec in ("cbam", "cbam_spatial") and least * axes[s.batch].n < 2:
        return
    params = {name: s.int(n) for name, n in (OF_MAPS if on_map else OF_TOKENS)[spec].items()}
    if on_map and spec in ("eca", "se_var3", "ese") and s.chance(0.3):
        params = {}
    s.add(_node(s, spec, names, params), axes, x)


def _drawn(s: Sketch, x: str) -> None:
    """Use a spec that is drawn for this, whose names of sizes are those of its own input."""
    from random_meetings import grow

    axes = s.values[x]
    names = _names(s, axes, s.one([["c", "h", "w"], ["n", "c"]]))
    if names is None:
        return
    there = {here: name for name, here in names.items()}
    taken = {*names, *there}
    riding = [a for a in axes if a != s.batch and a not in there]
    inside: Axes = {"b": Size("b", axes[s.batch].n)}
    inside |= {name: Size(name, axes[here].n) for name, here in names.items()}
    if any(len(size.text) > 12 for size in axes.values()) or len(riding) > 1 or set(riding) & taken:
        return
    times = 1
    for axis in riding:
        times *= axes[axis].n
    beside = (*riding, *names.values(), *s.riding)
    inner = Sketch(s.rng, inside, s.turn, depth=s.depth + 1, riding=beside, files=s.files)
    grow(inner, s.rng.randint(1, 3))
    back = dict(names.items())
    text = inner.written(f"inner{len(s.files)}")
    out = inner.output
    if (
        "b" not in out
        or elements(out) * times > MOST
        or (inner.needs_size and not s.know(*(axes[here] for here in names.values())))
    ):
        return
    sizes = {name: axes[here] for name, here in names.items()} | {"b": axes[s.batch]}
    found = {back.get(axis, axis): _outside(size, sizes) for axis, size in out.items()}
    kept = {axis: axes[axis] for axis in riding}
    if len(found) < len(out) or set(found) & set(riding):
        return
    if any(len(size.text) > 40 for size in found.values()):
        return
    file = f"inner{len(s.files)}.yaml"
    s.files[file] = text
    s.draws |= inner.draws
    fields = _node(s, file, names, {})
    like_input = [
        name for name, its in inner.values.items()
        if name != "input" and {a: size.text for a, size in its.items()}
        == {a: size.text for a, size in inside.items()}
    ]  # fmt: skip
    if like_input and s.chance(0.5):
        given = s.add({"op": "apply", "fn": "tanh"}, axes, x)
        fields["inputs"] = {s.one(like_input): given}
    s.add(fields, {**found, **kept}, x)


def _outside(size: Size, sizes: Axes) -> Size:
    """Return the size of an axis inside a spec, over the sizes of the spec that uses it."""
    if not size.is_open and not size.names & set(sizes):
        return size
    text = re.sub(r"[A-Za-z_]\w*", lambda found: _one(found[0], sizes), size.text)
    whole = Size(text, size.n)
    return whole if whole.is_open else Size(str(size.n), size.n)


def _one(name: str, sizes: Axes) -> str:
    if name not in sizes:
        return name
    text = sizes[name].text
    return text if text.isalnum() else f"({text})"
