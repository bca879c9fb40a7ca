"""How what a spec costs grows with its sizes: exact counts at several sizes, as a polynomial.

    parameters = c²/8 + 17c/16

The counts of a graph are polynomials in the sizes of its input wherever its expressions divide
evenly, so as many counts as a polynomial has terms give it, in whole numbers and fractions. It is
compared with counts at other sizes, and where one differs there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import prod

from composer.errors import ComposerError, listing
from composer.graph.costs import node_cost
from composer.graph.from_spec import graph_of
from composer.graph.graph import Graph, GraphNode
from composer.graph.passes import compile_graph
from composer.language.expressions import ExpressionError, bind
from composer.primitives.base import replaced
from composer.primitives.cost import Cost

#: The highest power of the channels, and of each of the places.
POWERS = {"c": 3}
OTHER_POWER = 2
#: Multiples of the sizes at which a polynomial is compared, none of those it is made from.
COMPARED = (5, 6, 8)
#: Kinds of nodes, each of which is asked a hundred times: more would take over a second.
MAX_KINDS = 200
#: Nodes of the graph, which is made once more, with open sizes: more would take over a second.
MAX_FOLLOWED = 2_000
#: Sizes of which whole fractions are whole, for mechanisms whose knobs do not divide those given.
EVEN = {"c": 4096}
EVEN_PLACE = 64

Sizes = Mapping[str, int]
Polynomial = Mapping[tuple[int, ...], Fraction]


@dataclass(frozen=True)
class Growth:
    """What a graph costs at any sizes of its input.

    `sizes` are those that were given; a polynomial is one in their names, in this order.
    """

    graph: Graph
    sizes: dict[str, int]

    @cached_property
    def _alike(self) -> list[tuple[GraphNode, int]]:
        """One of each kind of node that costs the same at any sizes, and how many there are."""
        found: dict[object, tuple[GraphNode, int]] = {}
        for node in self.graph.nodes:
            kind = _kind_of(self.graph, node)
            first, count = found.get(kind, (node, 0))
            found[kind] = first, count + 1
        return list(found.values())

    @property
    def is_followed(self) -> bool:
        """Whether the graph has few enough nodes, and kinds, for its cost to be asked often."""
        return len(self.graph.nodes) <= MAX_FOLLOWED and len(self._alike) <= MAX_KINDS

    @cached_property
    def _asked(self) -> dict[tuple[int, ...], Cost | None]:
        return {}

    def cost(self, sizes: Sizes) -> Cost | None:
        """Return what the whole graph costs; None where these sizes do not suit it.

        None, too, where it is not followed.
        """
        key = tuple(sizes[axis] for axis in self.sizes)
        if key not in self._asked:
            self._asked[key] = self._cost(sizes) if self.is_followed else None
        return self._asked[key]

    def _cost(self, sizes: Sizes) -> Cost | None:
        total = Cost()
        try:
            for node, count in self._alike:
                if node.op is None:
                    return None
                update = {
                    path: bind(expr, sizes)
                    for path, kind, expr in node.op.expressions()
                    if kind.name not in ("node", "word")
                }
                bound = replace(node, op=replaced(node.op, update) if update else node.op)
                one = node_cost(self.graph, bound, sizes)
                total += Cost(count * one.parameters, count * one.flops)
        except (ComposerError, ExpressionError):
            return None
        return total

    @cached_property
    def _found(self) -> tuple[Sizes, Polynomial, Polynomial] | None:
        even = {axis: EVEN.get(axis, EVEN_PLACE) for axis in self.sizes}
        for steps in (self.sizes, even):
            found = [self._polynomial(steps, which) for which in (_parameters, _flops)]
            if found[0] is not None and found[1] is not None:
                return steps, found[0], found[1]
        return None

    def _polynomial(self, steps: Sizes, count: Callable[[Cost], int]) -> Polynomial | None:
        """Return the counts as a polynomial, from those at multiples of some sizes."""
        ranges = [range(1, POWERS.get(axis, OTHER_POWER) + 2) for axis in steps]

        def at(multiples: Sequence[int]) -> Fraction | None:
            sizes = {a: n * m for (a, n), m in zip(steps.items(), multiples, strict=True)}
            cost = self.cost(sizes)
            return None if cost is None else Fraction(count(cost))

        values: dict[tuple[int, ...], Fraction] = {}
        for multiples in product(*ranges):
            if (value := at(multiples)) is None:
                return None
            values[multiples] = value
        for place, axis in enumerate(steps):
            values = _along(values, place, steps[axis])
        found = {powers: factor for powers, factor in values.items() if factor}
        for multiples in product(COMPARED, repeat=len(steps)):
            there = [n * m for n, m in zip(steps.values(), multiples, strict=True)]
            if at(multiples) != _value(found, there):
                return None
        return found

    @property
    def steps(self) -> Sizes | None:
        """The sizes whose multiples the polynomials hold for; None where there are none."""
        return self._found[0] if self._found else None

    @property
    def parameters(self) -> str | None:
        """The parameters as a polynomial: ``c²/8 + 17c/16``."""
        return _written(self._found[1], list(self.sizes)) if self._found else None

    @property
    def flops(self) -> str | None:
        """The multiply-adds of one image as a polynomial."""
        return _written(self._found[2], list(self.sizes)) if self._found else None

    def times(self, axes: Sequence[str]) -> tuple[float | None, float | None]:
        """Return by what parameters and multiply-adds grow where some sizes are twice as large."""
        here = self.cost(self.sizes)
        there = self.cost({a: n * (2 if a in axes else 1) for a, n in self.sizes.items()})
        if here is None or there is None:
            return None, None
        return _ratio(here.parameters, there.parameters), _ratio(here.flops, there.flops)

    @property
    def places(self) -> list[str]:
        """The sizes but for the channels: those of the map, or the number of tokens."""
        return [axis for axis in self.sizes if axis != "c"]

    def lines(self) -> list[str]:
        """Return what is told of it, in a few lines."""
        if not self.is_followed:
            count, most = f"{len(self.graph.nodes):,} nodes", MAX_FOLLOWED
            if len(self.graph.nodes) <= MAX_FOLLOWED:
                count, most = f"{len(self._alike):,} kinds of nodes", MAX_KINDS
            return [f"how the cost grows is not followed: {count}, and at most {most:,} are"]
        lines = ["the cost is no polynomial in the sizes"]
        if self.steps is not None:
            where = ", ".join(f"{axis} = {n:,}" for axis, n in self.steps.items())
            holds = f"  (exact at multiples of {where})"
            lines = [f"parameters    = {self.parameters}{holds}", f"multiply-adds = {self.flops}"]
        for axes in (["c"] if "c" in self.sizes else [], self.places):
            times = [
                f"{t:.3g}× the {what}"
                for t, what in zip(self.times(axes), ("parameters", "multiply-adds"), strict=True)
                if t
            ]
            if axes and times:
                lines.append(f"with {listing(axes)} twice as large: {listing(times)}")
        return lines

    def as_json(self) -> dict[str, object]:
        """Return plain values; a polynomial is null where there is none."""
        return {
            "parameters": self.parameters,
            "flops": self.flops,
            "multiples_of": dict(self.steps) if self.steps is not None else None,
            "doubled": {
                name: dict(zip(("parameters", "flops"), self.times(axes), strict=True))
                for name, axes in (("channels", ["c"]), ("size", self.places))
                if set(axes) <= set(self.sizes)
            },
        }


def growth(here: Graph, size: tuple[int, ...]) -> Growth:
    """Return how the cost of a spec grows.

    Args:
        here: compiled as written, with the sizes and params that it is looked at with.
        size: of the map; of tokens, there are as many as it has places.

    Raises:
        ComposerError: it is at fault under these params.
    """
    graph, settings = here, here.settings
    if len(here.nodes) <= MAX_FOLLOWED:
        opened = replace(settings, sizes={}, planned=dict(settings.sizes))
        graph = compile_graph(graph_of(here.spec, opened), as_written=True)
    known = {axis: settings.sizes.get(axis) for axis in graph.input_axes.names[1:]}
    sizes = {
        axis: prod(size) if axis == "n" else 1 if n is None else n for axis, n in known.items()
    }
    order = sorted(sizes, key=lambda axis: axis != "c")  # the channels first
    return Growth(graph, {axis: sizes[axis] for axis in order})


def _kind_of(graph: Graph, node: GraphNode) -> object:
    """Return what the cost of a node follows from: its fields, and the axes that it reads."""
    return node.fields, graph.reads_of(node), node.axes, node.weights in (None, node.name)


def _parameters(cost: Cost) -> int:
    return cost.parameters


def _flops(cost: Cost) -> int:
    return cost.flops


def _ratio(before: int, after: int) -> float | None:
    return after / before if before else None


def _along(
    values: dict[tuple[int, ...], Fraction], place: int, step: int
) -> dict[tuple[int, ...], Fraction]:
    """Return values along one axis, at 1, 2, 3 … times a step, as the factors of its powers."""
    columns: dict[tuple[int, ...], dict[int, Fraction]] = {}
    for key, value in values.items():
        columns.setdefault((*key[:place], *key[place + 1 :]), {})[key[place]] = value
    found = {}
    for rest, column in columns.items():
        for power, factor in enumerate(_interpolated(column)):
            found[(*rest[:place], power, *rest[place:])] = factor / step**power
    return found


def _interpolated(values: Mapping[int, Fraction]) -> list[Fraction]:
    """Return the factors of the one polynomial through some points, by Lagrange's formula."""
    zero = Fraction(0)
    total = [zero] * len(values)
    for x, y in values.items():
        basis, scale = [Fraction(1)], Fraction(1)
        for other in values:
            if other != x:  # times (X - other) / (x - other)
                scale *= x - other
                basis = [
                    (basis[i - 1] if i else zero) - other * (basis[i] if i < len(basis) else zero)
                    for i in range(len(basis) + 1)
                ]
        total = [t + y * b / scale for t, b in zip(total, basis, strict=True)]
    return total


def _value(polynomial: Polynomial, sizes: Sequence[int]) -> Fraction:
    return sum(
        (f * prod(n**p for n, p in zip(sizes, powers, strict=True))
         for powers, f in polynomial.items()),
        Fraction(0),
    )  # fmt: skip


def _written(polynomial: Polynomial, axes: Sequence[str]) -> str:
    """Return a polynomial as text, the highest powers first: ``c²/8 + 17c/16``."""
    text = ""
    for powers in sorted(polynomial, key=lambda p: (-sum(p), tuple(-n for n in p))):
        factor = polynomial[powers]
        raised = [f"{axis}{_RAISED[n]}" for axis, n in zip(axes, powers, strict=True) if n]
        letters = all(len(axis) == 1 for axis in axes)
        term = ("" if letters else "·").join(raised)
        number = abs(factor.numerator)
        if number != 1 or not term:
            term = f"{number:,}{term if letters else f'·{term}' if term else ''}"
        term += f"/{factor.denominator}" if factor.denominator != 1 else ""
        sign = "−" if factor < 0 else "+"
        text += f" {sign} {term}" if text else term if factor > 0 else f"−{term}"
    return text or "0"


_RAISED = ("", "", "²", "³")
