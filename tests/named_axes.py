"""A naive interpreter of the language: the YAML as a dict, node by node, in plain torch.

It shares nothing with the compiler but the learned weights, which it takes by their names in the
checkpoint: `squeeze.fc1.weight` of the node `squeeze`, `near.0.conv.weight` of the first part of
`near`, `attend.qkv.linear.weight` of the node `qkv` of the spec that `attend` uses. Expressions are
evaluated by Python, on the sizes of the input that comes in.
"""

from __future__ import annotations

import ast
import functools
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType
from typing import Any

import torch
import yaml
from named_layers import LAYERS
from named_ops import OPS
from named_values import Value, number
from torch import Tensor

SHIPPED = Path(__file__).parents[1] / "specs"
EVALUATED: dict[str, Callable[[Here], Value | list[Value]]]

FUNCTIONS: dict[str, Any] = {
    "min": min, "max": max, "abs": abs, "ceil": math.ceil, "floor": math.floor, "round": round,
    "log": math.log, "log2": math.log2, "exp": math.exp, "sqrt": math.sqrt, "sin": math.sin,
    "cos": math.cos, "pi": math.pi, "odd": lambda x: int(x) + (int(x) % 2 == 0),
    "true": True, "false": False,
}  # fmt: skip


@dataclass
class World:
    """What a whole run shares: the weights by name and which were read, the statistics, the mode.

    With `noise`, each value is off by so much, relative to itself: how far the result moves tells
    what rounding may do to it.
    """

    weights: Mapping[str, Tensor]
    statistics: dict[str, Tensor]
    like: Tensor
    training: bool = False
    advanced: int = 0
    noise: float = 0.0
    read: set[str] = field(default_factory=set)

    def kept(self, key: str, sizes: tuple[int, ...]) -> Tensor:
        """Return a weight or a statistic; drawn anew where the checkpoint has none of this name.

        So it is of a branch of which no value is read: then it makes no difference.
        """
        found = self.weights.get(key, self.statistics.get(key))
        if found is None:
            generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
            return torch.rand(sizes, generator=generator, dtype=self.like.dtype)
        self.read.add(key)
        return found.reshape(sizes)

    def off(self, value: Value) -> Value:
        if not self.noise:
            return value
        return value.each(lambda t: t * (1 + self.noise * torch.randn_like(t)))


class Words(dict[str, Any]):
    """The names that an expression knows; any other stands for itself, a word."""

    def __missing__(self, key: str) -> Any:
        return FUNCTIONS.get(key, key)


@functools.cache
def _code(text: str) -> CodeType:
    return compile(text.strip(), text, "eval")


def evaluated(written: Any, names: Mapping[str, Any]) -> Any:
    """Return what an expression of the YAML comes to."""
    if not isinstance(written, str):
        return written
    return eval(_code(written), {"__builtins__": {}}, Words(names))


@dataclass
class Frame:
    """One spec on one value: its nodes, which are evaluated as they are asked for."""

    world: World
    spec: Mapping[str, Any]
    folder: Path
    input: Value
    prefix: str = ""
    weights: str = ""
    names: Mapping[str, Any] = field(default_factory=dict)
    found: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.found = {"input": self.input}
        self.above = dict(zip(self.spec["nodes"], ["input", *self.spec["nodes"]], strict=False))

    def value(self, name: str) -> Value:
        """Return the value of a node."""
        if name not in self.found:
            key = next(key for key in self.spec["nodes"] if name in key.split(", "))
            here = Here(self, self.spec["nodes"][key], self.weights + key, self.names, key=key)
            values = here.run()
            for one, value in zip(key.split(", "), values, strict=True):
                self.found[one] = value
        return self.found[name]

    @property
    def output(self) -> Value:
        written = self.spec.get("output", list(self.spec["nodes"])[-1])
        return self.value(evaluated_node(written, self.names))


def evaluated_node(written: str, names: Mapping[str, Any]) -> str:
    """Return the name of the node that a field names: as it stands, or by a choice."""
    tree = ast.parse(written.strip(), mode="eval").body
    while isinstance(tree, ast.IfExp):
        tree = tree.body if evaluated(ast.unparse(tree.test), names) else tree.orelse
    return ast.unparse(tree)


def worded(written: str, names: Mapping[str, Any]) -> str:
    """Return the word that an expression comes to, which may be that of a function, too."""
    found = evaluated(written, names)
    return str(getattr(found, "__name__", found))


