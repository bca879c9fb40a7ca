"""Finds the expression of the spec that gives a number of its module, by its values.

A number is one of the sizes and params, an expression of the spec, or a combination of two or
three of these; the shortest one that is right in every sample is used.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from composer.exporting.python.samples import Sample
from composer.language.expressions import Expr, Value, constant, evaluate, name
from composer.primitives import Spec
from composer.primitives.use import Use

Values = tuple[float, ...]

_SMALL = (1, 2, 3, 4)
#: How two expressions are combined, the likelier first.
_TOGETHER: tuple[tuple[str, Callable[[Any, Any], Any]], ...] = (
    ("*", operator.mul), ("//", operator.floordiv), ("+", operator.add), ("-", operator.sub),
)  # fmt: skip
#: A standard deviation or bound as a function of the fan-in: 1/√n, √(2/n), √(6/n).
_SPREADS = (1, 2, 6)
_MOST = 4000  # different values to search for three expressions


def expressions_of(spec: Spec) -> list[Expr]:
    """Return the expressions of a spec and of the specs it uses, over its own names."""
    found = [parts for param in spec.params.values() if (parts := _of_default(param)) is not None]
    return [*dict.fromkeys([*_of_nodes(spec, {}), *found])]


def _of_default(param: Any) -> Expr | None:
    if not isinstance(param.default, str) or param.choices:
        return None
    return param.expression(param.default)  # type: ignore[no-any-return]


def _of_nodes(spec: Spec, instead: Mapping[str, Expr]) -> Iterator[Expr]:
    for op in spec.nodes.values():
        for sizes in _groups_of_sizes(op):
            for first in range(len(sizes)):
                if len(sizes) - first > 1:
                    yield _put(_product(sizes[first:]), instead)
        for _, _, written in op.every_expression():
            for part in _put(written, instead).walk():
                if not part.is_constant:
                    yield part
        if isinstance(op, Use) and op.spec in spec.used:
            inner = spec.used[op.spec]
            given = {
                n: _put(op.params.get(n) or inner.params[n].expression(inner.params[n].default),
                        instead)
                for n in inner.params
            }  # fmt: skip
            yield from _of_nodes(inner, given)


def _groups_of_sizes(op: Any) -> Iterator[list[Expr]]:
    """Yield the sizes of adjacent axes of an op, which a layer takes as one."""
    for field_name in type(op).model_fields:
        value = getattr(op, field_name)
        if isinstance(value, dict) and all(isinstance(size, Expr) for size in value.values()):
            yield [*value.values()]


def _product(sizes: Sequence[Expr]) -> Expr:
    return reduce(lambda left, right: Expr("*", 0, (left, right)), sizes)


def _put(expr: Expr, instead: Mapping[str, Expr]) -> Expr:
    """Return an expression with other expressions substituted for names."""
    if expr.kind == "name":
        return instead.get(str(expr.value), Expr("name", expr.value))
    return Expr(expr.kind, expr.value, tuple(_put(arg, instead) for arg in expr.args))


@dataclass
class Finder:
    """Finds the expressions of a spec for numbers."""

    spec: Spec
    samples: Sequence[Sample]
    names: Sequence[str]  # those that an expression may use
    _known: list[tuple[Values, Expr]] = field(default_factory=list)
    _found: dict[Values, Expr] = field(default_factory=dict)
    _pairs: dict[Values, Expr] | None = None

    def __post_init__(self) -> None:
        halves = (Expr("//", 0, (name(one), constant(2))) for one in self.names)
        instead = {
            one: _put(default, {})
            for one, param in self.spec.params.items()
            if one not in self.names and (default := _of_default(param)) is not None
        }
        for written in (*map(name, self.names), *expressions_of(self.spec), *halves):
            written = _put(written, instead)
            if (values := self._values(written)) is not None:
                self._note(self._found, values, written)
        self._known = list(self._found.items())

    def expression(self, values: Sequence[Value]) -> Expr | None:
        """Return the expression of these numbers, one per sample, or None where there is none."""
        if len(set(values)) == 1:
            return constant(values[0])
        wanted = tuple(map(float, values))
        if (found := self._of_numbers(wanted)) is not None:
            return found
        if all(value > 0 for value in wanted) and not all(v.is_integer() for v in wanted):
            return self._of_spread(wanted)
        return None

    def _of_spread(self, wanted: Values) -> Expr | None:
        """Return √(a/n), or 1/√n, that gives these numbers."""
        for above in _SPREADS:
            inputs = tuple(float(round(above / value**2)) for value in wanted)
            near = all(
                math.isclose((above / n) ** 0.5 if n else 0, value, rel_tol=1e-12)
                for n, value in zip(inputs, wanted, strict=True)
            )
            found = self._of_numbers(inputs) if near else None
            if found is not None and above == 1:
                return Expr("**", 0, (found, constant(-0.5)))
            if found is not None:
                return Expr("sqrt", 0, (Expr("/", 0, (constant(above), found)),))
        return None

    def _of_numbers(self, wanted: Values) -> Expr | None:
        found = self._found.get(wanted)
        if set(wanted) <= {0, 1}:  # too little to distinguish expressions
            return found
        pairs = self._all_pairs()
        if wanted in pairs and (found is None or _length(pairs[wanted]) < _length(found)):
            return pairs[wanted]
        if found is not None:
            return found
        if len(set(wanted)) == 1:
            return constant(int(wanted[0]))
        few = [((float(n),) * len(wanted), constant(n)) for n in _SMALL]
        for values, expr in (*few, *self._known):  # one with a pair
            for kind, rest in _rests(wanted, values):
                if rest in pairs:
                    return Expr(kind, 0, (pairs[rest], expr))
        return None

    def _all_pairs(self) -> dict[Values, Expr]:
        if self._pairs is None:
            self._pairs = {}
            count = len(self.samples)
            small = [((float(n),) * count, constant(n)) for n in _SMALL]
            for kind, function in _TOGETHER:
                for left, right in self._to_put_together(small):
                    if (values := _together(function, left[0], right[0])) is not None:
                        self._note(self._pairs, values, Expr(kind, 0, (left[1], right[1])))
        return self._pairs

    def _to_put_together(
        self, small: Iterable[tuple[Values, Expr]]
    ) -> Iterator[tuple[tuple[Values, Expr], tuple[Values, Expr]]]:
        numbers = [one for one in self._known if one[1].kind not in ("==", "!=")]
        for left in (*small, *numbers):
            for right in numbers:
                yield left, right
        for left in numbers:
            for right in small:
                yield left, right

    def _values(self, written: Expr) -> Values | None:
        """Return the value of an expression in each sample; None where it has none."""
        if not written.names <= set(self.names):
            return None
        found = [evaluate(written, sample.known) for sample in self.samples]
        if any(isinstance(value, (str, type(None))) for value in found):
            return None
        values = tuple(map(float, found))  # type: ignore[arg-type]
        return values if len(set(values)) > 1 else None

    def _note(self, among: dict[Values, Expr], values: Values, expr: Expr) -> None:
        have = among.get(values)
        if len(among) < _MOST and (have is None or _length(expr) < _length(have)):
            among[values] = expr


def _length(expr: Expr) -> int:
    return sum(1 for _ in expr.walk())


def _together(function: Callable[[Any, Any], Any], left: Values, right: Values) -> Values | None:
    try:
        return tuple(float(function(x, y)) for x, y in zip(left, right, strict=True))
    except ZeroDivisionError:
        return None


def _rests(wanted: Values, values: Values) -> Iterator[tuple[str, Values]]:
    """Yield the other operand that gives the wanted value with a number."""
    if all(values) and not any(x % y for x, y in zip(wanted, values, strict=True)):
        yield "*", tuple(x // y for x, y in zip(wanted, values, strict=True))
    yield "-", tuple(x + y for x, y in zip(wanted, values, strict=True))
    yield "+", tuple(x - y for x, y in zip(wanted, values, strict=True))
