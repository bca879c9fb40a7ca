"""Random valid specs: a seed makes one, over all ops and their options, with what it is built with.

Sizes are kept as the expressions that the language has for them beside what they come to, so that
a spec also holds where the sizes of the map are open.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

MOST = 1500  # elements of a value
OPEN = frozenset("bchwnt")  # names of sizes, any of which a spec may be checked for
#: Ops that do not read one value x.
WITHOUT_X = frozenset({
    "add", "sub", "mul", "div", "concat", "stack", "product", "attention", "parameter", "constant",
    "schedule", "complex_mul",
})  # fmt: skip


class Size(NamedTuple):
    """The size of an axis: an expression over the sizes of the input, and what it comes to."""

    text: str
    n: int

    @property
    def names(self) -> set[str]:
        return set(re.findall(r"[A-Za-z_]\w*", self.text))

    @property
    def is_open(self) -> bool:
        return bool(self.names & OPEN)


Axes = dict[str, Size]


def elements(axes: Axes) -> int:
    return math.prod(size.n for size in axes.values())


def at(size: Size) -> str:
    """Return a size as an operand of an expression."""
    return size.text if size.text.isalnum() else f"({size.text})"


class _Plain(yaml.CSafeDumper):
    """Writes what stands twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@dataclass(frozen=True)
class RandomGraph:
    """A spec as YAML, the files it uses, and what it is built with."""

    seed: int
    text: str
    files: Mapping[str, str]
    layout: tuple[str, ...]
    sizes: Mapping[str, int]
    size: tuple[int, int] | None
    params: Mapping[str, Any]
    draws: bool  # whether there is a dropout whose draws can't be compared
    advanced: int


@dataclass
class Sketch:
    """A spec as it is drawn: its nodes so far with their axes, its params, the files it uses."""

    rng: random.Random
    input: Axes
    turn: int = 0
    batch: str = "b"
    depth: int = 0
    riding: tuple[str, ...] = ()  # axes of the value that this spec is used on, unseen here
    files: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: dict[str, Axes] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    indices: list[str] = field(default_factory=list)  # what counts the parts here
    sharing: int = 0  # the nodes around whose parts share their weights
    needs_size: bool = False
    draws: bool = False
    above: dict[str, str] = field(default_factory=dict)  # what nodes read that do not say so
    made: int = 0

    def __post_init__(self) -> None:
        self.values["input"] = self.input
        whole = self.depth or {"h", "w"} <= set(self.input)
        self.closable = {*self.input} - {self.batch} if whole else {"c"}
        self.closable -= {"n", "t"} if not self.depth else {""}

    # choices

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def one(self, of: Sequence[Any]) -> Any:
        return self.rng.choice(of)

    def in_turn(self, of: Sequence[Any]) -> Any:
        """Return one of several, half the time the one whose turn it is: so all are drawn."""
        return of[self.turn % len(of)] if self.chance(0.5) else self.one(of)

    def some(self, of: Iterable[str], least: int = 1, most: int = 3) -> list[str]:
        found = sorted(of)
        least, most = min(least, len(found)), min(most, len(found))
        return self.rng.sample(found, self.rng.randint(least, most))

    def node(self, which: Callable[[Axes], bool] = lambda a: True) -> str | None:
        """Return a node, likely a late one, whose axes suit."""
        found = [name for name, axes in self.values.items() if which(axes)]
        if not found:
            return None
        return found[-1] if self.chance(0.75) else self.one(found)

    def divisor(self, n: int) -> int:
        return self.one([d for d in range(1, n + 1) if n % d == 0])

    def axis(self, taken: Iterable[str] = ()) -> str:
        """Return a name for a new axis."""
        taken = {*taken, *self.indices, *self.riding}
        names = [name for name in "adefgkpqrsuvxyz" if name not in taken]
        return self.one([n for n in names if n not in self.input] or ["zz"])

    # how things are written

    def int(self, n: int, index: bool = False) -> Any:
        """Return a whole number: as it is, by an expression or by a param."""
        if index and self.indices and self.chance(0.5):
            return f"{n} + {self.indices[-1]}"
        way = self.rng.random()
        if way < 0.75:
            return n
        if way < 0.85:
            return self.one([f"{2 * n} // 2", f"min({n}, {n + 3})", f"({n} if 1 < 2 else 9)"])
        return self.param(n, n)  # under another the spec might not hold

    def param(self, value: Any, other: Any) -> str:
        """Return the name of a new param that comes to a value: by default, or it is given."""
        name = f"p{len(self.params)}"
        default = value
        if self.depth == 0 and other != value and self.chance(0.4):
            self.given[name], default = value, other
        written = {"default": default, "help": "a knob"} if self.chance(0.5) else default
        if isinstance(value, str):
            written = {"default": default, "choices": [value, other]}
        self.params[name] = written
        return name

    def flag(self, value: bool) -> Any:
        return self.param(value, not value) if self.chance(0.1) else value

    def word(self, word: str, other: str) -> str:
        way = self.rng.random()
        if way < 0.85 or word == other:
            return word
        if way < 0.93:
            return self.param(word, other)
        if self.indices:
            return f"{word} if {self.indices[-1]} == 0 else {other}"
        return f"{other} if {self.int(3)} < 2 else {word}"

    def number(self, low: float, high: float, sizes: bool = False) -> Any:
        """Return a number near these bounds, maybe by an expression over sizes."""
        plain = round(self.rng.uniform(low, high), 3)
        if self.indices and self.chance(0.3):
            return f"{plain} + 0.1 * {self.indices[-1]}"
        way = self.rng.random()
        if way < 0.6:
            return plain
        if way < 0.75:
            return self.param(plain, round(plain / 2, 3))
        names = [n for n in self.input if n != self.batch and (sizes or n == "c")]
        if not names:
            return f"{plain} * pi / 3"
        self.needs_size |= bool(self.depth)  # the size of another axis where this spec is used
        return f"{plain} + 0.01 * log({self.one(names)} + 1)"

    def size(self, size: Size) -> Any:
        """Return a size: by its expression, or as it is where that is not open."""
        return size.text if size.is_open or self.chance(0.5) else self.int(size.n)

    def know(self, *sizes: Size) -> bool:
        """Return whether an op may need these sizes as numbers; it is then built for them."""
        names = {name for size in sizes for name in size.names & OPEN}
        if not names <= self.closable:
            return False
        self.needs_size |= bool(names - {"c"}) or bool(names and self.depth)
        return True

    # nodes

    def add(self, fields: dict[str, Any], axes: Axes, x: str | None = None) -> str:
        """Add a node, which reads x by name unless that is the node above."""
        return self.add_all(fields, [axes], x)[0]

    def add_all(self, fields: dict[str, Any], axes: list[Axes], x: str | None = None) -> list[str]:
        names = list(dict.fromkeys(self._name() for _ in axes))
        names += [f"n{self.made}{place}" for place in range(len(axes) - len(names))]
        above = list(self.nodes)[-1] if self.nodes else "input"
        if x is not None and (x != above or self.chance(0.1)):
            fields = {"op": fields["op"], "x": x, **fields}
        elif "x" not in fields and fields["op"] not in WITHOUT_X:
            self.above[", ".join(names)] = above
        self.nodes[", ".join(names)] = fields
        self.values |= dict(zip(names, axes, strict=True))
        return names

    def _name(self) -> str:
        self.made += 1
        odd = self.one(["h", "c", "max", "mean", "e", "i", "norm", "gate", "kernel", "relu", "o"])
        return odd if self.chance(0.08) and odd not in self.values else f"n{self.made}"

    def written(self, name: str) -> str:
        """Return the spec as YAML."""
        axes = list(self.input)
        spec = {"name": name, "params": self.params, "input": axes, "nodes": self.nodes}
        if not self.params:
            del spec["params"]
        last = list(self.nodes)[-1]
        if self.chance(0.12):
            spec["nodes"] = self._shuffled()
        if list(spec["nodes"])[-1] != last or ", " in last or self.chance(0.1):
            spec["output"] = list(self.values)[-1]
        return yaml.dump(spec, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=999)

    def _shuffled(self) -> dict[str, dict[str, Any]]:
        """Return the nodes in another order, each of which says what it reads."""
        names = list(self.nodes)
        self.rng.shuffle(names)
        read = {name: {"x": self.above[name]} if name in self.above else {} for name in names}
        return {name: {**self.nodes[name], **read[name]} for name in names}

    @property
    def output(self) -> Axes:
        return self.values[list(self.values)[-1]]


