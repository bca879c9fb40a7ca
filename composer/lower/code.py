"""The Python code of a module, node by node of its spec."""

from __future__ import annotations

import re

from torch import fx

_ASSIGNED = re.compile(r"\s*(\w+)(?:\s*:[^=]+)?\s*=")


def code_by_node(module: fx.GraphModule) -> dict[str, str]:
    """Return the lines of a module's forward for each node of its spec."""
    owner = {
        node.name: node.meta["composer"]["node"]
        for node in module.graph.nodes
        if "composer" in node.meta
    }
    found: dict[str, list[str]] = {}
    for line in module.code.splitlines():
        assigned = _ASSIGNED.match(line)
        node = owner.get(assigned[1]) if assigned is not None else None
        if node is not None:
            found.setdefault(node, []).append(line.strip().partition(";  ")[0])
    return {node: "\n".join(lines) for node, lines in found.items()}
