"""How the cost of a spec grows with its sizes: exact counts at several sizes, as a polynomial.

    parameters = c²/8 + 17c/16

The counts of a graph are polynomials in the sizes of its input wherever its expressions divide
evenly. So as many counts as a polynomial has terms determine it, in exact fractions. It is checked
against counts at other sizes; if one differs, the cost is not a polynomial.
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

#: The highest power of the channels, and of each spatial size.
POWERS = {"c": 3}
OTHER_POWER = 2
#: Multiples of the sizes at which a polynomial is checked; none of them was used to fit it.
COMPARED = (5, 6, 8)
#: Kinds of nodes, each evaluated a hundred times: more would take over a second.
MAX_KINDS = 200
#: Nodes of a graph whose growth is computed: it is compiled once more, with open sizes.
MAX_FOLLOWED = 2_000
#: Sizes with many divisors, for mechanisms whose params do not divide the given sizes.
EVEN = {"c": 4096}
EVEN_PLACE = 64

Sizes = Mapping[str, int]
Polynomial = Mapping[tuple[int, ...], Fraction]


@dataclass(frozen=True)
class Growth:
    """The cost of a graph at any sizes of its input.

    `sizes` are the given ones; the polynomials have their names as variables, in this order.
    """

    graph: Graph
    sizes: dict[str, int]

    @cached_property
    def _alike(self) -> list[tuple[GraphNode, int]]:
        """One node of each kind, with its count; nodes of a kind cost the same at all sizes."""
        found: dict[object, tuple[GraphNode, int]] = {}
        for node in self.graph.nodes:
            kind = _kind_of(self.graph, node)
            first, count = found.get(kind, (node, 0))
            found[kind] = first, count + 1
        return list(found.values())

    @property
    def is_followed(self) -> bool:
        """Whether the graph has few enough nodes and kinds to evaluate its cost often."""
        return len(self.graph.nodes) <= MAX_FOLLOWED and len(self._alike) <= MAX_KINDS

    @cached_property
    def _asked(self) -> dict[tuple[int, ...], Cost | None]:
        return {}

    def cost(self, sizes: Sizes) -> Cost | None:
        """Return the cost of the whole graph; None if it can't have these sizes.

        Also None if the graph has too many kinds of nodes.
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
        """Return the counts as a polynomial, fitted at multiples of some sizes."""
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
        """The sizes for whose multiples the polynomials hold; None if there are none."""
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
        """Return the factors by which parameters and multiply-adds grow if some sizes double."""
        here = self.cost(self.sizes)
        there = self.cost({a: n * (2 if a in axes else 1) for a, n in self.sizes.items()})
        if here is None or there is None:
            return None, None
        return _ratio(here.parameters, there.parameters), _ratio(here.flops, there.flops)

    @property
    def places(self) -> list[str]:
        """The sizes other than the channels: those of the map, or the number of tokens."""
        return [axis for axis in self.sizes if axis != "c"]

    def lines(self) -> list[str]:
        """Return a description of it, in a few lines."""
        if not self.is_followed:
            count, most = f"{len(self.graph.nodes):,} nodes", MAX_FOLLOWED
            if len(self.graph.nodes) <= MAX_FOLLOWED:
                count, most = f"{len(self._alike):,} kinds of nodes", MAX_KINDS
            return [f"growth of the cost not computed: {count}, and the limit is {most:,}"]
        lines = ["the cost is not a polynomial in the sizes"]
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
        """Return plain values; a polynomial that does not exist is null."""
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
        here: the graph, compiled for the sizes and params at hand.
        size: of the map; the number of tokens is that of its places.

    Raises:
        ComposerError: the spec has errors under these params.
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
    """Return what determines the cost of a node: its fields, and the axes of its operands."""
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
    """Return the coefficients of the polynomial through values at 1, 2, 3 … times a step."""
    columns: dict[tuple[int, ...], dict[int, Fraction]] = {}
    for key, value in values.items():
        columns.setdefault((*key[:place], *key[place + 1 :]), {})[key[place]] = value
    found = {}
    for rest, column in columns.items():
        for power, factor in enumerate(_interpolated(column)):
            found[(*rest[:place], power, *rest[place:])] = factor / step**power
    return found


def _interpolated(values: Mapping[int, Fraction]) -> list[Fraction]:
    """Return the coefficients of the polynomial through some points, by Lagrange's formula."""
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
