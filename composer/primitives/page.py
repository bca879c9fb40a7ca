"""The page of the language, made from the models: what `docs/language.md` holds."""

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

Made from the code by `python examples/language.py`; `composer list ops NAME` prints the part of one
op, and `composer schema` gives all of it to an editor.

A spec is one YAML mapping. A value has named axes, `[b, c, h, w]`, and never positions: an op names
the axes that it works on, every other axis rides along, and two values meet by the names of their
axes. A node reads the node above it unless it says which, and the last node is the output.
"""

_PARTS: tuple[tuple[str, str, type[Model]], ...] = (
    ("A spec", "The fields of the file.", Spec),
    ("params", "A knob; `name: 16` is short for `name: {default: 16}`.", Param),
    ("insert", "Where the paper puts it, which the command line may change.", Insert),
    ("match", "Inside `insert`: the convolutions that a stand-in takes the place of.", Match),
    ("identity", "How a stand-in begins as what it replaces.", Identity),
    ("identity.nodes", "One node of it.", Beginning),
    ("norm", "The norm after a layer, as a mapping: `norm: {fn: batch, eps: 1e-3}`.", Norm),
    ("init", "How weights begin; `init: 0` is short for `init: {value: 0}`.", Init),
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
        "Where a size, a number or a flag stands, an expression may stand: numbers, the names of "
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
