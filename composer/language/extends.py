"""`extends`: a variant of a spec, which contains only what it changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from composer.errors import Diagnostic
from composer.language.hints import Hints
from composer.language.source import Source, YamlPath

#: Fields that identify the variant itself are never inherited.
_ITS_OWN = ("name", "title", "extends")

Fields = dict[str, Any]
#: The fields of a variant, and the paths in it that come from its base.
_Changed = tuple[Any, set[YamlPath]]


def extended(
    data: Fields, source: Source, base: Fields, base_source: Source
) -> tuple[Fields, Source]:
    """Return the fields of a variant merged with those of its base, with the location of each.

    A param, a node and `insert` are changed field by field; a node with an `op`, and an `insert`
    with an `at`, replaces the base's whole. A node that the base does not have is noted as a
    problem. What is not a mapping is kept as written, for the reader to refuse.
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
    """Return a param as the variant changes it: a bare value is a new default."""
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
    """Return a mapping as the variant changes it; one with a `kind` replaces the base's whole."""
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
    """Return the locations of the variant's values, and of the base's for inherited paths."""
    values, keys = dict(source.values), dict(source.keys)
    for mine, theirs in ((values, base.values), (keys, base.keys)):
        for path, span in theirs.items():
            taken_over = any(path[:end] in inherited for end in range(len(path) + 1))
            if taken_over and path not in mine:
                mine[path] = replace(span, of=span.of or base)
    return Source(source.file, source.text, problems, values, keys, base)
