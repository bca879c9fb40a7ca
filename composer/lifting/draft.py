"""The spec under construction: nodes in order, each with the module's weights that it takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from composer.language.fields import RESERVED
from composer.language.names import COMMA, TAKEN
from composer.lifting.formulas import Formulas, Size
from composer.lifting.tables import formula_of
from composer.lifting.values import Numbers, Source, Value, product

#: Preferred names for an axis split from another, by the name of that one.
_OTHER = {"n": "m", "h": "y", "w": "x", "c": "e", "d": "e", "head": "g"}
REFERS = ("x", "by", "q", "k", "v", "bias", "mask", "like", "weight")


@dataclass
class Node:
    """One node; `weights` maps its keys to the module's keys."""

    name: str
    op: str
    fields: dict[str, Any]
    weights: dict[str, str] = field(default_factory=dict)
    axes: tuple[str, ...] = ()
    sizes: Mapping[str, Numbers] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its values: several for a chunk."""
        return tuple(self.name.split(COMMA))

    def reads(self) -> tuple[str, ...]:
        """Return the nodes that it reads, with repetitions."""
        found = [self.fields[key] for key in REFERS if isinstance(self.fields.get(key), str)]
        of = self.fields.get("of", ())
        return (*found, *(one for one in of if isinstance(one, str)))


class Draft:
    """The nodes in execution order, and the names in use."""

    def __init__(self, formulas: Formulas, input_axes: tuple[str, ...]) -> None:
        self.formulas, self.input_axes = formulas, input_axes
        self.runs = formulas.runs
        self.nodes: list[Node] = []
        self.origins: dict[str, str] = {}  # the axis that each axis was a part of
        self._taken: set[str] = {"input", *input_axes}
        self._written: dict[Any, Value] = {}
        self.hint = ""  # the module or function being lifted

    # --------------------------------------------------------------------------------- names

    def name(self, wish: str) -> str:
        """Return an unused name for a node."""
        word = re.sub(r"\W", "_", wish).strip("_") or "value"
        word = word if word[0].isalpha() else f"layer_{word}"
        word = word[:40].rstrip("_")
        if word in TAKEN or word in RESERVED or word in self._taken:
            number = 2
            while f"{word}_{number}" in self._taken:
                number += 1
            word = f"{word}_{number}"
        self._taken.add(word)
        return word

    def axis(self, like: str, taken: Iterable[str]) -> str:
        """Return an unused name for an axis, similar to that of another."""
        taken = {*taken}
        if (other := _OTHER.get(like)) and other not in taken:
            return other
        base = like.rstrip("0123456789")
        number = 2
        while f"{base}{number}" in taken:
            number += 1
        return f"{base}{number}"

    # ------------------------------------------------------------------------------- writing

    def write(
        self,
        op: str,
        fields: Mapping[str, Any],
        value: Value,
        weights: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Value:
        """Add a node and return its value, with the dims and sizes of `value`."""
        given = {key: one for key, one in fields.items() if one is not None}
        node = Node(self.name(name or self.hint or op), op, given, dict(weights or {}))
        node.axes, node.sizes = value.own, dict(value.sizes)
        self.nodes.append(node)
        return replace(value, node=node.name, source=None)

    def write_parts(
        self, op: str, fields: Mapping[str, Any], values: Sequence[Value], names: Sequence[str]
    ) -> list[Value]:
        """Add a node with several values."""
        words = [self.name(name) for name in names]
        node = Node(COMMA.join(words), op, dict(fields))
        node.axes = values[0].own
        self.nodes.append(node)
        return [
            replace(value, node=word, source=None)
            for value, word in zip(values, words, strict=True)
        ]

    def size(self, numbers: Sequence[int], exact: bool = False) -> Size | int:
        """Return the size of an axis, which becomes an expression in the end.

        Args:
            numbers: its value in each run.
            exact: whether divisions must be exact, because it is one of the parts of an axis.
        """
        if exact:
            self.formulas.exact.add(tuple(numbers))
        return Size(tuple(numbers))

    def node(self, value: Value) -> str:
        """Return the node for a value, adding it if needed."""
        return self.written(value).node

    def written(self, value: Value) -> Value:
        """Return a value that is a node; a parameter or a constant is added now."""
        if value.unknown:
            raise AssertionError("an unknown value is never written")
        source = value.source
        if source is None:
            return value
        key = (source.learned or tuple(map(id, source.tables)), source.axes)
        sizes = {axis: value.sizes[axis] for axis in source.axes}
        if key not in self._written:
            self._written[key] = self._write_source(source, sizes)
        return replace(value, node=self._written[key].node, source=None)

    def _write_source(self, source: Source, sizes: Mapping[str, Numbers]) -> Value:
        axes = {axis: self.size(size) for axis, size in sizes.items()}
        value = Value("", tuple((axis,) for axis in source.axes), sizes)
        if source.learned:
            fields = {"axes": axes, "init": begins(source.tables[0])}
            return self.write("parameter", fields, value, {"": source.learned}, source.learned)
        text = formula_of(source, sizes, self.formulas)
        return self.write("constant", {"axes": axes, "value": text}, value)

    # -------------------------------------------------------------------------------- moving

    def rename(self, value: Value, names: Mapping[str, str]) -> Value:
        """Return a value with renamed axes; this needs a node only if the value is one."""
        names = {old: new for old, new in names.items() if old != new and old in value.axes}
        if not names:
            return value
        real = {old: new for old, new in names.items() if old in value.own}
        if value.is_free or not real:
            return value.named(names)
        key = ("rename", value.node, tuple(sorted(real.items())))
        if key not in self._written:
            fields = {"x": value.node, "axes": real}
            self._written[key] = self.write("rename", fields, value.named(names), name="renamed")
        return replace(value.named(names), node=self._written[key].node)

    def split(self, value: Value, axis: str, parts: Mapping[str, Numbers]) -> Value:
        """Return a value with one axis split into several."""
        names = tuple(parts)
        dims = tuple(
            tuple(one for old in dim for one in (names if old == axis else (old,)))
            for dim in value.dims
        )
        self.origins.update({name: self.origins.get(axis, axis) for name in names if name != axis})
        sizes = {old: size for old, size in value.sizes.items() if old != axis} | dict(parts)
        bare = value.bare | {*names} if axis in value.bare else value.bare
        source = value.source
        if source is not None:
            own = tuple(o for old in source.axes for o in (names if old == axis else (old,)))
            source = replace(source, axes=own)
        made = replace(value, dims=dims, sizes=sizes, bare=frozenset(bare - {axis}), source=source)
        if value.is_free or axis in value.bare:
            return made
        key = ("split", value.node, axis, names, tuple(parts.values()))
        if key not in self._written:
            into = {name: self.size(size, exact=True) for name, size in parts.items()}
            fields = {"x": value.node, "axis": axis, "into": into}
            self._written[key] = self.write("split", fields, made, name="parts")
        return replace(made, node=self._written[key].node)

    def single(self, value: Value, dim: int) -> tuple[Value, str]:
        """Return a value whose position `dim` is a single axis of its node, and that axis."""
        axes = value.dims[dim]
        if not axes:
            axis = self.axis_for(value, dim)
            return self.with_axis(value, dim, axis), axis
        value = self.filled(value, axes)
        if len(axes) == 1:
            return value, axes[0]
        return self.merged(value, axes)

    def axis_for(self, value: Value, dim: int) -> str:
        """Return a name for the axis of a position without one."""
        rank = len(value.dims)
        usual = self.input_axes if rank == len(self.input_axes) else ()
        wish = usual[dim] if usual else "one"
        return wish if wish not in value.axes else self.axis(wish, value.axes)

    def with_axis(self, value: Value, dim: int, axis: str) -> Value:
        """Return a value with an axis of size 1 at a position without one."""
        value = self.written(value)
        dims = (*value.dims[:dim], (axis,), *value.dims[dim + 1 :])
        made = replace(value, dims=dims, sizes={**value.sizes, axis: (1,) * self.runs})
        return self.write("stack", {"of": [value.node], "axis": axis}, made)

    def merged(self, value: Value, axes: tuple[str, ...]) -> tuple[Value, str]:
        """Return a value with adjacent axes merged into one, and that axis."""
        value = self.written(value)
        wish = "n" if axes == ("h", "w") else self.origins.get(axes[-1], axes[0])
        rest = [axis for axis in value.axes if axis not in axes]
        into = wish if wish not in rest else self.axis(wish, rest)
        size = product([value.sizes[axis] for axis in axes], self.runs)
        dims = []
        for dim in value.dims:
            if axes[0] in dim:
                at = dim.index(axes[0])
                dim = (*dim[:at], into, *dim[at + len(axes) :])
            dims.append(dim)
        sizes = {axis: s for axis, s in value.sizes.items() if axis not in axes} | {into: size}
        made = replace(value, dims=tuple(dims), sizes=sizes)
        key = ("merge", value.node, axes, into)
        if key not in self._written:
            fields = {"x": value.node, "axes": list(axes), "into": into}
            self._written[key] = self.write("merge", fields, made, name="joined")
        return replace(made, node=self._written[key].node), into

    def filled(self, value: Value, axes: Iterable[str]) -> Value:
        """Return a value whose node has these axes, instead of being broadcast along them."""
        value = self.written(value)
        missing = [axis for axis in axes if axis in value.bare]
        if not missing:
            return value
        table = {axis: self.size(value.sizes[axis]) for axis in missing}
        sizes = {axis: value.sizes[axis] for axis in missing}
        ones = Value("", tuple((axis,) for axis in missing), sizes)
        ones = self.write("constant", {"axes": table, "value": 1}, ones, name="ones")
        made = replace(value, bare=value.bare - {*missing})
        return self.write("mul", {"of": [value.node, ones.node]}, made, name="spread")


def begins(tensor: torch.Tensor) -> Any:
    """Return the initialisation of a parameter, as far as its values show."""
    first = float(tensor.flatten()[0])
    if bool((tensor == first).all()):
        return int(first) if first == int(first) else float(f"{first:.6g}")
    return {"normal": float(f"{float(tensor.double().std()):.2g}")}
