"""A key without a space before its value, ``op:pool``, which YAML reads as one word."""

from __future__ import annotations

import re

#: The key and what follows its colon without a space; a closing bracket is not a value.
GLUED = re.compile(r"([A-Za-z_]\w*):([^\s:/,}\]].*)")


def no_space(glued: re.Match[str]) -> tuple[str, str]:
    """Return the message for a match of `GLUED`, and how to write the key and its value."""
    key, value = glued[1], re.split(r"[\s,}\]]", glued[2])[0]
    shown = {"{": "{…}", "[": "[…]"}.get(value[0], value)
    return f"there is no space after the ':' of {key!r}", f"write '{key}: {shown}'"
