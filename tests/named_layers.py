"""What each op with weights does, for the interpreter: written from the page of the language."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from named_ops import ACTIVATIONS, root, softmax
from named_values import Value, contracted, meet, union, windows
from torch import Tensor

if TYPE_CHECKING:
    from named_axes import Here

ALL = "all~"  # the channels of a layer, before they are taken apart


def parameter(here: Here) -> Value:
    sizes = here.mapping("axes")
    return Value(here.weight("", *sizes.values()), tuple(sizes))


def linear(here: Here) -> Value:
    x, over = here.x, here.name("over")
    new = here.out(over, x.size(over))
    width, groups = math.prod(new.values()), here.size("groups", 1)
    weight = here.weight("linear.weight", groups, width // groups, x.size(over) // groups)
    x = x.apart(over, {"g~": groups, over: x.size(over) // groups})
    rest = tuple(axis for axis in x.axes if axis not in ("g~", over))
    y = contracted([x, Value(weight, ("g~", "o~", over))], (*rest, "g~", "o~"))
    return _finished(here, y.merged(["g~", "o~"], ALL), "linear", new, ())


def conv2d(here: Here) -> Value:
    x, over = here.x, here.axes("over", ("h", "w"))
    channels = here.name("channels", "c")
    if channels not in x.axes:
        x = Value(x.data.unsqueeze(-1), (*x.axes, channels))
    groups, width = here.size("groups", 1), x.size(channels)
    if "weight" in here.fields:
        given = here.value("weight")
        kernel = [given.size("kh"), given.size("kw")][-len(over) :]
        new = {channels: given.size("o")}
        weight = given.renamed({"o": "out~", "i": channels, "kh": "kh~", "kw": "kw~"})
    else:
        kernel = here.for_each("kernel", over)
        new = here.out(channels, width)
        sizes = (math.prod(new.values()), width // groups, *kernel)
        axes = ("out~", channels, *("kh~", "kw~")[: len(over)])
        weight = Value(here.weight("conv.weight", *sizes), axes)
    weight = weight.apart("out~", {"g~": groups, "o~": weight.size("out~") // groups})
    x = x.apart(channels, {"g~": groups, channels: width // groups})
    _, stride, padding, dilation = here.slide(over, kernel)
    for place, axis in enumerate(over):
        around, into = (padding[place],) * 2, ("kh~", "kw~")[place]
        x = windows(x, axis, into, kernel[place], stride[place], around, dilation[place])
    gone = {channels, "kh~", "kw~", "g~"}
    rest = tuple(axis for axis in union([x, weight]) if axis not in gone | {"o~"})
    y = contracted([x, weight], (*rest, "g~", "o~")).merged(["g~", "o~"], ALL)
    if "weight" in here.fields:
        return y.renamed({ALL: channels}).each(ACTIVATIONS[here.word("act", "none")])
    return _finished(here, y, "conv", new, over)


def _finished(
    here: Here, y: Value, layer: str, new: dict[str, int], over: tuple[str, ...]
) -> Value:
    """Return what a layer gives with its bias, norm and activation, its channels apart."""
    norm = here.norm()
    if here.flag("bias", norm is None):
        bias = Value(here.weight(f"{layer}.bias", y.size(ALL)), (ALL,))
        y = meet(y, bias, torch.add)
    y = _normed(here, y, norm, over)
    return y.each(ACTIVATIONS[here.word("act", "none")]).apart(ALL, new)


def _normed(here: Here, y: Value, norm: Here | None, over: tuple[str, ...]) -> Value:
    """Return a layer's value under the norm that follows, over its channels `ALL`."""
    if norm is None:
        return y
    fn = norm.word("fn", "batch")
    shared = {"group": (ALL, *over), "instance": over}.get(fn, (ALL,))
    affine = (ALL,) if norm.flag("affine", fn not in ("instance", "l2")) else ()
    return normalised(norm, y, fn, shared, affine)


def mlp(here: Here) -> Value:
    x, over = here.x, here.name("over")
    hidden, new = here.size("hidden"), here.out(over, x.size(over))
    for local, width, size in (("fc1", hidden, x.size(over)), ("fc2", None, hidden)):
        width = math.prod(new.values()) if width is None else width
        rest = tuple(axis for axis in x.axes if axis != over)
        weight = Value(here.weight(f"{local}.weight", width, size), (ALL, over))
        x = contracted([x, weight], (*rest, ALL))
        if here.flag("bias", True):
            x = meet(x, Value(here.weight(f"{local}.bias", width), (ALL,)), torch.add)
        if local == "fc1":
            x = _normed(here, x, here.norm(), ())
            x = x.each(ACTIVATIONS[here.word("act", "relu")]).renamed({ALL: over})
    return x.apart(ALL, new)


