"""The messages of the YAML reader, which speaks of specs, for files of another kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from composer.errors import Diagnostic

#: By code: the message and the way out; None keeps that of the reader.
Words = Mapping[str, tuple[str | None, str | None]]


def reworded(problem: Diagnostic, kind: str, words: Words) -> Diagnostic:
    """Return a problem of the reader as one of a file of another kind.

    Args:
        problem: what the reader found.
        kind: of the file, such as ``recipe``.
        words: what is said in another way.
    """
    message, way_out = words.get(problem.code, (None, None))
    said = message or re.sub(r"\b(a|the) spec\b", rf"\1 {kind}", problem.message)
    return replace(problem, message=said, help=way_out or problem.help)
