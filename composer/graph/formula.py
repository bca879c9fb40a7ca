"""What a graph computes, as one formula per node: ``squeeze = Σ input / hw``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from composer.graph.graph import Graph, GraphNode
from composer.primitives.base import Primitive

#: Fields whose operand a primitive's formula refers to by the field's name.
_CALLED = ("x", "q", "k", "v")
#: Such a letter; after a division sign and in an index ``x[h + 1]`` it is an axis.
_LETTER = r"(?<![^\W\d_])(?<!/ )(?<!/ \()(?<!· )([xqkv])(?![^\W\d_²³])(?!\()"
_WORD = re.compile(rf"{_LETTER}|\[[^\]]*\]")
_MARK = "operand"
_OF_AXES = re.compile(r"\w+ = ")


@dataclass(frozen=True)
class Equation:
    """One node: its name, its formula, and the axes of its value.

    `is_maths` is false for a description in words, used where a node has no formula.
    """

    name: str
    formula: str
    axes: tuple[str, ...]
    is_maths: bool = True

    def __str__(self) -> str:
        return f"{self.name} = {self.formula}"


def equations(graph: Graph) -> tuple[Equation, ...]:
    """Return an equation for each node of a compiled graph, in execution order."""
    return tuple(_equation(node) for node in graph.in_order())


def _equation(node: GraphNode) -> Equation:
    assert node.op is not None and node.axes is not None
    formula = _formula(node.op)
    if _OF_AXES.match(formula) and node.operands:  # how a split or a merge arranges an axis
        return Equation(
            node.name, f"{node.operands[0]} with {formula}", node.axes.names, is_maths=False
        )
    if formula:
        return Equation(node.name, formula, node.axes.names)
    of = f" of {', '.join(node.operands)}" if node.operands else ""
    return Equation(node.name, f"{node.op.label()}{of}", node.axes.names, is_maths=False)


def _formula(op: Primitive) -> str:
    """Return an op's formula with the names of the nodes that it reads.

    Some ops write the names themselves, others the letter of the field. So each name is first
    replaced by a marker, and the remaining letters are those of fields.
    """
    refs = list(dict.fromkeys(str(ref) for _, ref in op.operands()))
    marks = {ref: f"{_MARK}{chr(ord('a') + number)}" for number, ref in enumerate(refs[:26])}
    formula = op.redirected(marks).formula()
    reads = {field: str(getattr(op, field)) for field in _CALLED if getattr(op, field, None)}
    if not _OF_AXES.match(formula):
        formula = _WORD.sub(lambda found: reads.get(found[1] or "", found[0]), formula)
    for ref, mark in marks.items():
        formula = formula.replace(mark, ref)
    return formula
