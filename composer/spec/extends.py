"""`extends`: a variant of a spec, which says only what it changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from composer.errors import Diagnostic, suggestion
from composer.spec.source import Source, YamlPath

#: What names the variant itself is never taken over.
_ITS_OWN = ("name", "title", "extends")


def extended(
    data: dict[str, Any], source: Source, base: dict[str, Any], base_source: Source
) -> tuple[dict[str, Any], Source]:
    """Return the fields of a variant and those of its base together, with the place of each.

    Params are taken over one by one. A changed node stands whole where it says its op, and else
    changes the fields it names. A node that the base has not is noted as a problem.
    """
    changed = data.get("nodes")
    changes: dict[str, Any] = dict(changed) if isinstance(changed, dict) else {}
    known = base.get("nodes")
    nodes: dict[str, Any] = dict(known) if isinstance(known, dict) else {}
    problems = list(source.problems)
    paths: set[YamlPath] = {("nodes", name) for name in nodes}
    for name, change in changes.items():
        if name not in nodes:
            way_out = suggestion(name, list(nodes), f"Nodes of {base.get('name')}")
            problems.append(
                Diagnostic(
                    "missing-node",
                    f"the spec {str(base.get('name'))!r} has no node {name!r} to change",
                    way_out,
                    source.at_key(("nodes", name)),
                )
            )
            continue
        partly = isinstance(change, dict) and "op" not in change and isinstance(nodes[name], dict)
        nodes[name] = {**nodes[name], **change} if partly else change
        paths.discard(("nodes", name))
        if partly:
            paths |= {("nodes", name, field) for field in nodes[name] if field not in change}
    params = {**_mapping(base, "params"), **_mapping(data, "params")}
    paths |= {("params", p) for p in _mapping(base, "params") if p not in _mapping(data, "params")}
    taken_over = {k: v for k, v in base.items() if k not in data and k not in _ITS_OWN}
    paths |= {(field,) for field in taken_over if field not in ("params", "nodes")}
    whole = {**taken_over, **data, "nodes": nodes, **({"params": params} if params else {})}
    return whole, _merged(source, base_source, paths, problems)


def _mapping(data: dict[str, Any], field: str) -> dict[str, Any]:
    value = data.get(field)
    return value if isinstance(value, dict) else {}


def _merged(
    source: Source, base: Source, paths: set[YamlPath], problems: list[Diagnostic]
) -> Source:
    """Return the places of the variant, and under `paths` those of its base."""
    values, keys = dict(source.values), dict(source.keys)
    for mine, theirs in ((values, base.values), (keys, base.keys)):
        for path, span in theirs.items():
            inherited = any(path[: len(p)] == p for p in paths)
            if inherited and path not in mine:
                mine[path] = replace(span, of=span.of or base)
    return Source(source.file, source.text, problems, values, keys)
