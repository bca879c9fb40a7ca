"""A key for nodes with equal fields and operand axes, so that one answer serves all of them.

A repeat of a thousand steps is a thousand nodes with the same fields, and so are the blocks of a
long spec. What a primitive computes for one from its fields and axes holds for each of them.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache

from composer.language.expressions import Expr
from composer.language.fields import Kind
from composer.language.models import Model
from composer.primitives.base import Primitive, reference_fields, refers

#: Replaces an operand that is a node: its axes are part of the key, next to the fields.
_NODE = object()


def fields_of(op: Primitive) -> Hashable:
    """Return a key that is equal for ops with equal fields, ignoring which nodes they read.

    Of an operand, the key holds only that it is a node, not its name.
    """
    return _fields(op)


def frozen(value: object) -> Hashable:
    """Return the value of a model's field in hashable form."""
    if isinstance(value, Expr | str) or value is None:
        return value
    if isinstance(value, Model):
        return type(value), tuple([frozen(item) for item in vars(value).values()])
    if isinstance(value, dict):
        return tuple([(key, frozen(item)) for key, item in value.items()])
    if isinstance(value, tuple | list):
        return tuple([frozen(item) for item in value])
    return type(value), value  # 1 and True must differ


def _fields(model: Model) -> Hashable:
    kinds = _kinds(type(model))
    return type(model), tuple([
        frozen(value) if name not in kinds else _unnamed(value, kinds[name])
        for name, value in vars(model).items()
    ])  # fmt: skip


def _unnamed(value: object, kind: Kind | None) -> Hashable:
    """Return a field that may name nodes, with the names removed."""
    if isinstance(value, Expr):
        names = kind is not None and (kind.name == "node" or refers(value))
        return _NODE if names else value
    if kind is None:
        return _fields(value) if isinstance(value, Model) else frozen(value)
    if isinstance(value, dict):
        return tuple([(key, _unnamed(item, kind)) for key, item in value.items()])
    if isinstance(value, tuple | list):
        return tuple([_unnamed(item, kind) for item in value])
    return frozen(value)


@cache
def _kinds(model: type[Model]) -> dict[str, Kind | None]:
    return dict(reference_fields(model))
