"""The way out for an unknown name, bounded where there are thousands of names and mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from composer.language.words import NAMES, meant, suggested

#: Names that a message lists; of a longer list, the last ones.
SHOWN = 100
#: Comparisons with known names in one pass, over all mistakes.
COMPARED = 20_000


class Hints:
    """Gives each unknown name its way out; after very many mistakes, a shorter one."""

    def __init__(self) -> None:
        self._left = COMPARED

    def suggestion(self, word: str, known: Sequence[str], label: str) -> str:
        """Return near words, then the known ones."""
        self._left -= len(known)
        if len(known) <= SHOWN:
            return suggested(word, known, label, NAMES)
        near = meant(word, known, NAMES) if self._left >= 0 else None
        shown = f"{label}, the last {SHOWN} of {len(known):,}: {', '.join(known[-SHOWN:])}"
        return f"{near} {shown}" if near else shown