@dataclass(frozen=True)
class Here:
    """One node as it is evaluated: its fields, the names they know, where its weights are."""

    frame: Frame
    fields: Mapping[str, Any]
    path: str  # of its weights
    known: Mapping[str, Any]
    key: str = ""  # under which it stands in the spec
    given: Value | None = None  # x, where it is not named: inside another node

    def run(self) -> list[Value]:
        found = EVALUATED[self.fields["op"]](self)
        values = found if isinstance(found, list) else [found]
        return [self.world.off(value) for value in values]

    @property
    def world(self) -> World:
        return self.frame.world

    @property
    def training(self) -> bool:
        return self.world.training

    @property
    def names(self) -> list[str]:
        return self.key.split(", ") if self.given is None else [self.key]

    # what it reads

    @property
    def x(self) -> Value:
        if "x" in self.fields:
            return self.value("x")
        return self.given or self.frame.value(self.frame.above[self.key])

    def value(self, name: str) -> Value:
        return self.frame.value(evaluated_node(self.fields[name], self.known))

    def values(self, name: str) -> list[Value]:
        return [self.frame.value(evaluated_node(one, self.known)) for one in self.fields[name]]

    def operands(self, name: str) -> list[Value]:
        """Return the nodes and numbers of a list, or of one field."""
        written = self.fields[name]
        return [self._operand(one) for one in (written if isinstance(written, list) else [written])]

    def _operand(self, written: Any) -> Value:
        """Return a node, or a number; a name alone is that of a node where there is one."""
        nodes = {"input", *(name for key in self.frame.spec["nodes"] for name in key.split(", "))}
        tree = ast.parse(str(written).strip(), mode="eval").body
        while isinstance(tree, ast.IfExp):
            test = evaluated(ast.unparse(tree.test), self.known)
            tree = tree.body if test else tree.orelse
        name = ast.unparse(tree)
        if name in nodes:
            return self.frame.value(name)
        return number(evaluated(name, self.known), self.world.like)

    # what its fields say

    def evaluated(self, name: str, more: Mapping[str, Any] | None = None) -> Any:
        return evaluated(self.fields[name], {**self.known, **(more or {})})

    def number(self, name: str, default: float | None = None) -> float:
        return float(self.evaluated(name)) if name in self.fields else _needed(default)

    def size(self, name: str, default: int | None = None) -> int:
        return _whole(self.evaluated(name)) if name in self.fields else _needed(default)

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.evaluated(name)) if name in self.fields else default

    def word(self, name: str, default: str | None = None) -> str:
        return worded(self.fields[name], self.known) if name in self.fields else _needed(default)

    def name(self, name: str, default: str | None = None) -> str:
        return str(self.fields[name]) if name in self.fields else _needed(default)

    def axes(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        if name not in self.fields:
            return _needed(default)
        written = self.fields[name]
        return tuple(written) if isinstance(written, list) else (written,)

    def mapping(self, name: str) -> dict[str, int]:
        return {axis: _whole(evaluated(n, self.known)) for axis, n in self.fields[name].items()}

    def sizes(self, name: str) -> list[int]:
        return [_whole(evaluated(one, self.known)) for one in self.fields[name]]

    def for_each(self, name: str, over: Sequence[str], default: int | None = None) -> list[int]:
        """Return one number for each axis, of a field that may have one for all."""
        written = self.fields.get(name, default)
        written = written if isinstance(written, list) else [written]
        found = [_whole(evaluated(one, self.known)) for one in written]
        return found * len(over) if len(found) == 1 else found

    def slide(self, over: Sequence[str], kernel: list[int]) -> tuple[list[int], ...]:
        """Return kernel, stride, padding and dilation of windows, a number for each axis."""
        dilation = self.for_each("dilation", over, 1)
        padding = [d * (k // 2) for d, k in zip(dilation, kernel, strict=True)]
        if "padding" in self.fields:
            padding = self.for_each("padding", over)
        return kernel, self.for_each("stride", over, 1), padding, dilation

    def out(self, axis: str, size: int) -> dict[str, int]:
        """Return the axes that take the place of the one that a layer mixes."""
        if "out" not in self.fields:
            return {axis: size}
        return self.mapping("out") if isinstance(self.fields["out"], dict) else {
            axis: self.size("out")
        }  # fmt: skip

    def norm(self) -> Here | None:
        """Return the norm that follows a layer, as a node of its own."""
        written = self.fields.get("norm", "none")
        inside = replace(self, fields=written if isinstance(written, dict) else {"fn": written})
        return None if inside.word("fn", "batch") == "none" else inside

    # what it keeps

    def weight(self, local: str, *sizes: int) -> Tensor:
        return self.world.kept(f"{self.path}.{local}" if local else self.path, sizes)

    def statistic(self, local: str, size: int) -> Tensor:
        return self.world.kept(f"{self.path}.{local}", (size,))

    def keep(self, local: str, new: Tensor) -> None:
        self.world.statistics[f"{self.path}.{local}"] = new

    # what is inside it

    def part(
        self, number: int, names: Mapping[str, int], x: Value | None = None,
        weights: int | None = None,
    ) -> Value:  # fmt: skip
        """Return the value of one part of a node that holds another op under `each`."""
        path = f"{self.path}.{number if weights is None else weights}"
        inside = Here(
            self.frame, self.fields["each"], path, {**self.known, **names}, self.key,
            self.x if x is None else x,
        )  # fmt: skip
        (value,) = inside.run()
        return value


def use(here: Here) -> Value:
    """Return what another spec makes of x, whose axes may have other names there."""
    x, theirs = here.x, here.fields.get("axes", {})
    inputs = {
        node: here.frame.value(evaluated_node(one, here.known))
        for node, one in here.fields.get("inputs", {}).items()
    }
    there = {axis: name for name, axis in theirs.items()}
    for axis in dict.fromkeys(axis for one in (x, *inputs.values()) for axis in one.axes):
        if axis in theirs and axis not in there:
            there[axis] = f"{axis}'"  # what has this name there is another axis
    spec, folder = read(here.fields["spec"], here.frame.folder)
    given = here.fields.get("params", {})
    params = {name: evaluated(one, here.known) for name, one in given.items()}
    inner = opened(here.world, spec, folder, x.renamed(there), params, f"{here.path}.")
    inner.found |= {node: one.renamed(there) for node, one in inputs.items()}
    return inner.output.renamed({name: axis for axis, name in there.items()})


def read(word: str, folder: Path) -> tuple[Mapping[str, Any], Path]:
    """Return a spec by its path from a folder, or a shipped one by its name; and its folder."""
    if (folder / word).is_file():
        path = folder / word
    else:
        path = SHIPPED / f"{word.removesuffix('.yaml')}.yaml"
    return parsed(path.read_text(encoding="utf-8")), path.parent


@functools.cache
def parsed(text: str) -> Mapping[str, Any]:
    """Return what a YAML text says."""
    found: Mapping[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return found


def opened(
    world: World, spec: Mapping[str, Any], folder: Path, x: Value,
    params: Mapping[str, Any], weights: str = "",
) -> Frame:  # fmt: skip
    """Return a spec on a value, its params with the values given, else their defaults.

    What is given beside them is what a stand-in knows of its layer.
    """
    known: dict[str, Any] = {a: n for a, n in x.sizes.items() if a != spec["input"][0]}
    known |= {name: one for name, one in params.items() if name not in spec.get("params", {})}
    waiting = {
        name: params.get(name, one["default"] if isinstance(one, dict) else one)
        for name, one in spec.get("params", {}).items()
    }
    for _ in range(len(waiting)):  # each may depend on others
        ready = {
            name: one for name, one in waiting.items()
            if not (isinstance(one, str) and set(_code(one).co_names) & set(waiting))
        }  # fmt: skip
        known |= {name: evaluated(one, known) for name, one in ready.items()}
        waiting = {name: one for name, one in waiting.items() if name not in ready}
    assert not waiting, waiting
    return Frame(world, spec, folder, x, weights=weights, names=known)


def interpret(
    text: str, folder: Path, x: Tensor, layout: Sequence[str], params: Mapping[str, Any],
    world: World,
) -> Value:  # fmt: skip
    """Return the output of a spec for an input with the axes `layout`.

    Where the spec takes tokens and the layout is that of a map, the map's places are the tokens.
    """
    spec, given = parsed(text), Value(x, tuple(layout))
    places = [axis for axis in layout if axis not in spec["input"]]
    if not places:
        return opened(world, spec, folder, given, params).output
    found = opened(world, spec, folder, given.merged(places, "n"), params).output
    return found.apart("n", {axis: given.size(axis) for axis in places})


def _whole(value: Any) -> int:
    assert value == int(value), value
    return int(value)


def _needed(value: Any) -> Any:
    assert value is not None, "a field is missing"
    return value


EVALUATED = {**OPS, **LAYERS, "use": use}