def conv1d(here: Here) -> Value:
    x, along, kernel = here.x, here.name("along"), here.size("kernel")
    weight = Value(here.weight("conv.weight", kernel), ("k~",))
    y = windows(x, along, "k~", kernel, 1, (kernel // 2, kernel // 2), 1)
    y = contracted([y, weight], x.axes)
    if here.flag("bias", True):
        y = y.each(lambda t: t + here.weight("conv.bias", 1))
    return y


def norm(here: Here) -> Value:
    fn, over = here.word("fn", "batch"), here.axes("over")
    affine: tuple[str, ...] = {"instance": (), "l2": (), "group": over[:1]}.get(fn, over)
    if "affine" in here.fields:
        affine = () if here.fields["affine"] == "none" else here.axes("affine")
    y = normalised(here, here.x, fn, over, affine)
    return y.each(ACTIVATIONS[here.word("act", "none")])


def normalised(
    here: Here, x: Value, fn: str, over: Sequence[str], affine: tuple[str, ...]
) -> Value:
    eps = here.number("eps", 1e-12 if fn == "l2" else 1e-5)
    x = here.world.off(x)  # a norm raises what rounding made of its layer's value
    if fn == "batch":
        y = _of_batch(here, x, over[0], eps)
    elif fn == "group":
        y = x.apart(over[0], groups := {"g~": here.size("groups"), "d~": -1})
        y = _standard(here, y, ["d~", *over[1:]], eps).merged(list(groups), over[0])
    elif fn == "l2":
        length = x.reduced(over, lambda t: root((t * t).sum(-1)))
        y = meet(x, length.each(lambda t: t.clamp(min=eps)), torch.div)
    elif fn == "rms":
        y = meet(x, x.reduced(over, lambda t: ((t * t).mean(-1) + eps) ** 0.5), torch.div)
    else:
        y = _standard(here, x, over, eps)
    if affine:
        sizes = [x.size(axis) for axis in affine]
        y = meet(y, Value(here.weight("norm.weight", *sizes), affine), torch.mul)
        if fn not in ("rms", "l2"):
            y = meet(y, Value(here.weight("norm.bias", *sizes), affine), torch.add)
    return y


def _standard(here: Here, x: Value, over: Sequence[str], eps: float) -> Value:
    mean = here.world.off(x.reduced(over, lambda t: t.mean(-1)))
    centred = meet(x, mean, torch.sub)
    deviation = centred.reduced(over, lambda t: ((t * t).mean(-1) + eps) ** 0.5)
    return meet(centred, deviation, torch.div)


def _of_batch(here: Here, x: Value, channels: str, eps: float) -> Value:
    """Return x by the statistics of each channel, those kept where it does not train."""
    rest = [axis for axis in x.axes if axis != channels]
    width, momentum = x.size(channels), here.number("momentum", 0.1)
    if not here.training:
        mean = Value(here.statistic("norm.running_mean", width), (channels,))
        variance = Value(here.statistic("norm.running_var", width), (channels,))
    else:
        count = math.prod(x.size(axis) for axis in rest)
        mean = x.reduced(rest, lambda t: t.mean(-1))
        variance = meet(x, mean, torch.sub).reduced(rest, lambda t: (t * t).mean(-1))
        unbiased = variance.data * count / (count - 1)
        for local, new in (("running_mean", mean.data), ("running_var", unbiased)):
            kept = here.statistic(f"norm.{local}", width)
            here.keep(f"norm.{local}", (1 - momentum) * kept + momentum * new.detach())
    deviation = variance.each(lambda t: (t + eps) ** 0.5)
    return meet(meet(x, mean, torch.sub), deviation, torch.div)


def attention(here: Here) -> Value:
    q, k, v = here.value("q"), here.value("k"), here.value("v")
    over, along, keys = here.axes("over"), here.name("along"), here.axes("keys", ())
    keys = () if keys == over else keys
    names = keys or tuple(f"{axis}~" for axis in over)  # of the keys, in the logits
    if not (keys and set(keys) & set(k.axes)):
        k, v = (value.renamed(dict(zip(over, names, strict=True))) for value in (k, v))
    riding = [axis for axis in union([q, k]) if axis not in (*over, *names, along)]
    scale = here.number("scale", q.size(along) ** -0.5)
    logits = contracted([q, k], (*riding, *over, *names)).each(lambda t: t * scale)
    if here.word("position", "none") == "relative":
        factor = scale if here.flag("scale_position", True) else 1.0
        for local, axis, key in zip(("height", "width"), over, names, strict=True):
            table = here.weight(local, 2 * q.size(axis) - 1, q.size(along))
            learned = Value(_distances(table, q.size(axis)), (axis, key, along))
            near = contracted([q, learned], (*(a for a in q.axes if a != along), key))
            logits = meet(logits, near, lambda a, b: a + b * factor)
    if "bias" in here.fields:
        logits = meet(logits, here.value("bias"), torch.add)
    weights = softmax(here, logits, names)
    if "mask" in here.fields:
        weights = _masked(logits, here.value("mask"), names)
    features = [axis for axis in v.axes if axis not in (*riding, *names)]
    return contracted([weights, v], (*riding, *over, *features))


def _distances(table: Tensor, size: int) -> Tensor:
    """Return what is learned of each distance, key less query, as [query, key, features]."""
    rows = [[table[key - query + size - 1] for key in range(size)] for query in range(size)]
    return torch.stack([torch.stack(row) for row in rows])


def _masked(logits: Value, mask: Value, names: tuple[str, ...]) -> Value:
    """Return the softmax over the keys that are seen; 0 for a query that sees none."""
    seen = meet(logits, mask, lambda a, m: (m != 0) + torch.zeros_like(a))
    most = meet(logits, seen, lambda a, s: torch.where(s > 0, a, -math.inf))
    most = most.reduced(names, lambda t: t.detach().amax(-1).clamp(min=-1e300))
    raised = meet(meet(logits, most, torch.sub), seen, lambda a, s: torch.exp(a * s) * s)
    total = raised.reduced(names, lambda t: t.sum(-1))
    return meet(raised, total, lambda a, t: a / torch.where(t > 0, t, 1.0))


LAYERS: dict[str, Callable[[Any], Value]] = {
    "parameter": parameter, "linear": linear, "conv2d": conv2d, "mlp": mlp, "conv1d": conv1d,
    "norm": norm, "attention": attention,
}  # fmt: skip
