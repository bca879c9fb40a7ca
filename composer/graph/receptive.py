"""The receptive field: how much of the map one output position depends on.

Windows and kernels add up, each widened by its dilation and the strides before it; anything pooled,
mixed or attended over the spatial axes sees all of them. Batch norms count as in evaluation, where
they mix no positions, and the edges are treated like the middle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from composer.graph.graph import INPUT, Graph, GraphNode
from composer.graph.seen import Seen, Unknown, Window, met
from composer.language.expressions import Expr, evaluate
from composer.primitives.attention import Attention
from composer.primitives.axes import Axes
from composer.primitives.base import Primitive
from composer.primitives.chunk import Piece
from composer.primitives.concat import Concat
from composer.primitives.constant import Constant
from composer.primitives.conv1d import Conv1d
from composer.primitives.conv2d import Conv2d
from composer.primitives.flip import Flip
from composer.primitives.fold import Fold
from composer.primitives.gate import Gate
from composer.primitives.irfft import Irfft
from composer.primitives.linear import Linear
from composer.primitives.merge import Merge
from composer.primitives.mlp import Mlp
from composer.primitives.norm import Normalize
from composer.primitives.per_axis import for_each
from composer.primitives.pick import Pick
from composer.primitives.pool import Pool
from composer.primitives.product import Product
from composer.primitives.rename import Rename
from composer.primitives.resize import Resize
from composer.primitives.reweight import Reweight
from composer.primitives.rfft import Rfft
from composer.primitives.roll import Roll
from composer.primitives.split import Split
from composer.primitives.unfold import Unfold

#: Pointwise ops, by name: each output element depends at most on inputs at its position.
EACH_PLACE = frozenset({
    "add", "sub", "mul", "div", "scale", "parameter", "schedule", "stack", "alias", "apply",
    "dropout", "pad", "crop",
})  # fmt: skip
TOKENS = 5040  # has many divisors
#: Operations with which an expression can be zero for some elements.
_CHOICES = frozenset({"if", "==", "!=", "<", "<=", ">", ">="})


def receptive_field(graph: Graph) -> dict[str, int | None] | None:
    """Return how many positions of the map one output position sees, along each axis.

    None for an axis means all of it. If an op mixes positions in a way that is not tracked here,
    the whole result is None.

    Args:
        graph: compiled as written, at known sizes.
    """
    batch = graph.input_axes.names[0]
    places = [a for a in graph.input_axes.names if a not in (batch, "c")]
    try:
        sizes = _sizes(graph, graph.input_axes)
        one = {place: frozenset({Window(frozenset({((place, 0), 1)}))}) for place in places}
        found = {INPUT: Seen(one, {place: (sizes[place],) for place in places}).on(sizes)}
        for node in graph.in_order():
            found[node.name] = _seen(graph, node, found)
        last = found[graph.output]
        return {place: last.along(place, sizes[place]) for place in places}
    except Unknown:
        return None


def _seen(graph: Graph, node: GraphNode, found: Mapping[str, Seen]) -> Seen:
    assert node.op is not None and node.axes is not None
    sizes = _sizes(graph, node.axes)
    x = getattr(node.op, "x", None)
    if x is not None and (own := _of_one(graph, node.op, found[str(x)], sizes)) is not None:
        return own.on(sizes)
    return _of_several(graph, node.op, found, node.operands).on(sizes)


def _of_one(graph: Graph, op: Primitive, x: Seen, sizes: Mapping[str, int]) -> Seen | None:
    """Return what an op with one operand sees; None for other ops."""
    match op:
        case Pool(kernel=None, to=None, exponent=None):
            return x.mixed(op.over)
        case Pool(kernel=None, to=tuple()):
            for axis in op.over:
                x = _pooled_to(x, axis, sizes[axis])
            return x
        case Pool(exponent=None):
            for place, axis in enumerate(op.over):
                kernel, stride = _int(op.kernel, place), _int(op.stride, place)
                x = x.slid(axis, kernel, stride, kernel // 2 if kernel % 2 else 0, 1)
            return x
        case Rfft() | Irfft():
            return x.mixed(op.over)
        case Conv1d():
            return x.slid(op.along, kernel := _int(op.kernel), 1, kernel // 2, 1)
        case Linear(groups=groups) if _int(groups) > 1 and x.follows(op.over):
            raise Unknown
        case Linear() | Mlp():
            return x.mixed([op.over])
        case Normalize() if str(op.fn) == "batch":
            return x
        case Normalize() if op.groups is not None and x.follows(op.over[0]):
            raise Unknown
        case Normalize() | Gate(over=tuple()):
            return met([x, x.mixed(op.over or ())])
        case Gate():
            return x
        case Merge():
            return x.merged(op.axes, op.into)
        case Split():
            return x.divided(op.axis, {axis: sizes[axis] for axis in op.into})
        case Rename():
            return x.renamed(op.axes)
        case Pick():
            return x.picked(op.axis, _int(op.index))
        case Resize():
            for axis in op.over:
                x = x.nearest(axis, sizes[axis])
            return x
        case Piece():
            return x.moved(op.axis, _start(op, sizes[op.axis]))
        case Roll():
            for axis, by in zip(op.over, for_each(op.by, op.over, "by"), strict=True):
                size = sizes[axis]
                x = x.moved(axis, (-_int(by) + size // 2) % size - size // 2, around=size)
            return x
        case Flip():
            for axis in op.over:
                x = x.flipped(axis)
            return x
        case Unfold():
            numbers = zip(*op.slide().numbers(), strict=True)
            for axis, inner, one in zip(op.over, op.into, numbers, strict=True):
                x = x.spread(axis, inner, *one)
            return x
        case Fold():
            have = graph.axes_of(str(op.x))
            assert have is not None
            numbers = zip(*op.slide(have).numbers(), strict=True)
            for axis, inner, one in zip(op.over, op.axes, numbers, strict=True):
                x = x.added_up(axis, inner, *one)
            return x
    return None


def _of_several(
    graph: Graph, op: Primitive, found: Mapping[str, Seen], operands: Iterable[str]
) -> Seen:
    """Return what an op with several operands, or none, sees."""
    together = met([found[name] for name in operands])
    match op:
        case Constant():
            chooses = any(part.kind in _CHOICES for part in op.value.walk())
            return Seen(chosen=frozenset(op.axes if chooses else ()))
        case Pool():  # whose exponent is a value
            return together.mixed(op.over)
        case Reweight() | Product():
            return together.mixed(op.sum)
        case Attention():
            return _attended(op, found)
        case Conv2d():
            return _convolved(graph, op, found)
        case Concat() if not together.follows(op.axis):
            return together
    if op.op in EACH_PLACE or not any(map(together.follows, op.named_axes)):
        return together  # an axis that is not named is unchanged
    raise Unknown


def _convolved(graph: Graph, op: Conv2d, found: Mapping[str, Seen]) -> Seen:
    """Return what a convolution sees, including its kernel if that is a value."""
    x = found[str(op.x)]
    slide = op.slide(lambda ref: graph.by_name[str(ref)].axes or Axes(()))
    for axis, numbers in zip(op.over, zip(*slide.numbers(), strict=True), strict=True):
        x = x.slid(axis, *numbers)
    x = x.mixed([op.channels])
    if str(op.norm.fn) in ("group", "instance"):  # their statistics are over the map
        x = met([x, x.mixed(op.over)])
    if op.weight is None:
        return x
    weight = found[str(op.weight)]
    if weight.chosen:
        raise Unknown
    return met([x, weight.mixed(list(weight.parts))])


def _attended(op: Attention, found: Mapping[str, Seen]) -> Seen:
    """Return what a query sees: itself, all keys and values, and the biases of all keys."""
    q, k, v = (found[str(ref)] for ref in (op.q, op.k, op.v))
    keys = op.keys if any(axis in k.parts for axis in op.keys) else op.over
    parts = [q.mixed([op.along]), k.mixed([*keys, op.along]), v.mixed(keys)]
    if op.bias is not None:
        parts.append(found[str(op.bias)].mixed(op.keys))
    if op.mask is not None or any(one.chosen.intersection(op.keys or keys) for one in parts):
        raise Unknown
    return met(parts)


def _pooled_to(x: Seen, axis: str, size: int) -> Seen:
    """Return what adaptive pooling of an axis to a new size sees."""
    have = prod(x.parts[axis])
    if have == size or not x.follows(axis):
        return x
    if size == 1:
        return x.mixed([axis])
    if have % size:
        raise Unknown  # some bins are wider than others
    return x.slid(axis, have // size, have // size, 0, 1)


def _start(op: Piece, own: int) -> int:
    """Return where a part starts on its axis."""
    index = int(op.index.value)
    return index * own if op.sizes is None else sum(map(_int, op.sizes[:index]))


def _sizes(graph: Graph, axes: Axes) -> dict[str, int]:
    """Return the sizes of a value's axes, with an open number of tokens as `TOKENS`.

    Samples are not mixed, so the batch counts as one.

    Raises:
        Unknown: a size is not known.
    """
    batch, *rest = graph.input_axes.names
    known = {batch: 1, **dict.fromkeys(rest, TOKENS)}
    found = {axis: evaluate(size, known) for axis, size in axes.sizes}
    if not all(isinstance(size, (int, float)) and size == int(size) for size in found.values()):
        raise Unknown
    return {axis: int(size) for axis, size in found.items() if size is not None}


def _int(size: object, place: int = 0) -> int:
    """Return a known number; from a list, the entry at an index, or the single entry for all.

    Raises:
        Unknown: the number is not known.
    """
    if isinstance(size, tuple):
        size = size[place if len(size) > 1 else 0]
    if not isinstance(size, Expr) or not size.is_constant:
        raise Unknown
    return int(size.value)


def shown(found: Mapping[str, int | None] | None) -> str:
    """Return a receptive field in words: ``7×7``, ``the whole map``, ``h: 7, w: all``."""
    if found is None:
        return "not known: an op mixes positions in a way that is not tracked"
    sizes = list(found.values())
    if not sizes:
        return "no spatial axes"
    if all(size is None for size in sizes):
        return "all tokens" if list(found) == ["n"] else "the whole map"
    if all(size is not None for size in sizes):
        size = "×".join(map(str, sizes))
        return f"{size}: pointwise" if all(n == 1 for n in sizes) else size
    return ", ".join(f"{axis}: {'all' if n is None else n}" for axis, n in found.items())
