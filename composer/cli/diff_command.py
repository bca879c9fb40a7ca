"""`composer diff A B`: the differences between two compositions, or two specs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from composer.artifact.output import is_composition
from composer.cli.completing import complete_spec_or_model
from composer.cli.options import json_option, read_specs, usage
from composer.cli.output import say, say_json
from composer.errors import ComposerError, UsageError, counted

if TYPE_CHECKING:
    from composer.looking.composition_diff import CompositionDifference, EditDifference
    from composer.looking.spec_diff import SpecDifference

_MOST = 8  # tensors that are named; --json names them all


@click.command("diff", short_help="Show how two compositions, or two specs, differ.")
@click.argument("a", metavar="A", shell_complete=complete_spec_or_model)
@click.argument("b", metavar="B", shell_complete=complete_spec_or_model)
@json_option
@click.pass_context
def command(context: click.Context, a: str, b: str, as_json: bool) -> None:
    """Compare two folders written by insert, or two specs; no model is built.

    For compositions this compares the backbone, the edits with their sites, params and specs, the
    parameters and multiply-adds, and the weights. The exit status is that of diff: 0 where nothing
    differs, 1 where something does, 2 where they cannot be compared.
    """
    folders = [is_composition(Path(word)) for word in (a, b)]
    if folders[0] is not folders[1]:
        folder, other = (a, b) if folders[0] else (b, a)
        message = f"{folder!r} is a composition, and {other!r} is not"
        raise usage(message, "compare two folders written by insert, or two specs")
    try:
        if folders[0]:
            from composer.looking.composition_diff import composition_difference

            between = composition_difference(Path(a), Path(b))
            found, lines, same = between.as_json(), list(_compositions(between)), between.is_same
        else:
            from composer.looking.spec_diff import spec_difference

            one, other_spec = read_specs((a, b))
            names = one.origin.file, other_spec.origin.file
            differing = spec_difference(one, other_spec, names)
            found, lines, same = differing.as_json(), list(_specs(differing)), differing.is_same
    except ComposerError as failure:
        if failure.exit_code != 1:
            raise
        raise UsageError(failure.diagnostics) from None  # 1 would mean that they differ
    if as_json:
        told = {"version": 1, "a": a, "b": b, "same": same, **found}
        say_json(told)
    else:
        say("\n".join(lines))
    if not same:
        context.exit(1)


def _specs(between: SpecDifference) -> Iterator[str]:
    if between.is_same:
        yield "the texts are the same"
    yield from (text.rstrip("\n") for text in between.texts.values())
    if between.texts and between.says_the_same:
        yield "both mean the same: only comments or spacing differ"


def _compositions(between: CompositionDifference) -> Iterator[str]:
    for name, pair in between.fields.items():
        yield f"{name}: {_arrow(pair)}"
    for edit in between.edits:
        yield from _edit(edit)
    for name, (before, after) in between.costs.items():
        said = "multiply-adds" if name == "flops" else name
        yield f"{said}: {_number(before)} → {_number(after)}"
    yield from _weights(between)
    if between.versions:
        pairs = (f"{name} {_arrow(pair)}" for name, pair in between.versions.items())
        yield f"note: made with other versions: {', '.join(pairs)}"
    if between.is_same:
        yield "nothing differs"


def _edit(edit: EditDifference) -> Iterator[str]:
    from composer.looking.composition_diff import shown

    first, second = edit.numbers
    if first is None or second is None:
        side, modules = ("B", edit.only_b) if first is None else ("A", edit.only_a)
        number = second if first is None else first
        sites = counted(len(modules), "site")
        yield f"edit {number} only in {side}, {edit.spec}: {sites}, {shown(modules)}"
        return
    yield f"edit {first}, {edit.spec}:" if first == second else (
        f"edit {first} of A and {second} of B, {edit.spec}:")  # fmt: skip
    for name, pair in edit.fields.items():
        yield f"  {name.replace('_', ' ')}: {_arrow(pair)}"
    for name, pair in edit.params.items():
        said = tuple("not set" if value is None else value for value in pair)
        yield f"  param {name}: {_arrow(said)}"
    for side, modules in (("A", edit.only_a), ("B", edit.only_b)):
        if modules:
            yield f"  {counted(len(modules), 'site')} only in {side}: {shown(modules)}"
    for module, pair in edit.moved.items():
        yield f"  {module}: {_arrow(pair)}"
    for text in edit.texts.values():
        yield from (f"  {line}" for line in text.splitlines())


def _weights(between: CompositionDifference) -> Iterator[str]:
    from composer.looking.composition_diff import shown

    weights = between.weights
    counts: Mapping[str, Sequence[Any] | Mapping[str, Any]] = {
        "equal": weights.equal, "changed": weights.changed, "of different shape or dtype":
        weights.reshaped, "only in A": weights.only_a, "only in B": weights.only_b,
    }  # fmt: skip
    parts = ", ".join(f"{len(found)} {word}" for word, found in counts.items() if found)
    yield f"tensors: {parts or 'none'}"
    largest = sorted(weights.changed.items(), key=lambda one: -one[1])
    lines = [f"  {name}: differs by up to {apart:.3g}" for name, apart in largest]
    lines += [f"  {name}: {_arrow(pair)}" for name, pair in weights.reshaped.items()]
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"  and {len(lines) - _MOST} more; --json lists all"
    for side, names in (("A", weights.only_a), ("B", weights.only_b)):
        if names:
            yield f"  only in {side}: {shown(names)}"


def _arrow(pair: tuple[Any, ...]) -> str:
    return f"{pair[0]} → {pair[1]}"


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
