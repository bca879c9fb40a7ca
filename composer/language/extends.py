"""`extends`: a variant of a spec, which says only what it changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from composer.errors import Diagnostic
from composer.language.hints import Hints
from composer.language.source import Source, YamlPath

#: What names the variant itself is never taken over.
_ITS_OWN = ("name", "title", "extends")

Fields = dict[str, Any]
#: What a variant has, and the paths in it that are its base's.
_Changed = tuple[Any, set[YamlPath]]


def extended(
    data: Fields, source: Source, base: Fields, base_source: Source
) -> tuple[Fields, Source]:
    """Return the fields of a variant and those of its base together, with the place of each.

    A param, a node and `insert` are changed by the fields that are named; a node that says its
    op, and an `insert` that says its `at`, stands whole. A node that the base has not is noted as
    a problem. What is no mapping stands as written, for the reader to refuse.
    """
    whole = {k: v for k, v in base.items() if k not in _ITS_OWN} | data
    inherited: set[YamlPath] = {(field,) for field in whole if field not in data}
    problems = list(source.problems)
    for field, change in (("params", _param), ("nodes", _node)):
        theirs, mine = base.get(field), data.get(field)
        if not isinstance(theirs, dict) or not isinstance(mine, dict):
            continue
        if field == "nodes":
            problems += _unknown_nodes(mine, theirs, str(base.get("name")), source)
            mine = {name: node for name, node in mine.items() if name in theirs}
        whole[field] = {**theirs, **mine}
        for name, value in theirs.items():
            if name not in mine:
                inherited.add((field, name))
                continue
            whole[field][name], kept = change(value, mine[name])
            inherited |= {(field, name, *path) for path in kept}
    if "insert" in base and "insert" in data:
        whole["insert"], kept = _insert(base["insert"], data["insert"])
        inherited |= {("insert", *path) for path in kept}
    return whole, _merged(source, base_source, inherited, problems)


def _param(base: Any, change: Any) -> _Changed:
    """Return a param as a variant has it: a bare value is a new default."""
    if isinstance(base, dict) and not isinstance(change, (dict, list)):
        change = {"default": change}
    return _changed(base, change, None)


def _node(base: Any, change: Any) -> _Changed:
    return _changed(base, change, "op")


def _insert(base: Any, change: Any) -> _Changed:
    insert, kept = _changed(base, change, "at")
    if kept and "match" in base and "match" in change:
        insert["match"], kept_in_match = _changed(base["match"], change["match"], None)
        kept |= {("match", *path) for path in kept_in_match}
    return insert, kept


def _changed(base: Any, change: Any, kind: str | None) -> _Changed:
    """Return a mapping as a variant has it; it stands whole where it says its `kind`."""
    if not isinstance(base, dict) or not isinstance(change, dict) or kind in change:
        return change, set()
    return {**base, **change}, {(field,) for field in base if field not in change}


def _unknown_nodes(
    changes: Fields, nodes: Fields, base: str, source: Source
) -> Iterator[Diagnostic]:
    hints, names = Hints(), list(nodes)
    for name in changes:
        if name not in nodes:
            yield Diagnostic(
                "missing-node",
                f"the spec {base!r} has no node {name!r} to change",
                hints.suggestion(name, names, f"Nodes of {base}"),
                source.at_key(("nodes", name)),
            )


def _merged(
    source: Source, base: Source, inherited: set[YamlPath], problems: list[Diagnostic]
) -> Source:
    """Return the places of the variant, and under the inherited paths those of its base."""
    values, keys = dict(source.values), dict(source.keys)
    for mine, theirs in ((values, base.values), (keys, base.keys)):
        for path, span in theirs.items():
            taken_over = any(path[:end] in inherited for end in range(len(path) + 1))
            if taken_over and path not in mine:
                mine[path] = replace(span, of=span.of or base)
    return Source(source.file, source.text, problems, values, keys, base)
