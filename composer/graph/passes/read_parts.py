"""Readers of a stack of branches read the branches directly, so that no stack is materialised.

    pick(stack(a₀ … aₙ), k, i)      = aᵢ
    pool over k of stack(a₀ … aₙ)   = a₀ + … + aₙ                      for a sum
    pool over s of stack(a₀ … aₙ)   = stack(pool a₀ … pool aₙ)         where k is not in s

The last two apply if every reader of the stack is one of the three.
"""

from __future__ import annotations

from composer.graph.graph import INPUT, Graph
from composer.graph.rewriting import Rewriting, readers
from composer.language.expressions import Expr, constant
from composer.primitives.arithmetic import Arithmetic
from composer.primitives.base import Primitive, refers
from composer.primitives.pick import Pick
from composer.primitives.pool import Pool
from composer.primitives.stack import Stack


def read_parts(graph: Graph) -> Graph:
    """Return the graph without the stacks whose readers can use the parts."""
    return _Parts(graph).read()


class _Parts:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.work = graph, Rewriting(graph)
        self.readers = {
            name: dict.fromkeys(node.name for node in nodes)
            for name, nodes in readers(graph).items()
        }
        self.renamed: dict[str, str] = {}
        self.open = [node.name for node in graph.in_order()]

    def read(self) -> Graph:
        """Rewrite each stack, and the stacks that result, until no rule applies."""
        while self.open:
            name = self.open.pop()
            if isinstance(stack := self.work.op(name), Stack) and name != self.graph.output:
                self._bypass(name, stack)
        return self.work.done(self.renamed)

    def _bypass(self, name: str, stack: Stack) -> None:
        mine = self.readers.setdefault(name, {})
        whole = all(_reads_parts(stack, self.work.op(reader)) for reader in mine)
        for reader in list(mine):
            op = self.work.op(reader)
            if isinstance(op, Pick) and op.axis == stack.axis:
                part = self._meant(stack.of[int(op.index.value)])
                if part == INPUT and reader == self.graph.output:
                    continue
                self.renamed[reader] = part
                self.readers.setdefault(part, {}).update(self.readers.pop(reader, {}))
                self.open.append(part)
            elif whole and isinstance(op, Pool):
                self._pool_parts(reader, op, stack)
            else:
                continue
            del mine[reader]
        if not mine:
            for ref in stack.of:
                self.readers.get(self._meant(ref), {}).pop(name, None)
                self.open.append(self._meant(ref))

    def _pool_parts(self, name: str, op: Pool, stack: Stack) -> None:
        node = self.work.node(name)
        if stack.axis in op.over:
            self.work.change(node, Arithmetic.model_construct(op="add", of=stack.of))
            for ref in stack.of:
                self._read_by(self._meant(ref), name)
            return
        parts = []
        for ref in stack.of:
            parts.append(self.work.add(op.model_copy(update={"x": ref}), node))
            self._read_by(self._meant(ref), parts[-1])
            self._read_by(parts[-1], name)
        self.work.change(node, stack.model_copy(update={"of": tuple(map(constant, parts))}))
        self.open.append(name)

    def _read_by(self, name: str, reader: str) -> None:
        self.readers.setdefault(name, {})[reader] = None
        self.open.append(name)

    def _meant(self, ref: Expr) -> str:
        name = str(ref.value)
        while name in self.renamed:
            name = self.renamed[name]
        return name


def _reads_parts(stack: Stack, op: Primitive | None) -> bool:
    if isinstance(op, Pick):
        return op.axis == stack.axis
    if not isinstance(op, Pool) or op.kernel is not None:
        return False
    if op.exponent is not None and refers(op.exponent):
        return False  # it may have the axis
    if stack.axis not in op.over:
        return True
    return len(op.over) == 1 and op.reduce.value == "sum" and len(stack.of) > 1
