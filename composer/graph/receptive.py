"""The receptive field: how much of the map one place of the output is made from.

Windows and kernels add up, each as wide as its dilation and the strides before it make it; what is
pooled, mixed or attended over the places of the map sees all of them. Batch norms count as in
evaluation, where they mix no places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from composer.graph.graph import INPUT, Graph, GraphNode
from composer.language.expressions import Expr
from composer.primitives.attention import Attention
from composer.primitives.base import Primitive
from composer.primitives.conv1d import Conv1d
from composer.primitives.conv2d import Conv2d
from composer.primitives.gate import Gate
from composer.primitives.linear import Linear
from composer.primitives.merge import Merge
from composer.primitives.mlp import Mlp
from composer.primitives.norm import Normalize
from composer.primitives.pool import Pool
from composer.primitives.resize import Resize
from composer.primitives.reweight import Reweight
from composer.primitives.split import Split

#: Ops that work on each place alone, by name.
EACH_PLACE = frozenset({
    "add", "sub", "mul", "div", "scale", "parameter", "schedule", "stack", "alias", "constant",
    "apply", "dropout",
})  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What one place of a value has seen of the input along one axis.

    `size` places, or all of them where it is None; neighbours there are `step` places apart.
    """

    size: int | None = 1
    step: int = 1


@dataclass(frozen=True)
class Field:
    """What a value has seen along each place of the map, and which places its axes are made of."""

    seen: Mapping[str, Seen] = field(default_factory=dict)
    made_of: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def whole(self, axis: str) -> Field:
        """Return it once all values along an axis are mixed."""
        places = self.made_of.get(axis, frozenset())
        return replace(self, seen={**self.seen, **{p: Seen(None) for p in places}})

    def window(self, axis: str, kernel: int, dilation: int, stride: int) -> Field:
        """Return it after a window along an axis.

        Raises:
            _Unknown: the axis holds several places, or a part of one.
        """
        places = self.made_of.get(axis, frozenset())
        if not places or kernel == stride == 1:
            return self
        if places != {axis}:
            raise _Unknown
        (place,), new = places, self.seen.get(axis, Seen())
        size = None if new.size is None else new.size + (kernel - 1) * dilation * new.step
        seen = {**self.seen, place: Seen(size, new.step * stride)}
        return replace(self, seen=seen)


class _Unknown(Exception):  # noqa: N818 - an op whose field is not known here
    pass


def receptive_field(graph: Graph) -> dict[str, int | None] | None:
    """Return how many places of the map one place of the output sees, along each axis.

    None is all places of an axis. Where an op mixes places in a way that is not followed here, the
    whole answer is None.

    Args:
        graph: compiled as written, at known sizes.
    """
    batch = graph.input_axes.names[0]
    places = [a for a in graph.input_axes.names if a not in (batch, "c")]
    made_of = {place: frozenset({place}) for place in places}
    found = {INPUT: Field({place: Seen() for place in places}, made_of)}
    try:
        for node in graph.in_order():
            found[node.name] = _field(graph, node, found)
    except _Unknown:
        return None
    last = found[graph.output]
    return {place: last.seen[place].size if place in last.seen else 0 for place in places}


def _field(graph: Graph, node: GraphNode, found: Mapping[str, Field]) -> Field:
    op = node.op
    assert op is not None and node.axes is not None
    reads = (str(op.x),) if isinstance(op, Resize) else node.operands  # of like, only the sizes
    new = _after(graph, op, _met([found[name] for name in reads]), found)
    return replace(new, made_of={a: p for a, p in new.made_of.items() if a in node.axes})