def fits(*axes: Axes) -> bool:
    """Return whether values meet: each axis that two of them have is of one size."""
    sizes: Axes = {}
    for one in axes:
        if any(sizes.get(axis, size) != size for axis, size in one.items()):
            return False
        sizes |= one
    return elements(sizes) <= MOST


INPUTS = ("b c h w",) * 5 + ("b n c",) * 3 + ("b h w c", "b t c h w", "b c h", "b c")


def random_graph(seed: int) -> RandomGraph:
    """Return the spec of a seed."""
    from random_meetings import grow

    rng = random.Random(seed)
    names = tuple(rng.choice(INPUTS).split())
    sizes = {name: rng.randint(1, 7) for name in names}
    sizes |= {"b": rng.choice([1, 2, 2, 2, 3]), "c": rng.choice([1, 2, 3, 4, 4, 6, 6])}
    while math.prod(sizes[name] for name in names) > 400:
        most = max((name for name in names), key=lambda name: sizes[name])
        sizes[most] //= 2
    sketch = Sketch(rng, {name: Size(name, sizes[name]) for name in names}, seed)
    grow(sketch, rng.randint(1, 8))
    size = None
    if {"h", "w"} <= set(names) and (sketch.needs_size or rng.random() < 0.6):
        size = (sizes["h"], sizes["w"])
    text, layout, advanced = sketch.written("drawn"), _layout(rng, names), rng.randint(0, 5)
    if sketch.output.get("n") == Size("n", sizes.get("n", 0)) and rng.random() < 0.5:
        down = sketch.divisor(sizes["n"])  # the tokens come as a map, and go as one
        size = down, sizes["n"] // down
        sizes |= {"h": size[0], "w": size[1]}
        layout = _layout(rng, ("b", "c", "h", "w"))
    return RandomGraph(
        seed, text, sketch.files, layout, {name: sizes[name] for name in layout}, size,
        sketch.given, sketch.draws, advanced,
    )  # fmt: skip


def _layout(rng: random.Random, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the order in memory, the batch first."""
    rest = list(names[1:])
    if rng.random() < 0.4:
        rng.shuffle(rest)
    return (names[0], *rest)


def fields_of(text: str) -> Iterator[tuple[str, str, Any]]:
    """Yield each op of a spec with each of its fields and what stands there."""
    for node in yaml.load(text, yaml.CSafeLoader)["nodes"].values():
        yield from _of_node(node)


def _of_node(node: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for name, value in node.items():
        yield node["op"], name, value
        if name == "each":
            yield from _of_node(value)
        elif name in ("norm", "init") and isinstance(value, dict):
            yield from ((f"{node['op']}.{name}", inner, one) for inner, one in value.items())
