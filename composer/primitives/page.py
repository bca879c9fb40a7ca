"""The page of the language, generated from the models: `docs/language.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from composer.language.models import Beginning, Identity, Insert, Match, Model, Param
from composer.language.operations import FUNCTIONS, NUMBERS
from composer.primitives import Spec, own_ops
from composer.primitives.initialise import Init
from composer.primitives.normalization import Norm
from composer.primitives.reference import FieldLine, Reference, fields_of, reference

_BEGIN = """\
# The language

Generated from the code by `python examples/language.py`; `composer list ops NAME` prints the part
for one op, and `composer schema` writes a JSON schema for editors. [The glossary](glossary.md)
defines the terms, and [the page of messages](errors.md) explains the errors.

A spec is one YAML mapping. A value has named axes, `[b, c, h, w]`, not numbered dimensions: an op
names the axes that it works on, every other axis rides along (it is unchanged), and two values are
aligned by the names of their axes. A node reads the node above it by default, and the last node is
the output.
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


def page() -> str:
    """Return the whole reference in Markdown."""
    parts = [_BEGIN]
    for title, about, model in _PARTS:
        parts.append(f"## {title}\n\n{about}\n\n{_table(fields_of(model))}")
    parts.append(_expressions())
    known = list(own_ops())
    parts.append(f"## Ops\n\n{', '.join(f'[{op}](#{op})' for op in known)}\n")
    parts += [_op(reference(op)) for op in known]
    return "\n".join(parts)


def _op(op: Reference) -> str:
    table = _table(op.fields)
    example = f"\n```yaml\n{op.example}```\n" if op.example else ""
    return f"### {op.op}\n\n{op.does}\n\n{table}{example}"


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
