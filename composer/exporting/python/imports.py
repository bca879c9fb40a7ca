"""The imports of a written file, in ruff's order."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

from composer.exporting.python.code import broken

#: Imports that a text needs if it contains these patterns.
_NEEDED = {
    r"\bmath\.": "import math",
    r"\bOrderedDict\(": "from collections import OrderedDict",
    r"\bPath\(": "from pathlib import Path",
    r"\bload_model\(": "from safetensors.torch import load_model",
    r"\btorch\.": "import torch",
    r"\bTensor\b": "from torch import Tensor",
    r"\bnn\.": "from torch import nn",
    r"\bfunctional\.": "from torch.nn import functional",
}


def import_lines(text: str, others: Sequence[str] = ()) -> Iterator[str]:
    """Yield the imports that a text needs, and some more, the standard library's first.

    A line such as ``from torch.nn import functional as F`` keeps its alias.
    """
    lines = {line for word, line in _NEEDED.items() if re.search(word, text)} | set(others)
    groups = [[], []]  # type: ignore[var-annotated]
    for line in lines:
        top = line.split()[1].partition(".")[0]
        groups[top not in sys.stdlib_module_names].append(line)
    written = [[*_ordered(group)] for group in groups if group]
    for place, group in enumerate(written):
        yield from [""] * (place > 0)
        yield from group


def _ordered(lines: Sequence[str]) -> Iterator[str]:
    """Yield whole modules first, then names of modules, those of one module on one line."""
    yield from sorted(line for line in lines if line.startswith("import "))
    by_module: dict[str, list[str]] = {}
    apart = []
    for line in lines:
        if line.startswith("from "):
            module, _, names = line.removeprefix("from ").partition(" import ")
            if " as " in names:
                apart.append((module, line))
            else:
                by_module.setdefault(module, []).append(names)
    joined = [(m, [*_names(m, names)]) for m, names in by_module.items()]
    for _, own in sorted([*joined, *((module, [line]) for module, line in apart)]):
        yield from own


def _names(module: str, names: Sequence[str]) -> Iterator[str]:
    """Yield the import of some names: constants first, then classes, then the others."""

    def rank(name: str) -> tuple[int, str]:
        return (0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2, name)

    listed = ", ".join(sorted(dict.fromkeys(names), key=rank))
    line = f"from {module} import {listed}"
    if len(line) <= 100:
        yield line
    else:
        inside = [*broken(f"import ({listed})", 0)]
        yield from (f"from {module} {inside[0]}", *inside[1:])
