"""The differences of two specs: a unified diff, and whether it changes their meaning.

Nothing here imports torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from composer.primitives import Spec


@dataclass(frozen=True)
class SpecDifference:
    """The diffs of two specs' texts, and of the specs that they use, by their names there.

    `says_the_same` is whether both texts mean the same spec, as when only a comment differs.
    """

    texts: Mapping[str, str]
    says_the_same: bool

    @property
    def is_same(self) -> bool:
        """Whether no text differs."""
        return not self.texts

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {"texts": dict(self.texts), "says_the_same": self.says_the_same}


def spec_difference(a: Spec, b: Spec, names: tuple[str, str]) -> SpecDifference:
    """Return the differences of two specs.

    Args:
        a: one spec.
        b: the other.
        names: their names in the diff.
    """
    texts = text_differences({"": a.origin.text, **a.texts}, {"": b.origin.text, **b.texts}, names)
    same = a.model_dump(mode="json") == b.model_dump(mode="json") and not any(texts.keys() - {""})
    return SpecDifference(texts, same)


def text_differences(
    a: Mapping[str, str], b: Mapping[str, str], names: tuple[str, str]
) -> dict[str, str]:
    """Return the unified diffs of texts that differ, by their names.

    The name of the spec itself is empty; a text on one side only is compared with an empty one.
    """
    found = {}
    for word in dict.fromkeys((*a, *b)):
        one, other = (side.get(word, "").splitlines(keepends=True) for side in (a, b))
        first, second = (f"{name}: {word}" if word else name for name in names)
        diff = difflib.unified_diff(one, other, first, second, n=2)
        text = "".join(line if line.endswith("\n") else f"{line}\n" for line in diff)
        if text:
            found[word] = text
    return found
