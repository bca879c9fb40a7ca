"""The way out for an unknown name, where there may be thousands of names and of such mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from composer.language.words import NAMES, meant, suggested

#: Of the names that there are; a longer list is told by its last.
SHOWN = 100
#: With how many names all mistakes of one pass are compared.
COMPARED = 20_000


class Hints:
    """Gives each unknown name its way out; the later of very many get a shorter one."""

    def __init__(self) -> None:
        self._left = COMPARED

    def suggestion(self, word: str, known: Sequence[str], label: str) -> str:
        """Return near words, then those that there are."""
        self._left -= len(known)
        if len(known) <= SHOWN:
            return suggested(word, known, label, NAMES)
        near = meant(word, known, NAMES) if self._left >= 0 else None
        shown = f"{label}, the last {SHOWN} of {len(known):,}: {', '.join(known[-SHOWN:])}"
        return f"{near} {shown}" if near else shown
