"""`composer list specs|ops|backbones`: what is available."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from typing import Any

import click

from composer.cli.completing import complete_op
from composer.cli.options import json_option, usage
from composer.cli.output import note, say, say_json, say_line
from composer.errors import Diagnostic, did_you_mean, error, listing


@click.command("list", short_help="List specs, ops or backbones.")
@click.argument("what", type=click.Choice(["specs", "ops", "backbones"]))
@click.argument("name", required=False, metavar="[OP]", shell_complete=complete_op)
@click.option(
    "--filter",
    "filters",
    metavar="WORD",
    multiple=True,
    help="List only names that contain this or match this glob: resnet, "
    "'vit_*_224'; may be repeated.",
)
@json_option
def command(what: str, name: str | None, filters: tuple[str, ...], as_json: bool) -> None:
    """List the installed specs, the ops of the language, or the names of the backbones.

    With the name of an op, as in 'composer list ops pool', print its reference: the fields,
    what each takes, and a valid example.
    """
    if name is not None:
        _reference(what, name, filters, as_json)
        return
    rows = {"specs": _specs, "ops": _ops, "backbones": _backbones}[what]()
    if filters:
        rows = _matching(rows, what, filters)
    if as_json:
        say_json({"version": 1, what: rows})
        return
    from composer.cli.tables import table

    if what == "backbones":
        for row in rows:
            say_line(row["name"])
        return
    headings = list(rows[0])
    say(table(headings, [[str(row[h]) for h in headings] for row in rows]))


def _reference(what: str, name: str, filters: tuple[str, ...], as_json: bool) -> None:
    """Print the reference of one op.

    Raises:
        UsageError: it is not about the ops, or a filter is also given.
        ComposerError: there is no such op.
    """
    from composer.cli.tables import fitted
    from composer.language.words import meaning, suggested
    from composer.primitives import ops
    from composer.primitives.reference import reference

    if what != "ops":
        ways = {"specs": f"composer show {name}", "backbones": f"composer sites {name}"}
        raise usage(f"only ops have a reference, not {what}", f"use '{ways[what]}'")
    if filters:
        raise usage(f"the op {name!r} is given, and so is --filter", "omit one of them")
    known = ops()
    _refuse_broken(name)
    if name not in known:
        row = meaning(name)
        said = f"here that is {row.line}" if row and row.line else None
        said = said or suggested(name, list(known), "Ops", {})
        raise error("unknown-op", f"no op named {name!r}", said)
    op = reference(name)
    if as_json:
        say_json({"version": 1, **asdict(op)})
        return
    say(f"{op.op}: {op.does}\n")
    rows = [[f.name, f.kind, f.default, f.description] for f in op.fields]
    say(fitted(("field", "takes", "default", ""), rows, folding=(1, 3)))
    if op.example:
        say(f"\nexample\n{op.example.rstrip()}")


def _refuse_broken(op: str) -> None:
    """Refuse an op of another distribution that can't be loaded, and say why."""
    from composer.plugins import PluginError
    from composer.primitives.found import find_op

    try:
        find_op(op)
    except PluginError as broken:
        raise error("broken-plugin", broken.message, broken.way_out) from None


def _matching(
    rows: list[dict[str, Any]], what: str, filters: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return the rows whose name one of the filters matches.

    Raises:
        ComposerError: there is none.
    """
    names = [next(iter(row.values())) for row in rows]
    found = [row for row, name in zip(rows, names, strict=True) if _matches(name, filters)]
    if not found:
        said = listing([repr(word) for word in filters], last="or")
        near = did_you_mean("".join(c for c in filters[0].lower() if c not in "*?[]"), names)
        raise error(
            "no-match",
            f"none of the {len(rows):,} {what} matches {said}",
            near or f"'composer list {what}' lists them all",
        )
    return found


def _matches(name: str, filters: tuple[str, ...]) -> bool:
    """Return whether a filter matches a name, with or without its library, ignoring case."""
    forms = {name.lower(), name.lower().rpartition(":")[2]}
    for word in map(str.lower, filters):
        if any(c in word for c in "*?["):
            if any(fnmatchcase(form, word) for form in forms):
                return True
        elif word in name.lower():
            return True
    return False


def _specs() -> list[dict[str, Any]]:
    from composer.graph.frontend import check_text, load_spec
    from composer.language.library import shipped_names
    from composer.language.packs import broken_packs, packed_names, packed_spec
    from composer.plugins import PluginError

    shipped = shipped_names()
    specs = [load_spec(name) for name in shipped]
    _warn(broken_packs())
    for name in packed_names():
        try:
            packed = packed_spec(name)
            assert packed is not None
            if name in shipped:
                raise packed.hidden()
            spec, problems = check_text(packed.read(), packed.shown)
        except PluginError as broken:
            spec, problems = None, (broken.warning(),)
        _warn(problems)
        specs += [spec] if spec is not None else []
    return _with_owners([
        {
            "name": spec.name,
            "title": spec.title,
            "params": ", ".join(f"{k}={p.default}" for k, p in spec.params.items()),
            "at": spec.insert.at if spec.insert else "",
            "source": spec.source,
            "from": spec.origin.file.partition(" (")[2].removesuffix(")"),
        }
        for spec in specs
    ], "shipped")  # fmt: skip


def _ops() -> list[dict[str, Any]]:
    from composer.primitives import ops
    from composer.primitives.found import broken_ops, owner_of

    known = ops()
    _warn(broken.warning() for broken in broken_ops())
    owners = {op: owner_of(op) for op in known}
    return _with_owners([
        {
            "op": op,
            "does": (primitive.__doc__ or "").splitlines()[0],
            "fields": ", ".join(f for f in primitive.model_fields if f != "op"),
            "from": owner.owner if (owner := owners[op]) else "",
        }
        for op, primitive in known.items()
    ], "")  # fmt: skip


def _with_owners(rows: list[dict[str, Any]], own: str) -> list[dict[str, Any]]:
    """Return rows with their owners, where any comes from another distribution."""
    if any(row["from"] != own for row in rows):
        return rows
    return [{key: value for key, value in row.items() if key != "from"} for row in rows]


def _warn(warnings: Iterable[Diagnostic]) -> None:
    """Warn on stderr of broken parts of other distributions; the list goes on."""
    for warning in warnings:
        note(replace(warning, severity="warning").render())


def _backbones() -> list[dict[str, Any]]:
    from composer.models.names import timm_names, torchvision_names

    names = [*timm_names(), *(f"torchvision:{name}" for name in torchvision_names())]
    return [{"name": name} for name in names]
