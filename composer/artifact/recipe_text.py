"""The text of a recipe: readable YAML that YAML 1.2 parsers read as intended."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.emitter import ScalarAnalysis

from composer.language.source import resolve_scalar


def written(data: dict[str, Any]) -> str:
    """Return plain values as YAML, in their order."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return text


class OneLine(dict[str, Any]):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings as blocks, and quotes what YAML 1.2 would read as a number."""

    def analyze_scalar(self, scalar: str) -> ScalarAnalysis:
        """Allow a block to have trailing spaces, as a hand-written spec may."""
        found = super().analyze_scalar(scalar)
        plain = all(c == "\n" or (c.isprintable() and c not in "\ufeff") for c in scalar)
        found.allow_block = found.allow_block or (found.multiline and plain)
        return found


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    quoted = None if isinstance(resolve_scalar(value), str) else "'"
    style = "|" if "\n" in value else quoted
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(
    OneLine,
    lambda dumper, line: dumper.represent_mapping("tag:yaml.org,2002:map", line, flow_style=True),
)
