"""The pages of the language that are made from the models: the fields of a spec, and the ops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from composer.language.models import Beginning, Identity, Insert, Match, Model, Param
from composer.language.operations import FUNCTIONS, NUMBERS
from composer.primitives import Spec, own_ops
from composer.primitives.initialise import Init
from composer.primitives.normalization import Norm
from composer.primitives.reference import FieldLine, Reference, fields_of, reference

_OPS = """\
# Ops

Every op of [the language](language.md), with its fields and an example that checks. `composer list
ops NAME` prints the part of one op, and `composer schema` gives all of it to an editor. This page
is written by `python docs/language_pages.py` from the code.
"""

_PARTS: tuple[tuple[str, str, type[Model]], ...] = (
    ("A spec", "The fields of the file.", Spec),
    ("params", "A parameter; `name: 16` is short for `name: {default: 16}`.", Param),
    ("insert", "Where the paper puts the mechanism; the command line can change it.", Insert),
    ("match", "Inside `insert`: the convolutions that a stand-in replaces.", Match),
    ("identity", "How a stand-in starts out computing what it replaces.", Identity),
    ("identity.nodes", "One node of it.", Beginning),
    ("norm", "The norm after a layer, as a mapping: `norm: {fn: batch, eps: 1e-3}`.", Norm),
    ("init", "Initial weights; `init: 0` is short for `init: {value: 0}`.", Init),
)


def fields_page() -> str:
    """Return the fields of a spec and what an expression may be, in Markdown."""
    parts = [
        f"## {title}\n\n{about}\n\n{_table(fields_of(model))}" for title, about, model in _PARTS
    ]
    return "\n".join([*parts, _expressions()])


def ops_page() -> str:
    """Return the reference of every op of Composer's own, in Markdown."""
    known = list(own_ops())
    index = f"{', '.join(f'[{op}](#{op})' for op in known)}\n"
    return "\n".join([_OPS, index, *(_op(reference(op)) for op in known)])


def _op(op: Reference) -> str:
    table = _table(op.fields)
    example = f"\n```yaml\n{op.example}```\n" if op.example else ""
    return f"## {op.op}\n\n{op.does}\n\n{table}{example}"


def _expressions() -> str:
    calls, numbers = (", ".join(f"`{name}`" for name in table) for table in (FUNCTIONS, NUMBERS))
    return (
        "## Expressions\n\n"
        "A size, a number or a flag may be written as an expression: numbers, the names of "
        f"sizes and params,\n{numbers}, `+ - * / // % **`, comparisons, `a if b else c`, and the "
        f"functions\n{calls}.\n"
    )


def _table(fields: Iterable[FieldLine]) -> str:
    lines = ["| field | takes | default | |", "| --- | --- | --- | --- |"]
    lines += _rows(fields)
    return "\n".join(lines) + "\n"


def _rows(fields: Iterable[FieldLine]) -> Iterator[str]:
    for field in fields:
        cells = (f"`{field.name}`", field.kind, field.default, field.description)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
