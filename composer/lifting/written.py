"""Writes a draft as the text of a spec, one line per node, like the shipped specs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from composer.language.starter import SCHEMA
from composer.lifting.draft import Node
from composer.visible import visible_line

_PLAIN = re.compile(r"[A-Za-z_][\w./*+ -]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off"})
#: The order of fields, as in the shipped specs.
_SAY_X = frozenset({"reweight"})  # ops that need an x
_ORDER = ("op", "fn", "x", "q", "k", "v", "of", "over", "along", "keys", "axes", "axis", "into")


def spec_text(
    name: str,
    title: str,
    source: str,
    axes: Sequence[str],
    nodes: Sequence[Node],
    output: str,
    notes: Sequence[str],
) -> str:
    """Return the YAML."""
    lines = [SCHEMA, *(f"# {visible_line(note)}" for note in notes), "composer: 1", f"name: {name}"]
    lines += [f"title: {shown(title)}", f"source: {shown(source)}"]
    lines += [f"input: {shown(list(axes))}", "nodes:"]
    width = max(len(node.name) for node in nodes) + 1
    above = "input"
    for node in nodes:
        fields = {key: one for key, one in node.fields.items() if one is not None}
        if fields.get("x") == above and node.op not in _SAY_X:
            del fields["x"]
        ordered = {"op": node.op, **fields}
        keys = sorted(ordered, key=_place)
        body = ", ".join(f"{key}: {shown(_one_or_many(key, ordered[key]))}" for key in keys)
        lines.append(f"  {node.name + ':':{width}} {{{body}}}")
        above = node.names[-1] if len(node.names) == 1 else ""
    if output != nodes[-1].names[-1] or len(nodes[-1].names) > 1:
        lines.append(f"output: {output}")
    return "\n".join(lines) + "\n"


def _place(field: str) -> int:
    return _ORDER.index(field) if field in _ORDER else len(_ORDER)


def _one_or_many(key: str, value: Any) -> Any:
    """Return a list of one axis as that axis; lists of operands stay lists."""
    return value[0] if isinstance(value, list) and len(value) == 1 and key != "of" else value


def shown(value: Any) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(shown, value))}]"
    text = str(value)
    plain = bool(_PLAIN.fullmatch(text)) and text.lower() not in _WORDS and ": " not in text
    return text if plain and not text.endswith(" ") else _quoted(text)


def _quoted(text: str) -> str:
    """Return a text in double quotes, with escapes that YAML also understands."""
    plain = text.replace("\\", "\\\\").replace('"', "'")
    return f'"{visible_line(plain)}"'
