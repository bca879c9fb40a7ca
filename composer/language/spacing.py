"""A key that runs into its value, ``op:pool``, which YAML reads as one word."""

from __future__ import annotations

import re

#: The key, and what follows its colon without a space; what ends a list or a mapping is no value.
GLUED = re.compile(r"([A-Za-z_]\w*):([^\s:/,}\]].*)")


def no_space(glued: re.Match[str]) -> tuple[str, str]:
    """Return what is wrong with a match of `GLUED`, and how the key and its value are written."""
    key, value = glued[1], re.split(r"[\s,}\]]", glued[2])[0]
    shown = {"{": "{…}", "[": "[…]"}.get(value[0], value)
    return f"there is no space after the ':' of {key!r}", f"write '{key}: {shown}'"
