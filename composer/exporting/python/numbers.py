"""The code for a number of a module: an expression over a class's arguments, or a literal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from composer.exporting.python.code import Code
from composer.exporting.python.formula import formula, number
from composer.exporting.python.found import Finder
from composer.exporting.python.samples import Samples
from composer.exporting.python.written import Number
from composer.language.expressions import Expr, Value, constant


@dataclass
class Numbers:
    """Writes numbers; records which arguments they use, and which are literals."""

    samples: Samples
    finder: Finder
    read: dict[str, None] = field(default_factory=dict)
    unknown: list[Value] = field(default_factory=list)

    def expression(self, place: int) -> Expr:
        """Return the expression of a number; a constant if it has none."""
        values = [sample.numbers[place] for sample in self.samples.samples]
        found = self.finder.expression(values)
        if found is None:
            self.unknown.append(values[0])
            return constant(values[0])
        for name in sorted(found.names):
            self.read[name] = None
        return found

    def code(self, at: Number, names: Mapping[str, str], instead: Mapping[Expr, str]) -> Code:
        """Return a number as Python.

        Args:
            at: which number.
            names: the arguments' names here.
            instead: expressions that have their own name here.
        """
        asked = self.samples.asked.numbers[at.place]
        expr = self.expression(at.place)
        if expr in instead:
            return Code(instead[expr])
        if expr.is_constant:
            return number(asked)
        whole = isinstance(asked, int) and not isinstance(asked, bool)
        return formula(expr, names, self.samples.samples, whole)
