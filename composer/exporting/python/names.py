"""The Python names of a spec's names: ``c`` is ``channels``."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

from composer.primitives import Spec

#: For a mechanism on a map, and for one that replaces a convolution, in the order of arguments.
_OF_A_MAP = {
    "c": "channels", "d": "depth", "h": "height", "w": "width", "n": "tokens", "t": "length",
}  # fmt: skip
_OF_A_CONVOLUTION = {
    "c": "in_channels", "out": "out_channels", "d": "depth", "h": "height", "w": "width",
    "t": "length", "n": "tokens", "kernel": "kernel_size", "stride": "stride",
    "padding": "padding", "dilation": "dilation", "groups": "groups", "bias": "bias",
}  # fmt: skip

_SHORT = {
    "bam", "cbam", "eca", "ema", "ge", "mhsa", "mlp", "od", "sa", "se", "sk",
}  # fmt: skip
_TAKEN = {
    "self", "x", "torch", "nn", "functional", "math", "Tensor", "OrderedDict", "unfold", "fold",
    "grid",
}  # fmt: skip


def arguments_for(spec: Spec, varied: Iterable[str]) -> dict[str, str]:
    """Return the Python names of some sizes and params of a spec, in the order of arguments."""
    sizes = _OF_A_CONVOLUTION if spec.stands_for == "conv2d" else _OF_A_MAP
    names = {n: word for n, word in sizes.items() if n in varied and n not in spec.params}
    taken = set(names.values())
    for param in (param for param in spec.params if param in varied):
        names[param] = free_name(param, taken)
        taken.add(names[param])
    return names


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return a valid Python name that is not used otherwise."""
    name = re.sub(r"\W", "_", name.replace(".", "_"))
    if not name[:1].isidentifier():
        name = f"x{name}"
    taken = {*taken, *_TAKEN}
    while name in taken or keyword.iskeyword(name) or hasattr(builtins, name):
        name += "_"
    return name


def class_name(spec_name: str) -> str:
    """Return the name of a mechanism's class: SE, CBAMChannel, CondConv.

    A single short word is an abbreviation; in longer names the field's own ones are kept.
    """
    words = re.findall(r"[A-Za-z]+|\d+", spec_name)
    alone = len(words) == 1 and len(words[0]) <= 4
    name = "".join(w.upper() if alone or w in _SHORT else w.capitalize() for w in words)
    name = name if name[:1].isalpha() else f"M{name}"
    return f"{name}Module" if keyword.iskeyword(name) or name in _TAKEN else name
