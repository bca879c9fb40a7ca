"""The names that an expression of one graph may use, with their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy

from composer.graph.graph import INPUT, Graph
from composer.language.expressions import Expr, ExpressionError, Value
from composer.language.fields import Kind
from composer.language.hints import Hints
from composer.language.source import YamlPath


class Scope(Mapping[str, Value | Expr]):
    """Sizes and params by name; one that is not known yet is an expression over `open` names.

    Names inside a branch or a repeat shadow those of the whole graph. `general` holds the sizes at
    which an open choice is made: those of a generic convolution.
    """

    def __init__(self, values: Mapping[str, Value | Expr]) -> None:
        self._whole = dict(values)
        self._inside: dict[str, Value | Expr] = {}
        self._names = list(values)
        self._hints = Hints()
        self.open: set[str] = set()
        self.general: Mapping[str, Value] = {}
        for value in values.values():
            self._note(value)

    def put(self, name: str, value: Value | Expr) -> None:
        """Set the value of a name; it depends on the open names in that value."""
        if name not in self._whole:
            self._names.append(name)
        self._whole[name] = value
        self._note(value)

    def within(self, names: Mapping[str, int]) -> Scope:
        """Return an inner scope with additional names."""
        scope = copy(self)
        scope._inside = {**self._inside, **names}
        return scope

    def indexed(self, indices: Mapping[str, Expr]) -> Scope:
        """Return an inner scope where some names are indices."""
        scope = copy(self)
        scope._inside = {**self._inside, **indices}
        scope.open = self.open.union(*(index.names for index in indices.values()))
        return scope

    def suggestion(self, word: str, label: str) -> str:
        """Return the way out for an unknown name."""
        names = [*self._names, *self._inside] if self._inside else self._names
        return self._hints.suggestion(word, names, label)

    def __getitem__(self, name: str) -> Value | Expr:
        return self._inside[name] if name in self._inside else self._whole[name]

    def __contains__(self, name: object) -> bool:
        return name in self._inside or name in self._whole  # without a KeyError each time

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._names, *self._inside]))

    def __len__(self) -> int:
        return len(self._whole.keys() | self._inside.keys())

    def _note(self, value: Value | Expr) -> None:
        if isinstance(value, Expr):
            self.open |= value.names


def all_known(expr: Expr, known: Scope, label: str) -> Expr:
    """Return `expr` if all its names are known.

    Raises:
        ExpressionError: code ``unknown-name``, at the first unknown name.
    """
    for part in expr.walk():
        if part.kind == "name" and part.value not in known.open:
            way_out = known.suggestion(str(part.value), label)
            if part.value in ("yes", "no", "on", "off"):
                way_out = f"a flag is true or false. {way_out}"
            raise ExpressionError(
                "unknown-name",
                f"no size or param named {part.value!r}",
                part.start,
                part.length,
                way_out,
            )
    return expr


def node_instead(
    graph: Graph, path: YamlPath, expr: Expr, kind: Kind, failure: ExpressionError
) -> tuple[str, str] | None:
    """Return (message, help) if a node is used as a size, number or flag; else None."""
    at_fault = (str(e.value) for e in expr.walk() if e.kind == "name" and e.start == failure.start)
    name = next(at_fault, "")
    if failure.code != "unknown-name":
        return None
    wanted = {"flag": "true or false"}.get(kind.name, f"a {kind.name}")
    if path[-1] == "op":  # where axes are allowed, {op: …} is read as axes
        return f"expected {wanted}, but got a node", f"write {kind.example}"
    if name not in {INPUT, *graph.by_name}:
        return None
    return f"expected {wanted}, but {name!r} is a node", f"write {kind.example}"