def _after(graph: Graph, op: Primitive, met: Field, found: Mapping[str, Field]) -> Field:
    """Return what an op's value has seen, from what its operands have seen together."""
    match op:
        case Pool(kernel=Expr() | (_, *_)) | Conv2d():
            for axis in op.over:
                place = op.over.index(axis)
                dilation = _int(op.dilation, place) if isinstance(op, Conv2d) else 1
                kernel = _kernel(graph, op, axis)
                met = met.window(axis, kernel, dilation, _int(op.stride, place))
            return met.whole(op.channels) if isinstance(op, Conv2d) else met
        case Conv1d():
            return met.window(op.along, _int(op.kernel), 1, 1)
        case Pool() if getattr(op, "to", None) is not None:
            raise _Unknown
        case Pool():
            return _whole(met, op.over)
        case Attention():
            return _whole(met, getattr(op, "keys", None) or op.over)
        case Reweight():
            return _whole(met, op.sum)
        case Linear() | Mlp():
            return met.whole(op.over)
        case Normalize():
            return met if str(op.fn) == "batch" else _over(met, op)
        case Gate():
            return met if str(op.fn) != "softmax" else _over(met, op)
        case Merge():
            joined = frozenset().union(*(met.made_of.get(a, frozenset()) for a in op.axes))
            rest = {a: p for a, p in met.made_of.items() if a not in op.axes}
            return replace(met, made_of={**rest, op.into: joined} if joined else rest)
        case Split() if met.made_of.get(op.axis):
            raise _Unknown
        case Split():
            return met
        case Resize():
            like = found[str(op.like)].seen
            steps = {
                p: replace(s, step=like[p].step if p in like else 1) for p, s in met.seen.items()
            }
            return replace(met, seen=steps)
    if op.op == "pick" and met.made_of.get(str(getattr(op, "axis", ""))):
        raise _Unknown
    if op.op in EACH_PLACE or op.op == "pick":
        return met
    raise _Unknown


def _over(met: Field, op: Primitive) -> Field:
    """Return what is seen once the axes in a field `over`, one or several, are mixed."""
    over = getattr(op, "over", None) or ()
    return _whole(met, (over,) if isinstance(over, str) else tuple(over))


def _whole(met: Field, axes: tuple[str, ...]) -> Field:
    for axis in axes:
        met = met.whole(axis)
    return met


def _met(fields: list[Field]) -> Field:
    """Return what several values have seen together."""
    seen: dict[str, Seen] = {}
    made_of: dict[str, frozenset[str]] = {}
    for one in fields:
        made_of |= one.made_of
        for place, new in one.seen.items():
            old = seen.get(place, new)
            size = None if None in (old.size, new.size) else max(old.size or 0, new.size or 0)
            seen[place] = Seen(size, max(old.step, new.step))
    return Field(seen, made_of)


def _kernel(graph: Graph, op: Pool | Conv2d, axis: str) -> int:
    """Return the size of a window along an axis, which may be that of a kernel that is a value."""
    if op.kernel is not None:
        return _int(op.kernel, op.over.index(axis))
    assert isinstance(op, Conv2d)
    axes = graph.axes_of(str(op.weight))
    if axes is None or f"k{axis}" not in axes:
        raise _Unknown
    return _int(axes[f"k{axis}"])


def _int(size: object, place: int = 0) -> int:
    """Return a size that is one known number, of a list the one at a place.

    Raises:
        _Unknown: it is none.
    """
    if isinstance(size, tuple | list):
        size = size[place]
    if not isinstance(size, Expr) or not size.is_constant:
        raise _Unknown
    return int(size.value)


def shown(found: Mapping[str, int | None] | None) -> str:
    """Return a receptive field in words: ``7×7``, ``the whole map``, ``h: 7, w: all``."""
    if found is None:
        return "not known: an op mixes places in a way that is not followed"
    sizes = list(found.values())
    if not sizes:
        return "there are no places"
    if all(size is None for size in sizes):
        return "all tokens" if list(found) == ["n"] else "the whole map"
    if all(size is not None for size in sizes):
        size = "×".join(map(str, sizes))
        return f"{size}: each place alone" if all(n == 1 for n in sizes) else size
    return ", ".join(f"{axis}: {'all' if n is None else n}" for axis, n in found.items())
